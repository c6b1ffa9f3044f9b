package scaffold

import (
	"bytes"
	"context"
	"errors"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// checkout is the tree that this package is a part of.
const checkout = "../../.."

// write writes an island into a folder of its own.
func write(t *testing.T, opts Options) Island {
	t.Helper()
	if opts.Dir == "" {
		opts.Dir = filepath.Join(t.TempDir(), "author's own", opts.Name)
	}
	island, err := Write(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return island
}

// run runs the Go tool in a folder, off the network.
func run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOPROXY=off", "GOFLAGS=", "GOWORK=off", "PWD="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestIslands writes each kind of island and does with it what its author does first: it is formatted, vetted, passes its
// own tests, which are the conformance kit, is built, and says what it is. None of that needs a network or an edit.
func TestIslands(t *testing.T) {
	t.Parallel()
	for kind, role := range map[Kind]string{Source: `"candles"`, Store: `"store"`, Reporter: `"reporter"`} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			island := write(t, Options{Kind: kind, Name: "demo-2-" + string(kind), SDK: checkout})
			if island.Untidy != nil {
				t.Errorf("go.mod is not tidy: %v", island.Untidy)
			}
			for _, name := range island.Files {
				text, err := os.ReadFile(filepath.Join(island.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(text, []byte("<%")) || bytes.Contains(text, []byte("no value>")) || bytes.Contains(text, []byte("\n\n\n")) {
					t.Errorf("%s holds traces of its template:\n%s", name, text)
				}
				if name != snippetFile && name != "go.mod" && bytes.Contains(text, []byte(island.Dir)) {
					t.Errorf("%s names a place on this machine", name)
				}
				if strings.HasSuffix(name, ".go") {
					if formatted, err := format.Source(text); err != nil || !bytes.Equal(formatted, text) {
						t.Errorf("%s is not formatted: %v", name, err)
					}
				}
			}
			if readme, err := os.ReadFile(filepath.Join(island.Dir, "README.md")); err != nil || !bytes.Contains(readme, []byte("\n"+island.Verify+"\n")) {
				t.Errorf("README.md does not say %q: %v", island.Verify, err)
			}
			run(t, island.Dir, "mod", "tidy", "-diff")
			run(t, island.Dir, "vet", "./...")
			run(t, island.Dir, "test", "-timeout", "240s", "./...")
			run(t, island.Dir, "build", "-o", "bin/", ".")
			out, err := exec.CommandContext(t.Context(), filepath.Join(island.Dir, "bin", island.Name), "describe").Output()
			if err != nil || !strings.Contains(string(out), role) || !strings.Contains(string(out), `"name": "`+island.Name+`"`) {
				t.Errorf("describe: %v\n%s", err, out)
			}
			if !strings.Contains(island.Snippet, `island "`+island.Name+`" {`) || !slices.Contains(island.Files, snippetFile) {
				t.Errorf("what to put into islands.hcl: %s", island.Snippet)
			}
		})
	}
}

// TestRefusals wants an error that names the value and the rule, and nothing to be left behind.
func TestRefusals(t *testing.T) {
	t.Parallel()
	there := filepath.Join(t.TempDir(), "there")
	if err := os.Mkdir(there, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := t.TempDir()
	if err := os.WriteFile(filepath.Join(other, "go.mod"), []byte("module example.com/other\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		opts Options
		want []string
	}{
		"no name":             {Options{Name: ""}, []string{`""`, "lower case"}},
		"capitals":            {Options{Name: "Demo"}, []string{`"Demo"`, "lower case"}},
		"a digit first":       {Options{Name: "2demo"}, []string{`"2demo"`, "begins with a letter"}},
		"two dashes":          {Options{Name: "demo--x"}, []string{`"demo--x"`, "single dashes"}},
		"a dash at the end":   {Options{Name: "demo-"}, []string{`"demo-"`}},
		"a way out":           {Options{Name: "../demo"}, []string{`"../demo"`}},
		"too long":            {Options{Name: strings.Repeat("a", 64)}, []string{"at most 63"}},
		"an unknown kind":     {Options{Kind: "cache", Name: "demo"}, []string{`"cache"`, "source, store and reporter"}},
		"a module with space": {Options{Name: "demo", Module: "example.com/my demo"}, []string{`"example.com/my demo"`, "slashes"}},
		"a module like a way": {Options{Name: "demo", Module: "../demo"}, []string{`"../demo"`}},
		"the SDK's module":    {Options{Name: "demo", Module: sdkModule + "/demo"}, []string{sdkModule + "/demo", "of its own"}},
		"no checkout":         {Options{Name: "demo", SDK: t.TempDir()}, []string{"no checkout", "no go.mod"}},
		"another checkout":    {Options{Name: "demo", SDK: other}, []string{other, "another module"}},
		"a folder is there":   {Options{Name: "demo", Dir: there}, []string{there, "there already"}},
		"a file is there":     {Options{Name: "demo", Dir: file}, []string{file, "there already"}},
		"below a file":        {Options{Name: "demo", Dir: filepath.Join(file, "demo")}, []string{file}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			around := t.TempDir()
			if test.opts.Kind == "" {
				test.opts.Kind = Source
			}
			if test.opts.Dir == "" {
				test.opts.Dir = filepath.Join(around, "demo")
			}
			_, err := Write(t.Context(), test.opts)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if left, err := os.ReadDir(around); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "mine" {
		t.Errorf("a file that was there holds %q, %v", text, err)
	}
	if left, err := os.ReadDir(there); err != nil || len(left) > 0 {
		t.Errorf("a folder that was there holds %v, %v", left, err)
	}
}

// TestInterrupted wants nothing to be left of an island that was given up.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	around := t.TempDir()
	_, err := Write(ctx, Options{Kind: Source, Name: "demo", Dir: filepath.Join(around, "demo"), SDK: checkout})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if left, err := os.ReadDir(around); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestWithoutTheGoTool wants a go.mod that is complete where it cannot be made short.
func TestWithoutTheGoTool(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	dir := filepath.Join(t.TempDir(), "demo")
	island := write(t, Options{Kind: Source, Name: "demo", Dir: dir, SDK: checkout})
	if !errors.Is(island.Untidy, exec.ErrNotFound) {
		t.Errorf("without the Go tool: %v", island.Untidy)
	}
	theirs, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := os.ReadFile(filepath.Join(dir, "go.sum"))
	if err != nil || !bytes.Equal(ours, theirs) {
		t.Errorf("go.sum is not the checkout's: %v", err)
	}
}

// TestUntidy wants the complete go.mod to build, too, and a checkout to lie wherever it lies.
func TestUntidy(t *testing.T) {
	t.Parallel()
	tree, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	spaced := filepath.Join(t.TempDir(), "my sdk, 'the' one")
	if err := os.Symlink(tree, spaced); err != nil {
		t.Fatal(err)
	}
	opts := Options{Kind: Source, Name: "demo", SDK: spaced, Module: "example.com/demo"}
	island := write(t, opts)
	if island.Untidy != nil {
		t.Errorf("go.mod is not tidy: %v", island.Untidy)
	}
	files := map[string][]byte{}
	if err := opts.addModule(files); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(island.Dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run(t, island.Dir, "build", "-o", "bin/", ".")
}

// TestPublished wants a go.mod without a checkout to require the version that is known, or none.
func TestPublished(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]string{
		"v1.2.3": "module example.org/mine\n\ngo 1.26.0\n\nrequire github.com/service-islands/islands v1.2.3\n",
		"":       "module example.org/mine\n\ngo 1.26.0\n",
	} {
		island := write(t, Options{Kind: Source, Name: "demo", Module: "example.org/mine", Version: version})
		mod, err := os.ReadFile(filepath.Join(island.Dir, "go.mod"))
		if err != nil || string(mod) != want {
			t.Errorf("with the version %q: %v\n%s", version, err, mod)
		}
		if _, err := os.Stat(filepath.Join(island.Dir, "go.sum")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a go.sum without a checkout: %v", err)
		}
	}
}

func TestQuoteHCL(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"/srv/islands/bin/demo": `"/srv/islands/bin/demo"`,
		`C:\islands\demo.exe`:   `"C:\\islands\\demo.exe"`,
		"/srv/${HOME}/%{if}":    `"/srv/$${HOME}/%%{if}"`,
		`/srv/"x"`:              `"/srv/\"x\""`,
	} {
		if got := quoteHCL(text); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
