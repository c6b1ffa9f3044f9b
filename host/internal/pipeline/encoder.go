package pipeline

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
)

// encoders do what cold work takes of this process's own: encoding and compressing, milliseconds at a time without a rest. They
// are as many as half of its processors, so that warm answers find one at any time, and each has a thread of its own that is
// nicer than the others: the kernel lets a thread that a warm request wakes go first, instead of after their turn.
type encoders struct {
	jobs   chan *encoding
	closed chan struct{}
	work   sync.WaitGroup
}

// encoding is one piece of their work.
type encoding struct {
	work     func()
	done     chan struct{}
	panicked any
}

func newEncoders() *encoders {
	e := &encoders{jobs: make(chan *encoding), closed: make(chan struct{})}
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		e.work.Go(e.serve)
	}
	return e
}

func (e *encoders) serve() {
	runtime.LockOSThread() // And never unlocked: a thread that was made nicer ends with its goroutine.
	yieldThread()
	for {
		select {
		case j := <-e.jobs:
			j.do()
		case <-e.closed:
			return
		}
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
}

// run has the work done and returns when it is; a panic in it is the caller's. Where there are no encoders, or no longer, the
// caller does it.
func (e *encoders) run(work func()) {
	if e == nil {
		work()
		return
	}
	j := &encoding{work: work, done: make(chan struct{})}
	select {
	case e.jobs <- j:
		<-j.done
		if j.panicked != nil {
			panic(j.panicked)
		}
	case <-e.closed:
		work()
	}
}

// close ends the threads.
func (e *encoders) close() {
	close(e.closed)
	e.work.Wait()
}
