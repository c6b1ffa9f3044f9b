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
	// keepEvery is how often a host is told that somebody still debugs, and asked what runs. Its patience is several times that.
	keepEvery = 5 * time.Second
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

  go build -gcflags 'all=-N -l' -o plugins/my-source .
  islands attach my-source -- dlv exec --headless --accept-multiclient --continue --listen 127.0.0.1:4040
  dlv connect 127.0.0.1:4040

The flags keep the compiler from optimizing, so that every variable is there and every line is a place to stop at; a binary that was
linked with -s or -w has no symbols, and little can be seen in it. --continue starts the program, without which it is never ready, and
--accept-multiclient lets it go on when dlv connect leaves with "exit -c" ("quit" asks whether to kill the program).

While it is held at a breakpoint its calls time out, and the host neither kills nor restarts it. When it ends, the host ends the
debugger and starts both anew. It is not confined, has no limits of memory, and runs as the host's user: what it writes meanwhile is
given back to the island's own. An island that is locked by sha256 is not put under a debugger. Over HTTP nobody can ask for it.`,
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
	under := filepath.Base(debugger[0])
	_, _ = fmt.Fprintf(out, "%s runs under %s: generation %d, process %d; unconfined, and not killed when it hangs; Ctrl-C ends it\n",
		name, under, s.Generation, s.PID)
	tellSaid(out, s)
	// A host that is held up is asked again soon, because the patience for a change is longer than the lease.
	hasty := *host
	hasty.timeout = keepTimeout
	return keepDebugged(ctx, name, out, func(ctx context.Context) error {
		if _, err := hasty.change(ctx, islandPath(name, "keep"), struct{}{}); err != nil {
			return err
		}
		// The program may have ended, and its debugger with it: who is connected to that has to connect again.
		if now, err := hasty.runningIsland(ctx, name); err == nil && now.Generation != s.Generation && len(now.Applied.Debugger) > 0 {
			s = now
			_, _ = fmt.Fprintf(out, "%s ended (\"islands crash %s\" says how) and runs under a new %s: generation %d, process %d\n",
				name, name, under, s.Generation, s.PID)
			tellSaid(out, s)
		}
		return nil
	})
}

// tellSaid writes down what a debugger has printed, such as where it listens.
func tellSaid(out io.Writer, s *islandStatus) {
	for _, line := range s.Applied.DebuggerSaid {
		_, _ = fmt.Fprintf(out, "  %s\n", printable(line))
	}
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
