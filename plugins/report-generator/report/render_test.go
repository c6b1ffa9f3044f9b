package report_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/service-islands/islands/plugins/report-generator/report"
	"github.com/service-islands/islands/sdk"
)

// nasty is a name that would like to be more than a name.
const nasty = "# A|B\n## C `x` <script>alert(1)</script> [l](http://evil.example/) *b* _i_ & \u202Eback\x00 \xff"

func TestNamesStayText(t *testing.T) {
	for _, name := range []string{report.CryptoReport, report.TechnicalAnalysis} {
		t.Run(name, func(t *testing.T) {
			req := request()
			req.Report, req.Asset.Name, req.Warnings = name, nasty, []string{nasty, "1. one", "- two", "+", "---"}
			req.Ambiguous[0].Name = nasty
			made := write(t, req)
			for _, format := range []string{"json", "md", "html"} {
				text := body(t, made, format)
				if !utf8.ValidString(text) || strings.ContainsAny(text, "\x00\u202E") && format != "json" {
					t.Errorf("%s holds what cannot be shown", format)
				}
				if strings.Contains(text, "<script") {
					t.Errorf("%s holds a script", format)
				}
			}
			md := body(t, made, "md")
			for _, want := range []string{
				"- \\# A\\|B ## C \\`x\\` &lt;script&gt;alert(1)&lt;/script&gt; \\[l\\](http://evil.example/) \\*b\\* \\_i\\_ &amp; back",
				"\n- 1\\. one\n- \\- two\n- \\+\n- \\---\n",
			} {
				if !strings.Contains(md, want) {
					t.Errorf("markdown lacks %q:\n%s", want, md)
				}
			}
			checkMarkdown(t, md)
			var object map[string]any
			if err := json.Unmarshal([]byte(body(t, made, "json")), &object); err != nil {
				t.Error(err)
			}
		})
	}
}

// cell finds the borders of a table's cells.
var cell = regexp.MustCompile(`(^|[^\\])\|`)

// checkMarkdown checks that every row of a table has as many cells as its header, and that there are no other headings
// than the report's own.
func checkMarkdown(tb testing.TB, md string) {
	tb.Helper()
	own := map[string]bool{
		"Verdict": true, "Market": true, "Indicators": true, "Volatility": true, "Levels": true, "Sentiment": true,
		"Asset": true, "Provenance": true, "Cross-check": true, "Warnings": true,
	}
	cells := 0
	for i, line := range strings.Split(md, "\n") {
		switch {
		case strings.HasPrefix(line, "|"):
			n := len(cell.FindAllString(line, -1))
			if cells != 0 && n != cells {
				tb.Errorf("line %d has %d borders, not %d: %s", i+1, n, cells, line)
			}
			cells = n
			continue
		case strings.HasPrefix(line, "## ") && !own[strings.TrimPrefix(line, "## ")],
			strings.HasPrefix(line, "# ") && i != 0:
			tb.Errorf("line %d is a heading: %s", i+1, line)
		}
		cells = 0
	}
}

func TestPageIsADocumentOfItsOwn(t *testing.T) {
	page := body(t, write(t, request()), "html")
	for _, want := range []string{"<!DOCTYPE html>", `<html lang="en">`, "<title>Bitcoin (BTC) in USD</title>", "</html>"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	for _, bad := range []string{"http:", "https:", "<script", "<img", "<link", "url(", "@import", "ZgotmplZ", " style="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page holds %s", bad)
		}
	}
	if strings.Count(page, "<style>") != 1 {
		t.Error("the page does not have one style")
	}
}

// TestStyleHash holds the hash that the README tells gateways to allow, and that it is of what stands in the page.
func TestStyleHash(t *testing.T) {
	const want = "'sha256-QLTFAGlIQoh3jlfMpuZi1mTivivxMhH+rejEoMm3HAM='"
	if got := report.StyleHash(); got != want {
		t.Errorf("the style's hash is %s: change it here and in the README", got)
	}
	_, rest, _ := strings.Cut(body(t, write(t, request()), "html"), "<style>")
	style, _, _ := strings.Cut(rest, "</style>")
	sum := sha256.Sum256([]byte(style))
	if got := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; got != want {
		t.Errorf("the hash of the style in the page is %s", got)
	}
}

// TestRenderingsAreComplete looks for what the JSON says in the other two.
func TestRenderingsAreComplete(t *testing.T) {
	req := request()
	req.Warnings = []string{"mind the gap"}
	made := write(t, req)
	for _, format := range []string{"md", "html"} {
		text := body(t, made, format)
		for _, want := range []string{
			"bitcoin", "batcat", "mind the gap", "55,700.5 usd", "Extreme Fear", "coingecko, binance", "rsi_14", "sma_200", "percent_b",
			"plus_di", "2026-03-14T15:09:26Z", "Not advice.", "sell", "R3", "365 days", "21,000,000", "50 %", "fear-greed", "1.0.0",
		} {
			if !strings.Contains(text, want) {
				t.Errorf("%s lacks %q", format, want)
			}
		}
	}
}

func TestNoDisclaimerLeavesNoTrace(t *testing.T) {
	w, err := report.NewWriter("")
	if err != nil {
		t.Fatal(err)
	}
	made, err := w.Write(request())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(body(t, made, "md"), "\n---\n") || strings.Contains(body(t, made, "html"), "<footer>") {
		t.Error("there is room for a disclaimer that is not there")
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("crypto-report", "btc", "usd", "Bitcoin", int64(0), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9}, true)
	f.Add("technical-analysis", "a|b", "eur", nasty, int64(1e18), make([]byte, 300), false)
	f.Add("", "", "", "", int64(-1), []byte{}, false)
	w, err := report.NewWriter("Not advice.")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name, symbol, currency, title string, seconds int64, data []byte, quoted bool) {
		req := request()
		req.Report, req.Asset.Symbol, req.VsCurrency, req.Asset.Name, req.Warnings = name, symbol, currency, title, []string{title}
		req.Now = now.Add(time.Duration(seconds))
		number := func(i int) sdk.Number {
			if len(data) == 0 {
				return sdk.Number{}
			}
			b := data[i%len(data)]
			return sdk.Known(math.Ldexp(float64(int8(b)), int(data[(i+1)%len(data)])*8-1020))
		}
		req.Quote.Symbol, req.Candles.Symbol, req.CrossCheck[0].Symbol = symbol, symbol, title
		req.Quote.VsCurrency, req.Candles.VsCurrency, req.Global.VsCurrency = currency, currency, currency
		req.Quote.Price, req.Quote.MarketCap, req.Quote.Volume24h, req.Global.MarketCap = number(0), number(1), number(2), number(3)
		if !quoted {
			req.Quote = nil
		}
		for i := range req.Candles.Items {
			c := &req.Candles.Items[i]
			if i%7 == 0 {
				c.OpenTime = c.OpenTime.Add(time.Duration(number(i).Or(0)))
			}
			if i < len(data) {
				c.Open, c.High, c.Low, c.Close, c.Volume = number(i), number(i+1), number(i+2), number(i+3), number(i+4)
			}
		}
		made, err := w.Write(req)
		if err != nil {
			if kind := sdk.KindOf(err); kind != sdk.InvalidArgument && kind != sdk.Unavailable {
				t.Fatal(err)
			}
			return
		}
		text := body(t, made, "json")
		if !json.Valid([]byte(text)) {
			t.Errorf("no JSON: %s", text)
		}
		checkMarkdown(t, body(t, made, "md"))
		again, err := w.Write(req)
		if err != nil || body(t, again, "json") != text {
			t.Error("the same request gave another report")
		}
	})
}

func BenchmarkReport(b *testing.B) {
	w := writer(b)
	req := request()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := w.Write(req); err != nil {
			b.Fatal(err)
		}
	}
}
