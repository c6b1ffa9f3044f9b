package kraken

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// The channels.
const (
	ChannelTicker = "ticker"
	ChannelOHLC   = "ohlc"
)

// Channel is a channel of one pair.
type Channel struct {
	// Name is its own and the pair's, such as "ticker:BTC/USD"; of candles it ends with the interval, "ohlc:BTC/USD:5".
	Name     string
	channel  string
	pair     *pair
	interval time.Duration
}

// Channel finds a channel of a pair, by the pair's modern name. Minutes is the interval of candles. It says in the service's
// words what is wrong with it.
func (s *Service) Channel(channel, symbol string, minutes int) (c Channel, complaint string) {
	p := s.bySlash[symbol]
	switch {
	case channel != ChannelTicker && channel != ChannelOHLC:
		return Channel{}, "Channel not supported"
	case p == nil:
		return Channel{}, "Currency pair not supported " + symbol
	case channel == ChannelTicker:
		return Channel{Name: channel + ":" + symbol, channel: channel, pair: p}, ""
	case !slices.Contains(intervals, minutes):
		return Channel{}, "Ohlc interval not supported"
	}
	return Channel{
		Name: fmt.Sprintf("%s:%s:%d", channel, symbol, minutes), channel: channel, pair: p, interval: time.Duration(minutes) * time.Minute,
	}, ""
}

// Snapshot is what a subscription begins with: the ticker, or the last candles.
func (c Channel) Snapshot(at time.Time) ([]byte, error) {
	if c.channel == ChannelTicker {
		return c.frame("snapshot", at, []upstream.Object{c.ticker(at)})
	}
	// Of the last hour at least, and those that were traded in only.
	data := []upstream.Object{}
	open := floor(at, c.interval)
	for begin := open.Add(-time.Hour.Truncate(c.interval)); !begin.After(open); begin = begin.Add(c.interval) {
		to := begin.Add(c.interval)
		if to.After(at) {
			to = at
		}
		if c.pair.trades(to) > c.pair.trades(begin) {
			data = append(data, c.candle(begin, to))
		}
	}
	return c.frame("snapshot", at, data)
}

// Update is what trades between two instants changed; nothing without any. A candle that ended in between comes first, as it
// ended.
func (c Channel) Update(since, at time.Time) ([]byte, error) {
	if c.pair.trades(at) <= c.pair.trades(since) {
		return nil, nil
	}
	if c.channel == ChannelTicker {
		return c.frame("update", at, []upstream.Object{c.ticker(at)})
	}
	var data []upstream.Object
	open := floor(at, c.interval)
	if since.Before(open) && c.pair.trades(open) > c.pair.trades(since) {
		data = append(data, c.candle(open.Add(-c.interval), open))
	}
	if c.pair.trades(at) > c.pair.trades(open) {
		data = append(data, c.candle(open, at))
	}
	if data == nil {
		return nil, nil
	}
	return c.frame("update", at, data)
}

func (c Channel) frame(kind string, at time.Time, data []upstream.Object) ([]byte, error) {
	o := upstream.Object{{Name: "channel", Value: c.channel}, {Name: "type", Value: kind}}
	if c.channel == ChannelOHLC {
		o.Set("timestamp", at.UTC().Format(time.RFC3339Nano))
	}
	o.Set("data", data)
	text, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("channel %s: %w", c.Name, err)
	}
	return text, nil
}

// ticker is what the pair did in the last 24 hours. Figures are numbers here.
func (c Channel) ticker(at time.Time) upstream.Object {
	p := c.pair
	day, vwap := p.day(at)
	change := day.Close - day.Open
	percent := 0.0
	if day.Open > 0 {
		percent = 100 * change / day.Open
	}
	lot := json.Number(lots(max(1e-8, day.Volume/float64(max(1, day.Trades)))))
	number := func(x float64) json.Number { return json.Number(p.figure(x)) }
	return upstream.Object{
		{Name: "symbol", Value: p.symbol},
		{Name: "bid", Value: number(day.Close)},
		{Name: "bid_qty", Value: lot},
		{Name: "ask", Value: number(day.Close)},
		{Name: "ask_qty", Value: lot},
		{Name: "last", Value: number(day.Close)},
		{Name: "volume", Value: json.Number(lots(day.Volume))},
		{Name: "vwap", Value: number(vwap)},
		{Name: "low", Value: number(day.Low)},
		{Name: "high", Value: number(day.High)},
		{Name: "change", Value: number(change)},
		{Name: "change_pct", Value: json.Number(fmt.Sprintf("%.2f", percent))},
		{Name: "timestamp", Value: at.UTC().Format("2006-01-02T15:04:05.000000Z")},
	}
}

// candle is the row that REST answers for the span, in the words of a channel.
func (c Channel) candle(begin, to time.Time) upstream.Object {
	p := c.pair
	b := p.bar(begin, to)
	number := func(x float64) json.Number { return json.Number(p.figure(x)) }
	return upstream.Object{
		{Name: "symbol", Value: p.symbol},
		{Name: "open", Value: number(b.Open)},
		{Name: "high", Value: number(b.High)},
		{Name: "low", Value: number(b.Low)},
		{Name: "close", Value: number(b.Close)},
		{Name: "trades", Value: b.Trades},
		{Name: "volume", Value: json.Number(lots(b.Volume))},
		{Name: "vwap", Value: number(p.round(b.Typical()))},
		{Name: "interval_begin", Value: begin.UTC().Format("2006-01-02T15:04:05.000000000Z")},
		{Name: "interval", Value: int(c.interval / time.Minute)},
		{Name: "timestamp", Value: begin.Add(c.interval).UTC().Format("2006-01-02T15:04:05.000000Z")},
	}
}
