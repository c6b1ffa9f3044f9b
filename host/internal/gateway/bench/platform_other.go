//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
	"runtime"
	"syscall"
	"time"
)

// attributes asks for nothing: only Linux can kill a child at the death of its parent.
func attributes() *syscall.SysProcAttr { return nil }

// killGroup does nothing here: the child was not given a group.
func killGroup(int) error { return nil }

// processorTime is known on Linux only.
func processorTime(int) (time.Duration, error) {
	return 0, errors.New("the processor time of another process is not known on " + runtime.GOOS)
}

// load is for Linux only: without processor times it has no use.
type load struct{}

// newLoad makes none here.
func newLoad(string, string, []byte, int) (*load, error) {
	return nil, errors.New("the load needs Linux")
}

func (*load) close() error { return nil }

func (*load) run(context.Context, time.Duration) (answers int, took time.Duration, err error) {
	return 0, 0, nil
}

// processors is a set of processors; here they are not told apart.
type processors []int

// allowedProcessors returns none: nothing is bound here.
func allowedProcessors() (processors, error) { return nil, nil }

// bindThread does nothing here.
func (processors) bindThread() error { return nil }

// yieldThread does nothing here.
func yieldThread(int) error { return nil }

// bindProgram does nothing here.
func (processors) bindProgram() error { return nil }

// errFanOut is why the fan-out is measured on Linux only.
var errFanOut = errors.New("the fan-out needs Linux")

// attend is for Linux only.
func attend(context.Context, io.Reader, io.Writer) error { return errFanOut }

// clock is for Linux only.
type clock struct{}

// newClock makes none here.
func newClock() (clock, error) { return clock{}, errFanOut }

func (clock) now() int64 { return 0 }

// residentMemory is known on Linux only.
func residentMemory(int) (int, error) { return 0, errFanOut }

// openFiles is known on Linux only.
func openFiles(int) (int, error) { return 0, errFanOut }

// fileLimit is asked for on Linux only.
func fileLimit() (int, error) { return 0, errFanOut }

// freeze is for Linux only.
func (*child) freeze() error { return errFanOut }
