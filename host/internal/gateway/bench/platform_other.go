//go:build !linux

package main

import (
	"context"
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

// bindProgram does nothing here.
func (processors) bindProgram() error { return nil }
