package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

// hostile are files that aim at a parser's stack, memory or time.
func hostile() map[string]string {
	const long = 60_000 // Where a limit of ours fails to hold, even this is beyond patience or the stack.
	attr := func(expr string) string { return "host {\n listen = " + expr + "\n}\n" }
	many := func(n int, block func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(block(i))
		}
		return b.String()
	}
	return map[string]string{
		"too large":        strings.Repeat("#", maxFile+1),
		"braces":           strings.Repeat("a {", long),
		"brackets":         attr(strings.Repeat("[", long)),
		"nots":             attr(strings.Repeat("!", long)),
		"minuses":          attr(strings.Repeat("-", 9_000) + "1"),
		"sums":             attr("1" + strings.Repeat("+1", 9_000)),
		"many sums":        attr("1" + strings.Repeat("+1", long)),
		"conditions":       attr(strings.Repeat("true?1:", 4_000) + "1"),
		"indexes":          attr("host" + strings.Repeat("[0]", 9_000)),
		"splats":           attr("host" + strings.Repeat(".*", 4_000)),
		"templates":        attr(strings.Repeat("\"${", 10_000)),
		"quotes":           strings.Repeat("\"", long),
		"one line":         strings.Repeat("a = 1 ", long),
		"attributes":       "island \"a\" {\nconfig {\n" + many(9_000, func(i int) string { return fmt.Sprintf("a%d=1\n", i) }) + "}\n}\n",
		"strategies":       many(1_000, func(i int) string { return fmt.Sprintf("strategy \"s%d\" {}\n", i) }),
		"reports":          "request {\n" + many(1_000, func(i int) string { return fmt.Sprintf("report \"r%d\" {}\n", i) }) + "}\n",
		"unknown sources":  "broadcast {\nsources = [" + many(9_000, func(i int) string { return fmt.Sprintf("\"s%d\",", i) }) + "]\n}\n",
		"lists of letters": "broadcast {\nsources = [" + many(50, func(int) string { return "split(\"\",\"" + strings.Repeat("a", 900) + "\")," }) + "]\n}\n",
		"origins":          "broadcast {\nclients {\norigins = [" + many(9_000, func(i int) string { return fmt.Sprintf("\"https://s%d\",", i) }) + "]\n}\n}\n",
		"a long origin":    "broadcast {\nclients {\norigins = \"https://" + strings.Repeat("a.", long) + "\"\n}\n}\n",
		"numbers":          attr("\"${1" + strings.Repeat("*1e300", 5_000) + "}\""),
		"zeros":            attr(strings.Repeat("9", long)),
		"formats":          attr("format(\"" + strings.Repeat("%[1]s", long/5) + "\", \"" + strings.Repeat("a", 4_000) + "\")"),
		"joins":            attr("join(\"" + strings.Repeat("a", 4_000) + "\", split(\"\", \"" + strings.Repeat("a", 1_000) + "\"))"),
		"concats":          attr("concat(" + many(50, func(int) string { return "split(\"\",\"" + strings.Repeat("a", 900) + "\")," }) + "[])"),
		"heredoc":          "a = <<A\n" + strings.Repeat("x\n", long),
		"zero bytes":       strings.Repeat("\x00", long),
		"not UTF-8":        strings.Repeat("\xff\n", long/2),
	}
}

// TestHostileFiles ends, with a short list of problems.
func TestHostileFiles(t *testing.T) {
	for name, src := range hostile() {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			_, err := Parse([]byte(src), "islands.hcl", Options{Env: lookup(nil), ExecutableDir: "/"})
			var wrong *Diagnostics
			if !errors.As(err, &wrong) {
				t.Fatalf("got %v", err)
			}
			text := err.Error()
			if len(wrong.Problems()) > maxShown+1 || len(text) > 1<<20 {
				t.Errorf("%d problems in %d bytes", len(wrong.Problems()), len(text))
			}
			if d := time.Since(begin); d > 20*time.Second {
				t.Errorf("took %s", d)
			}
		})
	}
}

// FuzzParse takes any bytes: a configuration that holds what it promises, or problems, and never a panic.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "../islands.hcl") {
		src, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(src)
	}
	dir := binaries(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		begin := time.Now()
		cfg, err := Parse(src, "islands.hcl", Options{
			Env: lookup(map[string]string{"KEY": "hunter2", "DATABASE_URL": "x"}), Describe: describe, ExecutableDir: dir,
		})
		if d := time.Since(begin); d > 10*time.Second {
			t.Errorf("took %s", d)
		}
		if err != nil {
			var wrong *Diagnostics
			if !errors.As(err, &wrong) || len(wrong.Problems()) == 0 || err.Error() == "" {
				t.Errorf("got error %v", err)
			}
			return
		}
		h := cfg.Host
		if !listenable(h.Listen) || h.DataDir == "" || h.RequestTimeout <= 0 || h.SourceTimeout > h.LastSourceTimeout || h.NearCache.MaxEntries < 1 {
			t.Errorf("host is %+v", h)
		}
		b, c := cfg.Broadcast, cfg.Broadcast.Clients
		if b.Silence <= 0 || b.Silence > b.Poll || c.MaxPerAddress < 1 || c.MaxPerAddress > c.MaxConnections || c.MaxMessage < 128 ||
			c.History < 1<<20 || c.WriteTimeout <= 0 || c.WriteTimeout > c.SlowTimeout || c.PongTimeout <= 0 || c.PongTimeout > c.PingInterval {
			t.Errorf("broadcast is %+v", b)
		}
		for _, s := range cfg.Strategies {
			if s.TTL <= 0 || s.StaleFor < 0 {
				t.Errorf("strategy is %+v", s)
			}
		}
		for _, island := range cfg.Islands {
			if !island.Enabled {
				continue
			}
			if err := (sdk.Config{Values: island.Settings}).Decode(&struct{}{}); len(island.Settings) > 0 && err == nil {
				t.Errorf("settings of %s are empty and are not", island.Name)
			}
			for name, value := range island.Settings {
				if s, ok := island.Manifest.Setting(name); !ok || s.Check(value) != nil {
					t.Errorf("setting %q of %s is not checked", name, island.Name)
				}
			}
		}
	})
}
