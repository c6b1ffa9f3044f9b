package main

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// The channels that are understood.
const (
	channelTicker    = "ticker"
	channelMinutes   = "ohlc"
	channelStatus    = "status"
	channelHeartbeat = "heartbeat"
)

// The methods of requests; the answer to a ping has one of its own.
const (
	methodSubscribe = "subscribe"
	methodPing      = "ping"
	methodPong      = "pong"
)

// frameKind is what a frame is.
type frameKind uint8

const (
	frameMalformed frameKind = iota // not what the API speaks
	frameUnknown                    // of a channel that nobody asked for
	frameTickers                    // what pairs did in the past 24 hours
	frameMinutes                    // minutes of pairs, so far or to their end
	frameReply                      // the answer to a request of ours
	framePong                       // the answer to a ping
	frameHeartbeat                  // nothing happens
	frameStatus                     // how the exchange is
)

// frame is one message.
type frame struct {
	kind frameKind
	// snapshot is true for the state that a subscription begins with.
	snapshot bool
	tickers  []ticker
	minutes  []minute
	// at is when Kraken sent it; the zero time when it does not say.
	at     time.Time
	reply  reply
	system string
}

// reply answers a subscription to one pair, or refuses a whole request when there is no symbol.
type reply struct {
	id              int64
	ok              bool
	channel, symbol string
	complaint       string
}

// ticker is what one pair did in the past 24 hours.
type ticker struct {
	symbol                               string
	at                                   time.Time // zero when it does not say
	price, change, high, low, base, vwap sdk.Number
}

// minute is a candle of one pair, so far.
type minute struct {
	symbol                         string
	opens                          time.Time
	open, high, low, close, volume sdk.Number
}

// message is the outside of a frame: {"channel","type","data"} or {"method","success",…}.
type message struct {
	Channel string          `json:"channel"`
	Type    string          `json:"type"`
	Data    json.RawMessage `json:"data"`

	Method  string `json:"method"`
	ID      int64  `json:"req_id"`
	Success bool   `json:"success"`
	Error   string `json:"error"`
	Symbol  string `json:"symbol"`
	Result  struct {
		Channel string `json:"channel"`
		Symbol  string `json:"symbol"`
	} `json:"result"`
	Out stamp `json:"time_out"`
}

// stamp is a time as it is written, such as "2026-11-25T16:00:00.123456Z".
type stamp string

// earliestYear and latestYear are where stamps begin and end to make sense.
const earliestYear, latestYear = 2009, 2200

// time reads the stamp; one that is missing or makes no sense is the zero time.
func (s stamp) time() time.Time {
	at, err := time.Parse(time.RFC3339Nano, string(s))
	if err != nil || at.Year() < earliestYear || at.Year() > latestYear {
		return time.Time{}
	}
	return at.UTC()
}

// tickerData is a ticker as it is written. The change is in percent.
type tickerData struct {
	Symbol string     `json:"symbol"`
	Last   sdk.Number `json:"last"`
	Change sdk.Number `json:"change_pct"`
	High   sdk.Number `json:"high"`
	Low    sdk.Number `json:"low"`
	Volume sdk.Number `json:"volume"` // in the base
	VWAP   sdk.Number `json:"vwap"`
	At     stamp      `json:"timestamp"`
}

// minuteData is a candle as it is written.
type minuteData struct {
	Symbol   string     `json:"symbol"`
	Open     sdk.Number `json:"open"`
	High     sdk.Number `json:"high"`
	Low      sdk.Number `json:"low"`
	Close    sdk.Number `json:"close"`
	Volume   sdk.Number `json:"volume"` // in the base
	Begins   stamp      `json:"interval_begin"`
	Interval int        `json:"interval"` // minutes
}

// decodeFrame reads a message.
func decodeFrame(text []byte) frame {
	var m message
	if json.Unmarshal(text, &m) != nil {
		return frame{}
	}
	switch {
	case m.Method == methodPong:
		return frame{kind: framePong, at: m.Out.time()}
	case m.Method == methodSubscribe, m.Method == "" && m.Channel == "" && m.Error != "":
		// A request that cannot be read at all is refused without its method.
		r := reply{id: m.ID, ok: m.Success && m.Error == "", channel: m.Result.Channel, symbol: m.Result.Symbol, complaint: m.Error}
		if r.symbol == "" {
			r.symbol = m.Symbol
		}
		if r.ok && (r.channel == "" || r.symbol == "") {
			return frame{}
		}
		return frame{kind: frameReply, reply: r, at: m.Out.time()}
	case m.Method != "":
		return frame{kind: frameUnknown}
	}
	snapshot := m.Type == "snapshot"
	switch m.Channel {
	case channelHeartbeat:
		return frame{kind: frameHeartbeat}
	case channelStatus:
		return statusFrame(m.Data)
	case channelTicker:
		return tickerFrame(m.Data, snapshot)
	case channelMinutes:
		return minuteFrame(m.Data, snapshot)
	case "":
		return frame{}
	default:
		return frame{kind: frameUnknown}
	}
}

func statusFrame(data []byte) frame {
	var list []struct {
		System string `json:"system"`
	}
	if json.Unmarshal(data, &list) != nil || len(list) == 0 {
		return frame{}
	}
	return frame{kind: frameStatus, system: list[0].System}
}

func tickerFrame(data []byte, snapshot bool) frame {
	var list []tickerData
	if json.Unmarshal(data, &list) != nil || len(list) == 0 {
		return frame{}
	}
	out := frame{kind: frameTickers, snapshot: snapshot}
	for i := range list {
		d := &list[i]
		if d.Symbol == "" || !d.Last.IsKnown() || negative(d.Last, d.High, d.Low, d.Volume, d.VWAP) {
			return frame{}
		}
		out.tickers = append(out.tickers, ticker{d.Symbol, d.At.time(), d.Last, d.Change, d.High, d.Low, d.Volume, d.VWAP})
	}
	return out
}

func minuteFrame(data []byte, snapshot bool) frame {
	var list []minuteData
	if json.Unmarshal(data, &list) != nil {
		return frame{}
	}
	// The snapshot of a pair that was not traded lately is empty.
	out := frame{kind: frameMinutes, snapshot: snapshot}
	for i := range list {
		d := &list[i]
		if d.Interval != 1 {
			return frame{kind: frameUnknown}
		}
		opens := d.Begins.time()
		known := d.Open.IsKnown() && d.High.IsKnown() && d.Low.IsKnown() && d.Close.IsKnown() && d.Volume.IsKnown()
		if d.Symbol == "" || !known || negative(d.Open, d.High, d.Low, d.Close, d.Volume) || opens.IsZero() || !opens.Equal(opens.Truncate(time.Minute)) {
			return frame{}
		}
		out.minutes = append(out.minutes, minute{d.Symbol, opens, d.Open, d.High, d.Low, d.Close, d.Volume})
	}
	slices.SortStableFunc(out.minutes, func(a, b minute) int { return a.opens.Compare(b.opens) })
	return out
}

// negative tells whether any of the figures is below zero.
func negative(figures ...sdk.Number) bool {
	return slices.ContainsFunc(figures, func(n sdk.Number) bool { return n.Or(0) < 0 })
}

// quote turns the ticker into the quote of an asset.
func (t ticker) quote(asset sdk.Asset, vs, source string) sdk.Quote {
	return sdk.Quote{
		ID: asset.ID, Symbol: asset.Symbol, Name: asset.Name, VsCurrency: vs, Source: source, AsOf: t.at,
		Price: t.price, Change24h: t.change, High24h: t.high, Low24h: t.low, Volume24h: product(t.base, t.vwap),
	}
}

// series turns the minute into the candles of an asset, of which it is the only one.
func (m minute) series(asset sdk.Asset, vs, source string, now time.Time) sdk.Candles {
	return sdk.Candles{
		ID: asset.ID, Symbol: asset.Symbol, Interval: sdk.Interval1m, VsCurrency: vs, Source: source, AsOf: now.UTC(),
		Items: []sdk.Candle{{
			OpenTime: m.opens, Open: m.open, High: m.high, Low: m.low, Close: m.close, Volume: m.volume, Closed: true,
		}},
	}
}
