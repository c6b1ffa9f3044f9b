package scaffold

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/service-islands/islands/sdk"
)

// Kind is what an island is to do.
type Kind string

// The kinds there are.
const (
	Source   Kind = "source"   // quotes and candles of an exchange
	Store    Kind = "store"    // remembers in a file
	Reporter Kind = "reporter" // makes a short report
)

// kind is what is known of a Kind beyond its templates.
type kind struct {
	layer       sdk.Layer
	layerConst  string // how a program writes the layer
	component   string // the Go type of the island
	description string
	verify      string // what "islands verify" has to be given so that it skips nothing
}

var kinds = map[Kind]kind{
	Source: {
		sdk.LayerExternalServices, "LayerExternalServices", "Source", "Quotes and candles of an exchange.",
		" --set url=http://127.0.0.1:8900/binance --upstream url --asset bitcoin:btc",
	},
	Store: {
		sdk.LayerInfrastructure, "LayerInfrastructure", "Store", "Keeps quotes, candles and answers in one file.",
		" --set path=/tmp/trial.jsonl",
	},
	Reporter: {sdk.LayerBusinessLogic, "LayerBusinessLogic", "Reporter", "A short report on how an asset did this month.", ""},
}

// Options say what to write and where.
type Options struct {
	Kind Kind
	// Name of the island and of its program: lower case, digits and single dashes between them, at most 63.
	Name string
	// Dir is the folder to make; Name in the working directory when empty.
	Dir string
	// Module is the path of the Go module; "example.com/" and the name when empty.
	Module string
	// SDK is a checkout of the SDK that go.mod is to point to; empty for a published version.
	SDK string
	// Version of the SDK to require where there is no checkout, such as "v1.2.0"; empty where none is known, and the author
	// has to choose one.
	Version string
}

// Island is what was written.
type Island struct {
	Name string
	Kind Kind
	// Dir is the folder, absolute.
	Dir string
	// Files in it, sorted.
	Files []string
	// Snippet is what to put into islands.hcl.
	Snippet string
	// Verify is the command that holds the program, once it is built, to every check there is for it; to be typed in the folder.
	Verify string
	// Untidy is why go.mod holds more than the island needs; nil when it does not, and where there was no checkout.
	Untidy error
}

//go:embed all:templates
var templates embed.FS

// pieces are templates that others hold, and no files.
var pieces = []string{"parts", "road"}

// snippetFile is the file that holds Island.Snippet.
const snippetFile = "islands.hcl.snippet"

// Write writes a new island. What cannot be meant is an error that names the value and the rule, and nothing is written.
func Write(ctx context.Context, opts Options) (Island, error) {
	if err := opts.complete(); err != nil {
		return Island{}, err
	}
	files, err := opts.render()
	if err != nil {
		return Island{}, err
	}
	island := Island{Name: opts.Name, Kind: opts.Kind, Dir: opts.Dir, Snippet: string(files[snippetFile]), Verify: opts.verify()}
	if island.Untidy, err = opts.place(ctx, files); err != nil {
		return Island{}, err
	}
	entries, err := os.ReadDir(opts.Dir)
	if err != nil {
		return Island{}, fmt.Errorf("read what was written: %w", err)
	}
	for _, entry := range entries {
		island.Files = append(island.Files, entry.Name())
	}
	return island, nil
}

var (
	possibleName   = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	possibleModule = regexp.MustCompile(`^[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*(/[A-Za-z0-9_~-]+(\.[A-Za-z0-9_~-]+)*)*$`)
)

// CheckName reports whether an island can be called so.
func CheckName(name string) error {
	if !possibleName.MatchString(name) || len(name) > 63 {
		return fmt.Errorf("%q cannot be the name of an island: that has at most 63 of lower case, digits and single dashes between them, "+
			"and begins with a letter, such as \"demo-exchange\"", name)
	}
	return nil
}

// Check reports whether the options can be meant: what Write says before it writes anything.
func (o Options) Check() error { return o.complete() }

// complete fills in the defaults and checks everything before anything is written.
func (o *Options) complete() error {
	if _, ok := kinds[o.Kind]; !ok {
		return fmt.Errorf("%q is no kind of island; there are source, store and reporter", o.Kind)
	}
	if err := CheckName(o.Name); err != nil {
		return err
	}
	if o.Module == "" {
		o.Module = "example.com/" + o.Name
	}
	if !possibleModule.MatchString(o.Module) {
		return fmt.Errorf("%q cannot be the path of a module: that is words of letters, digits, dots, dashes and underscores between slashes, "+
			"such as \"example.com/%s\"", o.Module, o.Name)
	}
	if o.Module == sdkModule || strings.HasPrefix(o.Module, sdkModule+"/") {
		return fmt.Errorf("%q is the path of the SDK's own module; an island has one of its own, such as \"example.com/%s\"", o.Module, o.Name)
	}
	if o.SDK != "" {
		if err := o.checkSDK(); err != nil {
			return err
		}
	}
	if o.Dir == "" {
		o.Dir = o.Name
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return fmt.Errorf("folder %q: %w", o.Dir, err)
	}
	o.Dir = dir
	switch _, err := os.Lstat(dir); {
	case err == nil:
		return fmt.Errorf("%s is there already; choose another folder, or take it away first", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("look for %s: %w", dir, err)
	default:
		return nil
	}
}

// verify is Island.Verify.
func (o *Options) verify() string { return "islands verify bin/" + o.Name + kinds[o.Kind].verify }

// data is what the templates use.
type data struct {
	Options
	Verify                                      string
	Layer, LayerConst, Type, Title, Description string
	// Binary is where the program will lie once it is built.
	Binary string
}

// At is the data with the folder elsewhere, for what is not to name a place on this machine. It separates by slashes.
func (d data) At(parent string) data {
	d.Binary = path.Join(parent, d.Name, "bin", d.Name)
	return d
}

// render returns the files by name.
func (o *Options) render() (map[string][]byte, error) {
	k := kinds[o.Kind]
	program := o.Name
	if os.PathSeparator == '\\' {
		program += ".exe"
	}
	d := data{
		Options: *o, Verify: o.verify(), Layer: k.layer.String(), LayerConst: k.layerConst, Type: k.component, Description: k.description,
		Title: strings.ToUpper(o.Name[:1]) + o.Name[1:], Binary: filepath.Join(o.Dir, "bin", program),
	}
	set := template.New("").Delims("<%", "%>").Option("missingkey=error").Funcs(template.FuncMap{"quote": quoteHCL})
	set, err := set.ParseFS(templates, "templates/every/*.tmpl", "templates/"+string(o.Kind)+"/*.tmpl")
	if err != nil {
		return nil, fmt.Errorf("templates of a %s: %w", o.Kind, err)
	}
	files := make(map[string][]byte)
	for _, t := range set.Templates() {
		name, whole := strings.CutSuffix(path.Base(t.Name()), ".tmpl")
		if !whole || slices.Contains(pieces, name) {
			continue
		}
		if name == "gitignore" {
			name = "." + name
		}
		var text bytes.Buffer
		if err := t.Execute(&text, d); err != nil {
			return nil, fmt.Errorf("template of %s: %w", name, err)
		}
		files[name] = text.Bytes()
	}
	return files, o.addModule(files)
}

// quoteHCL writes a string as HCL does, in which a template would begin with "${" or "%{".
func quoteHCL(text string) string {
	quoted := fmt.Sprintf("%q", text)
	return strings.NewReplacer("${", "$${", "%{", "%%{").Replace(quoted)
}

// place writes files into a folder beside the wanted one, which takes its place once it is whole.
func (o *Options) place(ctx context.Context, files map[string][]byte) (untidy, err error) {
	parent := filepath.Dir(o.Dir)
	if err := os.MkdirAll(parent, 0o777); err != nil { //nolint:gosec // The umask decides: sources are no secret.
		return nil, fmt.Errorf("make the folder around %s: %w", o.Dir, err)
	}
	around, err := os.MkdirTemp(parent, ".islands-new-")
	if err != nil {
		return nil, fmt.Errorf("make a folder beside %s: %w", o.Dir, err)
	}
	defer func() {
		if gone := os.RemoveAll(around); gone != nil && err == nil {
			err = fmt.Errorf("remove %s: %w", around, gone)
		}
	}()
	dir := filepath.Join(around, o.Name)
	if err := os.Mkdir(dir, 0o777); err != nil { //nolint:gosec // As above.
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := os.WriteFile(filepath.Join(dir, name), files[name], 0o666); err != nil { //nolint:gosec // As above.
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
	}
	if o.SDK != "" {
		untidy = tidy(ctx, dir)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := os.Rename(dir, o.Dir); err != nil {
		return nil, fmt.Errorf("put the folder in its place: %w", err)
	}
	return untidy, nil
}
