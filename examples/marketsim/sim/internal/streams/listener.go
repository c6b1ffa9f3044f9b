package streams

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/kraken"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// listener is one client of Kraken's channels.
type listener struct {
	hub *Channels
	wire

	arrivals []time.Time // Of the last second's messages; the reader's own.

	mu         sync.Mutex
	subscribed map[string]*told
}

// told is a channel and until when its subscriber has been told what happened.
type told struct {
	kraken.Channel
	until time.Time
}

var endIdle = &ending{"idle", "no subscription", websocket.StatusNormalClosure}

func (l *listener) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string{}, slices.Sorted(maps.Keys(l.subscribed))...)
}

// say sends an answer or a notice.
func (l *listener) say(ctx context.Context, o upstream.Object) {
	if !l.hub.faults.Frame(l.id, l.path, "").Silent {
		l.write(ctx, encode(o))
	}
}

// read serves the client's messages until the connection ends.
func (l *listener) read(ctx context.Context) {
	for {
		_, text, err := l.socket.Read(ctx)
		if err != nil {
			l.finish(endClient)
			return
		}
		in := l.hub.now()
		var a ask
		switch err := json.Unmarshal(text, &a); {
		case err != nil:
			l.hub.count(methodUnknown)
			l.refuse(ctx, a, "", "Malformed message", in)
		case !l.arrive():
			l.refuse(ctx, a, "", "Exceeded msg rate", in)
		default:
			l.serve(ctx, a, in)
		}
		select {
		case l.nudge <- struct{}{}:
		default:
		}
	}
}

// arrive counts a message and says whether it is not one too many.
func (l *listener) arrive() bool {
	limit, now := l.hub.options.Messages, time.Now()
	for len(l.arrivals) > 0 && now.Sub(l.arrivals[0]) >= time.Second {
		l.arrivals = l.arrivals[1:]
	}
	if limit >= 0 && len(l.arrivals) >= limit {
		return false
	}
	l.arrivals = append(l.arrivals, now)
	return true
}

// answer is the outside of an answer. The words go in between.
func (l *listener) answer(a ask, in time.Time, success bool, words upstream.Object) upstream.Object {
	var o upstream.Object
	if !success {
		o = append(o, words...)
	}
	o.Set("method", shorten(a.Method))
	if a.ID != nil {
		o.Set("req_id", *a.ID)
	}
	if success {
		o = append(o, words...)
	}
	o.Set("success", success)
	o.Set("time_in", wireTime(in))
	o.Set("time_out", wireTime(l.hub.now()))
	return o
}

func (l *listener) refuse(ctx context.Context, a ask, symbol, complaint string, in time.Time) {
	words := upstream.Object{{Name: "error", Value: complaint}}
	if symbol != "" {
		words.Set("symbol", shorten(symbol))
	}
	l.say(ctx, l.answer(a, in, false, words))
}

// serve answers one request.
func (l *listener) serve(ctx context.Context, a ask, in time.Time) {
	switch a.Method {
	case "ping":
		l.hub.count(a.Method)
		if weather := l.weather.Load(); weather != nil && weather.Mute {
			return
		}
		o := upstream.Object{{Name: "method", Value: "pong"}}
		if a.ID != nil {
			o.Set("req_id", *a.ID)
		}
		o.Set("time_in", wireTime(in))
		o.Set("time_out", wireTime(l.hub.now()))
		l.say(ctx, o)
	case "subscribe", "unsubscribe":
		l.hub.count(a.Method)
		if len(a.Params.Symbol) == 0 {
			l.refuse(ctx, a, "", "Symbol(s) not provided", in)
			return
		}
		for _, symbol := range a.Params.Symbol {
			l.change(ctx, a, symbol, in)
		}
	default:
		l.hub.count(methodUnknown)
		l.refuse(ctx, a, "", "Method not supported", in)
	}
}

// change subscribes to, or unsubscribes from, the channel of one pair. There is an answer for each.
func (l *listener) change(ctx context.Context, a ask, symbol string, in time.Time) {
	minutes := 1
	if a.Params.Interval != nil {
		minutes = *a.Params.Interval
	}
	c, complaint := l.hub.find(a.Params.Channel, symbol, minutes)
	l.mu.Lock()
	_, there := l.subscribed[c.Name]
	count := len(l.subscribed)
	if a.Method == "unsubscribe" && complaint == "" {
		delete(l.subscribed, c.Name)
	}
	l.mu.Unlock()
	switch {
	case complaint != "":
	case a.Method == "subscribe" && there:
		complaint = "Already subscribed to " + a.Params.Channel + " " + symbol
	case a.Method == "unsubscribe" && !there:
		complaint = "Subscription Not Found"
	case a.Method == "subscribe" && count >= maxStreams:
		complaint = "Subscription limit exceeded"
	}
	if complaint != "" {
		l.refuse(ctx, a, symbol, complaint, in)
		return
	}
	snapshot := a.Params.Snapshot == nil || *a.Params.Snapshot
	words := upstream.Object{{Name: "channel", Value: a.Params.Channel}}
	if a.Params.Channel == kraken.ChannelTicker {
		words.Set("event_trigger", "trades")
	} else {
		words.Set("interval", minutes)
	}
	words.Set("snapshot", snapshot)
	words.Set("symbol", symbol)
	l.say(ctx, l.answer(a, in, true, upstream.Object{{Name: "result", Value: words}}))
	if a.Method != "subscribe" {
		return
	}
	now := l.hub.now()
	if snapshot {
		l.frame(ctx, c, func(back time.Duration) ([]byte, error) { return c.Snapshot(now.Add(-back)) })
	}
	l.mu.Lock()
	l.subscribed[c.Name] = &told{c, now}
	l.mu.Unlock()
}

// frame sends one frame of a channel, and what the faults make of it. It is false when there was none to send.
func (l *listener) frame(ctx context.Context, c kraken.Channel, of func(back time.Duration) ([]byte, error)) bool {
	text, err := of(0)
	if err != nil {
		text = encode(err.Error()) // A number without a JSON form is a mistake of this program, which the client is shown.
	}
	if text == nil {
		return false
	}
	treatment := l.hub.faults.Frame(l.id, l.path, c.Name)
	if treatment.Silent {
		return false
	}
	l.sent.Add(1)
	l.write(ctx, text)
	if treatment.Twice {
		l.sent.Add(1)
		l.write(ctx, text)
	}
	if treatment.Late != 0 {
		if text, err := of(treatment.Late); err == nil && text != nil {
			l.sent.Add(1)
			l.write(ctx, text)
		}
	}
	return true
}

// run tells what happens, sends heartbeats, and closes the connection when it has ended.
func (l *listener) run(ctx context.Context) {
	defer l.close(ctx)
	writes := context.WithoutCancel(ctx)
	l.say(writes, upstream.Object{
		{Name: "channel", Value: "status"},
		{Name: "type", Value: "update"},
		{Name: "data", Value: []upstream.Object{{
			{Name: "version", Value: "2.0.10"},
			{Name: "system", Value: "online"},
			{Name: "api_version", Value: "v2"},
			{Name: "connection_id", Value: json.Number(strconv.FormatUint(uint64(l.id)*2862933555777941757, 10))}, // Beyond what a float holds.
		}}},
	})
	timer := time.NewTimer(0)
	defer timer.Stop()
	spoke, looked := time.Now(), time.Now()
	for {
		changed := l.hub.faults.Changed()
		weather := l.hub.faults.Weather(l.id, l.path)
		l.weather.Store(&weather)
		interval := l.hub.options.Interval
		if weather.Interval != 0 {
			interval = weather.Interval
		}
		subscribed := len(l.names()) > 0
		ends, why := l.ends(&weather, subscribed)
		next := earliest(looked.Add(interval), ends)
		if subscribed && !weather.Mute {
			next = earliest(next, spoke.Add(l.hub.options.Heartbeat))
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-l.nudge:
		case <-timer.C:
			now := time.Now()
			if !ends.IsZero() && !now.Before(ends) {
				l.finish(why)
				return
			}
			if !now.Before(looked.Add(interval)) {
				looked = now
				if l.tell(writes) {
					spoke = now
				}
			}
			if subscribed && !weather.Mute && !now.Before(spoke.Add(l.hub.options.Heartbeat)) {
				spoke = now
				l.write(writes, []byte(`{"channel":"heartbeat"}`))
			}
		}
	}
}

// ends is when the connection ends, and why; the zero time when it does not.
func (l *listener) ends(w *Weather, subscribed bool) (time.Time, *ending) {
	var at time.Time
	var why *ending
	if !subscribed {
		at, why = l.opened.Add(l.hub.options.Idle), endIdle
	}
	if w.Life != 0 {
		if end := l.opened.Add(w.Life); at.IsZero() || end.Before(at) {
			at, why = end, endAge
		}
	}
	if w.Cut != nil && (at.IsZero() || w.Cut.At.Before(at)) {
		at, why = w.Cut.At, &ending{labelCut, "going away", websocket.StatusCode(w.Cut.Code)}
	}
	return at, why
}

// earliest of two times, of which the second may be zero for never.
func earliest(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// tell sends what trades have changed since the last time. It is false when there was nothing to send.
func (l *listener) tell(ctx context.Context) (spoke bool) {
	now := l.hub.now()
	for _, name := range l.names() {
		l.mu.Lock()
		t := l.subscribed[name]
		l.mu.Unlock()
		if t == nil || !now.After(t.until) {
			continue
		}
		since := t.until
		t.until = now // Nobody else looks at it.
		spoke = l.frame(ctx, t.Channel, func(back time.Duration) ([]byte, error) {
			return t.Update(since.Add(-back), now.Add(-back))
		}) || spoke
	}
	return spoke
}
