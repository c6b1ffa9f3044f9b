package servers

import "syscall"

// attributes puts the child in a process group of its own, so that a Ctrl-C in the terminal reaches the test alone, and
// has the kernel send it deathSignal when the thread that forks it ends.
func attributes(credential *syscall.Credential, deathSignal syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential, Pdeathsig: deathSignal}
}
