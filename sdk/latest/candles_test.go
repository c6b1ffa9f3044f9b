package latest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

var midnight = time.Date(2026, 5, 18, 0, 0, 0, 0, time.UTC)

// minutes is a series of closed minutes, numbered from midnight; one below zero is open and of the minute without the sign.
func minutes(symbol string, numbers ...int) sdk.Candles {
	out := sdk.Candles{Symbol: symbol, VsCurrency: "usd", Interval: sdk.Interval1m, Source: "source", AsOf: midnight.Add(time.Hour)}
	for _, n := range numbers {
		c := sdk.Candle{OpenTime: midnight.Add(time.Duration(max(n, -n)) * time.Minute), Close: sdk.Known(float64(n)), Closed: n >= 0}
		out.Items = append(out.Items, c)
	}
	return out
}

// shown is what a batch holds, as "btc=3 | btc 1m 1,2 | eth 1m 7".
func shown(batch sdk.QuoteBatch) string {
	var parts []string
	for _, q := range batch.Quotes {
		parts = append(parts, q.Symbol+"="+q.Price.String())
	}
	for _, run := range batch.Candles {
		var closes []string
		for _, c := range run.Items {
			closes = append(closes, c.Close.String())
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", run.Symbol, run.Interval, strings.Join(closes, ",")))
	}
	return strings.Join(parts, " | ")
}

// drained returns what waits, as one batch shows it.
func drained(t *testing.T, q *Queue) sdk.QuoteBatch {
	t.Helper()
	var got sdk.QuoteBatch
	q.Fail(errStop)
	if err := q.Run(t.Context(), func(batch sdk.QuoteBatch) error { got = batch; return nil }, Options{}); !errors.Is(err, errStop) {
		t.Fatal(err)
	}
	return got
}

func TestCandlesThatWait(t *testing.T) {
	daily := minutes("btc", 1)
	daily.Interval = sdk.Interval1d
	inEuro := minutes("btc", 2)
	inEuro.VsCurrency = "eur"
	namesake := minutes("btc", 3)
	namesake.ID = "another-coin"
	corrected := minutes("btc", 2)
	corrected.Items[0].Close = sdk.Known(22)
	for name, tc := range map[string]struct {
		max        int
		put        []sdk.Candles
		superseded int
		want       string
	}{
		"one after the other":         {0, []sdk.Candles{minutes("btc", 1), minutes("btc", 2), minutes("btc", 3)}, 0, "btc 1m 1,2,3"},
		"a run":                       {0, []sdk.Candles{minutes("btc", 1, 2, 3)}, 0, "btc 1m 1,2,3"},
		"in any order":                {0, []sdk.Candles{minutes("btc", 3, 1), minutes("btc", 4), minutes("btc", 2)}, 0, "btc 1m 1,2,3,4"},
		"twice":                       {0, []sdk.Candles{minutes("btc", 1, 2, 2), minutes("btc", 2), minutes("btc", 1)}, 0, "btc 1m 1,2"},
		"corrected":                   {0, []sdk.Candles{minutes("btc", 1, 2), corrected}, 0, "btc 1m 1,22"},
		"of several":                  {0, []sdk.Candles{minutes("eth", 1), minutes("btc", 1), minutes("eth", 2)}, 0, "eth 1m 1,2 | btc 1m 1"},
		"of several intervals":        {0, []sdk.Candles{minutes("btc", 1), daily}, 0, "btc 1m 1 | btc 1d 1"},
		"of another currency or coin": {0, []sdk.Candles{minutes("btc", 1), inEuro, namesake}, 0, "btc 1m 1 | btc 1m 2 | btc 1m 3"},
		"open":                        {0, []sdk.Candles{minutes("btc", 1, -2), minutes("eth", -1)}, 0, "btc 1m 1"},
		"none":                        {0, []sdk.Candles{minutes("btc")}, 0, ""},
		"more than may wait":          {3, []sdk.Candles{minutes("btc", 1, 2), minutes("btc", 3, 4), minutes("eth", 1, 2, 3), minutes("btc", 5)}, 2, "btc 1m 3,4,5 | eth 1m 1,2,3"},
		"a run that is too long":      {2, []sdk.Candles{minutes("btc", 1, 2, 3, 4, 5)}, 3, "btc 1m 4,5"},
		"one that is older than all":  {2, []sdk.Candles{minutes("btc", 4, 5), minutes("btc", 1)}, 1, "btc 1m 4,5"},
		"one that is there, when full": {
			2, []sdk.Candles{minutes("btc", 4, 5), minutes("btc", 4)}, 0, "btc 1m 4,5",
		},
	} {
		t.Run(name, func(t *testing.T) {
			q := New()
			q.MaxCandles = tc.max
			superseded := 0
			for _, series := range tc.put {
				superseded += q.PutCandles(series)
			}
			n := q.Len()
			got := drained(t, q)
			if shown(got) != tc.want || superseded != tc.superseded {
				t.Errorf("got %q, %d superseded; want %q, %d", shown(got), superseded, tc.want, tc.superseded)
			}
			for _, run := range got.Candles {
				n -= len(run.Items)
			}
			if n != 0 || q.Len() != 0 {
				t.Errorf("Len was off by %d, and is %d afterwards", n, q.Len())
			}
		})
	}
}

func TestTwoHoursOfMinutesWaitByDefault(t *testing.T) {
	q := New()
	superseded := 0
	for n := range 150 {
		superseded += q.PutCandles(minutes("btc", n))
	}
	got := drained(t, q).Candles[0].Items
	if superseded != 30 || len(got) != 120 || !got[0].OpenTime.Equal(midnight.Add(30*time.Minute)) {
		t.Errorf("%d superseded, %d wait, the oldest of %s", superseded, len(got), got[0].OpenTime)
	}
}

func TestASeriesSaysWhatTheNewestSaid(t *testing.T) {
	newer, older := minutes("btc", 2), minutes("btc", 1, 3)
	newer.AsOf, newer.Note = midnight.Add(2*time.Hour), "a note"
	newer.Source = "another"
	q := New()
	q.PutCandles(minutes("btc", 0))
	q.PutCandles(newer)
	q.PutCandles(older)
	got := drained(t, q).Candles[0]
	if got.Source != "another" || got.Note != "a note" || !got.AsOf.Equal(newer.AsOf) || got.Interval != sdk.Interval1m || len(got.Items) != 4 {
		t.Errorf("got %+v", got)
	}
}

func TestASeriesStaysTheCallers(t *testing.T) {
	q := New()
	mine := minutes("btc", 5, 6, 7)
	mine.Items = mine.Items[:2:3]
	kept := slices.Clone(mine.Items[:3])
	q.PutCandles(mine)
	q.PutCandles(minutes("btc", 1, 2))
	batch := drained(t, q)
	batch.Candles[0].Items[0].Close = sdk.Number{}
	mine.Items[1].Close = sdk.Known(66)
	kept[1].Close = sdk.Known(66)
	if !slices.Equal(mine.Items[:3], kept) || shown(batch) != "btc 1m null,2,5,6" {
		t.Errorf("the caller has %+v, the receiver %q", mine.Items[:3], shown(batch))
	}
}

func TestCandlesLeaveWithTheQuotes(t *testing.T) {
	opts := Options{MinInterval: 100 * time.Millisecond, Heartbeat: time.Second}
	b, err := pace(t, opts, func(q *Queue) {
		q.PutCandles(minutes("btc", 1)) // At once, without a quote.
		synctest.Wait()
		q.Put(quote("btc", 1))
		q.PutCandles(minutes("btc", 2))
		q.Put(quote("btc", 2))
		q.PutCandles(minutes("eth", 2))
		time.Sleep(250 * time.Millisecond)
		q.Put(quote("eth", 9)) // A batch that was emitted is not added to.
		synctest.Wait()
		q.PutCandles(minutes("btc", 3))
		time.Sleep(1500 * time.Millisecond) // A heartbeat a second after the batch at 350 ms.
		q.PutCandles(minutes("btc", 4))
		q.Fail(sdk.Unavailable)
	})
	if !errors.Is(err, sdk.Unavailable) {
		t.Errorf("ended with %v", err)
	}
	want := []string{
		"1@0: btc 1m 1", "2@100: btc=2 | btc 1m 2 | eth 1m 2", "3@250: eth=9", "4@350: btc 1m 3", "5@1350: ", "6@1750: btc 1m 4",
	}
	if !slices.Equal(b, want) {
		t.Errorf("got  %q\nwant %q", b, want)
	}
}

// pace drains a queue in a bubble while act happens, and returns the batches as "number@milliseconds: …".
func pace(t *testing.T, opts Options, act func(q *Queue)) ([]string, error) {
	t.Helper()
	var got []string
	var err error
	synctest.Test(t, func(t *testing.T) {
		q, start := New(), time.Now()
		done := make(chan struct{})
		go func() {
			defer close(done)
			err = q.Run(t.Context(), func(batch sdk.QuoteBatch) error {
				got = append(got, fmt.Sprintf("%d@%d: %s", batch.Seq, time.Since(start).Milliseconds(), shown(batch)))
				return nil
			}, opts)
		}()
		act(q)
		<-done
	})
	return got, err
}

func TestASlowReceiverMissesNoCandle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := New()
		var got []string
		go func() {
			for n := range 10 {
				q.Put(quote("btc", n))
				q.PutCandles(minutes("btc", n))
				time.Sleep(time.Minute)
			}
			q.Fail(errStop)
		}()
		err := q.Run(t.Context(), func(batch sdk.QuoteBatch) error {
			time.Sleep(4*time.Minute + time.Second)
			got = append(got, shown(batch))
			return nil
		}, Options{})
		want := []string{"btc=0 | btc 1m 0", "btc=4 | btc 1m 1,2,3,4", "btc=8 | btc 1m 5,6,7,8", "btc=9 | btc 1m 9"}
		if !slices.Equal(got, want) || !errors.Is(err, errStop) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	})
}

// ExampleQueue_PutCandles shows that a candle is not replaced by a newer one.
func ExampleQueue_PutCandles() {
	queue := New()
	noon := time.Date(2026, 5, 18, 12, 0, 0, 0, time.UTC)
	for n, price := range []float64{77671, 77672} {
		queue.PutCandles(sdk.Candles{Symbol: "btc", VsCurrency: "usd", Interval: sdk.Interval1m, Items: []sdk.Candle{
			{OpenTime: noon.Add(time.Duration(n) * time.Minute), Close: sdk.Known(price), Closed: true},
		}})
	}
	queue.Fail(errors.New("the upstream hung up"))
	_ = queue.Run(context.Background(), func(batch sdk.QuoteBatch) error {
		for _, series := range batch.Candles {
			for _, c := range series.Items {
				fmt.Println(batch.Seq, series.Symbol, series.Interval, c.OpenTime.Format(time.Kitchen), c.Close)
			}
		}
		return nil
	}, Options{})
	// Output:
	// 1 btc 1m 12:00PM 77671
	// 1 btc 1m 12:01PM 77672
}
