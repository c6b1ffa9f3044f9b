package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// reportKind is a kind of report as a use of the primitive.
type reportKind struct {
	Report
	kind *kind
	mode *mode // of its reporter
}

// reportArg asks for a report on what a symbol stands for.
type reportArg struct {
	symbol     string
	vsCurrency string
}

func (r *Requests) newReports(rt, before *routes) map[string]*reportKind {
	reports := make(map[string]*reportKind, len(rt.Reports))
	for _, opts := range rt.Reports {
		rk := &reportKind{Report: opts}
		told := r.opts
		told.Logger = told.Logger.With("island", opts.Island)
		rk.mode = newMode(told,
			"Reporter unavailable, serving the last good reports", "Reporter available again")
		if before != nil && before.reports[opts.Name] != nil && before.reports[opts.Name].Island == opts.Island {
			rk.mode = before.reports[opts.Name].mode
		}
		rk.kind = &kind{name: opts.Name, routes: rt, strategy: opts.Strategy, marshal: marshalReport, unmarshal: unmarshalReport, timeless: true}
		rk.kind.load = one(rt, func(ctx context.Context, _ *routes, q question) loaded {
			return r.loadReport(ctx, rk, q.arg.(reportArg))
		})
		rk.kind.encode = func(noun any, _ bool) []Representation {
			var reps []Representation
			for _, d := range noun.(sdk.Report).Documents {
				reps = append(reps, NewRepresentation(d.Format, d.ContentType, d.Body))
			}
			return reps
		}
		reports[opts.Name] = rk
	}
	return reports
}

// storedDocument is a document in the cache and the store: text that a person can read there.
type storedDocument struct {
	Format      string `json:"format"`
	ContentType string `json:"content_type"`
	Body        string `json:"body"`
}

func marshalReport(noun any) ([]byte, error) {
	var out []storedDocument
	for _, d := range noun.(sdk.Report).Documents {
		out = append(out, storedDocument{d.Format, d.ContentType, string(d.Body)})
	}
	return json.Marshal(out)
}

func unmarshalReport(value []byte) (any, error) {
	var stored []storedDocument
	if err := json.Unmarshal(value, &stored); err != nil {
		return nil, err
	}
	var report sdk.Report
	for _, d := range stored {
		report.Documents = append(report.Documents, sdk.Document{Format: d.Format, ContentType: d.ContentType, Body: []byte(d.Body)})
	}
	return report, nil
}

// Report answers a report on a symbol. Symbol is a symbol or an id of the catalogue, already in lower case.
func (r *Requests) Report(ctx context.Context, name, symbol, vsCurrency string) (Answer, error) {
	rt := r.enter()
	defer rt.leave()
	rk, ok := rt.reports[name]
	if !ok {
		return Answer{}, sdk.Errorf(sdk.NotFound, "no report %q is configured", name)
	}
	q := question{key: rk.KeyPrefix + "_" + symbol + suffix(vsCurrency), arg: reportArg{symbol, vsCurrency}}
	if out, ok := r.quick(ctx, rk.kind, q); ok {
		return out.answer, out.err
	}
	if err := r.unknown(symbol); err != nil {
		return Answer{}, err
	}
	ctx, done := r.opts.Operation(ctx, name)
	out := r.getMany(ctx, rk.kind, []question{q})[0]
	done(out.err)
	return out.answer, out.err
}

// needsReserve is what is left of a report's time for the reporter once its needs have had theirs.
const needsReserve = time.Second

// need is one thing that a report is made from, as far as it could be had.
type need struct {
	name   string
	answer Answer
	err    error
}

// loadReport gathers what a report needs and has the reporter make it.
func (r *Requests) loadReport(ctx context.Context, rk *reportKind, arg reportArg) loaded {
	r.counts.loads.Add(1)
	needsCtx, cancel := withReserve(ctx, needsReserve)
	defer cancel()
	asset, err := r.resolve(needsCtx, arg.symbol)
	if err != nil {
		return loaded{err: err}
	}
	req := sdk.ReportRequest{
		Report: rk.Name, Asset: asset.Asset, VsCurrency: arg.vsCurrency, ResolvedFrom: arg.symbol, Ambiguous: asset.ambiguous,
	}
	poor := asset.poor
	if asset.poor {
		req.Warnings = append(req.Warnings, "The catalogue of assets could not be had in full: the symbol is taken as it stands.")
	}
	rt := rk.kind.routes
	needs := r.gather(needsCtx, rt, rk.Needs, arg, asset)
	var vital []error
	for _, n := range needs {
		if n.err == nil {
			poor = rt.hand(&req, n) || poor
			continue
		}
		if n.name == "quote" || n.name == "candles" {
			vital = append(vital, n.err)
		}
		// Something that nobody is configured to give does not become better by asking again soon; the report says by
		// itself that it lacks it.
		if !errors.Is(n.err, sdk.Unsupported) {
			poor = true
			req.Warnings = append(req.Warnings, fmt.Sprintf("No %s: %s.", n.name, plainly(n.err)))
		}
	}
	if req.Quote == nil && req.Candles == nil {
		return loaded{err: worstOf(vital)}
	}
	if rk.Needs.CrossCheck && req.Quote != nil {
		req.CrossCheck = r.crossCheck(needsCtx, rt, arg, asset, req.Quote.Source)
	}
	req.Now = r.opts.Now().UTC()
	report, err := askReporter(ctx, r, rk, req)
	if err != nil {
		return loaded{err: err}
	}
	stale := (req.Quote == nil || slices.Contains(req.Stale, "quote")) && (req.Candles == nil || slices.Contains(req.Stale, "candles"))
	return loaded{noun: report, poor: poor || len(req.Stale) > 0, stale: stale}
}

// withReserve shortens a context's deadline.
func withReserve(ctx context.Context, reserve time.Duration) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, deadline.Add(-reserve))
}

// gather asks for all needs at once.
func (r *Requests) gather(ctx context.Context, rt *routes, needs sdk.Needs, arg reportArg, asset resolved) []need {
	want := wanted{symbol: arg.symbol, found: &asset, vsCurrency: arg.vsCurrency}
	var out []*need
	var wait sync.WaitGroup
	fetch := func(name string, wanted bool, get func() (Answer, error)) {
		if !wanted {
			return
		}
		n := &need{name: name}
		out = append(out, n)
		wait.Go(func() { n.answer, n.err = get() })
	}
	fetch("quote", needs.Quote, func() (Answer, error) {
		return r.insist(ctx, rt.kinds.quote, quoteQuestion(quoteArg{wanted: want}))
	})
	fetch("candles", needs.DailyCandles > 0, func() (Answer, error) {
		return r.insist(ctx, rt.kinds.candles, candlesQuestion(candlesArg{want, sdk.Interval1d, needs.DailyCandles}))
	})
	fetch("global", needs.Global, func() (Answer, error) {
		return r.insist(ctx, rt.kinds.global, globalQuestion(arg.vsCurrency))
	})
	fetch("sentiment", needs.Sentiment, func() (Answer, error) { return r.insist(ctx, rt.kinds.sentiment, sentimentQuestion) })
	wait.Wait()
	done := make([]need, len(out))
	for i, n := range out {
		done[i] = *n
	}
	return done
}

// hand puts a need that was met into the request. Poor is whether another source than the first in line met it: a report
// made of it is to be made again soon.
func (rt *routes) hand(req *sdk.ReportRequest, n need) (poor bool) {
	secondBest := func(line Line, source string) bool { return len(line.Sources) > 0 && source != line.Sources[0] }
	switch noun := n.answer.Noun().(type) {
	case sdk.Quote:
		req.Quote, poor = &noun, secondBest(rt.Quotes, noun.Source)
	case sdk.Candles:
		req.Candles, poor = &noun, secondBest(rt.Candles, noun.Source)
	case sdk.Global:
		req.Global, poor = &noun, secondBest(rt.Global, noun.Source)
	case sdk.Sentiment:
		req.Sentiment, poor = &noun, secondBest(rt.Sentiment, noun.Source)
	}
	if n.answer.Stale {
		req.Stale = append(req.Stale, n.name)
	}
	return poor
}

// crossCheck asks the next source in line for the same quote. Its absence is no fault of the report.
func (r *Requests) crossCheck(ctx context.Context, rt *routes, arg reportArg, asset resolved, given string) []sdk.Quote {
	for _, source := range rt.Quotes.Sources {
		if source == given {
			continue
		}
		answer, err := r.insist(ctx, rt.kinds.quote, quoteQuestion(quoteArg{
			wanted{symbol: arg.symbol, found: &asset, vsCurrency: arg.vsCurrency}, source,
		}))
		if err == nil && !answer.Stale {
			return []sdk.Quote{answer.Noun().(sdk.Quote)}
		}
	}
	return nil
}

// askReporter has the reporter make a report, and keeps its mode.
func askReporter(ctx context.Context, r *Requests, rk *reportKind, req sdk.ReportRequest) (sdk.Report, error) {
	report, err := r.patient(ctx, rk.Island, req)
	switch {
	case err == nil && len(report.Documents) == 0:
		err = sdk.Errorf(sdk.Internal, "island %q made a report without documents", rk.Island)
	case errors.Is(err, sdk.InvalidArgument):
		// The host made the request, so a client is not to blame, nor is this to be remembered as an answer.
		err = &sdk.Error{Kind: sdk.Internal, Message: err.Error()}
	}
	if !errors.Is(err, errBusy) { // else it was not asked
		rk.mode.set(err == nil, err)
	}
	if err != nil && sdk.RetryAfter(err) == 0 {
		err = &sdk.Error{Kind: sdk.KindOf(err), Message: err.Error(), RetryAfter: reporterRetry, Err: err}
	}
	return report, err
}

// A reporter that crashed is back within a tenth of a second: a report waits for it that long and longer before it gives
// up, and is asked for again, since the same request gives the same report.
const (
	reporterPatience = time.Second
	reporterPause    = 20 * time.Millisecond
)

// patient asks a reporter, across a restart of it. An island that runs and says itself that it is unavailable is
// believed when it has said so twice.
func (r *Requests) patient(ctx context.Context, name string, req sdk.ReportRequest) (sdk.Report, error) {
	giveUp := time.Now().Add(reporterPatience)
	var before process.Island
	for {
		var report sdk.Report
		island, err := r.opts.Island(name)
		if err == nil {
			report, err = island.Report(ctx, req)
		}
		if !errors.Is(err, sdk.Unavailable) || (island != nil && island == before) || time.Now().After(giveUp) {
			return report, err
		}
		before = island
		select {
		case <-ctx.Done():
			return report, err
		case <-time.After(reporterPause):
		}
	}
}

// reporterRetry is when a client may come back after the reporter failed: it is restarted within that time.
const reporterRetry = 2 * time.Second

// worstOf is what the vital needs' failures come to: a failure before an answer, and the first of each.
func worstOf(errs []error) error {
	for _, err := range errs {
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			// The needs' share of the time ran out, not the client's patience.
			return &sdk.Error{Kind: sdk.Unavailable, Message: "the sources did not answer in time", RetryAfter: defaultRetryAfter}
		case !definite(err):
			return err
		}
	}
	if len(errs) == 0 {
		return sdk.Errorf(sdk.Internal, "the report needs neither a quote nor candles")
	}
	return errs[0]
}

// plainly says in words for a reader why something is missing.
func plainly(err error) string {
	switch {
	case errors.Is(err, sdk.Unsupported):
		return "no source offers it"
	case errors.Is(err, sdk.NotFound):
		return "no source knows it"
	default:
		var e *sdk.Error
		if errors.As(err, &e) && strings.Contains(e.Message, ": ") && e.Kind == sdk.Unavailable {
			return "the sources failed (" + e.Message + ")"
		}
		return "the sources failed"
	}
}

// Warm makes the reports of the warm lists, and the global figures, once; what fails is asked for again with growing
// pauses until the context ends.
func (r *Requests) Warm(ctx context.Context) {
	// What is loaded before the invalidation stream stands would have to be confirmed after.
	select {
	case <-r.stands:
	case <-time.After(maxReopen):
	case <-ctx.Done():
		return
	}
	for pause := time.Second; ; pause = min(2*pause, time.Minute) {
		missing := 0
		rt := r.routes.Load()
		for name, rk := range rt.reports {
			for _, symbol := range rk.Warm {
				if _, err := r.Report(ctx, name, symbol, "usd"); err != nil && !definite(err) {
					missing++
				}
			}
		}
		if len(rt.Global.Sources) > 0 {
			if _, err := r.Global(ctx, "usd"); err != nil && !definite(err) {
				missing++
			}
		}
		if missing == 0 {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
