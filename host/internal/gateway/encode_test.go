package gateway

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestEncodeQuote(t *testing.T) {
	q := sdk.Quote{
		ID: "bitcoin", Symbol: "btc", Name: `Bit "coin" <b>`, VsCurrency: "usd", Price: sdk.Known(1.5e-7), Change24h: sdk.Known(-0.25),
		MarketCap: sdk.Known(2.6e12), Volume24h: sdk.Known(1e22), Rank: 1, Source: "coingecko-source",
		AsOf: time.Date(2026, 5, 17, 14, 0, 0, 500e6, time.FixedZone("CEST", 7200)), Note: "in USDT",
		Supply: sdk.Supply{Circulating: sdk.Known(19e6)},
	}
	const want = `{"id":"bitcoin","symbol":"btc","name":"Bit \"coin\" \u003cb\u003e","vs_currency":"usd","price":0.00000015,` +
		`"change_1h":null,"change_24h":-0.25,"change_7d":null,"change_30d":null,"change_1y":null,"high_24h":null,"low_24h":null,` +
		`"volume_24h":10000000000000000000000,"market_cap":2600000000000,"rank":1,"source":"coingecko-source",` +
		`"as_of":"2026-05-17T12:00:00.5Z","note":"in USDT","stale":true}`
	same(t, EncodeQuote(q, true), want)

	const empty = `{"id":null,"symbol":"x","name":null,"vs_currency":"eur","price":null,"change_1h":null,"change_24h":null,` +
		`"change_7d":null,"change_30d":null,"change_1y":null,"high_24h":null,"low_24h":null,"volume_24h":null,"market_cap":null,` +
		`"rank":null,"source":null,"as_of":null,"note":null,"stale":false}`
	same(t, EncodeQuote(sdk.Quote{Symbol: "x", VsCurrency: "eur"}, false), empty)
}

func TestEncodeGlobal(t *testing.T) {
	const want = `{"vs_currency":"usd","market_cap":2600000000000,"volume_24h":null,"market_cap_change_24h":-1.5,` +
		`"dominance":{"btc":52.1,"eth":null},"active_assets":12000,"markets":null,"source":"s","as_of":"2026-05-17T12:00:00Z","stale":false}`
	same(t, EncodeGlobal(sdk.Global{
		VsCurrency: "usd", MarketCap: sdk.Known(2.6e12), MarketCapChange24h: sdk.Known(-1.5),
		Dominance: map[string]sdk.Number{"eth": {}, "btc": sdk.Known(52.1)}, ActiveAssets: 12000, Source: "s", AsOf: now,
	}, false), want)
	same(t, EncodeGlobal(sdk.Global{VsCurrency: "usd"}, true), `{"vs_currency":"usd","market_cap":null,"volume_24h":null,`+
		`"market_cap_change_24h":null,"dominance":{},"active_assets":null,"markets":null,"source":null,"as_of":null,"stale":true}`)
}

func TestEncodeCandles(t *testing.T) {
	c := sdk.Candles{Symbol: "btc", Interval: sdk.Interval1d, VsCurrency: "usd", Source: "s", AsOf: now, Items: []sdk.Candle{
		{OpenTime: now.AddDate(0, 0, -2), Close: sdk.Known(1), Closed: true},
		{OpenTime: now.AddDate(0, 0, -1), Open: sdk.Known(1), High: sdk.Known(3), Low: sdk.Known(1e-9), Close: sdk.Known(2), Volume: sdk.Known(1e21), Closed: true},
		{OpenTime: now, Close: sdk.Known(2.5)},
	}}
	const head = `{"symbol":"btc","interval":"1d","vs_currency":"usd","source":"s","as_of":"2026-05-17T12:00:00Z","note":null,"stale":false,"candles":[`
	const newest = `{"open_time":"2026-05-17T12:00:00Z","open_time_ms":1779019200000,"open":null,"high":null,"low":null,"close":2.5,"volume":null,"closed":false}`
	const second = `{"open_time":"2026-05-16T12:00:00Z","open_time_ms":1778932800000,"open":1,"high":3,"low":0.000000001,"close":2,` +
		`"volume":1000000000000000000000,"closed":true}`
	same(t, EncodeCandles(c, 1, false), head+newest+`]}`)
	same(t, EncodeCandles(c, 2, false), head+second+`,`+newest+`]}`)
	same(t, EncodeCandles(c, 0, false), head+`]}`)
	if all := EncodeCandles(c, 1000, false); len(all) <= len(EncodeCandles(c, 2, false)) {
		t.Errorf("a limit beyond what there is leaves something out: %s", all)
	}
}

func TestEncodeListsOfTheCatalogueAndTheHistory(t *testing.T) {
	same(t, encodeSymbols([]sdk.Asset{{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", Rank: 1, MarketCap: sdk.Known(2.6e12)}, {Symbol: "x"}},
		map[string]bool{"btc": true}),
		`{"symbols":[{"id":"bitcoin","symbol":"btc","name":"Bitcoin","rank":1,"market_cap":2600000000000,"ambiguous":true},`+
			`{"id":null,"symbol":"x","name":null,"rank":null,"market_cap":null,"ambiguous":false}]}`)
	same(t, encodeHistory(sdk.HistoryRequest{Symbol: "btc", VsCurrency: "usd"}, sdk.HistoryPage{}),
		`{"symbol":"btc","vs_currency":"usd","quotes":[],"next":null}`)
	page := encodeHistory(sdk.HistoryRequest{Symbol: "btc", VsCurrency: "usd"}, sdk.HistoryPage{Quotes: make([]sdk.Quote, 2), Next: "n"})
	if !json.Valid(page) {
		t.Errorf("not JSON: %s", page)
	}
}

func TestPlainNumbers(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1.5e-7,"b":[2.6E+22,-1e-9,3],"c":"1e5 \" 1e6","d":null}`: `{"a":0.00000015,"b":[26000000000000000000000,-0.000000001,3],"c":"1e5 \" 1e6","d":null}`,
		`1e3`:                       `1000`,
		`[1,2.5,-3]`:                `[1,2.5,-3]`,
		`{"1e5":"\\",` + `"x":1e2}`: `{"1e5":"\\","x":100}`,
	} {
		same(t, plainNumbers([]byte(in)), want)
	}
}

func same(t *testing.T, got []byte, want string) {
	t.Helper()
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if !json.Valid(got) {
		t.Errorf("not JSON: %s", got)
	}
}
