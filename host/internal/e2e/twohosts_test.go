package e2e

import (
	"encoding/json"
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk/islandtest/servers"
)

// together waits until two hosts have the same feed, and returns its epoch.
func together(t *testing.T, within time.Duration, a, b *host) (epoch string) {
	t.Helper()
	eventually(t, within, "both hosts in one epoch", func() error {
		there, here := at(t, a.ok(t, "/metrics/feed").json(t), "feed"), at(t, b.ok(t, "/metrics/feed").json(t), "feed")
		modes := fmt.Sprint(at(t, there, "mode"), " ", at(t, here, "mode"))
		if epoch = fmt.Sprint(at(t, there, "epoch")); epoch != fmt.Sprint(at(t, here, "epoch")) || epoch == "" ||
			(modes != "leading following" && modes != "following leading") {
			return fmt.Errorf("%v and %v", there, here)
		}
		return nil
	})
	return epoch
}

// TestFeedWithoutRedis stops Redis under two hosts: each goes on alone, in an epoch of its own that clients are told of by a
// snapshot, and never serves an older quote than a client has; when Redis is back they say the same again.
func TestFeedWithoutRedis(t *testing.T) {
	t.Parallel()
	m, redis := startMarket(t), servers.Redis(t)
	env := map[string]string{"REDIS_URL": redis.URL()}
	a, b := startHost(t, m, env), startHost(t, m, env)
	first := together(t, 20*time.Second, a, b)
	clients := map[*host]*listener{a: a.listen(t, "?channels=ticker:btc"), b: b.listen(t, "?channels=ticker:btc")}
	newest := map[*host]time.Time{}
	places := map[string]string{} // what was said under an epoch and a number, on either host
	// hears listens until a host speaks in another epoch than before, and then for some more updates.
	hears := func(h *host, before string, updates int) (epoch string) {
		t.Helper()
		introduced := false
		for deadline := time.Now().Add(30 * time.Second); ; {
			u, err := clients[h].next(time.Until(deadline))
			switch {
			case err != nil:
				t.Fatalf("after epoch %s: %v", before, err)
			case u.Epoch == before || u.Channel == "":
				continue
			case u.Type == "snapshot":
				introduced = true
				continue
			case !introduced:
				t.Errorf("epoch %s begins without a snapshot", u.Epoch)
			}
			q := u.quotes(t)["btc"]
			if q.AsOf.Before(newest[h]) {
				t.Errorf("%v follows %v", q.AsOf, newest[h])
			}
			place := fmt.Sprintf("%s %d", u.Epoch, u.Seq)
			if said, ok := places[place]; ok && said != string(u.Data) {
				t.Errorf("two updates are number %s", place)
			}
			newest[h], places[place] = q.AsOf, string(u.Data)
			var cached quote
			if err := json.Unmarshal(h.ok(t, "/api/market-data/btc").body, &cached); err != nil || cached.AsOf.Before(q.AsOf) {
				t.Errorf("a client has %v while the host serves %v, %v", q.AsOf, cached.AsOf, err)
			}
			if updates--; updates == 0 {
				return u.Epoch
			}
		}
	}
	redis.Stop()
	alone := map[*host]string{a: hears(a, first, 3), b: hears(b, first, 3)}
	if alone[a] == alone[b] {
		t.Errorf("both hosts are in epoch %s without hearing of each other", alone[a])
	}
	redis.Restart()
	if again := together(t, 30*time.Second, a, b); again != hears(a, alone[a], 3) || again != hears(b, alone[b], 3) {
		t.Error("clients are told of another epoch than the hosts are in")
	}
}

// TestFrozenLeader stops the leader's process for longer than its lease and wakes it: another has taken over, and the two never
// say different things under one number.
func TestFrozenLeader(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	env := map[string]string{"REDIS_URL": servers.Redis(t).URL()}
	a, b := startHost(t, m, env), startHost(t, m, env)
	together(t, 20*time.Second, a, b)
	leader, other := a, b
	if leads(t, b) {
		leader, other = b, a
	}
	said := map[string]string{}
	hear := func(l *listener, updates int) (last message) {
		t.Helper()
		for range updates {
			last = l.await("market_update", "ticker:btc", 20*time.Second)
			place := fmt.Sprintf("%s %d", last.Epoch, last.Seq)
			if text, ok := said[place]; ok && text != string(last.Data) {
				t.Errorf("two updates are number %s", place)
			}
			said[place] = string(last.Data)
		}
		return last
	}
	frozen, awake := leader.listen(t, "?channels=ticker:btc"), other.listen(t, "?channels=ticker:btc")
	hear(frozen, 2)
	before := hear(awake, 2)
	if err := leader.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leader.cmd.Process.Signal(syscall.SIGCONT) })
	eventually(t, 10*time.Second, "the other leads", func() error {
		if !leads(t, other) {
			return fmt.Errorf("%s", other.ok(t, "/metrics/feed").body)
		}
		return nil
	})
	if after := hear(awake, 3); after.Epoch == before.Epoch && after.Seq < before.Seq+3 {
		t.Errorf("update %d comes three after %d", after.Seq, before.Seq)
	}
	if err := leader.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	together(t, 20*time.Second, a, b)
	if !leads(t, other) {
		t.Error("the one that was frozen leads again")
	}
	hear(awake, 3)
	// Its clients get what they missed, or the latest, and then the same as all others.
	hear(leader.listen(t, "?channels=ticker:btc"), 3)
}
