package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// coldSymbols are assets that both simulated sources know, under symbols that are theirs alone. The warm ones are not
// among them.
var coldSymbols = []string{
	"sol", "trx", "doge", "bch", "zec", "xlm", "sui", "avax", "hbar", "shib", "ton", "tao", "aave", "near", "pepe", "etc",
	"icp", "apt", "ondo", "pol", "atom", "arb", "algo", "fil",
}

// Symbols that other sections keep for themselves.
const (
	crashSymbol = "vet"
	afterSymbol = "eos"
	aloneSymbol = "link"
	crowdSymbol = "bnb"
)

// cold measures reports that nobody has asked for before, one at a time, and where their time goes.
func (b *bench) cold(ctx context.Context) (_ []table, err error) {
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
	if _, err := host.calm(ctx); err != nil {
		return nil, err
	}
	c, err := connect(ctx, host.address, time.Now().Add(patience))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var took []float64
	for _, symbol := range coldSymbols[:b.opts.cold] {
		lasted, err := coldReport(c, host.address, symbol)
		if err != nil {
			return nil, fmt.Errorf("%w; the host said: %s", err, host.said())
		}
		took = append(took, milliseconds(lasted))
	}
	operations, err := host.operations(ctx)
	if err != nil {
		return nil, err
	}
	tail := quantile(took, 0.99)
	rows := []row{{Name: "as the client sees it", Unit: "ms", Value: spreadOf(took), P99: &tail}}
	title := fmt.Sprintf("A cold report: %d symbols, one after the other, and the hops of all reports of this host", b.opts.cold)
	return []table{{Title: title, Rows: append(rows, hops(operations)...)}}, nil
}

// coldReport asks for a report once and makes sure that nobody had it.
func coldReport(c *client, address, symbol string) (time.Duration, error) {
	path := "/api/crypto-report/" + symbol
	began := time.Now()
	a, err := c.do(request(address, path))
	took := time.Since(began)
	switch {
	case err != nil:
		return 0, fmt.Errorf("%s: %w", path, err)
	case a.status != http.StatusOK:
		return 0, fmt.Errorf("%s: status %d: %.300s", path, a.status, a.body)
	case a.header("X-Cache") != "miss":
		return 0, fmt.Errorf("%s: X-Cache is %q: it was not cold", path, a.header("X-Cache"))
	}
	return took, nil
}

// hops shows the operations of a host: its own first, then the islands', each with its percentiles.
func hops(operations []operation) []row {
	timed := slices.DeleteFunc(slices.Clone(operations), func(o operation) bool {
		return o.polled() || o.P50 == nil || o.P99 == nil
	})
	foreign := func(o operation) int {
		if o.Island == own {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(timed, func(a, b operation) int {
		return cmp.Or(foreign(a)-foreign(b), cmp.Compare(a.Island, b.Island), cmp.Compare(a.Operation, b.Operation))
	})
	var rows []row
	for _, o := range timed {
		name := fmt.Sprintf("%s, %s × %d", o.Island, o.Operation, o.Count)
		if o.Errors > 0 {
			name += fmt.Sprintf(", %d failed", o.Errors)
		}
		rows = append(rows, row{
			Name: name, Unit: "ms", Value: spread{Median: *o.P50, Min: *o.P50, Max: *o.P50, Count: int(o.Count)}, P99: o.P99,
		})
	}
	return rows
}
