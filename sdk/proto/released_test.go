package proto

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/service-islands/islands/sdk"
)

var comment = regexp.MustCompile(`(?m)//.*$`)

// contract reads a contract without its comments and spaces.
func contract(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(comment.ReplaceAllString(string(text), "")), " ")
}

// TestAFrozenMinorStays finds what was added to a minor that was released, which hosts and islands of that minor do not have.
// What was taken away is found by buf (make proto-breaking).
func TestAFrozenMinorStays(t *testing.T) {
	for minor := range sdk.ProtocolMinor {
		if _, err := os.Stat(fmt.Sprintf("released/%d.%d", sdk.ProtocolMajor, minor)); err != nil {
			t.Errorf("the minor %d.%d was not frozen: %v", sdk.ProtocolMajor, minor, err)
		}
	}
	if _, err := os.Stat(fmt.Sprintf("released/%d.%d", sdk.ProtocolMajor, sdk.ProtocolMinor+1)); err == nil {
		t.Errorf("a later minor than %d is frozen", sdk.ProtocolMinor)
	}
	current := fmt.Sprintf("islands/v%d/islands.proto", sdk.ProtocolMajor)
	frozen := fmt.Sprintf("released/%d.%d/%s", sdk.ProtocolMajor, sdk.ProtocolMinor, current)
	if _, err := os.Stat(frozen); err != nil {
		return // This minor is being made.
	}
	if contract(t, current) != contract(t, frozen) {
		t.Errorf("%s differs from %s, which was released: raise ProtocolMinor in sdk/island.go, and say in sdk/doc.go what the new one adds", current, frozen)
	}
}
