package sim_test

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func TestBinanceErrors(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct {
		path   string
		status int
		body   string
	}{
		{"/klines", 400, `{"code":-1102,"msg":"Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."}`},
		{"/klines?symbol=BTCUSDT", 400, `{"code":-1102,"msg":"Mandatory parameter 'interval' was not sent, was empty/null, or malformed."}`},
		{"/klines?symbol=NOPEUSDT&interval=1d", 400, `{"code":-1121,"msg":"Invalid symbol."}`},
		{"/klines?symbol=btcusdt&interval=1d", 400, `{"code":-1100,"msg":"Illegal characters found in parameter 'symbol'; legal range is '^[A-Z0-9-_.]{1,20}$'."}`},
		{"/klines?symbol=BTCUSDT&interval=1D", 400, `{"code":-1120,"msg":"Invalid interval."}`},
		{"/klines?symbol=BTCUSDT&interval=1m&limit=x", 400, `{"code":-1100,"msg":"Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'."}`},
		{"/klines?symbol=BTCUSDT&interval=1m&startTime=-1", 400, `{"code":-1100,"msg":"Illegal characters found in parameter 'startTime'; legal range is '^[0-9]{1,20}$'."}`},
		{"/klines?symbol=BTCUSDT&interval=1m&limit=0", 400, `{"code":-1130,"msg":"Data sent for parameter 'limit' is not valid."}`},
		{"/klines?symbol=BTCUSDT&interval=1m&limit=1&extra=1", 400, `{"code":-1101,"msg":"Too many parameters; expected '3' and received '4'."}`},
		{"/klines?symbol=BTCUSDT&symbol=ETHUSDT&interval=1m", 400, `{"code":-1101,"msg":"Too many parameters; expected '2' and received '3'."}`},
		{"/ticker/price?symbol=A&symbols=%5B%22B%22%5D", 400, `{"code":-1128,"msg":"Combination of optional parameters invalid."}`},
		{"/ticker/price?symbols=BTCUSDT", 400, `{"code":-1100,"msg":"Illegal characters found in parameter 'symbols'; legal range is '^\\[(\"[A-Z0-9-_.]{1,20}\"(,\"[A-Z0-9-_.]{1,20}\"){0,}){0,1}\\]$'."}`},
		{"/ticker/price?symbols=%5B%22BTCUSDT%22,%22NOPE%22%5D", 400, `{"code":-1121,"msg":"Invalid symbol."}`},
		{"/ticker/price?symbols=%5B%22BTCUSDT%22,%22BTCUSDT%22%5D", 400, `{"code":-1101,"msg":"Duplicate values for parameter 'symbols'."}`},
		{"/ticker/24hr?symbol=BTCUSDT&type=TINY", 400, `{"code":-1130,"msg":"Data sent for parameter 'type' is not valid."}`},
		{"/exchangeInfo?symbol=NOPE", 400, `{"code":-1121,"msg":"Invalid symbol."}`},
		{"/depth", 400, `{"code":-1102,"msg":"Mandatory parameter 'symbol' was not sent, was empty/null, or malformed."}`},
		{"/depth?symbol=BTCUSDT&limit=0", 400, `{"code":-1130,"msg":"Data sent for parameter 'limit' is not valid."}`},
		{"/ping?x=1", 400, `{"code":-1101,"msg":"Too many parameters; expected '0' and received '1'."}`},
		{"/ping", 200, `{}`},
		{"/time", 200, `{"serverTime":1773489604500}`},
	} {
		a := b.get(spot + c.path)
		if a.status != c.status || strings.ReplaceAll(a.body, `\u003c`, "<") != c.body {
			t.Errorf("%s: %d %s, want %d %s", c.path, a.status, a.body, c.status, c.body)
		}
	}
	if a := b.get(spot + "/nothing"); a.status != http.StatusNotFound || !strings.HasPrefix(a.body, "<html>") {
		t.Errorf("unknown path: %d %s", a.status, a.body)
	}
}

func TestDeadPairs(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, symbol := range []string{"XMRUSDT", "BCCUSDT"} {
		body := b.get(spot + "/ticker/24hr?symbol=" + symbol).body
		for _, want := range []string{`"lastPrice":"0.00000000"`, `"volume":"0.00000000"`, `"firstId":-1`, `"lastId":-1`, `"count":0`} {
			if !strings.Contains(body, want) {
				t.Errorf("%s: %s is not in %s", symbol, want, body)
			}
		}
		if body := b.get(spot + "/exchangeInfo?symbol=" + symbol).body; !strings.Contains(body, `"status":"BREAK"`) {
			t.Errorf("%s: %s", symbol, body)
		}
		list := b.klines("interval=1d&limit=3&symbol=" + symbol)
		if len(list) != 3 || list[2].closes >= start.AddDate(-1, 0, 0).UnixMilli() {
			t.Errorf("%s: candles go on: %v", symbol, list)
		}
		if a := b.get(spot + "/depth?symbol=" + symbol); !strings.Contains(a.body, `"bids":[],"asks":[]`) {
			t.Errorf("%s: there are offers: %s", symbol, a.body)
		}
	}
	if body := b.get(spot + "/exchangeInfo?symbol=BTCUSDT").body; !strings.Contains(body, `"status":"TRADING"`) {
		t.Errorf("BTCUSDT: %s", body)
	}
}

func TestTickerShapes(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	var one map[string]any
	b.read(spot+"/ticker/24hr?symbol=BTCUSDT&type=MINI", &one)
	if len(one) != 12 {
		t.Errorf("MINI has %d members: %v", len(one), one)
	}
	one = nil
	b.read(spot+"/ticker/24hr?symbol=BTCUSDT", &one)
	if len(one) != 21 {
		t.Errorf("FULL has %d members: %v", len(one), one)
	}
	for _, price := range []string{"lastPrice", "highPrice", "volume", "weightedAvgPrice", "bidPrice"} {
		if _, ok := one[price].(string); !ok {
			t.Errorf("%s is %T", price, one[price])
		}
	}
	for _, count := range []string{"openTime", "closeTime", "firstId", "lastId", "count"} {
		if _, ok := one[count].(float64); !ok {
			t.Errorf("%s is %T", count, one[count])
		}
	}
	var list []map[string]any
	b.read(spot+"/ticker/24hr?symbols="+url.QueryEscape(`["ETHUSDT","BTCUSDT"]`), &list)
	if len(list) != 2 || list[0]["symbol"] != "ETHUSDT" {
		t.Errorf("got %v", list)
	}
	list = nil
	b.read(spot+"/ticker/price", &list)
	if len(list) < 100 {
		t.Errorf("%d pairs", len(list))
	}
	var book struct{ Bids, Asks [][2]string }
	b.read(spot+"/depth?symbol=BTCUSDT&limit=7", &book)
	if len(book.Bids) != 7 || len(book.Asks) != 7 || number(t, book.Bids[0][0]) >= number(t, book.Asks[0][0]) ||
		number(t, book.Bids[1][0]) >= number(t, book.Bids[0][0]) {
		t.Errorf("got %v", book)
	}
}

func TestWeights(t *testing.T) {
	t.Parallel()
	many := func(n int) string {
		symbols := make([]string, n)
		for i := range symbols {
			symbols[i] = fmt.Sprintf(`"S%d"`, i)
		}
		return url.QueryEscape("[" + strings.Join(symbols, ",") + "]")
	}
	for _, c := range []struct {
		path   string
		weight string
	}{
		{"/ping", "1"},
		{"/time", "1"},
		{"/klines?symbol=BTCUSDT&interval=1m&limit=1", "2"},
		{"/klines?symbol=nonsense", "2"},
		{"/ticker/24hr?symbol=BTCUSDT", "2"},
		{"/ticker/24hr?symbols=" + many(20), "2"},
		{"/ticker/24hr?symbols=" + many(21), "40"},
		{"/ticker/24hr?symbols=" + many(100), "40"},
		{"/ticker/24hr?symbols=" + many(101), "80"},
		{"/ticker/24hr", "80"},
		{"/ticker/price?symbol=BTCUSDT", "2"},
		{"/ticker/price?symbols=" + many(2), "4"},
		{"/ticker/price", "4"},
		{"/depth?symbol=BTCUSDT&limit=100", "5"},
		{"/depth?symbol=BTCUSDT&limit=500", "25"},
		{"/depth?symbol=BTCUSDT&limit=1000", "50"},
		{"/depth?symbol=BTCUSDT&limit=5000", "250"},
		{"/exchangeInfo", "20"},
		{"/nothing", "1"},
	} {
		b := newBench(t, sim.Options{})
		if got := b.get(spot + c.path).header.Get("X-MBX-USED-WEIGHT-1M"); got != c.weight {
			t.Errorf("%.40s: weight %s, want %s", c.path, got, c.weight)
		}
	}
}

func TestGoingOnBeyondTheLimitGetsBansThatGrow(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.Options{BinanceWeightPerMinute: 6})
	ban := func() answer {
		t.Helper()
		refused := 0
		for range 40 {
			switch a := b.get(spot + "/time"); a.status {
			case http.StatusOK:
			case http.StatusTooManyRequests:
				refused++
				if a.header.Get("Retry-After") == "" || a.header.Get("X-MBX-USED-WEIGHT-1M") == "" ||
					!strings.HasPrefix(a.body, `{"code":-1003,"msg":"Too much request weight used; current limit is 6 request weight per 1 MINUTE.`) {
					t.Errorf("%v %s", a.header, a.body)
				}
			case http.StatusTeapot:
				if refused != 10 {
					t.Errorf("banned after %d refusals", refused)
				}
				return a
			}
		}
		t.Fatal("never banned")
		return answer{}
	}
	for _, want := range []time.Duration{
		2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour, 72 * time.Hour,
	} {
		a := ban()
		until := fmt.Sprint(b.clock.now().Add(want).UnixMilli())
		if a.header.Get("Retry-After") != fmt.Sprint(int(want.Seconds())) ||
			!regexp.MustCompile(`^{"code":-1003,"msg":"Way too much request weight used; IP banned until `+until+`\. `).MatchString(a.body) {
			t.Errorf("want %v: Retry-After %s, %s", want, a.header.Get("Retry-After"), a.body)
		}
		b.clock.advance(want - time.Second)
		if a := b.get(spot + "/ping"); a.status != http.StatusTeapot || a.header.Get("Retry-After") != "1" ||
			a.header.Get("X-MBX-USED-WEIGHT-1M") == "" {
			t.Errorf("a second before the end: %d %v", a.status, a.header)
		}
		b.clock.advance(time.Minute)
		if a := b.get(spot + "/ping"); a.status != http.StatusOK {
			t.Errorf("after the ban: %d %s", a.status, a.body)
		}
	}
	ban()
	b.clear()
	if a := b.get(spot + "/ping"); a.status != http.StatusOK || a.header.Get("X-MBX-USED-WEIGHT-1M") != "1" {
		t.Errorf("after clearing: %d %v", a.status, a.header)
	}
}

func TestWeightOfAMinuteEndsWithIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.Options{BinanceWeightPerMinute: 3})
	for range 5 {
		b.get(spot + "/ping")
	}
	if a := b.get(spot + "/ping"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "56" {
		t.Errorf("%d %v", a.status, a.header)
	}
	b.clock.advance(56 * time.Second)
	if a := b.get(spot + "/ping"); a.status != http.StatusOK || a.header.Get("X-MBX-USED-WEIGHT-1M") != "1" {
		t.Errorf("%d %v", a.status, a.header)
	}
}
