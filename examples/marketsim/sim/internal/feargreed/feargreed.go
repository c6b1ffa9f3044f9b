// Package feargreed simulates the Fear & Greed index of alternative.me.
//
// # Design
//
// Every leaf of an entry is a string, the newest entry comes first and alone says how long it will stay, and the label
// is the service's own: 25 is still "Extreme Fear". A client that reads numbers or derives the label itself fails here
// as it would there.
package feargreed

import (
	"net/http"
	"strconv"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// began is the first day of the index.
var began = time.Date(2018, 2, 1, 0, 0, 0, 0, time.UTC)

// Service answers for the index.
type Service struct {
	market    *market.Market
	perMinute int
	minutes   *upstream.Table[upstream.Minute]
}

// New returns the service over a market. A negative budget has no limit.
func New(m *market.Market, perMinute int) *Service {
	return &Service{market: m, perMinute: perMinute, minutes: upstream.NewTable[upstream.Minute](upstream.Callers)}
}

// Template returns the route that a path belongs to, and "" for none.
func (s *Service) Template(path string) string {
	if path == "/" || path == "" {
		return "/"
	}
	return ""
}

// Admit charges the caller and refuses one that has used up its minute.
func (s *Service) Admit(r *upstream.Request) (http.Header, *upstream.Reply) {
	limit := upstream.Limit{PerMinute: s.perMinute, RetryAfter: upstream.RetryAuto}
	if r.Limit != nil {
		limit = *r.Limit
	}
	var used int
	var left time.Duration
	s.minutes.With(r.Caller, func(m *upstream.Minute) { used, left = m.Spend(1, r.Now) })
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

// Answer serves GET /?limit=N: 1 without the parameter, everything for 0.
func (s *Service) Answer(r *upstream.Request) upstream.Reply {
	if s.Template(r.Path) == "" {
		return s.Fail(r, upstream.Failure{Status: http.StatusNotFound})
	}
	limit := 1
	if text := r.Query.Get("limit"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return s.Fail(r, upstream.Failure{Status: http.StatusUnprocessableEntity})
		}
		limit = n
	}
	today := r.Now.UTC().Truncate(24 * time.Hour)
	data := []upstream.Object{}
	for day := today; !day.Before(began) && (limit == 0 || len(data) < limit); day = day.AddDate(0, 0, -1) {
		value := s.market.Mood(day)
		entry := upstream.Object{
			{Name: "value", Value: strconv.Itoa(value)},
			{Name: "value_classification", Value: label(value)},
			{Name: "timestamp", Value: strconv.FormatInt(day.Unix(), 10)},
		}
		if day.Equal(today) {
			left := int64(today.AddDate(0, 0, 1).Sub(r.Now).Seconds())
			entry.Set("time_until_update", strconv.FormatInt(left, 10))
		}
		data = append(data, entry)
	}
	return upstream.JSON(http.StatusOK, envelope(data, nil))
}

func envelope(data []upstream.Object, problem any) upstream.Object {
	return upstream.Object{
		{Name: "name", Value: "Fear and Greed Index"},
		{Name: "data", Value: data},
		{Name: "metadata", Value: upstream.Object{{Name: "error", Value: problem}}},
	}
}

// label is the service's own word for a value.
func label(value int) string {
	switch {
	case value <= 25:
		return "Extreme Fear"
	case value <= 46:
		return "Fear"
	case value <= 54:
		return "Neutral"
	case value <= 75:
		return "Greed"
	}
	return "Extreme Greed"
}

// Fail builds an error reply.
func (s *Service) Fail(_ *upstream.Request, f upstream.Failure) upstream.Reply {
	text := http.StatusText(f.Status)
	var reply upstream.Reply
	switch f.Style {
	case upstream.StyleHTML:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeHTML, Body: []byte(
			"<html>\n<head><title>" + text + "</title></head>\n<body><center><h1>" + text + "</h1></center></body>\n</html>\n")}
	case upstream.StyleText:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeText, Body: []byte(text)}
	default:
		reply = upstream.JSON(f.Status, envelope([]upstream.Object{}, text))
	}
	return reply.With("Retry-After", f.RetryAfter)
}

// Reset forgets all budgets.
func (s *Service) Reset() { s.minutes.Clear() }
