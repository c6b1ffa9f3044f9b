package coingecko

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

const day = 24 * time.Hour

// spans are what price_change_percentage may ask for, in the order of the answer.
var spans = []struct {
	name string
	of   time.Duration
}{
	{"1h", time.Hour},
	{"24h", day},
	{"7d", 7 * day},
	{"14d", 14 * day},
	{"30d", 30 * day},
	{"60d", 60 * day},
	{"200d", 200 * day},
	{"1y", 365 * day},
}

// markets serves up to 250 quotes. Unknown ids are absent; ids go before symbols, and without both the whole market is
// paged.
func (s *Service) markets(q *query) upstream.Reply {
	at := upstream.Slot(q.now, quoteWindow)
	v, refusal := s.view(q, at)
	if refusal != nil {
		return *refusal
	}
	ranking := s.ranking(at)
	switch {
	case q.Get("ids") != "":
		ids := q.names("ids")
		ranking = slices.DeleteFunc(ranking, func(r ranked) bool { return !slices.Contains(ids, r.coin.ID) })
	case q.Get("symbols") != "":
		coins := s.symbols(q)
		ranking = slices.DeleteFunc(ranking, func(r ranked) bool { return !slices.Contains(coins, r.coin) })
	}
	s.order(ranking, q.Get("order"), v)
	size := q.whole("per_page", 100, 1, 250)
	from := min((q.whole("page", 1, 1, 1000)-1)*size, len(ranking))
	ranking = ranking[from:min(from+size, len(ranking))]

	wanted := q.names("price_change_percentage")
	sparkline := q.flag("sparkline", false)
	quotes := make([]upstream.Object, 0, len(ranking))
	for _, r := range ranking {
		quotes = append(quotes, s.quote(v, r, wanted, sparkline))
	}
	return upstream.JSON(http.StatusOK, quotes).Cached(q.now, quoteWindow)
}

// order sorts a ranking, which comes by falling market cap.
func (s *Service) order(all []ranked, by string, v view) {
	volume := func(r ranked) float64 {
		if r.coin.Gaps.Volume || v.unpriced(r.coin) {
			return 0
		}
		return v.volume(r.coin, v.at)
	}
	switch by {
	case "market_cap_asc":
		slices.Reverse(all)
	case "volume_desc":
		slices.SortStableFunc(all, func(a, b ranked) int { return compare(volume(b), volume(a)) })
	case "volume_asc":
		slices.SortStableFunc(all, func(a, b ranked) int { return compare(volume(a), volume(b)) })
	case "id_asc":
		slices.SortFunc(all, func(a, b ranked) int { return strings.Compare(a.coin.ID, b.coin.ID) })
	case "id_desc":
		slices.SortFunc(all, func(a, b ranked) int { return strings.Compare(b.coin.ID, a.coin.ID) })
	}
}

func compare(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// figures are the numbers of a quote, nil where the service knows none.
type figures struct {
	price, cap, diluted, volume, high, low           any
	change, changePercent, capChange, capPercent     any
	ath, athChange, athDate, atl, atlChange, atlDate any
	circulating, total, most                         any
	updated                                          any
}

func (s *Service) figures(v view, r ranked) figures {
	c := r.coin
	if v.unpriced(c) {
		return figures{}
	}
	price, rate := v.price(c, v.at), v.rate(v.at)
	bar := v.day(c)
	f := figures{
		price:   amount(price),
		cap:     unless(c.Gaps.Cap, math.Round(price*c.Circulating)),
		diluted: unless(c.Gaps.Cap, math.Round(price*max(c.Total, c.Max))),
		volume:  unless(c.Gaps.Volume, math.Round(v.volume(c, v.at))),
		high:    amount(bar.High), low: amount(bar.Low),
		circulating: unless(c.Gaps.Cap, supply(c.Circulating)),
		total:       supply(c.Total), most: supply(c.Max),
		updated: stamp(s.updated(c, v.at)),
	}
	if before := v.at.Add(-day); !before.Before(c.Listed) {
		then := v.price(c, before)
		f.change, f.changePercent = price-then, percent((price/then-1)*100)
		f.capChange = unless(c.Gaps.Cap, (price-then)*c.Circulating)
		f.capPercent = unless(c.Gaps.Cap, f.changePercent)
	}
	// The path is in USDT, the price in dollars: the spread between them must not push a price beyond its own record.
	e := c.Extremes(v.at)
	high, low := max(e.High*rate, bar.High), min(e.Low*rate, bar.Low)
	f.ath, f.athChange, f.athDate = amount(high), percent((price/high-1)*100), stamp(e.HighAt)
	f.atl, f.atlChange, f.atlDate = amount(low), percent((price/low-1)*100), stamp(e.LowAt)
	return f
}

func (s *Service) quote(v view, r ranked, wanted []string, sparkline bool) upstream.Object {
	c, f := r.coin, s.figures(v, r)
	o := upstream.Object{
		{Name: "id", Value: c.ID},
		{Name: "symbol", Value: c.Symbol},
		{Name: "name", Value: c.Name},
		{Name: "image", Value: image(c, "large")},
		{Name: "current_price", Value: f.price},
		{Name: "market_cap", Value: f.cap},
		{Name: "market_cap_rank", Value: r.figure()},
		{Name: "fully_diluted_valuation", Value: f.diluted},
		{Name: "total_volume", Value: f.volume},
		{Name: "high_24h", Value: f.high},
		{Name: "low_24h", Value: f.low},
		{Name: "price_change_24h", Value: f.change},
		{Name: "price_change_percentage_24h", Value: f.changePercent},
		{Name: "market_cap_change_24h", Value: f.capChange},
		{Name: "market_cap_change_percentage_24h", Value: f.capPercent},
		{Name: "circulating_supply", Value: f.circulating},
		{Name: "total_supply", Value: f.total},
		{Name: "max_supply", Value: f.most},
		{Name: "ath", Value: f.ath},
		{Name: "ath_change_percentage", Value: f.athChange},
		{Name: "ath_date", Value: f.athDate},
		{Name: "atl", Value: f.atl},
		{Name: "atl_change_percentage", Value: f.atlChange},
		{Name: "atl_date", Value: f.atlDate},
		{Name: "roi", Value: roi(c, f.price)},
		{Name: "last_updated", Value: f.updated},
		{Name: "market_cap_rank_with_rehypothecated", Value: r.figure()},
	}
	if sparkline {
		o.Set("sparkline_in_7d", upstream.Object{{Name: "price", Value: hourly(v, c)}})
	}
	for _, span := range spans {
		if slices.Contains(wanted, span.name) {
			o.Set("price_change_percentage_"+span.name+"_in_currency", v.change(c, span.of))
		}
	}
	return o
}

// hourly is a week of hourly prices, oldest first.
func hourly(v view, c *market.Coin) []float64 {
	prices := []float64{}
	for at := v.at.Truncate(time.Hour).Add(-167 * time.Hour); !at.After(v.at); at = at.Add(time.Hour) {
		if !c.Gaps.Price && !at.Before(c.Listed) {
			prices = append(prices, v.price(c, at))
		}
	}
	return prices
}

// roi is null for most coins, and an object for the few that were once sold to the public.
func roi(c *market.Coin, price any) any {
	now, ok := price.(float64)
	paid, sold := map[string]float64{"ethereum": 0.31, "chainlink": 0.11, "aave": 1.7, "filecoin": 5}[c.ID]
	if !ok || !sold {
		return nil
	}
	times := now/paid - 1
	return upstream.Object{
		{Name: "times", Value: times},
		{Name: "currency", Value: "usd"},
		{Name: "percentage", Value: times * 100},
	}
}

// coin serves everything about one coin: a few kilobytes with all switches off, and far more than anybody wants
// without them.
func (s *Service) coin(q *query) upstream.Reply {
	at := upstream.Slot(q.now, quoteWindow)
	c, ok := s.market.Coin(q.id)
	if !ok || at.Before(c.Listed) {
		return plain(http.StatusNotFound, "coin not found")
	}
	r := ranked{coin: c}
	for _, other := range s.ranking(at) {
		if other.coin == c {
			r = other
		}
	}
	o := upstream.Object{
		{Name: "id", Value: c.ID},
		{Name: "symbol", Value: c.Symbol},
		{Name: "name", Value: c.Name},
		{Name: "web_slug", Value: c.ID},
		{Name: "asset_platform_id", Value: nil},
		{Name: "platforms", Value: upstream.Object{{Name: "", Value: ""}}},
		{Name: "block_time_in_minutes", Value: 10},
		{Name: "hashing_algorithm", Value: nil},
		{Name: "categories", Value: []string{"Cryptocurrency"}},
		{Name: "preview_listing", Value: false},
		{Name: "public_notice", Value: nil},
		{Name: "additional_notices", Value: []string{}},
	}
	if q.flag("localization", true) {
		o.Set("localization", localization(c))
	}
	o.Set("description", description(c, q.flag("localization", true)))
	o.Set("links", upstream.Object{{Name: "homepage", Value: []string{"https://example.com/" + c.ID, "", ""}}})
	o.Set("image", upstream.Object{
		{Name: "thumb", Value: image(c, "thumb")},
		{Name: "small", Value: image(c, "small")},
		{Name: "large", Value: image(c, "large")},
	})
	o.Set("country_origin", "")
	o.Set("genesis_date", c.Listed.Format(time.DateOnly))
	o.Set("market_cap_rank", r.figure())
	if q.flag("market_data", true) {
		o.Set("market_data", s.marketData(r, at, q.flag("sparkline", false)))
	}
	if q.flag("community_data", true) {
		o.Set("community_data", upstream.Object{
			{Name: "facebook_likes", Value: nil},
			{Name: "reddit_subscribers", Value: 1000 * c.Image},
			{Name: "telegram_channel_user_count", Value: nil},
		})
	}
	if q.flag("developer_data", true) {
		o.Set("developer_data", upstream.Object{
			{Name: "forks", Value: 11 * c.Image},
			{Name: "stars", Value: 23 * c.Image},
			{Name: "last_4_weeks_commit_activity_series", Value: []int{0, 3, 2, 0, 1, 0, 0}},
		})
	}
	o.Set("status_updates", []string{})
	o.Set("last_updated", stamp(s.updated(c, at)))
	if q.flag("tickers", true) {
		o.Set("tickers", s.tickers(c, at))
	}
	return upstream.JSON(http.StatusOK, o).Cached(q.now, quoteWindow)
}

// marketData holds each figure in every currency.
func (s *Service) marketData(r ranked, at time.Time, sparkline bool) upstream.Object {
	perCurrency := map[string]*upstream.Object{}
	put := func(name, code string, value any) {
		if perCurrency[name] == nil {
			perCurrency[name] = &upstream.Object{}
		}
		if value != nil {
			perCurrency[name].Set(code, value)
		}
	}
	c := r.coin
	for _, code := range s.market.Currencies() {
		v := view{s.market, code, at}
		f := s.figures(v, r)
		put("current_price", code, f.price)
		put("ath", code, f.ath)
		put("ath_change_percentage", code, f.athChange)
		put("ath_date", code, f.athDate)
		put("atl", code, f.atl)
		put("atl_change_percentage", code, f.atlChange)
		put("atl_date", code, f.atlDate)
		put("market_cap", code, f.cap)
		put("fully_diluted_valuation", code, f.diluted)
		put("total_volume", code, f.volume)
		put("high_24h", code, f.high)
		put("low_24h", code, f.low)
		put("price_change_24h_in_currency", code, f.change)
		for _, span := range spans {
			put("price_change_percentage_"+span.name+"_in_currency", code, percent(v.change(c, span.of)))
		}
		put("market_cap_change_24h_in_currency", code, f.capChange)
		put("market_cap_change_percentage_24h_in_currency", code, f.capPercent)
	}
	usd := view{s.market, "usd", at}
	f := s.figures(usd, r)
	o := upstream.Object{}
	for _, name := range []string{
		"current_price", "ath", "ath_change_percentage", "ath_date", "atl", "atl_change_percentage", "atl_date",
		"market_cap", "fully_diluted_valuation", "total_volume", "high_24h", "low_24h",
	} {
		o.Set(name, perCurrency[name])
	}
	o.Set("total_value_locked", nil)
	o.Set("roi", roi(c, f.price))
	o.Set("market_cap_rank", r.figure())
	o.Set("price_change_24h", f.change)
	for _, span := range spans[1:] {
		o.Set("price_change_percentage_"+span.name, percent(usd.change(c, span.of)))
	}
	o.Set("market_cap_change_24h", f.capChange)
	o.Set("market_cap_change_percentage_24h", f.capPercent)
	o.Set("price_change_24h_in_currency", perCurrency["price_change_24h_in_currency"])
	for _, span := range spans {
		name := "price_change_percentage_" + span.name + "_in_currency"
		o.Set(name, perCurrency[name])
	}
	o.Set("market_cap_change_24h_in_currency", perCurrency["market_cap_change_24h_in_currency"])
	o.Set("market_cap_change_percentage_24h_in_currency", perCurrency["market_cap_change_percentage_24h_in_currency"])
	o.Set("total_supply", f.total)
	o.Set("max_supply", f.most)
	o.Set("max_supply_infinite", c.Max == 0)
	o.Set("circulating_supply", f.circulating)
	if sparkline {
		o.Set("sparkline_7d", upstream.Object{{Name: "price", Value: hourly(usd, c)}})
	}
	o.Set("last_updated", stamp(s.updated(c, at)))
	return o
}

// languages are those that names and descriptions come in.
var languages = strings.Fields(
	"en de es fr it pl ro hu nl pt sv vi tr ru ja zh zh-tw ko ar th id cs da el hi no sk uk he fi bg hr lt sl")

func localization(c *market.Coin) upstream.Object {
	o := upstream.Object{}
	for _, language := range languages {
		o.Set(language, c.Name)
	}
	return o
}

// description is one sentence, or with all languages some fifty kilobytes.
func description(c *market.Coin, all bool) upstream.Object {
	text := c.Name + " is one of the coins of an imaginary market. "
	if !all {
		return upstream.Object{{Name: "en", Value: text}}
	}
	o := upstream.Object{}
	for _, language := range languages {
		o.Set(language, strings.Repeat(text, 25))
	}
	return o
}

// tickers are the coin's prices on a hundred imaginary exchanges.
func (s *Service) tickers(c *market.Coin, at time.Time) []upstream.Object {
	if c.Gaps.Price {
		return []upstream.Object{}
	}
	price := c.USD(at)
	list := make([]upstream.Object, 100)
	for i := range list {
		name := fmt.Sprintf("Exchange %d", i+1)
		last := price * (1 + 0.0002*(s.market.Noise("ticker "+c.ID, int64(i))-0.5))
		list[i] = upstream.Object{
			{Name: "base", Value: strings.ToUpper(c.Symbol)},
			{Name: "target", Value: "USDT"},
			{Name: "market", Value: upstream.Object{
				{Name: "name", Value: name},
				{Name: "identifier", Value: fmt.Sprintf("exchange_%d", i+1)},
				{Name: "has_trading_incentive", Value: false},
			}},
			{Name: "last", Value: amount(last)},
			{Name: "volume", Value: amount(c.Volume(at.Add(-day), at) / float64(i+1))},
			{Name: "converted_last", Value: upstream.Object{{Name: "usd", Value: amount(last)}}},
			{Name: "trust_score", Value: nil},
			{Name: "bid_ask_spread_percentage", Value: 0.010014},
			{Name: "timestamp", Value: at.Format("2006-01-02T15:04:05-07:00")},
			{Name: "last_traded_at", Value: at.Format("2006-01-02T15:04:05-07:00")},
			{Name: "last_fetch_at", Value: at.Format("2006-01-02T15:04:05-07:00")},
			{Name: "is_anomaly", Value: false},
			{Name: "is_stale", Value: false},
			{Name: "trade_url", Value: fmt.Sprintf("https://example.com/trade/%d/%s", i+1, c.ID)},
			{Name: "token_info_url", Value: nil},
			{Name: "coin_id", Value: c.ID},
			{Name: "target_coin_id", Value: "tether"},
		}
	}
	return list
}
