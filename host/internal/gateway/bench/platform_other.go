//go:build !linux

package main

import (
	"errors"
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

// processors is a set of processors; here they are not told apart.
type processors []int

// allowedProcessors returns none: nothing is bound here.
func allowedProcessors() (processors, error) { return nil, nil }

// bindThread does nothing here.
func (processors) bindThread() error { return nil }

// bindProgram does nothing here.
func (processors) bindProgram() error { return nil }
