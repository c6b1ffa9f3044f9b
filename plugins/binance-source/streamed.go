package main

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// drop is why something was not emitted.
type drop uint8

// The reasons, each a label value of stream_dropped_total.
const (
	dropLate       drop = iota // older than one of the same symbol
	dropDuplicate              // as old as one of the same symbol
	dropDead                   // of a pair that is not traded
	dropSuperseded             // given up for a newer one before the receiver took it
	dropUnknown                // of another type, or of a symbol that nobody asked for
	dropMalformed              // not what the streams speak
	drops
)

// dropNames holds the name of each reason, in the order of the constants.
var dropNames = [drops]string{"late", "duplicate", "dead", "superseded", "unknown", "malformed"}

// streamed counts what the streams brought.
type streamed struct {
	frames, candles, reconnects, rotations atomic.Int64
	dropped                                [drops]atomic.Int64
}

// drop counts something that was not emitted.
func (s *streamed) drop(why drop) { s.dropped[why].Add(1) }

// streamMetrics are those of all streams together.
func (s *source) streamMetrics() sdk.Metrics {
	connections, age := 0, 0.0
	for i, f := range s.streams.list() {
		state := f.state(time.Now())
		connections += state.connections
		// The freshest of them says whether Binance still sends.
		if i == 0 || state.age.Seconds() < age {
			age = state.age.Seconds()
		}
	}
	dropped := sdk.Metric{
		Name: "stream_dropped_total", Type: sdk.CounterType,
		Help: "Frames, quotes and candles that were not emitted, by reason.",
	}
	for why, name := range dropNames {
		dropped.Samples = append(dropped.Samples, sdk.Sample{
			Labels: map[string]string{"reason": name}, Value: float64(s.streamed.dropped[why].Load()),
		})
	}
	return sdk.Metrics{
		sdk.Gauge("stream_connections", "", "Open connections to the streams.", float64(connections)),
		sdk.Counter("stream_frames_total", "Messages that the streams brought.", float64(s.streamed.frames.Load())),
		sdk.Counter("stream_candles_total", "Candles that closed.", float64(s.streamed.candles.Load())),
		sdk.Counter("stream_reconnects_total", "Connections replaced because they broke or fell silent.", float64(s.streamed.reconnects.Load())),
		sdk.Counter("stream_rotations_total", "Connections replaced in time: by age, or because the server said that it would close.",
			float64(s.streamed.rotations.Load())),
		dropped,
		sdk.Gauge("stream_last_frame_age_seconds", "seconds", "How old the newest ticker is; 0 while nothing streams.", age),
	}
}

// feedState is how a feed is.
type feedState struct {
	symbols, lines, connections int
	// age is how long no ticker came.
	age time.Duration
	// down is how many lines have had no connection for long, longest is how long, and trouble is why.
	down    int
	longest time.Duration
	trouble error
}

// state says how the feed is.
func (f *feed) state(now time.Time) feedState {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := feedState{symbols: len(f.pairs), lines: len(f.lines), connections: len(f.sessions), age: now.Sub(f.began)}
	if !f.heard.IsZero() {
		out.age = now.Sub(f.heard)
	}
	for _, l := range f.lines {
		since, down := l.down()
		if !down || now.Sub(since) < f.manners.downAfter {
			continue
		}
		out.down++
		if d := now.Sub(since); d >= out.longest {
			out.longest, out.trouble = d, l.trouble
			if out.trouble == nil && l.current != nil {
				out.trouble = l.current.cause
			}
		}
	}
	return out
}

// down reports whether the line has no connection, and since when. The feed's lock is held.
func (l *line) down() (since time.Time, down bool) {
	switch {
	case l.current == nil:
		return l.feed.began, true
	case l.current.ended():
		return l.current.endedAt, true
	default:
		return time.Time{}, false
	}
}

// reason is why the feed is not well, empty when it is.
func (st feedState) reason(m manners) string {
	switch {
	case st.down > 0 && st.trouble != nil:
		return fmt.Sprintf("%d of %d connections down for %.0f s: %s", st.down, st.lines, st.longest.Seconds(), sdk.KindOf(st.trouble))
	case st.down > 0:
		return fmt.Sprintf("%d of %d connections down for %.0f s", st.down, st.lines, st.longest.Seconds())
	case st.age >= m.quietAfter:
		return fmt.Sprintf("no ticker for %.0f s", st.age.Seconds())
	default:
		return ""
	}
}

// streamPart is the health of the streams, and whether there is anything to say: without a stream there is not, unless
// Binance refuses to open one.
func (s *source) streamPart() (sdk.Part, bool) {
	part := sdk.Part{Name: "stream", Details: map[string]any{}}
	worsen := func(reason string) {
		if part.Status == sdk.StatusOK && reason != "" {
			part.Status, part.Reason = sdk.StatusDegraded, reason
		}
	}
	refusal := s.exile.refusal(s.now())
	feeds := s.streams.list()
	if refusal != nil {
		part.Details["retry_after_seconds"] = math.Ceil(refusal.RetryAfter.Seconds())
		worsen(refusal.Message)
	}
	symbols, lines, connections := 0, 0, 0
	for _, f := range feeds {
		state := f.state(time.Now())
		symbols, lines, connections = symbols+state.symbols, lines+state.lines, connections+state.connections
		worsen(state.reason(f.manners))
	}
	part.Details["symbols"], part.Details["lines"], part.Details["connections"] = symbols, lines, connections
	return part, refusal != nil || len(feeds) > 0
}
