package conformance

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
)

func candleChecks() []Check {
	return []Check{
		{
			Name: "candles/answer", Role: sdk.RoleCandles, run: on(candlesAnswer),
			Rule: "Candles returns the newest Limit candles, oldest first, without duplicates; OpenTime UTC, aligned to the interval; the last one may be open",
		},
		{
			Name: "candles/figures", Role: sdk.RoleCandles, run: on(candlesFigures),
			Rule: "Open, High, Low and Volume are unknown where a source gives closes only; Closed is false for the candle that still moves",
		},
		{
			Name: "candles/limit", Role: sdk.RoleCandles, run: on(candlesLimit),
			Rule: "Candles returns the newest Limit candles; Limit 1 to 1000",
		},
		{
			Name: "candles/interval", Role: sdk.RoleCandles, run: on(candlesInterval),
			Rule: "Unsupported when the source does not offer the currency or interval",
		},
		{
			Name: "candles/currency", Role: sdk.RoleCandles, run: on(candlesCurrency),
			Rule: "Unsupported when the source does not offer the currency or interval",
		},
		{
			Name: "candles/unknown", Role: sdk.RoleCandles, run: on(candlesUnknown),
			Rule: "NotFound when the upstream knows no such asset",
		},
	}
}

// candlesRequest asks for candles of the subject's first asset.
func (b *bench) candlesRequest(interval sdk.Interval, limit int) sdk.CandlesRequest {
	return sdk.CandlesRequest{Asset: b.Assets[0], VsCurrency: b.VsCurrency, Interval: interval, Limit: limit}
}

func candlesAnswer(ctx context.Context, b *bench, source sdk.CandleSource) error {
	for _, interval := range b.Intervals {
		req := b.candlesRequest(interval, 20)
		got, err := source.Candles(ctx, req)
		if err != nil {
			return fmt.Errorf("candles of %s: %w", interval, err)
		}
		if got.Symbol != req.Asset.Symbol || got.VsCurrency != req.VsCurrency || got.Interval != interval {
			return fmt.Errorf("candles of %s in %q of %s; asked was %s in %q of %s",
				got.Symbol, got.VsCurrency, got.Interval, req.Asset.Symbol, req.VsCurrency, interval)
		}
		if got.Source == "" || got.AsOf.IsZero() || got.AsOf.Location() != time.UTC {
			return fmt.Errorf("source %q, as of %v", got.Source, got.AsOf)
		}
		if err := runFault(got, req.Limit); err != nil {
			return fmt.Errorf("candles of %s: %w", interval, err)
		}
	}
	return nil
}

// runFault reports what is wrong with a run of candles: its length, its order, its alignment.
func runFault(run sdk.Candles, limit int) error {
	if n := len(run.Items); n == 0 || n > limit {
		return fmt.Errorf("%d candles; the limit was %d", n, limit)
	}
	for i, c := range run.Items {
		switch {
		case c.OpenTime.Location() != time.UTC:
			return fmt.Errorf("candle %d opens at %v, which is not UTC", i, c.OpenTime)
		case !aligned(c.OpenTime, run.Interval):
			return fmt.Errorf("candle %d opens at %v, which is not aligned to %s", i, c.OpenTime, run.Interval)
		case i > 0 && !c.OpenTime.After(run.Items[i-1].OpenTime):
			return fmt.Errorf("candle %d opens at %v, the one before it at %v", i, c.OpenTime, run.Items[i-1].OpenTime)
		case !c.Closed && i < len(run.Items)-1:
			return fmt.Errorf("candle %d of %d is open", i, len(run.Items))
		}
	}
	return nil
}

// aligned reports whether an instant is the start of an interval; weeks start on Monday.
func aligned(t time.Time, interval sdk.Interval) bool {
	monday := time.Date(1970, time.January, 5, 0, 0, 0, 0, time.UTC)
	return interval.Valid() && t.Sub(monday)%interval.Duration() == 0
}

func candlesFigures(ctx context.Context, b *bench, source sdk.CandleSource) error {
	var errs []error
	for _, interval := range b.Intervals {
		run, err := source.Candles(ctx, b.candlesRequest(interval, 20))
		if err != nil {
			return fmt.Errorf("candles of %s: %w", interval, err)
		}
		for i, c := range run.Items {
			if fault := candleFault(c); fault != "" {
				errs = append(errs, fmt.Errorf("candle %d of %s: %s: %+v", i, interval, fault, c))
			}
		}
	}
	return errors.Join(errs...)
}

// candleFault says what is wrong with a candle's figures, "" when nothing is.
func candleFault(c sdk.Candle) string {
	const slack = 1e-9
	last, known := c.Close.Float64()
	if !known || last <= 0 {
		return "a close that is unknown or not above zero"
	}
	first := c.Open.Or(last)
	high, low := c.High.Or(max(first, last)), c.Low.Or(min(first, last))
	switch {
	case high*(1+slack) < max(first, last):
		return "the high is below open or close"
	case low*(1-slack) > min(first, last):
		return "the low is above open or close"
	case low <= 0 || first <= 0:
		return "a price that is not above zero"
	case c.Volume.Or(0) < 0:
		return "a volume below zero"
	default:
		return ""
	}
}

func candlesLimit(ctx context.Context, b *bench, source sdk.CandleSource) error {
	interval := b.Intervals[0]
	many, err := source.Candles(ctx, b.candlesRequest(interval, 3))
	if err != nil {
		return fmt.Errorf("three candles: %w", err)
	}
	one, err := source.Candles(ctx, b.candlesRequest(interval, 1))
	if err != nil {
		return fmt.Errorf("one candle: %w", err)
	}
	if len(many.Items) > 3 || len(one.Items) != 1 {
		return fmt.Errorf("%d candles for the limit 3, %d for the limit 1", len(many.Items), len(one.Items))
	}
	if len(many.Items) > 0 && one.Items[0].OpenTime.Before(many.Items[len(many.Items)-1].OpenTime) {
		return fmt.Errorf("one candle opens at %v, the newest of three at %v", one.Items[0].OpenTime, many.Items[len(many.Items)-1].OpenTime)
	}
	for _, limit := range []int{-1, 0, 1001} {
		_, err := source.Candles(ctx, b.candlesRequest(interval, limit))
		if err := wantKind(fmt.Sprintf("%d candles", limit), err, sdk.InvalidArgument, sdk.Unsupported); err != nil {
			return err
		}
	}
	return nil
}

func candlesInterval(ctx context.Context, b *bench, source sdk.CandleSource) error {
	for _, interval := range []sdk.Interval{"", "7q", "1D", "1M"} {
		_, err := source.Candles(ctx, b.candlesRequest(interval, 5))
		if err := wantKind(fmt.Sprintf("candles of %q", interval), err, sdk.InvalidArgument, sdk.Unsupported); err != nil {
			return err
		}
	}
	return nil
}

func candlesCurrency(ctx context.Context, b *bench, source sdk.CandleSource) error {
	req := b.candlesRequest(b.Intervals[0], 5)
	req.VsCurrency = b.UnsupportedCurrency
	_, err := source.Candles(ctx, req)
	return wantKind(fmt.Sprintf("candles in %q", req.VsCurrency), err, sdk.Unsupported)
}

func candlesUnknown(ctx context.Context, b *bench, source sdk.CandleSource) error {
	req := b.candlesRequest(b.Intervals[0], 5)
	req.Asset = b.Unknown
	_, err := source.Candles(ctx, req)
	return wantKind("candles of an unknown asset", err, sdk.NotFound)
}
