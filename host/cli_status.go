package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
)

// inspection is what "islands inspect NAME --json" prints.
type inspection struct {
	Island  islandStatus  `json:"island"`
	Crashes []crashReport `json:"crashes"`
}

// joinInspection makes one answer of two, each part as the host wrote it.
func joinInspection(island json.RawMessage, crashes []byte) ([]byte, error) {
	var reports struct {
		Crashes json.RawMessage `json:"crashes"`
	}
	if err := understand(crashes, &reports); err != nil {
		return nil, err
	}
	if reports.Crashes == nil {
		reports.Crashes = json.RawMessage("[]")
	}
	return json.Marshal(struct {
		Island  json.RawMessage `json:"island"`
		Crashes json.RawMessage `json:"crashes"`
	}{island, reports.Crashes})
}

// understand reads a host's answer.
func understand(answer []byte, into any) error {
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the host's answer is not understood, is it of another version? %w", err)
	}
	return nil
}

// printJSON prints an answer as it came, indented.
func printJSON(w io.Writer, answer []byte) error {
	var out bytes.Buffer
	if err := json.Indent(&out, answer, "", "  "); err != nil {
		return fmt.Errorf("indent the host's answer: %w", err)
	}
	out.WriteByte('\n')
	_, err := out.WriteTo(w)
	return err
}

// showStatus prints a line for each island.
func showStatus(w io.Writer, answer []byte, now time.Time) error {
	var status hostStatus
	if err := understand(answer, &status); err != nil {
		return err
	}
	rows := [][]string{{"ISLAND", "LAYER", "VERSION", "STATE", "STATUS", "PID", "SINCE", "RESTARTS", "REASON"}}
	for i := range status.Islands {
		s := &status.Islands[i]
		rows = append(rows, []string{
			s.Name, s.Layer.String(), s.Version, string(s.State), s.Status.String(), positive(s.PID), ago(now, s.Since),
			strconv.Itoa(s.Restarts), shorten(reasonOf(s), 120),
		})
	}
	return printTable(w, "", rows)
}

// reasonOf is why an island is as it is, including what only an operator may see.
func reasonOf(s *islandStatus) string {
	switch {
	case len(s.Debugger) > 0:
		return strings.TrimSuffix("UNDER A DEBUGGER, unconfined: "+strings.Join(s.Debugger, " ")+"; "+s.Reason, "; ")
	case s.LastError == "" || strings.Contains(s.Reason, s.LastError):
		return s.Reason
	case s.Reason == "":
		return s.LastError
	default:
		return s.Reason + ": " + s.LastError
	}
}

// showInspection prints everything about an island but what it wrote to its standard error.
func showInspection(w io.Writer, answer []byte, now time.Time) error {
	var all inspection
	if err := understand(answer, &all); err != nil {
		return err
	}
	s := &all.Island
	rows := [][]string{
		{"Island", s.Name},
		{"Layer", s.Layer.String()},
		{"Version", s.Version},
		{"State", string(s.State) + ", for " + ago(now, s.Since)},
		{"Since", instant(s.Since)},
		{"Status", s.Status.String()},
		{"Reason", s.Reason},
		{"Last error", s.LastError},
		{"PID", positive(s.PID)},
		{"Binary", binaryOf(s)},
		{"Generation", strconv.FormatUint(s.Generation, 10)},
		{"Restarts", strconv.Itoa(s.Restarts)},
		{"SHA-256", s.Applied.SHA256},
		{"Sealed", orWhy(s.Applied.Sealed, s.Applied.Unsealed)},
		{"Isolated", orWhy(s.Applied.Isolated, s.Applied.NotIsolated)},
		{"User", userOf(&s.Applied, s.PID != 0)},
		{"Confined", confinementOf(&s.Applied)},
		{"Cgroup", cgroupOf(&s.Applied)},
		{"Limits", limitsOf(&s.Applied)},
		{"Health", withReason(s.Health.Status, s.Health.Reason)},
	}
	if s.State != supervisor.StateRunning {
		rows = rows[:len(rows)-1] // What it last answered says nothing about an island that does not run.
	}
	if len(s.Debugger) > 0 {
		rows = append(rows, []string{"Debugger", strings.Join(s.Debugger, " ")})
	}
	if err := printTable(w, "", rows); err != nil {
		return err
	}
	if len(s.Health.Parts) > 0 && s.State == supervisor.StateRunning {
		rows = [][]string{{"PART", "STATUS", "REASON", "DETAILS"}}
		for _, p := range s.Health.Parts {
			rows = append(rows, []string{p.Name, p.Status.String(), p.Reason, detailsOf(p.Details)})
		}
		if err := printTable(w, "\n", rows); err != nil {
			return err
		}
	}
	if len(all.Crashes) == 0 {
		_, err := fmt.Fprintln(w, "\nNo crashes.")
		return err
	}
	rows = [][]string{{"CRASHED", "AGO", "CAUSE", "PID", "UPTIME", "END"}}
	for i := range all.Crashes {
		c := &all.Crashes[i]
		rows = append(rows, []string{instant(c.At), ago(now, c.At), string(c.Cause), positive(c.PID), uptime(c), shorten(endOf(c), 200)})
	}
	if err := printTable(w, "\n", rows); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\n\"islands crash %s\" shows what it wrote to its standard error.\n", printable(s.Name))
	return err
}

// binaryOf is the path of the binary in effect.
func binaryOf(s *islandStatus) string {
	if s.Overridden {
		return s.Path + " (put there by a swap, until the next reload)"
	}
	return s.Path
}

// showCrashes prints crash reports with the last lines of standard error, all of them when lines is 0.
func showCrashes(w io.Writer, answer []byte, now time.Time, lines int) error {
	var reports crashReports
	if err := understand(answer, &reports); err != nil {
		return err
	}
	if len(reports.Crashes) == 0 {
		_, err := fmt.Fprintln(w, "No crashes.")
		return err
	}
	for i := range reports.Crashes {
		c := &reports.Crashes[i]
		before := ""
		if i > 0 {
			before = "\n"
		}
		err := printTable(w, before, [][]string{
			{"Island", c.Island},
			{"Crashed", instant(c.At) + ", " + ago(now, c.At) + " ago"},
			{"Cause", string(c.Cause)},
			{"End", endOf(c)},
			{"Version", c.Version},
			{"PID", positive(c.PID)},
			{"Uptime", uptime(c)},
		})
		if err != nil {
			return err
		}
		if _, err := io.WriteString(w, stackOf(c, lines)+stderrOf(c, lines)); err != nil {
			return err
		}
	}
	return nil
}

// stackOf is how the island gave up, the first lines of it, where the goroutine stands that did.
func stackOf(c *crashReport, most int) string {
	text := strings.TrimRight(c.Stack, "\r\n")
	if text == "" {
		return ""
	}
	written := strings.Split(text, "\n")
	out := "Stack\n"
	if most > 0 && len(written) > most {
		out = fmt.Sprintf("Stack    the first %d of %d lines; --lines 0 shows all\n", most, len(written))
		written = written[:most]
	}
	return out + indented(written)
}

// stderrOf is the end of what a crashed island wrote, indented below a line that says how much of it that is.
func stderrOf(c *crashReport, most int) string {
	text := strings.TrimRight(c.Stderr, "\r\n")
	if text == "" {
		return "Stderr   nothing\n"
	}
	written := strings.Split(text, "\n")
	var out strings.Builder
	if left := len(written) - most; most > 0 && left > 0 {
		written = written[left:]
		fmt.Fprintf(&out, "Stderr   the last %d of %d lines; --lines 0 shows all\n", most, most+left)
	} else {
		out.WriteString("Stderr\n")
	}
	return out.String() + indented(written)
}

// indented are lines that an island wrote, as a terminal may see them.
func indented(lines []string) string {
	var out strings.Builder
	for _, line := range lines {
		line = strings.ReplaceAll(strings.TrimRight(line, "\r"), "\t", "    ")
		out.WriteString(strings.TrimRight("  "+printable(line), " ") + "\n")
	}
	return out.String()
}

// endOf says how the process ended.
func endOf(c *crashReport) string {
	var end string
	switch {
	case c.Cause == supervisor.CauseStart, c.Cause == supervisor.CauseConfiguration, c.Cause == supervisor.CauseChecksum:
		end = "did not start"
	case c.Cause == supervisor.CauseSocket:
		end = "was replaced"
	case c.Cause == supervisor.CauseOutOfMemory && c.Limit != "":
		end = "ran out of memory, limit: " + c.Limit
	case c.Cause == supervisor.CauseOutOfMemory:
		end = "ran out of memory"
	case c.Cause == supervisor.CauseHang:
		end = "hung and was killed"
	case c.Signal != "":
		end = "ended by signal: " + c.Signal
	default:
		end = "exited with status " + strconv.Itoa(c.Code)
	}
	if c.Error != "" {
		end += ": " + c.Error
	}
	return end
}

func uptime(c *crashReport) string {
	seconds := min(max(c.UptimeSeconds, 0), math.MaxInt64/float64(2*time.Second))
	if d := time.Duration(seconds * float64(time.Second)); d < time.Second {
		return d.Round(time.Millisecond).String()
	}
	return short(time.Duration(seconds * float64(time.Second)))
}

func showIslandChange(w io.Writer, answer []byte, _ time.Time) error {
	var done struct {
		Island string `json:"island"`
		Result string `json:"result"`
	}
	if err := understand(answer, &done); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, printable(done.Island), printable(done.Result))
	return err
}

func showReload(w io.Writer, answer []byte, _ time.Time) error {
	var done reloaded
	if err := understand(answer, &done); err != nil {
		return err
	}
	var out bytes.Buffer
	if done.Result == "unchanged" {
		out.WriteString("The configuration is what it was.\n")
	}
	for _, what := range done.lists() {
		if len(what.names) > 0 {
			fmt.Fprintf(&out, "%-14s %s\n", what.title+":", strings.Join(what.names, ", "))
		}
	}
	_, err := fmt.Fprint(w, printable(cmp.Or(out.String(), "no islands\n")))
	return err
}

func showInvalidation(w io.Writer, answer []byte, _ time.Time) error {
	var done struct {
		Invalidated int `json:"invalidated"`
	}
	if err := understand(answer, &done); err != nil {
		return err
	}
	noun := "keys"
	if done.Invalidated == 1 {
		noun = "key"
	}
	_, err := fmt.Fprintf(w, "%d %s forgotten\n", done.Invalidated, noun)
	return err
}

func showTierChange(w io.Writer, answer []byte, _ time.Time) error {
	var done struct {
		Tier    string `json:"tier"`
		Enabled bool   `json:"enabled"`
	}
	if err := understand(answer, &done); err != nil {
		return err
	}
	word := "disabled"
	if done.Enabled {
		word = "enabled"
	}
	_, err := fmt.Fprintln(w, printable(done.Tier), word)
	return err
}

// printTable prints rows in aligned columns, after what comes before them. An empty cell is a dash, except in the last
// column.
func printTable(w io.Writer, before string, rows [][]string) error {
	var aligned bytes.Buffer
	columns := tabwriter.NewWriter(&aligned, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			cell = printable(strings.Join(strings.Fields(cell), " "))
			if cell == "" && (i < len(row)-1 || len(row) == 2) {
				cell = "-"
			}
			if i > 0 {
				cell = "\t" + cell
			}
			_, _ = io.WriteString(columns, cell) // A buffer takes everything.
		}
		_, _ = io.WriteString(columns, "\n")
	}
	if err := columns.Flush(); err != nil {
		return err
	}
	out := bytes.NewBufferString(before)
	for line := range bytes.Lines(aligned.Bytes()) {
		out.Write(bytes.TrimRight(line, " \n"))
		out.WriteByte('\n')
	}
	_, err := out.WriteTo(w)
	return err
}

// printable replaces what a terminal would obey rather than show. Much of what is printed was written by islands.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, text)
}

// shorten cuts a text to so many letters.
func shorten(text string, most int) string {
	letters := []rune(text)
	if len(letters) <= most {
		return text
	}
	return string(letters[:most-1]) + "…"
}

// positive is a number, or nothing where it is 0.
func positive(n int) string {
	if n <= 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// instant is a time to the second, or nothing for none.
func instant(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// ago is how long before now something was, or nothing for no time.
func ago(now, then time.Time) string {
	if then.IsZero() {
		return ""
	}
	return short(now.Sub(then))
}

// short is a duration in its two largest units. What has not yet begun, by clocks that differ, begins now.
func short(d time.Duration) string {
	d = max(d, 0)
	units := []struct {
		length time.Duration
		name   string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}}
	for i, unit := range units {
		count := d / unit.length
		if count == 0 && unit.name != "s" {
			continue
		}
		text := strconv.FormatInt(int64(count), 10) + unit.name
		if i+1 < len(units) {
			if rest := d % unit.length / units[i+1].length; rest > 0 {
				text += strconv.FormatInt(int64(rest), 10) + units[i+1].name
			}
		}
		return text
	}
	return "0s"
}

func withReason(status sdk.Status, reason string) string {
	if reason == "" {
		return status.String()
	}
	return status.String() + ": " + reason
}

// detailsOf is the details of a part as key=value, in alphabetical order.
func detailsOf(details map[string]any) string {
	words := make([]string, 0, len(details))
	for _, key := range slices.Sorted(maps.Keys(details)) {
		words = append(words, key+"="+detail(details[key]))
	}
	return strings.Join(words, " ")
}

func detail(value any) string {
	switch value := value.(type) {
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64)
	case string:
		if value == "" || strings.ContainsFunc(value, unicode.IsSpace) {
			return strconv.Quote(value)
		}
		return value
	default:
		return fmt.Sprint(value)
	}
}
