package binance

import (
	"net/http"
	"strconv"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Service is the API.
type Service struct {
	market  *market.Market
	weight  int
	callers *upstream.Table[record]
	routes  map[string]route
}

type route struct {
	parameters []string
	weight     func(*upstream.Request) int
	answer     func(*Service, *upstream.Request) upstream.Reply
}

// record is what is remembered of an address.
type record struct {
	minute   upstream.Minute
	refused  int // calls refused in the running minute
	refusals time.Time
	bans     int
	until    time.Time
}

// New returns the service over a market. The weight is per minute and address; a negative one has no limit.
func New(m *market.Market, weight int) *Service {
	fixed := func(n int) func(*upstream.Request) int { return func(*upstream.Request) int { return n } }
	return &Service{
		market:  m,
		weight:  weight,
		callers: upstream.NewTable[record](upstream.Callers),
		routes: map[string]route{
			"/api/v3/ping": {nil, fixed(1), (*Service).ping},
			"/api/v3/time": {nil, fixed(1), (*Service).time},
			"/api/v3/exchangeInfo": {
				[]string{"symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"},
				fixed(20), (*Service).exchangeInfo,
			},
			"/api/v3/klines": {
				[]string{"symbol", "interval", "startTime", "endTime", "limit"},
				fixed(2), (*Service).klines,
			},
			"/api/v3/ticker/24hr": {
				[]string{"symbol", "symbols", "type", "symbolStatus"},
				dayWeight, (*Service).tickerDay,
			},
			"/api/v3/ticker/price": {
				[]string{"symbol", "symbols", "symbolStatus"},
				priceWeight, (*Service).tickerPrice,
			},
			"/api/v3/depth": {[]string{"symbol", "limit", "symbolStatus"}, depthWeight, (*Service).depth},
		},
	}
}

// Template returns the route that a path belongs to, and "" for none.
func (s *Service) Template(path string) string {
	if _, ok := s.routes[path]; ok {
		return path
	}
	return ""
}

// patience is how many calls beyond the limit are answered 429 in one minute before the ban.
const patience = 10

// bans are how long the first, the second and any later ban lasts.
var bans = [...]time.Duration{2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour}

// Admit charges the caller's weight, says in the headers how much the minute has used, and refuses a caller that is
// over the limit or banned.
func (s *Service) Admit(r *upstream.Request) (http.Header, *upstream.Reply) {
	limit := upstream.Limit{PerMinute: s.weight, RetryAfter: upstream.RetryAuto}
	if r.Limit != nil {
		limit = *r.Limit
	}
	weight := 1
	if found, ok := s.routes[r.Path]; ok {
		weight = found.weight(r)
	}
	var used int
	var refusal *upstream.Failure
	s.callers.With(r.Caller, func(c *record) { used, refusal = c.charge(weight, limit, r.Now) })
	header := http.Header{}
	header.Set("X-MBX-USED-WEIGHT", strconv.Itoa(used))
	header.Set("X-MBX-USED-WEIGHT-1M", strconv.Itoa(used))
	if refusal == nil {
		return header, nil
	}
	reply := s.Fail(r, *refusal)
	return header, &reply
}

func (c *record) charge(weight int, limit upstream.Limit, now time.Time) (used int, refusal *upstream.Failure) {
	used, left := c.minute.Spend(weight, now)
	banned := func() *upstream.Failure {
		return &upstream.Failure{
			Status: http.StatusTeapot, Style: limit.Style, Until: c.until, RetryAfter: upstream.RetrySeconds(c.until.Sub(now)),
		}
	}
	if now.Before(c.until) {
		return used, banned()
	}
	if limit.PerMinute < 0 || used <= limit.PerMinute {
		return used, nil
	}
	if minute := now.Truncate(time.Minute); !c.refusals.Equal(minute) {
		c.refusals, c.refused = minute, 0
	}
	c.refused++
	if c.refused > patience {
		c.until = now.Add(bans[min(c.bans, len(bans)-1)])
		c.bans++
		c.refused = 0
		return used, banned()
	}
	retry := limit.RetryAfter
	if retry == upstream.RetryAuto {
		retry = upstream.RetrySeconds(left)
	}
	return used, &upstream.Failure{Status: http.StatusTooManyRequests, Style: limit.Style, RetryAfter: retry}
}

// Answer serves a call that was admitted.
func (s *Service) Answer(r *upstream.Request) upstream.Reply {
	found, ok := s.routes[r.Path]
	if !ok {
		return s.Fail(r, upstream.Failure{Status: http.StatusNotFound})
	}
	if refusal := checkNames(r.Query, found.parameters); refusal != nil {
		return *refusal
	}
	return found.answer(s, r)
}

// Reset forgets all weights and bans.
func (s *Service) Reset() { s.callers.Clear() }

func (s *Service) ping(*upstream.Request) upstream.Reply {
	return upstream.JSON(http.StatusOK, upstream.Object{})
}

func (s *Service) time(r *upstream.Request) upstream.Reply {
	return upstream.JSON(http.StatusOK, upstream.Object{{Name: "serverTime", Value: r.Now.UnixMilli()}})
}
