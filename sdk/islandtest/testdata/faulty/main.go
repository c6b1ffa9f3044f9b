// Command faulty is an island with one flaw, which its file's name says after its kind, as in "store--leaks_memory". The
// kind raw is one that was built without the kit's server.
package main

import (
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk/islandtest/internal/reference"
	"github.com/service-islands/islands/sdk/process"
)

func main() {
	kind, flaw, _ := strings.Cut(filepath.Base(os.Args[0]), "--")
	flaw = strings.ReplaceAll(flaw, "_", " ")
	if kind == "raw" {
		serveRaw(reference.Manifest("source"), flaw)
		return
	}
	manifest := reference.Manifest(kind)
	described := len(os.Args) > 1 && os.Args[1] == "describe"
	hosted := os.Getenv("ISLANDS_LIFELINE_FD") != ""
	switch flaw {
	case "two faces":
		if described {
			manifest.Version = "1.0.1"
		}
	case "hides a setting":
		if described {
			manifest.Settings = manifest.Settings[:1]
		}
	case "undocumented":
		manifest.Settings[0].Doc = " "
	case "a default that does not decode":
		manifest.Settings[0].Default, manifest.Settings[0].Type = "x", "int"
	case "a secret by default":
		for i := range manifest.Settings {
			if manifest.Settings[i].Secret {
				manifest.Settings[i].Default = "letmein"
			}
		}
	case "nothing to hide":
		for i := range manifest.Settings {
			manifest.Settings[i].Secret = false
		}
	case "a version of one number":
		manifest.Version = "1"
	case "the wrong layer":
		manifest.Layer = 1 + manifest.Layer%2
	case "outlives its host":
		_ = os.Unsetenv("ISLANDS_LIFELINE_FD")
	case "says nothing":
		if !hosted && !described {
			return
		}
	case "runs alone":
		if !hosted && !described {
			time.Sleep(time.Hour)
		}
	case "prints first":
		if !described {
			_, _ = os.Stdout.WriteString("good morning\n")
		}
	}
	process.Serve(manifest, reference.New(kind, flaw, make(chan struct{})))
	if flaw == "exits crooked" {
		os.Exit(7)
	}
}
