package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"
)

// Aims of a start and of a crash, in milliseconds.
const (
	aimReady  = 400
	aimAnswer = 250
)

// reporter is the island that is killed.
const reporter = "report-generator"

// crash is how long it took for things to be well again after an island was killed.
type crash struct {
	ready    time.Duration // from the start of the host, before
	running  time.Duration // until the host says that another process of the island runs
	answer   time.Duration // until a report was answered that was asked for first when it did
	stubborn time.Duration // until a report was answered that was asked for all along
	refused  int           // answers to the latter before that
}

// starts measures how soon hosts are ready and islands are back. Each crash gets a host of its own: an island that crashes
// again soon is made to wait longer.
func (b *bench) starts(ctx context.Context) (_ []table, err error) {
	market, err := b.startMarket(ctx, b.cpus)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, market.end(grace)) }()
	var ready, running, answered, stubborn, refused []float64
	for range b.opts.starts {
		c, err := b.crash(ctx, market)
		if err != nil {
			return nil, err
		}
		ready = append(ready, milliseconds(c.ready))
		running = append(running, milliseconds(c.running))
		answered = append(answered, milliseconds(c.answer))
		stubborn = append(stubborn, milliseconds(c.stubborn))
		refused = append(refused, float64(c.refused))
	}
	soon := func(r row, most float64) row { return r.aim(fmt.Sprintf("≤ %.0f ms", most), r.Value.Median <= most) }
	return []table{{
		Title: fmt.Sprintf("%d starts and crashes, each on an empty data directory", b.opts.starts),
		Rows: []row{
			soon(row{Name: "exec to ready", Unit: "ms", Value: spreadOf(ready)}, aimReady),
			{Name: "kill -9 of " + reporter + " to running again", Unit: "ms", Value: spreadOf(running)},
			soon(row{Name: "kill -9 of it to a new report, asked for then", Unit: "ms", Value: spreadOf(answered)}, aimAnswer),
			soon(row{Name: "kill -9 of it to a new report, asked for all along", Unit: "ms", Value: spreadOf(stubborn)}, aimAnswer),
			{Name: "answers that refused the latter", Value: spreadOf(refused)},
		},
	}}, nil
}

// crash starts a host, kills its reporter and watches it come back.
func (b *bench) crash(ctx context.Context, m *market) (_ crash, err error) {
	host, err := b.startHost(ctx, m, b.cpus)
	if err != nil {
		return crash{}, err
	}
	defer func() { err = errors.Join(err, host.end(grace)) }()
	// What the report needs is remembered first, so that nothing but the reporter is missing afterwards.
	for _, path := range []string{
		"/api/crypto-report/btc",
		"/api/technical-analysis/" + crashSymbol, "/api/market-data/" + crashSymbol,
		"/api/technical-analysis/" + afterSymbol, "/api/market-data/" + afterSymbol,
	} {
		if err := host.awaitWarm(ctx, path); err != nil {
			return crash{}, err
		}
	}
	if _, err := host.calm(ctx); err != nil {
		return crash{}, err
	}
	victim, err := host.island(ctx, reporter)
	if err != nil {
		return crash{}, err
	}
	out, err := host.afterKill(ctx, victim)
	out.ready = host.took
	return out, err
}

// afterKill kills an island and waits until it is back.
func (h *host) afterKill(ctx context.Context, victim island) (out crash, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	process, err := os.FindProcess(victim.PID)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, process.Release()) }()
	began := time.Now()
	if err := process.Kill(); err != nil {
		return out, fmt.Errorf("kill %s: %w", victim.Name, err)
	}
	type sight struct {
		running, answer time.Duration
		err             error
	}
	watched := make(chan sight, 1)
	go func() {
		var s sight
		if s.running, s.err = h.awaitRestart(ctx, victim.Name, began); s.err == nil {
			s.answer, _, s.err = h.awaitReport(ctx, afterSymbol, began)
		}
		watched <- s
	}()
	stubborn, refused, err := h.awaitReport(ctx, crashSymbol, began)
	seen := <-watched
	return crash{running: seen.running, answer: seen.answer, stubborn: stubborn, refused: refused}, errors.Join(err, seen.err)
}

// awaitRestart waits until an island has been started again.
func (h *host) awaitRestart(ctx context.Context, name string, began time.Time) (time.Duration, error) {
	for {
		var health struct {
			State    string `json:"state"`
			Restarts int    `json:"restarts"`
		}
		// While it does not run, its health is failed and the status 503; that is no answer to wait for.
		err := h.control(ctx, http.MethodGet, "/health/islands/"+name, "", &health)
		if err == nil && health.Restarts > 0 && health.State == "running" {
			return time.Since(began), nil
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%s did not come back: %w; the host said: %s", name, errors.Join(err, ctx.Err()), h.said())
		case <-time.After(pollEvery):
		}
	}
}

// awaitReport asks for a report that nobody has until it is answered.
func (h *host) awaitReport(ctx context.Context, symbol string, began time.Time) (_ time.Duration, refused int, err error) {
	c, err := connect(ctx, h.address, time.Now().Add(patience))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for {
		_, err := coldReport(c, h.address, symbol)
		if err == nil {
			return time.Since(began), refused, nil
		}
		refused++
		select {
		case <-ctx.Done():
			return 0, refused, fmt.Errorf("no report after the crash: %w", errors.Join(err, ctx.Err()))
		case <-time.After(pollEvery):
		}
	}
}
