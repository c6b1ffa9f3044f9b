package main

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// The frames as Binance sends them.
const (
	frameOfTicker = `{"stream":"btcusdt@miniTicker","data":{"e":"24hrMiniTicker","E":1749183266025,"s":"BTCUSDT","c":"102492.27000000",` +
		`"o":"105121.06000000","h":"105909.71000000","l":"100372.26000000","v":"24032.63625000","q":"2472261593.19821790"}}`
	frameOfRawTicker = `{"e":"24hrMiniTicker","E":1754676198909,"s":"BTCUSDT","c":"116762.00000000","o":"116761.90000000",` +
		`"h":"117666.60000000","l":"115906.80000000","v":"8059.28847600","q":"942042493.48574940"}`
	frameOfKline = `{"stream":"slfusdt@kline_1m","data":{"e":"kline","E":1745689546800,"s":"SLFUSDT","k":{"t":1745689500000,` +
		`"T":1745689559999,"s":"SLFUSDT","i":"1m","f":13562205,"L":13562210,"o":"0.20800000","c":"0.20810000","h":"0.20810000",` +
		`"l":"0.20800000","v":"624.60000000","n":6,"x":false,"q":"129.95848000","V":"624.60000000","Q":"129.95848000","B":"0"}}}`
	frameOfRawKline = `{"e":"kline","E":1745689560012,"s":"SLFUSDT","k":{"t":1745689500000,"T":1745689559999,"s":"SLFUSDT",` +
		`"i":"1m","f":-1,"L":-1,"o":"0.20810000","c":"0.20810000","h":"0.20810000","l":"0.20810000","v":"0.00000000","n":0,` +
		`"x":true,"q":"0.00000000","V":"0.00000000","Q":"0.00000000","B":"0"}}`
	frameOfFullTicker = `{"stream":"BNBBTC@ticker","data":{"e":"24hrTicker","E":1580254809477,"s":"BNBBTC","p":"420.97000000",` +
		`"P":"4.720","w":"9058.27981278","x":"8917.98","c":"9338.96","Q":"0.17246300","o":"8917.99","h":"9373.19","l":"8862.4",` +
		`"v":"72229.53","q":"654275356.16","O":1580168409456,"C":1580254809456,"F":235294268,"L":235894703,"n":600436}}`
	frameOfBalances     = `{"stream":"jTfv","data":{"e":"executionReport","E":1616627567900,"s":"BNBBTC","c":"c4wyKsIhoAaittTYlIVLqk","C":"","l":"0.0"}}`
	frameOfShutdown     = `{"stream":"!serverShutdown","data":{"e":"serverShutdown","E":1770123456789}}`
	frameOfRawShutdown  = `{"e":"serverShutdown","E":1770123456789}`
	frameOfAck          = `{"result":null,"id":1}`
	frameOfComplaint    = `{"code":2,"msg":"Invalid request: unknown variant %s, expected one of SUBSCRIBE at line 1 column 28"}`
	frameOfComplaintFor = `{"error":{"code":1,"msg":"Invalid value type: expected Boolean"},"id":7}`
)

// altered is the frame of a kline with something else in it.
func altered(old, with string) string { return strings.Replace(frameOfKline, old, with, 1) }

func TestFrames(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		kind frameKind
	}{
		"ticker":                {frameOfTicker, frameTicker},
		"raw ticker":            {frameOfRawTicker, frameTicker},
		"shutdown":              {frameOfShutdown, frameShutdown},
		"raw shutdown":          {frameOfRawShutdown, frameShutdown},
		"acknowledged":          {frameOfAck, frameReply},
		"refused":               {frameOfComplaint, frameReply},
		"refused with an id":    {frameOfComplaintFor, frameReply},
		"kline":                 {frameOfKline, frameCandle},
		"raw kline":             {frameOfRawKline, frameCandle},
		"kline of five minutes": {altered(`"1m"`, `"5m"`), frameUnknown},
		"kline of a month":      {altered(`"1m"`, `"1M"`), frameUnknown},
		"full ticker":           {frameOfFullTicker, frameUnknown},
		"execution report":      {frameOfBalances, frameUnknown},
		"all tickers":           {`{"stream":"!miniTicker@arr","data":[{"e":"24hrMiniTicker"}]}`, frameUnknown},
		"an object":             {`{}`, frameUnknown},
		"nothing":               {``, frameMalformed},
		"no JSON":               {`ping`, frameMalformed},
		"a number":              {`1`, frameMalformed},
		"cut off":               {frameOfTicker[:200], frameMalformed},
		"data that is a number": {`{"stream":"x","data":3}`, frameMalformed},
		"no symbol":             {`{"e":"24hrMiniTicker","E":1,"c":"1"}`, frameMalformed},
		"no price":              {`{"e":"24hrMiniTicker","E":1,"s":"X"}`, frameMalformed},
		"no time":               {`{"e":"24hrMiniTicker","s":"X","c":"1"}`, frameMalformed},
		"half a millisecond":    {`{"e":"24hrMiniTicker","E":1.5,"s":"X","c":"1"}`, frameMalformed},
		"a time in nanoseconds": {`{"e":"24hrMiniTicker","E":1749183266025000000,"s":"X","c":"1"}`, frameMalformed},
		"a price in words":      {`{"e":"24hrMiniTicker","E":1,"s":"X","c":"much"}`, frameMalformed},
		"a negative low":        {`{"e":"24hrMiniTicker","E":1,"s":"X","c":"1","l":"-1"}`, frameMalformed},
		"ticker with a k":       {`{"e":"24hrMiniTicker","E":1,"s":"X","c":"1","k":3}`, frameTicker},
		"no candle":             {`{"e":"kline","E":1745689546800,"s":"SLFUSDT"}`, frameMalformed},
		"an array for a candle": {`{"e":"kline","E":1745689546800,"s":"SLFUSDT","k":[]}`, frameMalformed},
		"kline of no symbol":    {altered(`"E":1745689546800,"s":"SLFUSDT"`, `"E":1745689546800`), frameMalformed},
		"kline at no time":      {altered(`"E":1745689546800`, `"E":0`), frameMalformed},
		"half a second late":    {altered(`"t":1745689500000`, `"t":1745689500500`), frameMalformed},
		"kline that never ends": {altered(`"T":1745689559999`, `"U":1745689559999`), frameMalformed},
		"kline that is longer":  {altered(`"T":1745689559999`, `"T":1745689799999`), frameMalformed},
		"kline without a close": {altered(`"c":"0.20810000"`, `"C":"0.20810000"`), frameMalformed},
		"kline without a high":  {altered(`"h":"0.20810000"`, `"h":null`), frameMalformed},
		"a negative volume":     {altered(`"v":"624.60000000"`, `"v":"-1"`), frameMalformed},
		"closed in words":       {altered(`"x":false`, `"x":"no"`), frameMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			if got := decodeFrame([]byte(tc.text)); got.kind != tc.kind {
				t.Errorf("got %+v, want kind %d", got, tc.kind)
			}
		})
	}
	if f := decodeFrame([]byte(frameOfAck)); f.id != 1 || f.refusal != nil {
		t.Errorf("acknowledged: %+v", f)
	}
	if f := decodeFrame([]byte(frameOfComplaintFor)); f.id != 7 || f.refusal == nil || f.refusal.Code != 1 {
		t.Errorf("refused: %+v", f)
	}
	if f := decodeFrame([]byte(frameOfComplaint)); f.id != 0 || f.refusal == nil || f.refusal.Code != 2 {
		t.Errorf("refused without an id: %+v", f)
	}
}

func TestQuoteOfATicker(t *testing.T) {
	asset := sdk.Asset{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin"}
	want := sdk.Quote{
		ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", VsCurrency: "usd", Source: "binance", Note: inTether,
		Price: sdk.Known(102492.27), Change24h: sdk.Known(-2.501), High24h: sdk.Known(105909.71), Low24h: sdk.Known(100372.26),
		Volume24h: sdk.Known(2472261593.1982179), AsOf: time.UnixMilli(1749183266025).UTC(),
	}
	if got := decodeFrame([]byte(frameOfTicker)).mini.quote(asset, "usd", inTether, "binance"); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// Without an open there is no change, and what Binance may add one day is not taken for a price.
	f := decodeFrame([]byte(`{"e":"24hrMiniTicker","E":7,"s":"BTCUSDT","c":"2","C":3,"H":[4],"L":"five","O":6,"Q":null,"S":{}}`))
	if q := f.mini.quote(asset, "usd", "", ""); q.Price != sdk.Known(2) || q.Change24h.IsKnown() || q.High24h.IsKnown() || q.Low24h.IsKnown() {
		t.Errorf("got %+v", q)
	}
}

func TestCandleOfAKline(t *testing.T) {
	asset := sdk.Asset{ID: "unmarshal", Symbol: "slf", Name: "Self Chain"}
	opens := time.UnixMilli(1745689500000).UTC()
	want := sdk.Candles{
		ID: "unmarshal", Symbol: "slf", Interval: sdk.Interval1m, VsCurrency: "usd", Source: "binance", Note: inTether,
		AsOf: time.UnixMilli(1745689546800).UTC(), Items: []sdk.Candle{{
			OpenTime: opens, Open: sdk.Known(0.208), High: sdk.Known(0.2081), Low: sdk.Known(0.208), Close: sdk.Known(0.2081), Volume: sdk.Known(624.6),
		}},
	}
	if got := decodeFrame([]byte(frameOfKline)).bar.series(asset, "usd", inTether, "binance"); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	// A minute without a trade is one nevertheless.
	quiet := sdk.Candle{
		OpenTime: opens, Open: sdk.Known(0.2081), High: sdk.Known(0.2081), Low: sdk.Known(0.2081), Close: sdk.Known(0.2081),
		Volume: sdk.Known(0), Closed: true,
	}
	if got := decodeFrame([]byte(frameOfRawKline)).bar.series(asset, "usd", "", "").Items[0]; got != quiet {
		t.Errorf("got  %+v\nwant %+v", got, quiet)
	}
	// What Binance may add one day is not taken for a figure.
	f := decodeFrame([]byte(altered(`"B":"0"`, `"B":"0","C":3,"H":[4],"L":5,"O":6,"V":"7","I":"5m","X":true`)))
	if f.kind != frameCandle || f.bar.closed || f.bar.high != sdk.Known(0.2081) || f.bar.low != sdk.Known(0.208) ||
		f.bar.open != sdk.Known(0.208) || f.bar.volume != sdk.Known(624.6) {
		t.Errorf("got %+v", f)
	}
}

func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		frameOfTicker, frameOfRawTicker, frameOfKline, frameOfRawKline, frameOfFullTicker, frameOfBalances, frameOfShutdown, frameOfRawShutdown,
		frameOfAck, frameOfComplaint, frameOfComplaintFor, `{"data":{"e":"24hrMiniTicker","E":1e3,"s":"X","c":1}}`, `[]`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := decodeFrame(text)
		if got.kind != frameTicker && got.mini != (miniTicker{}) {
			t.Errorf("a frame of kind %d with a ticker: %+v", got.kind, got.mini)
		}
		if got.kind != frameCandle && got.bar != (bar{}) {
			t.Errorf("a frame of kind %d with a candle: %+v", got.kind, got.bar)
		}
		if got.kind == frameCandle {
			checkBar(t, got.bar)
		}
		if got.kind != frameTicker {
			return
		}
		q := got.mini.quote(sdk.Asset{Symbol: "x"}, "usd", "", "")
		if got.mini.symbol == "" || got.mini.at < 1 || q.AsOf.Year() > 2200 {
			t.Errorf("got %+v", got.mini)
		}
		for _, n := range []sdk.Number{q.Price, q.High24h, q.Low24h, q.Volume24h} {
			if v := n.Or(0); v < 0 || math.IsNaN(v) || math.IsInf(v, 0) {
				t.Errorf("a figure of %v: %s", v, fmt.Sprintf("%+v", q))
			}
		}
		if !q.Price.IsKnown() || q.Change24h.Or(0) < -100 {
			t.Errorf("got %+v", q)
		}
	})
}

// checkBar holds a candle that was understood to what the contract says of one.
func checkBar(t *testing.T, b bar) {
	t.Helper()
	series := b.series(sdk.Asset{Symbol: "x"}, "usd", "", "")
	c := series.Items[0]
	if b.symbol == "" || series.AsOf.Year() > 2200 || c.OpenTime.Year() > 2200 || !c.OpenTime.Equal(c.OpenTime.Truncate(time.Minute)) {
		t.Errorf("got %+v", series)
	}
	for _, n := range []sdk.Number{c.Open, c.High, c.Low, c.Close, c.Volume} {
		if v, known := n.Float64(); !known || v < 0 {
			t.Errorf("a figure of %v: %+v", n, c)
		}
	}
}
