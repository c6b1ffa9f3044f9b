package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

// settings are what the island's config block may hold.
type settings struct {
	URL            string        `setting:"url" default:"https://api.coingecko.com/api/v3" doc:"Base URL of the API; with a pro key https://pro-api.coingecko.com/api/v3."`
	APIKey         sdk.Secret    `setting:"api_key" default:"" doc:"Demo or pro key; empty for keyless use."`
	Plan           string        `setting:"plan" default:"auto" doc:"What the key is for: demo, pro, or auto to go by the URL's host."`
	CallsPerMinute int           `setting:"calls_per_minute" default:"0" doc:"Most calls in any minute; 0 for 10 without a key, 30 with a demo key and 500 with a pro key."`
	Timeout        time.Duration `setting:"timeout" default:"3s" doc:"Bound on one attempt, reading the reply included."`
	CataloguePages int           `setting:"catalogue_pages" default:"1" doc:"Pages of 250 coins, largest first, whose rank and market cap the catalogue holds; 1 to 20."`
}

// The words of the setting plan.
const (
	planAuto = "auto"
	planDemo = "demo"
	planPro  = "pro"
)

// source is the island. CoinGecko is all that it holds, so its health, metrics and end are those of the client.
type source struct {
	upstream.Life
	name  string
	pages int
	// wall is how many days back the key may look; 0 for any.
	wall int
	// now is the clock.
	now func() time.Time
}

var (
	_ sdk.IslandComponent = (*source)(nil)
	_ sdk.QuoteSource     = (*source)(nil)
	_ sdk.CandleSource    = (*source)(nil)
	_ sdk.GlobalSource    = (*source)(nil)
	_ sdk.CatalogueSource = (*source)(nil)
)

// newSource returns the island before its life begins.
func newSource() *source { return &source{now: time.Now} }

// Initialize reads the settings. It asks nothing of CoinGecko yet.
func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
	var set settings
	if err := cfg.Decode(&set); err != nil {
		return err
	}
	if err := set.check(); err != nil {
		return err
	}
	plan := set.plan()
	header := "x-cg-demo-api-key"
	perMinute := 30
	s.wall = 365
	if plan == planPro {
		header, perMinute, s.wall = "x-cg-pro-api-key", 500, 0
	}
	if set.APIKey == "" {
		perMinute = 10
	}
	if set.CallsPerMinute > 0 {
		perMinute = set.CallsPerMinute
	}
	s.name, s.pages = cfg.Name, set.CataloguePages
	s.Client = upstream.New(upstream.Options{
		BaseURL:  set.URL,
		Headers:  map[string]sdk.Secret{header: set.APIKey},
		Limit:    upstream.Limit{PerMinute: perMinute},
		Timeout:  set.Timeout,
		MaxBody:  16 << 20,
		Logger:   cfg.Logger,
		Classify: func(status int, _ http.Header, body []byte) error { return classify(status, body) },
	})
	return nil
}

// check refuses what cannot be meant.
func (set settings) check() error {
	if err := upstream.CheckURL("url", set.URL); err != nil {
		return err
	}
	wrong := func(setting, format string, args ...any) error {
		return &sdk.Error{Kind: sdk.InvalidArgument, Setting: setting, Message: fmt.Sprintf(format, args...)}
	}
	switch {
	case strings.ContainsFunc(set.APIKey.Reveal(), func(r rune) bool { return r <= ' ' || r > '~' }):
		return wrong("api_key", `setting "api_key" holds a space or another character that no key has`)
	case set.Plan != planAuto && set.Plan != planDemo && set.Plan != planPro:
		return wrong("plan", `setting "plan" wants "auto", "demo" or "pro", not %q`, set.Plan)
	case set.CallsPerMinute < 0:
		return wrong("calls_per_minute", `setting "calls_per_minute" wants 0 or more, not %d`, set.CallsPerMinute)
	case set.Timeout <= 0:
		return wrong("timeout", `setting "timeout" wants a duration above zero, such as "3s"`)
	case set.CataloguePages < 1 || set.CataloguePages > 20:
		return wrong("catalogue_pages", `setting "catalogue_pages" wants 1 to 20, not %d`, set.CataloguePages)
	}
	return nil
}

// plan is what the key is for.
func (set settings) plan() string {
	if set.Plan != planAuto {
		return set.Plan
	}
	if u, err := url.Parse(set.URL); err == nil && strings.HasPrefix(u.Hostname(), "pro-api.") {
		return planPro
	}
	return planDemo
}
