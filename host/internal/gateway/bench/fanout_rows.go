package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
)

// Aims of the fan-out, against the better of the rivals.
const (
	aimSeldom   = 0.8  // of its processor time per delivery
	aimBusy     = 0.75 // likewise, from so many deliveries per second on:
	busy        = 200_000
	aimFlatOut  = 0.4 // likewise, without a pause
	aimIdle     = 17  // KB per connection
	bytesPerKB  = 1 << 10
	bytesPerMB  = 1 << 20
	millisecond = "ms"
)

// aimOf returns which part of the better rival's processor time is aimed at.
func aimOf(l feedLoad) float64 {
	switch {
	case l.rate == 0:
		return aimFlatOut
	case l.clients*l.rate >= busy:
		return aimBusy
	default:
		return aimSeldom
	}
}

// better returns the rival that needs less processor time, of those that kept their clients, or what else there is to hold
// others against.
func better(all []*rounds) *rounds {
	rank := func(r *rounds) int {
		switch {
		case r.role == ours, len(r.cpu) == 0:
			return 0
		case r.role == floor:
			return 1
		case r.gone > 0:
			return 2
		default:
			return 3
		}
	}
	return slices.MaxFunc(all, func(a, b *rounds) int {
		return cmp.Or(rank(a)-rank(b), cmp.Compare(spreadOf(b.cpu).Median, spreadOf(a.cpu).Median))
	})
}

// loadTable shows a load.
func (m *match) loadTable(l feedLoad, all []*rounds) table {
	against := better(all)
	how := fmt.Sprintf("%d times per second", l.rate)
	if l.rate == 0 {
		how = "as fast as it goes"
	}
	out := table{Title: fmt.Sprintf("An update of %d bytes to %d clients, %s; %d turns of %v; the ceiling is %s",
		updateSize, l.clients, how, m.opts.turns, m.opts.turn, against.name)}
	figure := func(name, unit string, of func(*rounds) []float64, judge func(row) row) {
		for _, r := range all {
			line := row{Name: r.name + ": " + name, Unit: unit, Value: spreadOf(of(r))}
			if r != against && len(r.cpu) > 0 {
				line = line.against(spreadOf(of(against)), ratios(of(r), of(against)))
			}
			if r.role == ours && against.role == rival && judge != nil {
				line = judge(line)
			}
			out.Rows = append(out.Rows, line)
		}
	}
	most := aimOf(l)
	figure("processor time per delivery", "µs", func(r *rounds) []float64 { return r.cpu }, func(line row) row {
		return line.aim("≤ "+strconv.FormatFloat(most, 'f', -1, 64)+" ×", line.Ratio != nil && line.Ratio.Median <= most)
	})
	figure("half are there within", millisecond, func(r *rounds) []float64 { return r.p50 }, nil)
	figure("99 of 100 are there within", millisecond, func(r *rounds) []float64 { return r.p99 }, func(line row) row {
		return line.aim("< 1 ×", line.Ratio != nil && line.Ratio.Median < 1)
	})
	figure("deliveries per second", "", func(r *rounds) []float64 { return r.rate }, nil)
	figure("the audience's own processor time per delivery", "µs", func(r *rounds) []float64 { return r.audience }, nil)
	for _, r := range all {
		out.Rows = append(out.Rows, r.losses(l)...)
	}
	return out
}

// losses shows what did not arrive, or not as it should.
func (r *rounds) losses(l feedLoad) []row {
	missed := single(r.name+": deliveries missed", "", float64(r.missed))
	if r.role == ours && l.rate > 0 { // Without a pause, leaving out what is old is the right thing to do.
		missed = missed.aim("0", r.missed == 0)
	}
	rows := []row{missed}
	if r.repeated > 0 {
		rows = append(rows, single(r.name+": deliveries repeated", "", float64(r.repeated)).aim("0", false))
	}
	if r.gone > 0 {
		rows = append(rows, single(r.name+": clients gone, "+r.reason, "", float64(r.gone)).aim("0", false))
	}
	return rows
}

// idleRows show what an idle connection takes.
func (m *match) idleRows(clients int) []row {
	var ceiling float64
	for _, p := range m.pairs {
		if p.role == floor {
			ceiling = p.idle / bytesPerKB
		}
	}
	var rows []row
	for _, p := range m.pairs {
		value := p.idle / bytesPerKB
		line := single(fmt.Sprintf("%s, %d connections", p.contender.name, clients), "KB", value)
		if p.role != floor && ceiling > 0 {
			line = line.against(spreadOf([]float64{ceiling}), []float64{value / ceiling})
		}
		if p.role == ours {
			line = line.aim(fmt.Sprintf("≤ %d KB", aimIdle), value <= aimIdle)
		}
		rows = append(rows, line)
	}
	return rows
}
