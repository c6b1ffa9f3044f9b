package main

import (
	"encoding/json"
	"math"
	"time"

	"github.com/service-islands/islands/sdk"
)

// The types of events that are understood.
const (
	eventMiniTicker = "24hrMiniTicker"
	eventKline      = "kline"
	eventShutdown   = "serverShutdown"
)

// frameKind is what a frame is.
type frameKind uint8

const (
	frameMalformed frameKind = iota // not what the streams speak
	frameUnknown                    // an event that nobody asked for
	frameTicker                     // what one symbol did in the past 24 hours
	frameCandle                     // a minute of one symbol, so far or to its end
	frameReply                      // the answer to a request of ours
	frameShutdown                   // the server will close soon
)

// frame is one message of the streams.
type frame struct {
	kind frameKind
	mini miniTicker
	bar  bar
	// id is that of the request that a reply answers; 0 when the reply does not say.
	id int64
	// refusal is what a reply complains of, nil when it does not.
	refusal *complaint
}

// complaint is an error in Binance's words.
type complaint struct {
	Code int    `json:"code"`
	Text string `json:"msg"`
}

// miniTicker is what one symbol did in the past 24 hours.
type miniTicker struct {
	symbol                         string
	at                             int64 // milliseconds
	price, open, high, low, volume sdk.Number
}

// envelope is the outside of a frame: {"stream","data"} of a combined stream, {"result","id"} of a reply, {"code","msg"}
// or {"error"} of a refusal.
type envelope struct {
	Data  json.RawMessage `json:"data"`
	ID    *int64          `json:"id"`
	Error *complaint      `json:"error"`
	Code  *int            `json:"code"`
	Text  string          `json:"msg"`
}

// bar is a minute of one symbol.
type bar struct {
	symbol string
	at     int64 // when it was told, in milliseconds
	kline
	closed bool
}

// event is a 24hrMiniTicker or a kline as it is written. Package json takes a key for a field that differs only in case,
// unless another field has it exactly: the fields of type ignored keep what Binance may add from being taken for a price.
type event struct {
	Type      string     `json:"e"`
	At        sdk.Number `json:"E"`
	Symbol    string     `json:"s"`
	Close     sdk.Number `json:"c"`
	Open      sdk.Number `json:"o"`
	High      sdk.Number `json:"h"`
	Low       sdk.Number `json:"l"`
	Volume    sdk.Number `json:"q"` // in the quote asset
	BigSymbol ignored    `json:"S"`
	BigClose  ignored    `json:"C"`
	BigOpen   ignored    `json:"O"`
	BigHigh   ignored    `json:"H"`
	BigLow    ignored    `json:"L"`
	BigVolume ignored    `json:"Q"`

	Kline    json.RawMessage `json:"k"`
	BigKline ignored         `json:"K"`
}

// eventCandle is what a kline event holds, in letters that mean something else to a ticker.
type eventCandle struct {
	Opens       sdk.Number `json:"t"`
	Closes      sdk.Number `json:"T"`
	Interval    string     `json:"i"`
	Open        sdk.Number `json:"o"`
	High        sdk.Number `json:"h"`
	Low         sdk.Number `json:"l"`
	Close       sdk.Number `json:"c"`
	Volume      sdk.Number `json:"v"` // in the base asset
	Closed      bool       `json:"x"`
	BigInterval ignored    `json:"I"`
	BigOpen     ignored    `json:"O"`
	BigHigh     ignored    `json:"H"`
	BigLow      ignored    `json:"L"` // the last trade
	BigClose    ignored    `json:"C"`
	BigVolume   ignored    `json:"V"` // of the takers
	BigClosed   ignored    `json:"X"`
}

// ignored is a value that is not looked at.
type ignored struct{}

// UnmarshalJSON reads anything.
func (*ignored) UnmarshalJSON([]byte) error { return nil }

// decodeFrame reads a message, of a combined or a raw stream.
func decodeFrame(text []byte) frame {
	var e envelope
	if json.Unmarshal(text, &e) != nil {
		return frame{}
	}
	switch {
	case len(e.Data) > 0:
		return decodeEvent(e.Data)
	case e.Error != nil:
		return frame{kind: frameReply, id: idOf(e), refusal: e.Error}
	case e.Code != nil:
		return frame{kind: frameReply, id: idOf(e), refusal: &complaint{Code: *e.Code, Text: e.Text}}
	case e.ID != nil:
		return frame{kind: frameReply, id: *e.ID}
	default:
		return decodeEvent(text)
	}
}

// idOf returns the id of a reply, 0 without one.
func idOf(e envelope) int64 {
	if e.ID == nil {
		return 0
	}
	return *e.ID
}

// decodeEvent reads what a frame is about.
func decodeEvent(text []byte) frame {
	var e event
	if err := json.Unmarshal(text, &e); err != nil {
		return otherEvent(text)
	}
	switch e.Type {
	case eventMiniTicker:
		return e.ticker()
	case eventKline:
		return e.candle()
	default:
		return otherEvent(text)
	}
}

// millis reads a time in milliseconds.
func millis(n sdk.Number) (ms int64, ok bool) {
	f := n.Or(0)
	if f < 1 || f > maxMillis || f != math.Trunc(f) {
		return 0, false
	}
	return int64(f), true
}

// ticker reads a 24hrMiniTicker.
func (e *event) ticker() frame {
	at, ok := millis(e.At)
	if e.Symbol == "" || !ok || !e.Close.IsKnown() {
		return frame{}
	}
	for _, n := range []*sdk.Number{&e.Close, &e.Open, &e.High, &e.Low, &e.Volume} {
		if n.Or(0) < 0 {
			return frame{}
		}
	}
	return frame{kind: frameTicker, mini: miniTicker{
		symbol: e.Symbol, at: at, price: e.Close, open: e.Open, high: e.High, low: e.Low, volume: e.Volume,
	}}
}

// candle reads a kline. One of another interval was not asked for.
func (e *event) candle() frame {
	var k eventCandle
	at, ok := millis(e.At)
	if e.Symbol == "" || !ok || json.Unmarshal(e.Kline, &k) != nil {
		return frame{}
	}
	if k.Interval != string(sdk.Interval1m) {
		return frame{kind: frameUnknown}
	}
	const minute = int64(time.Minute / time.Millisecond)
	opens, ok := millis(k.Opens)
	closes, also := millis(k.Closes)
	// The close time is the last millisecond of the candle.
	if !ok || !also || opens%minute != 0 || closes != opens+minute-1 {
		return frame{}
	}
	for _, n := range []sdk.Number{k.Open, k.High, k.Low, k.Close, k.Volume} {
		if n.Or(-1) < 0 {
			return frame{}
		}
	}
	return frame{kind: frameCandle, bar: bar{symbol: e.Symbol, at: at, closed: k.Closed, kline: kline{
		opens: time.UnixMilli(opens).UTC(), closes: time.UnixMilli(closes).UTC(),
		open: k.Open, high: k.High, low: k.Low, close: k.Close, volume: k.Volume,
	}}}
}

// otherEvent tells an event of another type from what is no event.
func otherEvent(text []byte) frame {
	var e struct {
		Type string  `json:"e"`
		At   ignored `json:"E"`
	}
	if err := json.Unmarshal(text, &e); err != nil || e.Type == eventMiniTicker || e.Type == eventKline {
		// An array is well-formed: the events of all symbols, which nobody asked for.
		if len(text) > 0 && text[0] == '[' {
			return frame{kind: frameUnknown}
		}
		return frame{}
	}
	if e.Type == eventShutdown {
		return frame{kind: frameShutdown}
	}
	return frame{kind: frameUnknown}
}

// change is how far the price has moved in 24 hours, in percent to three places, as the REST API says it.
func (t miniTicker) change() sdk.Number {
	open, price := t.open.Or(0), t.price.Or(0)
	if open <= 0 {
		return sdk.Number{}
	}
	return sdk.Known(math.Round((price-open)/open*100*1000) / 1000)
}

// quote turns the ticker into the quote of an asset.
func (t miniTicker) quote(asset sdk.Asset, vs, note, source string) sdk.Quote {
	return sdk.Quote{
		ID: asset.ID, Symbol: asset.Symbol, Name: asset.Name, VsCurrency: vs, Source: source, Note: note,
		Price: t.price, Change24h: t.change(), High24h: t.high, Low24h: t.low, Volume24h: t.volume,
		AsOf: time.UnixMilli(t.at).UTC(),
	}
}

// series turns the minute into the candles of an asset, of which it is the only one.
func (b bar) series(asset sdk.Asset, vs, note, source string) sdk.Candles {
	return sdk.Candles{
		ID: asset.ID, Symbol: asset.Symbol, Interval: sdk.Interval1m, VsCurrency: vs, Source: source, Note: note,
		AsOf: time.UnixMilli(b.at).UTC(), Items: []sdk.Candle{b.candle(b.closed)},
	}
}
