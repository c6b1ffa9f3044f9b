package sim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/streams"
)

// Kinds of faults of Binance's streams and Kraken's channels. The other kinds, but for truncate and limit, meet the upgrade of a connection as
// they meet any call.
const (
	// KindStreamRefuse answers the upgrade with an error status.
	KindStreamRefuse = "stream_refuse"
	// KindStreamSilence keeps a connection open and sends no data, answers or notices; pings go on.
	KindStreamSilence = "stream_silence"
	// KindStreamNoPing sends neither pings nor pongs.
	KindStreamNoPing = "stream_no_ping"
	// KindStreamCut ends a connection with a code, or resets it.
	KindStreamCut = "stream_cut"
	// KindStreamShutdown sends a serverShutdown frame and ends the connection later.
	KindStreamShutdown = "stream_shutdown"
	// KindStreamLife replaces the 24 hours that a connection may be open.
	KindStreamLife = "stream_life"
	// KindStreamInterval replaces the pace of the streams.
	KindStreamInterval = "stream_interval"
	// KindStreamDuplicate sends frames twice.
	KindStreamDuplicate = "stream_duplicate"
	// KindStreamLate sends, after a frame, the one of some time before.
	KindStreamLate = "stream_late"
)

const (
	defaultLate     = 5 * time.Second
	defaultShutdown = time.Second
	maxStreamMS     = 86_400_000
	minIntervalMS   = 10
	maxIntervalMS   = 600_000
)

// onConnections says that a kind meets connections; each counts once.
func onConnections(kind string) bool {
	switch kind {
	case KindStreamSilence, KindStreamNoPing, KindStreamCut, KindStreamShutdown, KindStreamLife, KindStreamInterval:
		return true
	}
	return false
}

// onFrames says that a kind meets frames.
func onFrames(kind string) bool { return kind == KindStreamDuplicate || kind == KindStreamLate }

// checkStream checks what a kind of the streams needs and lists the fields that it knows.
func (f Fault) checkStream() (allowed []string, err error) {
	switch {
	case f.Service == serviceBinance, f.Service == "*":
	case f.Service != serviceKraken:
		return nil, fmt.Errorf("kind %q is for binance and kraken only, not for %q", f.Kind, f.Service)
	case f.Kind == KindStreamShutdown:
		return nil, fmt.Errorf("kind %q is for binance only, not for %q", f.Kind, f.Service)
	}
	within := func(name string, ms, from, to int) error {
		if ms < from || ms > to {
			return fmt.Errorf("%s is %d: want %d to %d", name, ms, from, to)
		}
		return nil
	}
	switch f.Kind {
	case KindStreamRefuse:
		return []string{"status", "body", "retry_after", "route", "count"}, f.checkStatus()
	case KindStreamNoPing:
		return []string{"route", "count"}, nil
	case KindStreamSilence, KindStreamDuplicate:
		return []string{"stream", "route", "count"}, nil
	case KindStreamLate:
		return []string{"late_ms", "stream", "route", "count"}, within("late_ms", f.LateMS, 0, maxStreamMS)
	case KindStreamCut:
		if !closeCode(f.Code) {
			return nil, fmt.Errorf("code is %d: want one that a close frame may carry, such as 1001 or 1008, or 0 for a reset", f.Code)
		}
		return []string{"code", "after_ms", "route", "count"}, within("after_ms", f.AfterMS, 0, maxStreamMS)
	case KindStreamShutdown:
		return []string{"after_ms", "route", "count"}, within("after_ms", f.AfterMS, 0, maxStreamMS)
	case KindStreamLife:
		return []string{"after_ms", "route", "count"}, within("after_ms", f.AfterMS, 1, maxStreamMS)
	case KindStreamInterval:
		return []string{"stream_interval_ms", "route", "count"},
			within("stream_interval_ms", f.StreamIntervalMS, minIntervalMS, maxIntervalMS)
	}
	return nil, errors.New("kind is unknown")
}

// closeCode says whether a close frame can carry a code; 0 stands for none.
func closeCode(code int) bool {
	switch {
	case code >= 1004 && code <= 1006:
		return false
	case code == 0, code >= 1000 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// ms is a number of milliseconds, or the default when there is none.
func ms(n int, def time.Duration) time.Duration {
	if n == 0 {
		return def
	}
	return time.Duration(n) * time.Millisecond
}

// connectionFaults are the faults that the connections of one service meet.
type connectionFaults struct {
	*faultSet
	service string
}

var _ streams.Faults = (*connectionFaults)(nil)

// Changed is closed when faults were added or cleared.
func (s *faultSet) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// reaches says whether a fault meets a connection, and takes the connection in when it is new to the fault.
func (f *live) reaches(connection int64, service, path string) bool {
	if !f.meets(service, path, path) {
		return false
	}
	if _, ok := f.since[connection]; ok {
		return true
	}
	if f.Count > 0 && f.Hits >= f.Count {
		return false
	}
	f.Hits++
	f.since[connection] = time.Now()
	return true
}

// Weather is what is in force for a connection: the first fault of each sort.
func (s *connectionFaults) Weather(connection int64, path string) streams.Weather {
	s.mu.Lock()
	defer s.mu.Unlock()
	var w streams.Weather
	silent := false
	for _, f := range s.list {
		if !onConnections(f.Kind) {
			continue
		}
		var met bool
		switch f.Kind {
		case KindStreamSilence:
			met = silent
		case KindStreamNoPing:
			met = w.Mute
		case KindStreamLife:
			met = w.Life != 0
		case KindStreamInterval:
			met = w.Interval != 0
		default:
			met = w.Cut != nil
		}
		if met || !f.reaches(connection, s.service, path) {
			continue
		}
		switch f.Kind {
		case KindStreamSilence:
			// One that is for some streams leaves room for another.
			silent = f.Stream == ""
		case KindStreamNoPing:
			w.Mute = true
		case KindStreamLife:
			w.Life = ms(f.AfterMS, 0)
		case KindStreamInterval:
			w.Interval = ms(f.StreamIntervalMS, 0)
		case KindStreamCut:
			w.Cut = &streams.Cut{At: f.since[connection].Add(ms(f.AfterMS, 0)), Code: f.Code}
		case KindStreamShutdown:
			w.Cut = &streams.Cut{At: f.since[connection].Add(ms(f.AfterMS, defaultShutdown)), Code: 1001, Shutdown: true}
		}
	}
	return w
}

// Frame is what happens to a frame of a stream, or to an answer or notice when the stream is "".
func (s *connectionFaults) Frame(connection int64, path, stream string) streams.Treatment {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.list {
		// A fault for all is in force at once, also for a connection that has not looked at its weather since.
		if _, ok := f.since[connection]; f.Kind == KindStreamSilence && (ok || f.Count == 0) &&
			f.meets(s.service, path, path) && strings.HasPrefix(stream, f.Stream) {
			return streams.Treatment{Silent: true}
		}
	}
	var t streams.Treatment
	if stream == "" {
		return t
	}
	s.list = slices.DeleteFunc(s.list, func(f *live) bool {
		if !onFrames(f.Kind) || !f.meets(s.service, path, path) || !strings.HasPrefix(stream, f.Stream) {
			return false
		}
		switch {
		case f.Kind == KindStreamDuplicate && !t.Twice:
			t.Twice = true
		case f.Kind == KindStreamLate && t.Late == 0:
			t.Late = ms(f.LateMS, defaultLate)
		default:
			return false
		}
		f.Hits++
		return f.Count > 0 && f.Hits >= f.Count
	})
	return t
}

// Gone forgets a connection, and the faults that were for it and others that are gone too.
func (s *faultSet) Gone(connection int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = slices.DeleteFunc(s.list, func(f *live) bool {
		delete(f.since, connection)
		return f.since != nil && f.Count > 0 && f.Hits >= f.Count && len(f.since) == 0
	})
}
