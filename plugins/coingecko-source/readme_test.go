package main

import (
	"os"
	"strings"
	"testing"
)

// TestReadmeNamesEverySetting keeps the table of settings complete.
func TestReadmeNamesEverySetting(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range manifest().Settings {
		if row := "| `" + s.Name + "` | " + string(s.Type); !strings.Contains(string(readme), row) || !strings.Contains(string(readme), s.Default) {
			t.Errorf("README.md has no row %q with the default %q", row, s.Default)
		}
	}
}
