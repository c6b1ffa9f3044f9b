package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// counted is an island that says the number of its process in the documentation of its one setting: who reads the same twice
// has not started it twice. The test binary becomes it under that name.
type counted struct{ sdk.Life }

const countedName = "counted"

func serveCounted() {
	process.Serve(sdk.Manifest{
		Name: countedName, Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "Counts.",
		Settings: []sdk.Setting{{
			Name: "timeout", Type: sdk.DurationSetting, Default: "3s", Doc: fmt.Sprintf("Bound on one call of process %d.", os.Getpid()),
		}},
	}, &counted{})
}

// Initialize takes what it is given.
func (*counted) Initialize(context.Context, sdk.Config) error { return nil }

// countedBinary makes a binary of the test binary. More is appended, which changes its checksum and nothing else.
func countedBinary(t *testing.T, path, more string) {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(executable)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".new", append(program, more...), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// TestValidateStartsNothingTwice finds that what an island says of its settings is told from memory the second time, and
// asked for anew once the binary has changed.
func TestValidateStartsNothingTwice(t *testing.T) {
	caches := t.TempDir()
	for _, variable := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} { // Wherever this system looks.
		t.Setenv(variable, caches)
	}
	binary := filepath.Join(t.TempDir(), countedName)
	countedBinary(t, binary, "")
	file := written(t, fmt.Sprintf("island \"mine\" {\n  layer  = \"external_services\"\n  binary = %q\n  config {\n    timeout = \"fast\"\n    timeuot = \"3s\"\n  }\n}\n", binary))
	validate := func() string {
		got := runProgram(t.Context(), "validate", file)
		if got.status != exitUsage {
			t.Fatalf("got %+v", got)
		}
		for _, want := range []string{
			"islands.hcl line 5, in island \"mine\"", `5:     timeout = "fast"`, `"timeout" wants a duration such as "30s", not "fast"`,
			"islands.hcl line 6", `has no setting "timeuot". Did you mean "timeout"?`, "The island says of it: Bound on one call of process ",
		} {
			if !strings.Contains(got.errs, want) {
				t.Errorf("%q is missing in\n%s", want, got.errs)
			}
		}
		return got.errs
	}
	first := validate()
	if diff := cmp.Diff(first, validate()); diff != "" {
		t.Errorf("the island was started again:\n%s", diff)
	}
	countedBinary(t, binary, "changed")
	if validate() == first {
		t.Error("a changed binary was not asked anew")
	}
}
