package islandtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

func streamChecks() []check {
	return []check{
		{
			name: "stream/batches", role: sdk.RoleStream, run: on(streamBatches),
			rule: "Stream calls emit with every batch until the context ends; Seq counts batches of one stream from 1 without a hole",
		},
		{
			name: "stream/emit-fails", role: sdk.RoleStream, run: on(streamEmitFails),
			rule: "Stream calls emit until the context ends, emit fails, or the stream breaks, and returns why",
		},
	}
}

// errEnough is what an emit of the kit fails with.
var errEnough = errors.New("the receiver has enough")

func streamBatches(ctx context.Context, b *bench, source sdk.StreamSource) error {
	streamCtx, cancel := context.WithTimeout(ctx, 3*b.patience)
	defer cancel()
	var seq uint64
	var fault error
	var ended time.Time
	err := source.Stream(streamCtx, sdk.StreamRequest{Assets: b.Assets, VsCurrency: b.VsCurrency}, func(batch sdk.QuoteBatch) error {
		seq++
		if fault == nil {
			fault = b.batchFault(batch, seq)
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

func streamEmitFails(ctx context.Context, b *bench, source sdk.StreamSource) error {
	streamCtx, cancel := context.WithTimeout(ctx, 3*b.patience)
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
