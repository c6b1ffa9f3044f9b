package process

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestReadLines(t *testing.T) {
	long := strings.Repeat("x", maxLine)
	for name, tc := range map[string]struct {
		text string
		want []string
	}{
		"nothing":                  {"", nil},
		"one":                      {"a\n", []string{"a"}},
		"the last without an end":  {"a\nb", []string{"a", "b"}},
		"empty ones are left out":  {"\n\na\r\n\r\n\n", []string{"a"}},
		"as long as can be":        {long[:maxLine-1] + "\nb\n", []string{long[:maxLine-1], "b"}},
		"a longer one is cut":      {long + "and more\nb\n", []string{long, "b"}},
		"a far longer one is cut":  {strings.Repeat(long, 5) + "\nb\n", []string{long, "b"}},
		"a longer one without end": {long + long + "tail", []string{long}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			readLines(strings.NewReader(tc.text), func(line []byte) { got = append(got, string(line)) })
			if len(got) != len(tc.want) {
				t.Fatalf("%d lines, want %d", len(got), len(tc.want))
			}
			for i := range got {
				if got[i] != tc.want[i] {
					t.Errorf("line %d: %.20q of %d bytes, want %.20q of %d", i, got[i], len(got[i]), tc.want[i], len(tc.want[i]))
				}
			}
		})
	}
}

func TestTailKeepsTheEnd(t *testing.T) {
	var tail tail
	for range 10 {
		if n, err := tail.Write(bytes.Repeat([]byte("early"), 10_000)); n != 50_000 || err != nil {
			t.Fatal(n, err)
		}
	}
	_, _ = tail.Write([]byte("the end \xff"))
	if got := tail.String(); len(got) > tailSize+3 || !strings.HasSuffix(got, "the end \uFFFD") {
		t.Errorf("%d bytes, ending in %q", len(got), got[len(got)-20:])
	}
}

func logged(write func(hclog.Logger)) string {
	var out bytes.Buffer
	write(hclog.New(&hclog.LoggerOptions{Output: &out, Level: hclog.Trace, DisableTime: true}))
	return out.String()
}

func TestLogLine(t *testing.T) {
	for name, tc := range map[string]struct{ line, want string }{
		"a record":            {`{"time":"t","level":"ERROR","msg":"m","b":2,"a":"x"}`, "[ERROR] m: a=x b=2\n"},
		"a debug record":      {`{"level":"DEBUG","msg":"m"}`, "[DEBUG] m\n"},
		"a level between":     {`{"level":"WARN+2","msg":"m"}`, "[WARN]  m\n"},
		"an unknown level":    {`{"level":"LOUD","msg":"m"}`, `[WARN]  island wrote to stderr: line="{\"level\":\"LOUD\",\"msg\":\"m\"}"` + "\n"},
		"an empty message":    {`{"level":"INFO","msg":""}`, "[INFO]  \n"},
		"a level of no name":  {`{"@level":3}`, `[WARN]  island wrote to stderr: line="{\"@level\":3}"` + "\n"},
		"a level of a number": {`{"level":3,"msg":"m"}`, `[WARN]  island wrote to stderr: line="{\"level\":3,\"msg\":\"m\"}"` + "\n"},
		"words":               {`panic: oh`, `[WARN]  island wrote to stderr: line="panic: oh"` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			got := logged(func(l hclog.Logger) { logLine(newFlood(l), []byte(tc.line)) })
			if strings.TrimSpace(got) != strings.TrimSpace(tc.want) {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func FuzzLogLine(f *testing.F) {
	for _, seed := range []string{`{"level":"INFO","msg":"m","x":[1,{"y":null}]}`, `{"@level":3}`, "{", "\x00", `{"level":"INFO+9","msg":"m"}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		lines := 0
		text = text[:min(len(text), floodLines)] // No more than is let through.
		out := logged(func(l hclog.Logger) {
			flood := newFlood(l)
			readLines(strings.NewReader(text), func(line []byte) {
				lines++
				logLine(flood, line)
			})
		})
		if (lines > 0) != (out != "") {
			t.Errorf("%d lines became %q", lines, out)
		}
	})
}

func TestPrintedInChunks(t *testing.T) {
	got := logged(func(l hclog.Logger) {
		p := &printed{flood: newFlood(l)}
		for _, chunk := range []string{"on", "e\ntwo\r\n\nthr", "ee", strings.Repeat("x", maxLine), "\nfour\n", "never ended"} {
			if n, err := p.Write([]byte(chunk)); n != len(chunk) || err != nil {
				t.Fatal(n, err)
			}
		}
		if len(p.partial) != len("never ended") {
			t.Errorf("%d bytes are kept", len(p.partial))
		}
	})
	for _, want := range []string{"line=one\n", "line=two\n", "line=threexxx", "line=four\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not among %.200q", want, got)
		}
	}
	if strings.Contains(got, "never") {
		t.Error("half a line was logged")
	}
}

func TestAFloodIsCountedAndNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		flood := newFlood(hclog.New(&hclog.LoggerOptions{Output: &out, DisableTime: true}))
		lines := func() int { return strings.Count(out.String(), "line=x") }
		for range 10 * floodLines {
			logLine(flood, []byte("x"))
		}
		if got := lines(); got != floodLines {
			t.Errorf("%d lines at once, not %d", got, floodLines)
		}
		time.Sleep(floodInterval)
		synctest.Wait()
		if got := out.String(); !strings.Contains(got, "lines=18000 bytes=18000 within=10s") {
			t.Errorf("the log ends with %q", got[max(0, len(got)-200):])
		}
		for range 10 * floodLines {
			logLine(flood, []byte("x"))
		}
		if got := lines(); got != 2*floodLines { // Ten seconds at 200 a second have gone by.
			t.Errorf("%d lines later, not %d", got, 2*floodLines)
		}
		flood.tell() // The island has ended.
		flood.tell()
		time.Sleep(time.Minute)
		if got := strings.Count(out.String(), "are left out"); got != 2 {
			t.Errorf("told %d times", got)
		}
		out.Reset()
		for range 10 {
			_, _ = (&printed{flood: flood}).Write(append(bytes.Repeat([]byte("y"), maxLine-1), '\n'))
		}
		if got := strings.Count(out.String(), "line=yyy"); got != 10 {
			t.Errorf("%d of 10 lines after the flood", got)
		}
		for range 200 {
			_, _ = (&printed{flood: flood}).Write(append(bytes.Repeat([]byte("y"), maxLine-1), '\n'))
		}
		if got := out.Len(); got > floodBytes+1<<20 {
			t.Errorf("%d bytes of long lines", got)
		}
		flood.tell()
	})
}

func TestShortLines(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = write.Write(bytes.Repeat([]byte("x"), 5*maxShake))
		_, _ = write.WriteString("\nshort\n")
		_, _ = write.Write(bytes.Repeat([]byte("y"), 3*maxShake))
		_ = write.Close()
	}()
	short := &shortLines{File: read}
	defer func() { _ = short.Close() }()
	got, err := io.ReadAll(short)
	want := strings.Repeat("x", maxShake) + "\nshort\n" + strings.Repeat("y", maxShake)
	if err != nil || string(got) != want {
		t.Errorf("%d bytes, want %d, %v", len(got), len(want), err)
	}
}
