package sim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func TestCoinGeckoErrors(t *testing.T) {
	t.Parallel()
	o := unlimited()
	o.DemoKeys, o.ProKeys = []string{"CG-demo"}, []string{"CG-pro"}
	b := newBench(t, o)
	demo, pro := "x-cg-demo-api-key", "x-cg-pro-api-key"
	chart := "/coins/bitcoin/market_chart"
	for _, c := range []struct {
		name, path string
		headers    []string
		status     int
		body       string // a regular expression
	}{
		{"keyless", gecko + "/ping", nil, 200, `"gecko_says"`},
		{"demo key", gecko + "/ping", []string{demo, "CG-demo"}, 200, ``},
		{"demo key in the query", gecko + "/ping?x_cg_demo_api_key=CG-demo", nil, 200, ``},
		{"pro key", geckoPro + "/ping", []string{pro, "CG-pro"}, 200, ``},
		{"pro key, public host", gecko + "/ping", []string{pro, "CG-pro"}, 400, `^{"status":{"error_code":10010,"error_message":"If you are using Pro`},
		{"pro key as demo key", gecko + "/ping", []string{demo, "CG-pro"}, 400, `"error_code":10010`},
		{"demo key, pro host", geckoPro + "/ping", []string{demo, "CG-demo"}, 400, `^{"status":{"error_code":10011,`},
		{"demo key as pro key", geckoPro + "/ping", []string{pro, "CG-demo"}, 400, `"error_code":10011`},
		{"no key, pro host", geckoPro + "/ping", nil, 401, `^{"status":{"error_code":10002,"error_message":"API Key Missing`},
		{"unknown pro key", geckoPro + "/ping", []string{pro, "other"}, 401, `"error_code":10002`},
		{"unknown demo key", gecko + "/ping", []string{demo, "other"}, 401, `"error_code":10002`},
		{"endless key", gecko + "/ping", []string{demo, strings.Repeat("x", 1000)}, 401, `"error_code":10002`},
		{"no user agent", gecko + "/ping", []string{"User-Agent", ""}, 403, `^<!DOCTYPE html>`},
		{"paid route", gecko + "/coins/top_gainers_losers", nil, 401, `^{"status":{"error_code":10005,`},
		{"paid route, pro host", geckoPro + "/coins/top_gainers_losers", []string{pro, "CG-pro"}, 404, `Incorrect path`},
		{"paid interval", gecko + chart + "?vs_currency=usd&days=2&interval=hourly", nil, 401, `10005`},
		{"unknown interval", gecko + chart + "?vs_currency=usd&days=2&interval=2d", nil, 400, `^{"error":"Invalid interval parameter"}$`},
		{"wrong path", gecko + "/coin/bitcoin", nil, 404, `^{"error":"Incorrect path`},
		{"empty id", gecko + "/coins//ohlc", nil, 404, `^{"error":"Incorrect path`},
		{"unknown coin", gecko + "/coins/nothing", nil, 404, `^{"error":"coin not found"}$`},
		{"unknown coin's chart", gecko + "/coins/nothing/market_chart?vs_currency=usd&days=1", nil, 404, `^{"error":"coin not found"}$`},
		{"no currency", gecko + "/coins/markets", nil, 422, `^{"error":"Missing parameter vs_currency"}$`},
		{"unknown currency", gecko + "/coins/markets?vs_currency=xyz", nil, 400, `^{"error":"invalid vs_currency"}$`},
		{"no days", gecko + chart + "?vs_currency=usd", nil, 422, `^{"error":"Missing parameter days"}$`},
		{"days are a word", gecko + chart + "?vs_currency=usd&days=many", nil, 400, `^{"error":"Invalid days parameter"}$`},
		{"days are none", gecko + chart + "?vs_currency=usd&days=0", nil, 400, `^{"error":"Invalid days parameter"}$`},
		{"days of candles", gecko + "/coins/bitcoin/ohlc?vs_currency=usd&days=2", nil, 400, `^{"error":"Invalid days parameter"}$`},
		{"up to the wall", gecko + chart + "?vs_currency=usd&days=365", nil, 200, `^{"prices":`},
		{"beyond the wall", gecko + chart + "?vs_currency=usd&days=366", nil, 401, `^{"error":{"status":{"timestamp":"2026-03-14T12:00:04.500\+00:00","error_code":10012,`},
		{"max", gecko + "/coins/bitcoin/ohlc?vs_currency=usd&days=max", nil, 401, `"error_code":10012`},
		{"max with a pro key", geckoPro + chart + "?vs_currency=usd&days=max", []string{pro, "CG-pro"}, 200, `^{"prices":`},
		{"hourly with a pro key", geckoPro + chart + "?vs_currency=usd&days=2&interval=hourly", []string{pro, "CG-pro"}, 200, `^{"prices":`},
		{"simple price without ids", gecko + "/simple/price?vs_currencies=usd", nil, 422, `^{"error":"Missing parameter ids"}$`},
		{"simple price without currency", gecko + "/simple/price?ids=bitcoin", nil, 422, `^{"error":"Missing parameter vs_currencies"}$`},
		{"simple price of nothing", gecko + "/simple/price?ids=nothing&vs_currencies=usd", nil, 200, `^{}$`},
		{"simple price in nothing", gecko + "/simple/price?ids=bitcoin&vs_currencies=xyz", nil, 200, `^{"bitcoin":{}}$`},
		{"simple price, space in ids", gecko + "/simple/price?ids=bitcoin,%20ethereum,solana&vs_currencies=usd", nil, 200, `^{"bitcoin":{"usd":[0-9.]+}}$`},
		{"markets of nothing", gecko + "/coins/markets?vs_currency=usd&ids=nothing", nil, 200, `^\[\]$`},
		{"markets beyond the end", gecko + "/coins/markets?vs_currency=usd&page=900", nil, 200, `^\[\]$`},
	} {
		a := b.get(c.path, c.headers...)
		if a.status != c.status || !regexp.MustCompile(c.body).MatchString(a.body) {
			t.Errorf("%s: %d %.200s, want %d %s", c.name, a.status, a.body, c.status, c.body)
		}
		if isHTML := strings.HasPrefix(a.header.Get("Content-Type"), "text/html"); isHTML != strings.HasPrefix(a.body, "<") {
			t.Errorf("%s: comes as %q", c.name, a.header.Get("Content-Type"))
		}
	}
}

type quote struct {
	ID, Symbol string
	Price      *float64 `json:"current_price"`
	Cap        *float64 `json:"market_cap"`
	Rank       *int     `json:"market_cap_rank"`
	Volume     *float64 `json:"total_volume"`
	High       *float64 `json:"high_24h"`
	Low        *float64 `json:"low_24h"`
	Ath, Atl   *float64
	Most       *float64        `json:"max_supply"`
	Roi        json.RawMessage `json:"roi"`
	Year       *float64        `json:"price_change_percentage_1y_in_currency"`
	Hour       *float64        `json:"price_change_percentage_1h_in_currency"`
}

func (b *bench) quotes(query string) []quote {
	b.t.Helper()
	var list []quote
	b.read(gecko+"/coins/markets?vs_currency=usd&"+query, &list)
	return list
}

func idsOf(list []quote) string {
	ids := make([]string, len(list))
	for i, q := range list {
		ids[i] = q.ID
	}
	return strings.Join(ids, " ")
}

func TestMarketsAreFullOfNulls(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	all := append(b.quotes("per_page=250&price_change_percentage=1h,1y"),
		b.quotes("per_page=250&page=2&price_change_percentage=1h,1y")...)
	nulls := map[string]int{}
	for i, q := range all {
		if q.Rank != nil && *q.Rank != i+1 {
			t.Errorf("%s comes as number %d and says %d", q.ID, i+1, *q.Rank)
		}
		for name, null := range map[string]bool{
			"price": q.Price == nil, "cap": q.Cap == nil, "rank": q.Rank == nil, "volume": q.Volume == nil,
			"max": q.Most == nil, "year": q.Year == nil, "roi": string(q.Roi) == "null",
		} {
			if null {
				nulls[name]++
			}
		}
		if q.Price == nil {
			if q.ID != "ghost-protocol" {
				t.Errorf("%s has no price", q.ID)
			}
			continue
		}
		if *q.High < *q.Price || *q.Low > *q.Price || *q.Ath < *q.High || *q.Atl > *q.Low {
			t.Errorf("%s: figures out of order", q.ID)
		}
	}
	if len(all) < 280 {
		t.Errorf("%d quotes", len(all))
	}
	for name, want := range map[string][2]int{
		"price": {1, 1}, "cap": {5, 40}, "rank": {5, 40}, "volume": {5, 40}, "max": {50, 200}, "year": {2, 20}, "roi": {200, 320},
	} {
		if n := nulls[name]; n < want[0] || n > want[1] {
			t.Errorf("%s is null %d times, want %d to %d", name, n, want[0], want[1])
		}
	}
	body := b.get(gecko + "/coins/markets?vs_currency=usd&ids=bitcoin,ethereum,ripple").body
	for _, want := range []string{`"current_price":\d{5,6},`, `"current_price":\d\.\d+`, `"max_supply":21000000.0,`, `"max_supply":null`, `"roi":{"times":`} {
		if !regexp.MustCompile(want).MatchString(body) {
			t.Errorf("%s is not in %s", want, body)
		}
	}
	if strings.Contains(body, "in_currency") {
		t.Error("changes come unasked")
	}
}

func TestMarketsSelectAndOrder(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct{ query, want string }{
		{"ids=ethereum,bitcoin", "bitcoin ethereum"},
		{"ids=bitcoin,%20ethereum", "bitcoin"},
		{"symbols=uni,btc", "bitcoin uniswap"},
		{"symbols=uni&include_tokens=all", "uniswap unicorn-token"},
		{"ids=cardano&symbols=btc", "cardano"},
		{"ids=bitcoin,ethereum,cardano&order=market_cap_asc", "cardano ethereum bitcoin"},
		{"ids=bitcoin,ethereum,cardano&order=id_asc", "bitcoin cardano ethereum"},
		{"ids=bitcoin,ethereum,cardano&order=id_desc", "ethereum cardano bitcoin"},
		{"ids=bitcoin,tether,cardano&order=volume_asc", "cardano bitcoin tether"},
		{"per_page=1", "bitcoin"},
		{"per_page=1&page=2", "ethereum"},
		{"ids=ghost-protocol", "ghost-protocol"},
	} {
		if got := idsOf(b.quotes(c.query)); got != c.want {
			t.Errorf("%s: %s, want %s", c.query, got, c.want)
		}
	}
	if n := len(b.quotes("per_page=5000")); n != 250 {
		t.Errorf("a page of %d", n)
	}
}

func TestBodiesAreIdenticalWithinTheWindow(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		path   string
		window time.Duration
	}{
		{"/coins/markets?vs_currency=usd", time.Minute},
		{"/simple/price?ids=bitcoin&vs_currencies=usd", time.Minute},
		{"/coins/bitcoin", time.Minute},
		{"/global", 10 * time.Minute},
		{"/coins/bitcoin/market_chart?vs_currency=usd&days=1", 30 * time.Second},
		{"/coins/bitcoin/market_chart?vs_currency=usd&days=30", 30 * time.Minute},
		{"/coins/bitcoin/market_chart?vs_currency=usd&days=180", 12 * time.Hour},
		{"/coins/bitcoin/ohlc?vs_currency=usd&days=1", 15 * time.Minute},
	} {
		b := newBench(t, unlimited())
		b.at(start.Truncate(c.window))
		first := b.get(gecko + c.path)
		tag := first.header.Get("ETag")
		if !strings.HasPrefix(tag, `W/"`) {
			t.Errorf("%s: ETag %q is not weak", c.path, tag)
		}
		if got, want := first.header.Get("Cache-Control"), fmt.Sprintf("public, max-age=%d", int(c.window.Seconds())); got != want {
			t.Errorf("%s: Cache-Control %q, want %q", c.path, got, want)
		}
		b.clock.advance(c.window - time.Millisecond)
		if again := b.get(gecko + c.path); again.body != first.body || again.header.Get("ETag") != tag {
			t.Errorf("%s: changed within the window", c.path)
		} else if age := again.header.Get("Age"); age != fmt.Sprint(int(c.window.Seconds())-1) {
			t.Errorf("%s: at the end of the window its age is %s", c.path, age)
		}
		for _, condition := range []string{tag, tag[2:], `"other", ` + tag, "*"} {
			if a := b.get(gecko+c.path, "If-None-Match", condition); a.status != http.StatusNotModified || a.body != "" {
				t.Errorf("%s: If-None-Match %s: %d", c.path, condition, a.status)
			}
		}
		b.clock.advance(time.Millisecond)
		if next := b.get(gecko+c.path, "If-None-Match", tag); next.status != http.StatusOK || next.body == first.body {
			t.Errorf("%s: the next window is the same: %d", c.path, next.status)
		}
	}
}

func TestChartStamps(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	swapped, straight := 0, 0
	for i := range 10 {
		b.at(start.Add(time.Duration(i) * 61 * time.Minute))
		for _, c := range []struct {
			days   int
			step   time.Duration
			window time.Duration
			jitter bool
		}{
			{1, 5 * time.Minute, 30 * time.Second, true},
			{2, time.Hour, 30 * time.Minute, true},
			{90, time.Hour, 30 * time.Minute, true},
			{91, 24 * time.Hour, 12 * time.Hour, false},
		} {
			var chart struct {
				Prices, Caps, Volumes [][2]float64
			}
			b.read(fmt.Sprintf("%s/coins/solana/market_chart?vs_currency=usd&days=%d", gecko, c.days), &chart)
			points := chart.Prices
			want := c.days * int(24*time.Hour/c.step)
			if n := len(points); n < want-1 || n > want+2 {
				t.Fatalf("%d days: %d points, want about %d", c.days, n, want)
			}
			last, before := points[len(points)-1][0], points[len(points)-2][0]
			if last < before {
				swapped++
				last = before
				points[len(points)-1], points[len(points)-2] = points[len(points)-2], points[len(points)-1]
			} else {
				straight++
			}
			if now := b.clock.now().Truncate(c.window).UnixMilli(); int64(last) != now {
				t.Errorf("%d days: the last point is at %v, now is %d", c.days, last, now)
			}
			offGrid := 0
			for j, p := range points {
				if j > 0 && p[0] <= points[j-1][0] {
					t.Errorf("%d days: point %d is out of order", c.days, j)
				}
				if int64(p[0])%c.step.Milliseconds() != 0 {
					offGrid++
				}
			}
			if (offGrid > len(points)/2) != c.jitter {
				t.Errorf("%d days: %d of %d stamps are off the grid", c.days, offGrid, len(points))
			}
		}
	}
	if swapped == 0 || straight == 0 {
		t.Errorf("the last two were swapped %d times, and %d times not", swapped, straight)
	}
}

func TestCandlesCarryTheirCloseTime(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	for _, c := range []struct {
		days int
		step time.Duration
	}{
		{1, 30 * time.Minute},
		{7, 4 * time.Hour},
		{14, 4 * time.Hour},
		{30, 4 * time.Hour},
		{90, 96 * time.Hour},
		{180, 96 * time.Hour},
		{365, 96 * time.Hour},
	} {
		var rows [][5]float64
		b.read(fmt.Sprintf("%s/coins/ethereum/ohlc?vs_currency=usd&days=%d", gecko, c.days), &rows)
		want := int(time.Duration(c.days) * 24 * time.Hour / c.step)
		if len(rows) < want || len(rows) > want+2 {
			t.Errorf("%d days: %d candles, want about %d", c.days, len(rows), want)
		}
		for i, r := range rows {
			if r[2] < max(r[1], r[4]) || r[3] > min(r[1], r[4]) {
				t.Errorf("%d days: not a candle: %v", c.days, r)
			}
			if i > 0 && int64(r[0]-rows[i-1][0]) != c.step.Milliseconds() {
				t.Errorf("%d days: %v does not follow %v", c.days, r, rows[i-1])
			}
		}
		last, now := int64(rows[len(rows)-1][0]), start.UnixMilli()
		if last <= now || last > now+c.step.Milliseconds() {
			t.Errorf("%d days: the last candle closes at %d, now is %d", c.days, last, now)
		}
	}
}

func TestCoinIsLargeUnlessSwitchedOff(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	if n := len(b.get(gecko + "/coins/ethereum").body); n < 100<<10 {
		t.Errorf("without switches: %d bytes", n)
	}
	var coin struct {
		ID         string
		MarketData struct {
			Price map[string]float64 `json:"current_price"`
			Most  *float64           `json:"max_supply"`
			Date  map[string]string  `json:"ath_date"`
		} `json:"market_data"`
	}
	a := b.read(gecko+"/coins/ethereum?localization=false&tickers=false&community_data=false&developer_data=false", &coin)
	if len(a.body) > 60<<10 || strings.Contains(a.body, "tickers") || strings.Contains(a.body, "community_data") ||
		strings.Contains(a.body, `"localization"`) {
		t.Errorf("with switches: %d bytes", len(a.body))
	}
	if coin.ID != "ethereum" || coin.MarketData.Price["usd"] <= 0 || coin.MarketData.Price["eth"] != 1 ||
		coin.MarketData.Most != nil || coin.MarketData.Date["usd"] == "" {
		t.Errorf("got %+v", coin)
	}
	if a := b.get(gecko + "/coins/ethereum?market_data=false"); strings.Contains(a.body, "market_data") {
		t.Error("market_data comes though switched off")
	}
}

func TestGlobalAndSearchAndList(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	var global struct {
		Data struct {
			Active  int                `json:"active_cryptocurrencies"`
			Cap     map[string]float64 `json:"total_market_cap"`
			Volume  map[string]float64 `json:"total_volume"`
			Share   map[string]float64 `json:"market_cap_percentage"`
			Updated int64              `json:"updated_at"`
		}
	}
	a := b.read(gecko+"/global", &global)
	d := global.Data
	if d.Cap["usd"] < 1e11 || d.Volume["usd"] <= 0 || d.Share["btc"] < 20 || d.Share["btc"] > 80 || d.Active < 280 ||
		d.Updated != start.Truncate(10*time.Minute).Unix() {
		t.Errorf("got %+v", d)
	}
	if !regexp.MustCompile(`"idr":\d\.\d+e\+16`).MatchString(a.body) {
		t.Error("large sums come without an exponent")
	}
	var search struct {
		Coins []struct {
			ID   string
			Rank *int `json:"market_cap_rank"`
		}
	}
	b.read(gecko+"/search?query=UNI", &search)
	if search.Coins[0].ID != "uniswap" || !slices.ContainsFunc(search.Coins, func(c struct {
		ID   string
		Rank *int `json:"market_cap_rank"`
	},
	) bool {
		return c.ID == "unicorn-token"
	}) {
		t.Errorf("found %+v", search.Coins)
	}
	var list []struct{ ID, Symbol, Name string }
	b.read(gecko+"/coins/list", &list)
	if len(list) != d.Active || !slices.IsSortedFunc(list, func(a, b struct{ ID, Symbol, Name string }) int {
		return strings.Compare(a.ID, b.ID)
	}) {
		t.Errorf("%d coins in the list", len(list))
	}
}

func TestCoinGeckoBudgets(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.Options{KeylessPerMinute: 3, DemoPerMinute: 5, ProPerMinute: 6})
	spend := func(path string, headers ...string) int {
		for n := range 20 {
			a := b.get(path, headers...)
			if a.status != http.StatusTooManyRequests {
				continue
			}
			if !strings.HasPrefix(a.body, `{"status":{"error_code":429,"error_message":"You've exceeded the Rate Limit.`) ||
				a.header.Get("Retry-After") != "56" {
				t.Errorf("%s: %q, Retry-After %q", path, a.body, a.header.Get("Retry-After"))
			}
			return n
		}
		return -1
	}
	for _, c := range []struct {
		name, path string
		want       int
		headers    []string
	}{
		{"keyless, errors count too", gecko + "/coins/nothing", 3, nil},
		{"demo key", gecko + "/ping", 5, []string{"x-cg-demo-api-key", "a"}},
		{"another demo key", gecko + "/ping", 5, []string{"x-cg-demo-api-key", "b"}},
		{"pro key", geckoPro + "/ping", 6, []string{"x-cg-pro-api-key", "a"}},
	} {
		if n := spend(c.path, c.headers...); n != c.want {
			t.Errorf("%s: %d calls went through, want %d", c.name, n, c.want)
		}
	}
	b.clock.advance(time.Minute)
	if n := spend(gecko + "/ping"); n != 3 {
		t.Errorf("in the next minute %d calls went through", n)
	}
	b.clear()
	if n := spend(gecko + "/ping"); n != 3 {
		t.Errorf("after clearing %d calls went through", n)
	}
}
