package sim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Kinds of faults.
const (
	// KindStatus answers with an error status.
	KindStatus = "status"
	// KindLatency delays the answer; it goes together with any other kind.
	KindLatency = "latency"
	// KindTruncate cuts the body in half.
	KindTruncate = "truncate"
	// KindReset resets the connection.
	KindReset = "reset"
	// KindSilence accepts the call and never answers.
	KindSilence = "silence"
	// KindBan answers 418 until the ban ends; Binance only.
	KindBan = "ban"
	// KindRestricted answers 451; Binance only.
	KindRestricted = "restricted"
	// KindError answers an error in words with status 200; Kraken only.
	KindError = "error"
	// KindGarbage answers 200 with a body that means nothing.
	KindGarbage = "garbage"
	// KindLimit replaces the budget per minute.
	KindLimit = "limit"
)

// Fault is a misbehaviour to switch on, in the shape of `POST /_sim/faults`.
type Fault struct {
	// Service is "coingecko" (both hosts), "coingecko-pro", "binance", "kraken", "fng" or "*".
	Service string `json:"service"`
	// Route limits the fault to paths, or route templates, that begin with it, without the service's prefix. Empty: all.
	Route string `json:"route,omitempty"`
	Kind  string `json:"kind"`
	// Status is 400 to 599; for the kind status only.
	Status int `json:"status,omitempty"`
	// Body is "json", "html" or "text"; for the kinds status, ban, restricted, limit and garbage. Empty leaves it to the
	// service.
	Body string `json:"body,omitempty"`
	// RetryAfter is the header's value: seconds, an HTTP date, or "auto" for what is left of the minute. Empty: no
	// header. For a ban it is the length in seconds, default 120, and the header says what is left of it.
	RetryAfter string `json:"retry_after,omitempty"`
	// Words are the error, such as "EAPI:Rate limit exceeded"; for the kind error only.
	Words string `json:"words,omitempty"`
	// LatencyMS is 1 to 600000; for the kind latency only.
	LatencyMS int `json:"latency_ms,omitempty"`
	// Count is how many calls, or frames, meet the fault before it is removed; 0 until it is cleared. Of the kinds that meet
	// connections it is how many of those do, and the fault is removed when the last of them has ended.
	Count int `json:"count,omitempty"`
	// Limit is calls per minute, or weight for Binance, at least 1; for the kind limit only.
	Limit int `json:"limit,omitempty"`
	// Stream limits the kinds stream_silence, stream_duplicate and stream_late to streams whose name begins with it, such
	// as "btcusdt@". Empty: all.
	Stream string `json:"stream,omitempty"`
	// Code is the close frame's, such as 1001; 0 resets the connection without one. For the kind stream_cut only.
	Code int `json:"code,omitempty"`
	// AfterMS is how long after meeting the fault a connection ends, for the kinds stream_cut (default 0) and
	// stream_shutdown (default 1000), or at which age, for stream_life (1 or more). At most 86400000, a day.
	AfterMS int `json:"after_ms,omitempty"`
	// LateMS is how old a late frame is, at most 86400000, default 5000; for the kind stream_late only.
	LateMS int `json:"late_ms,omitempty"`
	// StreamIntervalMS is the pace, 10 to 600000; for the kind stream_interval only.
	StreamIntervalMS int `json:"stream_interval_ms,omitempty"`
}

// ActiveFault is a fault in force and how many calls have met it.
type ActiveFault struct {
	Fault
	Hits int `json:"hits"`
}

// maxFaults bounds how many faults are active at once.
const maxFaults = 64

// maxRoute bounds a fault's route.
const maxRoute = 200

// defaultBan is how long a ban lasts that does not say.
const defaultBan = 2 * time.Minute

// maxBan is the longest ban.
const maxBan = 72 * time.Hour

// check says what is wrong with a fault.
func (f Fault) check() error {
	switch f.Service {
	case serviceCoinGecko, serviceCoinGeckoPro, serviceBinance, serviceKraken, serviceFearGreed, "*":
	case "":
		return errors.New(`service is missing: want "coingecko", "coingecko-pro", "binance", "kraken", "fng" or "*"`)
	default:
		return fmt.Errorf(`service %q is unknown: want "coingecko", "coingecko-pro", "binance", "kraken", "fng" or "*"`, f.Service)
	}
	if f.Route != "" && (f.Route[0] != '/' || len(f.Route) > maxRoute) {
		return fmt.Errorf(`route %.40q: want a path such as "/coins/markets", at most %d bytes`, f.Route, maxRoute)
	}
	if len(f.Stream) > maxRoute {
		return fmt.Errorf("stream %.40q: want the beginning of a name such as \"btcusdt@\", at most %d bytes", f.Stream, maxRoute)
	}
	if f.Count < 0 {
		return fmt.Errorf("count is %d: want 0 for no end, or more", f.Count)
	}
	allowed, err := f.checkKind()
	if err != nil {
		return err
	}
	for _, field := range []struct {
		name string
		set  bool
	}{
		{"status", f.Status != 0},
		{"body", f.Body != ""},
		{"retry_after", f.RetryAfter != ""},
		{"latency_ms", f.LatencyMS != 0},
		{"words", f.Words != ""},
		{"limit", f.Limit != 0},
		{"stream", f.Stream != ""},
		{"code", f.Code != 0},
		{"after_ms", f.AfterMS != 0},
		{"late_ms", f.LateMS != 0},
		{"stream_interval_ms", f.StreamIntervalMS != 0},
		{"route", f.Route != ""},
		{"count", f.Count != 0},
	} {
		if field.set && !slices.Contains(allowed, field.name) {
			return fmt.Errorf("%s means nothing for kind %q", field.name, f.Kind)
		}
	}
	switch upstream.Style(f.Body) {
	case "", upstream.StyleJSON, upstream.StyleHTML, upstream.StyleText:
	default:
		return fmt.Errorf(`body %q is unknown: want "json", "html" or "text"`, f.Body)
	}
	return f.checkRetryAfter()
}

// checkKind checks what a kind needs and lists the fields that it knows.
func (f Fault) checkKind() (allowed []string, err error) {
	switch f.Kind {
	case KindStatus:
		return []string{"status", "body", "retry_after", "route", "count"}, f.checkStatus()
	case KindLatency:
		if f.LatencyMS < 1 || f.LatencyMS > 600_000 {
			return nil, fmt.Errorf("latency_ms is %d: want 1 to 600000", f.LatencyMS)
		}
		return []string{"latency_ms", "route", "count"}, nil
	case KindTruncate, KindReset, KindSilence:
		return []string{"route", "count"}, nil
	case KindGarbage:
		return []string{"body", "route", "count"}, nil
	case KindBan, KindRestricted:
		if f.Service != serviceBinance && f.Service != "*" {
			return nil, fmt.Errorf("kind %q is for binance only, not for %q", f.Kind, f.Service)
		}
		return []string{"body", "retry_after", "route", "count"}, nil
	case KindError:
		if f.Service != serviceKraken {
			return nil, fmt.Errorf("kind %q is for kraken only, not for %q", f.Kind, f.Service)
		}
		if f.Words == "" || len(f.Words) > maxRoute {
			return nil, fmt.Errorf(`words %.40q: want an error such as "EAPI:Rate limit exceeded", at most %d bytes`, f.Words, maxRoute)
		}
		return []string{"words", "route", "count"}, nil
	case KindLimit:
		if f.Limit < 1 {
			return nil, fmt.Errorf("limit is %d: want 1 or more per minute", f.Limit)
		}
		return []string{"limit", "body", "retry_after"}, nil
	case "":
		return nil, errors.New("kind is missing")
	}
	if f.Kind == KindStreamRefuse || onConnections(f.Kind) || onFrames(f.Kind) {
		return f.checkStream()
	}
	return nil, fmt.Errorf("kind %q is unknown: want status, latency, truncate, reset, silence, ban, restricted, error, "+
		"garbage or limit, or for streams stream_refuse, stream_silence, stream_no_ping, stream_cut, stream_shutdown, stream_life, "+
		"stream_interval, stream_duplicate or stream_late", f.Kind)
}

func (f Fault) checkStatus() error {
	if f.Status < 400 || f.Status > 599 {
		return fmt.Errorf("status is %d: want 400 to 599", f.Status)
	}
	return nil
}

func (f Fault) checkRetryAfter() error {
	if f.RetryAfter == "" {
		return nil
	}
	seconds, err := strconv.Atoi(f.RetryAfter)
	whole := err == nil && seconds >= 0
	if f.Kind == KindBan {
		if !whole || seconds == 0 || time.Duration(seconds)*time.Second > maxBan {
			return fmt.Errorf("retry_after %.40q: a ban wants 1 to %d seconds", f.RetryAfter, int(maxBan.Seconds()))
		}
		return nil
	}
	if _, err := http.ParseTime(f.RetryAfter); err != nil && !whole && f.RetryAfter != upstream.RetryAuto {
		return fmt.Errorf(`retry_after %.40q: want seconds, an HTTP date or "auto"`, f.RetryAfter)
	}
	return nil
}

// meets says whether a call of a service comes upon the fault.
func (f Fault) meets(service, path, template string) bool {
	switch f.Kind {
	case KindBan, KindRestricted, KindStreamShutdown:
		if service != serviceBinance {
			return false
		}
	case KindStreamRefuse:
		if service != serviceBinance && service != serviceKraken {
			return false
		}
	}
	named := f.Service == "*" || f.Service == service ||
		f.Service == serviceCoinGecko && service == serviceCoinGeckoPro
	return named && (strings.HasPrefix(path, f.Route) || strings.HasPrefix(template, f.Route))
}

// faultSet holds the active faults in order. Its released channel is closed when they are cleared, and changed also when
// some are added.
type faultSet struct {
	mu       sync.Mutex
	list     []*live
	released chan struct{}
	changed  chan struct{}
}

// live is an active fault. Until is the end of a ban; since is when the open connections met it, for a kind that they do
// meet.
type live struct {
	ActiveFault
	until time.Time
	since map[int64]time.Time
}

func (s *faultSet) add(now time.Time, faults []Fault) error {
	added := make([]*live, len(faults))
	for i, f := range faults {
		if err := f.check(); err != nil {
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
		added[i] = &live{ActiveFault: ActiveFault{Fault: f}}
		if f.Kind == KindBan {
			length := defaultBan
			if seconds, err := strconv.Atoi(f.RetryAfter); err == nil {
				length = time.Duration(seconds) * time.Second
			}
			added[i].until = now.Add(length)
		}
		if onConnections(f.Kind) {
			added[i].since = map[int64]time.Time{}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	if len(s.list)+len(added) > maxFaults {
		return fmt.Errorf("%d faults are active, at most %d can be: clear them first", len(s.list), maxFaults)
	}
	s.list = append(s.list, added...)
	s.change()
	return nil
}

// expire removes bans that have ended.
func (s *faultSet) expire(now time.Time) {
	s.list = slices.DeleteFunc(s.list, func(f *live) bool { return !f.until.IsZero() && !now.Before(f.until) })
}

func (s *faultSet) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = nil
	close(s.released)
	s.released = make(chan struct{})
	s.change()
}

// change tells the open connections to look again.
func (s *faultSet) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *faultSet) active(now time.Time) []ActiveFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	list := make([]ActiveFault, len(s.list))
	for i, f := range s.list {
		list[i] = f.ActiveFault
	}
	return list
}

// meeting is what the faults do to one call: at most one delay, one budget and one act or failure.
type meeting struct {
	delay    time.Duration
	limit    *upstream.Limit
	act      string
	failure  upstream.Failure
	released <-chan struct{}
}

// concerns says whether a kind is for calls, of which the upgrade of a stream is a special one.
func concerns(kind string, upgrade bool) bool {
	switch {
	case kind == KindStreamRefuse:
		return upgrade
	case kind == KindTruncate, kind == KindLimit, kind == KindError:
		return !upgrade
	}
	return !onConnections(kind) && !onFrames(kind)
}

// meet finds the first fault of each sort that a call comes upon, and uses up one of its count.
func (s *faultSet) meet(service, path, template string, upgrade bool, now time.Time) meeting {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
	met := meeting{released: s.released}
	s.list = slices.DeleteFunc(s.list, func(f *live) bool {
		if !concerns(f.Kind, upgrade) || !f.meets(service, path, template) {
			return false
		}
		switch f.Kind {
		case KindLatency:
			if met.delay != 0 {
				return false
			}
			met.delay = time.Duration(f.LatencyMS) * time.Millisecond
		case KindLimit:
			if met.limit != nil {
				return false
			}
			met.limit = &upstream.Limit{PerMinute: f.Limit, Style: upstream.Style(f.Body), RetryAfter: f.RetryAfter}
		default:
			if met.act != "" {
				return false
			}
			met.act, met.failure = f.Kind, f.failure(now)
		}
		f.Hits++
		return f.Count > 0 && f.Hits >= f.Count
	})
	return met
}

// failure is the error that the fault answers with; its status is 0 for a fault that answers none.
func (f *live) failure(now time.Time) upstream.Failure {
	failure := upstream.Failure{Style: upstream.Style(f.Body), RetryAfter: f.RetryAfter, Until: f.until}
	if f.RetryAfter == upstream.RetryAuto {
		failure.RetryAfter = upstream.RetrySeconds(now.Truncate(time.Minute).Add(time.Minute).Sub(now))
	}
	switch f.Kind {
	case KindError:
		failure.Status, failure.Words = http.StatusOK, f.Words
	case KindStatus, KindStreamRefuse:
		failure.Status = f.Status
		failure.Until = now.Add(defaultBan)
	case KindBan:
		failure.Status = http.StatusTeapot
		failure.RetryAfter = upstream.RetrySeconds(f.until.Sub(now))
	case KindRestricted:
		failure.Status = http.StatusUnavailableForLegalReasons
	}
	return failure
}
