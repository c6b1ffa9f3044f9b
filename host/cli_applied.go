package main

import (
	"fmt"
	"strings"

	"github.com/service-islands/islands/sdk/process"
)

// orWhy says yes, or why not.
func orWhy(yes bool, why string) string {
	switch {
	case yes:
		return "yes"
	case why == "":
		return ""
	default:
		return "no: " + why
	}
}

// userOf says who a process runs as, and why as the host where a user of its own was asked for.
func userOf(a *process.Applied, runs bool) string {
	switch {
	case !runs || a.User < 0:
		return ""
	case a.OwnUser:
		return fmt.Sprintf("%d, its own", a.User)
	case a.NotOwnUser != "":
		return fmt.Sprintf("%d, the host's: %s", a.User, a.NotOwnUser)
	default:
		return fmt.Sprintf("%d, the host's", a.User)
	}
}

// confinementOf says which files a process reaches beyond what programs need to run, or why it reaches others.
func confinementOf(a *process.Applied) string {
	text := orWhy(a.Confined, a.Unconfined)
	for _, paths := range []struct {
		what  string
		names []string
	}{{"reads", a.Readable}, {"writes", a.Writable}, {"but can read", a.Exposed}} {
		if len(paths.names) > 0 {
			text += ", " + paths.what + " " + strings.Join(paths.names, " ")
		}
	}
	return text
}

// cgroupOf is the control group of a process, or why it has none.
func cgroupOf(a *process.Applied) string {
	if a.Cgroup != "" {
		return a.Cgroup
	}
	return orWhy(false, a.NoCgroup)
}

// limitsOf lists the limits of a process, and what keeps one from holding.
func limitsOf(a *process.Applied) string {
	var limits []string
	if a.MemoryBytes > 0 {
		limits = append(limits, fmt.Sprintf("memory %d bytes", a.MemoryBytes))
	}
	if a.Processors > 0 {
		limits = append(limits, fmt.Sprintf("processors %d", a.Processors))
	}
	if a.Files > 0 {
		limits = append(limits, fmt.Sprintf("files %d", a.Files))
	}
	for _, missing := range a.Missing {
		limits = append(limits, "not applied: "+missing)
	}
	return strings.Join(limits, ", ")
}
