package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// floodArgument makes the program the flood. It is for the program itself.
const floodArgument = "flood"

// floodNiceness is how much nicer the flood is than the clients that are measured beside it.
const floodNiceness = 10

// floodPlan is what a flood is to be.
type floodPlan struct {
	Address string
	// Paths are asked for in turn.
	Paths       []string
	Connections int
	// Pace in requests per second, as long as the host answers in time.
	Pace int
}

// floodReport is what came of a flood.
type floodReport struct {
	Asked, Shed int64
	Took        time.Duration
	// Failed is why a connection ended too early, empty when none did.
	Failed string
}

// startFlood starts the program that floods a host whenever it is told true, until it is told false.
func (b *bench) startFlood(plan floodPlan, cpus processors) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	input, err := json.Marshal(plan)
	if err != nil {
		return nil, err
	}
	return program{
		path: self, args: []string{floodArgument}, env: environment(), cpus: cpus, niceness: floodNiceness, log: b.place(".log"),
		input: append(input, '\n'), reports: true,
	}.start()
}

// serveFlood is the flood. Its first input is the plan, then orders: true to begin, false to end. It reports on each.
func serveFlood(ctx context.Context, in io.Reader, out io.Writer) error {
	ctx, orders := takeOrders[json.RawMessage](ctx, in)
	var plan floodPlan
	var next atomic.Int64
	var f *flood
	defer func() {
		if f != nil {
			f.end()
		}
	}()
	for planned := false; ; {
		var order json.RawMessage
		select {
		case order = <-orders:
		case <-ctx.Done():
			return ended(ctx)
		}
		if !planned {
			if err := json.Unmarshal(order, &plan); err != nil {
				return fmt.Errorf("read the plan: %w", err)
			}
			planned = true
			continue
		}
		var report floodReport
		switch begin := string(order) == "true"; {
		case begin && f == nil:
			f = startFlooding(ctx, plan, &next)
		case !begin && f != nil:
			report, f = f.end(), nil
		}
		if err := json.NewEncoder(out).Encode(report); err != nil {
			return err
		}
	}
}

// flood asks for something else each time, at a pace, until it ends.
type flood struct {
	plan        floodPlan
	next        *atomic.Int64 // of the paths
	began       time.Time
	stop        context.CancelFunc
	asking      sync.WaitGroup
	asked, shed atomic.Int64
	failed      atomic.Pointer[error]
}

// startFlooding begins to ask.
func startFlooding(ctx context.Context, plan floodPlan, next *atomic.Int64) *flood {
	ctx, stop := context.WithCancel(ctx)
	f := &flood{plan: plan, next: next, began: time.Now(), stop: stop}
	every := time.Duration(plan.Connections) * time.Second / time.Duration(plan.Pace)
	for i := range plan.Connections {
		f.asking.Go(func() {
			if err := f.ask(ctx, time.Duration(i)*every/time.Duration(plan.Connections), every); err != nil && ctx.Err() == nil {
				f.failed.CompareAndSwap(nil, &err)
			}
		})
	}
	return f
}

// ask asks on one connection.
func (f *flood) ask(ctx context.Context, first, every time.Duration) error {
	c, err := connect(ctx, f.plan.Address, time.Now().Add(2*patience))
	if err != nil {
		return err
	}
	defer func() { _ = c.close() }() // Nothing is lost with it.
	for due := time.Now().Add(first); ctx.Err() == nil; due = due.Add(every) {
		if late := time.Since(due); late < 0 {
			time.Sleep(-late)
		} else if late > time.Second {
			due = time.Now() // It does not make up for what the host could not take.
		}
		a, err := c.do(request(f.plan.Address, f.plan.Paths[int(f.next.Add(1))%len(f.plan.Paths)]))
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

// end ends a flood once its last answers are there.
func (f *flood) end() floodReport {
	report := floodReport{Asked: f.asked.Load(), Shed: f.shed.Load(), Took: time.Since(f.began)}
	f.stop()
	f.asking.Wait()
	if err := f.failed.Load(); err != nil {
		report.Failed = (*err).Error()
	}
	return report
}
