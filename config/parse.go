package config

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/service-islands/islands/sdk"
)

// Bounds on a file. Those on its size, nesting and operators keep a recursive parser within its stack.
const (
	maxFile      = 1 << 20 // bytes
	maxNesting   = 32
	maxOperators = 10_000
	maxNumber    = 40  // digits and signs
	maxBlocks    = 100 // of one type
)

// Options say where a configuration finds what is not in its file.
type Options struct {
	// Env looks a variable of the environment up; os.LookupEnv when nil.
	Env func(name string) (string, bool)
	// Describe returns the manifest of the island at path, without starting it, and refuses a binary whose SHA-256 is not
	// sha256 (lower-case hex), unless that is empty. It is called for enabled islands alone, for several at once. When it
	// is nil, the file is checked by itself: no binary needs to exist and no block is compared with a manifest.
	Describe func(ctx context.Context, path, sha256 string) (sdk.Manifest, error)
	// DescribeTimeout bounds one Describe; 10 s when zero.
	DescribeTimeout time.Duration
	// ExecutableDir is what a relative binary is relative to; the folder of the running program when empty.
	ExecutableDir string
}

// Load reads and checks a file. The error is a *Diagnostics, unless the file cannot be read.
func Load(path string, opts Options) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	src, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	cfg, err := Parse(src, path, opts)
	if err != nil {
		return nil, err
	}
	cfg.File = path
	return cfg, nil
}

// Parse checks the content of a file; filename is for messages. The error is a *Diagnostics, unless the folder of the
// running program is needed and cannot be found.
func Parse(src []byte, filename string, opts Options) (*Config, error) {
	l, err := newLoader(src, filename, opts)
	if err != nil {
		return nil, err
	}
	if body, ok := l.parse(); ok {
		l.file(body)
	}
	if err := l.result(); err != nil {
		return nil, err
	}
	return l.cfg, nil
}

// newLoader returns what reads a file, with the defaults of its options filled in.
func newLoader(src []byte, filename string, opts Options) (*loader, error) {
	if opts.Env == nil {
		opts.Env = os.LookupEnv
	}
	if opts.DescribeTimeout == 0 {
		opts.DescribeTimeout = 10 * time.Second
	}
	if opts.ExecutableDir == "" {
		executable, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the folder of the islands executable: %w", err)
		}
		opts.ExecutableDir = filepath.Dir(executable)
	}
	return &loader{
		opts: opts, filename: filename, src: src, cfg: &Config{}, shown: map[hcl.Range]bool{},
		vars: &hcl.EvalContext{Functions: functions(opts.Env)},
	}, nil
}

// loader reads one file.
type loader struct {
	opts     Options
	filename string
	src      []byte
	nav      any // names the block around a place in the file, for messages
	cfg      *Config
	vars     *hcl.EvalContext
	diags    hcl.Diagnostics
	// locking is whether the checksums are yet to be written, so that none is missing or wrong.
	locking bool
	// unparsed is whether the file has syntax errors.
	unparsed bool
	// hidden expressions may hold a secret; those in shown turned out not to.
	hidden []hclsyntax.Expression
	shown  map[hcl.Range]bool
	// secrets are values that no message may hold.
	secrets []string
	// islands as they are in the file, in step with cfg.Islands.
	islands []*islandBlock
}

// start is the first place in the file.
func (l *loader) start() hcl.Range {
	return hcl.Range{Filename: l.filename, Start: hcl.InitialPos, End: hcl.InitialPos}
}

// parse turns the source into blocks, or notes why it cannot.
func (l *loader) parse() (*hclsyntax.Body, bool) {
	if len(l.src) > maxFile {
		l.src = nil // Nothing of it is worth quoting.
		l.problem(l.start(), "File too large", "A configuration has at most %d bytes. Is this the right file?", maxFile)
		return nil, false
	}
	if !l.bounds() {
		l.unparsed = true
		return nil, false
	}
	file, diags := hclsyntax.ParseConfig(l.src, l.filename, hcl.InitialPos)
	l.note(diags)
	if file == nil {
		l.unparsed = true
		return nil, false
	}
	l.nav = file.Nav
	body, ok := file.Body.(*hclsyntax.Body)
	if !ok || diags.HasErrors() {
		l.unparsed = true
		return nil, false
	}
	l.hideIn(body, false, false)
	loops := len(l.diags)
	_ = hclsyntax.VisitAll(body, func(node hclsyntax.Node) hcl.Diagnostics {
		if loop, ok := node.(*hclsyntax.ForExpr); ok {
			l.problem(loop.OpenRange, "No loops", "A configuration has no loops. Write out what there is.")
		}
		return nil
	})
	return body, len(l.diags) == loops
}

// bounds notes nesting, operators and numbers beyond what any real file has, before the parser recurses into them.
func (l *loader) bounds() bool {
	tokens, _ := hclsyntax.LexConfig(l.src, l.filename, hcl.InitialPos) // The parser will say what cannot be lexed.
	depth, operators := 0, 0
	for _, token := range tokens {
		switch token.Type {
		case hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOParen, hclsyntax.TokenTemplateInterp,
			hclsyntax.TokenTemplateControl, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc:
			depth++
			operators++
		case hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCParen, hclsyntax.TokenTemplateSeqEnd,
			hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc:
			depth = max(0, depth-1)
		case hclsyntax.TokenNumberLit:
			if !l.numberBounds(token) {
				return false
			}
		case hclsyntax.TokenIdent, hclsyntax.TokenNewline, hclsyntax.TokenEqual, hclsyntax.TokenComma, hclsyntax.TokenComment:
		default:
			operators++
		}
		switch {
		case depth > maxNesting:
			l.problem(token.Range, "Nested too deeply", "Blocks, lists and expressions are nested at most %d deep.", maxNesting)
			return false
		case operators > maxOperators:
			l.problem(token.Range, "Too much", "A configuration has at most %d strings, brackets and operators. Is this the right file?", maxOperators)
			return false
		}
	}
	return true
}

// numberBounds notes a number that no float64 holds: to write such a one out takes as many digits as it says.
func (l *loader) numberBounds(token hclsyntax.Token) bool {
	text := string(token.Bytes)
	if _, err := strconv.ParseFloat(text, 64); len(text) <= maxNumber && err == nil && !tiny(text) {
		return true
	}
	l.problem(token.Range, "Number out of range", "No setting takes such a number.")
	return false
}

// tiny reports whether a number has an exponent below what a float64 can hold.
func tiny(text string) bool {
	_, exponent, ok := strings.Cut(strings.ToLower(text), "e")
	if !ok {
		return false
	}
	e, err := strconv.Atoi(exponent)
	return err != nil || e < -308
}

// root is what a file consists of.
var root = &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{
	{Type: "host"},
	{Type: "strategy", LabelNames: []string{"name"}},
	{Type: "island", LabelNames: []string{"name"}},
	{Type: "request"},
	{Type: "broadcast"},
}}

// file reads all blocks: the host first, because others use its variables; the roads last, because they refer to
// strategies and islands.
func (l *loader) file(body hcl.Body) {
	content, diags := body.Content(root)
	l.note(diags)
	blocks := content.Blocks.ByType()
	limits := l.host(l.only(blocks["host"]))
	l.strategies(l.atMost(blocks["strategy"]))
	l.readIslands(l.atMost(blocks["island"]))
	l.request(l.only(blocks["request"]))
	l.broadcast(l.only(blocks["broadcast"]))
	l.connections(limits)
}

// atMost notes blocks beyond what any real file has, and drops them.
func (l *loader) atMost(blocks hcl.Blocks) hcl.Blocks {
	if len(blocks) <= maxBlocks {
		return blocks
	}
	l.problem(blocks[maxBlocks].DefRange, "Too many blocks", "A configuration has at most %d blocks %q.", maxBlocks, blocks[0].Type)
	return blocks[:maxBlocks]
}

// only returns the one block of its type, nil when there is none.
func (l *loader) only(blocks hcl.Blocks) *hcl.Block {
	if len(blocks) == 0 {
		return nil
	}
	for _, again := range blocks[1:] {
		l.problem(again.DefRange, "Duplicate block", "There is a block %q on line %d already. Put everything into one.",
			again.Type, blocks[0].DefRange.Start.Line)
	}
	return blocks[0]
}

// evaluate returns what an expression comes to. Of a secret one it notes that it fails, and no more.
func (l *loader) evaluate(expr hcl.Expression, secret bool) (cty.Value, bool) {
	v, diags := expr.Value(l.vars)
	for _, d := range diags {
		if d.Severity != hcl.DiagError {
			continue
		}
		d, name := clean(d), unsetVariable(d)
		switch {
		case name != "":
			d.Summary = "Unset environment variable"
			d.Detail = fmt.Sprintf("The environment variable %s is not set, or is empty. Set it, or give a default: env(%q, \"...\").", name, name)
		case secret:
			d.Detail = "The value, which may be secret, cannot be worked out."
		}
		l.diags = append(l.diags, d)
	}
	if diags.HasErrors() {
		return cty.NilVal, false
	}
	v, _ = v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		l.problem(expr.Range(), "Unknown value", "The value cannot be worked out.")
		return cty.NilVal, false
	}
	return v, true
}

// unsetVariable returns the name of the variable whose absence a diagnostic is about, empty when it is about anything
// else.
func unsetVariable(d *hcl.Diagnostic) string {
	extra, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d)
	if !ok {
		return ""
	}
	var unset *unsetError
	if errors.As(extra.FunctionCallError(), &unset) {
		return unset.name
	}
	return ""
}

// setHostVariables makes what the host block says known to all other blocks.
func (l *loader) setHostVariables() {
	l.vars = &hcl.EvalContext{
		Functions: l.vars.Functions,
		Variables: map[string]cty.Value{"host": cty.ObjectVal(map[string]cty.Value{
			"listen":      cty.StringVal(l.cfg.Host.Listen),
			"data_dir":    cty.StringVal(l.cfg.Host.DataDir),
			"environment": cty.StringVal(l.cfg.Host.Environment),
		})},
	}
}

// islandNames lists the islands there are.
func (l *loader) islandNames() []string {
	names := make([]string, len(l.cfg.Islands))
	for i, island := range l.cfg.Islands {
		names[i] = island.Name
	}
	return names
}

// strategyNames lists the strategies there are.
func (l *loader) strategyNames() []string {
	names := make([]string, len(l.cfg.Strategies))
	for i, s := range l.cfg.Strategies {
		names[i] = s.Name
	}
	slices.Sort(names)
	return names
}
