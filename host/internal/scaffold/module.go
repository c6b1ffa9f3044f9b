package scaffold

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// sdkModule is the module that the SDK is a part of.
const sdkModule = "github.com/service-islands/islands"

// unpublished is the version that stands beside a replace line, which makes it of no account.
const unpublished = "v0.0.0"

// tidyBound is how long "go mod tidy" may take.
const tidyBound = 2 * time.Minute

var (
	moduleLine = regexp.MustCompile(`(?m)^module\s+(\S+)`)
	goLine     = regexp.MustCompile(`(?m)^go\s+(\S+)`)
	// requirement matches a line of a require block, and one that stands alone.
	requirement = regexp.MustCompile(`(?m)^(?:require\s+|\t)(\S+ v\S+)(?:\s*//.*)?$`)
)

// checkSDK makes the path of the checkout absolute and reports whether the SDK is there.
func (o *Options) checkSDK() error {
	dir, err := filepath.Abs(o.SDK)
	if err != nil {
		return fmt.Errorf("checkout %q: %w", o.SDK, err)
	}
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s is no checkout of %s: it has no go.mod", dir, sdkModule)
	case err != nil:
		return fmt.Errorf("checkout of %s: %w", sdkModule, err)
	}
	if found := moduleLine.FindSubmatch(mod); len(found) < 2 || string(found[1]) != sdkModule {
		return fmt.Errorf("%s is no checkout of %s: its go.mod is of another module", dir, sdkModule)
	}
	o.SDK = dir
	return nil
}

// addModule adds go.mod and, with a checkout, go.sum.
func (o *Options) addModule(files map[string][]byte) error {
	var mod bytes.Buffer
	_, _ = fmt.Fprintf(&mod, "module %s\n\n", o.Module)
	if o.SDK == "" {
		_, _ = fmt.Fprintf(&mod, "go %s\n", goVersion)
		if o.Version != "" {
			_, _ = fmt.Fprintf(&mod, "\nrequire %s %s\n", sdkModule, o.Version)
		}
		files["go.mod"] = mod.Bytes()
		return nil
	}
	theirs, err := os.ReadFile(filepath.Join(o.SDK, "go.mod"))
	if err != nil {
		return fmt.Errorf("requirements of the SDK: %w", err)
	}
	version := goVersion
	if found := goLine.FindSubmatch(theirs); len(found) > 1 {
		version = string(found[1])
	}
	_, _ = fmt.Fprintf(&mod, "go %s\n\nrequire %s %s\n\nrequire (\n", version, sdkModule, unpublished)
	for _, line := range requirement.FindAllSubmatch(theirs, -1) {
		_, _ = fmt.Fprintf(&mod, "\t%s // indirect\n", line[1])
	}
	_, _ = fmt.Fprintf(&mod, ")\n\nreplace %s => %s\n", sdkModule, quotePath(filepath.ToSlash(o.SDK)))
	files["go.mod"] = mod.Bytes()
	sum, err := os.ReadFile(filepath.Join(o.SDK, "go.sum"))
	if err != nil {
		return fmt.Errorf("checksums of the SDK: %w", err)
	}
	files["go.sum"] = sum
	return nil
}

// goVersion is the version of the language that the templates need.
const goVersion = "1.26.0"

// quotePath writes a path as go.mod does.
func quotePath(name string) string {
	if strings.ContainsAny(name, " \t\"'`,;()[]{}") || strings.Contains(name, "//") {
		return strconv.Quote(name)
	}
	return name
}

// tidy leaves only what the island needs in go.mod and go.sum, without a network. When it cannot, both stay as they are.
func tidy(ctx context.Context, dir string) error {
	ctx, cancel := context.WithTimeout(ctx, tidyBound)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "mod", "tidy")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off", "PWD="+dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if err == nil {
		return nil
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	return fmt.Errorf("go mod tidy: %w: %s", err, lines[len(lines)-1])
}
