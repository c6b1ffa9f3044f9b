package conformance

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// unseenError is why a check could not look at what it is about. The check is skipped then: what nobody saw has not passed.
type unseenError string

// Error implements error.
func (e unseenError) Error() string { return string(e) }

var (
	// handlers matches the frame of a call's handler in the stacks of an island of the Go SDK.
	handlers = regexp.MustCompile(`islandpb\._\w+_(\w+)_Handler\(`)
	// goroutine matches the first line of a goroutine in the stacks of a program in Go.
	goroutine = regexp.MustCompile(`(?m)^goroutine \d+ `)
	// created matches the line of a stack that says who started the goroutine.
	created = regexp.MustCompile(`(?m)^created by (\S+)`)
)

// stacks ends a process for the stacks of its goroutines. It has none to show when it is not in Go.
func (b *bench) stacks(p *process.Process) (text string, inGo bool) {
	p.Interrogate(b.Patience)
	text = p.Exit().Stack
	return text, goroutine.MatchString(text)
}

func processCancelled(ctx context.Context, b *bench) (err error) {
	abandon := b.abandonCalls
	for range 3 { // A busy machine may delay a few; an island that does not look at its contexts is as late each time.
		err = abandon(ctx)
		if errors.Is(err, errNotInGo) {
			abandon = b.abandonUpstream
			err = abandon(ctx)
		}
		var unseen unseenError
		if err == nil || errors.As(err, &unseen) {
			return err
		}
	}
	return err
}

// errNotInGo is what becomes of looking into the stacks of an island that shows none of Go's.
var errNotInGo = errors.New("the island shows no goroutines")

// abandonCalls gives up calls while they are at work, and looks for what goes on with them.
func (b *bench) abandonCalls(ctx context.Context) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	callCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	var asking, given sync.WaitGroup
	for range 5 { // Enough of them that some are still at work when they are given up.
		for _, c := range b.roleCalls(p.Island()) {
			asking.Add(1)
			given.Go(func() {
				asking.Done()
				_ = c.call(callCtx)
			})
		}
	}
	asking.Wait()
	// What is answered behind them on the same connection shows that they have arrived, however busy the machine is.
	_ = p.Island().Health(callCtx)
	if err := pause(ctx, time.Now().Add(20*time.Millisecond)); err != nil {
		return err
	}
	cancel()
	given.Wait()
	if err := pause(ctx, time.Now().Add(prompt)); err != nil {
		return err
	}
	text, inGo := b.stacks(p)
	if !inGo {
		return errNotInGo
	}
	working := handlers.FindAllStringSubmatch(text, -1)
	if len(working) > 0 {
		return fmt.Errorf("%d calls go on %v after their callers went away, among them %s", len(working), prompt, working[0][1])
	}
	return nil
}

// abandonUpstream gives up calls that wait for a silent upstream, by a deadline and by a cancellation. The upstream sees when they
// let go of it, which shows the calls of an island in any language.
func (b *bench) abandonUpstream(ctx context.Context) error {
	switch {
	case b.Break != nil && b.Held != nil:
	case breakable(b.Subject):
		return unseenError("cannot be seen: the island shows no stacks of goroutines, and its upstream is not watched: --upstream SETTING")
	default:
		return unseenError("cannot be seen: the island shows no stacks of goroutines, and has no upstream to watch (--upstream SETTING)")
	}
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	mend := b.Break(FaultSilence)
	defer mend()
	asked := false
	for _, c := range b.roleCalls(p.Island()) {
		for _, way := range []string{"deadline", "cancellation"} {
			const deadline = 500 * time.Millisecond
			callCtx, cancel := context.WithCancel(ctx)
			if way == "deadline" {
				cancel()
				callCtx, cancel = context.WithTimeout(ctx, deadline)
			}
			var given sync.WaitGroup
			given.Go(func() { _ = c.call(callCtx) })
			arrived := eventually(callCtx, deadline, func() error {
				if b.Held() == 0 {
					return errors.New("nothing was asked")
				}
				return nil
			})
			asked = asked || arrived == nil
			if way == "cancellation" {
				cancel()
			}
			given.Wait()
			cancel()
			err := eventually(ctx, prompt, func() error {
				if n := b.Held(); n > 0 {
					return fmt.Errorf("%d requests wait for the upstream", n)
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("%s goes on after its %s: %w", c.name, way, err)
			}
		}
	}
	if !asked {
		return unseenError("cannot be seen: the island shows no stacks of goroutines, and none of its calls waits for what --upstream names")
	}
	return nil
}

// threads is how many threads a process has.
func threads(p *process.Process) (int, error) {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(p.PID()) + "/task")
	return len(tasks), err
}

// processLeftBehind counts what there is more of after many calls: threads, which every language has, and goroutines.
func processLeftBehind(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	calls := b.roleCalls(p.Island())
	rounds := func(times int) error {
		for range times {
			for _, c := range calls {
				if err := c.call(ctx); err != nil && !errors.Is(err, sdk.RateLimited) {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			_ = p.Island().Health(ctx)
		}
		return nil
	}
	const times = 100
	if err := rounds(10); err != nil { // The threads that it starts once are its own affair.
		return err
	}
	counts := runtime.GOOS == "linux"
	before := 0
	if counts {
		if before, err = threads(p); err != nil {
			return err
		}
	}
	if err := rounds(times); err != nil {
		return err
	}
	if err := pause(ctx, time.Now().Add(prompt)); err != nil {
		return err
	}
	if counts {
		after, err := threads(p)
		if err != nil {
			return err
		}
		if grown := after - before; grown >= times/2 { // Half of them may be gone again, as those of a pool that shrinks.
			return fmt.Errorf("after %d calls of each kind it has %d threads more than the %d before", times, grown, before)
		}
	}
	text, inGo := b.stacks(p)
	if !inGo && !counts {
		return unseenError("cannot be seen: the island shows no stacks of goroutines, and only Linux tells the threads of a process")
	}
	by := map[string]int{}
	for _, match := range created.FindAllStringSubmatch(text, -1) {
		if by[match[1]]++; by[match[1]] >= times {
			return fmt.Errorf("after %d calls of each kind there are %d goroutines or more that %s has started", times, times, match[1])
		}
	}
	return nil
}
