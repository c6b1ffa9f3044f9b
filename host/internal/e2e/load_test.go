package e2e

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load asks a host for what is warm, again and again, from when it is made until stop.
type load struct {
	t             *testing.T
	asked, failed atomic.Int64
	end           context.CancelFunc
	askers        sync.WaitGroup
}

// startLoad asks for the paths in turn, with so many clients at once. Each answer must be a 200.
func startLoad(t *testing.T, h *host, clients int, paths ...string) *load {
	t.Helper()
	for _, path := range paths {
		h.ok(t, path)
	}
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{t: t, end: cancel}
	for c := range clients {
		l.askers.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				path := paths[i%len(paths)]
				r, err := ask(context.WithoutCancel(ctx), http.MethodGet, h.url+path, nil)
				l.asked.Add(1)
				if err != nil || r.status != http.StatusOK {
					if l.failed.Add(1) < 5 {
						t.Errorf("GET %s: %d %v %s", path, r.status, err, r.body)
					}
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	t.Cleanup(l.stop)
	return l
}

// stop ends the asking and says how much there was.
func (l *load) stop() {
	if l.end == nil {
		return
	}
	l.end()
	l.end = nil
	l.askers.Wait()
	l.t.Logf("%d requests, %d failed", l.asked.Load(), l.failed.Load())
	if l.failed.Load() > 0 {
		l.t.Errorf("%d of %d requests failed", l.failed.Load(), l.asked.Load())
	}
}

// heard is a quote as a client of the feed got it.
type heard struct {
	symbol string
	asOf   int64
	price  float64
}

// ear listens to the whole feed and holds it against what every client may count on: no tick is missing, none comes twice,
// and no price goes back in time.
type ear struct {
	t    *testing.T
	l    *listener
	done chan struct{}
	// moves is whether the feed may begin another epoch, which it does with a snapshot.
	moves bool

	mu     sync.Mutex
	ticks  int
	quotes []heard
	faults []string
}

// startEar listens from now on until stop.
func startEar(t *testing.T, h *host) *ear {
	t.Helper()
	return startEarThat(t, h, false)
}

// startEarThat listens as startEar does, also, if it moves, from one epoch of the feed to the next.
func startEarThat(t *testing.T, h *host, moves bool) *ear {
	t.Helper()
	e := &ear{t: t, l: h.listen(t, "?channels=ticker:*"), done: make(chan struct{}), moves: moves}
	last := e.l.await("snapshot", "ticker:*", 30*time.Second)
	newest := map[string]time.Time{}
	for symbol, q := range last.quotes(t) {
		newest[symbol] = q.AsOf
	}
	go func() {
		defer close(e.done)
		for {
			_, text, err := e.l.conn.Read(context.WithoutCancel(t.Context()))
			if err != nil {
				return
			}
			e.mu.Lock()
			last = e.hear(text, last, newest)
			e.mu.Unlock()
		}
	}()
	t.Cleanup(func() { e.stop() })
	return e
}

// hear takes one message, and returns the last of the channel.
func (e *ear) hear(text []byte, last message, newest map[string]time.Time) message {
	m, quotes, err := decodeMessage(text)
	switch {
	case err != nil:
		e.faults = append(e.faults, err.Error())
		return last
	case m.Channel == "ticker:*" && m.Type == "snapshot" && m.Epoch != last.Epoch && e.moves:
		return m
	case m.Channel == "ticker:*" && m.Type == "snapshot" && m.Epoch == last.Epoch && m.Seq >= last.Seq:
		return m // A symbol has left the feed: it stands for what was under way.
	case m.Channel != "ticker:*" || m.Type == "snapshot":
		return last
	case last.Epoch != "" && (m.Epoch != last.Epoch || m.Seq != last.Seq+1): // A host that just began has no epoch yet.
		e.faults = append(e.faults, fmt.Sprintf("tick %d of %s follows %d of %s", m.Seq, m.Epoch, last.Seq, last.Epoch))
	}
	e.ticks++
	for symbol, q := range quotes {
		if !q.AsOf.After(newest[symbol]) {
			e.faults = append(e.faults, fmt.Sprintf("tick %d: %s of %v comes after that of %v", m.Seq, symbol, q.AsOf, newest[symbol]))
		}
		newest[symbol] = q.AsOf
		e.quotes = append(e.quotes, heard{symbol, q.AsOf.UnixNano(), q.Price})
	}
	return m
}

// count returns how many ticks came so far.
func (e *ear) count() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.ticks
}

// stop ends the listening and returns every quote that came.
func (e *ear) stop() []heard {
	_ = e.l.conn.CloseNow()
	<-e.done
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, fault := range e.faults[:min(len(e.faults), 5)] {
		e.t.Error(fault)
	}
	e.faults = nil
	return e.quotes
}
