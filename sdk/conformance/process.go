package conformance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// isBinary leaves a check out for islands in this process.
func isBinary(s Subject) bool { return s.Binary != nil }

func processChecks() []Check {
	checks := []Check{
		{
			Name: "process/parity", early: true, run: processParity,
			Rule: "describe prints the manifest without starting anything, and the running island says the same",
		},
		{
			Name: "process/bare", early: true, run: processBare,
			Rule: "run bare, an island says what it is and exits",
		},
		{
			Name: "process/shutdown", run: processShutdown,
			Rule: "Shutdown releases what the island holds, and the process exits when it is asked to, with status 0",
		},
		{
			Name: "process/lifeline", run: processLifeline,
			Rule: "an island shuts down and exits when its lifeline ends, which is when the host does, however it dies",
		},
		{
			Name: "process/signals", Waits: true, run: processSignals,
			Rule: "an island ignores SIGINT and SIGTERM, which reach it with the host's: the host drains and stops it",
		},
		{
			Name: "process/uninitialized", early: true, run: processUninitialized,
			Rule: "The host calls Initialize before anything else: an island that is asked before answers or fails, and lives on",
		},
		{
			Name: "process/initialize-twice", run: processInitializeTwice,
			Rule: "The host calls Initialize exactly once: an island that is initialized again refuses or obeys, and lives on",
		},
		{
			Name: "process/settings", early: true, run: processSettings,
			Rule: "settings that are not a JSON object are InvalidArgument",
		},
		{
			Name: "process/bad-messages", run: processBadMessages,
			Rule: "a message that cannot be read is an error of that call and not the end of the island",
		},
		{
			Name: "process/big-messages", run: processBigMessages,
			Rule: "messages may have 16 MiB; a bigger one is an error of that call and not the end of the island",
		},
		{
			Name: "process/bad-requests", run: processBadRequests,
			Rule: "a request that makes no sense is an error of that call: no panic, and not the end of the island",
		},
		{
			Name: "process/cancelled", calls: true, run: processCancelled,
			Rule: "Deadlines cross the wire: what works for a call ends when the call's context does, within 250 ms",
		},
		{
			Name: "process/left-behind", calls: true, run: processLeftBehind,
			Rule: "what a call starts ends with it: nothing is left behind that grows with the number of calls",
		},
	}
	for i := range checks {
		checks[i].meant = isBinary
	}
	return checks
}

func processParity(ctx context.Context, b *bench) error {
	var texts [2][]byte
	for i := range texts {
		described, err := process.Describe(ctx, b.Binary.Path, "")
		if err != nil {
			return err
		}
		if texts[i], err = json.Marshal(described); err != nil {
			return fmt.Errorf("describe: %w", err)
		}
	}
	if !bytes.Equal(texts[0], texts[1]) {
		return fmt.Errorf("describe prints %s, and then %s", texts[0], texts[1])
	}
	p, err := b.Binary.launch(ctx)
	if err != nil {
		return err
	}
	defer p.Kill()
	running, err := json.Marshal(p.Manifest())
	if err != nil {
		return fmt.Errorf("the manifest of the running island: %w", err)
	}
	if !bytes.Equal(texts[0], running) {
		return fmt.Errorf("describe and the running island differ %s", difference(texts[0], running))
	}
	m := p.Manifest()
	switch {
	case m.Protocol.Major != sdk.ProtocolMajor:
		return fmt.Errorf("the manifest names the protocol major %d and the handshake %d", m.Protocol.Major, sdk.ProtocolMajor)
	case len(m.Roles) == 0:
		return errors.New("the island has no role at all: no host would ever call it")
	}
	return nil
}

// difference shows where two texts part.
func difference(a, b []byte) string {
	at := 0
	for at < min(len(a), len(b)) && a[at] == b[at] {
		at++
	}
	from := max(0, at-20)
	return fmt.Sprintf("at byte %d: %.80q against %.80q", at, a[from:], b[from:])
}

func processBare(ctx context.Context, b *bench) error {
	ctx, cancel := context.WithTimeout(ctx, b.Binary.grace())
	defer cancel()
	cmd := exec.CommandContext(ctx, b.Binary.Path)
	cmd.WaitDelay = time.Second
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME")}
	for name, value := range b.Binary.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	output, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return fmt.Errorf("run without a host it goes on for more than %v", b.Binary.grace())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return fmt.Errorf("run without a host: %w", err)
	}
	if len(bytes.TrimSpace(output)) == 0 {
		return errors.New("run without a host it says nothing")
	}
	return nil
}

func processShutdown(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	for _, c := range b.roleCalls(p.Island()) {
		_ = c.call(ctx) // What it answers is the affair of other checks.
	}
	ctx, cancel := context.WithTimeout(ctx, b.Binary.grace())
	defer cancel()
	start := time.Now()
	if err := p.Stop(ctx); err != nil {
		return fmt.Errorf("shutdown, given %v: %w", b.Binary.grace(), err)
	}
	if exit := p.Exit(); exit.Code != 0 {
		return fmt.Errorf("after Shutdown it did not exit with status 0: %s, after %v", ending(p), time.Since(start).Round(time.Millisecond))
	}
	return nil
}

func processLifeline(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	p.CutLifeline()
	timer := time.NewTimer(b.Binary.grace())
	defer timer.Stop()
	select {
	case <-p.Done():
		return nil
	case <-timer.C:
		return fmt.Errorf("it runs %v after its lifeline was cut", b.Binary.grace())
	}
}

func processSignals(ctx context.Context, b *bench) error {
	if runtime.GOOS == "windows" {
		return unseenError("there are no such signals on " + runtime.GOOS)
	}
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	running, err := os.FindProcess(p.PID())
	if err != nil {
		return err
	}
	for _, signal := range []os.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := running.Signal(signal); err != nil {
			return fmt.Errorf("send %s: %w", signal, err)
		}
		if err := pause(ctx, time.Now().Add(time.Second)); err != nil {
			return err
		}
		if err := alive(ctx, p, "the signal "+signal.String()); err != nil {
			return err
		}
	}
	return nil
}

func processUninitialized(ctx context.Context, b *bench) error {
	p, err := b.Binary.launch(ctx)
	if err != nil {
		return err
	}
	defer p.Kill()
	for _, c := range b.roleCalls(p.Island()) {
		if err := within(b.Patience, c.name+" before Initialize", func() { _ = c.call(ctx) }); err != nil {
			return err
		}
	}
	if health := p.Island().Health(ctx); health.Status == sdk.StatusOK {
		return fmt.Errorf("before Initialize its health is %q", health.Status)
	}
	return alive(ctx, p, "calls before Initialize")
}

func processInitializeTwice(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	if err := within(b.Patience, "a second Initialize", func() { _ = p.Island().Initialize(ctx, b.config(b.settings())) }); err != nil {
		return err
	}
	if err := alive(ctx, p, "a second Initialize"); err != nil {
		return err
	}
	if health := p.Island().Health(ctx); health.Status == sdk.StatusFailed {
		return fmt.Errorf("after a second Initialize its health is failed: %s", health.Reason)
	}
	return nil
}

// initializeMethod is the name of Initialize on the wire.
const initializeMethod = "/islands.v1.IslandService/Initialize"

// settingsMessage is an InitializeRequest with that text in the place of the settings.
func settingsMessage(text string) []byte {
	message := append([]byte{0x0a, 6}, "verify"...)
	return append(append(message, 0x12, byte(len(text))), text...)
}

func processSettings(ctx context.Context, b *bench) error {
	for _, text := range []string{"{", "[1]", `"url"`, `{"a":1}}`} {
		p, err := b.Binary.launch(ctx)
		if err != nil {
			return err
		}
		_, err = p.Send(ctx, initializeMethod, settingsMessage(text))
		after := alive(ctx, p, "Initialize with the settings "+text)
		p.Kill()
		if err := errors.Join(wantKind("Initialize with the settings "+text, err, sdk.InvalidArgument), after); err != nil {
			return err
		}
	}
	return nil
}

func processBadMessages(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	for _, method := range append(process.Methods(), "/islands.v1.IslandService/NoSuchMethod", "/islands.v9.NoSuchService/None") {
		if strings.HasSuffix(method, "/Shutdown") {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, b.Patience)
		_, err := p.Send(callCtx, method, []byte("\x0a\xff\xff\xff\xff\x0f no message of protobuf"))
		cancel()
		if err == nil {
			return fmt.Errorf("%s answers to bytes that are no message", method)
		}
		if sdk.KindOf(err) == sdk.DeadlineExceeded {
			return fmt.Errorf("%s does not answer to bytes that are no message: %w", method, err)
		}
		if err := alive(ctx, p, "bytes that are no message, sent to "+method); err != nil {
			return err
		}
	}
	return nil
}

func processBigMessages(ctx context.Context, b *bench) error {
	p, err := b.Binary.launch(ctx)
	if err != nil {
		return err
	}
	defer p.Kill()
	big := strings.Repeat("x", 15<<20)
	err = p.Island().Initialize(ctx, b.config(map[string]any{"no_such_setting": big}))
	if err := wantKind("Initialize with 15 MiB in an unknown setting", err, sdk.InvalidArgument); err != nil {
		return err
	}
	if len(err.Error()) > 64<<10 {
		return fmt.Errorf("the refusal of a big setting has %d bytes itself", len(err.Error()))
	}
	if err := alive(ctx, p, "a message of 15 MiB"); err != nil {
		return err
	}
	running, err := b.running(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 4*b.Patience)
	defer cancel()
	for name, call := range b.oddCalls(running.Island(), big[:12<<20]) {
		_ = call(ctx)
		if err := alive(ctx, running, "12 MiB in "+name); err != nil {
			return err
		}
	}
	return nil
}

func processBadRequests(ctx context.Context, b *bench) error {
	p, err := b.running(ctx)
	if err != nil {
		return err
	}
	for _, text := range []string{"", "\x00", "../../etc/passwd", "'; drop table quotes; --", "%s%n", "\U0001F3DD", strings.Repeat("x", 70_000)} {
		for name, call := range b.oddCalls(p.Island(), text) {
			callCtx, cancel := context.WithTimeout(ctx, b.Patience)
			err := call(callCtx)
			cancel()
			if err != nil && (strings.Contains(err.Error(), "panic") || strings.Contains(err.Error(), "nil pointer")) {
				return fmt.Errorf("%s with %.20q: %w", name, text, err)
			}
			if err := alive(ctx, p, fmt.Sprintf("%s with %.20q", name, text)); err != nil {
				return err
			}
		}
	}
	return nil
}
