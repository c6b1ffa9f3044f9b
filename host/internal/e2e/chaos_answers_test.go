package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// answered is a quote as the API or the feed gives it.
type answered struct {
	Symbol, Name, Source, Note string
	Currency                   string `json:"vs_currency"`
	Price                      *float64
	Volume                     *float64  `json:"volume_24h"`
	AsOf                       time.Time `json:"as_of"`
}

// plausible reports what nobody may be told of an asset that somebody asked for.
func (q answered) plausible(symbol string) error {
	now := time.Now()
	switch {
	case q.Symbol != symbol || q.Currency != "usd":
		return fmt.Errorf("another asset or currency: %s in %s", q.Symbol, q.Currency)
	case q.Price == nil:
		return fmt.Errorf("a quote without a price, though other sources have one: %+v", q)
	case *q.Price <= 0: // How much is too much, nobody can say.
		return fmt.Errorf("a price of %v", *q.Price)
	case q.Volume != nil && *q.Volume < 0:
		return fmt.Errorf("a volume of %v", *q.Volume)
	case q.AsOf.After(now.Add(2*time.Minute)) || q.AsOf.Before(now.Add(-24*time.Hour)):
		return fmt.Errorf("a moment like %v", q.AsOf)
	case len(q.Name) > 1000 || len(q.Note) > 10_000 || strings.ContainsAny(q.Name, "\x00\r\n"):
		return fmt.Errorf("a name of %d bytes, a note of %d: %.60q", len(q.Name), len(q.Note), q.Name)
	}
	return nil
}

// TestChaosHostileAnswers has the first source in line answer what cannot be: nobody is told a figure of it, not in an answer, not
// on the feed and not in the history, the next source answers instead, and everything goes on.
func TestChaosHostileAnswers(t *testing.T) {
	t.Parallel()
	m, d := startMarket(t), startDirector(t, "trouble", "raw")
	config := edited(t, func(text string) string {
		raw := strings.Replace(strings.Replace(d.block("raw"), "plugins/trouble", "plugins/raw", 1), `memory = "256MiB"`, `memory = "6GiB"`, 1)
		text = strings.Replace(text, "\nrequest {\n", "\n"+d.block("trouble")+raw+"request {\n", 1)
		text = strings.Replace(text, `negative_ttl        = "1m"`, `negative_ttl        = "100ms"`, 1)
		text = strings.Replace(text, `strategy "real_time"      { ttl = "30s" }`, `strategy "real_time"      { ttl = "500ms" }`, 1)
		text = strings.Replace(text, `sources  = ["coingecko-source", "binance-source"]
    strategy = "real_time"`, `sources  = ["trouble", "raw", "binance-source", "coingecko-source"]
    strategy = "real_time"`, 1)
		return strings.Replace(text, `  sources = ["binance-source", "coingecko-source"]`, `  sources = ["trouble", "raw", "binance-source", "coingecko-source"]
  silence = "1s"`, 1)
	})
	h := startHost(t, m, map[string]string{"ISLANDS_CONFIG": config})
	requests := startLoad(t, h, 1, "/api/crypto-report/btc", "/health/live")
	start := h.pids(t)
	symbols := []string{"btc", "eth", "sol", "bnb", "xrp", "ada", "doge", "link"}
	faults, statuses := map[string]int{}, map[string]int{}
	note := func(order string, err error) {
		if err != nil {
			if faults[order]++; faults[order] < 3 {
				t.Errorf("while it is %q: %v", order, err)
			}
		}
	}
	listened := h.listen(t, "?channels=ticker:*")
	orders := map[string][]string{
		"trouble": {
			"negative", "nought", "not a number", "future", "ancient", "unasked", "another currency", "loud", "twice", "fails", "panics",
			"never returns",
		},
		"raw": {"nothing", "not a number", "giant", "no time", "no text", "torrent", "ill at length"},
	}
	// Of these something is answered that is dropped by itself; of the others there is no answer.
	counted := []string{"negative", "nought", "future", "ancient", "unasked", "another currency", "loud"}
	if full {
		orders["raw"] = append(orders["raw"], "colossal")
	}
	for _, name := range []string{"trouble", "raw"} {
		for _, order := range orders[name] {
			rejected := h.rejected(t, name)
			d.order(t, name, order)
			d.hear(t, name)
			began := time.Now()
			for i := 0; time.Since(began) < time.Duration(scaled(1500, 5000))*time.Millisecond; i++ {
				symbol := symbols[i%len(symbols)]
				r := h.get(t, "/api/market-data/"+symbol)
				if r.status == http.StatusServiceUnavailable && r.header.Get("Retry-After") != "" {
					continue
				}
				var q answered
				if err := json.Unmarshal(r.body, &q); r.status != http.StatusOK || err != nil {
					note(order, fmt.Errorf("GET %s: %d %.300s, %w", symbol, r.status, r.body, err))
					continue
				}
				note(order, q.plausible(symbol))
				if i%8 == 0 { // And asked for by its name, when nobody else can answer instead.
					r := h.get(t, "/api/market-data/"+symbol+"?source="+name)
					statuses[fmt.Sprint(name, " ", order, " ", r.status)]++
					if r.status == http.StatusOK && json.Unmarshal(r.body, &q) == nil {
						note(order, q.plausible(symbol))
					} else if r.status == http.StatusInternalServerError && !slices.Contains([]string{"fails", "panics"}, order) {
						note(order, fmt.Errorf("GET %s of it: %d %s", symbol, r.status, r.body))
					}
				}
				time.Sleep(20 * time.Millisecond)
			}
			for {
				m, err := listened.next(50 * time.Millisecond)
				if err != nil {
					break
				}
				var quotes map[string]answered
				if m.Type == "market_update" && json.Unmarshal(m.Data, &quotes) == nil {
					for symbol, q := range quotes {
						note(order, q.plausible(symbol))
					}
				}
			}
			if slices.Contains(counted, order) {
				// A source that has failed is left alone for a while.
				eventually(t, 60*time.Second, fmt.Sprintf("something of %s, which is %q, is counted as rejected", name, order), func() error {
					h.get(t, "/api/market-data/btc?source="+name)
					if h.rejected(t, name) == rejected {
						return errors.New("nothing")
					}
					return nil
				})
			}
			// A read that was given up has closed the connection.
			listened = h.listen(t, "?channels=ticker:*")
		}
		d.order(t, name, "fails") // So that the next in line is asked.
		if h.rejected(t, name) == 0 {
			t.Errorf("nothing of %s was counted as rejected", name)
		}
	}
	requests.stop()
	t.Logf("asked for by its name: %v", statuses)
	for _, symbol := range symbols {
		var history struct{ Quotes []answered }
		if err := json.Unmarshal(h.ok(t, "/api/history/"+symbol+"?limit=1000").body, &history); err != nil {
			t.Fatal(err)
		}
		for _, q := range history.Quotes {
			q.Currency = "usd"
			note("remembered", q.plausible(symbol))
		}
	}
	now := h.pids(t)
	for _, name := range []string{"cache", "sqlite-store", "coingecko-source", "binance-source", "fear-greed", "report-generator"} {
		if now[name] != start[name] {
			t.Errorf("%s: process %d became %d", name, start[name], now[name])
		}
	}
	for _, order := range slices.Sorted(maps.Keys(faults)) {
		t.Errorf("%q: %d faults", order, faults[order])
	}
}

// rejected is how much of an island's answers was not taken.
func (h *host) rejected(t *testing.T, name string) (n float64) {
	t.Helper()
	reasons, _ := at(t, h.ok(t, "/metrics/islands/"+name).json(t), "rejected").(map[string]any)
	for _, count := range reasons {
		if count, ok := count.(float64); ok {
			n += count
		}
	}
	return n
}
