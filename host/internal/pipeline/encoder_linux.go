package pipeline

import (
	"time"

	"golang.org/x/sys/unix"
)

// encoderNiceness is by how much an encoder is nicer than the rest of the host; islands are nicer still.
const encoderNiceness = 3

// encoderSlice is how long the kernel lets an encoder run at a time when nothing of a shorter slice wants to: several times as
// long as is usual. Linux lets what wakes go first only where its slice is shorter than that of what runs.
const encoderSlice = 20 * time.Millisecond

// yieldThread makes this thread give way to the others of its process: Linux keeps niceness and slice by the thread. What
// cannot be had is done without; a kernel before 6.12 has no slices.
func yieldThread() {
	attr, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		return
	}
	attr.Nice = min(attr.Nice+encoderNiceness, 19)
	attr.Runtime = uint64(encoderSlice)
	_ = unix.SchedSetAttr(0, attr, 0)
}
