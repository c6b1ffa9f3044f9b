package supervisor

import (
	"errors"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// Cause is the class of a crash: how it was noticed and, by that, what is done about it.
type Cause string

// The classes there are. The list only ever grows.
const (
	// CauseConfiguration and CauseChecksum are never retried: trying again does not mend them. The island is failed until an
	// operator restarts, resets or swaps it, or reloads the configuration.
	CauseConfiguration Cause = "configuration" // the binary, its manifest or the settings are wrong
	CauseChecksum      Cause = "checksum"      // the binary is not the one that sha256 names

	CauseExit   Cause = "exit"   // the process ended by itself with a status that is not zero
	CauseClean  Cause = "clean"  // it ended by itself with status zero, unasked; retried like any crash
	CauseSignal Cause = "signal" // a signal ended it
	CauseHang   Cause = "hang"   // it missed its health deadlines and was killed
	CauseStart  Cause = "start"  // it could not be started or initialized

	// CauseOutOfMemory is retried after long pauses when it comes again: what did not fit will hardly fit at once.
	CauseOutOfMemory Cause = "out_of_memory"
	// CauseSocket is a socket file that is gone: nobody new could connect. The island is replaced while it goes on answering.
	CauseSocket Cause = "socket"
)

// permanent reports whether trying again is pointless.
func (c Cause) permanent() bool { return c == CauseConfiguration || c == CauseChecksum }

// Crash is how one life of an island ended. It is for operators: the error and the output may hold paths. Values that the
// configuration calls secret are redacted in all of it. It is what a crash report on disk holds.
type Crash struct {
	// ID of the report, unique among those of its island and rising with time, such as "20261125T081500.123456789Z".
	ID     string    `json:"id"`
	Island string    `json:"island"`
	At     time.Time `json:"at"`
	Cause  Cause     `json:"cause"`
	// Version of the island by its manifest, empty when it never said.
	Version string `json:"version"`
	// Generation that crashed; 0 for one that never ran.
	Generation uint64 `json:"generation"`
	// PID of the process; 0 when it could not be started.
	PID    int           `json:"pid"`
	Uptime time.Duration `json:"uptime"`
	// Code is the exit status, -1 when a signal ended the process or it never ran.
	Code int `json:"code"`
	// Signal such as "killed", empty when the process ended by itself.
	Signal string `json:"signal"`
	// Error of the start or of the initialization, empty otherwise.
	Error string `json:"error"`
	// Limit that the island ran into, such as "memory 256 MiB"; empty when none is known.
	Limit string `json:"limit"`
	// Stderr is the end of what the process wrote to its standard error, at most 64 KiB.
	Stderr string `json:"stderr"`
	// Stack is the goroutine dump or the panic in it, at most 256 KiB; empty when there was none.
	Stack string `json:"stack"`
	// Applied is what confined and limited the process; nil when it could not be started.
	Applied *process.Applied `json:"applied,omitempty"`
}

// ended fills in how a process ended.
func (c *Crash) ended(p Process, exit process.Exit) {
	applied := p.Applied()
	c.At, c.Uptime, c.Code, c.Signal, c.Stderr, c.Stack = exit.At, exit.Uptime, exit.Code, exit.Signal, exit.Stderr, exit.Stack
	c.PID, c.Version, c.Applied = p.PID(), p.Manifest().Version, &applied
	if exit.Forsaken {
		c.Error = "ended under its debugger, which went on alone and was ended after it"
	}
}

// causeOf is the class of a process that ended without having been asked to.
func causeOf(exit process.Exit) Cause {
	switch {
	case exit.OutOfMemory:
		return CauseOutOfMemory
	case exit.Signal != "":
		return CauseSignal
	case exit.Code == 0:
		return CauseClean
	default:
		return CauseExit
	}
}

// reason says in a few words how the island went.
func (c *Crash) reason() string {
	switch {
	case c.Error != "":
		return c.Error
	case c.Cause == CauseHang:
		return "missed its health deadlines and was killed"
	case c.Cause == CauseOutOfMemory && c.Limit != "":
		return "ran out of memory: its limit is " + c.Limit
	case c.Cause == CauseOutOfMemory:
		return "ran out of memory"
	case c.Signal != "":
		return "was ended by the signal " + c.Signal
	case c.Cause == CauseClean:
		return "ended by itself with status 0, though nobody had asked it to"
	default:
		return fmt.Sprintf("exited with status %d", c.Code)
	}
}

// failedStart is why a generation did not come to life.
type failedStart struct {
	err   error
	cause Cause
	// process that was started, nil when none was. It has ended.
	process Process
	// ended is whether the process ended by itself, so that its exit says something.
	ended bool
	// hide knows the secrets that the island was handed; nil when it was handed none.
	hide *redactor
}

// refused is a start that failed before there was a process.
func refused(err error) *failedStart {
	failed := &failedStart{err: err, cause: CauseStart}
	switch {
	case errors.Is(err, process.ErrChecksum):
		failed.cause = CauseChecksum
	case sdk.KindOf(err) == sdk.InvalidArgument:
		failed.cause = CauseConfiguration
	}
	return failed
}

// reason is the error without the secrets that the island may have put into it.
func (f *failedStart) reason() error {
	text := f.err.Error()
	if hidden := f.hide.text(text); hidden != text {
		return sdk.Errorf(sdk.KindOf(f.err), "%s", hidden)
	}
	return f.err
}

// crash is the report of the start.
func (f *failedStart) crash() *Crash {
	crash := &Crash{At: time.Now(), Cause: f.cause, Code: -1, Error: f.err.Error()}
	defer func() { f.hide.crash(crash) }()
	var start *process.StartError
	if errors.As(f.err, &start) {
		crash.Uptime, crash.Stderr, crash.Stack = start.Exit.Uptime, start.Exit.Stderr, start.Exit.Stack
		if start.Exit.Signal == "" {
			crash.Code = start.Exit.Code
		}
	}
	if f.process == nil {
		return crash
	}
	exit := exitOf(f.process)
	crash.ended(f.process, exit)
	if !f.ended {
		crash.Code, crash.Signal = -1, "" // It was killed because of the error, which says more.
	} else if exit.OutOfMemory && !f.cause.permanent() {
		crash.Cause = CauseOutOfMemory
	}
	return crash
}
