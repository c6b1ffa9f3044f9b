package gateway

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func newTestContext(base context.Context, timeout time.Duration) *requestContext {
	rc := &requestContext{base: base, deadline: time.Now().Add(timeout)}
	rc.id.take([]byte("an-id"))
	return rc
}

func TestRequestContext(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(rc *requestContext, giveUp context.CancelFunc)
		want error
	}{
		"time is up":       {func(*requestContext, context.CancelFunc) { time.Sleep(2 * time.Second) }, context.DeadlineExceeded},
		"request ended":    {func(rc *requestContext, _ context.CancelFunc) { rc.end() }, context.Canceled},
		"gateway gives up": {func(_ *requestContext, giveUp context.CancelFunc) { giveUp() }, context.Canceled},
	} {
		for _, watched := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					base, giveUp := context.WithCancel(t.Context())
					defer giveUp()
					rc := newTestContext(base, time.Second)
					defer rc.end()
					if err := rc.Err(); err != nil {
						t.Fatal(err)
					}
					child, cancel := context.WithCancel(t.Context())
					defer cancel()
					if watched {
						child, cancel = context.WithCancel(rc)
						defer cancel()
					}
					tt.end(rc, giveUp)
					synctest.Wait()
					if err := rc.Err(); !errors.Is(err, tt.want) {
						t.Errorf("%v, want %v", err, tt.want)
					}
					select {
					case <-rc.Done():
					default:
						t.Error("not done")
					}
					if watched && child.Err() == nil {
						t.Error("a context made of it goes on")
					}
				})
			})
		}
	}
}

func TestRequestContextOutlivesItsRequest(t *testing.T) {
	rc := newTestContext(t.Context(), time.Hour)
	rc.end()
	loose := context.WithoutCancel(rc)
	if got := sdk.RequestID(loose); got != "an-id" {
		t.Errorf("request id %q", got)
	}
	if err := loose.Err(); err != nil {
		t.Error(err)
	}
}
