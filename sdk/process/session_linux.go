package process

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// sweeps bounds how often a session is looked through: who is in it may start others meanwhile.
const sweeps = 5

// killSession ends every process of a session, whatever groups they are in. As long as there is one, the number of the session is
// nobody else's.
func killSession(session int) {
	for range sweeps {
		members := sessionMembers(session)
		for _, pid := range members {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		if len(members) == 0 {
			return
		}
	}
}

// sessionMembers returns the processes of a session that have not ended.
func sessionMembers(session int) []int {
	entries, _ := os.ReadDir("/proc") // Without it nobody knows.
	var members []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue // It has ended.
		}
		// After the name, which stands in parentheses and may hold some, are the state, the parent, the group and the session.
		fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
		if len(fields) > 3 && string(fields[3]) == strconv.Itoa(session) && !bytes.ContainsAny(fields[0], "ZX") {
			members = append(members, pid)
		}
	}
	return members
}
