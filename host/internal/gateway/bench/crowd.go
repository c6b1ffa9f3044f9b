package main

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// crowd measures many who ask for one cold report at once, beside one who asks for another alone.
func (b *bench) crowd(ctx context.Context) (_ []table, err error) {
	market, err := b.startMarket(ctx, b.cpus)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, market.end(grace)) }()
	host, err := b.startHost(ctx, market, b.cpus)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.end(grace)) }()
	if err := host.awaitWarm(ctx, "/api/crypto-report/btc"); err != nil {
		return nil, err
	}
	alone, err := b.rush(ctx, market, host, aloneSymbol, 1)
	if err != nil {
		return nil, err
	}
	all, err := b.rush(ctx, market, host, crowdSymbol, b.opts.crowd)
	if err != nil {
		return nil, err
	}
	one := spreadOf(alone.took)
	last := quantile(all.took, 1)
	rows := []row{
		row{Name: "until the first is answered", Unit: "ms", Value: spreadOf([]float64{quantile(all.took, 0)})}.
			against(one, []float64{quantile(all.took, 0) / one.Median}),
		row{Name: "until all are", Unit: "ms", Value: spreadOf([]float64{last})}.against(one, []float64{last / one.Median}),
		single("different bodies", "", float64(all.bodies)).aim("1", all.bodies == 1),
	}
	for _, route := range slices.Sorted(maps.Keys(all.calls)) {
		calls := all.calls[route]
		rows = append(rows, row{Name: "upstream, " + route, Value: spreadOf([]float64{float64(calls)})}.
			against(spreadOf([]float64{float64(alone.calls[route])}), nil).aim("1", calls == 1))
	}
	title := fmt.Sprintf("%d at once for one cold report; the ceiling is one alone for another", b.opts.crowd)
	return []table{{Title: title, Rows: rows}}, nil
}

// rush is what came out of asking at once.
type rush struct {
	took   []float64 // ms, by client
	bodies int       // that differ
	calls  map[string]int
}

// rush has a number of clients ask for one report at once.
func (b *bench) rush(ctx context.Context, m *market, h *host, symbol string, crowd int) (_ rush, err error) {
	if _, err := h.calm(ctx); err != nil {
		return rush{}, err
	}
	var clients []*client
	defer func() {
		for _, c := range clients {
			err = errors.Join(err, c.close())
		}
	}()
	for range crowd {
		c, err := connect(ctx, h.address, time.Now().Add(patience))
		if err != nil {
			return rush{}, err
		}
		clients = append(clients, c)
	}
	if err := m.forget(ctx); err != nil {
		return rush{}, err
	}
	out := rush{took: make([]float64, crowd)}
	sums := make([]uint64, crowd)
	failures := make([]error, crowd)
	seed := maphash.MakeSeed()
	line := request(h.address, "/api/crypto-report/"+symbol)
	start := make(chan struct{})
	var waiting, asking sync.WaitGroup
	waiting.Add(crowd)
	var began time.Time
	for i, c := range clients {
		asking.Go(func() {
			waiting.Done()
			<-start
			a, err := c.do(line)
			out.took[i] = milliseconds(time.Since(began))
			if err == nil && a.status != http.StatusOK {
				err = fmt.Errorf("status %d: %.200s", a.status, a.body)
			}
			failures[i], sums[i] = err, maphash.Bytes(seed, a.body)
		})
	}
	waiting.Wait()
	began = time.Now()
	close(start)
	asking.Wait()
	failed := slices.DeleteFunc(failures, func(err error) bool { return err == nil })
	if len(failed) > 0 {
		return rush{}, fmt.Errorf("%d of %d were not answered, one of them: %w", len(failed), crowd, failed[0])
	}
	slices.Sort(sums)
	out.bodies = len(slices.Compact(sums))
	out.calls, err = m.calls(ctx)
	maps.DeleteFunc(out.calls, func(route string, _ int) bool { return strings.Contains(route, "_sim") })
	return out, err
}
