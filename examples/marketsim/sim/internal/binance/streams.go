package binance

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Stream is a market data stream by its name, such as "btcusdt@miniTicker". One that does not exist has no frames,
// which is all that the exchange lets its subscribers know of the mistake.
type Stream struct {
	Name string
	// Slow streams have half the pace of the others.
	Slow   bool
	frames func(since, at time.Time) []any
}

// Frames are the stream's messages, without the wrapping of a combined stream, for the tick at an instant. Since is the
// tick before it: it decides what has changed and which candles have closed.
func (s Stream) Frames(since, at time.Time) ([]json.RawMessage, error) {
	if s.frames == nil {
		return nil, nil
	}
	values := s.frames(since, at)
	list := make([]json.RawMessage, len(values))
	for i, value := range values {
		text, err := json.Marshal(value)
		if err != nil {
			return nil, fmt.Errorf("stream %s: %w", s.Name, err)
		}
		list[i] = text
	}
	return list, nil
}

// Stream finds a stream. Symbols are in lower case; in any other they name nothing.
func (s *Service) Stream(name string) Stream {
	found := Stream{Name: name}
	if name == "!miniTicker@arr" {
		found.frames = s.changed
		return found
	}
	symbol, kind, _ := strings.Cut(name, "@")
	p, ok := s.market.Pair(strings.ToUpper(symbol))
	if !ok || symbol != strings.ToLower(symbol) {
		return found
	}
	if kind == "miniTicker" {
		found.frames = func(_, at time.Time) []any {
			if !p.Traded(at) {
				return nil
			}
			return []any{mini(p, at)}
		}
		return found
	}
	if text, ok := strings.CutPrefix(kind, "kline_"); ok {
		if step, ok := intervals[text]; ok {
			found.Slow = text != "1s"
			found.frames = func(since, at time.Time) []any { return candles(p, text, step, since, at) }
		}
	}
	return found
}

// changed sums up every pair that was traded since the last tick, in one message, or none when there is nothing to say.
func (s *Service) changed(since, at time.Time) []any {
	var list []upstream.Object
	for _, p := range s.market.Pairs() {
		if p.Traded(at) && p.Trades(at) != p.Trades(since) {
			list = append(list, mini(p, at))
		}
	}
	if list == nil {
		return nil
	}
	return []any{list}
}

// mini is the short summary of the 24 hours before at, with the figures of the ticker that REST answers.
func mini(p *market.Pair, at time.Time) upstream.Object {
	bar, volume := window(p, at)
	return upstream.Object{
		{Name: "e", Value: "24hrMiniTicker"},
		{Name: "E", Value: at.UnixMilli()},
		{Name: "s", Value: p.Symbol},
		{Name: "c", Value: decimal(bar.Close)},
		{Name: "o", Value: decimal(bar.Open)},
		{Name: "h", Value: decimal(bar.High)},
		{Name: "l", Value: decimal(bar.Low)},
		{Name: "v", Value: decimal(volume)},
		{Name: "q", Value: decimal(volume * bar.Typical())},
	}
}

// maxClosed is how many closed candles one tick tells at most, when a clock has leapt.
const maxClosed = 16

// candles are those that closed since the last tick, and the open one. At the very instant of a close the next has no
// trade yet.
func candles(p *market.Pair, name string, step interval, since, at time.Time) []any {
	if !p.Traded(at) {
		return nil
	}
	var list []any
	open := step.open(at)
	if at.After(open) {
		list = append(list, candle(p, name, open, step.step(open, 1), at, at))
	}
	for closes := open; closes.After(since) && closes.After(p.Listed) && len(list) <= maxClosed; {
		open = step.step(closes, -1)
		list = append(list, candle(p, name, open, closes, closes, at))
		closes = open
	}
	slices.Reverse(list)
	return list
}

// candle is the row that REST answers, until end, in the words of a stream.
func candle(p *market.Pair, name string, open, closes, end, at time.Time) upstream.Object {
	r := row(p, open, closes, end)
	first := p.Trades(latest(open, p.Listed))
	trades, _ := r[8].(int64)
	return upstream.Object{
		{Name: "e", Value: "kline"},
		{Name: "E", Value: at.UnixMilli()},
		{Name: "s", Value: p.Symbol},
		{Name: "k", Value: upstream.Object{
			{Name: "t", Value: r[0]},
			{Name: "T", Value: r[6]},
			{Name: "s", Value: p.Symbol},
			{Name: "i", Value: name},
			{Name: "f", Value: first},
			{Name: "L", Value: first + trades - 1},
			{Name: "o", Value: r[1]},
			{Name: "c", Value: r[4]},
			{Name: "h", Value: r[2]},
			{Name: "l", Value: r[3]},
			{Name: "v", Value: r[5]},
			{Name: "n", Value: trades},
			{Name: "x", Value: end.Equal(closes)},
			{Name: "q", Value: r[7]},
			{Name: "V", Value: r[9]},
			{Name: "Q", Value: r[10]},
			{Name: "B", Value: "0"},
		}},
	}
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
