package main

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/host/internal/supervisor"
)

// TestDebuggingOutlastsAHostThatIsHeldUp for as long as the host leaves the island under its debugger, and no longer.
func TestDebuggingOutlastsAHostThatIsHeldUp(t *testing.T) {
	t.Parallel()
	slow := errors.New("the host did not answer")
	for name, tc := range map[string]struct {
		answer func(n int) error
		ends   string // what the error says, empty when the operator ends it
		within time.Duration
		asked  int // at least
		warned int
	}{
		"kept":            {func(int) error { return nil }, "", time.Hour, 200, 0},
		"held up, twice":  {func(n int) error { return map[int]error{2: slow, 3: slow, 6: slow}[n] }, "", time.Hour, 200, 2},
		"not heard":       {func(int) error { return slow }, "has not heard for 45s", supervisor.DebuggerLease + keepTimeout + keepAgain, 3, 1},
		"a reload":        {func(int) error { return &refusal{status: http.StatusConflict} }, "no longer debugged", keepEvery, 1, 0},
		"no such island":  {func(int) error { return &refusal{status: http.StatusNotFound} }, "no longer debugged", keepEvery, 1, 0},
		"another refusal": {func(n int) error { return map[int]error{1: &refusal{status: http.StatusServiceUnavailable}}[n] }, "", time.Hour, 200, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				var out bytes.Buffer
				began, asked := time.Now(), 0
				err := keepDebugged(ctx, "mood", &out, func(context.Context) error {
					asked++
					err := tc.answer(asked)
					if errors.Is(err, slow) {
						time.Sleep(keepTimeout)
					}
					return err
				})
				if (err == nil) != (tc.ends == "") || err != nil && !strings.Contains(err.Error(), tc.ends) {
					t.Errorf("%v", err)
				}
				if took := time.Since(began); took > tc.within || asked < tc.asked {
					t.Errorf("it took %s and %d tries", took, asked)
				}
				if n := strings.Count(out.String(), "trying to keep it"); n != tc.warned {
					t.Errorf("%d warnings: %s", n, &out)
				}
			})
		})
	}
}
