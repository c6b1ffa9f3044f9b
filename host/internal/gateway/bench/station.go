package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// role is what a contender is there for.
type role int

const (
	floor role = iota // the least that a server can do
	rival             // what others make
	ours
)

// contender is a server that fans out, to be measured beside others.
type contender struct {
	name string
	role role
	// program to start, this one when it is empty, with the arguments.
	program string
	args    []string
	// greeting is how clients join.
	greeting greeting
	// sheds is whether it gets rid of clients that do not read, which is measured then.
	sheds bool
}

// What a client of the centrifuge library says first, and what is in the answer.
const (
	centrifugeHello  = `{"id":1,"connect":{}}` + "\n" + `{"id":2,"subscribe":{"channel":"updates"}}`
	centrifugeJoined = `"id":2,"subscribe"`
)

// contenders are all there are.
func (b *bench) contenders() []contender {
	centrifuge := contender{
		name: "centrifuge", role: rival, program: b.opts.centrifuge, sheds: true,
		greeting: greeting{
			// Pings are asked to be those of WebSocket, which an audience answers.
			Path: "/connection/websocket?cf_ws_frame_ping_pong=true", Hello: centrifugeHello, Joined: centrifugeJoined,
		},
	}
	delayed := centrifuge
	delayed.name, delayed.args, delayed.sheds = "centrifuge, write delay 5 ms", []string{"-write-delay", "5ms"}, false
	return []contender{
		{
			name: "bare loop", role: floor, args: []string{loopArgument},
			greeting: greeting{Path: "/ws", Joined: `"type":"snapshot"`},
		},
		centrifuge,
		delayed,
		{
			name: "islands", role: ours, args: []string{feedArgument}, sheds: true,
			greeting: greeting{Path: "/ws", Joined: `"type":"snapshot"`},
		},
	}
}

// present returns the contenders whose programs are built, and says which are not.
func (b *bench) present() ([]contender, error) {
	var out []contender
	var missing error
	for _, c := range b.contenders() {
		if c.program != "" {
			if _, err := os.Stat(c.program); err != nil {
				missing = fmt.Errorf("--centrifuge: %s is not built, make bench does it", c.program)
				continue
			}
		}
		out = append(out, c)
	}
	return out, missing
}

// station is a contender that runs.
type station struct {
	contender
	*child
	last report
}

// startStation starts a contender.
func (b *bench) startStation(ctx context.Context, c contender, cpus processors) (*station, error) {
	path := c.program
	if path == "" {
		path = b.program
	}
	started, err := program{
		path: path, args: c.args, env: environment(), cpus: cpus, log: b.place(".log"), reports: true,
	}.start()
	if err != nil {
		return nil, err
	}
	s := &station{contender: c, child: started}
	if err = s.ask(ctx, nil, &s.last, patience); err == nil && s.last.Address == "" {
		err = errors.New("it does not say where it listens")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", c.name, err), s.kill())
	}
	return s, nil
}

// invite starts an audience and returns when all of it have joined.
func (s *station) invite(ctx context.Context, b *bench, j joining, cpus processors) (*audience, error) {
	j.Greeting, j.Address = s.greeting, s.last.Address
	a, err := b.seat(ctx, j, cpus)
	if err != nil {
		return nil, fmt.Errorf("%s: %w; it said: %s", s.contender.name, err, s.said())
	}
	return a, nil
}

// obey has the station carry an order out.
func (s *station) obey(ctx context.Context, o order) error {
	if err := s.ask(ctx, o, &s.last, o.Lasts+patience); err != nil {
		return fmt.Errorf("%s: %w", s.contender.name, err)
	}
	return nil
}

// footprint is what a station takes up.
type footprint struct {
	memory     int // bytes
	files      int
	goroutines int
}

// rest lets the station give back what it does not need, and returns what it takes up then.
func (s *station) rest(ctx context.Context) (f footprint, err error) {
	if err := s.obey(ctx, order{Settle: true}); err != nil {
		return footprint{}, err
	}
	f.goroutines = s.last.Goroutines
	if f.memory, err = residentMemory(s.handle.Pid); err != nil {
		return footprint{}, err
	}
	f.files, err = openFiles(s.handle.Pid)
	return f, err
}

// turn is what came of one turn of a station.
type turn struct {
	heard
	missed            int           // deliveries, of the updates that were published
	station, audience time.Duration // processor time
}

// backlog is how long a station may still send after the end of a turn.
const backlog = 15 * time.Second

// turn has the station publish for a time and the audience listen until the last update.
func (s *station) turn(ctx context.Context, a *audience, rate int, lasts time.Duration) (t turn, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", s.contender.name, err)
		}
	}()
	first := s.last.Next
	if err := a.ask(ctx, listening{Next: first, Patience: lasts + backlog}, &struct{}{}, patience); err != nil {
		return t, err
	}
	stationBefore, err := processorTime(s.handle.Pid)
	if err != nil {
		return t, err
	}
	audienceBefore, err := processorTime(a.handle.Pid)
	if err != nil {
		return t, err
	}
	if err := s.obey(ctx, order{Rate: rate, Lasts: lasts}); err != nil {
		return t, err
	}
	if err := a.ask(ctx, nil, &t.heard, backlog+patience); err != nil {
		return t, err
	}
	if t.station, err = processorTime(s.handle.Pid); err != nil {
		return t, err
	}
	if t.audience, err = processorTime(a.handle.Pid); err != nil {
		return t, err
	}
	t.station -= stationBefore
	t.audience -= audienceBefore
	t.missed = a.clients*int(s.last.Next-first) - t.Deliveries
	return t, nil
}
