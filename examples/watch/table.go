package main

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"charm.land/lipgloss/v2"

	"github.com/service-islands/islands/sdk"
)

// staleAfter is the age from which a quote is shown as stale, whoever did not tell.
const staleAfter = 2 * time.Minute

// view is everything that is drawn.
type view struct {
	url      string
	link     link
	live     bool
	last     string   // the channel of the last update,
	at       position // and its place.
	rows     []row
	global   *global
	holes    int
	lost     uint64
	latency  time.Duration
	notes    []string // what went wrong, the latest last.
	now      time.Time
	rejoined int // connections after the first.
}

// palette is how things look.
type palette struct{ up, down, good, bad, head, faint lipgloss.Style }

// paint returns the palette; without colour there are bold and faint, and the marks say the rest.
func paint(colour bool) palette {
	plain := lipgloss.NewStyle()
	p := palette{up: plain, down: plain, good: plain, bad: plain.Bold(true), head: plain.Bold(true), faint: plain.Faint(true)}
	if colour {
		p.up, p.down, p.good = p.up.Foreground(lipgloss.Green), p.down.Foreground(lipgloss.Red), p.good.Foreground(lipgloss.Green)
		p.bad, p.head = p.bad.Foreground(lipgloss.Yellow), p.head.Foreground(lipgloss.Cyan)
	}
	return p
}

// column is one of the table's.
type column struct {
	title string
	left  bool
	least int // letters, so that the table does not jump when it grows.
	cell  func(r row, v view) string
}

var columns = []column{
	{"SYMBOL", true, 6, func(r row, _ view) string { return printable(r.Symbol) }},
	{"PRICE", false, 14, func(r row, _ view) string { return price(r.Price) + " " + mark(r.trend) }},
	{"24H", false, 8, func(r row, _ view) string { return percent(r.Change24h) }},
	{"VOLUME", false, 8, func(r row, _ view) string { return short(r.Volume24h) }},
	{"SOURCE", true, 16, func(r row, _ view) string { return printable(r.Source) }},
	{"AGE", false, 5, func(r row, v view) string { return age(r.AsOf, v.now) + tilde(stale(r, v)) }},
}

// dropped lists the columns that a narrow window goes without, the first to go first.
var dropped = []string{"SOURCE", "VOLUME", "AGE", "24H"}

// draw returns the lines for a window of the width and height, styled, none longer and no more than fit.
func draw(v view, width, height int, p palette) []string {
	lines := []string{stateLine(v, p), positionLine(v)}
	if v.global != nil {
		lines = append(lines, globalLine(*v.global))
	}
	for _, note := range v.notes {
		lines = append(lines, p.bad.Render("! "+note))
	}
	lines = append(lines, "")
	lines = append(lines, table(v, width, height-len(lines), p)...)
	for i, line := range lines {
		lines[i] = lipgloss.NewStyle().Inline(true).MaxWidth(width).Render(line)
	}
	return lines[:min(len(lines), max(height, 1))]
}

func stateLine(v view, p palette) string {
	switch {
	case v.link.up && v.live:
		return p.good.Render("● connected") + "  " + v.url
	case v.link.up:
		return p.bad.Render("○ subscribing") + "  " + v.url
	case v.link.reason == "":
		return p.bad.Render("○ connecting") + "  " + v.url
	default:
		wait := max(v.link.retry.Sub(v.now), 0).Round(100 * time.Millisecond)
		return p.bad.Render(fmt.Sprintf("○ reconnecting in %v", wait)) + "  " + v.link.reason
	}
}

// positionLine has what is longest at its end, where a narrow window cuts it off.
func positionLine(v view) string {
	seq, epoch, latency := "-", "-", "-"
	if v.last != "" {
		seq, epoch = strconv.FormatUint(v.at.Seq, 10)+" of "+v.last, printable(v.at.Epoch)
	}
	if v.latency != 0 {
		latency = v.latency.Round(100 * time.Microsecond).String()
	}
	holes := strconv.Itoa(v.holes)
	if v.lost > 0 {
		holes += fmt.Sprintf(" (%d lost)", v.lost)
	}
	return fmt.Sprintf("seq %s  holes %s  latency %s  reconnects %d  epoch %s", seq, holes, latency, v.rejoined, epoch)
}

func globalLine(g global) string {
	line := "market " + short(g.MarketCap) + " " + percent(g.MarketCapChange24h) + "  volume " + short(g.Volume24h)
	symbols := slices.SortedFunc(maps.Keys(g.Dominance), func(a, b string) int {
		return cmp.Or(cmp.Compare(g.Dominance[b].Or(0), g.Dominance[a].Or(0)), strings.Compare(a, b))
	})
	for _, symbol := range symbols[:min(3, len(symbols))] {
		line += "  " + printable(symbol) + " " + strings.TrimPrefix(percent(g.Dominance[symbol]), "+")
	}
	return strings.TrimRight(line+" "+tilde(g.Stale), " ")
}

// table returns the heading, as many rows as fit, and how many do not.
func table(v view, width, height int, p palette) []string {
	if len(v.rows) == 0 {
		return []string{p.faint.Render("no quotes yet")}
	}
	shown := v.rows
	if room := max(height-1, 0); len(shown) > room {
		shown = shown[:max(room-1, 0)]
	}
	chosen, widths := fit(v, shown, width)
	cells := make([]string, len(chosen))
	for i, c := range chosen {
		cells[i] = pad(c.title, widths[i], c.left)
	}
	lines := []string{p.head.Render(strings.TrimRight(strings.Join(cells, "  "), " "))}
	for _, r := range shown {
		for i, c := range chosen {
			cell := pad(c.cell(r, v), widths[i], c.left)
			if style, styled := p.of(c.title, r); styled && !stale(r, v) {
				cell = style.Render(cell)
			}
			cells[i] = cell
		}
		line := strings.TrimRight(strings.Join(cells, "  "), " ")
		if stale(r, v) {
			line = p.faint.Render(line)
		}
		lines = append(lines, line)
	}
	if more := len(v.rows) - len(shown); more > 0 {
		lines = append(lines, p.faint.Render(fmt.Sprintf("… and %d more", more)))
	}
	return lines
}

// of returns the style of a cell, when it has one.
func (p palette) of(title string, r row) (lipgloss.Style, bool) {
	direction := 0.0
	switch title {
	case "PRICE":
		direction = float64(r.trend)
	case "24H":
		direction = r.Change24h.Or(0)
	}
	switch {
	case direction > 0:
		return p.up, true
	case direction < 0:
		return p.down, true
	default:
		return lipgloss.Style{}, false
	}
}

// fit returns the columns for which there is room, and their widths.
func fit(v view, rows []row, width int) ([]column, []int) {
	chosen := slices.Clone(columns)
	for next := 0; ; next++ {
		widths, total := make([]int, len(chosen)), 2*(len(chosen)-1)
		for i, c := range chosen {
			widths[i] = max(c.least, len(c.title))
			for _, r := range rows {
				widths[i] = max(widths[i], lipgloss.Width(c.cell(r, v)))
			}
			total += widths[i]
		}
		if total <= width || next == len(dropped) {
			return chosen, widths
		}
		chosen = slices.DeleteFunc(chosen, func(c column) bool { return c.title == dropped[next] })
	}
}

func pad(cell string, width int, left bool) string {
	space := strings.Repeat(" ", max(width-lipgloss.Width(cell), 0))
	if left {
		return cell + space
	}
	return space + cell
}

// stale reports whether a quote should not be relied on.
func stale(r row, v view) bool { return r.Stale || !v.live || v.now.Sub(r.AsOf) > staleAfter }

// tilde is the sign of what is stale, for those who see no faint.
func tilde(stale bool) string {
	if stale {
		return "~"
	}
	return " "
}

func mark(trend int) string { return [3]string{"▼", " ", "▲"}[trend+1] }

// price shows a price as people write it: few decimals for a large one, five digits that mean something for a small one.
func price(n sdk.Number) string {
	f, known := n.Float64()
	if !known {
		return "-"
	}
	decimals := 2
	switch size := math.Abs(f); {
	case size >= 100 || size == 0:
	case size >= 1:
		decimals = 4
	default:
		decimals = min(4-int(math.Floor(math.Log10(size))), 16)
	}
	return grouped(strconv.FormatFloat(f, 'f', decimals, 64))
}

// grouped puts a comma before each three digits of the whole part.
func grouped(text string) string {
	whole, rest, _ := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0 && whole[:i] != "-"; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	return whole + "." + rest
}

func percent(n sdk.Number) string {
	f, known := n.Float64()
	if !known {
		return "-"
	}
	return fmt.Sprintf("%+.2f%%", f)
}

// short shows a sum with three or four digits and a letter for the thousands.
func short(n sdk.Number) string {
	f, known := n.Float64()
	if !known {
		return "-"
	}
	for _, unit := range []struct {
		size float64
		sign string
	}{{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}} {
		if f >= unit.size {
			return strconv.FormatFloat(f/unit.size, 'f', 2, 64) + unit.sign
		}
	}
	return strconv.FormatFloat(f, 'f', 2, 64)
}

// age shows how old something is, in the largest unit that says something.
func age(asOf, now time.Time) string {
	if asOf.IsZero() {
		return "-"
	}
	switch d := max(now.Sub(asOf), 0); {
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d.Hours())) + "h"
	default:
		return strconv.Itoa(int(d.Hours()/24)) + "d"
	}
}

// printable returns the text without what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, text)
}
