package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Figures are what calls of one method took.
type Figures struct {
	// Method of the contract, and how many Calls of it were timed.
	Method string `json:"method"`
	Calls  int    `json:"calls"`
	// P50 and P99 in milliseconds.
	P50 float64 `json:"p50_ms"`
	P99 float64 `json:"p99_ms"`
}

// Memory is what the process held, in bytes.
type Memory struct {
	// Start is before the calls that were timed, End after them.
	Start int64 `json:"start_bytes"`
	End   int64 `json:"end_bytes"`
}

// Bounds of a measurement of one method.
const (
	measuredCalls = 1000
	measuredTime  = 2 * time.Second
)

// measure calls every method one at a time. The notes say what could not be measured: what keeps the contract is the affair
// of the checks, and a method that fails leaves the figures of the others as they are. Memory is nil where it cannot be seen.
func (s Subject) measure(ctx context.Context) (figures []Figures, memory *Memory, notes []string) {
	b := &bench{Subject: s, tag: "measure"}
	defer b.close()
	p, err := b.running(ctx)
	if err != nil {
		return nil, nil, []string{fmt.Sprintf("nothing was measured: %v", err)}
	}
	start, memoryErr := resident(p.PID())
	calls := append(b.roleCalls(p.Island()),
		roleCall{name: "Health", call: func(ctx context.Context) error { p.Island().Health(ctx); return nil }},
		roleCall{name: "Metrics", call: func(ctx context.Context) error { return second(p.Island().Metrics(ctx)) }})
	for _, c := range calls {
		took, err := measureCall(ctx, c)
		if err != nil {
			notes = append(notes, fmt.Sprintf("%s was not measured: %v", c.name, err))
			continue
		}
		slices.Sort(took)
		milliseconds := func(share float64) float64 {
			return float64(took[int(share*float64(len(took)-1))]) / float64(time.Millisecond)
		}
		figures = append(figures, Figures{Method: c.name, Calls: len(took), P50: milliseconds(0.5), P99: milliseconds(0.99)})
	}
	if memoryErr != nil {
		return figures, nil, notes
	}
	end, err := resident(p.PID())
	if err != nil {
		return figures, nil, append(notes, fmt.Sprintf("memory was not measured: %v", err))
	}
	return figures, &Memory{Start: start, End: end}, notes
}

// measureCall calls one method again and again and returns what each call took, at least one. The refusals of a budget end
// it: they are not what the method takes.
func measureCall(ctx context.Context, c roleCall) ([]time.Duration, error) {
	var took []time.Duration
	for until := time.Now().Add(measuredTime); len(took) < measuredCalls && time.Now().Before(until); {
		begun := time.Now()
		err := c.call(ctx)
		if errors.Is(err, sdk.RateLimited) && len(took) > 0 {
			break
		}
		if err == nil {
			err = ctx.Err() // Health has no error of its own, and would be measured after the time was up.
		}
		if err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	return took, nil
}
