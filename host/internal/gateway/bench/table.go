package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
)

// results are everything that was measured.
type results struct {
	Machine string  `json:"machine"`
	Tables  []table `json:"tables"`
	// Problems say what could not be measured.
	Problems []string `json:"problems"`
}

// table is a part of the results.
type table struct {
	Title string `json:"title"`
	Rows  []row  `json:"rows"`
}

// row is one figure.
type row struct {
	Name string `json:"name"`
	// Unit of value and ceiling, such as "µs"; empty for plain counts.
	Unit  string `json:"unit"`
	Value spread `json:"value"`
	// P99 is the value that 99 of 100 stay below, where that is known.
	P99 *float64 `json:"p99,omitempty"`
	// Ceiling is the same figure of what the value is held against.
	Ceiling *spread `json:"ceiling,omitempty"`
	// Ratio of value to ceiling.
	Ratio *spread `json:"ratio,omitempty"`
	// Aim is what we want, empty where nothing is asked.
	Aim string `json:"aim,omitempty"`
	// Met is whether the aim is.
	Met *bool `json:"met,omitempty"`
}

// aim adds an aim to a row.
func (r row) aim(want string, met bool) row {
	r.Aim, r.Met = want, &met
	return r
}

// against adds a ceiling to a row, and its ratios.
func (r row) against(ceiling spread, ratio []float64) row {
	r.Ceiling = &ceiling
	if s := spreadOf(ratio); s.Count > 0 {
		r.Ratio = &s
	}
	return r
}

// single returns a row with one reading.
func single(name, unit string, value float64) row {
	return row{Name: name, Unit: unit, Value: spreadOf([]float64{value})}
}

// machine says what the figures were measured on.
func machine() string {
	return fmt.Sprintf("%s/%s, %d processors, %s", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version())
}

// write prints the results as JSON or as tables.
func (r results) write(out io.Writer, asJSON bool) error {
	if asJSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s. Figures drift with what else the machine does; ratios within one run hold.\n", r.Machine)
	for _, t := range r.Tables {
		fmt.Fprintf(&text, "\n%s\n", t.Title)
		columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		fmt.Fprintln(columns, "  \tmedian\tspread\tceiling\tratio\taim\t")
		for _, row := range t.Rows {
			fmt.Fprintf(columns, "  %s\t%s\t%s\t%s\t%s\t%s\t\n", row.Name, withUnit(row.Value.Median, row.Unit), row.spread(),
				shown(row.Ceiling, row.Unit), shownRatio(row.Ratio), row.verdict())
		}
		if err := columns.Flush(); err != nil {
			return err
		}
	}
	for _, problem := range r.Problems {
		fmt.Fprintf(&text, "\nNOT MEASURED: %s\n", problem)
	}
	_, err := io.WriteString(out, text.String())
	return err
}

// spread shows how far the readings lie apart.
func (r row) spread() string {
	switch {
	case r.P99 != nil:
		return "p99 " + number(*r.P99)
	case r.Value.Count > 1:
		return number(r.Value.Min) + "–" + number(r.Value.Max)
	default:
		return ""
	}
}

// verdict shows the aim and whether it is met.
func (r row) verdict() string {
	switch {
	case r.Met == nil:
		return r.Aim
	case *r.Met:
		return r.Aim + ", met"
	default:
		return r.Aim + ", MISSED"
	}
}

func shown(s *spread, unit string) string {
	if s == nil {
		return ""
	}
	return withUnit(s.Median, unit)
}

func shownRatio(s *spread) string {
	switch {
	case s == nil:
		return ""
	case s.Count == 1:
		return strconv.FormatFloat(s.Median, 'f', 2, 64)
	default:
		return fmt.Sprintf("%.2f (%.2f–%.2f)", s.Median, s.Min, s.Max)
	}
}

func withUnit(f float64, unit string) string { return strings.TrimSpace(number(f) + " " + unit) }

// number shows a figure with three digits that matter, whole from 100 on.
func number(f float64) string {
	switch size := math.Abs(f); {
	case f == math.Trunc(f) || size >= 100:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case size >= 10:
		return strconv.FormatFloat(f, 'f', 1, 64)
	case size >= 0.1:
		return strconv.FormatFloat(f, 'f', 2, 64)
	default:
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
}
