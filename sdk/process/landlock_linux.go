package process

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Scopes of a Landlock domain, from version 6 on.
const (
	scopeAbstractSocket = 1 << 0
	scopeSignal         = 1 << 1
	landlockScopes      = 6 // the first version that has them
	landlockTruncate    = 3 // the first version that keeps files from being cut
)

// rulesetAttributes is the kernel's struct landlock_ruleset_attr.
type rulesetAttributes struct{ accessFS, accessNet, scoped uint64 }

// pathAttributes is the kernel's struct landlock_path_beneath_attr, which is packed; the kernel reads no further.
type pathAttributes struct {
	allowed uint64
	parent  int32
}

// What an island may do with files and folders.
const (
	mayRead = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	// What an island has written, it may not execute.
	mayWrite = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	// Of these a file that is no folder takes.
	ofFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// All that is denied unless a rule allows it.
	governed = mayRead | mayWrite | unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK
)

// isolate puts the calling thread, and what it starts from now on, into a Landlock domain of its own: it can send no signal
// to anybody outside, connect to no abstract socket outside and, as in any such domain, not trace or read the memory and
// the environment of a process outside, whoever its user is. It reaches those files alone, unless reach is nil. Of the
// privileges of root it keeps next to none.
func isolate(reach *files) isolation {
	if err := unprivileged(); err != nil { // Without which no domain can be entered.
		return isolation{notIsolated: err.Error(), unconfined: err.Error()}
	}
	version, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		why := fmt.Sprintf("the kernel has no Landlock: %v", errno)
		return isolation{notIsolated: why, unconfined: why}
	}
	var out isolation
	var rules rulesetAttributes
	if version >= landlockScopes {
		rules.scoped = scopeAbstractSocket | scopeSignal
	} else {
		out.notIsolated = fmt.Sprintf("the kernel's Landlock is of version %d, signals are confined from version %d on", version, landlockScopes)
	}
	switch {
	case reach == nil:
		out.unconfined = notAskedFor
	case version >= landlockTruncate:
		rules.accessFS = governed
	default:
		out.unconfined = fmt.Sprintf("the kernel's Landlock is of version %d, all changes to files are confined from version %d on", version, landlockTruncate)
	}
	if rules == (rulesetAttributes{}) {
		return out
	}
	missing, err := enter(rules, reach)
	out.missing = missing
	if err != nil && out.notIsolated == "" {
		out.notIsolated = err.Error()
	}
	if err != nil && out.unconfined == "" {
		out.unconfined = err.Error()
	}
	return out
}

// unprivileged gives up, for the calling thread and what it starts, all privileges but those of its user. What root may do
// beyond other users, an island of root's may not, other than to open the files of others: with CAP_PERFMON alone it could
// read every environment.
func unprivileged() error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
		if capability != unix.CAP_DAC_OVERRIDE {
			_ = unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0) // Who may not drop any has none.
		}
	}
	return nil
}

// enter makes a ruleset and restricts the calling thread to it for good. It returns those of the paths that do not exist.
func enter(rules rulesetAttributes, reach *files) (missing []string, err error) {
	ruleset, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0) //nolint:gosec // the kernel reads it during the call
	if errno != 0 {
		return nil, fmt.Errorf("create a Landlock ruleset: %w", errno)
	}
	defer func() { _ = unix.Close(int(ruleset)) }()
	if rules.accessFS != 0 {
		missing = allowAll(int(ruleset), reach)
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset, 0, 0); errno != 0 {
		return missing, fmt.Errorf("enter a Landlock domain: %w", errno)
	}
	return missing, nil
}

// allowAll adds a rule for everything that an island may reach, and returns what does not exist.
func allowAll(ruleset int, reach *files) (missing []string) {
	for _, paths := range []struct {
		names    []string
		access   uint64
		optional bool
	}{
		{reach.optional, mayRead, true},
		{systemDevices, unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE, true},
		{reach.reads, mayRead, false},
		{reach.writes, mayWrite, false},
	} {
		for _, name := range paths.names {
			if err := allow(ruleset, name, paths.access); err != nil && !paths.optional {
				missing = append(missing, fmt.Sprintf("%s: %v", name, err))
			}
		}
	}
	return missing
}

// allow adds a rule for a path and everything below it. The error says that it cannot be opened.
func allow(ruleset int, path string, access uint64) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		access &= ofFile
	}
	rule := pathAttributes{allowed: access, parent: int32(fd)}
	if _, _, errno := unix.RawSyscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(ruleset), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 { //nolint:gosec // the kernel reads it during the call
		return errno
	}
	return nil
}
