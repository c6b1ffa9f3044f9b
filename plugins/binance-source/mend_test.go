package main

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestABrokenConnectionIsMended(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.stream("btc", "eth")
		time.Sleep(2 * time.Minute)
		start := time.Now()
		w.venue.open()[0].cut()
		time.Sleep(10 * time.Second)
		if gap := st.gap("btc", start); gap > 3*time.Second {
			t.Errorf("nothing for %s after a cut", gap)
		}
		first, second := w.venue.all()[0].streams(), w.venue.all()[1].streams()
		if strings.Join(first, " ") != strings.Join(second, " ") {
			t.Errorf("first %v, then %v", first, second)
		}
		if n := w.count("stream_reconnects_total"); n != 1 {
			t.Errorf("%v reconnects", n)
		}
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusOK {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestHealthSaysThatTheStreamIsDown(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.venue.refuse = fail(502, "")
		st := w.stream("btc")
		time.Sleep(10 * time.Second)
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusOK {
			t.Errorf("health after 10 s is %+v", h)
		}
		time.Sleep(10 * time.Second)
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusDegraded || h.Reason != "1 of 1 connections down for 20 s: unavailable" {
			t.Errorf("health after 20 s is %+v", h)
		}
		time.Sleep(time.Hour)
		if n := w.venue.tries(); n < 100 || n > 600 {
			t.Errorf("%d handshakes in an hour", n)
		}
		st.mu.Lock()
		if st.seq < 700 {
			t.Errorf("%d heartbeats in an hour", st.seq)
		}
		st.mu.Unlock()
		w.venue.set(func(v *venue) { v.refuse = nil })
		time.Sleep(time.Minute)
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusOK || len(st.of("btc")) < 20 {
			t.Errorf("%d quotes, health is %+v", len(st.of("btc")), h)
		}
		w.venue.set(func(v *venue) { v.refuse = fail(502, "") })
		w.venue.open()[0].cut()
		time.Sleep(20 * time.Second)
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusDegraded || !strings.Contains(h.Reason, "down for 20 s: unavailable") {
			t.Errorf("health after a cut is %+v", h)
		}
	})
}

func TestConnectionsThatDoNotLastStayWithinTheBudget(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.source.manners.backoff, w.source.manners.maxBackoff = time.Nanosecond, time.Nanosecond
		w.venue.lifetime = 10 * time.Millisecond
		w.stream("btc")
		time.Sleep(20 * time.Minute)
		w.venue.mu.Lock()
		defer w.venue.mu.Unlock()
		most := 0
		for i, from := range w.venue.handshakes {
			n := 0
			for _, at := range w.venue.handshakes[i:] {
				if at.Sub(from) < 5*time.Minute {
					n++
				}
			}
			most = max(most, n)
		}
		if most > 300 || most < 200 {
			t.Errorf("%d handshakes within five minutes", most)
		}
	})
}

func TestRotationLeavesNoGap(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		// A day that lasts an hour.
		w.source.manners.rotateAfter /= 24
		w.source.manners.rotateSpread /= 24
		w.venue.tick = 9 * time.Second
		w.venue.lifetime = time.Hour
		st := w.stream("btc", "sol")
		time.Sleep(10 * time.Second)
		start := time.Now()
		time.Sleep(4*time.Hour + 10*time.Minute)
		if gap := st.gap("sol", start); gap > 9*time.Second+time.Second {
			t.Errorf("nothing for %s", gap)
		}
		sockets := w.venue.all()
		if len(sockets) != 5 || len(w.venue.open()) != 1 || w.count("stream_connections") != 1 {
			t.Errorf("%d connections in four days, %d open", len(sockets), len(w.venue.open()))
		}
		for i := 1; i < len(sockets); i++ {
			if age := sockets[i].opened.Sub(sockets[i-1].opened); age < 56*time.Minute || age > 59*time.Minute {
				t.Errorf("connection %d was replaced after %s", i-1, age)
			}
		}
		if r, b := w.count("stream_rotations_total"), w.count("stream_reconnects_total"); r != 4 || b != 0 {
			t.Errorf("%v rotations, %v reconnects", r, b)
		}
		w.checkOverlaps()
	})
}

func TestConnectionsAreReplacedBeforeBinanceClosesThem(t *testing.T) {
	m := goodManners()
	ages := map[time.Duration]bool{}
	for range 1000 {
		age := m.age()
		if age < 22*time.Hour+30*time.Minute || age > 23*time.Hour+30*time.Minute {
			t.Fatalf("an age of %s", age)
		}
		ages[age] = true
	}
	if len(ages) < 900 {
		t.Errorf("%d ages among 1000: connections that were opened together would be replaced together", len(ages))
	}
}

func TestServerShutdown(t *testing.T) {
	for name, text := range map[string]string{"combined": frameOfShutdown, "raw": frameOfRawShutdown} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.T
				st := w.stream("btc")
				time.Sleep(2*time.Minute + 500*time.Millisecond)
				start, old := time.Now(), w.venue.open()[0]
				old.send(text)
				synctest.Wait()
				if len(w.venue.open()) != 2 {
					t.Errorf("%d connections at once after the warning", len(w.venue.open()))
				}
				time.Sleep(5 * time.Second)
				open := w.venue.open()
				if len(open) != 1 || open[0] == old || st.gap("btc", start) > time.Second {
					t.Errorf("%d connections, nothing for %s", len(open), st.gap("btc", start))
				}
				if r, b := w.count("stream_rotations_total"), w.count("stream_reconnects_total"); r != 1 || b != 0 {
					t.Errorf("%v rotations, %v reconnects", r, b)
				}
			})
		})
	}
	t.Run("over and over", func(t *testing.T) {
		inWorld(t, func(w *world) {
			t := w.T
			w.stream("btc")
			for range 600 {
				time.Sleep(time.Second)
				for _, s := range w.venue.open() {
					s.send(frameOfRawShutdown)
				}
			}
			if n := len(w.venue.all()); n > 70 {
				t.Errorf("%d connections in ten minutes", n)
			}
		})
	})
}

func TestAPeerThatIsGoneWithoutAWord(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.stream("btc")
		time.Sleep(2 * time.Minute)
		start, dead := time.Now(), w.venue.open()[0]
		dead.freeze()
		time.Sleep(30 * time.Second)
		if gap := st.gap("btc", start); gap > 13*time.Second {
			t.Errorf("nothing for %s", gap)
		}
		if n := w.count("stream_connections"); n != 1 || w.count("stream_reconnects_total") != 1 {
			t.Errorf("%v connections, %v reconnects", n, w.count("stream_reconnects_total"))
		}
	})
}

func TestAConnectionThatFallsSilent(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.stream("btc")
		time.Sleep(2 * time.Minute)
		start, silent := time.Now(), w.venue.open()[0]
		silent.still() // It still answers pings.
		time.Sleep(30 * time.Second)
		if gap := st.gap("btc", start); gap > 12*time.Second {
			t.Errorf("nothing for %s", gap)
		}
		if open := w.venue.open(); len(open) != 1 || open[0] == silent {
			t.Errorf("%d connections", len(open))
		}
	})
}

func TestQuietPairsCostFewConnections(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		w.venue.tick = 45 * time.Second
		st := w.stream("btc")
		time.Sleep(time.Minute)
		start := time.Now()
		time.Sleep(2 * time.Hour)
		if n := len(w.venue.all()); n > 20 {
			t.Errorf("%d connections in two hours", n)
		}
		if gap := st.gap("btc", start); gap > 46*time.Second {
			t.Errorf("nothing for %s", gap)
		}
		w.venue.set(func(v *venue) { v.tick = 0 })
		for _, s := range w.venue.open() {
			s.still()
		}
		time.Sleep(2 * time.Minute)
		if h := w.source.Health(t.Context()); h.Status != sdk.StatusDegraded || !strings.HasPrefix(h.Reason, "no ticker for") {
			t.Errorf("health is %+v", h)
		}
	})
}

func TestARefusedRotationCostsNothingWhileTheOldConnectionDelivers(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.T
		st := w.stream("btc")
		time.Sleep(2 * time.Minute)
		start, old := time.Now(), w.venue.open()[0]
		w.venue.set(func(v *venue) { v.refuse = fail(429, "", "Retry-After", "60") })
		old.send(frameOfShutdown)
		time.Sleep(50 * time.Second)
		if gap := st.gap("btc", start); gap > time.Second || w.venue.tries() != 2 {
			t.Errorf("nothing for %s, %d handshakes", gap, w.venue.tries())
		}
		// When the old one breaks before the time is over, the stream has ended.
		old.cut()
		if err := <-st.done; !errors.Is(err, sdk.RateLimited) || sdk.RetryAfter(err) <= 0 || w.venue.tries() != 2 {
			t.Errorf("got %v, %d handshakes", err, w.venue.tries())
		}
		// Otherwise the rotation is made up for.
		time.Sleep(time.Minute)
		w.venue.set(func(v *venue) { v.refuse = nil })
		st = w.stream("btc")
		time.Sleep(2 * time.Minute)
		start, old = time.Now(), w.venue.open()[0]
		w.venue.set(func(v *venue) { v.refuse = fail(429, "", "Retry-After", "60") })
		old.send(frameOfShutdown)
		time.Sleep(time.Second)
		w.venue.set(func(v *venue) { v.refuse = nil })
		time.Sleep(2 * time.Minute)
		if open := w.venue.open(); len(open) != 1 || open[0] == old || st.gap("btc", start) > time.Second {
			t.Errorf("%d connections, nothing for %s", len(open), st.gap("btc", start))
		}
	})
}
