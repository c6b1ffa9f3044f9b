package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// order is what a station is asked for.
type order struct {
	// Rate is how many updates per second to publish, 0 for as many as go.
	Rate int `json:"rate"`
	// Lasts is for how long, in nanoseconds. One more update ends the turn. Nothing is published when it is 0.
	Lasts time.Duration `json:"lasts"`
	// Settle is whether to give all memory back that is not in use.
	Settle bool `json:"settle"`
}

// report is what a station says first, and after each order.
type report struct {
	// Address where it listens.
	Address string `json:"address"`
	// Next is the number of the update that comes next.
	Next uint64 `json:"next"`
	// Goroutines that there are.
	Goroutines int `json:"goroutines"`
}

// publisher is the source of updates inside a station.
type publisher struct {
	clock clock
	// publish hands an update with this stamp to the server.
	publish func(stamp []byte) error
	next    uint64
}

// drive makes a server that listens at the address a station: it takes orders, publishes as they say and reports, until the
// context ends or the input does. Publish is called by one goroutine and is handed the stamp that the update has to
// carry, which it may keep.
func drive(ctx context.Context, in io.Reader, out io.Writer, address string, publish func(stamp []byte) error) error {
	clock, err := newClock()
	if err != nil {
		return err
	}
	p := &publisher{clock: clock, publish: publish}
	reports := json.NewEncoder(out)
	ctx, orders := takeOrders[order](ctx, in)
	for {
		if err := reports.Encode(report{Address: address, Next: p.next, Goroutines: runtime.NumGoroutine()}); err != nil {
			return fmt.Errorf("report: %w", err)
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case o := <-orders:
			if err := p.obey(ctx, o); err != nil {
				return err
			}
		}
	}
}

// obey carries an order out.
func (p *publisher) obey(ctx context.Context, o order) error {
	if o.Lasts > 0 {
		if err := p.turn(ctx, o.Rate, o.Lasts); err != nil {
			return err
		}
	}
	if o.Settle {
		const pools = 2 // What lies in a sync.Pool outlives one collection.
		for range pools {
			debug.FreeOSMemory()
		}
	}
	return nil
}

// turn publishes for a time. An update that is due while the one before is still being published is left out, as a source
// of prices leaves it out, so that no delivery is late for a reason that lies here.
func (p *publisher) turn(ctx context.Context, rate int, lasts time.Duration) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if rate > 0 {
			interval := time.Second / time.Duration(rate)
			timer.Reset(interval - time.Since(began)%interval)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
		}
		last := time.Since(began) >= lasts || ctx.Err() != nil
		if err := p.update(last); err != nil || last {
			return err
		}
	}
}

// update publishes one.
func (p *publisher) update(last bool) error {
	s := stamp{published: p.clock.now(), number: p.next, last: last}
	p.next++
	if err := p.publish(s.append(make([]byte, 0, stampLength))); err != nil {
		return fmt.Errorf("publish update %d: %w", s.number, err)
	}
	return nil
}

// updateSize is how long an update is, in bytes.
const updateSize = 1024

// updateOf returns an update with a stamp, for servers that send what they are given.
func updateOf(stamp []byte) []byte {
	const head, between, tail = `{"type":"market_update","data":{"btc":{"id":"`, `","note":"`, `"}}}`
	update := append(make([]byte, 0, updateSize), head...)
	update = append(append(update, stamp...), between...)
	update = append(update, strings.Repeat("x", updateSize-len(update)-len(tail))...)
	return append(update, tail...)
}
