package pipeline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// encoders do what cold work takes of this process's own: encoding and compressing, milliseconds at a time without a rest. They
// are as many as half of its processors, so that warm answers find one at any time, and each has a thread of its own that is
// nicer than the others: the kernel lets a thread that a warm request wakes go first, instead of after their turn.
//
// What is queued waits in one of two lines, which take turns: loading, where a whole flight waits for what it has loaded, and
// parting, where one request waits for a part of what is in memory.
type encoders struct {
	loading, parting chan *encoding
	closed           chan struct{}
	once             sync.Once
	work             sync.WaitGroup
}

// encoding is one piece of their work.
type encoding struct {
	work     func()
	done     chan struct{}
	returned bool
	panicked any
}

func newEncoders() *encoders {
	e := &encoders{loading: make(chan *encoding), parting: make(chan *encoding), closed: make(chan struct{})}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		e.work.Go(e.serve)
	}
	return e
}

func (e *encoders) serve() {
	runtime.LockOSThread()
	if onMainThread() {
		// It never ends, and its niceness is what is seen of the whole process: another one takes its place.
		var elsewhere sync.WaitGroup
		elsewhere.Go(e.serve)
		elsewhere.Wait()
		runtime.UnlockOSThread()
		return
	}
	yieldThread() // And is never unlocked: a thread that was made nicer ends with its goroutine.
	for turn, other := e.parting, e.loading; ; turn, other = other, turn {
		j := e.next(turn, other)
		if j == nil {
			return
		}
		j.do()
	}
}

// next takes what is first in the line whose turn it is, or in the other when nobody stands there. It is nil at the end.
func (e *encoders) next(turn, other chan *encoding) *encoding {
	select {
	case j := <-turn:
		return j
	default:
	}
	select {
	case j := <-turn:
		return j
	case j := <-other:
		return j
	case <-e.closed:
		return nil
	}
}

func (j *encoding) do() {
	defer close(j.done)
	defer func() {
		if p := recover(); p != nil {
			j.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
		}
	}()
	j.work()
	j.returned = true
}

// load has done what a flight needs, and returns when it is done. Its error is the context's, when that ends before the work
// has begun. A panic in the work is the caller's. Where there are no encoders, or no longer, the caller does it himself.
func (e *encoders) load(ctx context.Context, work func()) error {
	if e == nil {
		work()
		return nil
	}
	return e.run(ctx, e.loading, work)
}

// part does the same for one request.
func (e *encoders) part(ctx context.Context, work func()) error {
	if e == nil {
		work()
		return nil
	}
	return e.run(ctx, e.parting, work)
}

func (e *encoders) run(ctx context.Context, line chan *encoding, work func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &encoding{work: work, done: make(chan struct{})}
	select {
	case line <- j:
		<-j.done
		if j.panicked != nil {
			panic(j.panicked)
		}
		if !j.returned {
			return errors.New("the work ended its goroutine")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-e.closed:
		work()
		return nil
	}
}

// close ends the threads. It may be called twice.
func (e *encoders) close() {
	e.once.Do(func() { close(e.closed) })
	e.work.Wait()
}
