package config

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Bounds on what is shown of a file that is wrong in very many places, or no configuration at all.
const (
	maxShown = 50
	maxLine  = 2000 // bytes
)

// Diagnostics is everything that is wrong with a file, in the order of the file. It is an error.
type Diagnostics struct {
	diags hcl.Diagnostics
	files map[string]*hcl.File // with secrets masked
}

// Error shows every problem with its file, line, source and way out, over several lines and without wrapping.
func (d *Diagnostics) Error() string {
	var text strings.Builder
	_ = d.Write(&text, 0, false) // A Builder takes everything.
	return strings.TrimRight(text.String(), "\n")
}

// Write shows every problem, wrapped to width columns unless that is 0, and coloured for a terminal on demand. The
// error is the writer's.
func (d *Diagnostics) Write(w io.Writer, width int, colour bool) error {
	columns := uint(max(width, 0))
	return hcl.NewDiagnosticTextWriter(w, d.files, columns, colour).WriteDiagnostics(d.diags)
}

// Problem is one thing that is wrong, for programs.
type Problem struct {
	File string `json:"file"`
	// Line and Column count from 1; 0 for the file as a whole.
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Summary string `json:"summary"`
	Detail  string `json:"detail"`
}

// Problems lists what is wrong, in the order of the file. There is at least one.
func (d *Diagnostics) Problems() []Problem {
	out := make([]Problem, len(d.diags))
	for i, diag := range d.diags {
		out[i] = Problem{Summary: diag.Summary, Detail: diag.Detail}
		if diag.Subject != nil {
			out[i].File, out[i].Line, out[i].Column = diag.Subject.Filename, diag.Subject.Start.Line, diag.Subject.Start.Column
		}
	}
	return out
}

// problem notes that something at a place in the file is wrong. The detail says what, and the way out.
func (l *loader) problem(at hcl.Range, summary, format string, args ...any) {
	l.diags = append(l.diags, &hcl.Diagnostic{
		Severity: hcl.DiagError, Summary: summary, Detail: fmt.Sprintf(format, args...), Subject: &at,
	})
}

// note takes over what HCL itself found wrong.
func (l *loader) note(diags hcl.Diagnostics) {
	for _, d := range diags {
		if d.Severity == hcl.DiagError {
			l.diags = append(l.diags, clean(d))
		}
	}
}

// clean drops what would make the writer print the values of variables, which may be secret.
func clean(d *hcl.Diagnostic) *hcl.Diagnostic {
	return &hcl.Diagnostic{Severity: d.Severity, Summary: d.Summary, Detail: d.Detail, Subject: d.Subject, Context: d.Context}
}

// result returns the problems found, or nil.
func (l *loader) result() error {
	if len(l.diags) == 0 {
		return nil
	}
	slices.SortStableFunc(l.diags, func(a, b *hcl.Diagnostic) int { return cmp.Compare(startOf(a), startOf(b)) })
	l.diags = slices.CompactFunc(l.diags, func(a, b *hcl.Diagnostic) bool {
		return a.Summary == b.Summary && a.Detail == b.Detail && startOf(a) == startOf(b)
	})
	if more := len(l.diags) - maxShown; more > 0 {
		l.diags = append(l.diags[:maxShown:maxShown], &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "More problems", Detail: fmt.Sprintf("There are %d more. Mend these first.", more),
		})
	}
	for _, d := range l.diags {
		d.Summary, d.Detail = l.redact(d.Summary), l.redact(d.Detail)
	}
	files := map[string]*hcl.File{}
	if masked := l.masked(); !hasLongLine(masked) {
		files[l.filename] = &hcl.File{Bytes: masked, Nav: l.nav}
	}
	return &Diagnostics{diags: l.diags, files: files}
}

// startOf is where a diagnostic points, for sorting.
func startOf(d *hcl.Diagnostic) int {
	if d.Subject == nil {
		return -1
	}
	return d.Subject.Start.Byte
}

// hasLongLine reports whether a line is too long to be quoted.
func hasLongLine(src []byte) bool {
	for line := range bytes.Lines(src) {
		if len(line) > maxLine {
			return true
		}
	}
	return false
}

var (
	// secretName matches names of attributes whose values are likely secret, whatever a manifest says.
	secretName = regexp.MustCompile(`(?i)key|token|secret|passw|credential|dsn`)
	// secretLine matches what sets such an attribute, with what may be secret in the second group: the rest of the line,
	// or of what follows the name of a variable.
	secretLine = regexp.MustCompile(`(?i)((?:key|token|secret|passw|credential|dsn)[\w-]*"?[ \t]*[=:][ \t]*(?:env\([ \t]*"[^"\n]*",?)?)([^\n]+)`)
	// userInfo matches the user information of a URL.
	userInfo = regexp.MustCompile(`://([^/@\s"']+)@`)
)

// soundsSecret reports whether an attribute's value is likely secret by its name. The key of a report is not.
func soundsSecret(name string) bool { return name != "key" && secretName.MatchString(name) }

// redact replaces what is known to be secret in a message.
func (l *loader) redact(text string) string {
	for _, secret := range l.secrets {
		text = strings.ReplaceAll(text, secret, "[secret]")
	}
	return userInfo.ReplaceAllString(text, "://[secret]@")
}

// keepSecret has redact replace a value from now on. Short values are words that messages consist of, not secrets.
func (l *loader) keepSecret(value any) {
	const shortest = 8
	switch v := value.(type) {
	case string:
		if len(v) >= shortest && !slices.Contains(l.secrets, v) {
			l.secrets = append(l.secrets, v)
		}
	case []any:
		for _, item := range v {
			l.keepSecret(item)
		}
	}
}

// hideIn notes, before anything is known of the islands, every expression that may hold a secret: whatever has a
// secret's name, an island's env, and all of its config block.
func (l *loader) hideIn(body *hclsyntax.Body, inIsland, all bool) {
	for name, attr := range body.Attributes {
		if all || soundsSecret(name) || inIsland && name == "env" {
			l.hidden = append(l.hidden, attr.Expr)
		}
	}
	for _, block := range body.Blocks {
		l.hideIn(block.Body, block.Type == "island", all || inIsland && block.Type == "config")
	}
}

// show takes back that an expression may hold a secret.
func (l *loader) show(expr hcl.Expression) { l.shown[expr.Range()] = true }

// masked is the source with stars for what may be secret. Every byte keeps its place, so that ranges stay true.
func (l *loader) masked() []byte {
	out := bytes.Clone(l.src)
	mask := func(from, to int) {
		for i := from; i < min(to, len(out)); i++ {
			if out[i] != '\n' && out[i] != '\r' {
				out[i] = '*'
			}
		}
	}
	for _, expr := range l.hidden {
		if l.shown[expr.Range()] {
			continue
		}
		var keep []hcl.Range
		_ = hclsyntax.VisitAll(expr, func(node hclsyntax.Node) hcl.Diagnostics {
			switch n := node.(type) {
			case *hclsyntax.LiteralValueExpr:
				mask(n.SrcRange.Start.Byte, n.SrcRange.End.Byte)
			case *hclsyntax.ScopeTraversalExpr:
				if n.Traversal.RootName() != "host" {
					mask(n.SrcRange.Start.Byte, n.SrcRange.End.Byte)
				}
			case *hclsyntax.FunctionCallExpr:
				if n.Name == "env" && len(n.Args) > 0 {
					keep = append(keep, n.Args[0].Range())
				}
			}
			return nil
		})
		for _, r := range keep {
			copy(out[r.Start.Byte:r.End.Byte], l.src[r.Start.Byte:r.End.Byte])
		}
	}
	if l.unparsed {
		for _, m := range secretLine.FindAllSubmatchIndex(out, -1) {
			mask(m[4], m[5])
		}
	}
	for _, m := range userInfo.FindAllSubmatchIndex(out, -1) {
		mask(m[2], m[3])
	}
	return out
}
