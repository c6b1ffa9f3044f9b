//go:build !linux

package process

import "os/exec"

// start starts the command. Here nothing ends it with the host but its lifeline, and nothing keeps it from other processes
// and files of its user.
func start(cmd *exec.Cmd, _ *files, _ *cgroup, limits Limits, _ <-chan struct{}) (isolation, error) {
	const why = "this system has no Landlock"
	return isolation{notIsolated: why, unconfined: why, missing: limit(limits)}, cmd.Start()
}

// limit bounds nothing beyond what the environment tells the island.
func limit(l Limits) (missing []string) {
	if l.Memory > 0 {
		missing = append(missing, "memory: this system does not limit the data of another process; GOMEMLIMIT alone holds")
	}
	if l.Files > 0 {
		missing = append(missing, "files: this system does not limit the files of another process")
	}
	return missing
}

// guard does nothing.
func guard() {}
