package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
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
	served, _ := b.halves()
	market, err := b.startMarket(ctx)
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
	var halfAlone, halfBeside, tailAlone, tailBeside, rates, shares, memory []float64
	var next atomic.Int64
	for range floodRounds {
		alone, err := warmClient(ctx, host, path, floodRound)
		if err != nil {
			return nil, err
		}
		f := host.flood(ctx, paths, &next, b.opts.flood)
		time.Sleep(floodRound / 10) // Until it has come to its pace.
		beside, err := warmClient(ctx, host, path, floodRound)
		if resident, unknown := residentMemory(host.handle.Pid); unknown == nil {
			memory = append(memory, float64(resident)/1e6)
		}
		asked, shed, took := f.end()
		if err = errors.Join(err, f.err()); err != nil {
			return nil, fmt.Errorf("%w; the host said: %s", err, host.said())
		}
		halfAlone, tailAlone = append(halfAlone, quantile(alone, 0.5)), append(tailAlone, quantile(alone, 0.99))
		halfBeside, tailBeside = append(halfBeside, quantile(beside, 0.5)), append(tailBeside, quantile(beside, 0.99))
		rates = append(rates, float64(asked)/took.Seconds())
		shares = append(shares, 100*float64(shed)/float64(max(1, asked)))
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
	title := fmt.Sprintf("A warm client beside %d cold requests per second of distinct keys; the ceiling is the client alone", b.opts.flood)
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
	runtime.LockOSThread() // It is not to wait for the goroutines of the flood.
	defer runtime.UnlockOSThread()
	c, err := connect(ctx, h.address, time.Now().Add(lasting+patience))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	line := request(h.address, path)
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

// flood asks for something else each time, at a pace, until it ends.
type flood struct {
	began       time.Time
	stop        context.CancelFunc
	asking      sync.WaitGroup
	asked, shed atomic.Int64
	failed      atomic.Pointer[error]
}

// flood begins to ask, so many times a second as long as the host answers in time.
func (h *host) flood(ctx context.Context, paths []string, next *atomic.Int64, pace int) *flood {
	ctx, stop := context.WithCancel(ctx)
	f := &flood{began: time.Now(), stop: stop}
	every := time.Duration(floodConnections) * time.Second / time.Duration(pace)
	for i := range floodConnections {
		f.asking.Go(func() {
			if err := f.ask(ctx, h, paths, next, time.Duration(i)*every/floodConnections, every); err != nil && ctx.Err() == nil {
				f.failed.CompareAndSwap(nil, &err)
			}
		})
	}
	return f
}

// ask asks on one connection.
func (f *flood) ask(ctx context.Context, h *host, paths []string, next *atomic.Int64, first, every time.Duration) (err error) {
	c, err := connect(ctx, h.address, time.Now().Add(2*patience))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for due := time.Now().Add(first); ctx.Err() == nil; due = due.Add(every) {
		if late := time.Since(due); late < 0 {
			time.Sleep(-late)
		} else if late > time.Second {
			due = time.Now() // It does not make up for what the host could not take.
		}
		a, err := c.do(request(h.address, paths[int(next.Add(1))%len(paths)]))
		if err != nil {
			return err
		}
		f.asked.Add(1)
		if a.status == http.StatusServiceUnavailable {
			f.shed.Add(1)
		}
	}
	return nil
}

// end ends a flood, and returns how much was asked and turned away, and how long it lasted.
func (f *flood) end() (asked, shed int64, took time.Duration) {
	asked, shed, took = f.asked.Load(), f.shed.Load(), time.Since(f.began)
	f.stop()
	f.asking.Wait()
	return asked, shed, took
}

// err is why a connection of the flood ended too early, nil when none did.
func (f *flood) err() error {
	if err := f.failed.Load(); err != nil {
		return *err
	}
	return nil
}
