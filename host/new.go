package main

import (
	"fmt"
	"io"
	"regexp"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/service-islands/islands/host/internal/scaffold"
)

// newNew returns the command that writes the beginning of an island.
func newNew() *cobra.Command {
	cmd := &cobra.Command{
		Use: "new", Short: "Write the beginning of an island: a folder that builds, passes its tests and serves",
		Long: `New writes a folder with all that an island has: its program, the tests that hold it to the whole contract, a README,
a go.mod of its own, and what to put into islands.hcl. It builds, passes its tests and serves as it stands. A folder that
is there already is refused.`,
	}
	for _, kind := range []struct {
		name  scaffold.Kind
		short string
	}{
		{scaffold.Source, "A source: quotes and candles of an exchange, as marketsim plays it"},
		{scaffold.Store, "A store: keeps quotes, candles and answers in one file"},
		{scaffold.Reporter, "A reporter: a short report on how an asset did"},
	} {
		cmd.AddCommand(newNewKind(kind.name, kind.short))
	}
	return cmd
}

// newNewKind returns the command that writes one kind of island.
func newNewKind(kind scaffold.Kind, short string) *cobra.Command {
	opts := scaffold.Options{Kind: kind, Version: sdkVersion()}
	cmd := &cobra.Command{Use: string(kind) + " NAME", Short: short}
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return fmt.Errorf("%q wants one name, that of the island", cmd.CommandPath())
		}
		return scaffold.CheckName(args[0])
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		opts.Name = args[0]
		if err := opts.Check(); err != nil {
			return usageError{fmt.Errorf("islands: %w", err)}
		}
		island, err := scaffold.Write(cmd.Context(), opts)
		if err != nil {
			return err
		}
		return showIsland(cmd.OutOrStdout(), island, opts)
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.SDK, "sdk", "", "a checkout of the SDK, which go.mod is to use instead of a published version")
	flags.StringVar(&opts.Dir, "dir", "", "the folder to make; NAME by itself")
	flags.StringVar(&opts.Module, "module", "", "the path of the Go module; example.com/NAME by itself")
	return cmd
}

// published matches the version of a release.
var published = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// sdkVersion is the version of the SDK that this program was built with; empty when that was not published.
func sdkVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || !published.MatchString(info.Main.Version) || strings.HasPrefix(info.Main.Version, "v0.0.0-") {
		return ""
	}
	return info.Main.Version
}

// showIsland says what was written and what to do next.
func showIsland(w io.Writer, island scaffold.Island, opts scaffold.Options) error {
	var b strings.Builder
	folder := island.Dir
	if opts.Dir == "" {
		folder = island.Name
	}
	_, _ = fmt.Fprintf(&b, "A %s is in %s: %s\n", island.Kind, island.Dir, strings.Join(island.Files, ", "))
	if island.Untidy != nil {
		_, _ = fmt.Fprintf(&b, "Its go.mod requires all that the SDK does; \"go mod tidy\" makes it short. (%v)\n", island.Untidy)
	}
	_, _ = fmt.Fprintf(&b, "\nNext:\n\n  cd %s\n", shellQuote(folder))
	if opts.SDK == "" {
		if opts.Version == "" {
			b.WriteString("  go get github.com/service-islands/islands@latest\n")
		}
		b.WriteString("  go mod tidy\n")
	}
	_, _ = fmt.Fprintf(&b, "  go test ./...\n  go build -o bin/%s .\n  %s\n", island.Name, island.Verify)
	b.WriteString("\nThen put this into islands.hcl; it is in islands.hcl.snippet too:\n\n")
	for line := range strings.Lines(island.Snippet) {
		b.WriteString(strings.TrimRight("  "+line, " \n") + "\n")
	}
	b.WriteString("\nand tell the running host:\n\n  islands reload\n")
	ask := map[scaffold.Kind]string{
		scaffold.Source:   "/api/market-data/btc?source=" + island.Name,
		scaffold.Store:    "/health/islands/" + island.Name,
		scaffold.Reporter: "/api/" + island.Name + "/btc",
	}[island.Kind]
	_, _ = fmt.Fprintf(&b, "  curl -fsS 'http://127.0.0.1:3000%s'\n", ask)
	_, err := io.WriteString(w, b.String())
	return err
}

// shellQuote writes a word for a shell.
func shellQuote(word string) string {
	if !strings.ContainsFunc(word, func(r rune) bool {
		return !strings.ContainsRune("/._-~+@", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
