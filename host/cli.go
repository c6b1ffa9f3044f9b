package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// rootHelp is what "islands help" says first.
const rootHelp = `Islands starts the islands that islands.hcl names, joins them, and serves market-data reports over HTTP.

Commands about a running host reach it over its admin socket. They find that through the same configuration and
environment that the host was started with, never through its port.

Exit status:
  0  what was asked for was done
  1  it was not: no host runs, or the host could not do it
  2  the command line or the configuration is wrong`

// remoteCommands are those that speak with a running host.
func remoteCommands() []*cobra.Command {
	return []*cobra.Command{newStatus(), newInspect(), newCrash(), newRestart(), newReset(), newSwap(), newReload(), newCache(), newDev(), newAttach()}
}

// remote is what commands that speak with a running host have in common.
type remote struct {
	*cobra.Command
	// ask gets the answer, as JSON.
	ask func(ctx context.Context, host *adminClient, args []string) ([]byte, error)
	// show prints the answer for people.
	show func(w io.Writer, answer []byte, now time.Time) error
}

// command completes a command with its flags and with what it runs.
func (r remote) command(timeout time.Duration) *cobra.Command {
	var path string
	var asJSON bool
	flags := r.Flags()
	flags.StringVar(&path, "config", defaultConfig, "the configuration of the host")
	flags.BoolVar(&asJSON, "json", false, "print the host's answer, as JSON")
	flags.DurationVar(&timeout, "timeout", timeout, "how long the host may take")
	r.RunE = func(cmd *cobra.Command, args []string) error {
		if timeout <= 0 {
			return mistake(cmd, fmt.Errorf("--timeout wants more than %s", timeout))
		}
		host, err := openAdmin(path, timeout)
		if err != nil {
			return err
		}
		answer, err := r.ask(cmd.Context(), host, args)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(cmd.OutOrStdout(), answer)
		}
		return r.show(cmd.OutOrStdout(), answer, time.Now())
	}
	return r.Command
}

func newStatus() *cobra.Command {
	return remote{
		Command: &cobra.Command{Use: "status", Short: "Show every island of the running host, disabled ones too", Args: cobra.NoArgs},
		ask: func(ctx context.Context, host *adminClient, _ []string) ([]byte, error) {
			return host.ask(ctx, "/admin/status")
		},
		show: showStatus,
	}.command(answerTimeout)
}

func newInspect() *cobra.Command {
	return remote{
		Command: &cobra.Command{Use: "inspect NAME", Short: "Show everything about one island", Args: oneIsland},
		ask: func(ctx context.Context, host *adminClient, args []string) ([]byte, error) {
			status, err := host.ask(ctx, "/admin/status")
			if err != nil {
				return nil, err
			}
			island, err := pickIsland(status, args[0])
			if err != nil {
				return nil, err
			}
			crashes, err := host.ask(ctx, islandPath(args[0], "crashes"))
			if err != nil {
				return nil, err
			}
			return joinInspection(island, crashes)
		},
		show: showInspection,
	}.command(answerTimeout)
}

func newCrash() *cobra.Command {
	lines := 20
	cmd := &cobra.Command{Use: "crash NAME", Short: "Show the crashes of an island, the newest first", Args: oneIsland}
	cmd.Flags().IntVar(&lines, "lines", lines, "how many of the last lines of standard error to show; 0 for all that were kept")
	return remote{
		Command: cmd,
		ask: func(ctx context.Context, host *adminClient, args []string) ([]byte, error) {
			if lines < 0 {
				return nil, mistake(cmd, fmt.Errorf("--lines wants 0 or more, not %d", lines))
			}
			answer, err := host.ask(ctx, islandPath(args[0], "crashes"))
			return answer, host.explain(err, args[0])
		},
		show: func(w io.Writer, answer []byte, now time.Time) error { return showCrashes(w, answer, now, lines) },
	}.command(answerTimeout)
}

func newRestart() *cobra.Command {
	return newIslandChange("restart", "Stop an island gracefully and start it again, with a clean record of crashes")
}

func newReset() *cobra.Command {
	return newIslandChange("reset", "Forget an island's crashes, and start it at once where it waits for its next start")
}

func newSwap() *cobra.Command {
	var to, sum string
	cmd := &cobra.Command{
		Use: "swap NAME", Short: "Replace an island by what its binary holds now, or by another one, without a request that fails",
		Long: `Swap starts the new binary, hands it the island's settings and asks after its health; then it takes over, and the
old process ends what it has begun and is stopped. When the new one cannot take over, nothing has changed.

Another binary (--to) stays in effect until the next reload or start of the host. It must have the checksum that the
configuration gives the island, if it gives one, unless --sha256 says another.`,
		Args: oneIsland,
	}
	cmd.Flags().StringVar(&to, "to", "", "the binary to take instead of the configured one")
	cmd.Flags().StringVar(&sum, "sha256", "", "the SHA-256 that the binary must have, in hexadecimal")
	return remote{
		Command: cmd,
		ask: func(ctx context.Context, host *adminClient, args []string) ([]byte, error) {
			if to != "" {
				absolute, err := filepath.Abs(to)
				if err != nil {
					return nil, fmt.Errorf("--to %s: %w", to, err)
				}
				to = absolute
			}
			answer, err := host.change(ctx, islandPath(args[0], "swap"), map[string]string{"to": to, "sha256": strings.ToLower(sum)})
			return answer, host.explain(err, args[0])
		},
		show: showIslandChange,
	}.command(changeTimeout)
}

func newReload() *cobra.Command {
	return remote{
		Command: &cobra.Command{
			Use: "reload", Short: "Make the running host what its configuration says now, without a request that fails",
			Long: `Reload reads the configuration as the start of the host does. Islands whose block or binary has changed are replaced, new
ones started, those that are gone or disabled stopped; all others go on untouched. Who is asked for what, strategies,
reports and the symbols of the live feed change at once. When the file is wrong, or an island cannot be what it says,
nothing has changed.

The host does the same on SIGHUP, and by itself when the configuration says watch = true in its block "host".`,
			Args: cobra.NoArgs,
		},
		ask: func(ctx context.Context, host *adminClient, _ []string) ([]byte, error) {
			return host.change(ctx, "/admin/reload", struct{}{})
		},
		show: showReload,
	}.command(changeTimeout)
}

// newIslandChange returns a command that changes one island and waits for the outcome.
func newIslandChange(verb, short string) *cobra.Command {
	return remote{
		Command: &cobra.Command{Use: verb + " NAME", Short: short, Args: oneIsland},
		ask: func(ctx context.Context, host *adminClient, args []string) ([]byte, error) {
			answer, err := host.change(ctx, islandPath(args[0], verb), struct{}{})
			return answer, host.explain(err, args[0])
		},
		show: showIslandChange,
	}.command(changeTimeout)
}

func newCache() *cobra.Command {
	cache := &cobra.Command{Use: "cache", Short: "Invalidate what the running host remembers, or take a tier of its cache out"}
	cache.AddCommand(
		remote{
			Command: &cobra.Command{
				Use: "invalidate PATTERN...", Short: "Forget keys, and globs such as 'crypto_report_*', everywhere",
				Args: cobra.MinimumNArgs(1),
			},
			ask: func(ctx context.Context, host *adminClient, args []string) ([]byte, error) {
				return host.change(ctx, "/admin/cache/invalidate", map[string][]string{"patterns": args})
			},
			show: showInvalidation,
		}.command(changeTimeout),
		newTierChange("disable", "Take a tier of the cache out", false),
		newTierChange("enable", "Take a tier of the cache back in", true),
	)
	return cache
}

func newTierChange(verb, short string, enabled bool) *cobra.Command {
	return remote{
		Command: &cobra.Command{
			Use: verb + " l1|l2", Short: short, ValidArgs: []cobra.Completion{"l1", "l2"},
			Args: cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		},
		ask: func(ctx context.Context, host *adminClient, args []string) ([]byte, error) {
			return host.change(ctx, "/admin/cache/tiers/"+args[0], map[string]bool{"enabled": enabled})
		},
		show: showTierChange,
	}.command(changeTimeout)
}

// islandPath is where the admin API has what is about one island. The name has been checked by oneIsland.
func islandPath(name, what string) string { return "/admin/islands/" + name + "/" + what }

// possibleName is what an island can be called. Anything else must not become a part of a path.
var possibleName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// oneIsland takes the name of one island.
func oneIsland(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%q wants the name of one island; \"islands status\" lists them", cmd.CommandPath())
	}
	if !possibleName.MatchString(args[0]) {
		return fmt.Errorf("%q cannot be the name of an island: that has at most 63 of lower case, digits and dashes", args[0])
	}
	return nil
}

// explain adds to a host's "not found" what the configuration says about the name.
func (a *adminClient) explain(err error, name string) error {
	var r *refusal
	switch {
	case !errors.As(err, &r) || r.status != http.StatusNotFound:
		return err
	case slices.Contains(a.enabled, name):
		return fmt.Errorf("%w\n  the configuration has it: \"islands reload\" takes it in", err)
	case slices.Contains(a.islands, name):
		return err
	default:
		return unknownIsland(name, a.islands)
	}
}

// unknownIsland says that there is no such island, and which was probably meant or which there are.
func unknownIsland(name string, known []string) error {
	if near := nearest(name, known); len(near) > 0 {
		return fmt.Errorf("no island %q: did you mean %s?", name, strings.Join(near, " or "))
	}
	const most = 20
	shown := slices.Clone(known[:min(len(known), most)])
	if len(known) > most {
		shown = append(shown, "…")
	}
	return fmt.Errorf("no island %q; the islands are: %s", name, strings.Join(shown, ", "))
}

// nearest returns those of the names that were probably meant. Cobra measures how far commands are apart, and measures
// other names as well when they are given to it as commands.
func nearest(name string, names []string) []string {
	all := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, n := range names {
		all.AddCommand(&cobra.Command{Use: n, Run: func(*cobra.Command, []string) {}})
	}
	return all.SuggestionsFor(name)
}

// strict makes every mistake in a command line a usageError that shows the usage, and offers what was probably meant.
func strict(cmd *cobra.Command) {
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return mistake(cmd, suggestFlag(cmd, err)) })
	args := cmd.Args
	if cmd.HasSubCommands() {
		// Left to itself, cobra shows the help for an unknown subcommand and calls that a success.
		args = cobra.ArbitraryArgs
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return mistake(cmd, fmt.Errorf("%q wants a command", cmd.CommandPath()))
			}
			return mistake(cmd, unknownCommand(cmd, args[0]))
		}
	}
	cmd.Args = func(cmd *cobra.Command, given []string) error {
		if args == nil {
			return nil
		}
		if err := args(cmd, given); err != nil {
			return mistake(cmd, err)
		}
		return nil
	}
	for _, sub := range cmd.Commands() {
		strict(sub)
	}
}

// mistake is an error in the command line, shown with the usage.
func mistake(cmd *cobra.Command, err error) error {
	return usageError{fmt.Errorf("islands: %w\n\n%s", err, strings.TrimRight(cmd.UsageString(), "\n"))}
}

func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		return fmt.Errorf("unknown command %q for %q: did you mean %s?", name, cmd.CommandPath(), strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown command %q for %q", name, cmd.CommandPath())
}

// suggestFlag adds to an unknown flag which was probably meant.
func suggestFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(flag *pflag.Flag) { names = append(names, flag.Name) })
	near := nearest(unknown.GetSpecifiedName(), names)
	if len(near) == 0 || len(unknown.GetSpecifiedName()) == 1 { // Every short name of one letter is near to any other.
		return err
	}
	return fmt.Errorf("%w: did you mean --%s?", err, strings.Join(near, " or --"))
}

// newHelp is cobra's help command, except that an unknown topic is a mistake.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]...", Short: "Show the help for any command",
		RunE: func(cmd *cobra.Command, args []string) error {
			topic, rest, err := cmd.Root().Find(args)
			if err != nil {
				return mistake(cmd.Root(), err)
			}
			if len(rest) > 0 {
				return mistake(topic, unknownCommand(topic, rest[0]))
			}
			return topic.Help()
		},
	}
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version of this program", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), "islands", cmd.Root().Version)
			return err
		},
	}
}

// buildVersion is the version of this program: what the Go tool wrote into it.
func buildVersion() string {
	info, _ := debug.ReadBuildInfo() // Without it there is nil, and the version says so.
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	if info == nil {
		return "(unknown) " + runtime.Version()
	}
	version := info.Main.Version
	if version == "" {
		version = "(devel)"
	}
	settings := make(map[string]string, len(info.Settings))
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	if revision := settings["vcs.revision"]; revision != "" {
		version += " " + revision[:min(len(revision), 12)]
		if settings["vcs.modified"] == "true" {
			version += " (modified)"
		}
	}
	version += " " + info.GoVersion
	if settings["GOOS"] != "" {
		version += " " + settings["GOOS"] + "/" + settings["GOARCH"]
	}
	return version
}

// pickIsland returns one island of a host's status, as the host wrote it.
func pickIsland(status []byte, name string) (json.RawMessage, error) {
	var all struct {
		Islands []json.RawMessage `json:"islands"`
	}
	if err := understand(status, &all); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(all.Islands))
	for _, raw := range all.Islands {
		var island struct {
			Name string `json:"name"`
		}
		if err := understand(raw, &island); err != nil {
			return nil, err
		}
		if island.Name == name {
			return raw, nil
		}
		names = append(names, island.Name)
	}
	return nil, unknownIsland(name, names)
}
