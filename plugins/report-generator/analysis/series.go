package analysis

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/plugins/report-generator/indicator"
	"github.com/service-islands/islands/sdk"
)

const (
	day = 24 * time.Hour
	// outdatedAfter is the age of the newest closed day from which on a newer one should be there: a day and half of one
	// for sources that take their time.
	outdatedAfter = 36 * time.Hour
)

// Day is one closed day of a market.
type Day struct {
	Opens time.Time
	indicator.Bar
	// HasRange is whether High and Low are known, HasVolume whether Volume is.
	HasRange, HasVolume bool
}

// Series is the closed days that a report may rely on, oldest first, one per day.
type Series struct {
	Days []Day
	// Outdated is whether the newest day ended so long before the report that a newer one should be there.
	Outdated bool
	// Warnings say what was left out or is missing.
	Warnings []string
}

// SeriesOf takes the usable days from candles: 1d candles of that symbol and currency, closed at now, with a positive close.
// Candles may come in any order and more than once; of several for one day the last given counts.
func SeriesOf(candles *sdk.Candles, symbol, currency string, now time.Time) Series {
	switch {
	case candles == nil:
		return refused("no daily candles were available, so nothing that needs them is known")
	case candles.Interval != sdk.Interval1d:
		return refused("the candles cover %q each, not one day, so they were not used", string(candles.Interval))
	case candles.VsCurrency != "" && !strings.EqualFold(candles.VsCurrency, currency):
		return refused("the candles are in %s, not %s, so they were not used", candles.VsCurrency, currency)
	case candles.Symbol != "" && !strings.EqualFold(candles.Symbol, symbol):
		return refused("the candles are of %s, not %s, so they were not used", candles.Symbol, symbol)
	}
	var s Series
	s.take(candles.Items, now)
	if len(s.Days) == 0 {
		s.warn("there is no closed daily candle, so nothing that needs one is known")
		return s
	}
	s.findHoles()
	s.findUnknowns()
	if end := s.newest().Opens.Add(day); now.Sub(end) > outdatedAfter {
		s.Outdated = true
		s.warn("the newest closed daily candle ended at %s, so newer days are missing", end.Format(time.RFC3339))
	}
	return s
}

// refused is a series without a day, and why.
func refused(format string, args ...any) Series {
	var s Series
	s.warn(format, args...)
	return s
}

// warn adds a warning.
func (s *Series) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

// newest is the last day of a series that has one.
func (s *Series) newest() Day { return s.Days[len(s.Days)-1] }

// take fills in the days, oldest first.
func (s *Series) take(candles []sdk.Candle, now time.Time) {
	var worthless, broken, repeated int
	days := make([]Day, 0, len(candles))
	for _, c := range candles {
		if !c.Closed || c.OpenTime.IsZero() || c.OpenTime.Add(day).After(now) {
			continue
		}
		price, ok := positive(c.Close)
		if !ok {
			worthless++
			continue
		}
		d := Day{Opens: c.OpenTime.UTC(), Bar: indicator.Bar{Close: price}}
		if c.High.IsKnown() && c.Low.IsKnown() {
			low, isPositive := positive(c.Low)
			high := c.High.Or(0)
			if d.HasRange = isPositive && low <= price && price <= high; d.HasRange {
				d.High, d.Low = high, low
			} else {
				broken++
			}
		}
		if volume, known := c.Volume.Float64(); known {
			if d.HasVolume = volume >= 0; d.HasVolume {
				d.Volume = volume
			} else {
				broken++
			}
		}
		days = append(days, d)
	}
	slices.SortStableFunc(days, func(a, b Day) int { return a.number() - b.number() })
	for _, d := range days {
		if n := len(s.Days); n > 0 && s.Days[n-1].number() == d.number() {
			s.Days[n-1] = d
			repeated++
			continue
		}
		s.Days = append(s.Days, d)
	}
	if worthless > 0 {
		s.warn("%s left out for want of a positive close", counted(worthless, "daily candle was", "daily candles were"))
	}
	if broken > 0 {
		s.warn("%s that cannot be: a close outside of its day's range, or less than nothing; it counts as unknown",
			counted(broken, "candle holds a figure", "candles hold figures"))
	}
	if repeated > 0 {
		s.warn("%s given more than once; the last one was used", counted(repeated, "day was", "days were"))
	}
}

// positive returns a figure that is known and above zero.
func positive(n sdk.Number) (float64, bool) {
	f, known := n.Float64()
	return f, known && f > 0
}

// number counts days since 1970.
func (d Day) number() int {
	seconds := d.Opens.Unix()
	if seconds < 0 {
		seconds -= int64(day/time.Second) - 1 // Integer division rounds towards zero.
	}
	return int(seconds / int64(day/time.Second))
}

// findHoles warns of missing days.
func (s *Series) findHoles() {
	missing, first := 0, 0
	for i := 1; i < len(s.Days); i++ {
		if hole := s.Days[i].number() - s.Days[i-1].number() - 1; hole > 0 {
			if missing == 0 {
				first = s.Days[i-1].number() + 1
			}
			missing += hole
		}
	}
	if missing > 0 {
		since := time.Unix(int64(first)*int64(day/time.Second), 0).UTC()
		s.warn("%s missing among the daily candles, the first on %s; figures that span them are less exact",
			counted(missing, "day is", "days are"), since.Format(time.DateOnly))
	}
}

// findUnknowns warns of days without a range or a volume.
func (s *Series) findUnknowns() {
	n := len(s.Days)
	for _, part := range []struct {
		name, affected string
		run            int
	}{
		{"high and low", "atr_14, adx_14, vwap and levels", len(s.ranged())},
		{"volume", "obv and vwap", len(s.traded())},
	} {
		switch {
		case part.run == 0:
			s.warn("the newest daily candle has no %s, so %s are null", part.name, part.affected)
		case part.run < n:
			s.warn("only the newest %d of %d daily candles have a %s without interruption, so %s rest on these alone",
				part.run, n, part.name, part.affected)
		}
	}
}

// ranged is the newest unbroken run of days that have a high and a low.
func (s *Series) ranged() []Day { return s.run(func(d Day) bool { return d.HasRange }) }

// traded is the newest unbroken run of days that have a volume.
func (s *Series) traded() []Day { return s.run(func(d Day) bool { return d.HasVolume }) }

// run is the longest end of the series whose days are all good.
func (s *Series) run(good func(Day) bool) []Day {
	start := len(s.Days)
	for start > 0 && good(s.Days[start-1]) {
		start--
	}
	return s.Days[start:]
}

// within is the end of the series that spans the newest n days, and whether the series reaches back that far.
func (s *Series) within(n int) ([]Day, bool) {
	if len(s.Days) == 0 {
		return nil, false
	}
	first := s.newest().number() - n + 1
	start := slices.IndexFunc(s.Days, func(d Day) bool { return d.number() >= first })
	return s.Days[start:], s.Days[0].number() <= first
}

// closes lists the closes of days.
func closes(days []Day) []float64 {
	out := make([]float64, len(days))
	for i, d := range days {
		out[i] = d.Close
	}
	return out
}

// counted is a number with its noun, such as "1 day is" or "3 days are".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
