package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/conformance"
	"github.com/service-islands/islands/sdk/process"
)

const verifyHelp = `Verify starts the program again and again, as the host would, and holds it to the contract: what it says about itself, its
settings, its life and its end, deadlines, bad and big messages, many callers at once, memory, health and metrics, and what
each of its roles promises. No host is needed, and a running one is not touched. The program may be in any language. It is
not confined: do not verify what you would not run.

An island is verified with the settings that it would have in islands.hcl. What they lead to is used for real: keys and rows
of names of their own are left behind in a cache's Redis and in a store's database, so give one for trials.

A source needs an asset that its upstream knows (--asset), and the name of the setting with the upstream's URL (--upstream):
then a server on this machine stands between the two, which refuses, garbles, hangs up and stays silent. It also spares the
upstream: what was asked within the last ten seconds it answers itself. bin/marketsim is an upstream that never minds. A check that lacks what it needs is skipped, and says what to give.

Verdict and exit status:
  passed   0  every check that is meant for the island has passed
  partial  0  none has failed, some were skipped
  failed   1  a check has failed
           1  --timeout or an interrupt came before all were tried: the rest is skipped, and the verdict partial unless one has failed
           2  the command line is wrong, or the island cannot be started with these settings`

// verifyExamples are what most people want to type.
const verifyExamples = `  islands verify bin/plugins/sqlite-store --set path=/tmp/trial.db
  islands verify bin/plugins/coingecko-source --set url=http://127.0.0.1:8900/coingecko/api/v3 --upstream url --asset bitcoin:btc
  islands verify ./my-source --settings trial.json --only 'settings/*' --json`

// verifyTimeout bounds all checks together unless the command line says otherwise.
const verifyTimeout = 10 * time.Minute

// verifyFlags are what the command line may say.
type verifyFlags struct {
	settings, vsCurrency, unknown     string
	set, env, assets, upstreams, only []string
	intervals                         []string
	asJSON, bench                     bool
	timeout, grace                    time.Duration
	standardOutput, standardError     io.Writer
}

func newVerify() *cobra.Command {
	var f verifyFlags
	cmd := &cobra.Command{
		Use: "verify BINARY", Short: "Hold an island's program to the contract, check by check", Long: verifyHelp, Example: verifyExamples,
	}
	cmd.Args = func(_ *cobra.Command, args []string) error {
		if len(args) != 1 {
			return errors.New(`"islands verify" wants the path of one program`)
		}
		return nil
	}
	flags := cmd.Flags()
	flags.StringVar(&f.settings, "settings", "", "a `FILE` of JSON with the island's settings")
	flags.StringArrayVar(&f.set, "set", nil, "one setting, as `NAME=VALUE`; lists as JSON; may be given again")
	flags.StringArrayVar(&f.env, "env", nil, "a variable of the island's environment, as `NAME=VALUE`; may be given again")
	flags.StringArrayVar(&f.upstreams, "upstream", nil, "the `SETTING` that holds the URL of the upstream; may be given again")
	flags.StringArrayVar(&f.assets, "asset", nil, "an asset that the upstream knows, as `ID:SYMBOL` or :SYMBOL; may be given again")
	flags.StringVar(&f.unknown, "unknown", "", "an asset that the upstream does not know, as `ID:SYMBOL`")
	flags.StringVar(&f.vsCurrency, "vs", "usd", "a `CURRENCY` that the source offers")
	flags.StringArrayVar(&f.intervals, "interval", nil, "an `INTERVAL` of candles that the source offers, such as 1h (default 1d); may be given again")
	flags.StringArrayVar(&f.only, "only", nil, "only the checks that this `GLOB` matches, such as 'cache/*'; may be given again")
	flags.BoolVar(&f.asJSON, "json", false, "print the report as JSON")
	flags.BoolVar(&f.bench, "bench", false, "also measure what calls take, and memory")
	flags.DurationVar(&f.timeout, "timeout", verifyTimeout, "how long all of it may take")
	flags.DurationVar(&f.grace, "grace", 10*time.Second, "how long the island may take to shut down and exit")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if f.timeout <= 0 || f.grace <= 0 {
			return mistake(cmd, errors.New("--timeout and --grace want more than 0s"))
		}
		f.standardOutput, f.standardError = cmd.OutOrStdout(), cmd.ErrOrStderr()
		ctx, cancel := context.WithTimeout(cmd.Context(), f.timeout)
		defer cancel()
		return f.verify(ctx, cmd, args[0])
	}
	return cmd
}

// verify does it and prints what came out.
func (f *verifyFlags) verify(ctx context.Context, cmd *cobra.Command, path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return mistake(cmd, err)
	}
	manifest, err := process.Describe(ctx, path, "")
	if err != nil {
		return usageError{fmt.Errorf("islands: %w", err)}
	}
	opts, err := f.options(path, manifest)
	if err != nil {
		return mistake(cmd, err)
	}
	if opts.RunDir, err = trialDir(); err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(opts.RunDir) }()
	shown := newProgress(f.standardError)
	opts.Began, opts.Ended = shown.began, shown.ended
	report, err := conformance.Verify(ctx, opts)
	shown.clear()
	switch {
	case errors.Is(err, conformance.ErrNotStarted):
		return usageError{fmt.Errorf("islands: %w", err)}
	case errors.Is(err, context.DeadlineExceeded):
		err = fmt.Errorf("not all checks of %s were tried within %s: give more time with --timeout, or try fewer with --only", manifest.Name, f.timeout)
	case errors.Is(err, context.Canceled):
		err = fmt.Errorf("interrupted before all checks of %s were tried", manifest.Name)
	}
	if printErr := f.print(report); printErr != nil {
		return printErr
	}
	if report.Verdict == conformance.Failed {
		// What was found stands, also when the rest was not tried.
		broken := fmt.Errorf("%s breaks the contract in %d of %d checks", manifest.Name, report.Failed, len(report.Checks))
		err = errors.Join(broken, err)
	}
	return err
}

// options are what the flags say, checked against the manifest.
func (f *verifyFlags) options(path string, manifest sdk.Manifest) (conformance.Options, error) {
	opts := conformance.Options{
		Path: path, Settings: map[string]any{}, Upstreams: f.upstreams, Env: map[string]string{}, VsCurrency: f.vsCurrency, Grace: f.grace,
		Measure: f.bench,
	}
	if f.settings != "" {
		text, err := os.ReadFile(f.settings)
		if err != nil {
			return opts, fmt.Errorf("--settings: %w", err)
		}
		if err := decodeSettings(text, &opts.Settings); err != nil {
			return opts, fmt.Errorf("--settings %s is not a JSON object: %w", f.settings, err)
		}
	}
	for _, text := range f.set {
		name, value, ok := strings.Cut(text, "=")
		setting, known := manifest.Setting(name)
		if !ok || !known {
			return opts, fmt.Errorf("--set wants NAME=VALUE with a setting of %s (%s), not %q", manifest.Name, strings.Join(manifest.SettingNames(), ", "), name)
		}
		parsed, err := settingValue(setting, value)
		if err != nil {
			return opts, fmt.Errorf("--set %s: it %w", name, err)
		}
		opts.Settings[name] = parsed
	}
	for _, name := range f.upstreams {
		if _, known := manifest.Setting(name); !known {
			return opts, fmt.Errorf("--upstream wants a setting of %s (%s), not %q", manifest.Name, strings.Join(manifest.SettingNames(), ", "), name)
		}
	}
	for _, text := range f.env {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return opts, fmt.Errorf("--env wants NAME=VALUE, not %q", name)
		}
		opts.Env[name] = value
	}
	for _, text := range f.assets {
		asset, err := assetOf(text)
		if err != nil {
			return opts, fmt.Errorf("--asset: %w", err)
		}
		opts.Assets = append(opts.Assets, asset)
	}
	if f.unknown != "" {
		var err error
		if opts.Unknown, err = assetOf(f.unknown); err != nil {
			return opts, fmt.Errorf("--unknown: %w", err)
		}
	}
	for _, text := range f.intervals {
		interval := sdk.Interval(text)
		if !interval.Valid() {
			return opts, fmt.Errorf("--interval: there is no %q; there are %v", text, sdk.Intervals())
		}
		opts.Intervals = append(opts.Intervals, interval)
	}
	if len(f.only) > 0 {
		if !slices.ContainsFunc(conformance.All(), func(c conformance.Check) bool { return matchesAny(f.only, c.Name) }) {
			return opts, fmt.Errorf("--only %s matches no check", strings.Join(f.only, ", "))
		}
		opts.Only = func(name string) bool { return matchesAny(f.only, name) }
	}
	return opts, nil
}

// matchesAny reports whether one of the globs matches.
func matchesAny(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool {
		ok, err := filepath.Match(glob, name)
		return err == nil && ok
	})
}

// decodeSettings reads a JSON object, numbers as they are written.
func decodeSettings(text []byte, into *map[string]any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(into); err != nil {
		return err
	}
	if *into == nil {
		return errors.New("it is null")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more behind the object")
	}
	return nil
}

// settingValue is the value that a text on the command line stands for.
func settingValue(s sdk.Setting, text string) (any, error) {
	var value any = text
	switch s.Type {
	case sdk.StringSetting, sdk.DurationSetting, sdk.SizeSetting:
	default:
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if err := d.Decode(&value); err != nil {
			value = text // For Check to say what it wants.
		}
	}
	return value, s.Check(value)
}

// assetOf reads ID:SYMBOL.
func assetOf(text string) (sdk.Asset, error) {
	id, symbol, ok := strings.Cut(text, ":")
	if !ok || symbol == "" || symbol != strings.ToLower(symbol) {
		return sdk.Asset{}, fmt.Errorf("wants ID:SYMBOL with the symbol in lower case, such as bitcoin:btc, not %q", text)
	}
	return sdk.Asset{ID: id, Symbol: symbol}, nil
}

// trialDir makes a folder for the sockets of the islands that are verified.
func trialDir() (string, error) {
	var errs []error
	for _, parent := range append(runtimeDirs(), os.TempDir()) {
		dir, err := os.MkdirTemp(parent, "verify-")
		if err == nil && len(dir) <= maxRunDir {
			return dir, nil
		}
		if err == nil {
			err = fmt.Errorf("%s is too long for sockets", dir)
			_ = os.Remove(dir)
		}
		errs = append(errs, err)
	}
	return "", fmt.Errorf("no folder for sockets: %w", errors.Join(errs...))
}

// print writes the report.
func (f *verifyFlags) print(report conformance.Report) error {
	if f.asJSON {
		encoder := json.NewEncoder(f.standardOutput)
		encoder.SetIndent("", "  ")
		encoder.SetEscapeHTML(false)
		return encoder.Encode(report)
	}
	return showReport(f.standardOutput, report)
}

// showReport prints a report for people.
func showReport(w io.Writer, report conformance.Report) error {
	var text bytes.Buffer
	columns := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(columns, "CHECK\tVERDICT\tTIME\tSEEN")
	for _, c := range report.Checks {
		seen, _, more := strings.Cut(c.Seen, "\n")
		if more || c.Verdict == conformance.Failed {
			seen = shorten(seen, 100)
		}
		took := "-"
		if c.Verdict != conformance.Skipped {
			took = duration(c.Seconds)
		}
		_, _ = fmt.Fprintf(columns, "%s\t%s\t%s\t%s\n", c.Name, c.Verdict, took, printable(seen))
	}
	_ = columns.Flush()
	for _, c := range report.Checks {
		if c.Verdict == conformance.Failed {
			_, _ = fmt.Fprintf(&text, "\n%s\n  %s\n  the contract: %s\n", c.Name, strings.ReplaceAll(printable(shorten(c.Seen, 2000)), "\n", "\n  "), c.Rule)
		}
	}
	if len(report.Figures) > 0 {
		_, _ = fmt.Fprintln(&text)
		columns = tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
		_, _ = fmt.Fprintln(columns, "METHOD\tCALLS\tP50\tP99")
		for _, m := range report.Figures {
			_, _ = fmt.Fprintf(columns, "%s\t%d\t%.2f ms\t%.2f ms\n", m.Method, m.Calls, m.P50, m.P99)
		}
		_ = columns.Flush()
	}
	if report.Memory != nil {
		_, _ = fmt.Fprintf(&text, "memory: %d MiB when started, %d MiB after these calls\n", report.Memory.Start>>20, report.Memory.End>>20)
	}
	for _, note := range report.Notes {
		_, _ = fmt.Fprintf(&text, "note: %s\n", printable(shorten(note, 300)))
	}
	_, _ = fmt.Fprintf(&text, "\n%s %s: %s, %d passed, %d failed, %d skipped in %s\n", report.Name, report.Version, report.Verdict,
		report.Passed, report.Failed, report.Skipped, duration(report.Seconds))
	_, err := text.WriteTo(w)
	return err
}

// duration writes seconds for people.
func duration(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(time.Millisecond).String()
}

// progress shows which check is at work: on a terminal in one line, elsewhere each failure as it comes.
type progress struct {
	w        io.Writer
	terminal bool
	done     int
}

func newProgress(w io.Writer) *progress {
	p := &progress{w: w}
	if file, ok := w.(*os.File); ok {
		info, err := file.Stat()
		p.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return p
}

func (p *progress) began(name string) {
	if p.terminal {
		_, _ = fmt.Fprintf(p.w, "\r\x1b[K%d checked; %s", p.done, name)
	}
}

func (p *progress) ended(r conformance.Result) {
	p.done++
	if r.Verdict == conformance.Failed {
		p.clear()
		_, _ = fmt.Fprintf(p.w, "failed: %s\n", r.Name)
	} else if !p.terminal && p.done%20 == 0 {
		_, _ = fmt.Fprintf(p.w, "%d checked\n", p.done)
	}
}

// clear removes the line.
func (p *progress) clear() {
	if p.terminal {
		_, _ = fmt.Fprint(p.w, "\r\x1b[K")
	}
}
