package config

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Checksum is what the binary of an enabled island is and what the file says it is.
type Checksum struct {
	Island string
	// Binary is the path of the program.
	Binary string
	// SHA256 of the binary, in lower-case hex.
	SHA256 string
	// Written is what the file says, in lower-case hex where it is a checksum at all; empty when it says none.
	Written string
}

// Lock returns the checksum of every enabled island's binary, in the order of the file, and the source with those
// checksums in it. Nothing else of the source is changed: what the file says already stays as it is written, a new
// checksum stands on the line below the binary.
//
// The function sum returns the SHA-256 of a binary, in lower-case hex. The file is checked by itself but for its checksums,
// whatever environment it is for; opts.Describe is not called. The error is a *Diagnostics, unless the folder of the running
// program is needed and cannot be found.
func Lock(src []byte, filename string, opts Options, sum func(binary string) (string, error)) (locked []byte, sums []Checksum, err error) {
	opts.Describe = nil
	l, err := newLoader(src, filename, opts)
	if err != nil {
		return nil, nil, err
	}
	l.locking = true
	body, ok := l.parse()
	if ok {
		l.file(body)
	}
	if err := l.result(); err != nil {
		return nil, nil, err
	}
	var edits []edit
	for i, island := range l.cfg.Islands {
		if !island.Enabled {
			continue
		}
		b := l.islands[i]
		is, err := sum(island.Binary)
		if err != nil {
			l.problem(b.where("binary"), "No checksum", "The program of the island %q has none: %.500s.", island.Name, err.Error())
			continue
		}
		sums = append(sums, Checksum{Island: island.Name, Binary: island.Binary, SHA256: is, Written: island.SHA256})
		if is == island.SHA256 {
			continue
		}
		if e, ok := l.lock(b, is); ok {
			edits = append(edits, e)
		}
	}
	if err := l.result(); err != nil {
		return nil, nil, err
	}
	return apply(l.src, edits), sums, nil
}

// edit puts a text in the place of a part of the source.
type edit struct {
	from, to int // bytes
	text     string
}

// apply returns the source with all edits made, which do not overlap.
func apply(src []byte, edits []edit) []byte {
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.from, b.from) })
	var out bytes.Buffer
	at := 0
	for _, e := range edits {
		out.Write(src[at:e.from])
		out.WriteString(e.text)
		at = e.to
	}
	out.Write(src[at:])
	return out.Bytes()
}

// lock is the edit that gives an island's block a checksum.
func (l *loader) lock(b *islandBlock, sum string) (edit, bool) {
	quoted := fmt.Sprintf("%q", sum)
	if attr, there := b.content.Attributes["sha256"]; there {
		if !l.literal(attr.Expr) {
			l.problem(attr.Expr.Range(), "Checksum from elsewhere",
				"The program has the SHA-256 %s. What stands here is not a checksum but works one out: change what it refers to, or write the checksum.", sum)
			return edit{}, false
		}
		return edit{attr.Expr.Range().Start.Byte, attr.Expr.Range().End.Byte, quoted}, true
	}
	// The two names are equally long, so a line that begins as the binary's does lines up with its neighbours.
	attr := b.content.Attributes["binary"]
	line := bytes.LastIndexByte(l.src[:attr.NameRange.Start.Byte], '\n') + 1
	indent := l.src[line:attr.NameRange.Start.Byte]
	if len(bytes.TrimSpace(indent)) > 0 {
		indent = []byte("  ")
	}
	between := l.src[attr.NameRange.End.Byte:attr.Expr.Range().Start.Byte]
	if bytes.ContainsAny(between, "\n/#") {
		between = []byte(" = ")
	}
	end := attr.Expr.Range().End.Byte
	next := bytes.IndexByte(l.src[end:], '\n')
	if next < 0 || bytes.Contains(l.src[end:end+next], []byte("/*")) {
		l.problem(attr.Expr.Range(), "No room", "There is no line to put the checksum on. Add below this one: sha256 = %q", sum)
		return edit{}, false
	}
	end += next + 1
	newline := "\n"
	if bytes.HasSuffix(l.src[:end], []byte("\r\n")) {
		newline = "\r\n"
	}
	return edit{end, end, string(indent) + "sha256" + string(between) + quoted + newline}, true
}

// literal reports whether an expression is a string in quotes as it stands, or null.
func (l *loader) literal(expr hcl.Expression) bool {
	switch e := expr.(type) {
	case *hclsyntax.TemplateExpr: // A heredoc is one too, and has its end on a line of its own.
		return (e.IsStringLiteral() || len(e.Parts) == 0) && l.src[e.SrcRange.Start.Byte] == '"'
	case *hclsyntax.LiteralValueExpr:
		return e.Val.IsNull()
	default:
		return false
	}
}
