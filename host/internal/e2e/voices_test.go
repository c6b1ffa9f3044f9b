package e2e

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestEveryWordOfAnIslandIsLabelled has an island speak in every way that an author may, on purpose or not, and finds each
// word in the host's log, under the island's name.
func TestEveryWordOfAnIslandIsLabelled(t *testing.T) {
	t.Parallel()
	m, d := startMarket(t), startDirector(t, "voice")
	h := startHost(t, m, map[string]string{
		"LOG_FORMAT": "json",
		"ISLANDS_CONFIG": edited(t, func(text string) string {
			return strings.Replace(text, "\nrequest {\n", "\n"+d.block("voice")+"request {\n", 1)
		}),
	})
	labelled := func(words ...string) map[string]any {
		t.Helper()
		line := h.says(t, append([]string{`"voice"`}, words...)...)
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if record["island"] != "voice" || record["layer"] != "external_services" {
			t.Errorf("without its label: %s", line)
		}
		return record
	}
	d.order(t, "voice", "speak")
	if told := d.hear(t, "voice"); told != "spoken" {
		t.Fatal(told)
	}
	for _, words := range []string{
		"printed to stdout", "printed to stderr", "logged by package log", "logged by slog's default",
	} {
		labelled(words)
	}
	if record := labelled("logged by the logger of the SDK"); record["@level"] != "warn" || record["attempt"] != 3.0 {
		t.Errorf("its level or its field is lost: %v", record)
	}

	// A panic in a call is told with its stack, and the island goes on.
	d.order(t, "voice", "panics")
	d.hear(t, "voice")
	record := labelled("panic in ", "a panic in every call")
	if stack, _ := record["stack"].(string); !strings.Contains(stack, "misbehave") {
		t.Errorf("without its stack: %v", record)
	}

	// One outside of a call ends it. What the Go runtime wrote is told, line by line, and kept with the crash.
	d.order(t, "voice", "panic")
	labelled("panic: a panic of its own")
	labelled("Island crashed")
	var report strings.Builder
	for _, c := range h.crashes(t, "voice") {
		report.WriteString(c.String())
	}
	if out := h.cli(t, "crash", "voice"); !strings.Contains(out, "a panic of its own") {
		t.Errorf("the crash is shown as %s; there are %s", out, report.String())
	}
}
