package process_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// filler fills values of any noun by reflection, each field with something of its own, so that a field that the
// translation forgets, or exchanges with another, shows.
type filler struct {
	n int
	// empty decides which parts stay zero; nil for none.
	empty func() bool
}

func filled[T any](f *filler) T {
	var v T
	f.fill(reflect.ValueOf(&v).Elem())
	return v
}

func (f *filler) fill(v reflect.Value) {
	f.n++
	if f.empty != nil && f.empty() {
		return
	}
	switch v.Interface().(type) {
	case sdk.Number:
		v.Set(reflect.ValueOf(sdk.Known(float64(f.n) + 0.25)))
		return
	case time.Time:
		v.Set(reflect.ValueOf(time.Unix(1_700_000_000+int64(f.n), int64(f.n)*1000).UTC()))
		return
	case time.Duration:
		v.SetInt(int64(f.n) * int64(time.Millisecond))
		return
	case sdk.Status:
		v.Set(reflect.ValueOf(sdk.Status(f.n % 3)))
		return
	case sdk.CacheEventType:
		v.Set(reflect.ValueOf(sdk.CacheEventType(1 + f.n%4)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(fmt.Sprintf("text %d ü", f.n))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(int64(f.n))
	case reflect.Uint8:
		v.SetUint(uint64(f.n%200 + 1))
	case reflect.Uint64:
		v.SetUint(1<<60 + uint64(f.n))
	case reflect.Float64:
		v.SetFloat(float64(f.n) + 0.5)
	case reflect.Interface:
		v.Set(reflect.ValueOf([]any{"text", true, float64(f.n)}[f.n%3]))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		n := 2
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range 2 {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.n++
			key.SetString(fmt.Sprint("key", f.n))
			empty := f.empty
			f.empty = nil // An unknown share of a map is left out on the wire.
			f.fill(value)
			f.empty = empty
			v.SetMapIndex(key, value)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	default:
		panic(fmt.Sprintf("no filling for %s", v.Type()))
	}
}

// echo has every role. It keeps what it was asked, and answers what it was told to.
type echo struct {
	mu      sync.Mutex
	asked   any
	answer  any
	err     error
	hook    func(ctx context.Context) error
	reports []sdk.ReportSpec
}

var _ process.Island = (*echo)(nil)

// reply keeps what was asked and returns the answer.
func reply[T any](ctx context.Context, e *echo, asked any) (T, error) {
	e.mu.Lock()
	e.asked = asked
	hook, err := e.hook, e.err
	answer, ok := e.answer.(T)
	e.mu.Unlock()
	if hook != nil {
		err = hook(ctx)
	}
	if err != nil || !ok {
		var none T
		return none, err
	}
	return answer, nil
}

// stream hands out each answer.
func stream[T any](ctx context.Context, e *echo, asked any, emit func(T) error) error {
	answers, err := reply[[]T](ctx, e, asked)
	for _, a := range answers {
		if err := emit(a); err != nil {
			return err
		}
	}
	return err
}

func done(ctx context.Context, e *echo, asked any) error {
	_, err := reply[struct{}](ctx, e, asked)
	return err
}

func (e *echo) Initialize(ctx context.Context, cfg sdk.Config) error {
	cfg.Logger = nil
	return done(ctx, e, cfg)
}

func (e *echo) Health(ctx context.Context) sdk.Health {
	h, _ := reply[sdk.Health](ctx, e, nil)
	return h
}

func (e *echo) Metrics(ctx context.Context) (sdk.Metrics, error) {
	return reply[sdk.Metrics](ctx, e, nil)
}
func (e *echo) Shutdown(ctx context.Context) error { return done(ctx, e, nil) }

func (e *echo) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	return reply[[]sdk.Quote](ctx, e, req)
}

func (e *echo) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	return reply[sdk.Candles](ctx, e, req)
}

func (e *echo) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	return reply[sdk.Global](ctx, e, req)
}

func (e *echo) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	return reply[sdk.Sentiment](ctx, e, req)
}

func (e *echo) Catalogue(ctx context.Context, req sdk.CatalogueRequest) ([]sdk.Asset, error) {
	return reply[[]sdk.Asset](ctx, e, req)
}

func (e *echo) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	return stream(ctx, e, req, emit)
}

func (e *echo) Lookup(ctx context.Context, keys []string) ([]sdk.Lookup, error) {
	return reply[[]sdk.Lookup](ctx, e, keys)
}

func (e *echo) Fill(ctx context.Context, entries []sdk.Entry) (int, error) {
	return reply[int](ctx, e, entries)
}

func (e *echo) Invalidate(ctx context.Context, patterns []string) (int, error) {
	return reply[int](ctx, e, patterns)
}

func (e *echo) Watch(ctx context.Context, emit func(sdk.CacheEvent) error) error {
	return stream(ctx, e, nil, emit)
}

func (e *echo) SetTier(ctx context.Context, tier string, enabled bool) error {
	return done(ctx, e, fmt.Sprint(tier, enabled))
}

func (e *echo) Acquire(ctx context.Context, req sdk.LeaseRequest) (sdk.Lease, error) {
	return reply[sdk.Lease](ctx, e, req)
}
func (e *echo) Release(ctx context.Context, req sdk.LeaseRequest) error { return done(ctx, e, req) }

func (e *echo) Publish(ctx context.Context, msg sdk.Message) (string, error) {
	return reply[string](ctx, e, msg)
}

func (e *echo) Subscribe(ctx context.Context, channel, after string, emit func(sdk.Message) error) error {
	return stream(ctx, e, channel+" "+after, emit)
}
func (e *echo) Take(ctx context.Context, req sdk.BudgetRequest) error { return done(ctx, e, req) }

func (e *echo) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error { return done(ctx, e, quotes) }

func (e *echo) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	return done(ctx, e, series)
}

func (e *echo) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	return reply[sdk.HistoryPage](ctx, e, req)
}

func (e *echo) StoredCandles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	return reply[sdk.Candles](ctx, e, req)
}

func (e *echo) Remember(ctx context.Context, entries []sdk.Entry) error { return done(ctx, e, entries) }

func (e *echo) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	return reply[[]sdk.Entry](ctx, e, keys)
}

func (e *echo) Forget(ctx context.Context, patterns []string) (int, error) {
	return reply[int](ctx, e, patterns)
}
func (e *echo) Reports() []sdk.ReportSpec { return e.reports }

func (e *echo) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	return reply[sdk.Report](ctx, e, req)
}

// loopback returns an initialized echo behind the wire.
func loopback(t *testing.T) (*echo, process.Island) {
	t.Helper()
	e := &echo{}
	island, stop, err := process.Loopback(sdk.Manifest{Name: "echo", Version: "1.0.0", Layer: sdk.LayerInfrastructure}, e)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	if err := island.Initialize(t.Context(), sdk.Config{Name: "echo"}); err != nil {
		t.Fatal(err)
	}
	return e, island
}

// collected gathers what a stream emits until it has n, and drops the reason for the end.
func collected[T any](n int, run func(emit func(T) error) error) ([]T, error) {
	enough := errors.New("enough")
	var out []T
	err := run(func(v T) error {
		if out = append(out, v); len(out) == n {
			return enough
		}
		return nil
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return out, err
}
