package main

import "syscall"

// attributes gives a child a process group of its own and lets it die with the thread that forks it.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
