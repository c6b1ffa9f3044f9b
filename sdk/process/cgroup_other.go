//go:build !linux

package process

import "errors"

// Cgroups is where islands have control groups of their own, which only Linux has.
type Cgroups struct{}

// OpenCgroups finds none.
func OpenCgroups(string) *Cgroups { return nil }

// cgroup is never made.
type cgroup struct{}

func (*Cgroups) group(string, Limits) (*cgroup, error) {
	return nil, errors.New("this system has no control groups")
}

func (*cgroup) placed()        {}
func (*cgroup) kill()          {}
func (*cgroup) starved() bool  { return false }
func (*cgroup) remove()        {}
func (*cgroup) String() string { return "" }
