//go:build !unix

package process

import (
	"os"
	"os/exec"
)

// ownGroup does nothing where there are no process groups.
func ownGroup(*exec.Cmd) {}

// ownSession does nothing where there are no sessions.
func ownSession(*exec.Cmd) {}

// killGroup ends the process alone where there are no process groups.
func killGroup(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
}

// signalOf is empty where there are no signals.
func signalOf(*os.ProcessState) string { return "" }

// askForStacks ends the process, where nobody can ask.
func askForStacks(pid int) { killGroup(pid) }
