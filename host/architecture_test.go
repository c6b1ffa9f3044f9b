package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// repository is the root of the tree, seen from this package.
const repository = ".."

// modulePath is how the tree's own packages are imported.
const modulePath = "github.com/service-islands/islands/"

// Where a library has its home, and why nowhere else. A home covers the folders below it.
var homes = []struct {
	libraries []string // import paths; what is below them is meant too.
	folders   []string
	tests     []string // folders whose test files may import it as well.
	reason    string
}{
	{
		libraries: []string{"github.com/gofiber", "github.com/valyala/fasthttp", "github.com/fasthttp/websocket"},
		folders:   []string{"host/internal/gateway"},
		reason:    "HTTP and WebSocket stop at the gateway, so that the rest can be tested and replaced without a socket",
	},
	{
		libraries: []string{
			"github.com/hashicorp/go-plugin", "google.golang.org/grpc", "google.golang.org/genproto",
			"google.golang.org/protobuf", modulePath + "sdk/internal/islandpb",
		},
		folders: []string{"sdk/process", "sdk/internal/islandpb"},
		reason:  "the wire stops at sdk/process; everyone else speaks in the nouns of sdk",
	},
	{
		libraries: []string{"github.com/hashicorp/go-hclog"},
		folders:   []string{"sdk/process", "sdk/conformance", "host"},
		reason:    "an island's author gets a *slog.Logger; hclog is for what starts islands",
	},
	{
		libraries: []string{"github.com/hashicorp/hcl", "github.com/zclconf/go-cty"},
		folders:   []string{"config"},
		reason:    "how a composition is written down stops at config, which hands out checked Go values",
	},
	{
		libraries: []string{"github.com/jackc"},
		folders:   []string{"plugins/postgres-store"},
		tests:     []string{"sdk/islandtest/servers", "host/internal/e2e"},
		reason:    "Postgres belongs to the island that owns it; swapping the store must not touch anything else",
	},
	{
		libraries: []string{"github.com/redis/go-redis", "github.com/go-redis", "github.com/karlseguin/ccache"},
		folders:   []string{"plugins/cache"},
		reason:    "the tiers belong to the cache island, and only it speaks with Redis",
	},
	{
		libraries: []string{"github.com/markcheno/go-talib"},
		tests:     []string{"plugins"},
		reason:    "it panics on short input; it checks figures in tests and makes none",
	},
}

// Which parts of the tree a part may import, besides itself.
var arrows = map[string]struct {
	parts  []string
	reason string
}{
	"sdk":      {nil, "all arrows end at sdk: the contract depends on nobody who fulfils or uses it"},
	"config":   {[]string{"sdk"}, "config knows the contract, and neither the host that uses it nor an island"},
	"host":     {[]string{"config", "sdk"}, "the host starts islands as processes; linking one in would tie its release to the host's"},
	"plugins":  {[]string{"sdk"}, "an island knows the contract alone, as one in any other repository would"},
	"examples": {[]string{"sdk"}, "an example is what an outsider would write, and an outsider has the contract alone"},
}

// Folders whose subfolders never import each other.
var siblings = []struct{ folder, reason string }{
	{"host/internal", "parts of the host meet in host/host.go only; declare the small interface that is needed, or take a func"},
	{"plugins", "islands never meet; what two of them need belongs into sdk"},
	{"examples", "each example stands alone, to be read and copied alone"},
}

// What may stand at the top of the repository, besides files that begin with a dot.
var topLevel = []string{
	"LICENSE", "Makefile", "README.md", "config", "examples", "go.mod", "go.sum", "host", "islands.hcl", "plugins", "sdk",
}

// meaningless matches names that say nothing about what they hold.
var meaningless = regexp.MustCompile(`^(utils?|common|shared|helpers?|base|core|manager|types|misc)(_test)?(\.go)?$`)

// below tells whether the path is the folder or in it. Both are separated by slashes.
func below(name, folder string) bool {
	return name == folder || strings.HasPrefix(name, folder+"/")
}

func belowAny(name string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return below(name, folder) })
}

// judgeImport returns why the file must not import the package, or "". The file is a path within the repository.
func judgeImport(file, imported string) string {
	test := strings.HasSuffix(file, "_test.go")
	for _, home := range homes {
		if belowAny(imported, home.libraries) && !belowAny(file, home.folders) && (!test || !belowAny(file, home.tests)) {
			return home.reason
		}
	}

	own, inTree := strings.CutPrefix(imported, modulePath)
	if path.Dir(file) == "sdk" && !test && strings.Contains(strings.Split(imported, "/")[0], ".") {
		return "the contract's own package imports the standard library only, so that it costs an author nothing"
	}
	if !inTree {
		return ""
	}
	part, _, _ := strings.Cut(file, "/")
	arrow, known := arrows[part]
	if target, _, _ := strings.Cut(own, "/"); !known || target != part && !slices.Contains(arrow.parts, target) {
		return arrow.reason
	}
	for _, family := range siblings {
		if member, inFamily := memberOf(file, family.folder); inFamily && below(own, family.folder) && !below(own, member) {
			return family.reason
		}
	}
	return ""
}

// memberOf returns the subfolder of the folder that the file is in.
func memberOf(file, folder string) (string, bool) {
	rest, found := strings.CutPrefix(file, folder+"/")
	name, _, nested := strings.Cut(rest, "/")
	return folder + "/" + name, found && nested
}

// goFiles calls visit with every Go file of the tree, by its path within the repository.
func goFiles(t *testing.T, visit func(file string)) {
	t.Helper()
	err := filepath.WalkDir(repository, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		file, err := filepath.Rel(repository, name)
		if err != nil {
			return err
		}
		file = filepath.ToSlash(file)
		switch {
		case file == ".":
			return nil
		case entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata" || file == "bin" || file == "data"):
			return fs.SkipDir
		case !entry.IsDir() && path.Ext(file) == ".go" && strings.Contains(file, "/"):
			visit(file)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImportsFollowTheArchitecture(t *testing.T) {
	t.Parallel()
	seen := map[string]int{}
	goFiles(t, func(file string) {
		part, _, _ := strings.Cut(file, "/")
		seen[part]++
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(repository, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Errorf("%s imports %s: %v", file, spec.Path.Value, err)
				continue
			}
			if reason := judgeImport(file, imported); reason != "" {
				t.Errorf("%s imports %s: %s", file, imported, reason)
			}
		}
	})
	for part := range arrows {
		if seen[part] == 0 {
			t.Errorf("no Go file was found in %s: nothing is proved about it", part)
		}
	}
}

func TestImportLaws(t *testing.T) {
	t.Parallel()
	const arrowsEnd, outsider = "all arrows end at sdk", "an island knows the contract alone"
	tests := []struct{ file, imported, want string }{
		{"sdk/source.go", "golang.org/x/time/rate", "standard library only"},
		{"sdk/source.go", modulePath + "sdk/process", "standard library only"},
		{"sdk/source.go", modulePath + "host/internal/pipeline", "standard library only"},
		{"sdk/source_test.go", "pgregory.net/rapid", ""},
		{"sdk/source.go", "net/http", ""},
		{"sdk/upstream/client.go", "golang.org/x/time/rate", ""},
		{"sdk/upstream/client.go", modulePath + "sdk", ""},
		{"sdk/process/serve.go", modulePath + "config", arrowsEnd},
		{"sdk/islandtest/kit.go", modulePath + "plugins/cache", arrowsEnd},
		{"sdk/islandtest/kit_test.go", modulePath + "examples/smallest", arrowsEnd},
		{"sdk/source_test.go", modulePath + "host/internal/pipeline", arrowsEnd},
		{"config/load.go", modulePath + "sdk", ""},
		{"config/load.go", modulePath + "host/internal/supervisor", "config knows the contract"},
		{"config/load.go", modulePath + "plugins/cache", "config knows the contract"},
		{"host/host.go", modulePath + "config", ""},
		{"host/host.go", modulePath + "host/internal/gateway", ""},
		{"host/host.go", modulePath + "plugins/cache", "the host starts islands as processes"},
		{"host/host_test.go", modulePath + "examples/marketsim/sim", "the host starts islands as processes"},
		{"plugins/cache/main.go", modulePath + "sdk/process", ""},
		{"plugins/cache/main.go", modulePath + "plugins/cache/tier", ""},
		{"plugins/cache/main.go", modulePath + "config", outsider},
		{"plugins/cache/main.go", modulePath + "host/internal/observe", outsider},
		{"plugins/cache/cache_test.go", modulePath + "examples/marketsim/sim", outsider},
		{"plugins/cache/main.go", modulePath + "plugins/cachet/tier", "islands never meet"},
		{"plugins/sqlite-store/store_test.go", modulePath + "plugins/postgres-store/schema", "islands never meet"},
		{"examples/marketsim/main.go", modulePath + "examples/marketsim/sim", ""},
		{"examples/marketsim/main.go", modulePath + "examples/smallest", "each example stands alone"},
		{"examples/smallest/main.go", modulePath + "config", "an example is what an outsider would write"},
		{"host/internal/pipeline/request.go", modulePath + "host/internal/pipeline/flight", ""},
		{"host/internal/pipeline/request.go", modulePath + "host/internal/gateway", "parts of the host meet in host/host.go only"},
		{"host/internal/pipeline/request_test.go", modulePath + "host/internal/observe", "parts of the host meet in host/host.go only"},
		{"host/internal/gateway/http.go", "github.com/gofiber/fiber/v2", ""},
		{"host/internal/gateway/http.go", "github.com/gofiber/contrib/websocket", ""},
		{"host/internal/gateways/http.go", "github.com/gofiber/fiber/v2", "stop at the gateway"},
		{"host/host.go", "github.com/valyala/fasthttp", "stop at the gateway"},
		{"sdk/process/serve.go", "github.com/hashicorp/go-plugin", ""},
		{"sdk/process/serve.go", "google.golang.org/grpc/status", ""},
		{"sdk/process/serve.go", modulePath + "sdk/internal/islandpb", ""},
		{"sdk/internal/islandpb/island.pb.go", "google.golang.org/protobuf/proto", ""},
		{"sdk/islandtest/kit.go", "google.golang.org/grpc", "the wire stops at sdk/process"},
		{"sdk/islandtest/kit.go", modulePath + "sdk/internal/islandpb", "the wire stops at sdk/process"},
		{"host/internal/supervisor/start.go", "github.com/hashicorp/go-plugin", "the wire stops at sdk/process"},
		{"host/internal/supervisor/start.go", "github.com/hashicorp/go-hclog", ""},
		{"plugins/cache/main.go", "github.com/hashicorp/go-hclog", "gets a *slog.Logger"},
		{"config/load.go", "github.com/hashicorp/hcl/v2/hclsyntax", ""},
		{"host/main.go", "github.com/hashicorp/hcl/v2", "stops at config"},
		{"host/main.go", "github.com/zclconf/go-cty/cty", "stops at config"},
		{"plugins/postgres-store/store.go", "github.com/jackc/pgx/v5/pgxpool", ""},
		{"sdk/islandtest/servers/postgres_test.go", "github.com/jackc/pgx/v5", ""},
		{"sdk/islandtest/servers/postgres.go", "github.com/jackc/pgx/v5", "Postgres belongs to the island"},
		{"plugins/sqlite-store/store.go", "github.com/jackc/pgx/v5", "Postgres belongs to the island"},
		{"plugins/cache/redis.go", "github.com/redis/go-redis/v9", ""},
		{"host/internal/pipeline/near.go", "github.com/karlseguin/ccache/v3", "only it speaks with Redis"},
		{"sdk/islandtest/servers/redis.go", "github.com/redis/go-redis/v9", "only it speaks with Redis"},
		{"plugins/report-generator/rsi_test.go", "github.com/markcheno/go-talib", ""},
		{"plugins/report-generator/rsi.go", "github.com/markcheno/go-talib", "panics on short input"},
	}
	for _, test := range tests {
		t.Run(fmt.Sprintf("%s imports %s", test.file, strings.TrimPrefix(test.imported, modulePath)), func(t *testing.T) {
			t.Parallel()
			got := judgeImport(test.file, test.imported)
			if got == "" && test.want != "" || !strings.Contains(got, test.want) || got != "" && test.want == "" {
				t.Errorf("got the reason %q, want %q", got, test.want)
			}
		})
	}
}

// TestExampleIslandsStandAlone finds that each example that is an island is a module of its own, which asks for the contract and
// finds it in this tree: as one in any other repository would, but for the replacement.
func TestExampleIslandsStandAlone(t *testing.T) {
	t.Parallel()
	islands := 0
	goFiles(t, func(file string) {
		folder := path.Dir(file)
		if path.Base(file) != "main.go" || !below(folder, "examples") {
			return
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(repository, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Error(err)
			return
		}
		serves := slices.ContainsFunc(parsed.Imports, func(spec *ast.ImportSpec) bool {
			return spec.Path.Value == strconv.Quote(modulePath+"sdk/process")
		})
		if !serves {
			return
		}
		islands++
		text, err := os.ReadFile(filepath.Join(repository, folder, "go.mod"))
		if err != nil {
			t.Errorf("%s is an island without a module of its own: %v", folder, err)
			return
		}
		for _, line := range []string{"module " + modulePath + folder, "replace " + strings.TrimSuffix(modulePath, "/") + " => ../.."} {
			if !slices.Contains(strings.Split(string(text), "\n"), line) {
				t.Errorf("%s/go.mod has no line %q", folder, line)
			}
		}
	})
	if islands < 2 {
		t.Errorf("%d examples are islands: nothing is proved about the others", islands)
	}
}

func TestTopLevelIsFixed(t *testing.T) {
	t.Parallel()
	if stray := strays(topLevelEntries(t)); len(stray) > 0 {
		t.Errorf("%q do not belong at the top: whoever opens the repository should see its five parts and nothing else", stray)
	}
	got := strays([]string{"docs", "sdk", ".ci", "main.go", "Makefile", "islands.hcl"})
	if want := []string{"docs", "main.go"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// strays returns the entries that do not belong at the top of the repository.
func strays(entries []string) []string {
	return slices.DeleteFunc(slices.Clone(entries), func(entry string) bool {
		return strings.HasPrefix(entry, ".") || slices.Contains(topLevel, entry)
	})
}

// topLevelEntries asks git for what is, or would be, committed. Without git or a repository, such as in an unpacked
// archive, it is what lies there, less what the build and a run leave.
func topLevelEntries(t *testing.T) []string {
	t.Helper()
	var entries []string
	list := exec.CommandContext(t.Context(), "git", "-C", repository, "ls-files", "--full-name", "--cached", "--others", "--exclude-standard", "-z")
	if output, err := list.Output(); err == nil && len(output) > 0 {
		for file := range strings.SplitSeq(strings.Trim(string(output), "\x00"), "\x00") {
			top, _, _ := strings.Cut(file, "/")
			entries = append(entries, top)
		}
		slices.Sort(entries)
		return slices.Compact(entries)
	}
	found, err := os.ReadDir(repository)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range found {
		if name := entry.Name(); name != "bin" && name != "data" {
			entries = append(entries, name)
		}
	}
	return entries
}

func TestNamesSaySomething(t *testing.T) {
	t.Parallel()
	goFiles(t, func(file string) {
		for element := range strings.SplitSeq(file, "/") {
			if meaningless.MatchString(element) {
				t.Errorf("%s: %q says nothing about what is in it, and so collects everything", file, element)
			}
		}
	})
	for name, want := range map[string]bool{"util": true, "helpers.go": true, "types_test.go": true, "market.go": false, "database": false} {
		if got := meaningless.MatchString(name); got != want {
			t.Errorf("%s: got %v, want %v", name, got, want)
		}
	}
}
