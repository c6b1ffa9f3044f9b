package gateway

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestAllowance(t *testing.T) {
	t.Parallel()
	a := newAllowance(RateLimit{Requests: 10, Per: time.Second, Burst: 5})
	client, begun := clientKey{1}, time.Unix(1000, 0)
	for want := int64(4); want >= 0; want-- {
		if left, wait := a.take(client, wholePrice, begun); left != want || wait != 0 {
			t.Errorf("%d are left after a wait of %v, want %d", left, wait, want)
		}
	}
	if _, wait := a.take(client, wholePrice, begun); wait != 100*time.Millisecond {
		t.Errorf("beyond the burst: %v", wait)
	}
	if _, wait := a.take(client, warmPrice, begun); wait != 10*time.Millisecond {
		t.Errorf("a part of one beyond the burst: %v", wait)
	}
	if _, wait := a.take(clientKey{2}, wholePrice, begun); wait != 0 {
		t.Errorf("another client waits %v", wait)
	}
	if _, wait := a.take(client, wholePrice, begun.Add(100*time.Millisecond)); wait != 0 {
		t.Errorf("after a tenth of a second: %v", wait)
	}
	a.give(client, wholePrice)
	if _, wait := a.take(client, wholePrice, begun.Add(100*time.Millisecond)); wait != 0 {
		t.Errorf("what was given back is not there: %v", wait)
	}
	if left, wait := a.take(client, wholePrice, begun.Add(time.Hour)); left != 4 || wait != 0 {
		t.Errorf("after an hour %d are left, %v: more than a burst is never saved", left, wait)
	}
}

// However a client asks, in no stretch of time is it granted more than a burst and what the time brings.
func TestNoClientIsGrantedMore(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		limit := RateLimit{
			Requests: rapid.IntRange(1, 50).Draw(t, "requests"), Per: time.Second, Burst: rapid.IntRange(1, 20).Draw(t, "burst"),
		}
		a := newAllowance(limit)
		begun := time.Unix(1000, 0)
		at, granted := begun, 0
		for range rapid.IntRange(1, 200).Draw(t, "asks") {
			at = at.Add(time.Duration(rapid.IntRange(0, 100).Draw(t, "pause")) * time.Millisecond)
			_, wait := a.take(clientKey{}, wholePrice, at)
			if wait == 0 {
				granted++
			} else if _, again := a.take(clientKey{}, wholePrice, at.Add(wait)); again != 0 {
				t.Fatalf("who waits %v as told has to wait another %v", wait, again)
			} else {
				at = at.Add(wait)
				granted++
			}
			if most := float64(limit.Burst) + at.Sub(begun).Seconds()*float64(limit.Requests); float64(granted) > most+0.001 {
				t.Fatalf("%d requests were granted in %v, want at most %v", granted, at.Sub(begun), most)
			}
		}
	})
}

func TestAMillionClientsAreBounded(t *testing.T) {
	t.Parallel()
	a := newAllowance(RateLimit{Requests: 1, Per: time.Hour, Burst: 1})
	now := time.Unix(1000, 0)
	var before, after runtime.MemStats
	runtime.GC() //nolint:revive // It is measured.
	runtime.ReadMemStats(&before)
	var key clientKey
	for i := range uint64(1_000_000) {
		binary.BigEndian.PutUint64(key[:], i)
		if _, wait := a.take(key, wholePrice, now); wait != 0 {
			t.Fatalf("client %d waits %v", i, wait)
		}
	}
	runtime.GC() //nolint:revive // As above.
	runtime.ReadMemStats(&after)
	if n := a.clients(); n > maxClients {
		t.Errorf("%d clients are remembered, want at most %d", n, maxClients)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
		t.Errorf("they take %d MiB", grown>>20)
	}
	if _, wait := a.take(key, wholePrice, now); wait == 0 {
		t.Error("the one that asked last was forgotten")
	}
	runtime.KeepAlive(a)
}

func TestClientOf(t *testing.T) {
	t.Parallel()
	same := func(a, b string) bool { return clientOf(netip.MustParseAddr(a)) == clientOf(netip.MustParseAddr(b)) }
	if !same("2001:db8:1:2::7", "2001:db8:1:2:ffff::8") || same("2001:db8:1:2::7", "2001:db8:1:3::7") {
		t.Error("an IPv6 client is a network of 64 bits")
	}
	if same("192.0.2.1", "192.0.2.2") || !same("192.0.2.1", "::ffff:192.0.2.1") {
		t.Error("an IPv4 client is an address")
	}
}

func TestRateLimit(t *testing.T) {
	t.Parallel()
	m := newFakeMarket()
	m.answer.Tier = "source" // What is at hand would cost less.
	opts := options(m)
	opts.RateLimit = &RateLimit{Requests: 2, Per: time.Hour, Burst: 2}
	g := started(t, opts, defaultLimits())
	ask := func(path string) response {
		t.Helper()
		r, err := fetch("http://" + g.Addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		return response{Response: r, body: readAll(t, r)}
	}
	for i, left := range []string{"1", "0"} {
		r := ask("/api/market-data/btc")
		if r.StatusCode != http.StatusOK || r.Header.Get("RateLimit-Policy") != `"client";q=2;w=3600` ||
			!strings.HasPrefix(r.Header.Get("RateLimit"), `"client";r=`+left+";t=") {
			t.Errorf("request %d: %d %v", i, r.StatusCode, r.Header)
		}
	}
	r := ask("/api/market-data/btc")
	if p := isProblem(t, r, http.StatusTooManyRequests); p.Code != "rate_limited" {
		t.Errorf("%s", r.body)
	}
	seconds, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil || seconds < 1700 || seconds > 1800 {
		t.Errorf("Retry-After: %q, want half an hour", r.Header.Get("Retry-After"))
	}
}

func TestWarmAnswersCostATenth(t *testing.T) {
	t.Parallel()
	opts := options(newFakeMarket())
	opts.Market, opts.Now = steady(t, 100, false).opts.Market, time.Now
	opts.RateLimit = &RateLimit{Requests: 1, Per: time.Hour, Burst: 2}
	g := started(t, opts, defaultLimits())
	granted := 0
	for range 40 {
		r, err := fetch("http://" + g.Addr() + "/api/crypto-report/btc")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		if r.StatusCode != http.StatusOK {
			break
		}
		granted++
	}
	if granted != 20 {
		t.Errorf("%d warm answers for the price of two, want 20", granted)
	}
}

func TestTheLimitIsAlsoThatOfSockets(t *testing.T) {
	t.Parallel()
	opts := options(newFakeMarket())
	opts.RateLimit = &RateLimit{Requests: 1, Per: time.Hour, Burst: 1}
	l := startLiveWith(t, opts)
	first, err := l.connect("", http.MethodGet, "/ws", handshake()...)
	if err != nil || first.status != http.StatusSwitchingProtocols {
		t.Fatalf("%v, %v", first, err)
	}
	defer first.Close()
	if r := l.refusal(t, http.MethodGet, "/ws", handshake()...); r.StatusCode != http.StatusTooManyRequests {
		t.Errorf("status %d", r.StatusCode)
	}
}
