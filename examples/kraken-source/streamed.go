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
	dropLate       drop = iota // older than one of the same pair
	dropDuplicate              // as old as one of the same pair
	dropDead                   // of a pair that is not traded
	dropSuperseded             // given up for a newer one before the receiver took it
	dropRefused                // of a pair that Kraken does not stream
	dropUnknown                // of another channel, or of a pair that nobody asked for
	dropMalformed              // not what the API speaks
	drops
)

// dropNames holds the name of each reason, in the order of the constants.
var dropNames = [drops]string{"late", "duplicate", "dead", "superseded", "refused", "unknown", "malformed"}

// streamed counts what the streams brought.
type streamed struct {
	frames, candles, reconnects atomic.Int64
	dropped                     [drops]atomic.Int64
	// skew is how far Kraken's clock is before this one, in nanoseconds, less what an answer takes.
	skew atomic.Int64
}

// drop counts something that was not emitted.
func (s *streamed) drop(why drop) { s.dropped[why].Add(1) }

// krakenNow is the time there, as far as answers have told.
func (s *source) krakenNow() time.Time {
	return s.now().Add(time.Duration(s.streamed.skew.Load())).UTC()
}

// streamMetrics are those of all streams together.
func (s *source) streamMetrics() sdk.Metrics {
	connections, age := 0, 0.0
	for i, f := range s.streams.list() {
		state := f.state(time.Now())
		if state.stands {
			connections++
		}
		// The freshest of them says whether Kraken still sends.
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
		sdk.Gauge("stream_connections", "", "Connections to the stream that are subscribed.", float64(connections)),
		sdk.Counter("stream_frames_total", "Messages that the stream brought.", float64(s.streamed.frames.Load())),
		sdk.Counter("stream_candles_total", "Candles that closed.", float64(s.streamed.candles.Load())),
		sdk.Counter("stream_reconnects_total", "Connections replaced because they broke or fell silent.", float64(s.streamed.reconnects.Load())),
		dropped,
		sdk.Gauge("stream_last_frame_age_seconds", "seconds", "How old the newest ticker is; 0 while nothing streams.", age),
	}
}

// feedState is how a feed is.
type feedState struct {
	pairs  int
	stands bool
	// age is how long no ticker came, and down how long no connection has stood, and why.
	age, down time.Duration
	why       error
	system    string
}

// state says how the feed is.
func (f *feed) state(now time.Time) feedState {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := feedState{pairs: len(f.pairs), stands: f.current != nil, why: f.why, system: f.system}
	last := f.heard
	if last.IsZero() {
		last = f.began
	}
	out.age = max(0, now.Sub(last))
	if !out.stands {
		out.down = now.Sub(f.down)
	}
	return out
}

// reason is why the feed is not well, empty when it is.
func (st feedState) reason(m manners) string {
	switch {
	case !st.stands && st.down >= m.downAfter && st.why != nil:
		return fmt.Sprintf("no connection for %.0f s: %s", st.down.Seconds(), sdk.KindOf(st.why))
	case !st.stands && st.down >= m.downAfter:
		return fmt.Sprintf("no connection for %.0f s", st.down.Seconds())
	case st.system != "" && st.system != "online":
		return fmt.Sprintf("the exchange is in state %.40q", st.system)
	case st.age >= m.quietAfter:
		return fmt.Sprintf("no ticker for %.0f s", st.age.Seconds())
	default:
		return ""
	}
}

// streamPart is the health of the streams, and whether there is anything to say: without a stream there is not, unless Kraken
// refuses to open one.
func (s *source) streamPart() (sdk.Part, bool) {
	part := sdk.Part{Name: "stream", Details: map[string]any{}}
	worsen := func(reason string) {
		if part.Status == sdk.StatusOK && reason != "" {
			part.Status, part.Reason = sdk.StatusDegraded, reason
		}
	}
	refusal := s.exile.refusal(s.now())
	if refusal != nil {
		part.Details["retry_after_seconds"] = math.Ceil(refusal.RetryAfter.Seconds())
		worsen(refusal.Message)
	}
	feeds, pairs, connections := s.streams.list(), 0, 0
	for _, f := range feeds {
		state := f.state(time.Now())
		pairs += state.pairs
		if state.stands {
			connections++
		}
		worsen(state.reason(f.manners))
	}
	part.Details["symbols"], part.Details["connections"] = pairs, connections
	return part, refusal != nil || len(feeds) > 0
}
