package conformance

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestWithinGivesUp(t *testing.T) {
	release := make(chan struct{})
	if err := within(10*time.Millisecond, "a call", func() { <-release }); err == nil {
		t.Error("it waited")
	}
	close(release)
	if err := within(time.Minute, "a call", func() { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := pause(ctx, time.Now().Add(time.Hour)); err == nil {
		t.Error("it waited for an hour")
	}
}
