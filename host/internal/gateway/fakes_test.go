package gateway

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"),    // Ticks for ever, once.
		goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2")) // Sees the end of its pool after 10 s.
}

// now is the time of every test.
var now = time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)

// fakeMarket answers everything with one answer or one error and remembers what it was asked.
type fakeMarket struct {
	mu       sync.Mutex
	calls    []string
	ids      []string
	answer   Answer
	err      error
	errs     map[string]error // of single symbols, for Quotes
	history  sdk.HistoryRequest
	page     sdk.HistoryPage
	limit    int
	interval sdk.Interval
	hook     func(ctx context.Context)
	warm     bool // answers reports at once
}

func jsonRepresentation(body string) *Representation {
	return &Representation{Format: "json", ContentType: jsonType, Body: []byte(body), ETag: `"plain"`}
}

func newFakeMarket() *fakeMarket {
	return &fakeMarket{answer: Answer{
		Representation: jsonRepresentation(`{"symbol":"btc"}`), Tier: "near",
		StoredAt: now.Add(-20 * time.Second), FreshUntil: now.Add(40 * time.Second), StaleUntil: now.Add(time.Hour),
	}}
}

func (m *fakeMarket) called(ctx context.Context, what string) {
	m.mu.Lock()
	m.calls = append(m.calls, what)
	m.ids = append(m.ids, sdk.RequestID(ctx))
	hook := m.hook
	m.mu.Unlock()
	if hook != nil {
		hook(ctx)
	}
}

func (m *fakeMarket) asked() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.calls...)
}

func (m *fakeMarket) Report(ctx context.Context, report, symbol, vsCurrency, format string) (Answer, error) {
	m.called(ctx, "report "+report+" "+symbol+" "+vsCurrency+" "+format)
	answer := m.answer
	if answer.Representation != nil && answer.Representation.Format != format {
		rep := *answer.Representation
		rep.Format, rep.ContentType = format, mediaType(format)+"; charset=utf-8"
		answer.Representation = &rep
	}
	return answer, m.err
}

func (m *fakeMarket) WarmReport(report, symbol, vsCurrency, format string) (Answer, bool) {
	if !m.warm {
		return Answer{}, false
	}
	// The bytes of the arguments are the request's.
	answer, err := m.Report(context.Background(), strings.Clone(report), strings.Clone(symbol), vsCurrency, format)
	return answer, err == nil && answer.Representation != nil
}

func (m *fakeMarket) Quote(ctx context.Context, symbol, vsCurrency, source string) (Answer, error) {
	m.called(ctx, "quote "+symbol+" "+vsCurrency+" "+source)
	return m.answer, m.err
}

func (m *fakeMarket) Quotes(ctx context.Context, symbols []string, vsCurrency, source string) ([]Answer, []error) {
	answers, errs := make([]Answer, len(symbols)), make([]error, len(symbols))
	for i, symbol := range symbols {
		m.called(ctx, "quotes "+symbol+" "+vsCurrency+" "+source)
		if errs[i] = m.errs[symbol]; errs[i] == nil {
			answers[i] = m.answer
			answers[i].Representation = jsonRepresentation(`{"symbol":"` + symbol + `"}`)
		}
	}
	return answers, errs
}

func (m *fakeMarket) Global(ctx context.Context, vsCurrency string) (Answer, error) {
	m.called(ctx, "global "+vsCurrency)
	return m.answer, m.err
}

func (m *fakeMarket) Candles(ctx context.Context, symbol, vsCurrency string, interval sdk.Interval, limit int) (Answer, error) {
	m.called(ctx, "candles "+symbol+" "+vsCurrency)
	m.interval, m.limit = interval, limit
	return m.answer, m.err
}

func (m *fakeMarket) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	m.called(ctx, "history "+req.Symbol)
	m.history = req
	return m.page, m.err
}

func (m *fakeMarket) Symbols(ctx context.Context, query string) ([]sdk.Asset, map[string]bool, Answer, error) {
	m.called(ctx, "symbols "+query)
	assets := []sdk.Asset{
		{ID: "bitcoin", Symbol: "btc", Name: "Bitcoin", Rank: 1, MarketCap: sdk.Known(2.6e12)},
		{ID: "", Symbol: "btc", Name: "", MarketCap: sdk.Number{}},
	}
	return assets, map[string]bool{"btc": true}, m.answer, m.err
}

func (m *fakeMarket) HasSource(name string) bool { return name == "coingecko-source" }

// fakeInsight answers each route with its own name and one status.
type fakeInsight struct {
	status sdk.Status
	ready  bool
	err    error
}

type named struct {
	What  string  `json:"what"`
	Value float64 `json:"value"`
}

func (i *fakeInsight) Ready() (bool, string) {
	if i.ready {
		return true, ""
	}
	return false, "cache has not run yet"
}

func (i *fakeInsight) System(context.Context) (any, sdk.Status) {
	return named{"system", 1.5e-7}, i.status
}

func (i *fakeInsight) CacheHealth(context.Context) (any, sdk.Status) {
	return named{"cache", 2.6e22}, i.status
}

func (i *fakeInsight) ExternalAPIsHealth(context.Context) (any, sdk.Status) {
	return named{What: "external"}, i.status
}

func (i *fakeInsight) DatabaseHealth(context.Context) (any, sdk.Status) {
	return named{What: "database"}, i.status
}

func (i *fakeInsight) IslandsHealth(context.Context) (any, sdk.Status) {
	return named{What: "islands"}, i.status
}

func (i *fakeInsight) IslandHealth(_ context.Context, name string) (any, sdk.Status, error) {
	if name != "cache" {
		return nil, 0, sdk.Errorf(sdk.NotFound, "no island %q", name)
	}
	return named{What: name}, i.status, nil
}

func (i *fakeInsight) IslandMetrics(_ context.Context, name string) (any, error) {
	if name != "cache" {
		return nil, sdk.Errorf(sdk.NotFound, "no island %q", name)
	}
	return named{What: name}, nil
}

func (i *fakeInsight) CacheMetrics(context.Context) (any, error) { return named{What: "cache"}, i.err }

func (i *fakeInsight) DatabaseMetrics(context.Context) (any, error) {
	return named{What: "database"}, i.err
}

func (i *fakeInsight) Performance() any { return named{What: "performance"} }

func (i *fakeInsight) FeedMetrics() any { return named{What: "feed"} }

// fakeOperator remembers what it was told.
type fakeOperator struct {
	mu   sync.Mutex
	told []string
	err  error
}

func (o *fakeOperator) tell(what string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told = append(o.told, what)
	return o.err
}

func (o *fakeOperator) Status(context.Context) any { return named{What: "status"} }
func (o *fakeOperator) Crashes(name string) (any, error) {
	return []string{}, o.tell("crashes " + name)
}

func (o *fakeOperator) Reset(_ context.Context, name string) error { return o.tell("reset " + name) }

func (o *fakeOperator) Reload(context.Context) (any, error) {
	return map[string]string{"result": "reloaded"}, o.tell("reload")
}

func (o *fakeOperator) Restart(ctx context.Context, name string) error {
	if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) < 30*time.Second {
		return o.tell("restart in too little time " + name)
	}
	return o.tell("restart " + name)
}

func (o *fakeOperator) Swap(_ context.Context, name, to, sha256 string) error {
	return o.tell("swap " + name + " " + to + " " + sha256)
}

func (o *fakeOperator) Attach(_ context.Context, name string, debugger []string) error {
	return o.tell("attach " + name + " " + strings.Join(debugger, " "))
}

func (o *fakeOperator) Keep(name string) error { return o.tell("keep " + name) }

func (o *fakeOperator) Detach(_ context.Context, name string) error { return o.tell("detach " + name) }

func (o *fakeOperator) Invalidate(_ context.Context, patterns []string) (int, error) {
	err := o.tell("invalidate")
	return len(patterns), err
}

func (o *fakeOperator) SetTier(_ context.Context, tier string, enabled bool) error {
	if enabled {
		return o.tell("enable " + tier)
	}
	return o.tell("disable " + tier)
}

// options are those of a gateway of fakes.
func options(m *fakeMarket) Options {
	return Options{
		Listen: "127.0.0.1:0", Market: m, Insight: &fakeInsight{ready: true}, Operator: &fakeOperator{},
		Reports: map[string][]string{"crypto-report": {"json", "html", "md"}, "technical-analysis": {"json"}},
		Now:     func() time.Time { return now },
	}
}

// newTest makes a gateway that is shut down with the test.
func newTest(tb testing.TB, opts Options) *Gateway {
	tb.Helper()
	return newTestLimits(tb, opts, defaultLimits())
}

func newTestLimits(tb testing.TB, opts Options, l limits) *Gateway {
	tb.Helper()
	g, err := newGateway(opts, l)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(tb.Context()), 5*time.Second)
		defer cancel()
		_ = g.Shutdown(ctx)
	})
	return g
}

// response is an answer with its body read.
type response struct {
	*http.Response
	body []byte
}

// send passes a request through the gateway's server as a client would, without a socket. Headers come in pairs.
func send(tb testing.TB, g *Gateway, method, target, body string, headers ...string) response {
	tb.Helper()
	return sendTo(tb, g.public, method, target, body, headers...)
}

func sendTo(tb testing.TB, s *server, method, target, body string, headers ...string) response {
	tb.Helper()
	return parse(tb, method, exchange(tb, s, method, target, body, headers...))
}

// exchange returns an answer as it leaves.
func exchange(tb testing.TB, s *server, method, target, body string, headers ...string) []byte {
	tb.Helper()
	var request bytes.Buffer
	request.WriteString(method + " " + target + " HTTP/1.1\r\nHost: islands\r\nConnection: close\r\n")
	for i := 0; i < len(headers); i += 2 {
		request.WriteString(headers[i] + ": " + headers[i+1] + "\r\n")
	}
	if body != "" {
		request.WriteString("Content-Length: " + itoa(len(body)) + "\r\n")
	}
	request.WriteString("\r\n" + body)
	client, peer := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.app.Server().ServeConn(peer)
		_ = peer.Close()
	}()
	go func() { _, _ = client.Write(request.Bytes()) }()
	_ = client.SetDeadline(time.Now().Add(10 * time.Second))
	answer, err := io.ReadAll(client)
	_ = client.Close()
	<-served
	if err != nil {
		tb.Fatalf("%s %s: %v", method, target, err)
	}
	return answer
}

func parse(tb testing.TB, method string, raw []byte) response {
	tb.Helper()
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(raw)), &http.Request{Method: method})
	if err != nil {
		tb.Fatalf("reading %q: %v", raw, err)
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return response{Response: r, body: body}
}

func get(tb testing.TB, g *Gateway, target string, headers ...string) response {
	tb.Helper()
	return send(tb, g, http.MethodGet, target, "", headers...)
}

// isProblem checks that an answer is a complete problem and returns it.
func isProblem(tb testing.TB, r response, status int) problemBody {
	tb.Helper()
	var p problemBody
	if err := json.Unmarshal(r.body, &p); err != nil {
		tb.Fatalf("status %d, body %q: %v", r.StatusCode, r.body, err)
	}
	if r.StatusCode != status || p.Status != status {
		tb.Fatalf("status %d (in the body %d), want %d: %s", r.StatusCode, p.Status, status, r.body)
	}
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		tb.Errorf("content type %q", got)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		tb.Errorf("cache control %q", got)
	}
	if p.Type == "" || p.Title == "" || p.Detail == "" || p.Code == "" || p.Instance == "" {
		tb.Errorf("an incomplete problem: %s", r.body)
	}
	if p.RequestID == "" || p.RequestID != r.Header.Get("X-Request-Id") {
		tb.Errorf("request id %q in the body, %q in the header", p.RequestID, r.Header.Get("X-Request-Id"))
	}
	return p
}

func itoa(n int) string { return string(fasthttp.AppendUint(nil, n)) }
