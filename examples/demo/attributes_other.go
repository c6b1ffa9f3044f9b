//go:build !linux

package main

import "syscall"

// attributes asks for nothing: only Linux can kill a child at the death of its parent.
func attributes() *syscall.SysProcAttr { return nil }
