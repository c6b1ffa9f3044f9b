package process

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// start starts the command from a thread of its own, which lives until over is closed: the kernel ends the child with the
// thread that made it, so it must be one that ends no sooner. Before, the thread gives up what the child is not to have,
// in a domain that no other island shares. The group is nil for that of the host.
func start(cmd *exec.Cmd, reach *files, group *cgroup, limits Limits, over <-chan struct{}) (isolation, error) {
	type outcome struct {
		isolation
		err error
	}
	started := make(chan outcome)
	ownThread(func() {
		out := outcome{isolation: isolate(reach)}
		yield()
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		group.place(cmd.SysProcAttr)
		out.err = cmd.Start()
		if why := out.err; misplaced(cmd.SysProcAttr, why) {
			out.groupless = why.Error()
			renew(cmd)
			out.err = cmd.Start()
		}
		if why := out.err; userless(cmd.SysProcAttr, why) {
			out.userless = fmt.Sprintf("nobody can become that user here: %v", why)
			renew(cmd)
			out.err = cmd.Start()
		}
		for range busyTries {
			if !errors.Is(out.err, syscall.ETXTBSY) {
				break
			}
			// Another child, between its fork and its exec, still holds the descriptor that the image was written through.
			time.Sleep(busyPause)
			renew(cmd)
			out.err = cmd.Start()
		}
		if out.err == nil {
			out.missing = append(out.missing, limit(cmd, limits)...)
		}
		started <- out
		if out.err == nil {
			<-over
		}
	})
	out := <-started
	return out.isolation, out.err
}

// renew makes a command that could not be started one that was never tried. It must have no context.
func renew(cmd *exec.Cmd) {
	*cmd = exec.Cmd{
		Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir, Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
		ExtraFiles: cmd.ExtraFiles, SysProcAttr: cmd.SysProcAttr, WaitDelay: cmd.WaitDelay,
	}
}

// How often and after how long a program is tried again that is open for writing.
const (
	busyTries = 50
	busyPause = 2 * time.Millisecond
)

// ownThread runs a function in a goroutine that has a thread for itself, which ends with it. The process' first thread is
// never taken: it does not end, and what it may do is what others look at when they ask what the process may.
func ownThread(do func()) {
	go func() {
		runtime.LockOSThread() // Not unlocked: a thread that is not as others are must not serve other goroutines.
		if unix.Gettid() != unix.Getpid() {
			do()
			return
		}
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(taken)
			do()
		}()
		<-taken // By another thread, since this goroutine holds the first.
		runtime.UnlockOSThread()
	}()
}

// limit bounds a process that has just been started, and returns what it could not bound. It is to be called on a thread of
// its own.
func limit(cmd *exec.Cmd, l Limits) (missing []string) {
	if cred := cmd.SysProcAttr.Credential; cred != nil && (l.Memory > 0 || l.Files > 0) {
		// Whoever has the same real user may limit a process, and root only with a privilege that containers lack as a rule.
		// These calls change this thread alone, whose effective user stays root.
		const same = ^uintptr(0)
		become := func(user uintptr) {
			_, _, _ = unix.RawSyscall(unix.SYS_SETRESGID, user, same, same)
			_, _, _ = unix.RawSyscall(unix.SYS_SETRESUID, user, same, same)
		}
		become(uintptr(cred.Uid))
		defer become(0)
	}
	set := func(name string, resource int, most uint64) {
		if most == 0 {
			return
		}
		if err := unix.Prlimit(cmd.Process.Pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", name, err))
		}
	}
	set("memory", unix.RLIMIT_DATA, l.Memory)
	set("files", unix.RLIMIT_NOFILE, l.Files)
	return missing
}

// islandNiceness is by how much an island is nicer than its host. What a host answers by itself must not wait for a processor that
// an island computes on, which is why it is asked less of: cold work yields to warm answers.
const islandNiceness = 5

// islandSlice is how long the kernel lets an island run at a time when nothing of a shorter slice wants to.
const islandSlice = 20 * time.Millisecond

// yield makes this thread, and the child that it starts, nicer than the host. Linux keeps niceness and slice by the thread; where
// it does not know slices, or some sandbox lets nobody set them, niceness alone is set in the older way.
func yield() {
	if attr, err := unix.SchedGetAttr(0, 0); err == nil {
		attr.Nice = min(attr.Nice+islandNiceness, 19)
		attr.Runtime = uint64(islandSlice)
		if unix.SchedSetAttr(0, attr, 0) == nil {
			return
		}
	}
	if left, err := unix.Getpriority(unix.PRIO_PROCESS, 0); err == nil { // The system call says 20 less what it is set to.
		_ = unix.Setpriority(unix.PRIO_PROCESS, 0, 20-left+islandNiceness)
	}
}

// guard keeps others of the same user out of this process: nobody traces it, reads its memory or finds a core of it, which
// would hold its secrets.
func guard() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) } // A kernel that refuses leaves things as they were.
