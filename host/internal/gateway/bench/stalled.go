package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// stalledRate is how many updates per second there are while some clients do not read.
const stalledRate = 10

// mostKept is how much more memory than before is as good as the same: a heap is never quite as tidy as it was.
const mostKept = 1.1

// stalled measures what clients that do not read cost the others: some never read, though they show that they live, the
// others vanish without closing.
func (b *bench) stalled(ctx context.Context, c contender, served, loading processors) (_ table, err error) {
	b.say("measuring: fanout, %s with clients that do not read", c.name)
	s, err := b.startStation(ctx, c, served)
	if err != nil {
		return table{}, err
	}
	defer func() { err = errors.Join(err, s.end(grace)) }()
	empty, err := s.opened(ctx, b, loading)
	if err != nil {
		return table{}, err
	}
	others, err := s.invite(ctx, b, joining{Clients: b.opts.audience - b.opts.stalled}, loading)
	if err != nil {
		return table{}, err
	}
	defer func() { err = errors.Join(err, others.end(grace)) }()
	o := &ordeal{bench: b, station: s, others: others, loading: loading}
	if err := o.run(ctx); err != nil {
		return table{}, err
	}
	if err := others.end(grace); err != nil {
		return table{}, err
	}
	left, err := s.recover(ctx, empty, b.opts.shed)
	if err != nil {
		return table{}, err
	}
	return o.table(empty, left), nil
}

// opened returns what a station takes up without clients, once it has had one: a library starts for the first what it
// then keeps.
func (s *station) opened(ctx context.Context, b *bench, loading processors) (footprint, error) {
	before, err := s.rest(ctx)
	if err != nil {
		return footprint{}, err
	}
	first, err := s.invite(ctx, b, joining{Clients: 1}, loading)
	if err != nil {
		return footprint{}, err
	}
	if err := first.end(grace); err != nil {
		return footprint{}, err
	}
	if _, err := s.shrink(ctx, before.files, b.opts.shed); err != nil {
		return footprint{}, err
	}
	return s.rest(ctx)
}

// ordeal is what a station and most of its clients go through while the rest does not read.
type ordeal struct {
	*bench
	station       *station
	others        *audience
	loading       processors
	calm, stormy  *rounds   // the others' turns without and with the rest
	before, after footprint // with the others alone
	gone          time.Duration
	shed          bool // whether all of the rest were got rid of
}

// run lets the others listen alone, and then beside clients that do not read until the station is rid of those.
func (o *ordeal) run(ctx context.Context) (err error) {
	o.calm, o.stormy = &rounds{contender: o.station.contender}, &rounds{contender: o.station.contender}
	for range o.opts.turns {
		if err := o.turn(ctx, o.calm); err != nil {
			return err
		}
	}
	if o.before, err = o.station.rest(ctx); err != nil {
		return err
	}
	half := o.opts.stalled / 2
	mute, err := o.station.invite(ctx, o.bench, joining{Clients: half, Mute: true, Far: true}, o.loading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, mute.kill()) }()
	vanishing, err := o.station.invite(ctx, o.bench, joining{Clients: o.opts.stalled - half, Far: true}, o.loading)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, vanishing.kill()) }()
	if err := vanishing.freeze(); err != nil {
		return err
	}
	if err := o.storm(ctx); err != nil {
		return err
	}
	o.after, err = o.station.recover(ctx, o.before, o.opts.shed)
	return err
}

// turn is one turn of the others.
func (o *ordeal) turn(ctx context.Context, r *rounds) error {
	t, err := o.station.turn(ctx, o.others, stalledRate, o.opts.turn)
	if err == nil {
		r.add(t)
	}
	return err
}

// storm takes turns until the station has got rid of those who do not read, or nobody believes in it any more.
func (o *ordeal) storm(ctx context.Context) error {
	type sight struct {
		took time.Duration
		err  error
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan sight, 1)
	go func() {
		took, err := o.station.shrink(watching, o.before.files, o.opts.shed)
		watched <- sight{took, err}
	}()
	for len(watched) == 0 {
		if err := o.turn(ctx, o.stormy); err != nil {
			stop()
			<-watched
			return err
		}
	}
	s := <-watched
	if o.gone, o.shed = s.took, s.err == nil; errors.Is(s.err, errStillThere) {
		return nil // It is shown.
	}
	return s.err
}

// errStillThere says that connections were not closed in time.
var errStillThere = errors.New("connections are still open")

// shrink waits until a station has no more than so many open files, and returns how long that took.
func (s *station) shrink(ctx context.Context, files int, patience time.Duration) (time.Duration, error) {
	began := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		open, err := openFiles(s.handle.Pid)
		took := time.Since(began)
		switch {
		case err != nil, open <= files:
			return took, err
		case took > patience:
			return took, fmt.Errorf("%s: %d of them %w after %v", s.contender.name, open-files, errStillThere, patience)
		}
		select {
		case <-ctx.Done():
			return took, ctx.Err()
		case <-tick.C:
		}
	}
}

// recover waits until a station takes up no more files and goroutines than before, or the time is over, and returns what
// it takes up then.
func (s *station) recover(ctx context.Context, before footprint, patience time.Duration) (footprint, error) {
	const every = 200 * time.Millisecond
	for began := time.Now(); ; {
		now, err := s.rest(ctx)
		if err != nil || now.files <= before.files && now.goroutines <= before.goroutines || time.Since(began) > patience {
			return now, err
		}
		select {
		case <-ctx.Done():
			return now, ctx.Err()
		case <-time.After(every):
		}
	}
}

// table shows the ordeal. Empty is what the station took up before anybody came, left what it did after all had left.
func (o *ordeal) table(empty, left footprint) table {
	judged := o.station.role == ours
	aim := func(r row, want string, met bool) row {
		if judged {
			return r.aim(want, met)
		}
		return r
	}
	beside := func(name, unit string, value, ceiling float64) row {
		return single(name, unit, value).against(spreadOf([]float64{ceiling}), ratios([]float64{value}, []float64{ceiling}))
	}
	gone := "until those are gone"
	if !o.shed {
		gone = "not all of those were gone after"
	}
	middle := ratios([]float64{spreadOf(o.stormy.p99).Median}, []float64{spreadOf(o.calm.p99).Median})
	missed := o.calm.missed + o.stormy.missed
	rows := []row{
		row{Name: "99 of 100 are there within, for the others", Unit: millisecond, Value: spreadOf(o.stormy.p99)}.
			against(spreadOf(o.calm.p99), middle),
		row{Name: "processor time per delivery", Unit: "µs", Value: spreadOf(o.stormy.cpu)}.against(spreadOf(o.calm.cpu), nil),
		aim(single("deliveries that the others missed", "", float64(missed)), "0", missed == 0),
		aim(single(gone, "s", o.gone.Seconds()), fmt.Sprintf("≤ %v", o.opts.shed), o.shed),
		aim(beside("memory once those are gone", "MB", float64(o.after.memory)/bytesPerMB, float64(o.before.memory)/bytesPerMB),
			fmt.Sprintf("≤ %.1f ×", mostKept), float64(o.after.memory) <= mostKept*float64(o.before.memory)),
		aim(beside("goroutines once those are gone", "", float64(o.after.goroutines), float64(o.before.goroutines)),
			"as before", o.after.goroutines <= o.before.goroutines),
		aim(beside("open files once those are gone", "", float64(o.after.files), float64(o.before.files)),
			"as before", o.after.files <= o.before.files),
		beside("memory once all are gone", "MB", float64(left.memory)/bytesPerMB, float64(empty.memory)/bytesPerMB),
		aim(beside("goroutines once all are gone", "", float64(left.goroutines), float64(empty.goroutines)),
			"as before", left.goroutines <= empty.goroutines),
		aim(beside("open files once all are gone", "", float64(left.files), float64(empty.files)),
			"as before", left.files <= empty.files),
	}
	if o.stormy.gone > 0 {
		rows = append(rows, aim(single("others that were sent away, "+o.stormy.reason, "", float64(o.stormy.gone)), "0", false))
	}
	return table{
		Title: fmt.Sprintf("%s: %d clients, %d updates per second, while %d of them never read and %d vanish; the ceiling is without those",
			o.station.contender.name, o.opts.audience, stalledRate, o.opts.stalled/2, o.opts.stalled-o.opts.stalled/2),
		Rows: rows,
	}
}
