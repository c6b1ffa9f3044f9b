package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// maxGrowth is how much memory an island may take for what the checks of load ask of it, in bytes.
const maxGrowth = 64 << 20

func loadChecks() []Check {
	return []Check{
		{
			Name: "load/memory", calls: true, run: loadMemory, meant: isBinary, needs: readsMemory,
			Rule: "memory is bounded: calls do not leave anything behind",
		},
		{
			Name: "load/stream", Role: sdk.RoleStream, run: loadStream, meant: isBinary, needs: readsMemory,
			Rule: "Emit may block while the host is busy; a source keeps the latest quote per asset meanwhile, and a bounded number of closed candles",
		},
		{
			Name: "load/in-flight", calls: true, run: loadInFlight, meant: isBinary,
			Rule: "an island that is stopped while calls are in flight ends within its grace, and every call returns",
		},
	}
}

// readsMemory says what it takes to see the memory of a process.
func readsMemory(Subject) string {
	if runtime.GOOS != "linux" {
		return "a system that tells the memory of a process: Linux"
	}
	return ""
}

// resident is the memory that a process holds, in bytes.
func resident(pid int) (int64, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/statm")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0, fmt.Errorf("/proc/%d/statm holds %q", pid, text)
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// growth watches the memory of a process while something is done and returns by how much it has grown after that.
func growth(p *process.Process, do func() error) (int64, error) {
	before, err := resident(p.PID())
	if err == nil {
		err = do()
	}
	if err != nil {
		return 0, err
	}
	after, err := resident(p.PID())
	return after - before, err
}

func loadMemory(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	calls := b.roleCalls(p.Island())
	round := func(n int) func() error {
		return func() error {
			until := time.Now().Add(2 * b.Patience)
			for range n {
				for _, c := range calls {
					if err := c.call(ctx); err != nil && !errors.Is(err, sdk.RateLimited) {
						return fmt.Errorf("%s: %w", c.name, err)
					}
				}
				_ = p.Island().Health(ctx)
				if time.Now().After(until) {
					return nil // A slow one has shown enough.
				}
			}
			return nil
		}
	}
	if err := round(20)(); err != nil { // What it keeps once is its own affair.
		return err
	}
	grown, err := growth(p, round(300))
	if err == nil && grown > maxGrowth {
		err = fmt.Errorf("300 rounds of calls made it grow by %d MiB", grown>>20)
	}
	return err
}

func loadStream(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*b.Patience)
	defer cancel()
	var grown int64
	var batches int
	req := sdk.StreamRequest{Assets: b.Assets, VsCurrency: b.VsCurrency, Candles: true}
	err = p.Island().Stream(ctx, req, func(sdk.QuoteBatch) error {
		if batches++; batches > 1 {
			return errEnough
		}
		var err error
		grown, err = growth(p, func() error { return pause(ctx, time.Now().Add(2*time.Second)) })
		return err
	})
	switch {
	case !errors.Is(err, errEnough):
		return fmt.Errorf("a stream that nobody read for two seconds ended after %d batches: %w", batches, err)
	case grown > maxGrowth:
		return fmt.Errorf("while nobody read its stream for two seconds it grew by %d MiB", grown>>20)
	}
	return nil
}

func loadInFlight(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	calls := b.roleCalls(p.Island())
	if len(calls) == 0 {
		return nil
	}
	var stopped atomic.Bool
	returned := make(chan struct{}, callers)
	for i := range callers {
		go func() {
			for !stopped.Load() {
				_ = calls[i%len(calls)].call(ctx)
			}
			returned <- struct{}{}
		}()
	}
	stopCtx, cancel := context.WithTimeout(ctx, b.Binary.grace())
	defer cancel()
	err = pause(ctx, time.Now().Add(100*time.Millisecond))
	if err == nil {
		if err = p.Stop(stopCtx); err != nil {
			err = fmt.Errorf("shutdown with %d callers at work: %w", callers, err)
		}
	}
	stopped.Store(true)
	timer := time.NewTimer(b.Binary.grace())
	defer timer.Stop()
	for range callers {
		select {
		case <-returned:
		case <-timer.C:
			return errors.Join(err, fmt.Errorf("a call has not returned %v after the island has ended", b.Binary.grace()))
		}
	}
	if exit := p.Exit(); err == nil && exit.Stack != "" {
		err = fmt.Errorf("it died while it was stopped: %s", ending(p))
	}
	return err
}
