//go:build !linux

package process

import (
	"errors"
	"syscall"
)

// mayBecome says that no process is run as another user here.
func mayBecome() error { return errors.New("this system does not have it") }

// settle is not called where nobody becomes another user.
func (f *files) settle(uint32, *Image, ...string) error { return mayBecome() }

// handed is not called where nobody becomes another user.
func handed(int) string { return "" }

// credentials is not called where nobody becomes another user.
func credentials(*syscall.SysProcAttr, uint32) {}

// asNobody changes nothing where nobody becomes another user.
func (i *Image) asNobody(*syscall.SysProcAttr) {}
