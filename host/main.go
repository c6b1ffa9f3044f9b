package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/sdk/process"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// Exit statuses of the program.
const (
	exitOK      = 0
	exitFailure = 1 // what was asked for did not succeed
	exitUsage   = 2 // the command line or the configuration is wrong
)

// usageError is a mistake in the command line or the configuration.
type usageError struct{ error }

// Unwrap returns the mistake.
func (e usageError) Unwrap() error { return e.error }

// execute runs the program with its arguments and returns its exit status.
func execute(ctx context.Context, args []string, out, errs io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		_, _ = fmt.Fprintln(errs, err)
		return exitUsage
	default:
		_, _ = fmt.Fprintln(errs, "islands:", err)
		return exitFailure
	}
}

// newRoot returns the command with its subcommands.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "islands", Short: "A host of islands that make market-data reports", Long: rootHelp, Version: buildVersion(),
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetVersionTemplate("islands {{.Version}}\n")
	root.SetHelpCommand(newHelp())
	root.AddCommand(newRun(), newValidate(), newLock(), newNew(), newJanitor(), newVersion(), newVerify())
	root.AddCommand(remoteCommands()...)
	strict(root)
	return root
}

// janitorCommand is the hidden subcommand that a host starts for itself.
const janitorCommand = "janitor"

// defaultConfig is the configuration that commands read unless told otherwise.
const defaultConfig = "islands.hcl"

// loadConfig reads a configuration and checks it against the islands' own manifests.
func loadConfig(path string) (*config.Config, error) {
	cfg, err := config.Load(path, config.Options{Describe: descriptions().Describe})
	if err != nil {
		return nil, usageError{err}
	}
	return cfg, nil
}

// descriptions remembers what binaries say of themselves among the user's other caches, so that checking a configuration starts
// nothing but what has changed. A user without a place for caches does without.
func descriptions() process.Descriptions {
	dir, err := os.UserCacheDir()
	if err != nil {
		return process.Descriptions{}
	}
	return process.Descriptions{Dir: filepath.Join(dir, "service-islands", "manifests")}
}

func newRun() *cobra.Command {
	var path, listen string
	cmd := &cobra.Command{
		Use: "run", Short: "Start the host and its islands; Ctrl-C or SIGTERM drains and stops them", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			load := func() (*config.Config, error) {
				cfg, err := loadConfig(path)
				if err == nil && listen != "" {
					cfg.Host.Listen = listen
				}
				return cfg, err
			}
			return run(cmd.Context(), &configFile{path: path, load: load}, cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "the configuration")
	cmd.Flags().StringVar(&listen, "listen", "", "HOST:PORT of the API, instead of the configuration's")
	return cmd
}

// run starts a host, waits for the context's end, and stops it. Meanwhile it reloads the configuration on SIGHUP, and
// when the file changes if the configuration wants that.
func run(ctx context.Context, file *configFile, logs io.Writer) error {
	hangups := make(chan os.Signal, 1) // From the start: unheard, the signal would end the host.
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	cfg, err := file.read()
	if err != nil {
		return err
	}
	logger := newLogger(cfg.Host.Log, logs)
	attend()
	began := time.Now()
	h, err := startHost(ctx, cfg, file, logger)
	if err != nil {
		return err
	}
	logger.Info("ready", "url", h.gateway.URL(), "took", time.Since(began).Round(time.Millisecond))
	h.runs("watch", h.reloads.watch)
	h.runs("signals", func(ctx context.Context) {
		for ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-hangups:
				h.reloads.reloadSoon(ctx, "SIGHUP")
			}
		}
	})
	<-ctx.Done()
	logger.Info("stopping")
	if err := h.stop(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	logger.Info("stopped")
	return nil
}

// attend gives the Go runtime two processors where there is only one, unless GOMAXPROCS says something else. The runtime looks
// for what has arrived on the network when one of its processors has nothing else to do, and every ten milliseconds otherwise:
// with a single one, warm requests would wait that long behind whatever is being encoded. Of two, cold work takes one at most,
// and the kernel shares the real one out in finer slices.
func attend() {
	if os.Getenv("GOMAXPROCS") == "" && runtime.GOMAXPROCS(0) < 2 {
		runtime.GOMAXPROCS(2)
	}
}

// newLogger returns the host's logger.
func newLogger(log config.Log, out io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "islands", Level: hclog.LevelFromString(log.Level), Output: out, JSONFormat: log.Format == "json",
		IndependentLevels: false,
	})
}

func newValidate() *cobra.Command {
	return &cobra.Command{
		Use: "validate [FILE]", Short: "Check a configuration against the islands' own manifests, without starting anything",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := defaultConfig
			if len(args) > 0 {
				path = args[0]
			}
			cfg, err := loadConfig(path)
			if err != nil {
				return err
			}
			enabled := 0
			for _, island := range cfg.Islands {
				if island.Enabled {
					enabled++
				}
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d islands, %d of them enabled\n", path, len(cfg.Islands), enabled)
			return err
		},
	}
}
