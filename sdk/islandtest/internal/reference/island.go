package reference

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
)

// settings of the islands that the kit is tried on.
type settings struct {
	URL  string     `setting:"url" default:"http://127.0.0.1:1" doc:"Base URL of the upstream."`
	Key  sdk.Secret `setting:"key" default:"" doc:"Key for the upstream."`
	Must string     `setting:"must" doc:"Anything."`
}

// life is the life of an island that keeps the contract but for one flaw, which may be none.
type life struct {
	flaw string
	set  settings

	initCtx  context.Context //nolint:containedctx // That of Initialize, which one flaw ends with.
	shut     atomic.Bool
	ready    atomic.Bool
	calls    atomic.Int64
	running  atomic.Int64
	degraded atomic.Bool
	leak     chan struct{} // ends what the leaking island left behind
}

func (l *life) is(flaw string) bool { return l.flaw == flaw }

// Initialize implements sdk.IslandComponent.
func (l *life) Initialize(ctx context.Context, cfg sdk.Config) error {
	err := cfg.Decode(&l.set)
	if l.is("tells secrets") && err != nil {
		return fmt.Errorf("%w: %v", err, cfg.Values)
	}
	if err = l.roughStart(cfg, err); err != nil && !l.is("lenient") {
		return err
	}
	if _, given := cfg.Values["key"]; given && l.is("refuses defaults") {
		return sdk.Errorf(sdk.InvalidArgument, "a key")
	}
	if l.is("leaks") {
		go func() { <-l.leak }()
	}
	l.initCtx = ctx
	l.ready.Store(true)
	return nil
}

// leaving are the calls that leave slowly.
var leaving sync.WaitGroup

// Settle waits until the calls have left that do so slowly.
func Settle() { leaving.Wait() }

// begin is called at the start of every call of a role; what it returns is called at the end.
func (l *life) begin(ctx context.Context) (func(), error) {
	l.calls.Add(1)
	l.roughCall()
	switch {
	case l.shut.Load() && l.is("panics after shutdown"):
		panic("called after shutdown")
	case l.is("slow to leave"):
		leaving.Add(1)
		defer leaving.Done()
		time.Sleep(800 * time.Millisecond)
	case ctx.Err() != nil && !l.is("works for nobody"):
		return func() {}, ctx.Err()
	case l.is("one at a time") && l.running.Add(1) > 1:
		l.running.Add(-1)
		return func() {}, sdk.Errorf(sdk.Internal, "two calls at once")
	}
	return func() {
		if l.is("one at a time") {
			time.Sleep(time.Millisecond)
			l.running.Add(-1)
		}
	}, nil
}

// Health implements sdk.IslandComponent.
func (l *life) Health(context.Context) sdk.Health {
	part := sdk.Part{Name: "upstream", Details: map[string]any{"calls": l.calls.Load()}}
	switch {
	case l.is("dies with its start") && l.initCtx.Err() != nil:
		return sdk.Failed("context canceled")
	case l.is("grumbles"):
		return sdk.Degraded("never content")
	case l.is("odd parts"):
		part.Details["list"] = []string{"x"}
	case l.is("slow health"):
		time.Sleep(2100 * time.Millisecond)
	}
	if l.degraded.Load() && !l.is("always well") {
		return sdk.Degraded("the upstream is down", part)
	}
	return sdk.Healthy(part)
}

// Metrics implements sdk.IslandComponent.
func (l *life) Metrics(context.Context) (sdk.Metrics, error) {
	m := sdk.Metrics{
		sdk.Counter("calls_total", "Calls.", float64(l.calls.Load())), sdk.Gauge("held_bytes", "bytes", "Bytes.", 1),
		{Name: "wait_seconds", Type: sdk.HistogramType, Unit: "seconds", Help: "Wait.", Samples: []sdk.Sample{{Histogram: &sdk.Histogram{
			Count: 3, Sum: 1, Buckets: []sdk.Bucket{{UpperBound: 1, Count: 1}, {UpperBound: 2, Count: 3}},
		}}}},
	}
	switch l.flaw {
	case "odd names":
		m[0].Name = "Calls"
	case "odd values":
		m[2].Samples[0].Histogram.Buckets[0].Count = 9
	case "falling counters":
		m[0].Samples[0].Value = 1000 - m[0].Samples[0].Value
	}
	return m, nil
}

// Shutdown implements sdk.IslandComponent.
func (l *life) Shutdown(context.Context) error {
	if l.is("panics in shutdown") && (!l.ready.Load() || l.shut.Load()) {
		panic("shut down in the wrong state")
	}
	l.shut.Store(true)
	return l.roughStop()
}

// source has every role of a source, over HTTP.
type source struct {
	life
	client  http.Client
	mu      sync.Mutex
	sulking bool
}

func newSource(flaw string) *source {
	return &source{life: life{flaw: flaw}, client: http.Client{Transport: &http.Transport{}}}
}

// Shutdown implements sdk.IslandComponent.
func (s *source) Shutdown(ctx context.Context) error {
	s.client.CloseIdleConnections()
	return s.life.Shutdown(ctx)
}

// ask asks the upstream, whose answer does not matter.
func (s *source) ask(ctx context.Context, vs string) error {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	if vs != "" && vs != "usd" && !s.is("any currency") {
		return sdk.Errorf(sdk.Unsupported, "no figures in %q", vs)
	}
	if s.is("deaf") {
		time.Sleep(500 * time.Millisecond)
	}
	if s.is("stays for its upstream") || s.is("stays unseen") {
		err = s.abandon(ctx)
	} else {
		err = s.fetch(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sulking && s.is("sulks") {
		return sdk.Errorf(sdk.Unavailable, "it was down once")
	}
	s.sulking = err != nil
	s.degraded.Store(err != nil)
	if err != nil && s.is("kindless") {
		return errors.New("something is wrong")
	}
	return err
}

// abandon fetches for a caller and goes on when the caller has gone.
func (s *source) abandon(ctx context.Context) error {
	fetched := make(chan error, 1)
	go func() { fetched <- s.fetch(context.WithoutCancel(ctx)) }()
	select {
	case err := <-fetched:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *source) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.set.URL, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := s.client.Do(req)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return sdk.Errorf(sdk.Unavailable, "no answer")
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 100))
	switch {
	case err != nil:
		return sdk.Errorf(sdk.BadUpstream, "half an answer")
	case resp.StatusCode == http.StatusTooManyRequests:
		wait, err := time.ParseDuration(resp.Header.Get("Retry-After") + "s")
		if err != nil || s.is("impatient") {
			wait = 0
		}
		return &sdk.Error{Kind: sdk.RateLimited, RetryAfter: wait}
	case resp.StatusCode != http.StatusOK:
		return sdk.Errorf(sdk.Unavailable, "status %d", resp.StatusCode)
	case string(text) != "fine":
		return sdk.Errorf(sdk.BadUpstream, "nonsense")
	}
	return nil
}

func (s *source) knows(a sdk.Asset) bool {
	return a.Symbol == "btc" || a.Symbol == "eth" || s.is("guesses")
}

func (s *source) quote(a sdk.Asset) sdk.Quote {
	q := sdk.Quote{ID: a.ID, Symbol: a.Symbol, VsCurrency: "usd", Price: sdk.Known(10), Source: "source", AsOf: time.Now().UTC()}
	switch s.flaw {
	case "shouts":
		q.Symbol = "BTC"
	case "below zero":
		q.Price = sdk.Known(-1)
	}
	return q
}

// Quotes implements sdk.QuoteSource.
func (s *source) Quotes(ctx context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	if err := s.ask(ctx, req.VsCurrency); err != nil {
		return nil, err
	}
	if len(req.Assets) > 100 && s.is("small") {
		return nil, sdk.Errorf(sdk.InvalidArgument, "too many")
	}
	if len(req.Assets) == 0 && s.is("invents") {
		req.Assets = []sdk.Asset{{Symbol: "btc"}}
	}
	var quotes []sdk.Quote
	for _, a := range req.Assets {
		s.odd(a.Symbol)
		if s.knows(a) {
			quotes = append(quotes, s.quote(a))
		}
	}
	return quotes, nil
}

// Candles implements sdk.CandleSource.
func (s *source) Candles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	switch {
	case !req.Interval.Valid() && s.is("any interval"):
		req.Interval = sdk.Interval1d
	case !req.Interval.Valid():
		return sdk.Candles{}, sdk.Errorf(sdk.Unsupported, "no candles of %q", req.Interval)
	case (req.Limit < 1 || req.Limit > 1000) && !s.is("no limit"):
		return sdk.Candles{}, sdk.Errorf(sdk.InvalidArgument, "a limit of %d", req.Limit)
	}
	if err := s.ask(ctx, req.VsCurrency); err != nil {
		return sdk.Candles{}, err
	}
	if !s.knows(req.Asset) {
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "no such asset")
	}
	run := sdk.Candles{Symbol: req.Asset.Symbol, VsCurrency: req.VsCurrency, Interval: req.Interval, Source: "source", AsOf: time.Now().UTC()}
	start := time.Now().UTC().Truncate(req.Interval.Duration())
	for i := max(1, min(req.Limit, 30)) - 1; i >= 0; i-- {
		c := sdk.Candle{
			OpenTime: start.Add(-time.Duration(i) * req.Interval.Duration()), Open: sdk.Known(2), High: sdk.Known(3), Low: sdk.Known(1),
			Close: sdk.Known(2), Closed: i > 0,
		}
		if s.is("below zero") {
			c.Low = sdk.Known(-1)
		}
		run.Items = append(run.Items, c)
	}
	if s.is("backwards") {
		run.Items[0], run.Items[1] = run.Items[1], run.Items[0]
	}
	return run, nil
}

// Global implements sdk.GlobalSource.
func (s *source) Global(ctx context.Context, req sdk.GlobalRequest) (sdk.Global, error) {
	g := sdk.Global{
		VsCurrency: req.VsCurrency, MarketCap: sdk.Known(1e12), Source: "source", AsOf: time.Now().UTC(),
		Dominance: map[string]sdk.Number{"btc": sdk.Known(57)},
	}
	if s.is("below zero") {
		g.MarketCap = sdk.Known(-1)
	}
	return g, s.ask(ctx, req.VsCurrency)
}

// Sentiment implements sdk.SentimentSource.
func (s *source) Sentiment(ctx context.Context, _ sdk.SentimentRequest) (sdk.Sentiment, error) {
	m := sdk.Sentiment{Value: sdk.Known(50), Source: "source", AsOf: time.Now().UTC()}
	if s.is("below zero") {
		m.Value = sdk.Known(-1)
	}
	return m, s.ask(ctx, "")
}

// Catalogue implements sdk.CatalogueSource.
func (s *source) Catalogue(ctx context.Context, _ sdk.CatalogueRequest) ([]sdk.Asset, error) {
	assets := []sdk.Asset{{ID: "bitcoin", Symbol: "btc", Rank: 1}, {ID: "ethereum", Symbol: "eth"}, {ID: "batcat", Symbol: "btc"}}
	if s.is("shouts") {
		assets[0].Symbol = "BTC"
	}
	assets = append(assets, sdk.Asset{Symbol: "sol"})
	if s.is("repeats itself") {
		assets = append(assets, sdk.Asset{Symbol: "sol", Name: "Another"})
	}
	return assets, s.ask(ctx, "")
}

// Stream implements sdk.StreamSource.
func (s *source) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	if s.is("queues for ever") {
		return s.queue(ctx, req, emit)
	}
	for seq := uint64(1); ; seq++ {
		if s.is("holes") && seq == 2 {
			seq++
		}
		batch := sdk.QuoteBatch{Seq: seq, Quotes: []sdk.Quote{s.quote(req.Assets[0])}}
		if req.Candles || s.is("talks unasked") {
			batch.Candles = s.minutes(req.Assets[0], int(seq))
		}
		if err := emit(batch); err != nil && !s.is("goes on") {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// queue keeps every batch until it is taken.
func (s *source) queue(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	var mu sync.Mutex
	var waiting []sdk.QuoteBatch
	go func() {
		for ctx.Err() == nil {
			q := s.quote(req.Assets[0])
			q.Name = strings.Repeat("x", 100<<10)
			mu.Lock()
			waiting = append(waiting, sdk.QuoteBatch{Quotes: []sdk.Quote{q}})
			mu.Unlock()
			time.Sleep(time.Millisecond)
		}
	}()
	for seq := uint64(1); ctx.Err() == nil; {
		mu.Lock()
		batches := waiting
		waiting = nil
		mu.Unlock()
		for _, batch := range batches {
			batch.Seq = seq
			seq++
			if err := emit(batch); err != nil {
				return err
			}
		}
		time.Sleep(time.Millisecond)
	}
	return ctx.Err()
}

// minutes are the candles of a batch: one minute, the n-th of a day that is over.
func (s *source) minutes(a sdk.Asset, n int) []sdk.Candles {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	c := sdk.Candle{OpenTime: today.Add(time.Duration(n-1440) * time.Minute), Close: sdk.Known(2), Closed: true}
	run := sdk.Candles{ID: a.ID, Symbol: a.Symbol, VsCurrency: "usd", Interval: sdk.Interval1m, Source: "source", AsOf: today}
	switch s.flaw {
	case "streams the open":
		c.Closed = false
	case "streams crooked":
		c.OpenTime = c.OpenTime.Add(time.Second)
	case "streams blanks":
		c.Close = sdk.Number{}
	case "streams strangers":
		run.Symbol = "none"
	case "streams odd intervals":
		run.Interval = "7q"
	case "streams again":
		c.OpenTime = today.Add(-time.Minute)
	case "streams nothing":
		return []sdk.Candles{run}
	}
	run.Items = []sdk.Candle{c}
	if s.is("streams pieces") {
		return []sdk.Candles{run, run}
	}
	return []sdk.Candles{run}
}

// reporter makes one report.
type reporter struct{ life }

// Reports implements sdk.Reporter.
func (r *reporter) Reports() []sdk.ReportSpec {
	specs := []sdk.ReportSpec{{Name: "brief", Formats: []string{"json", "md"}, Needs: sdk.Needs{Quote: true}}}
	if r.ready.Load() && r.is("changes its mind") {
		specs[0].Formats = []string{"json"}
	}
	return specs
}

// Report implements sdk.Reporter.
func (r *reporter) Report(ctx context.Context, req sdk.ReportRequest) (sdk.Report, error) {
	end, err := r.begin(ctx)
	defer end()
	switch {
	case err != nil:
		return sdk.Report{}, err
	case req.Report != "brief" && !r.is("any report"):
		return sdk.Report{}, sdk.Errorf(sdk.InvalidArgument, "no report %q", req.Report)
	case req.Quote == nil && r.is("careless"):
		return sdk.Report{}, sdk.Errorf(sdk.Internal, "no quote")
	case req.Quote == nil:
		return sdk.Report{}, sdk.Errorf(sdk.Unavailable, "no quote")
	}
	price := req.Quote.Price.String()
	if r.is("tells the time") {
		price = fmt.Sprint(time.Now().UnixNano())
	}
	if r.is("scribbles") {
		req.Quote.Price = sdk.Known(req.Quote.Price.Or(0) + 1)
	}
	report := sdk.Report{Documents: []sdk.Document{
		{Format: "json", ContentType: "application/json", Body: []byte(`{"price":` + price + `}`)},
		{Format: "md", ContentType: "text/markdown; charset=utf-8", Body: []byte("Price: " + price)},
	}}
	if r.is("half done") {
		report.Documents = report.Documents[:1]
	}
	return report, nil
}
