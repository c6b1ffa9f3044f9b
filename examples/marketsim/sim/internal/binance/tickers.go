package binance

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// dayWeight is 2 up to 20 symbols, 40 up to 100, and 80 beyond or without any.
func dayWeight(r *upstream.Request) int {
	symbols, ok := symbolsOf(r.Query)
	switch {
	case r.Query.Get("symbol") != "", ok && len(symbols) <= 20:
		return 2
	case ok && len(symbols) <= 100:
		return 40
	}
	return 80
}

func priceWeight(r *upstream.Request) int {
	if r.Query.Get("symbol") != "" {
		return 2
	}
	return 4
}

func depthWeight(r *upstream.Request) int {
	limit, refusal := number(r.Query, "limit", depthDefault)
	switch {
	case refusal != nil || limit <= 100:
		return 5
	case limit <= 500:
		return 25
	case limit <= 1000:
		return 50
	}
	return 250
}

// several answers one object or a list of them.
func several(pairs []*market.Pair, one bool, of func(*market.Pair) upstream.Object) upstream.Reply {
	list := make([]upstream.Object, len(pairs))
	for i, p := range pairs {
		list[i] = of(p)
	}
	if one {
		return upstream.JSON(http.StatusOK, list[0])
	}
	return upstream.JSON(http.StatusOK, list)
}

func (s *Service) tickerPrice(r *upstream.Request) upstream.Reply {
	pairs, one, refusal := s.pairs(r)
	if refusal != nil {
		return *refusal
	}
	return several(pairs, one, func(p *market.Pair) upstream.Object {
		price := 0.0
		if p.Traded(r.Now) {
			price = p.Price(r.Now)
		}
		return upstream.Object{{Name: "symbol", Value: p.Symbol}, {Name: "price", Value: decimal(price)}}
	})
}

func (s *Service) tickerDay(r *upstream.Request) upstream.Reply {
	pairs, one, refusal := s.pairs(r)
	if refusal != nil {
		return *refusal
	}
	mini := false
	switch r.Query.Get("type") {
	case "", "FULL":
	case "MINI":
		mini = true
	default:
		return *wrong(codeInvalid, "Data sent for parameter 'type' is not valid.")
	}
	return several(pairs, one, func(p *market.Pair) upstream.Object { return rolling(p, r.Now, mini) })
}

// window is the 24 hours before now of a pair that is traded, and their volume on the pair's step.
func window(p *market.Pair, now time.Time) (bar market.Bar, volume float64) {
	bar = p.Bar(latest(now.Add(-day), p.Listed), now)
	bar.Trades = max(1, bar.Trades)
	return bar, quantity(p, bar.Volume)
}

// rolling sums up the 24 hours before now; a pair that was not traded in them has zeros and no trades.
func rolling(p *market.Pair, now time.Time, mini bool) upstream.Object {
	from := latest(now.Add(-day), p.Listed)
	var bar market.Bar
	var volume, average, last, before, bid, ask float64
	first, final := int64(-1), int64(-1)
	if p.Traded(now) {
		bar, volume = window(p, now)
		average = bar.Typical()
		first = p.Trades(from)
		final = first + bar.Trades - 1
		last, before = quantity(p, bar.Volume/float64(bar.Trades)), p.Price(from.Add(-time.Second))
		bid, ask = bar.Close-p.Tick, bar.Close
	}
	o := upstream.Object{{Name: "symbol", Value: p.Symbol}}
	if !mini {
		change, percent := bar.Close-bar.Open, 0.0
		if bar.Open > 0 {
			percent = 100 * change / bar.Open
		}
		o.Set("priceChange", decimal(change))
		o.Set("priceChangePercent", strconv.FormatFloat(percent, 'f', 3, 64))
		o.Set("weightedAvgPrice", decimal(average))
		o.Set("prevClosePrice", decimal(before))
		o.Set("lastPrice", decimal(bar.Close))
		o.Set("lastQty", decimal(last))
		o.Set("bidPrice", decimal(bid))
		o.Set("bidQty", decimal(last*3))
		o.Set("askPrice", decimal(ask))
		o.Set("askQty", decimal(last*2))
	}
	o.Set("openPrice", decimal(bar.Open))
	o.Set("highPrice", decimal(bar.High))
	o.Set("lowPrice", decimal(bar.Low))
	if mini {
		o.Set("lastPrice", decimal(bar.Close))
	}
	o.Set("volume", decimal(volume))
	o.Set("quoteVolume", decimal(volume*average))
	o.Set("openTime", now.Add(-day).UnixMilli())
	o.Set("closeTime", now.UnixMilli())
	o.Set("firstId", first)
	o.Set("lastId", final)
	o.Set("count", bar.Trades)
	return o
}

// budgets are the limits that exchangeInfo tells.
func (s *Service) budgets() []upstream.Object {
	return []upstream.Object{{
		{Name: "rateLimitType", Value: "REQUEST_WEIGHT"},
		{Name: "interval", Value: "MINUTE"},
		{Name: "intervalNum", Value: 1},
		{Name: "limit", Value: max(s.weight, 0)},
	}}
}

func (s *Service) exchangeInfo(r *upstream.Request) upstream.Reply {
	pairs, _, refusal := s.pairs(r)
	if refusal != nil {
		return *refusal
	}
	symbols := make([]upstream.Object, len(pairs))
	for i, p := range pairs {
		symbols[i] = instrument(p, r.Now)
	}
	return upstream.JSON(http.StatusOK, upstream.Object{
		{Name: "timezone", Value: "UTC"},
		{Name: "serverTime", Value: r.Now.UnixMilli()},
		{Name: "rateLimits", Value: s.budgets()},
		{Name: "exchangeFilters", Value: []int{}},
		{Name: "symbols", Value: symbols},
	})
}

func instrument(p *market.Pair, now time.Time) upstream.Object {
	status := "BREAK"
	if p.Traded(now) {
		status = "TRADING"
	}
	return upstream.Object{
		{Name: "symbol", Value: p.Symbol},
		{Name: "status", Value: status},
		{Name: "baseAsset", Value: p.Base},
		{Name: "baseAssetPrecision", Value: 8},
		{Name: "quoteAsset", Value: p.Quote},
		{Name: "quotePrecision", Value: 8},
		{Name: "quoteAssetPrecision", Value: 8},
		{Name: "baseCommissionPrecision", Value: 8},
		{Name: "quoteCommissionPrecision", Value: 8},
		{Name: "orderTypes", Value: []string{"LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"}},
		{Name: "icebergAllowed", Value: true},
		{Name: "ocoAllowed", Value: true},
		{Name: "quoteOrderQtyMarketAllowed", Value: true},
		{Name: "isSpotTradingAllowed", Value: status == "TRADING"},
		{Name: "isMarginTradingAllowed", Value: false},
		{Name: "filters", Value: []upstream.Object{
			{
				{Name: "filterType", Value: "PRICE_FILTER"},
				{Name: "minPrice", Value: decimal(p.Tick)},
				{Name: "maxPrice", Value: decimal(p.Tick * 1e8)},
				{Name: "tickSize", Value: decimal(p.Tick)},
			},
			{
				{Name: "filterType", Value: "LOT_SIZE"},
				{Name: "minQty", Value: decimal(p.Step)},
				{Name: "maxQty", Value: decimal(p.Step * 9e8)},
				{Name: "stepSize", Value: decimal(p.Step)},
			},
			{
				{Name: "filterType", Value: "NOTIONAL"},
				{Name: "minNotional", Value: decimal(5)},
				{Name: "applyMinToMarket", Value: true},
				{Name: "avgPriceMins", Value: 5},
			},
		}},
		{Name: "permissions", Value: []string{}},
		{Name: "permissionSets", Value: [][]string{{"SPOT"}}},
	}
}

const (
	depthDefault = 100
	depthMax     = 5000
)

// depth serves an order book: offers thin out away from the price, by steps of the tick.
func (s *Service) depth(r *upstream.Request) upstream.Reply {
	p, refusal := s.pair(r)
	if refusal != nil {
		return *refusal
	}
	limit, refusal := number(r.Query, "limit", depthDefault)
	if refusal != nil {
		return *refusal
	}
	if limit == 0 {
		return *wrong(codeInvalid, "Data sent for parameter 'limit' is not valid.")
	}
	bids, asks := [][2]string{}, [][2]string{}
	if p.Traded(r.Now) {
		price := p.Price(r.Now)
		gap := max(p.Tick, price*0.00002)
		for i := range int(min(limit, depthMax)) {
			size := s.market.Noise("depth "+p.Symbol, r.Now.UnixMilli()+int64(i)*7919)
			offer := decimal(quantity(p, (1+99*size*size)*1000*p.Step))
			away := math.Round(float64(i)*gap/p.Tick) * p.Tick
			if bid := price - p.Tick - away; bid > 0 {
				bids = append(bids, [2]string{decimal(bid), offer})
			}
			asks = append(asks, [2]string{decimal(price + away), offer})
		}
	}
	return upstream.JSON(http.StatusOK, upstream.Object{
		{Name: "lastUpdateId", Value: r.Now.UnixMilli()},
		{Name: "bids", Value: bids},
		{Name: "asks", Value: asks},
	})
}
