package process

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// start starts the command from a thread of its own, which lives until over is closed: the kernel ends the child with the
// thread that made it, so it must be one that ends no sooner. Before, the thread gives up what the child is not to have,
// in a domain that no other island shares. It returns why that was not possible, if it was not.
func start(cmd *exec.Cmd, over <-chan struct{}) (notIsolated string, err error) {
	type outcome struct {
		notIsolated string
		err         error
	}
	started := make(chan outcome)
	ownThread(func() {
		var out outcome
		if err := isolate(); err != nil {
			out.notIsolated = err.Error()
		}
		cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
		out.err = cmd.Start()
		for range busyTries {
			if !errors.Is(out.err, syscall.ETXTBSY) {
				break
			}
			// Another child, between its fork and its exec, still holds the descriptor that the image was written through.
			time.Sleep(busyPause)
			out.err = cmd.Start()
		}
		started <- out
		if out.err == nil {
			<-over
		}
	})
	out := <-started
	return out.notIsolated, out.err
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

// Scopes of a Landlock domain, from version 6 on.
const (
	scopeAbstractSocket = 1 << 0
	scopeSignal         = 1 << 1
	landlockScopes      = 6 // the first version that has them
)

// rulesetAttributes is the kernel's struct landlock_ruleset_attr.
type rulesetAttributes struct{ accessFS, accessNet, scoped uint64 }

// isolate puts the calling thread, and what it starts from now on, into a Landlock domain of its own: it can send no signal
// to anybody outside, connect to no abstract socket outside and, as in any such domain, not trace or read the memory and
// the environment of a process outside, whoever its user is. Of the privileges of root it keeps next to none.
func isolate() error {
	version, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return fmt.Errorf("the kernel has no Landlock: %w", errno)
	}
	if version < landlockScopes {
		return fmt.Errorf("the kernel's Landlock is of version %d, signals are confined from version %d on", version, landlockScopes)
	}
	rules := rulesetAttributes{scoped: scopeAbstractSocket | scopeSignal}
	fd, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0) //nolint:gosec // the kernel reads it during the call
	if errno != 0 {
		return fmt.Errorf("create a Landlock ruleset: %w", errno)
	}
	defer func() { _ = unix.Close(int(fd)) }()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	// What root may do beyond other users, an island of root's may not, other than to open the files of others: with
	// CAP_PERFMON alone it could read every environment.
	for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
		if capability != unix.CAP_DAC_OVERRIDE {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0) // Who may not drop any has none.
		}
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, fd, 0, 0); errno != 0 {
		return fmt.Errorf("enter a Landlock domain: %w", errno)
	}
	return nil
}

// limit bounds a process that has just been started, and returns what it could not bound.
func limit(pid int, l Limits) (missing []string) {
	set := func(name string, resource int, most uint64) {
		if most == 0 {
			return
		}
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: most, Max: most}, nil); err != nil {
			missing = append(missing, fmt.Sprintf("%s: %v", name, err))
		}
	}
	set("memory", unix.RLIMIT_DATA, l.Memory)
	set("files", unix.RLIMIT_NOFILE, l.Files)
	return missing
}

// guard keeps others of the same user out of this process: nobody traces it, reads its memory or finds a core of it, which
// would hold its secrets.
func guard() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) } // A kernel that refuses leaves things as they were.
