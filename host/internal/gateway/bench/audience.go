package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// audienceArgument makes the program the clients of a station. It is for the program itself.
const audienceArgument = "audience"

// greeting is how a client joins a station.
type greeting struct {
	// Path of the WebSocket.
	Path string `json:"path"`
	// Hello is what the client sends first, if anything, as a text frame.
	Hello string `json:"hello"`
	// Joined is what the station's frames contain once the client gets every update. It comes within mostGreeting.
	Joined string `json:"joined"`
}

// joining is an audience's first order: to connect.
type joining struct {
	Address  string   `json:"address"`
	Greeting greeting `json:"greeting"`
	Clients  int      `json:"clients"`
	// Mute clients never read once they have joined. They show that they live, so that only what piles up betrays them.
	Mute bool `json:"mute"`
	// Far clients take short segments, as over a network: through loopback's long ones the kernel alone would hold
	// megabytes for a client that does not read.
	Far bool `json:"far"`
}

// joined is the answer once all are there.
type joined struct {
	Clients int `json:"clients"`
}

// listening is an audience's order to take notes of a turn, up to its last update. It is acknowledged by an empty object,
// and answered by what was heard.
type listening struct {
	// Next is the number of the first update.
	Next uint64 `json:"next"`
	// Patience is how long to wait for the last one in nanoseconds, from now on.
	Patience time.Duration `json:"patience"`
}

// heard is what came of a turn.
type heard struct {
	// Deliveries of updates, each counted once per client.
	Deliveries int `json:"deliveries"`
	// Repeated are those that came again or after a later one.
	Repeated int `json:"repeated"`
	// Late clients had not got the last update in time.
	Late int `json:"late"`
	// Gone clients have lost their connections, in this turn or before, for instance for this Reason.
	Gone   int    `json:"gone"`
	Reason string `json:"reason"`
	// P50 and P99 of the time from the publication to the client, in nanoseconds.
	P50 time.Duration `json:"p50"`
	P99 time.Duration `json:"p99"`
	// Took is the time from the order to the last delivery, in nanoseconds.
	Took time.Duration `json:"took"`
}

// audience is a process full of clients.
type audience struct {
	*child
	clients int
}

// joinPatience bounds how long it takes until all of an audience are there.
const joinPatience = 2 * time.Minute

// seat starts an audience and returns when all of it have joined.
func (b *bench) seat(ctx context.Context, j joining, cpus processors) (*audience, error) {
	c, err := program{
		path: b.program, args: []string{audienceArgument}, env: environment(), cpus: cpus, log: b.place(".log"), reports: true,
	}.start()
	if err != nil {
		return nil, err
	}
	a := &audience{c, j.Clients}
	var done joined
	if err = a.ask(ctx, j, &done, joinPatience+grace); err == nil && done.Clients != j.Clients {
		err = fmt.Errorf("%d of %d clients joined", done.Clients, j.Clients)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("join %s: %w", j.Address, err), a.kill())
	}
	return a, nil
}

// notes collect what an audience hears in a turn.
type notes struct {
	heard
	delays   histogram
	began    int64 // when the turn did, by the machine's clock
	ended    int64 // when the last delivery was made, likewise
	waiting  int   // clients that have not got the last update
	deadline int64 // likewise
}

// take notes a delivery.
func (n *notes) take(s stamp, now int64) {
	n.Deliveries++
	n.ended = now
	n.delays.add(time.Duration(now - s.published))
}

// sum returns what came of the turn, with the clients that are gone and why the first of them was.
func (n *notes) sum(gone int, reason error) heard {
	n.Late, n.Gone = n.waiting, gone
	if reason != nil {
		n.Reason = reason.Error()
	}
	n.P50, n.P99 = n.delays.quantile(0.5), n.delays.quantile(0.99)
	n.Took = time.Duration(n.ended - n.began)
	return n.heard
}
