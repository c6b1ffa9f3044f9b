package config

import (
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// What the README shows as configuration is configuration: each of its blocks of text that looks like it can be parsed.
func TestREADMEIsHCL(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := 0
	for i, part := range strings.Split(string(text), "```text\n")[1:] {
		block, _, _ := strings.Cut(part, "```")
		if !strings.Contains(block, " = ") || !strings.Contains(block, "{") || strings.Contains(block, "│") {
			continue
		}
		shown++
		if _, diags := hclsyntax.ParseConfig([]byte(block), "README.md", hcl.InitialPos); diags.HasErrors() {
			t.Errorf("block %d: %v\n%s", i+1, diags, block)
		}
	}
	if shown < 4 {
		t.Errorf("%d blocks of configuration were found", shown)
	}
}
