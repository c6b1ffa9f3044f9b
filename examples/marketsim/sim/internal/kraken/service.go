package kraken

import (
	"net/http"
	"strings"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Service is the API.
type Service struct {
	height  float64
	callers *upstream.Table[counter]
	minutes *upstream.Table[upstream.Minute]
	pairs   []*pair
	byName  map[string]*pair // in answers and in calls
	bySlash map[string]*pair // in channels
	routes  map[string]func(*Service, *upstream.Request) upstream.Reply
}

// counter rises with calls and falls with time.
type counter struct {
	level float64
	at    time.Time
}

// New returns the service over a market. Height is what the counter of an address may rise to; a negative one has no limit.
func New(m *market.Market, height int) *Service {
	s := &Service{
		height:  float64(height),
		callers: upstream.NewTable[counter](upstream.Callers),
		minutes: upstream.NewTable[upstream.Minute](upstream.Callers),
		pairs:   listPairs(m),
		byName:  map[string]*pair{},
		bySlash: map[string]*pair{},
		routes: map[string]func(*Service, *upstream.Request) upstream.Reply{
			"/0/public/Time":         (*Service).time,
			"/0/public/SystemStatus": (*Service).status,
			"/0/public/AssetPairs":   (*Service).assetPairs,
			"/0/public/Ticker":       (*Service).ticker,
			"/0/public/OHLC":         (*Service).ohlc,
		},
	}
	for _, p := range s.pairs {
		s.byName[p.key], s.byName[p.name], s.bySlash[p.symbol] = p, p, p
	}
	return s
}

// Template returns the route that a path belongs to, and "" for none.
func (s *Service) Template(path string) string {
	if _, ok := s.routes[path]; ok {
		return path
	}
	return ""
}

// The words of errors.
const (
	wordsLimit     = "EAPI:Rate limit exceeded"
	wordsPair      = "EQuery:Unknown asset pair"
	wordsArguments = "EGeneral:Invalid arguments"
	wordsMethod    = "EGeneral:Unknown method"
	wordsMany      = "EGeneral:Too many requests"
	wordsService   = "EService:Unavailable"
)

// words is an error in the service's own words.
func words(status int, text string) upstream.Reply {
	return upstream.JSON(status, upstream.Object{{Name: "error", Value: []string{text}}})
}

func result(value any) upstream.Reply {
	return upstream.JSON(http.StatusOK, upstream.Object{{Name: "error", Value: []string{}}, {Name: "result", Value: value}})
}

// Admit counts a call, and refuses one of a caller whose counter is too high.
func (s *Service) Admit(r *upstream.Request) (http.Header, *upstream.Reply) {
	name := r.Caller
	if r.Path == "/0/public/OHLC" {
		name += " " + r.Query.Get("pair")
	}
	tooMany := false
	limit := upstream.Limit{}
	if r.Limit != nil {
		limit = *r.Limit
		s.minutes.With(r.Caller, func(m *upstream.Minute) {
			used, _ := m.Spend(1, r.Now)
			tooMany = used > limit.PerMinute
		})
	} else {
		s.callers.With(name, func(c *counter) {
			c.level = max(0, c.level-max(0, r.Now.Sub(c.at).Seconds())) + 1
			c.at = r.Now
			tooMany = s.height >= 0 && c.level > s.height
			c.level = min(c.level, 2*max(1, s.height))
		})
	}
	if !tooMany {
		return nil, nil
	}
	reply := words(http.StatusOK, wordsLimit)
	if limit.Style != "" || limit.RetryAfter != "" {
		retry := limit.RetryAfter
		if retry == upstream.RetryAuto {
			retry = upstream.RetrySeconds(r.Now.Truncate(time.Minute).Add(time.Minute).Sub(r.Now))
		}
		reply = s.Fail(r, upstream.Failure{Status: http.StatusTooManyRequests, Style: limit.Style, RetryAfter: retry})
	}
	return nil, &reply
}

// Answer serves an admitted call.
func (s *Service) Answer(r *upstream.Request) upstream.Reply {
	answer, ok := s.routes[r.Path]
	if !ok {
		return words(http.StatusOK, wordsMethod)
	}
	return answer(s, r)
}

// Fail builds an error reply: in the service's words, or as the network in front of it answers.
func (s *Service) Fail(_ *upstream.Request, f upstream.Failure) upstream.Reply {
	text := http.StatusText(f.Status)
	style := f.Style
	if style == "" && f.Words == "" && f.Status != http.StatusTooManyRequests && f.Status < 500 {
		style = upstream.StyleHTML
	}
	var reply upstream.Reply
	switch {
	case f.Words != "":
		reply = words(f.Status, f.Words)
	case style == upstream.StyleHTML:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeHTML, Body: []byte(
			"<!DOCTYPE html>\n<html><head><title>" + text + "</title></head><body>cloudflare</body></html>\n")}
	case style == upstream.StyleText:
		reply = upstream.Reply{Status: f.Status, Type: upstream.TypeText, Body: []byte("error code: 1015")}
	case f.Status == http.StatusTooManyRequests:
		reply = words(f.Status, wordsMany)
	default:
		reply = words(f.Status, wordsService)
	}
	return reply.With("Retry-After", f.RetryAfter)
}

// Reset forgets all counters.
func (s *Service) Reset() {
	s.callers.Clear()
	s.minutes.Clear()
}

func (s *Service) time(r *upstream.Request) upstream.Reply {
	return result(upstream.Object{
		{Name: "unixtime", Value: r.Now.Unix()}, {Name: "rfc1123", Value: r.Now.UTC().Format("Mon, 02 Jan 06 15:04:05 -0700")},
	})
}

func (s *Service) status(r *upstream.Request) upstream.Reply {
	return result(upstream.Object{
		{Name: "status", Value: "online"}, {Name: "timestamp", Value: r.Now.UTC().Format(time.RFC3339)},
	})
}

// named reads the parameter pair, a list: every pair that is listed without it.
func (s *Service) named(r *upstream.Request) (pairs []*pair, ok bool) {
	text := r.Query.Get("pair")
	if text == "" {
		for _, p := range s.pairs {
			if !r.Now.Before(p.coin.Listed) {
				pairs = append(pairs, p)
			}
		}
		return pairs, true
	}
	for name := range strings.SplitSeq(text, ",") {
		p := s.byName[name]
		if p == nil || r.Now.Before(p.coin.Listed) {
			return nil, false
		}
		pairs = append(pairs, p)
	}
	return pairs, true
}

func (s *Service) assetPairs(r *upstream.Request) upstream.Reply {
	pairs, ok := s.named(r)
	if !ok {
		return words(http.StatusOK, wordsPair)
	}
	var o upstream.Object
	for _, p := range pairs {
		o.Set(p.key, p.instrument())
	}
	return result(o)
}

func (s *Service) ticker(r *upstream.Request) upstream.Reply {
	pairs, ok := s.named(r)
	if !ok {
		return words(http.StatusOK, wordsPair)
	}
	var o upstream.Object
	for _, p := range pairs {
		o.Set(p.key, p.rolling(r.Now))
	}
	return result(o)
}
