package sdk

import "fmt"

// Status is how something is. The zero value is StatusOK; higher is worse.
type Status uint8

// The three statuses.
const (
	StatusOK       Status = iota // works, or is deliberately not configured
	StatusDegraded               // answers, but with less than it should: an upstream is down, a tier is off
	StatusFailed                 // cannot do its job
)

// String returns "ok", "degraded" or "failed".
func (s Status) String() string {
	switch s {
	case StatusOK:
		return "ok"
	case StatusDegraded:
		return "degraded"
	case StatusFailed:
		return "failed"
	default:
		return fmt.Sprintf("status(%d)", uint8(s))
	}
}

// MarshalText writes the status' name.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a status' name; an unknown one is an InvalidArgument error.
func (s *Status) UnmarshalText(text []byte) error {
	for _, known := range []Status{StatusOK, StatusDegraded, StatusFailed} {
		if string(text) == known.String() {
			*s = known
			return nil
		}
	}
	return Errorf(InvalidArgument, "no status %q; the statuses are ok, degraded and failed", text)
}

// Worst returns the worst of the statuses, StatusOK for none.
func Worst(statuses ...Status) Status {
	worst := StatusOK
	for _, s := range statuses {
		worst = max(worst, s)
	}
	return worst
}

// Health is how an island is. What is not configured is ok. An upstream that is down makes a source degraded, which
// never restarts it.
type Health struct {
	Status Status `json:"status"`
	// Reason in a short sentence, empty when ok. It is shown to anonymous clients: no path, address or secret.
	Reason string `json:"reason"`
	// Parts of the island that can be well or ill by themselves, such as the tiers of a cache.
	Parts []Part `json:"parts,omitempty"`
}

// Part is one part of an island with its own status.
type Part struct {
	// Name such as "l2" or "upstream"; unique within the island.
	Name   string `json:"name"`
	Status Status `json:"status"`
	Reason string `json:"reason"`
	// Details are figures and words worth showing. Values are string, bool, float64, or integers that a float64 holds.
	Details map[string]any `json:"details,omitempty"`
}

// Part returns the part of that name.
func (h Health) Part(name string) (Part, bool) {
	for _, p := range h.Parts {
		if p.Name == name {
			return p, true
		}
	}
	return Part{}, false
}

// Healthy is the health of an island with nothing to report.
func Healthy(parts ...Part) Health { return Health{Parts: parts} }

// Degraded is the health of an island that answers with less than it should.
func Degraded(reason string, parts ...Part) Health {
	return Health{Status: StatusDegraded, Reason: reason, Parts: parts}
}

// Failed is the health of an island that cannot do its job.
func Failed(reason string, parts ...Part) Health {
	return Health{Status: StatusFailed, Reason: reason, Parts: parts}
}
