package process

import "fmt"

// Limits bound what an island may take of the machine. Zero is no bound.
type Limits struct {
	// Memory in bytes. The Go runtime of an island is told to collect garbage before nine tenths of it (GOMEMLIMIT), and its
	// data may grow no further than all of it (RLIMIT_DATA): beyond, the island dies of it and nobody else. In a control
	// group, all memory of the island and of what it starts is bounded so (memory.max).
	Memory uint64
	// Processors that a Go island uses at once (GOMAXPROCS), and that any uses on average in a control group (cpu.max).
	Processors int
	// Files that may be open at once, sockets included (RLIMIT_NOFILE).
	Files uint64
}

// environment is what the runtime of an island is told of its limits.
func (l Limits) environment() []string {
	var env []string
	if l.Memory > 0 {
		env = append(env, fmt.Sprintf("GOMEMLIMIT=%dB", l.Memory/10*9))
	}
	if l.Processors > 0 {
		env = append(env, fmt.Sprintf("GOMAXPROCS=%d", l.Processors))
	}
	return env
}

// Applied is how an island's process was really started.
type Applied struct {
	// SHA256 of the program, in lower-case hex.
	SHA256 string `json:"sha256"`
	// Sealed is whether exactly the bytes of that checksum run; Unsealed says why they may not.
	Sealed   bool   `json:"sealed"`
	Unsealed string `json:"unsealed,omitempty"`
	// Debugger is the command under which the process runs, empty for none; DebuggerSaid is what that printed before the island
	// shook hands, at most 20 lines.
	Debugger     []string `json:"debugger,omitempty"`
	DebuggerSaid []string `json:"debugger_said,omitempty"`
	// Isolated is whether the process can neither send signals to others than its own children nor look into their memory;
	// NotIsolated says why it may.
	Isolated    bool   `json:"isolated"`
	NotIsolated string `json:"not_isolated,omitempty"`
	// User is the number of the user that the process runs as, -1 where users have none. OwnUser is whether that is a user
	// of its own and not the host's; NotOwnUser says why not, and is empty where that was not asked for.
	User       int    `json:"user"`
	OwnUser    bool   `json:"own_user"`
	NotOwnUser string `json:"not_own_user,omitempty"`
	// Confined is whether the process reaches no other files than what programs need to run, and those of Readable and
	// Writable, with all that is in them; Unconfined says why it may. Exposed are what the host would rather keep for itself
	// and yet lies within what the process may read.
	Confined   bool     `json:"confined"`
	Unconfined string   `json:"unconfined,omitempty"`
	Readable   []string `json:"readable,omitempty"`
	Writable   []string `json:"writable,omitempty"`
	Exposed    []string `json:"exposed,omitempty"`
	// MemoryBytes, Processors and Files are the limits that were asked for, 0 for none.
	MemoryBytes uint64 `json:"memory_bytes"`
	Processors  int    `json:"processors"`
	Files       uint64 `json:"files"`
	// Cgroup is the control group of its own that the process and all it starts are in, with its limits; NoCgroup says why it
	// is in the host's.
	Cgroup   string `json:"cgroup,omitempty"`
	NoCgroup string `json:"no_cgroup,omitempty"`
	// Missing says of each limit that does not hold, and of each path that is not reached, why not.
	Missing []string `json:"missing,omitempty"`
}
