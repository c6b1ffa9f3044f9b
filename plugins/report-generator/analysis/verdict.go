package analysis

import (
	"fmt"
	"strings"

	"github.com/service-islands/islands/sdk"
)

// The labels of a verdict, from worst to best.
const (
	LabelStrongSell = "strong_sell"
	LabelSell       = "sell"
	LabelNeutral    = "neutral"
	LabelBuy        = "buy"
	LabelStrongBuy  = "strong_buy"
)

// Verdict is what the signals come to.
type Verdict struct {
	// Score from -1 (sell) to 1 (buy); unknown when there is no signal at all.
	Score sdk.Number `json:"score"`
	Label string     `json:"label"`
	// Confidence from 0 to 1: how much of what should be known is known.
	Confidence sdk.Number `json:"confidence"`
	// Reasons in plain words with their figures, never nil.
	Reasons []string `json:"reasons"`
}

// tally counts the signals of one group.
type tally struct {
	name                      string
	buy, sell, neutral, wants int
}

// add counts a reading's signal and returns its reason, empty when the reading has none.
func (t *tally) add(r Reading) string {
	t.wants++
	switch r.Signal {
	case Buy:
		t.buy++
	case Sell:
		t.sell++
	case Neutral:
		t.neutral++
	default:
		return ""
	}
	return fmt.Sprintf("%s: %s", r.reason, r.Signal)
}

// known is how many signals were counted, sum what they add up to.
func (t *tally) known() int { return t.buy + t.sell + t.neutral }
func (t *tally) sum() int   { return t.buy - t.sell }

// String says what was counted.
func (t *tally) String() string {
	return fmt.Sprintf("%d of %d %s are known: %d buy, %d neutral, %d sell",
		t.known(), t.wants, t.name, t.buy, t.neutral, t.sell)
}

// VerdictOf weighs the indicators. Doubtful says that the candles behind them are older than they should be.
func VerdictOf(i Indicators, doubtful bool) Verdict {
	averages, oscillators := &tally{name: "moving averages"}, &tally{name: "oscillators"}
	var reasons []string
	for _, group := range []struct {
		tally    *tally
		readings []Reading
	}{
		{averages, []Reading{i.SMA20, i.SMA50, i.SMA200, i.EMA12, i.EMA26, i.VWAP}},
		{oscillators, []Reading{i.RSI14, i.MACD, i.StochRSI, i.ADX14, i.Bollinger}},
	} {
		for _, r := range group.readings {
			if reason := group.tally.add(r); reason != "" {
				reasons = append(reasons, reason)
			}
		}
	}
	known, wanted := averages.known()+oscillators.known(), averages.wants+oscillators.wants
	if known == 0 {
		return Verdict{
			Label: LabelNeutral, Confidence: sdk.Known(0),
			Reasons: []string{"no indicator is known, so there is nothing to judge by"},
		}
	}
	score := mean(averages, oscillators)
	confidence := float64(known) / float64(wanted)
	all := []string{averages.String(), oscillators.String()}
	if doubtful {
		confidence /= 2
		all = append(all, "the daily candles are older than they should be, which halves the confidence")
	}
	return Verdict{
		Score: sdk.Known(score), Label: LabelOf(score), Confidence: sdk.Known(confidence),
		Reasons: append(all, reasons...),
	}
}

// mean is the mean of the groups' averages, of those that have one. Whole numbers are divided once at the end, so that a
// score on a boundary lies exactly on it.
func mean(a, b *tally) float64 {
	switch {
	case a.known() == 0:
		return float64(b.sum()) / float64(b.known())
	case b.known() == 0:
		return float64(a.sum()) / float64(a.known())
	default:
		return float64(a.sum()*b.known()+b.sum()*a.known()) / float64(2*a.known()*b.known())
	}
}

// LabelOf names a score.
func LabelOf(score float64) string {
	switch {
	case score < -0.5:
		return LabelStrongSell
	case score < -0.1:
		return LabelSell
	case score <= 0.1:
		return LabelNeutral
	case score <= 0.5:
		return LabelBuy
	default:
		return LabelStrongBuy
	}
}

// Technical is everything that daily candles say.
type Technical struct {
	Indicators Indicators
	Volatility Volatility
	Levels     Levels
	Verdict    Verdict
	// Warnings explain every figure that is null.
	Warnings []string
}

// Of analyses a series. Around is the price that divides support from resistance, unknown for the newest close; stale says
// that the host calls the candles stale.
func Of(s Series, around sdk.Number, stale bool) Technical {
	t := Technical{Indicators: IndicatorsOf(s), Volatility: VolatilityOf(s), Levels: LevelsOf(s, around)}
	t.Verdict = VerdictOf(t.Indicators, stale || s.Outdated)
	t.Warnings = append(t.Warnings, s.Warnings...)
	t.Warnings = append(t.Warnings, t.Indicators.unready()...)
	t.Warnings = append(t.Warnings, t.Volatility.unknown(s)...)
	t.Warnings = append(t.Warnings, t.Levels.unknown(s)...)
	return t
}

// Title returns a label for people, such as "strong buy".
func (v Verdict) Title() string { return strings.ReplaceAll(v.Label, "_", " ") }
