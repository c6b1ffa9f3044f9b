package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// withCrashDir keeps the reports of a bench in a folder.
func withCrashDir(dir string) func(*fakeFarm, *Options) {
	return func(_ *fakeFarm, o *Options) { o.CrashDir = dir }
}

func TestCrashReportsOutliveTheHost(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "crashes")
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood", Restart: Restart{MaxCrashes: 100}}}, withCrashDir(dir))
		if err := b.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		for range 13 {
			time.Sleep(2 * time.Minute)
			b.farm.latest("mood").die(3, "")
			b.state("mood", StateRunning)
		}
		if err := b.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		before, err := b.Crashes("mood")
		if err != nil || len(before) != keptCrashes {
			t.Fatalf("%d crashes, %v", len(before), err)
		}
		after, err := newBench(t, []Spec{{Name: "mood"}}, withCrashDir(dir)).Crashes("mood")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("after a restart of the host (-before +after):\n%s", diff)
		}
	})
	folder := filepath.Join(dir, "mood")
	if names := reportsIn(folder); len(names) != keptCrashes {
		t.Errorf("%d reports on disk: %v", len(names), names)
	}
	for path, want := range map[string]os.FileMode{folder: 0o700, filepath.Join(folder, reportsIn(folder)[0]): 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
}

func TestWhatIsNoReportIsSweptOrLeft(t *testing.T) {
	t.Parallel()
	const id = "20260101T000000.000000000Z"
	whole := `{"format":1,"id":"` + id + `","island":"mood","cause":"hang"}`
	tests := []struct {
		name, file, text string
		stays            bool
		read             int
	}{
		{"a whole one", id + ".json", whole, true, 1},
		{"one that was not finished", "." + id + ".json.123", whole[:20], false, 0},
		{"a torn one", id + ".json", whole[:20], false, 0},
		{"an empty one", id + ".json", "", false, 0},
		{"no report", id + ".json", `{"format":1}`, false, 0},
		{"too long", id + ".json", whole + strings.Repeat(" ", maxReport), false, 0},
		{"of a newer host", id + ".json", strings.Replace(whole, `"format":1`, `"format":2`, 1), true, 0},
		{"another's name in it", id + ".json", strings.Replace(whole, "mood", "cache", 1), true, 0},
		{"somebody else's file", "notes.txt", "remember the milk", true, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, "mood", test.file)
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
			b := newBench(t, []Spec{{Name: "mood"}}, withCrashDir(dir))
			if crashes, err := b.Crashes("mood"); err != nil || len(crashes) != test.read {
				t.Errorf("%d crashes, %v, want %d", len(crashes), err, test.read)
			}
			if _, err := os.Stat(path); (err == nil) != test.stays {
				t.Errorf("the file: %v, want that it stays: %v", err, test.stays)
			}
		})
	}
}

func TestADiskThatCannotBeWrittenCostsTheReportAlone(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "crashes")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // Where the folder should be.
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{Name: "mood"}}, withCrashDir(dir)).started()
		for range 3 {
			time.Sleep(2 * time.Minute)
			b.farm.latest("mood").die(1, "")
			b.state("mood", StateRunning)
		}
		if n := b.log.count("Crash reports cannot be kept on disk"); n != 1 {
			t.Errorf("%d lines in:\n%s", n, b.log)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		b.farm.latest("mood").die(1, "")
		b.state("mood", StateRunning)
		if n := b.log.count("Crash reports can be kept on disk again"); n != 1 {
			t.Errorf("%d lines in:\n%s", n, b.log)
		}
	})
	if names := reportsIn(filepath.Join(dir, "mood")); len(names) != 1 {
		t.Errorf("the reports are %v", names)
	}
}

func TestALongReportIsCut(t *testing.T) {
	t.Parallel()
	crash := Crash{
		ID: "20260101T000000.000000000Z", Island: "mood", Stderr: strings.Repeat("\x01", 64<<10) + "the end",
		Stack: "goroutine 1" + strings.Repeat("\x01", 400<<10), Error: strings.Repeat("\x02", 100<<10),
	}
	text, err := encodeReport(crash)
	if err != nil || len(text) > maxReport {
		t.Fatalf("%d bytes, %v", len(text), err)
	}
	path := filepath.Join(t.TempDir(), "report.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	read, err := readReport(path)
	if err != nil || !strings.HasPrefix(read.Stack, "goroutine 1") || !strings.HasSuffix(read.Stderr, "the end") {
		t.Errorf("it reads %+v, %v", read, err)
	}
}

func TestSecretsAreRedacted(t *testing.T) {
	t.Parallel()
	const url, key, token = "redis://user:pa%22ss-word@localhost/0", `k"ey-12345`, "environment-token"
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, []Spec{{
			Name: "mood", Env: map[string]string{"TOKEN": token}, Settings: map[string]any{"url": url, "key": key, "open": "not-secret"},
		}}, func(f *fakeFarm, _ *Options) {
			f.onLaunch = func(n int, p *fakeProcess, opts process.LaunchOptions) error {
				p.manifest.Settings = []sdk.Setting{{Name: "url", Secret: true}, {Name: "key", Secret: true}, {Name: "open"}}
				opts.Logger.Info("started with " + token)
				p.initialize = func(context.Context, sdk.Config) error {
					opts.Logger.Info("connecting to "+url, "key", key, "open", "not-secret")
					if n == 2 {
						return sdk.Errorf(sdk.InvalidArgument, "cannot reach %s with not-secret", url)
					}
					return nil
				}
				return nil
			}
		}).started()
		p := b.farm.latest("mood")
		p.end.Do(func() {
			p.exit = process.Exit{
				At: time.Now(), Code: 2, Stderr: "password pa\"ss-word and " + token + ", not-secret", Stack: `panic: k\"ey-12345, not-secret`,
			}
			close(p.done)
		})
		time.Sleep(time.Second)
		b.state("mood", StateFailed)
		crashes, err := b.Crashes("mood")
		if err != nil || len(crashes) != 2 {
			t.Fatalf("%d crashes, %v", len(crashes), err)
		}
		everything := b.log.String() + b.Status()[0].LastError
		for _, c := range crashes {
			everything += c.Error + c.Stderr + c.Stack
		}
		err = b.Restart(t.Context(), "mood")
		if err != nil {
			everything += err.Error()
		}
		for _, secret := range []string{url, key, token, `k\"ey-12345`, "ss-word"} {
			if strings.Contains(everything, secret) {
				t.Errorf("%q shows in:\n%s", secret, everything)
			}
		}
		if n := strings.Count(everything, "not-secret"); n < 4 {
			t.Errorf("what is no secret shows %d times in:\n%s", n, everything)
		}
	})
}
