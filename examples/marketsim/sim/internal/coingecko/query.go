package coingecko

import (
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// query is an admitted call.
type query struct {
	url.Values
	id  string
	now time.Time
}

// whole reads a whole number, def when it is missing or unreadable, and holds it between low and high.
func (q *query) whole(name string, def, low, high int) int {
	n, err := strconv.Atoi(q.Get(name))
	if err != nil {
		n = def
	}
	return min(max(n, low), high)
}

// flag reads a switch.
func (q *query) flag(name string, def bool) bool {
	if on, err := strconv.ParseBool(q.Get(name)); err == nil {
		return on
	}
	return def
}

// names reads a list. A space ends it: what follows a comma and a space is never looked up.
func (q *query) names(name string) []string {
	text, _, _ := strings.Cut(strings.ToLower(q.Get(name)), " ")
	var names []string
	for part := range strings.SplitSeq(text, ",") {
		if part != "" {
			names = append(names, part)
		}
	}
	return names
}

// view is the market in one currency at one instant.
type view struct {
	market *market.Market
	vs     string
	at     time.Time
}

// view reads vs_currency; its reply is nil unless that is missing or unknown.
func (s *Service) view(q *query, at time.Time) (view, *upstream.Reply) {
	vs := strings.ToLower(q.Get("vs_currency"))
	if vs == "" {
		reply := plain(http.StatusUnprocessableEntity, "Missing parameter vs_currency")
		return view{}, &reply
	}
	v := view{s.market, vs, at}
	if v.rate(at) == 0 {
		reply := plain(http.StatusBadRequest, "invalid vs_currency")
		return view{}, &reply
	}
	return v, nil
}

func (v view) rate(t time.Time) float64 { return v.market.Rate(v.vs, t) }

// price is the coin's price at t.
func (v view) price(c *market.Coin, t time.Time) float64 { return c.USD(t) * v.rate(t) }

// unpriced says that the service knows no price at the view's instant.
func (v view) unpriced(c *market.Coin) bool { return c.Gaps.Price || v.at.Before(c.Listed) }

// change is what the price did over a span, in percent; nil for a coin that is younger.
func (v view) change(c *market.Coin, span time.Duration) any {
	then := v.at.Add(-span)
	if c.Gaps.Price || then.Before(c.Listed) {
		return nil
	}
	return (v.price(c, v.at)/v.price(c, then) - 1) * 100
}

// worldwide is how much larger the service's volume, over all exchanges, is than that of the one simulated beside it.
const worldwide = 5.5

// volume is what was traded in the 24 hours before t.
func (v view) volume(c *market.Coin, t time.Time) float64 {
	from := t.Add(-24 * time.Hour)
	if from.Before(c.Listed) {
		from = c.Listed
	}
	return c.Volume(from, t) * worldwide * v.price(c, t)
}

// day is the coin's rolling 24 hour bar, in the view's currency.
func (v view) day(c *market.Coin) market.Bar {
	from := v.at.Add(-24 * time.Hour)
	if from.Before(c.Listed) {
		from = c.Listed
	}
	bar := c.Bar(from, v.at)
	factor := v.price(c, v.at) / bar.Close
	bar.Open, bar.High, bar.Low, bar.Close = bar.Open*factor, bar.High*factor, bar.Low*factor, bar.Close*factor
	return bar
}

// amount rounds as the service does: large numbers come whole, small ones with six significant digits.
func amount(x float64) float64 {
	switch size := math.Abs(x); {
	case size >= 10000:
		return math.Round(x)
	case size >= 1:
		return math.Round(x*1e4) / 1e4
	case size == 0:
		return 0
	}
	rounded, err := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 6, 64), 64)
	if err != nil {
		return x
	}
	return rounded
}

// percent rounds to five decimals.
func percent(x any) any {
	if f, ok := x.(float64); ok {
		return math.Round(f*1e5) / 1e5
	}
	return nil
}

// unless is nil when a figure is unknown, else the figure.
func unless(unknown bool, figure any) any {
	if unknown {
		return nil
	}
	return figure
}

// supply is a count of coins, which always has a fraction; nil for none.
func supply(x float64) any {
	if x == 0 {
		return nil
	}
	return upstream.Float(x)
}

// stamp is the service's form of a time.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
