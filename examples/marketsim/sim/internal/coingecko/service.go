package coingecko

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Options describe one host of the service.
type Options struct {
	// Pro makes it the host that wants a pro key and knows no 365-day wall.
	Pro bool
	// Keyless, Demo and PerPro are calls per minute: per address without a key, per key with one. Negative: no limit.
	Keyless, Demo, PerPro int
	// DemoKeys and ProKeys are the keys that exist. With both empty every key is good on the host it is meant for.
	DemoKeys, ProKeys []string
}

// Service is one host of the API.
type Service struct {
	market  *market.Market
	options Options
	minutes *upstream.Table[upstream.Minute]
	routes  []route
}

type route struct {
	template string
	answer   func(*Service, *query) upstream.Reply
}

// New returns a host over a market.
func New(m *market.Market, o Options) *Service {
	return &Service{
		market:  m,
		options: o,
		minutes: upstream.NewTable[upstream.Minute](upstream.Callers),
		routes: []route{
			{"/ping", (*Service).ping},
			{"/simple/price", (*Service).simplePrice},
			{"/simple/supported_vs_currencies", (*Service).currencies},
			{"/coins/list", (*Service).list},
			{"/coins/markets", (*Service).markets},
			{"/coins/list/new", (*Service).paid},
			{"/coins/top_gainers_losers", (*Service).paid},
			{"/coins/{id}", (*Service).coin},
			{"/coins/{id}/market_chart", (*Service).chart},
			{"/coins/{id}/ohlc", (*Service).candles},
			{"/coins/{id}/ohlc/range", (*Service).paid},
			{"/global", (*Service).global},
			{"/global/market_cap_chart", (*Service).paid},
			{"/search", (*Service).search},
		},
	}
}

const (
	demoHeader = "x-cg-demo-api-key"
	proHeader  = "x-cg-pro-api-key"
)

// Template returns the route that a path belongs to, such as "/coins/{id}", and "" for none.
func (s *Service) Template(path string) string {
	r, _ := s.find(path)
	return r.template
}

// find returns the first route that fits; names come before {id} in the list.
func (s *Service) find(path string) (route, string) {
	parts := strings.Split(path, "/")
	for _, r := range s.routes {
		want := strings.Split(r.template, "/")
		if len(want) != len(parts) {
			continue
		}
		id, fits := "", true
		for i := range want {
			switch {
			case want[i] == "{id}" && parts[i] != "":
				id = parts[i]
			case want[i] != parts[i]:
				fits = false
			}
		}
		if fits {
			return r, id
		}
	}
	return route{}, ""
}

// keys are what a caller sent, in a header or in the query.
func keys(r *upstream.Request) (demo, pro string) {
	demo, pro = r.Header.Get(demoHeader), r.Header.Get(proHeader)
	if demo == "" {
		demo = r.Query.Get("x_cg_demo_api_key")
	}
	if pro == "" {
		pro = r.Query.Get("x_cg_pro_api_key")
	}
	return demo, pro
}

// Admit charges the caller, by key or address, and refuses one without a User-Agent, with a key for the other host or
// with a minute used up. What is refused counts as well.
func (s *Service) Admit(r *upstream.Request) (http.Header, *upstream.Reply) {
	demo, pro := keys(r)
	caller, limit := "address "+r.Caller, upstream.Limit{PerMinute: s.options.Keyless, RetryAfter: upstream.RetryAuto}
	switch refusal := s.gate(r, demo, pro); {
	case refusal != nil:
		// A key that is not accepted must not use up its owner's budget.
		s.spend(caller, r.Now)
		return nil, refusal
	case s.options.Pro:
		caller, limit.PerMinute = "key "+pro, s.options.PerPro
	case demo != "":
		caller, limit.PerMinute = "key "+demo, s.options.Demo
	}
	if r.Limit != nil {
		limit = *r.Limit
	}
	used, left := s.spend(caller, r.Now)
	if limit.PerMinute < 0 || used <= limit.PerMinute {
		return nil, nil
	}
	retry := limit.RetryAfter
	if retry == upstream.RetryAuto {
		retry = upstream.RetrySeconds(left)
	}
	reply := s.Fail(r, upstream.Failure{Status: http.StatusTooManyRequests, Style: limit.Style, RetryAfter: retry})
	return nil, &reply
}

func (s *Service) spend(caller string, now time.Time) (used int, left time.Duration) {
	s.minutes.With(caller, func(m *upstream.Minute) { used, left = m.Spend(1, now) })
	return used, left
}

// maxKey is longer than any key, and bounds what is remembered of a caller.
const maxKey = 128

// gate says why a call is not even looked at, or nil.
func (s *Service) gate(r *upstream.Request, demo, pro string) *upstream.Reply {
	refuse := func(reply upstream.Reply) *upstream.Reply { return &reply }
	if strings.TrimSpace(r.Header.Get("User-Agent")) == "" {
		return refuse(s.Fail(r, upstream.Failure{Status: http.StatusForbidden, Style: upstream.StyleHTML}))
	}
	if len(demo) > maxKey || len(pro) > maxKey {
		return refuse(coded(http.StatusUnauthorized, codeMissingKey))
	}
	known := len(s.options.DemoKeys)+len(s.options.ProKeys) > 0
	if !s.options.Pro {
		switch {
		case pro != "" || slices.Contains(s.options.ProKeys, demo):
			return refuse(coded(http.StatusBadRequest, codeProKeyHere))
		case demo != "" && known && !slices.Contains(s.options.DemoKeys, demo):
			return refuse(coded(http.StatusUnauthorized, codeMissingKey))
		}
		return nil
	}
	switch {
	case pro == "" && demo != "", slices.Contains(s.options.DemoKeys, pro):
		return refuse(coded(http.StatusBadRequest, codeDemoKeyHere))
	case pro == "", known && !slices.Contains(s.options.ProKeys, pro):
		return refuse(coded(http.StatusUnauthorized, codeMissingKey))
	}
	return nil
}

// Answer serves a call that was admitted.
func (s *Service) Answer(r *upstream.Request) upstream.Reply {
	found, id := s.find(r.Path)
	if found.answer == nil {
		return wrongPath()
	}
	return found.answer(s, &query{Values: r.Query, id: id, now: r.Now})
}

// Reset forgets all budgets.
func (s *Service) Reset() { s.minutes.Clear() }

// paid answers for what only paying callers may ask.
func (s *Service) paid(*query) upstream.Reply {
	if s.options.Pro {
		return wrongPath()
	}
	return coded(http.StatusUnauthorized, codePaidOnly)
}
