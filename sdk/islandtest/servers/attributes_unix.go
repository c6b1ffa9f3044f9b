//go:build unix && !linux

package servers

import "syscall"

// attributes puts the child in a process group of its own. Only Linux can signal it at the death of its parent; here a
// killed test leaves its servers behind.
func attributes(credential *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential}
}
