package main

import (
	"bytes"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestNew wants an author to be told what there is now and what to do next, so that it can be typed as it stands.
func TestNew(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		args []string
		want []string // in this order
		not  []string
	}{
		"a source with a checkout": {
			[]string{"source", "demo-exchange", "--sdk", repository},
			[]string{
				"A source is in ", "README.md", "main.go", "Next:", "go test ./...", "go build -o bin/demo-exchange .",
				"islands verify bin/demo-exchange --set url=http://127.0.0.1:8900/binance --upstream url --asset bitcoin:btc\n",
				`island "demo-exchange" {`, `layer  = "external_services"`, "islands reload", "/api/market-data/btc?source=demo-exchange",
			},
			[]string{"go get", "go mod tidy"},
		},
		"a store of a published version": {
			[]string{"store", "demo-store"},
			[]string{
				"A store is in ", "go get github.com/service-islands/islands@latest", "go mod tidy",
				"islands verify bin/demo-store --set path=/tmp/trial.jsonl\n", `store = ["demo-store"]`, "/health/islands/demo-store",
			},
			nil,
		},
		"a reporter": {
			[]string{"reporter", "demo-brief", "--module", "example.org/brief"},
			[]string{"A reporter is in ", "islands verify bin/demo-brief\n", `report "demo-brief" {`, "/api/demo-brief/btc"},
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "the island's")
			var out, errs bytes.Buffer
			if status := execute(t.Context(), append(append([]string{"new"}, test.args...), "--dir", dir), &out, &errs); status != exitOK {
				t.Fatalf("%d, %s", status, errs.String())
			}
			rest := out.String()
			for _, want := range append([]string{dir}, test.want...) {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Errorf("no %q, or not in its place:\n%s", want, out.String())
					continue
				}
				if want != dir {
					rest = after
				}
			}
			for _, not := range test.not {
				if strings.Contains(out.String(), not) {
					t.Errorf("it says %q:\n%s", not, out.String())
				}
			}
			if !strings.Contains(out.String(), `cd '`+filepath.Dir(dir)+`/the island'\''s'`) {
				t.Errorf("the folder is not one word for a shell:\n%s", out.String())
			}
			snippet, err := os.ReadFile(filepath.Join(dir, "islands.hcl.snippet"))
			if err != nil || !strings.Contains(string(snippet), strconv.Quote(filepath.Join(dir, "bin", test.args[1]))) {
				t.Errorf("%v, %s", err, snippet)
			}
		})
	}
}

// TestNewRefuses wants a mistake to be named with its value and a way out, and to be told from a failure.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	there := t.TempDir()
	for name, test := range map[string]struct {
		args []string
		want []string
	}{
		"no kind":         {nil, []string{`"islands new" wants a command`, "source", "store", "reporter"}},
		"another kind":    {[]string{"sourc", "demo"}, []string{`unknown command "sourc"`, "source"}},
		"no name":         {[]string{"source"}, []string{`"islands new source" wants one name`}},
		"two names":       {[]string{"source", "a", "b"}, []string{"one name"}},
		"a bad name":      {[]string{"store", "My_Store"}, []string{`"My_Store"`, "lower case"}},
		"a bad module":    {[]string{"store", "demo", "--module", "my module"}, []string{`"my module"`}},
		"no checkout":     {[]string{"store", "demo", "--sdk", there}, []string{there, "no go.mod"}},
		"a folder's name": {[]string{"store", "demo", "--dir", there}, []string{there, "there already"}},
		"an unknown flag": {[]string{"store", "demo", "--sdc", "."}, []string{"--sdk"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			if status := execute(t.Context(), append([]string{"new"}, test.args...), &out, &errs); status != exitUsage || out.Len() > 0 {
				t.Errorf("status %d, %s", status, out.String())
			}
			for _, want := range test.want {
				if !strings.Contains(errs.String(), want) {
					t.Errorf("no %q in\n%s", want, errs.String())
				}
			}
		})
	}
	if left, err := os.ReadDir(there); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// TestTheSmallestSource keeps the promise that a whole source fits into forty lines, imports included, of code as anybody
// would write it: one file, formatted, that needs the standard library and the contract, and has one statement in main.
func TestTheSmallestSource(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(repository, "examples", "fear-greed")
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if name := filepath.Base(file); name != "main.go" && !strings.HasSuffix(name, "_test.go") {
			t.Errorf("%s is a part of it, too", name)
		}
	}
	text, err := os.ReadFile(filepath.Join(folder, "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := bytes.Count(text, []byte("\n")); lines > 40 {
		t.Errorf("it has %d lines", lines)
	}
	if formatted, err := format.Source(text); err != nil || !bytes.Equal(formatted, text) {
		t.Errorf("it is not formatted: %v", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), "main.go", text, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(imported, "/")
		if strings.Contains(first, ".") && imported != modulePath+"sdk" && !strings.HasPrefix(imported, modulePath+"sdk/") {
			t.Errorf("it imports %s", imported)
		}
	}
	for _, decl := range file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == "main" && len(f.Body.List) != 1 {
			t.Errorf("its main has %d statements", len(f.Body.List))
		}
	}
}
