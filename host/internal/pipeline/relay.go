package pipeline

import (
	"context"
	"errors"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// errSuperseded ends a stream to a generation of an island in whose place another one is heard.
var errSuperseded = errors.New("another generation of the island speaks")

// hold returns an island for whoever opens a stream, and a channel that is closed once another generation of it has taken
// its place; nil where that never happens.
func (r *Requests) hold(name string) (process.Island, <-chan struct{}, error) {
	if r.opts.Hold != nil {
		return r.opts.Hold(name)
	}
	island, err := r.opts.Island(name)
	return island, nil, err
}

// relay keeps a stream across the generations of an island: once another generation has taken the place of the one that
// is heard, its stream is opened too, and only when that has said something is the former closed, after the time that
// overlap gives it to say what both may have heard of. Open opens a stream and returns when it breaks; it calls heard with
// whatever comes. When a stream breaks that no other follows, relay returns its error.
//
// A successor that cannot be heard is not insisted on: the former stream goes on until it breaks.
func (r *Requests) relay(
	ctx context.Context, name string, overlap time.Duration, open func(ctx context.Context, island process.Island, heard func()) error,
) error {
	type leg struct {
		superseded <-chan struct{}
		cancel     context.CancelCauseFunc
		heard      chan struct{}
		ended      chan error
	}
	begin := func() (*leg, error) {
		island, superseded, err := r.hold(name)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithCancelCause(ctx)
		l := &leg{superseded: superseded, cancel: cancel, heard: make(chan struct{}), ended: make(chan error, 1)}
		first := true
		go func() {
			l.ended <- open(ctx, island, func() {
				if first {
					first = false
					close(l.heard)
				}
			})
		}()
		return l, nil
	}
	end := func(l *leg) error {
		l.cancel(errSuperseded)
		return <-l.ended
	}

	current, err := begin()
	if err != nil {
		return err
	}
	defer func() { current.cancel(nil) }()
	for {
		select {
		case err := <-current.ended:
			return err
		case <-current.superseded:
		}
		next, err := begin()
		if err != nil {
			return <-current.ended
		}
		select {
		case <-next.heard:
			if overlap > 0 {
				select {
				case <-ctx.Done():
				case <-time.After(overlap):
				}
			}
			_ = end(current) // It was told to end.
			current = next
		case err := <-next.ended:
			next.cancel(nil)
			if sdk.KindOf(err) == sdk.Canceled {
				return end(current)
			}
			return <-current.ended
		case err := <-current.ended:
			// The former broke before the next was heard: what is missing in between nobody knows.
			_ = end(next)
			return err
		}
	}
}
