package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// feedLoad is how much is asked of a contender.
type feedLoad struct {
	clients int
	rate    int // updates per second, 0 for as many as go
}

// Bounds of a load.
const (
	mostListeners  = 20_000
	mostUpdateRate = 10_000
)

// flatOut stands for a rate without a pause.
const flatOut = "max"

// String says the load as --loads takes it.
func (l feedLoad) String() string {
	if l.rate == 0 {
		return strconv.Itoa(l.clients) + "x" + flatOut
	}
	return fmt.Sprintf("%dx%d", l.clients, l.rate)
}

// parseLoads reads loads such as 1000x10,1000xmax.
func parseLoads(text string) ([]feedLoad, error) {
	var out []feedLoad
	for word := range strings.SplitSeq(text, ",") {
		clients, rate, _ := strings.Cut(strings.TrimSpace(word), "x")
		l := feedLoad{}
		var err error
		if l.clients, err = strconv.Atoi(clients); err != nil || l.clients < 1 || l.clients > mostListeners {
			return nil, fmt.Errorf("--loads %q wants 1 to %d clients, as in 1000x10", word, mostListeners)
		}
		if rate != flatOut {
			if l.rate, err = strconv.Atoi(rate); err != nil || l.rate < 1 || l.rate > mostUpdateRate {
				return nil, fmt.Errorf("--loads %q wants 1 to %d updates per second or %s, as in 1000x10", word, mostUpdateRate, flatOut)
			}
		}
		out = append(out, l)
	}
	return out, nil
}

// rounds are the figures of a contender under one load, by turn.
type rounds struct {
	contender
	cpu, audience, p50, p99, rate []float64 // µs per delivery twice, ms twice, deliveries per second
	missed, repeated, gone        int
	reason                        string // why the first was gone
}

// add adds a turn.
func (r *rounds) add(t turn) {
	r.missed += t.missed
	r.repeated += t.Repeated
	r.gone, r.reason = t.Gone, t.Reason
	if t.Deliveries == 0 {
		return
	}
	each := float64(t.Deliveries)
	r.cpu = append(r.cpu, microseconds(t.station)/each)
	r.audience = append(r.audience, microseconds(t.audience)/each)
	r.p50 = append(r.p50, milliseconds(t.P50))
	r.p99 = append(r.p99, milliseconds(t.P99))
	r.rate = append(r.rate, each/max(t.Took, time.Microsecond).Seconds())
}

// fanout measures what it costs to send one update to many, beside others who do.
func (b *bench) fanout(ctx context.Context) (tables []table, err error) {
	served, loading := b.halves()
	field, missing := b.present()
	if err := b.roomFor(); err != nil {
		return nil, err
	}
	// The bench itself looks on, and is not to disturb whoever serves.
	if err := loading.bindProgram(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, missing, b.cpus.bindProgram()) }()
	var idle []row
	for _, group := range byClients(b.opts.loads) {
		m := &match{bench: b, served: served, loading: loading}
		played, err := m.play(ctx, field, group)
		tables = append(tables, played...)
		idle = append(idle, m.idleRows(group[0].clients)...)
		if err != nil {
			return tables, fmt.Errorf("%d clients: %w", group[0].clients, err)
		}
	}
	tables = append(tables, table{Title: "Memory of an idle connection, once unused memory is given back; the ceiling is the bare loop", Rows: idle})
	for _, c := range field {
		if !c.sheds {
			continue
		}
		stalled, err := b.stalled(ctx, c, served, loading)
		if err != nil {
			return tables, fmt.Errorf("clients that do not read: %w", err)
		}
		tables = append(tables, stalled)
	}
	return tables, nil
}

// roomFor makes sure that a process may have as many connections as the largest audience.
func (b *bench) roomFor() error {
	const besides = 64 // descriptors for everything else
	most := b.opts.audience
	for _, l := range b.opts.loads {
		most = max(most, l.clients)
	}
	limit, err := fileLimit()
	if err == nil && most+besides > limit {
		err = fmt.Errorf("%d clients want %d open files, the limit is %d: raise it (ulimit -Hn), or measure fewer", most, most+besides, limit)
	}
	return err
}

// byClients puts the loads with the same number of clients together.
func byClients(loads []feedLoad) [][]feedLoad {
	var out [][]feedLoad
	at := make(map[int]int)
	for _, l := range loads {
		i, known := at[l.clients]
		if !known {
			i = len(out)
			at[l.clients] = i
			out = append(out, nil)
		}
		out[i] = append(out[i], l)
	}
	return out
}

// match is a number of stations with an audience each, which take turns.
type match struct {
	*bench
	served, loading processors
	pairs           []*pairing
}

// pairing is a station and its audience.
type pairing struct {
	*station
	listeners *audience
	gone      int // of the audience
	// idle is how much memory the station has per connection when nothing is published, in bytes.
	idle float64
}

// play starts the contenders, seats their audiences and measures each load.
func (m *match) play(ctx context.Context, field []contender, loads []feedLoad) (tables []table, err error) {
	defer func() {
		for _, p := range m.pairs {
			err = errors.Join(err, p.end())
		}
	}()
	for _, c := range field {
		if err := m.admit(ctx, c, loads[0].clients); err != nil {
			return nil, err
		}
	}
	for _, l := range loads {
		m.say("measuring: fanout, %s", l)
		if err := m.refill(ctx, l.clients); err != nil {
			return tables, err
		}
		all, err := m.load(ctx, l)
		if err != nil {
			return tables, err
		}
		tables = append(tables, m.loadTable(l, all))
	}
	return tables, nil
}

// admit starts a contender and seats its audience.
func (m *match) admit(ctx context.Context, c contender, clients int) error {
	s, err := m.startStation(ctx, c, m.served)
	if err != nil {
		return err
	}
	p := &pairing{station: s}
	m.pairs = append(m.pairs, p)
	before, err := s.rest(ctx)
	if err != nil {
		return err
	}
	if p.listeners, err = s.invite(ctx, m.bench, joining{Clients: clients}, m.loading); err != nil {
		return err
	}
	after, err := s.rest(ctx)
	p.idle = float64(after.memory-before.memory) / float64(clients)
	return err
}

// refill seats new audiences where clients were sent away under the load before.
func (m *match) refill(ctx context.Context, clients int) (err error) {
	for _, p := range m.pairs {
		if p.gone == 0 {
			continue
		}
		if err := p.listeners.end(grace); err != nil {
			return err
		}
		if p.listeners, err = p.invite(ctx, m.bench, joining{Clients: clients}, m.loading); err != nil {
			return err
		}
		p.gone = 0
	}
	return nil
}

// play takes a turn.
func (p *pairing) play(ctx context.Context, rate int, lasts time.Duration) (turn, error) {
	t, err := p.turn(ctx, p.listeners, rate, lasts)
	p.gone = t.Gone
	return t, err
}

// end ends the station and its audience.
func (p *pairing) end() error {
	var err error
	if p.listeners != nil {
		err = p.listeners.end(grace)
	}
	return errors.Join(err, p.station.end(grace))
}

// load lets the stations take turns under one load.
func (m *match) load(ctx context.Context, l feedLoad) ([]*rounds, error) {
	const rehearsal = 300 * time.Millisecond
	all := make([]*rounds, len(m.pairs))
	for i, p := range m.pairs {
		all[i] = &rounds{contender: p.contender}
		if _, err := p.play(ctx, l.rate, rehearsal); err != nil {
			return nil, err
		}
	}
	for round := range m.opts.turns {
		for i := range m.pairs { // Another begins each time: who is first does not always gain, or lose, by it.
			at := (round + i) % len(m.pairs)
			t, err := m.pairs[at].play(ctx, l.rate, m.opts.turn)
			if err != nil {
				return nil, err
			}
			all[at].add(t)
		}
	}
	return all, nil
}
