package main

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// address is whatever could be loaded from, or connected to.
var address = regexp.MustCompile(`(?i)[a-z]+:?//[^\s"'` + "`" + `]*|\b(src|href|action)\s*=|@import|url\(|\bimport\b|fetch\(`)

// TestPageAsksItsHostOnly: it needs nothing from elsewhere, and shows what it is told as text.
func TestPageAsksItsHostOnly(t *testing.T) {
	page, err := os.ReadFile("page.html")
	if err != nil {
		t.Fatal(err)
	}
	found := address.FindAllString(string(page), -1)
	if len(found) != 1 || found[0] != "ws://${location.host" {
		t.Errorf("it asks %q", found)
	}
	for _, banned := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("} {
		if strings.Contains(string(page), banned) {
			t.Errorf("%s would take text for markup", banned)
		}
	}
	if n := strings.Count(string(page), "\n"); n > 50 {
		t.Errorf("%d lines are no example", n)
	}
}
