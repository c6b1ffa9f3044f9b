package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/service-islands/islands/host/internal/supervisor"
)

const (
	// keepEvery is how often a host is told that somebody still debugs. Its patience is several times that.
	keepEvery = 15 * time.Second
	// keepTimeout bounds one try to tell it, and keepAgain is the pause before the next when it did not hear.
	keepTimeout = 10 * time.Second
	keepAgain   = 3 * time.Second
)

func newAttach() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "attach NAME -- DEBUGGER [ARG]...", Short: "Run an island of the running host under a debugger, until Ctrl-C",
		Long: `Attach replaces the island, as "islands swap" does, by a generation that the debugger starts: the host executes

  DEBUGGER ARG... BINARY

with the island's environment, and hands it the island's settings. Until Ctrl-C, or until this command is gone for 45 seconds,
that generation answers; then it is replaced by the binary alone. What the debugger prints is in the host's log.

  islands attach my-source -- dlv exec --headless --accept-multiclient --continue --listen 127.0.0.1:4040
  dlv connect 127.0.0.1:4040

While it is held at a breakpoint its calls time out, and the host neither kills nor restarts it. It is not confined, has no limits of
memory, and runs as the host's user. An island that is locked by sha256 is not put under a debugger. Over HTTP nobody can ask for it.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if err := oneIsland(cmd, args[:min(len(args), 1)]); err != nil {
				return err
			}
			if len(args) < 2 || cmd.ArgsLenAtDash() != 1 {
				return fmt.Errorf("%q wants a debugger: %s NAME -- dlv exec --headless --accept-multiclient --continue", cmd.CommandPath(), cmd.CommandPath())
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "the configuration of the host")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		host, _, err := openForAuthor(path, args[0])
		if err != nil {
			return err
		}
		debugger := append([]string{}, args[1:]...)
		found, err := exec.LookPath(debugger[0])
		if err != nil {
			return fmt.Errorf("the debugger: %w", err)
		}
		if debugger[0], err = filepath.Abs(found); err != nil { // The host may have another PATH, and be in another folder.
			return fmt.Errorf("the debugger %s: %w", found, err)
		}
		return attach(cmd.Context(), host, args[0], debugger, cmd.OutOrStdout())
	}
	return cmd
}

// attach runs an island under a debugger until the context ends.
func attach(ctx context.Context, host *adminClient, name string, debugger []string, out io.Writer) (err error) {
	if _, err := host.change(ctx, islandPath(name, "attach"), map[string][]string{"debugger": debugger}); err != nil {
		return host.explain(err, name)
	}
	defer func() {
		// The command ends, the host does not: it gets the time for it.
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTimeout)
		defer cancel()
		_, failed := host.change(ending, islandPath(name, "detach"), struct{}{})
		var r *refusal
		if errors.As(failed, &r) && r.status == http.StatusConflict {
			return // A reload or the end of the host has done it already.
		}
		if failed == nil {
			var s *islandStatus
			if s, failed = host.runningIsland(ending, name); failed == nil {
				_, _ = fmt.Fprintf(out, "%s runs without a debugger again: generation %d, process %d\n", name, s.Generation, s.PID)
			}
		}
		err = errors.Join(err, failed)
	}()
	s, err := host.runningIsland(ctx, name)
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "%s runs under %s: generation %d, process %d; unconfined, and not killed when it hangs; Ctrl-C ends it\n",
		name, filepath.Base(debugger[0]), s.Generation, s.PID)
	for _, line := range s.Applied.DebuggerSaid {
		_, _ = fmt.Fprintf(out, "  %s\n", printable(line))
	}
	// A host that is held up is asked again soon, because the patience for a change is longer than the lease.
	hasty := *host
	hasty.timeout = keepTimeout
	return keepDebugged(ctx, name, out, func(ctx context.Context) error {
		_, err := hasty.change(ctx, islandPath(name, "keep"), struct{}{})
		return err
	})
}

// keepDebugged says again and again that somebody still debugs an island, until the context ends or the island is no longer
// debugged. While nobody hears it, that is so until the lease is over.
func keepDebugged(ctx context.Context, name string, out io.Writer, keep func(context.Context) error) error {
	heard, unheard := time.Now(), false
	next := time.NewTimer(keepEvery)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-next.C:
		}
		asked := time.Now()
		err := keep(ctx)
		var r *refusal
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			heard, unheard = asked, false
			next.Reset(keepEvery)
			continue
		case errors.As(err, &r) && (r.status == http.StatusConflict || r.status == http.StatusNotFound):
			return fmt.Errorf("%s is no longer debugged: %w", name, err)
		case time.Since(heard) >= supervisor.DebuggerLease:
			return fmt.Errorf("%s is no longer debugged, because the host has not heard for %s that it is to be: %w", name, supervisor.DebuggerLease, err)
		case !unheard:
			unheard = true
			_, _ = fmt.Fprintf(out, "%s may be taken from its debugger soon, trying to keep it: %v\n", name, err)
		}
		next.Reset(keepAgain)
	}
}
