package process_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// fail makes an echo answer every call with an error.
func (e *echo) fail(err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.err = err
}

// does makes an echo run a function in every call.
func (e *echo) does(hook func(context.Context) error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hook = hook
}

func TestEveryKindSurvivesTheWire(t *testing.T) {
	e, island := loopback(t)
	for kind := sdk.Internal; kind <= sdk.ResourceExhausted; kind++ {
		t.Run(kind.String(), func(t *testing.T) {
			e.fail(fmt.Errorf("wrapped: %w", &sdk.Error{Kind: kind, Message: "what: \"x\" ü", RetryAfter: 1500 * time.Millisecond, Setting: "url"}))
			unary := func() error { _, err := island.Quotes(t.Context(), sdk.QuotesRequest{}); return err }
			stream := func() error {
				return island.Stream(t.Context(), sdk.StreamRequest{}, func(sdk.QuoteBatch) error { return nil })
			}
			for name, call := range map[string]func() error{"unary": unary, "stream": stream} {
				err := call()
				var got *sdk.Error
				if !errors.As(err, &got) || !errors.Is(err, kind) || sdk.KindOf(err) != kind {
					t.Fatalf("%s: %#v", name, err)
				}
				if got.Message != "wrapped: what: \"x\" ü" || got.RetryAfter != 1500*time.Millisecond || got.Setting != "url" {
					t.Errorf("%s: %+v", name, got)
				}
				for other := sdk.Internal; other <= sdk.ResourceExhausted; other++ {
					if other != kind && errors.Is(err, other) {
						t.Errorf("%s: is also %s", name, other)
					}
				}
			}
		})
	}
}

func TestErrorsOfOtherMakes(t *testing.T) {
	e, island := loopback(t)
	for name, tc := range map[string]struct {
		err  error
		kind sdk.Kind
		is   error
	}{
		"a plain error":         {errors.New("odd"), sdk.Internal, nil},
		"a kind alone":          {fmt.Errorf("x: %w", sdk.Conflict), sdk.Conflict, nil},
		"context's cancel":      {fmt.Errorf("x: %w", context.Canceled), sdk.Canceled, context.Canceled},
		"context's deadline":    {fmt.Errorf("x: %w", context.DeadlineExceeded), sdk.DeadlineExceeded, context.DeadlineExceeded},
		"broken text":           {errors.New("bad \xff\xfe text"), sdk.Internal, nil},
		"a very long text":      {sdk.Errorf(sdk.BadUpstream, "%s", strings.Repeat("ü", 100_000)), sdk.BadUpstream, nil},
		"a kind from tomorrow":  {&sdk.Error{Kind: sdk.Kind(77), Message: "m"}, sdk.Kind(77), nil},
		"a negative retry":      {&sdk.Error{Kind: sdk.RateLimited, RetryAfter: -time.Second}, sdk.RateLimited, nil},
		"nothing but the kind":  {&sdk.Error{Kind: sdk.NotFound}, sdk.NotFound, nil},
		"a joined pair":         {errors.Join(errors.New("a"), sdk.NotFound), sdk.NotFound, nil},
		"a context in an Error": {sdk.Errorf(sdk.Unavailable, "x: %w", context.Canceled), sdk.Unavailable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			e.fail(tc.err)
			_, err := island.Quotes(t.Context(), sdk.QuotesRequest{})
			if err == nil || sdk.KindOf(err) != tc.kind || (tc.is != nil && !errors.Is(err, tc.is)) {
				t.Fatalf("%v, of kind %v", err, sdk.KindOf(err))
			}
			if len(err.Error()) > 2000 {
				t.Errorf("%d bytes of text", len(err.Error()))
			}
		})
	}
}

func TestDeadlinesAndCancellationsCrossTheWire(t *testing.T) {
	e, island := loopback(t)
	seen := make(chan time.Duration, 1)
	e.does(func(ctx context.Context) error {
		deadline, ok := ctx.Deadline()
		if !ok {
			return errors.New("no deadline")
		}
		seen <- time.Until(deadline)
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	if _, err := island.Quotes(ctx, sdk.QuotesRequest{}); err != nil {
		t.Fatal(err)
	}
	if left := <-seen; left < 59*time.Minute || left > time.Hour {
		t.Errorf("%v are left of an hour", left)
	}

	ended := make(chan error, 1)
	cancelled, cancel := context.WithCancel(t.Context())
	e.does(func(ctx context.Context) error {
		cancel() // Not before the island was asked, or it never would be.
		<-ctx.Done()
		ended <- ctx.Err()
		return ctx.Err()
	})
	if _, err := island.Quotes(cancelled, sdk.QuotesRequest{}); !errors.Is(err, context.Canceled) || !errors.Is(err, sdk.Canceled) {
		t.Errorf("a cancellation: %v", err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("the island's context ended with %v", err)
	}
}

// In the bubble no time passes while anything can be done, so that the call reaches the island before its deadline.
func TestADeadlineEndsTheIslandsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, island := loopback(t)
		ended := make(chan error, 1)
		e.does(func(ctx context.Context) error {
			<-ctx.Done()
			ended <- ctx.Err()
			return ctx.Err()
		})
		short, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		if _, err := island.Quotes(short, sdk.QuotesRequest{}); !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, sdk.DeadlineExceeded) {
			t.Errorf("a deadline: %v", err)
		}
		if err := <-ended; err == nil {
			t.Error("the island saw no end of its context")
		}
	})
}

func TestRequestIDCrossesTheWire(t *testing.T) {
	e, island := loopback(t)
	got := make(chan string, 1)
	e.does(func(ctx context.Context) error {
		got <- sdk.RequestID(ctx)
		return nil
	})
	for _, id := range []string{"", "0f-8e1 ~"} {
		if _, err := island.Quotes(sdk.WithRequestID(t.Context(), id), sdk.QuotesRequest{}); err != nil {
			t.Fatal(err)
		}
		if at := <-got; at != id {
			t.Errorf("unary: %q arrived as %q", id, at)
		}
		err := island.Watch(sdk.WithRequestID(t.Context(), id), func(sdk.CacheEvent) error { return nil })
		if !errors.Is(err, sdk.Unavailable) { // The island ended the stream.
			t.Fatal(err)
		}
		if at := <-got; at != id {
			t.Errorf("stream: %q arrived as %q", id, at)
		}
	}
}

func TestAPanicIsTheCallsAlone(t *testing.T) {
	e, island := loopback(t)
	e.does(func(context.Context) error { panic("secret words") })
	_, err := island.Quotes(t.Context(), sdk.QuotesRequest{})
	if !errors.Is(err, sdk.Internal) || strings.Contains(err.Error(), "secret words") {
		t.Errorf("unary: %v", err)
	}
	if err := island.Watch(t.Context(), func(sdk.CacheEvent) error { return nil }); !errors.Is(err, sdk.Internal) {
		t.Errorf("stream: %v", err)
	}
	if h := island.Health(t.Context()); h.Status != sdk.StatusFailed {
		t.Errorf("health whose asking panics: %+v", h)
	}
	e.does(nil)
	if _, err := island.Quotes(t.Context(), sdk.QuotesRequest{}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLifeBehindTheWire(t *testing.T) {
	e := &echo{answer: sdk.Health{}}
	island, stop, err := process.Loopback(sdk.Manifest{Name: "echo"}, e)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	for _, tr := range trips() {
		sent, _, _ := tr.make(&filler{})
		_, err := tr.call(t.Context(), island, sent)
		if tr.name != "Health" && tr.name != "Metrics" && !errors.Is(err, sdk.Unavailable) {
			t.Errorf("%s before Initialize: %v", tr.name, err)
		}
	}
	if h := island.Health(t.Context()); h.Status != sdk.StatusFailed {
		t.Errorf("health before Initialize: %+v", h)
	}
	e.fail(&sdk.Error{Kind: sdk.InvalidArgument, Setting: "url", Message: "no"})
	var got *sdk.Error
	if err := island.Initialize(t.Context(), sdk.Config{}); !errors.As(err, &got) || got.Setting != "url" {
		t.Errorf("Initialize with a wrong setting: %v", err)
	}
	e.fail(nil)
	if err := island.Initialize(t.Context(), sdk.Config{}); !errors.Is(err, sdk.InvalidArgument) {
		t.Errorf("Initialize twice: %v", err)
	}
	if _, err := island.Quotes(t.Context(), sdk.QuotesRequest{}); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("after an Initialize that did not succeed: %v", err)
	}
}

// lacking has a life and no role.
type lacking struct{ sdk.Life }

func (lacking) Initialize(context.Context, sdk.Config) error { return nil }

func TestARoleThatIsLackingIsUnsupported(t *testing.T) {
	island, stop, err := process.Loopback(sdk.Manifest{Name: "lacking"}, lacking{})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	if err := island.Initialize(t.Context(), sdk.Config{}); err != nil {
		t.Fatal(err)
	}
	for _, tr := range trips() {
		sent, _, _ := tr.make(&filler{})
		_, err := tr.call(t.Context(), island, sent)
		if tr.name != "Health" && tr.name != "Metrics" && !errors.Is(err, sdk.Unsupported) {
			t.Errorf("%s: %v", tr.name, err)
		}
	}
}

func TestMessagesAreBounded(t *testing.T) {
	e, island := loopback(t)
	const mib = 1 << 20
	value := func(n int) []sdk.Entry { return []sdk.Entry{{Key: "k", Value: bytes.Repeat([]byte("x"), n)}} }
	if err := island.Remember(t.Context(), value(16*mib-200)); err != nil {
		t.Errorf("nearly 16 MiB to the island: %v", err)
	}
	if err := island.Remember(t.Context(), value(17*mib)); !errors.Is(err, sdk.ResourceExhausted) {
		t.Errorf("17 MiB to the island: %v", err)
	}
	e.answer = value(16*mib - 200)
	if got, err := island.Recall(t.Context(), nil); err != nil || len(got) != 1 || len(got[0].Value) != 16*mib-200 {
		t.Errorf("nearly 16 MiB from the island: %v", err)
	}
	e.answer = value(17 * mib)
	if _, err := island.Recall(t.Context(), nil); !errors.Is(err, sdk.ResourceExhausted) {
		t.Errorf("17 MiB from the island: %v", err)
	}
	e.answer = value(1)
	if _, err := island.Recall(t.Context(), nil); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestStreamsEnd(t *testing.T) {
	e, island := loopback(t)
	t.Run("by emit", func(t *testing.T) {
		ended := make(chan struct{})
		e.does(func(context.Context) error { return nil })
		e.answer = []sdk.QuoteBatch{{Seq: 1}, {Seq: 2}, {Seq: 3}}
		stop := errors.New("enough")
		err := island.Stream(t.Context(), sdk.StreamRequest{}, func(sdk.QuoteBatch) error { close(ended); return stop })
		if !errors.Is(err, stop) {
			t.Error(err)
		}
		<-ended
	})
	t.Run("by the island", func(t *testing.T) {
		n := 0
		err := island.Stream(t.Context(), sdk.StreamRequest{}, func(sdk.QuoteBatch) error { n++; return nil })
		if n != 3 || !errors.Is(err, sdk.Unavailable) {
			t.Errorf("%d batches, %v", n, err)
		}
	})
	t.Run("by the context", func(t *testing.T) {
		gone := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		e.does(func(ctx context.Context) error { defer close(gone); cancel(); <-ctx.Done(); return ctx.Err() })
		if err := island.Stream(ctx, sdk.StreamRequest{}, func(sdk.QuoteBatch) error { return nil }); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		<-gone
	})
	t.Run("by the end of the connection", func(t *testing.T) {
		e := &echo{}
		island, stop, err := process.Loopback(sdk.Manifest{Name: "echo"}, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := island.Initialize(t.Context(), sdk.Config{}); err != nil {
			t.Fatal(err)
		}
		var stopping sync.WaitGroup
		e.does(func(ctx context.Context) error { stopping.Go(stop); <-ctx.Done(); return ctx.Err() })
		if err := island.Stream(t.Context(), sdk.StreamRequest{}, func(sdk.QuoteBatch) error { return nil }); err == nil {
			t.Error("no error")
		}
		stopping.Wait()
	})
}

func TestDetailsThatTheWireCannotHoldAreLeftOut(t *testing.T) {
	e, island := loopback(t)
	e.answer = sdk.Healthy(sdk.Part{Name: "p", Details: map[string]any{"ok": 1, "odd": make(chan int), "broken": "\xff"}})
	got := island.Health(t.Context())
	if got.Status != sdk.StatusOK || len(got.Parts) != 1 || len(got.Parts[0].Details) != 1 || got.Parts[0].Details["ok"] != 1.0 {
		t.Errorf("%+v", got)
	}
}
