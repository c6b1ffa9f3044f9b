package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"time"
)

// Aims of an overload: what it may do to a warm client, and to the host's memory.
const (
	floodRatio  = 2.0
	floodMemory = 256.0 // MB
)

// Shape of an overload.
const (
	// floodRounds is how often the warm client is measured without and with the flood, floodRound for how long each.
	floodRounds, floodRound = 3, 3 * time.Second
	// floodConnections is how many connections the flood has, warmPause how long the warm client rests between requests.
	floodConnections, warmPause = 2048, time.Millisecond
)

// overload measures a warm client while the host is flooded with cold requests of distinct keys, beside the same client
// without the flood.
func (b *bench) overload(ctx context.Context) (_ []table, err error) {
	served, loading := b.halves()
	market, err := b.startMarket(ctx, loading)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, market.end(grace)) }()
	host, err := b.startHost(ctx, market, served)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, host.end(grace)) }()
	path := "/api/crypto-report/" + b.opts.symbol
	if err := host.awaitWarm(ctx, path); err != nil {
		return nil, err
	}
	if _, err := host.calm(ctx); err != nil {
		return nil, err
	}
	paths, err := host.coldPaths(ctx)
	if err != nil {
		return nil, err
	}
	if err := market.forget(ctx); err != nil {
		return nil, err
	}
	// The clients have a processor of their own, so that the figures are the host's. The flood is a program of its own, and nicer, so
	// that the warm client waits for the host and not for the flood's goroutines.
	if err := loading.bindProgram(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, b.cpus.bindProgram()) }()
	flood, err := b.startFlood(floodPlan{Address: host.address, Paths: paths, Connections: floodConnections, Pace: b.opts.flood}, loading)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, flood.end(grace)) }()
	var halfAlone, halfBeside, tailAlone, tailBeside, rates, shares, memory []float64
	for range floodRounds {
		alone, err := warmClient(ctx, host, path, floodRound)
		if err != nil {
			return nil, err
		}
		if err := flood.ask(ctx, true, new(floodReport), patience); err != nil {
			return nil, err
		}
		time.Sleep(floodRound / 10) // Until it has come to its pace.
		beside, err := warmClient(ctx, host, path, floodRound)
		if resident, unknown := residentMemory(host.handle.Pid); unknown == nil {
			memory = append(memory, float64(resident)/1e6)
		}
		var report floodReport
		err = errors.Join(err, flood.ask(ctx, false, &report, 2*patience))
		if report.Failed != "" {
			err = errors.Join(err, fmt.Errorf("a connection of the flood ended: %s", report.Failed))
		}
		if err != nil {
			return nil, fmt.Errorf("%w; the host said: %s", err, host.said())
		}
		halfAlone, tailAlone = append(halfAlone, quantile(alone, 0.5)), append(tailAlone, quantile(alone, 0.99))
		halfBeside, tailBeside = append(halfBeside, quantile(beside, 0.5)), append(tailBeside, quantile(beside, 0.99))
		rates = append(rates, float64(report.Asked)/report.Took.Seconds())
		shares = append(shares, 100*float64(report.Shed)/float64(max(1, report.Asked)))
	}
	calls, err := market.calls(ctx)
	if err != nil {
		return nil, err
	}
	upstream := 0
	for route, n := range calls {
		if !strings.Contains(route, "_sim") {
			upstream += n
		}
	}
	half, tail := ratios(halfBeside, halfAlone), ratios(tailBeside, tailAlone)
	rows := []row{
		row{Name: "warm, p50", Unit: "ms", Value: spreadOf(halfBeside)}.against(spreadOf(halfAlone), half).
			aim(fmt.Sprintf("≤ %.0f×", floodRatio), quantile(half, 0.5) <= floodRatio),
		row{Name: "warm, p99", Unit: "ms", Value: spreadOf(tailBeside)}.against(spreadOf(tailAlone), tail).
			aim(fmt.Sprintf("≤ %.0f×", floodRatio), quantile(tail, 0.5) <= floodRatio),
		{Name: "cold requests, per second", Value: spreadOf(rates)},
		{Name: "turned away", Unit: "%", Value: spreadOf(shares)},
		single("upstream calls, of all rounds", "", float64(upstream)),
	}
	if len(memory) > 0 {
		rows = append(rows, row{Name: "memory of the host", Unit: "MB", Value: spreadOf(memory)}.
			aim(fmt.Sprintf("≤ %.0f", floodMemory), quantile(memory, 1) <= floodMemory))
	}
	title := fmt.Sprintf("A warm client beside %d cold requests per second of distinct keys; the ceiling is the client alone, which goes first on its processor where it may (as root)", b.opts.flood)
	return []table{{Title: title, Rows: rows}}, nil
}

// coldPaths lists questions that have a key each.
func (h *host) coldPaths(ctx context.Context) ([]string, error) {
	c, err := connect(ctx, h.address, time.Now().Add(patience))
	if err != nil {
		return nil, err
	}
	defer func() { _ = c.close() }() // Nothing is lost with it.
	a, err := c.do(request(h.address, "/api/symbols"))
	if err != nil {
		return nil, err
	}
	var known struct {
		Symbols []struct {
			Symbol string `json:"symbol"`
		} `json:"symbols"`
	}
	if err := json.Unmarshal(a.body, &known); err != nil || len(known.Symbols) == 0 {
		return nil, fmt.Errorf("/api/symbols: status %d: %.200s", a.status, a.body)
	}
	var out []string
	for _, currency := range strings.Fields("usd eur gbp jpy chf cad aud pln sek nok dkk czk huf try brl mxn inr krw cny twd") {
		for _, interval := range strings.Fields("1m 5m 15m 30m 1h 4h 12h 1d 1w") {
			for _, s := range known.Symbols {
				out = append(out, "/api/candles/"+s.Symbol+"?vs_currency="+currency+"&interval="+interval)
			}
		}
		for _, s := range known.Symbols {
			out = append(out, "/api/crypto-report/"+s.Symbol+"?vs_currency="+currency, "/api/market-data/"+s.Symbol+"?vs_currency="+currency)
		}
	}
	return out, nil
}

// warmClient asks for one path for a while, one request after the other, and returns how long each took in milliseconds.
func warmClient(ctx context.Context, h *host, path string, lasting time.Duration) (took []float64, err error) {
	c, err := connect(ctx, h.address, time.Now().Add(lasting+patience))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	line := request(h.address, path)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	calm, err := c.prompt(lasting + patience)
	if err != nil {
		return nil, err
	}
	defer calm()
	for until := time.Now().Add(lasting); time.Now().Before(until) && ctx.Err() == nil; time.Sleep(warmPause) {
		began := time.Now()
		a, err := c.do(line)
		if err != nil || a.status != http.StatusOK {
			return nil, fmt.Errorf("%s: status %d: %w", path, a.status, err)
		}
		took = append(took, milliseconds(time.Since(began)))
	}
	return took, ctx.Err()
}
