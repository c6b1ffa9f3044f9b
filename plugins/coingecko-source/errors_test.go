package main

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/service-islands/islands/sdk"
)

func TestAWrongAddressIsNotAMissingCoin(t *testing.T) {
	const missing = `{"error":"coin not found"}`
	page := "<html><head><title>404 Not Found</title></head></html>"
	candles := func(interval sdk.Interval) func(context.Context, *source) error {
		return func(ctx context.Context, s *source) error {
			_, err := s.Candles(ctx, sdk.CandlesRequest{
				Asset: sdk.Asset{ID: "nope", Symbol: "no"}, VsCurrency: "usd", Interval: interval, Limit: 10,
			})
			return err
		}
	}
	chart, ohlc := candles(sdk.Interval1d), candles(sdk.Interval4h)
	quotes := func(ctx context.Context, s *source) error {
		_, err := s.Quotes(ctx, sdk.QuotesRequest{VsCurrency: "usd", Assets: []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}}})
		return err
	}
	global := func(ctx context.Context, s *source) error {
		_, err := s.Global(ctx, sdk.GlobalRequest{VsCurrency: "usd"})
		return err
	}
	catalogue := func(ctx context.Context, s *source) error {
		_, err := s.Catalogue(ctx, sdk.CatalogueRequest{})
		return err
	}
	for name, tc := range map[string]struct {
		ask    func(context.Context, *source) error
		status int
		body   string
		kind   sdk.Kind
	}{
		"no such coin":              {chart, 404, missing, sdk.NotFound},
		"no such coin, ohlc":        {ohlc, 404, missing, sdk.NotFound},
		"no such coin any more":     {chart, 410, missing, sdk.NotFound},
		"no such coin, older words": {chart, 404, `{"error":"Could not find coin with the given id"}`, sdk.NotFound},
		"no such coin, as a status": {chart, 404, `{"status":{"error_code":404,"error_message":"no such coin"}}`, sdk.NotFound},
		"a page":                    {chart, 404, page, sdk.BadUpstream},
		"a page, gone":              {ohlc, 410, page, sdk.BadUpstream},
		"nothing":                   {chart, 404, "", sdk.BadUpstream},
		"an empty object":           {chart, 404, "{}", sdk.BadUpstream},
		"another server's words":    {chart, 404, `{"status":404,"error":"Not Found"}`, sdk.BadUpstream},
		"a gateway's words":         {chart, 404, `{"message":"no Route matched with those values"}`, sdk.BadUpstream},
		"no such path":              {chart, 404, `{"error":"Incorrect path. Please check https://docs.coingecko.com/"}`, sdk.BadUpstream},
		"no such path, as a status": {chart, 404, `{"status":{"error_code":404,"error_message":"Incorrect path."}}`, sdk.BadUpstream},
		"another code of its own":   {chart, 404, `{"status":{"error_code":10002,"error_message":"API Key Missing."}}`, sdk.Unauthenticated},
		"quotes":                    {quotes, 404, missing, sdk.BadUpstream},
		"quotes, a page":            {quotes, 404, page, sdk.BadUpstream},
		"global":                    {global, 404, missing, sdk.BadUpstream},
		"catalogue":                 {catalogue, 410, missing, sdk.BadUpstream},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := serve(t, noon, status(tc.status, tc.body))
			if err := tc.ask(t.Context(), s); err == nil || sdk.KindOf(err) != tc.kind {
				t.Fatalf("got %v, want %q", err, tc.kind)
			}
			want := sdk.StatusDegraded
			if tc.kind == sdk.NotFound {
				want = sdk.StatusOK
			}
			if h := s.Health(t.Context()); h.Status != want {
				t.Errorf("health is %+v, want %s", h, want)
			}
		})
	}
	t.Run("the catalogue's second call", func(t *testing.T) {
		s, g := serve(t, noon, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/list") {
				body("[]")(w, r)
				return
			}
			status(404, missing)(w, r)
		})
		if err := catalogue(t.Context(), s); !errors.Is(err, sdk.BadUpstream) || len(g.requests()) != 2 {
			t.Errorf("got %v after %d calls", err, len(g.requests()))
		}
	})
}
