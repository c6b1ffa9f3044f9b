package main

import (
	"context"
	"os"
	"runtime"
	"time"

	"github.com/service-islands/islands/host/internal/gateway"
	"github.com/service-islands/islands/host/internal/observe"
	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// operator carries out what an operator asks for.
type operator struct{ h *host }

var _ gateway.Operator = (*operator)(nil)

// islandStatus is an island as an operator may see it. The CLI reads it.
type islandStatus struct {
	Name       string           `json:"name"`
	Layer      sdk.Layer        `json:"layer"`
	Version    string           `json:"version"`
	State      supervisor.State `json:"state"`
	Status     sdk.Status       `json:"status"`
	Reason     string           `json:"reason"`
	PID        int              `json:"pid"`
	Generation uint64           `json:"generation"`
	Since      time.Time        `json:"since"`
	Restarts   int              `json:"restarts"`
	LastError  string           `json:"last_error"`
	// Cause is why the island does not run, empty while it does.
	Cause  supervisor.Cause `json:"cause"`
	Health sdk.Health       `json:"health"`
	// Path of the binary in effect; Overridden is whether a swap put it there, until the next reload or start of the host.
	Path       string `json:"path"`
	Overridden bool   `json:"overridden"`
	// StopFirst is whether the island stops before its successor begins.
	StopFirst bool `json:"stop_first"`
	// Debugger is the command under which the process runs, empty for none.
	Debugger []string `json:"debugger,omitempty"`
	// Applied is how the process was really started: its checksum, its limits, what it is kept from.
	Applied process.Applied `json:"applied"`
	// Behaviour is how it keeps up.
	Behaviour behaviour `json:"behaviour"`
}

// hostStatus is what `islands status --json` prints.
type hostStatus struct {
	Host    hostFigures    `json:"host"`
	Islands []islandStatus `json:"islands"`
}

// hostFigures are what the host's own process holds, so that one who watches it sees a leak. What the system does not tell
// is null.
type hostFigures struct {
	PID           int    `json:"pid"`
	Goroutines    int    `json:"goroutines"`
	OpenFiles     *int   `json:"open_files"` // sockets included
	ResidentBytes *int64 `json:"resident_bytes"`
}

// Status implements gateway.Operator.
func (o *operator) Status(context.Context) any {
	out := hostStatus{
		Host:    hostFigures{PID: os.Getpid(), Goroutines: runtime.NumGoroutine(), OpenFiles: openFiles(), ResidentBytes: residentBytes()},
		Islands: []islandStatus{},
	}
	for _, s := range o.h.supervisor.Status() {
		status, reason := observe.StatusOf(stateOf(s))
		out.Islands = append(out.Islands, islandStatus{
			Name: s.Name, Layer: s.Layer, Version: s.Version, State: s.State, Status: status, Reason: reason, PID: s.PID,
			Generation: s.Generation, Since: s.Since.UTC(), Restarts: s.Restarts, LastError: s.LastError, Cause: s.Cause,
			Health: s.Health, Path: s.Path, Overridden: s.Overridden, StopFirst: s.StopFirst, Applied: s.Applied, Debugger: s.Debugger,
			Behaviour: o.h.behaviour(s.Name),
		})
	}
	return out
}

// crashReport is a crash as an operator may see it.
type crashReport struct {
	ID            string           `json:"id"`
	Island        string           `json:"island"`
	At            time.Time        `json:"at"`
	Cause         supervisor.Cause `json:"cause"`
	Version       string           `json:"version"`
	Generation    uint64           `json:"generation"`
	PID           int              `json:"pid"`
	UptimeSeconds float64          `json:"uptime_seconds"`
	Code          int              `json:"code"`
	Signal        string           `json:"signal"`
	Error         string           `json:"error"`
	// Limit that the island ran into, empty when none is known.
	Limit  string `json:"limit"`
	Stderr string `json:"stderr"`
	Stack  string `json:"stack"`
	// Applied is what confined and limited the process, nil when it could not be started.
	Applied *process.Applied `json:"applied"`
}

// crashReports is what `islands crash NAME --json` prints, the newest first.
type crashReports struct {
	Crashes []crashReport `json:"crashes"`
}

// Crashes implements gateway.Operator.
func (o *operator) Crashes(name string) (any, error) {
	crashes, err := o.h.supervisor.Crashes(name)
	if err != nil {
		return nil, err
	}
	out := crashReports{Crashes: []crashReport{}}
	for _, c := range crashes {
		out.Crashes = append(out.Crashes, crashReport{
			ID: c.ID, Island: c.Island, At: c.At.UTC(), Cause: c.Cause, Version: c.Version, Generation: c.Generation, PID: c.PID,
			UptimeSeconds: c.Uptime.Seconds(), Code: c.Code, Signal: c.Signal, Error: c.Error, Limit: c.Limit,
			Stderr: c.Stderr, Stack: c.Stack, Applied: c.Applied,
		})
	}
	return out, nil
}

// Restart implements gateway.Operator.
func (o *operator) Restart(ctx context.Context, name string) error {
	return o.h.supervisor.Restart(ctx, name)
}

// Reset implements gateway.Operator.
func (o *operator) Reset(ctx context.Context, name string) error {
	return o.h.supervisor.Reset(ctx, name)
}

// Swap implements gateway.Operator.
func (o *operator) Swap(ctx context.Context, name, to, sha256 string) error {
	return o.h.supervisor.Swap(ctx, name, to, sha256)
}

// Attach implements gateway.Operator.
func (o *operator) Attach(ctx context.Context, name string, debugger []string) error {
	return o.h.supervisor.Attach(ctx, name, debugger)
}

// Keep implements gateway.Operator.
func (o *operator) Keep(name string) error { return o.h.supervisor.Keep(name) }

// Detach implements gateway.Operator.
func (o *operator) Detach(ctx context.Context, name string) error {
	return o.h.supervisor.Detach(ctx, name)
}

// Reload implements gateway.Operator.
func (o *operator) Reload(ctx context.Context) (any, error) {
	return o.h.reloads.reload(ctx, "operator")
}

// Invalidate implements gateway.Operator.
func (o *operator) Invalidate(ctx context.Context, patterns []string) (int, error) {
	return o.h.requests.Invalidate(ctx, patterns)
}

// SetTier implements gateway.Operator.
func (o *operator) SetTier(ctx context.Context, tier string, enabled bool) error {
	return o.h.requests.SetTier(ctx, tier, enabled)
}
