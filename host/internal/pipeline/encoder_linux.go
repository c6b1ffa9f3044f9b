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

// yieldThread makes this thread give way to the others of its process: Linux keeps niceness and slice by the thread. Where it
// does not know slices (before 6.12), or some sandbox lets nobody set them, niceness alone is set in the older way; what cannot be
// had at all is done without.
func yieldThread() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil {
		attr.Nice = min(attr.Nice+encoderNiceness, 19)
		attr.Runtime = uint64(encoderSlice)
		if unix.SchedSetAttr(0, attr, 0) == nil {
			return
		}
	}
	if left, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil { // The system call says 20 less what it is set to.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-left+encoderNiceness)
	}
}

func onMainThread() bool { return unix.Gettid() == unix.Getpid() }
