package coingecko

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// How long answers stay the same.
const (
	quoteWindow  = time.Minute
	listWindow   = 5 * time.Minute
	searchWindow = 15 * time.Minute
	globalWindow = 10 * time.Minute
)

func (s *Service) ping(*query) upstream.Reply {
	return upstream.JSON(http.StatusOK, upstream.Object{{Name: "gecko_says", Value: "(V3) To the Moon!"}})
}

func (s *Service) currencies(q *query) upstream.Reply {
	return upstream.JSON(http.StatusOK, s.market.Currencies()).Cached(q.now, quoteWindow)
}

// simplePrice leaves out what it does not know: an unknown id is absent, an unknown currency leaves an empty object.
func (s *Service) simplePrice(q *query) upstream.Reply {
	currencies := q.names("vs_currencies")
	if len(currencies) == 0 {
		return plain(http.StatusUnprocessableEntity, "Missing parameter vs_currencies")
	}
	var coins []*market.Coin
	switch {
	case q.Get("ids") != "":
		for _, id := range q.names("ids") {
			if c, ok := s.market.Coin(id); ok {
				coins = append(coins, c)
			}
		}
	case q.Get("symbols") != "":
		coins = s.symbols(q)
	default:
		return plain(http.StatusUnprocessableEntity, "Missing parameter ids")
	}
	at := upstream.Slot(q.now, quoteWindow)
	answer := upstream.Object{}
	seen := map[string]bool{}
	for _, c := range coins {
		name := c.ID
		if q.Get("ids") == "" {
			name = c.Symbol
		}
		if seen[name] {
			continue
		}
		seen[name] = true
		answer.Set(name, s.simple(c, currencies, q, at))
	}
	return upstream.JSON(http.StatusOK, answer).Cached(q.now, quoteWindow)
}

func (s *Service) simple(c *market.Coin, currencies []string, q *query, at time.Time) upstream.Object {
	figures := upstream.Object{}
	for _, vs := range currencies {
		v := view{s.market, vs, at}
		if v.rate(at) == 0 || v.unpriced(c) {
			continue
		}
		price := v.price(c, at)
		if q.Get("precision") == "full" {
			figures.Set(vs, price)
		} else {
			figures.Set(vs, amount(price))
		}
		if q.flag("include_market_cap", false) {
			figures.Set(vs+"_market_cap", unless(c.Gaps.Cap, price*c.Circulating))
		}
		if q.flag("include_24hr_vol", false) {
			figures.Set(vs+"_24h_vol", unless(c.Gaps.Volume, v.volume(c, at)))
		}
		if q.flag("include_24hr_change", false) {
			figures.Set(vs+"_24h_change", v.change(c, 24*time.Hour))
		}
	}
	if len(figures) > 0 && q.flag("include_last_updated_at", false) {
		figures.Set("last_updated_at", s.updated(c, at).Unix())
	}
	return figures
}

// updated is when the service last heard of a coin: a few seconds before the window.
func (s *Service) updated(c *market.Coin, at time.Time) time.Time {
	return at.Add(-time.Duration(1+8000*s.market.Noise("updated "+c.ID, at.Unix())) * time.Millisecond)
}

// symbols looks coins up by symbol: the largest of each, or with include_tokens=all every one.
func (s *Service) symbols(q *query) []*market.Coin {
	var coins []*market.Coin
	for _, symbol := range q.names("symbols") {
		found := s.market.Symbol(symbol)
		if len(found) > 1 && q.Get("include_tokens") != "all" {
			found = found[:1]
		}
		coins = append(coins, found...)
	}
	return coins
}

func (s *Service) list(q *query) upstream.Reply {
	withPlatform := q.flag("include_platform", false)
	coins := slices.SortedFunc(slices.Values(s.market.Coins()), func(a, b *market.Coin) int {
		return strings.Compare(a.ID, b.ID)
	})
	list := make([]upstream.Object, 0, len(coins))
	for _, c := range coins {
		if q.now.Before(c.Listed) {
			continue
		}
		entry := upstream.Object{{Name: "id", Value: c.ID}, {Name: "symbol", Value: c.Symbol}, {Name: "name", Value: c.Name}}
		if withPlatform {
			entry.Set("platforms", upstream.Object{})
		}
		list = append(list, entry)
	}
	return upstream.JSON(http.StatusOK, list).Cached(q.now, listWindow)
}

// search finds coins whose symbol, name or id holds the query, by rank.
func (s *Service) search(q *query) upstream.Reply {
	wanted := strings.ToLower(q.Get("query"))
	at := upstream.Slot(q.now, searchWindow)
	found := []upstream.Object{}
	for _, r := range s.ranking(at) {
		c := r.coin
		if !strings.Contains(c.ID, wanted) && !strings.Contains(c.Symbol, wanted) &&
			!strings.Contains(strings.ToLower(c.Name), wanted) {
			continue
		}
		found = append(found, upstream.Object{
			{Name: "id", Value: c.ID},
			{Name: "name", Value: c.Name},
			{Name: "api_symbol", Value: c.ID},
			{Name: "symbol", Value: strings.ToUpper(c.Symbol)},
			{Name: "market_cap_rank", Value: r.figure()},
			{Name: "thumb", Value: image(c, "thumb")},
			{Name: "large", Value: image(c, "large")},
		})
	}
	return upstream.JSON(http.StatusOK, upstream.Object{
		{Name: "coins", Value: found},
		{Name: "exchanges", Value: []int{}},
		{Name: "icos", Value: []int{}},
		{Name: "categories", Value: []int{}},
		{Name: "nfts", Value: []int{}},
	}).Cached(q.now, searchWindow)
}

func image(c *market.Coin, size string) string {
	return "https://coin-images.coingecko.com/coins/images/" + strconv.Itoa(c.Image) + "/" + size + "/" + c.ID + ".png"
}

// ranked is a coin with its place by market cap, 0 where the cap is unknown.
type ranked struct {
	coin *market.Coin
	rank int
	cap  float64 // dollars
}

func (r ranked) figure() any { return unless(r.rank == 0, r.rank) }

// ranking orders every coin listed at an instant by market cap; those without one come last.
func (s *Service) ranking(at time.Time) []ranked {
	all := make([]ranked, 0, len(s.market.Coins()))
	for _, c := range s.market.Coins() {
		if at.Before(c.Listed) {
			continue
		}
		r := ranked{coin: c}
		if !c.Gaps.Cap {
			r.cap = c.USD(at) * c.Circulating
		}
		all = append(all, r)
	}
	slices.SortStableFunc(all, func(a, b ranked) int {
		switch {
		case a.cap > b.cap:
			return -1
		case a.cap < b.cap:
			return 1
		}
		return 0
	})
	for i := range all {
		if all[i].cap > 0 {
			all[i].rank = i + 1
		}
	}
	return all
}

// global sums up the market. Sums beyond 1e15 come with an exponent.
func (s *Service) global(q *query) upstream.Reply {
	at := upstream.Slot(q.now, globalWindow)
	before := at.Add(-24 * time.Hour)
	usd := view{s.market, "usd", at}
	ranking := s.ranking(at)
	var capital, earlier, volume, volumeBefore float64
	for _, r := range ranking {
		c := r.coin
		capital += r.cap
		if r.cap > 0 && !before.Before(c.Listed) {
			earlier += c.USD(before) * c.Circulating
		}
		if !c.Gaps.Volume && !c.Gaps.Price {
			volume += usd.volume(c, at)
			if !before.Before(c.Listed) {
				volumeBefore += usd.volume(c, before)
			}
		}
	}
	capitals, volumes, shares := upstream.Object{}, upstream.Object{}, upstream.Object{}
	for _, code := range s.market.Currencies() {
		rate := s.market.Rate(code, at)
		capitals.Set(code, upstream.Scientific(capital*rate))
		volumes.Set(code, upstream.Scientific(volume*rate))
	}
	for _, r := range ranking[:min(10, len(ranking))] {
		shares.Set(r.coin.Symbol, 100*r.cap/capital)
	}
	return upstream.JSON(http.StatusOK, upstream.Object{{Name: "data", Value: upstream.Object{
		{Name: "active_cryptocurrencies", Value: len(ranking)},
		{Name: "upcoming_icos", Value: 0},
		{Name: "ongoing_icos", Value: 49},
		{Name: "ended_icos", Value: 3376},
		{Name: "markets", Value: 1476},
		{Name: "total_market_cap", Value: capitals},
		{Name: "total_volume", Value: volumes},
		{Name: "market_cap_percentage", Value: shares},
		{Name: "market_cap_change_percentage_24h_usd", Value: 100 * (capital/earlier - 1)},
		{Name: "volume_change_percentage_24h_usd", Value: 100 * (volume/volumeBefore - 1)},
		{Name: "updated_at", Value: at.Unix()},
	}}}).Cached(q.now, globalWindow)
}
