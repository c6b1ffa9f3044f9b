package conformance

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func streamChecks() []Check {
	return []Check{
		{
			Name: "stream/batches", Role: sdk.RoleStream, run: on(streamBatches),
			Rule: "Stream calls emit with every batch until the context ends; Seq counts batches of one stream from 1 without a hole; candles only with StreamRequest.Candles",
		},
		{
			Name: "stream/candles", Role: sdk.RoleStream, Waits: true, run: on(streamCandles),
			Rule: "Candles are closed candles of the assets asked for, each series of one asset and interval; a stream brings each candle once, oldest first",
		},
		{
			Name: "stream/emit-fails", Role: sdk.RoleStream, run: on(streamEmitFails),
			Rule: "Stream calls emit until the context ends, emit fails, or the stream breaks, and returns why",
		},
	}
}

// errEnough is what an emit of the kit fails with.
var errEnough = errors.New("the receiver has enough")

func streamBatches(ctx context.Context, b *bench, source sdk.StreamSource) error {
	streamCtx, cancel := context.WithTimeout(ctx, 3*b.Patience)
	defer cancel()
	var seq uint64
	var fault error
	var ended time.Time
	err := source.Stream(streamCtx, sdk.StreamRequest{Assets: b.Assets, VsCurrency: b.VsCurrency}, func(batch sdk.QuoteBatch) error {
		seq++
		if fault == nil {
			fault = b.batchFault(batch, seq)
		}
		if fault == nil && len(batch.Candles) > 0 {
			fault = fmt.Errorf("candles of %s, which were not asked for", batch.Candles[0].Symbol)
		}
		if seq == 3 || fault != nil {
			ended = time.Now()
			cancel()
		}
		return nil
	})
	switch {
	case fault != nil:
		return fault
	case ended.IsZero():
		return fmt.Errorf("%d batches, then: %w", seq, err)
	case err == nil:
		return errors.New("the stream ended without saying why")
	case time.Since(ended) > time.Second:
		return fmt.Errorf("the stream ended %v after its context", time.Since(ended))
	}
	return wantKind("a stream whose context was cancelled", err, sdk.Canceled)
}

// batchFault reports what is wrong with the batch that ought to be number seq.
func (b *bench) batchFault(batch sdk.QuoteBatch, seq uint64) error {
	if batch.Seq != seq {
		return fmt.Errorf("batch %d has the number %d", seq, batch.Seq)
	}
	for _, q := range batch.Quotes {
		asked := slices.ContainsFunc(b.Assets, func(a sdk.Asset) bool { return a.Symbol == q.Symbol })
		if !asked || q.VsCurrency != b.VsCurrency {
			return fmt.Errorf("a quote of %s in %q was not asked for", q.Symbol, q.VsCurrency)
		}
		if q.Price.Or(0) <= 0 {
			return fmt.Errorf("quote of %s: price %v", q.Symbol, q.Price)
		}
	}
	return nil
}

// streamCandles looks at the candles that come while it is patient. Where none closes in that time there is none to look
// at: the kit does not know how a source's upstream closes them.
func streamCandles(ctx context.Context, b *bench, source sdk.StreamSource) error {
	streamCtx, cancel := context.WithTimeout(ctx, b.Patience)
	defer cancel()
	var seq uint64
	var fault error
	seen := streamedCandles{bench: b, newest: map[string]time.Time{}}
	req := sdk.StreamRequest{Assets: b.Assets, VsCurrency: b.VsCurrency, Candles: true}
	err := source.Stream(streamCtx, req, func(batch sdk.QuoteBatch) error {
		seq++
		if fault == nil {
			fault = b.batchFault(batch, seq)
		}
		if fault == nil {
			fault = seen.fault(batch.Candles)
		}
		if fault != nil || seen.batches == 3 {
			cancel()
		}
		return nil
	})
	switch {
	case fault != nil:
		return fault
	case err == nil:
		return errors.New("the stream ended without saying why")
	}
	return wantKind("a stream whose context was cancelled or over", err, sdk.Canceled, sdk.DeadlineExceeded)
}

// streamedCandles are the candles that a stream has brought.
type streamedCandles struct {
	*bench
	// batches is how many had candles.
	batches int
	// newest is when the last candle of each series opened.
	newest map[string]time.Time
}

// fault reports what is wrong with the candles of one more batch.
func (s *streamedCandles) fault(candles []sdk.Candles) error {
	if len(candles) > 0 {
		s.batches++
	}
	here := map[string]bool{}
	for _, run := range candles {
		name := fmt.Sprintf("%s %q in %q of %s", run.Symbol, run.ID, run.VsCurrency, run.Interval)
		if here[name] {
			return fmt.Errorf("two series of %s in a batch", name)
		}
		here[name] = true
		if err := s.seriesFault(run); err != nil {
			return fmt.Errorf("candles of %s: %w", name, err)
		}
		if last, known := s.newest[name]; known && !run.Items[0].OpenTime.After(last) {
			return fmt.Errorf("a candle of %s opens at %v, one in a batch before at %v", name, run.Items[0].OpenTime, last)
		}
		s.newest[name] = run.Items[len(run.Items)-1].OpenTime
	}
	return nil
}

// seriesFault reports what is wrong with one series of a batch.
func (s *streamedCandles) seriesFault(run sdk.Candles) error {
	asked := slices.ContainsFunc(s.Assets, func(a sdk.Asset) bool {
		return a.Symbol == run.Symbol && (a.ID == "" || run.ID == "" || a.ID == run.ID)
	})
	switch {
	case !asked || run.VsCurrency != s.VsCurrency:
		return errors.New("they were not asked for")
	case !run.Interval.Valid():
		return errors.New("there is no such interval")
	case run.Source == "" || run.AsOf.IsZero() || run.AsOf.Location() != time.UTC:
		return fmt.Errorf("source %q, as of %v", run.Source, run.AsOf)
	}
	if err := runFault(run, max(1, len(run.Items))); err != nil {
		return err
	}
	for i, c := range run.Items {
		if !c.Closed {
			return fmt.Errorf("candle %d is open", i)
		}
		if fault := candleFault(c); fault != "" {
			return fmt.Errorf("candle %d: %s: %+v", i, fault, c)
		}
	}
	return nil
}

func streamEmitFails(ctx context.Context, b *bench, source sdk.StreamSource) error {
	streamCtx, cancel := context.WithTimeout(ctx, 3*b.Patience)
	defer cancel()
	calls := 0
	err := source.Stream(streamCtx, sdk.StreamRequest{Assets: b.Assets, VsCurrency: b.VsCurrency}, func(sdk.QuoteBatch) error {
		calls++
		return errEnough
	})
	return emitFailed("Stream", err, calls)
}

// emitFailed judges how a stream ended whose emit failed at once.
func emitFailed(what string, err error, calls int) error {
	if calls != 1 {
		return fmt.Errorf("%s called emit %d times, the first of which failed; it ended with: %w", what, calls, err)
	}
	if !errors.Is(err, errEnough) {
		return fmt.Errorf("%s ended with another error than that of emit: %w", what, err)
	}
	return nil
}
