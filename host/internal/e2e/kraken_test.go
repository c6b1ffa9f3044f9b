package e2e

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

// withKraken is the composition of the Kraken example.
const withKraken = "../../../examples/kraken-source/islands.hcl"

// TestValidateKraken checks the composition of the Kraken example against the islands' manifests.
func TestValidateKraken(t *testing.T) {
	p := launch(t, map[string]string{}, "islands", "validate", withKraken)
	p.says(t, "is valid")
}

// TestKraken runs a host whose first source is one that knows the contract alone: reports, candles and ticks are Kraken's, and
// CoinGecko's for what Kraken does not have, and while it refuses.
func TestKraken(t *testing.T) {
	t.Parallel()
	m := startMarket(t)
	// With a key CoinGecko takes more calls in a minute than this test makes.
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": withKraken, "COINGECKO_API_KEY": "CG-demo"})
	l := h.listen(t, "?channels=ticker:btc")
	quote := func(symbol string) (source string, price float64) {
		t.Helper()
		q := h.ok(t, "/api/market-data/"+symbol).json(t)
		source, _ = at(t, q, "source").(string)
		price, _ = at(t, q, "price").(float64)
		return source, price
	}
	t.Run("a report", func(t *testing.T) {
		report := h.ok(t, "/api/crypto-report/btc").json(t)
		for key, want := range map[string]string{"provenance.quote.source": "kraken-source", "provenance.candles.source": "kraken-source"} {
			if got := at(t, report, key); got != want {
				t.Errorf("%s is %v; warnings: %v", key, got, at(t, report, "warnings"))
			}
		}
		for _, key := range []string{"market.price", "market.volume_24h", "indicators.rsi_14.value", "indicators.sma_200.value", "verdict.score"} {
			if at(t, report, key) == nil {
				t.Errorf("%s is null; warnings: %v", key, at(t, report, "warnings"))
			}
		}
	})
	t.Run("candles", func(t *testing.T) {
		for _, interval := range []string{"1m", "1h", "12h", "1d", "1w"} {
			r := h.ok(t, "/api/candles/btc?limit=50&interval="+interval).json(t)
			list, _ := at(t, r, "candles").([]any)
			if len(list) != 50 || at(t, r, "source") != "kraken-source" {
				t.Errorf("%s: %d candles of %v", interval, len(list), at(t, r, "source"))
			}
		}
	})
	t.Run("an asset that has another code there", func(t *testing.T) {
		if source, _ := quote("doge"); source != "kraken-source" {
			t.Errorf("doge is from %s", source)
		}
	})
	t.Run("an asset that is not traded there", func(t *testing.T) {
		if source, _ := quote("leo"); source != "coingecko-source" {
			t.Errorf("leo is from %s", source)
		}
	})
	t.Run("ticks", func(t *testing.T) {
		var last time.Time
		for range 3 {
			u := l.await("market_update", "ticker:btc", 30*time.Second)
			q := u.quotes(t)["btc"]
			if q.Source == "coingecko-source" {
				continue // What was polled before the stream stood.
			}
			if q.Source != "kraken-source" || !q.AsOf.After(last) {
				t.Errorf("a tick of %s, of %s after %s", q.Source, q.AsOf, last)
			}
			last = q.AsOf
		}
		if last.IsZero() {
			t.Error("no tick of Kraken")
		}
	})
	t.Run("the prices of others", func(t *testing.T) {
		_, price := quote("eth")
		r, err := ask(t.Context(), http.MethodGet, m.url+"/binance/api/v3/ticker/price?symbol=ETHUSDT", nil)
		if err != nil {
			t.Fatal(err)
		}
		var other struct {
			Price json.Number `json:"price"`
		}
		if err := json.Unmarshal(r.body, &other); err != nil {
			t.Fatal(err)
		}
		binance, _ := other.Price.Float64()
		if off := math.Abs(price/binance - 1); off > 0.005 { // A minute may lie between them.
			t.Errorf("%v here and %v there", price, binance)
		}
	})
	t.Run("words of refusal", func(t *testing.T) {
		m.fault(t, `{"service":"kraken","kind":"error","words":"EAPI:Rate limit exceeded"}`)
		if source, _ := quote("xlm"); source != "coingecko-source" {
			t.Errorf("xlm is from %s", source)
		}
		eventually(t, 30*time.Second, "kraken is degraded", func() error {
			text := string(h.get(t, "/health/islands/kraken-source").body)
			if !strings.Contains(text, "Rate limit exceeded") || !strings.Contains(text, "degraded") {
				return fmt.Errorf("%s", text)
			}
			return nil
		})
		m.heal(t)
	})
	t.Run("a connection that is cut", func(t *testing.T) {
		m.fault(t, `{"service":"kraken","kind":"stream_cut","count":1}`)
		eventually(t, 60*time.Second, "another connection, and a tick", func() error {
			r, err := ask(t.Context(), http.MethodGet, m.url+"/_sim/channels", nil)
			if err != nil {
				return err
			}
			var status struct{ Open, Opened int }
			if err := json.Unmarshal(r.body, &status); err != nil || status.Open != 1 || status.Opened < 2 {
				return fmt.Errorf("%w, %s", err, r.body)
			}
			return nil
		})
		began := time.Now()
		for {
			u := l.await("market_update", "ticker:btc", 60*time.Second)
			if q := u.quotes(t)["btc"]; q.Source == "kraken-source" && q.AsOf.After(began) {
				break
			}
		}
	})
	calls := m.requests(t)
	if n := calls["kraken WS subscribe"]; n < 2 || calls["kraken WS /v2"] < 2 || calls["kraken GET /0/public/AssetPairs"] != 1 {
		t.Errorf("the market was asked for %v", calls)
	}
	if status := h.stop(t); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
