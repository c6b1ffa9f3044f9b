package reference

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
)

// table is a store in memory.
type table struct {
	life
	mu      sync.Mutex
	quotes  map[string]sdk.Quote
	candles map[string]stored
	entries map[string]sdk.Entry
}

type stored struct {
	series sdk.Candles
	candle sdk.Candle
}

func newTable(flaw string) *table {
	return &table{life: life{flaw: flaw}, quotes: map[string]sdk.Quote{}, candles: map[string]stored{}, entries: map[string]sdk.Entry{}}
}

func key(parts ...any) string { return fmt.Sprintln(parts...) }

// SaveQuotes implements sdk.Store.
func (s *table) SaveQuotes(ctx context.Context, quotes []sdk.Quote) error {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	lacks := func(q sdk.Quote) bool {
		return q.ID+q.Symbol == "" || q.VsCurrency == "" || q.Source == "" || q.AsOf.IsZero()
	}
	if err := s.refuse(slices.ContainsFunc(quotes, lacks)); err != nil && !s.is("half a batch") {
		return err
	}
	for _, q := range quotes {
		if err := s.refuse(lacks(q)); err != nil {
			return err
		}
		q.AsOf = q.AsOf.UTC()
		k := key(q.ID, q.Symbol, q.VsCurrency, q.Source, q.AsOf.UnixNano())
		if s.is("appends") {
			k += strconv.Itoa(len(s.quotes))
		}
		if s.is("forgets figures") {
			q.Rank = 0
		}
		s.quotes[k] = q
	}
	return nil
}

// refuse refuses what lacks something.
func (s *table) refuse(lacking bool) error {
	if lacking && !s.is("takes anything") {
		return sdk.Errorf(sdk.InvalidArgument, "something is missing")
	}
	return nil
}

// History implements sdk.Store.
func (s *table) History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error) {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return sdk.HistoryPage{}, err
	}
	skip := 0
	if req.Cursor != "" {
		if skip, err = strconv.Atoi(strings.TrimPrefix(req.Cursor, "at ")); (err != nil || req.Cursor[0] != 'a') && !s.is("any cursor") {
			return sdk.HistoryPage{}, sdk.Errorf(sdk.InvalidArgument, "no cursor %q", req.Cursor)
		}
	}
	if err := s.refuse(req.Symbol == "" || req.VsCurrency == ""); err != nil {
		return sdk.HistoryPage{}, err
	}
	if req.Limit < 1 || req.Limit > 1000 {
		return sdk.HistoryPage{}, sdk.Errorf(sdk.InvalidArgument, "a limit of %d", req.Limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var page sdk.HistoryPage
	for _, q := range s.quotes {
		last := (req.To.IsZero() && !s.is("no end")) || q.AsOf.Before(req.To) || (s.is("inclusive") && q.AsOf.Equal(req.To))
		if q.Symbol == req.Symbol && q.VsCurrency == req.VsCurrency && !q.AsOf.Before(req.From) && last {
			page.Quotes = append(page.Quotes, q)
		}
	}
	if len(page.Quotes) == 0 && s.is("insists") {
		return page, sdk.Errorf(sdk.NotFound, "no quotes")
	}
	slices.SortFunc(page.Quotes, func(a, b sdk.Quote) int {
		return cmp.Or(a.AsOf.Compare(b.AsOf), cmp.Compare(a.Source+a.ID, b.Source+b.ID))
	})
	page.Quotes = page.Quotes[min(skip, len(page.Quotes)):]
	if len(page.Quotes) > req.Limit {
		next := skip + req.Limit
		if s.is("loses some") {
			next++
		}
		page.Quotes, page.Next = page.Quotes[:req.Limit], fmt.Sprint("at ", next)
	}
	return page, nil
}

// SaveCandles implements sdk.Store.
func (s *table) SaveCandles(ctx context.Context, series []sdk.Candles) error {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if slices.ContainsFunc(series, func(run sdk.Candles) bool { return len(run.Items) > 5000 }) && s.is("small") {
		return sdk.Errorf(sdk.ResourceExhausted, "too many")
	}
	if err := s.refuse(slices.ContainsFunc(series, func(run sdk.Candles) bool {
		return run.ID+run.Symbol == "" || run.VsCurrency == "" || run.Source == "" || !run.Interval.Valid() ||
			slices.ContainsFunc(run.Items, func(c sdk.Candle) bool { return c.OpenTime.IsZero() })
	})); err != nil {
		return err
	}
	for _, run := range series {
		for _, c := range run.Items {
			k := key(run.ID, run.Symbol, run.VsCurrency, run.Source, run.Interval, c.OpenTime.UnixNano())
			old, known := s.candles[k]
			late := old.candle.Closed == c.Closed && run.AsOf.Before(old.series.AsOf)
			if known && (late || (old.candle.Closed && !c.Closed)) && !s.is("last wins") {
				continue
			}
			if s.is("forgets figures") {
				c.Volume = sdk.Number{}
			}
			s.candles[k] = stored{run, c}
		}
	}
	return nil
}

// StoredCandles implements sdk.Store.
func (s *table) StoredCandles(ctx context.Context, req sdk.CandlesRequest) (sdk.Candles, error) {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return sdk.Candles{}, err
	}
	if err := s.refuse(req.Asset.ID+req.Asset.Symbol == "" || req.VsCurrency == "" || !req.Interval.Valid()); err != nil {
		return sdk.Candles{}, err
	}
	if req.Limit < 1 || req.Limit > 1000 {
		return sdk.Candles{}, sdk.Errorf(sdk.InvalidArgument, "a limit of %d", req.Limit)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []stored
	for _, c := range s.candles {
		r := c.series
		if r.Symbol == req.Asset.Symbol && (s.is("namesakes") || (r.ID == req.Asset.ID && r.VsCurrency == req.VsCurrency && r.Interval == req.Interval)) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		if s.is("none is fine") {
			return sdk.Candles{}, nil
		}
		return sdk.Candles{}, sdk.Errorf(sdk.NotFound, "no candles")
	}
	slices.SortFunc(all, func(a, b stored) int {
		return cmp.Or(a.candle.OpenTime.Compare(b.candle.OpenTime), cmp.Compare(a.series.Source, b.series.Source))
	})
	out := all[len(all)-1].series
	out.Items = nil
	for _, c := range all {
		if c.series.Source == out.Source || (s.is("mixes") && len(out.Items) < 4) {
			out.Items = append(out.Items, c.candle)
		}
	}
	if s.is("oldest") {
		out.Items = out.Items[:min(req.Limit, len(out.Items))]
	}
	out.Items = out.Items[max(0, len(out.Items)-req.Limit):]
	return out, nil
}

// Remember implements sdk.Store.
func (s *table) Remember(ctx context.Context, entries []sdk.Entry) error {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refuse(slices.ContainsFunc(entries, func(e sdk.Entry) bool { return e.Key == "" })); err != nil {
		return err
	}
	for _, e := range entries {
		if s.is("forgets figures") {
			e.FreshUntil = time.Time{}
		}
		if len(s.entries) >= 1000 && s.is("small") {
			break
		}
		if old, ok := s.entries[e.Key]; !ok || !e.StoredAt.Before(old.StoredAt) || s.is("last wins") {
			s.entries[e.Key] = e
		}
	}
	return nil
}

// Recall implements sdk.Store.
func (s *table) Recall(ctx context.Context, keys []string) ([]sdk.Entry, error) {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []sdk.Entry
	for _, k := range keys {
		repeated := slices.ContainsFunc(out, func(o sdk.Entry) bool { return o.Key == k })
		if e, ok := s.entries[k]; ok && !repeated && (time.Now().Before(e.StaleUntil) || s.is("for ever")) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Forget implements sdk.Store.
func (s *table) Forget(ctx context.Context, patterns []string) (int, error) {
	end, err := s.begin(ctx)
	defer end()
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	if s.is("an SQL's glob") {
		patterns = append(slices.Clone(patterns), strings.NewReplacer("_", "?", "%", "*").Replace(strings.Join(patterns, "")))
	}
	for k := range s.entries {
		if slices.ContainsFunc(patterns, func(p string) bool { return p == k || (matches([]rune(p), []rune(k)) && !s.is("no globs")) }) {
			delete(s.entries, k)
			n++
		}
	}
	return n, nil
}
