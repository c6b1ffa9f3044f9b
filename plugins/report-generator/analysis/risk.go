package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/service-islands/islands/plugins/report-generator/indicator"
	"github.com/service-islands/islands/sdk"
)

// Volatility is how much the price moves, in percent.
type Volatility struct {
	// Realised volatilities are annualised by √365.
	Realised7d  sdk.Number `json:"realised_7d"`
	Realised30d sdk.Number `json:"realised_30d"`
	// Drawdowns are the largest falls from a close to a later one, as positive numbers.
	MaxDrawdown30d  sdk.Number `json:"max_drawdown_30d"`
	MaxDrawdown90d  sdk.Number `json:"max_drawdown_90d"`
	MaxDrawdown365d sdk.Number `json:"max_drawdown_365d"`
}

// Figures lists the figures in the order of their keys.
func (v Volatility) Figures() Figures {
	return Figures{
		{"realised_7d", v.Realised7d},
		{"realised_30d", v.Realised30d},
		{"max_drawdown_30d", v.MaxDrawdown30d},
		{"max_drawdown_90d", v.MaxDrawdown90d},
		{"max_drawdown_365d", v.MaxDrawdown365d},
	}
}

// VolatilityOf measures a series.
func VolatilityOf(s Series) Volatility {
	return Volatility{
		Realised7d:      s.realised(7),
		Realised30d:     s.realised(30),
		MaxDrawdown30d:  s.drawdown(30),
		MaxDrawdown90d:  s.drawdown(90),
		MaxDrawdown365d: s.drawdown(365),
	}
}

// unknown explains the figures that are null although there are days.
func (v Volatility) unknown(s Series) []string {
	var names []string
	for _, f := range v.Figures() {
		if !f.Number.IsKnown() {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 || len(s.Days) == 0 {
		return nil
	}
	return []string{"the daily candles do not cover the days of " + strings.Join(names, ", ")}
}

// realised is the volatility of the newest n daily returns, which take n+1 days without a hole.
func (s *Series) realised(n int) sdk.Number {
	days, covered := s.within(n + 1)
	if !covered || len(days) != n+1 {
		return sdk.Number{}
	}
	return number(indicator.RealisedVolatility(closes(days)))
}

// drawdown is the largest fall within the newest n days.
func (s *Series) drawdown(n int) sdk.Number {
	days, covered := s.within(n)
	if !covered {
		return sdk.Number{}
	}
	return number(indicator.MaxDrawdown(closes(days)))
}

// number is a figure that is known when ok.
func number(f float64, ok bool) sdk.Number {
	if !ok {
		return sdk.Number{}
	}
	return sdk.Known(f)
}

const (
	levelDays  = 365 // How far back turns count.
	levelReach = 5   // How many days on both sides make a turn.
	levelCount = 3   // How many levels are shown on each side.
)

// Levels are prices at which the market turned before, or that traders watch.
type Levels struct {
	// Support lies below the price, Resistance above it; nearest first, never nil.
	Support    []sdk.Number `json:"support"`
	Resistance []sdk.Number `json:"resistance"`
	// Pivots are pivot, r1 to r3 and s1 to s3 of the newest closed day.
	Pivots Figures `json:"pivots"`
}

// LevelsOf finds the levels around a price; an unknown price stands for the newest close.
func LevelsOf(s Series, around sdk.Number) Levels {
	levels := Levels{Support: []sdk.Number{}, Resistance: []sdk.Number{}}
	names := []string{"pivot", "r1", "r2", "r3", "s1", "s2", "s3"}
	for _, name := range names {
		levels.Pivots = append(levels.Pivots, Figure{Name: name})
	}
	days := s.ranged()
	if len(days) == 0 {
		return levels
	}
	newest := days[len(days)-1]
	p := indicator.PivotsOf(newest.Bar)
	levels.Pivots = params(names, p.Pivot, p.R1, p.R2, p.R3, p.S1, p.S2, p.S3)
	width, ready := atr(days).Value.Number.Float64()
	if !ready {
		return levels
	}
	price := around.Or(newest.Close)
	oldest := newest.number() - levelDays + 1
	var bars []indicator.Bar
	for _, d := range days {
		if d.number() >= oldest {
			bars = append(bars, d.Bar)
		}
	}
	for _, level := range indicator.Cluster(indicator.Swings(bars, levelReach), width) {
		switch {
		case level < price:
			levels.Support = append(levels.Support, sdk.Known(level))
		case level > price:
			levels.Resistance = append(levels.Resistance, sdk.Known(level))
		}
	}
	slices.Reverse(levels.Support)
	levels.Support = levels.Support[:min(len(levels.Support), levelCount)]
	levels.Resistance = levels.Resistance[:min(len(levels.Resistance), levelCount)]
	return levels
}

// unknown explains empty levels although there are days with highs and lows.
func (l Levels) unknown(s Series) []string {
	days := len(s.ranged())
	var out []string
	if days == 0 {
		return nil
	}
	for _, side := range []struct {
		name   string
		levels []sdk.Number
	}{{"support", l.Support}, {"resistance", l.Resistance}} {
		if len(side.levels) == 0 {
			out = append(out, fmt.Sprintf("no %s was found: the market did not turn on that side of the price within %s",
				side.name, counted(min(days, levelDays), "day", "days")))
		}
	}
	return out
}
