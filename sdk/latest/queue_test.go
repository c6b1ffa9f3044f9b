package latest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errStop = errors.New("stop")

// quote is what an asset was worth at a second of the day.
func quote(symbol string, second int) sdk.Quote {
	return sdk.Quote{
		Symbol: symbol, VsCurrency: "usd", Price: sdk.Known(float64(second)),
		AsOf: time.Date(2026, 5, 18, 12, 0, second, 0, time.UTC),
	}
}

// batches collects what is emitted, with the time that has passed since the start.
type batches struct {
	start time.Time
	got   []sdk.QuoteBatch
	after []time.Duration
}

func (b *batches) emit(batch sdk.QuoteBatch) error {
	b.got, b.after = append(b.got, batch), append(b.after, time.Since(b.start))
	return nil
}

// words shows batches as "1:btc=2,eth=1".
func (b *batches) words() []string {
	var out []string
	for _, batch := range b.got {
		text := strconv.FormatUint(batch.Seq, 10) + ":"
		for i, q := range batch.Quotes {
			if i > 0 {
				text += ","
			}
			text += q.Symbol + "=" + q.Price.String()
		}
		out = append(out, text)
	}
	return out
}

// run drains a queue in a bubble while act happens, and returns what was emitted and why the drain ended.
func run(t *testing.T, opts Options, act func(ctx context.Context, cancel context.CancelCauseFunc, q *Queue)) (*batches, error) {
	t.Helper()
	b := &batches{}
	var err error
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		q := New()
		b.start = time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = q.Run(ctx, b.emit, opts)
		}()
		act(ctx, cancel, q)
		synctest.Wait()
		cancel(errStop)
		<-done
	})
	return b, err
}

func TestNewestPerAssetInOrderOfArrival(t *testing.T) {
	q := New()
	for _, step := range []struct {
		quote      sdk.Quote
		superseded bool
	}{
		{quote("btc", 1), false},
		{quote("eth", 1), false},
		{quote("btc", 3), true},
		{quote("btc", 2), true}, // Late: the one that waits stays.
		{quote("sol", 1), false},
		{quote("eth", 1), true},
	} {
		if got := q.Put(step.quote); got != step.superseded {
			t.Errorf("%s at %s: superseded is %v", step.quote.Symbol, step.quote.AsOf, got)
		}
	}
	inEuro := quote("btc", 1)
	inEuro.VsCurrency = "eur"
	namesake := quote("btc", 1)
	namesake.ID = "another-coin"
	if q.Put(inEuro) || q.Put(namesake) || q.Len() != 5 {
		t.Errorf("%d wait; another currency and another id are assets of their own", q.Len())
	}
	b := &batches{}
	stop := func(batch sdk.QuoteBatch) error { _ = b.emit(batch); return errStop }
	if err := q.Run(t.Context(), stop, Options{}); !errors.Is(err, errStop) {
		t.Errorf("ended with %v", err)
	}
	if want := []string{"1:btc=3,eth=1,sol=1,btc=1,btc=1"}; !slices.Equal(b.words(), want) {
		t.Errorf("got %q, want %q", b.words(), want)
	}
}

func TestPace(t *testing.T) {
	opts := Options{MinInterval: 100 * time.Millisecond, Heartbeat: time.Second}
	b, err := run(t, opts, func(_ context.Context, _ context.CancelCauseFunc, q *Queue) {
		put := func(symbol string, second int) { q.Put(quote(symbol, second)); synctest.Wait() }
		time.Sleep(300 * time.Millisecond)
		put("btc", 1) // At once.
		put("btc", 2)
		put("eth", 1)
		time.Sleep(50 * time.Millisecond)
		put("btc", 3)
		time.Sleep(2300 * time.Millisecond) // Two heartbeats after the batch at 400 ms.
		put("btc", 4)
	})
	if !errors.Is(err, errStop) {
		t.Errorf("ended with %v", err)
	}
	if want := []string{"1:btc=1", "2:btc=3,eth=1", "3:", "4:", "5:btc=4"}; !slices.Equal(b.words(), want) {
		t.Fatalf("got %q, want %q", b.words(), want)
	}
	for i, want := range []int64{300, 400, 1400, 2400, 2650} {
		if got := b.after[i].Milliseconds(); got != want {
			t.Errorf("batch %d after %d ms, want %d", i+1, got, want)
		}
	}
}

func TestPaceHoldsAfterABusyReceiver(t *testing.T) {
	for range 20 { // What Run looks at first, when several things have happened, is by chance.
		synctest.Test(t, func(t *testing.T) {
			q, b := New(), &batches{start: time.Now()}
			q.Put(quote("btc", 1))
			_ = q.Run(t.Context(), func(batch sdk.QuoteBatch) error {
				switch batch.Seq {
				case 1:
					q.Put(quote("btc", 2)) // Waits for its turn, in a second.
				case 2: // A heartbeat, during which the turn comes and more than one thing happens.
					time.Sleep(3 * time.Second)
					q.Put(quote("btc", 3))
				case 3:
					q.Put(quote("btc", 4))
				case 4: // A heartbeat: the turn of what was put last has not come.
					q.Fail(errStop)
				}
				b.got, b.after = append(b.got, batch), append(b.after, time.Since(b.start))
				return nil
			}, Options{MinInterval: time.Second, Heartbeat: 700 * time.Millisecond})
			if want := []string{"1:btc=1", "2:", "3:btc=3", "4:", "5:btc=4"}; !slices.Equal(b.words(), want) {
				t.Errorf("got %q after %v, want %q", b.words(), b.after, want)
			}
		})
	}
}

func TestHeartbeats(t *testing.T) {
	for name, tc := range map[string]struct {
		opts Options
		want int // in a minute
	}{
		"by default":                       {Options{}, 12},
		"every 7 s":                        {Options{Heartbeat: 7 * time.Second}, 8},
		"none":                             {Options{Heartbeat: -1}, 0},
		"while a quote waits for its turn": {Options{MinInterval: time.Hour, Heartbeat: 7 * time.Second}, 1 + 8},
	} {
		t.Run(name, func(t *testing.T) {
			b, _ := run(t, tc.opts, func(_ context.Context, _ context.CancelCauseFunc, q *Queue) {
				for second := range 2 * int(tc.opts.MinInterval/time.Hour) {
					q.Put(quote("btc", second))
					synctest.Wait()
				}
				time.Sleep(time.Minute)
			})
			if len(b.got) != tc.want {
				t.Errorf("%q in a minute, want %d batches", b.words(), tc.want)
			}
		})
	}
}

func TestASlowReceiverGetsTheNewestOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q, b := New(), &batches{start: time.Now()}
		go func() {
			for second := range 60 {
				q.Put(quote("btc", second))
				if second == 20 || second == 40 {
					q.Put(quote("eth", second))
				}
				time.Sleep(time.Second)
			}
			q.Fail(errStop)
		}()
		err := q.Run(t.Context(), func(batch sdk.QuoteBatch) error {
			time.Sleep(25*time.Second + time.Millisecond)
			return b.emit(batch)
		}, Options{})
		if want := []string{"1:btc=0", "2:btc=25,eth=20", "3:btc=50,eth=40", "4:btc=59"}; !slices.Equal(b.words(), want) || !errors.Is(err, errStop) {
			t.Errorf("got %q, %v; want %q", b.words(), err, want)
		}
	})
}

func TestEnds(t *testing.T) {
	for name, tc := range map[string]struct {
		act  func(ctx context.Context, cancel context.CancelCauseFunc, q *Queue)
		want error
		got  []string
	}{
		"with the cause of the context's end": {func(_ context.Context, cancel context.CancelCauseFunc, q *Queue) {
			q.Put(quote("btc", 1))
			synctest.Wait()
			cancel(sdk.Unavailable)
			q.Put(quote("btc", 2))
		}, sdk.Unavailable, []string{"1:btc=1"}},
		"cancelled": {func(_ context.Context, cancel context.CancelCauseFunc, _ *Queue) { cancel(nil) }, context.Canceled, nil},
		"failed, with what was put before": {func(_ context.Context, _ context.CancelCauseFunc, q *Queue) {
			q.Put(quote("btc", 1))
			synctest.Wait()
			q.Put(quote("btc", 2)) // Waits for its turn, which is now.
			q.Fail(sdk.RateLimited)
			q.Fail(errStop) // Too late.
		}, sdk.RateLimited, []string{"1:btc=1", "2:btc=2"}},
		"failed without a reason": {func(_ context.Context, _ context.CancelCauseFunc, q *Queue) { q.Fail(nil) }, sdk.Unavailable, nil},
		"while it waits":          {func(_ context.Context, cancel context.CancelCauseFunc, _ *Queue) { cancel(errStop) }, errStop, nil},
	} {
		t.Run(name, func(t *testing.T) {
			b, err := run(t, Options{MinInterval: time.Minute, Heartbeat: -1}, tc.act)
			if !errors.Is(err, tc.want) || !slices.Equal(b.words(), tc.got) {
				t.Errorf("got %q, %v; want %q, %v", b.words(), err, tc.got, tc.want)
			}
		})
	}
	t.Run("at a deadline", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if err := New().Run(ctx, func(sdk.QuoteBatch) error { return nil }, Options{}); sdk.KindOf(err) != sdk.DeadlineExceeded {
				t.Errorf("got %v", err)
			}
		})
	})
	t.Run("before it began", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		q := New()
		q.Put(quote("btc", 1))
		for range 50 { // A select between two that are ready is by chance.
			err := q.Run(ctx, func(sdk.QuoteBatch) error { t.Error("emitted after the context's end"); return nil }, Options{})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
	})
}

func TestOnlyOneDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		var wg sync.WaitGroup
		for range 2 { // The second after the first has ended.
			ctx, cancel := context.WithCancel(t.Context())
			wg.Go(func() {
				if err := q.Run(ctx, func(sdk.QuoteBatch) error { return nil }, Options{}); !errors.Is(err, context.Canceled) {
					t.Errorf("the one that drains: %v", err)
				}
			})
			synctest.Wait()
			if err := q.Run(t.Context(), nil, Options{}); sdk.KindOf(err) != sdk.Internal {
				t.Errorf("the other: %v", err)
			}
			cancel()
			wg.Wait()
		}
	})
}

// TestManyAtOnce is for the race detector, and loses no asset's last quote.
func TestManyAtOnce(t *testing.T) {
	const writers, rounds = 8, 500
	q := New()
	newest := map[string]float64{}
	var seq uint64
	var puts sync.WaitGroup
	var lost, candles atomic.Int64
	for w := range writers {
		puts.Go(func() {
			for i := range rounds {
				q.Put(quote(strconv.Itoa(w), i))
				q.Put(quote("all", i))
				lost.Add(int64(q.PutCandles(minutes("all", w*rounds+i))))
			}
		})
	}
	go func() {
		puts.Wait()
		q.Fail(errStop)
	}()
	err := q.Run(t.Context(), func(batch sdk.QuoteBatch) error {
		if seq++; batch.Seq != seq {
			t.Errorf("batch %d has the number %d", seq, batch.Seq)
		}
		for _, one := range batch.Quotes {
			newest[one.Symbol] = one.Price.Or(-1)
		}
		for _, run := range batch.Candles {
			candles.Add(int64(len(run.Items)))
		}
		return nil
	}, Options{})
	if !errors.Is(err, errStop) || len(newest) != writers+1 {
		t.Errorf("%v, %d assets", err, len(newest))
	}
	if n := candles.Load() + lost.Load(); n != writers*rounds {
		t.Errorf("%d candles emitted or given up of %d", n, writers*rounds)
	}
	for w := range writers {
		if got := newest[strconv.Itoa(w)]; got != rounds-1 {
			t.Errorf("asset %d ended at %v", w, got)
		}
	}
}

// ExampleQueue shows that only the newest quote of an asset waits.
func ExampleQueue() {
	queue := New()
	queue.Put(sdk.Quote{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(77671)})
	queue.Put(sdk.Quote{Symbol: "eth", VsCurrency: "usd", Price: sdk.Known(2190)})
	queue.Put(sdk.Quote{Symbol: "btc", VsCurrency: "usd", Price: sdk.Known(77672)})
	queue.Fail(errors.New("the upstream hung up"))
	err := queue.Run(context.Background(), func(batch sdk.QuoteBatch) error {
		for _, q := range batch.Quotes {
			fmt.Println(batch.Seq, q.Symbol, q.Price)
		}
		return nil
	}, Options{})
	fmt.Println(err)
	// Output:
	// 1 btc 77672
	// 1 eth 2190
	// the upstream hung up
}
