package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLockCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	binary := filepath.Join(dir, "mine")
	content := []byte("#!/bin/sh\nexit 1\n") // Nothing executes it.
	if err := os.WriteFile(binary, content, 0o700); err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(content)
	sum := hex.EncodeToString(digest[:])
	text := fmt.Sprintf("# Mine.\nisland \"mine\" {\n  layer  = \"infrastructure\"\n  binary = %q # here\n}\n", binary)
	file := filepath.Join(dir, "real.hcl")
	if err := os.WriteFile(file, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "islands.hcl")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	wants := func(what string, got outcome, words ...string) {
		t.Helper()
		for _, word := range words {
			if got.status != exitOK || !strings.Contains(got.out, word) {
				t.Errorf("%s: %q is missing in %+v", what, word, got)
			}
		}
	}
	holds := func(want string) {
		t.Helper()
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("the file: %v\n%s", err, got)
		}
	}

	wants("shown", runProgram(t.Context(), "lock", "--config", link), "mine", sum, "has none")
	holds(text)
	wants("written", runProgram(t.Context(), "lock", "--write", "--config", link), "mine", sum, "has it now")
	locked := strings.Replace(text, "# here\n", "# here\n  sha256 = \""+sum+"\"\n", 1)
	holds(locked)
	wants("written again", runProgram(t.Context(), "lock", "--write", "--config", link), "has it\n")
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Errorf("the link: %v, %v", info, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("the file: %v, %v", info, err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 3 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	if err := os.WriteFile(binary, append(content, '\n'), 0o700); err != nil {
		t.Fatal(err)
	}
	wants("another binary", runProgram(t.Context(), "lock", "--config", link), "has "+sum)
	if err := os.Chmod(binary, 0o702); err != nil {
		t.Fatal(err)
	}
	if got := runProgram(t.Context(), "lock", "--write", "--config", link); got.status != exitUsage || !strings.Contains(got.errs, "may be changed by everybody") {
		t.Errorf("open to everybody: %+v", got)
	}
	holds(locked)
	if got := runProgram(t.Context(), "lock", "--config", filepath.Join(dir, "none.hcl")); got.status != exitUsage || !strings.Contains(got.errs, "none.hcl") {
		t.Errorf("no file: %+v", got)
	}
}
