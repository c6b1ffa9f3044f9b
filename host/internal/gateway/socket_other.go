//go:build !unix

package gateway

// canTry is whether there is a write that does not wait.
const canTry = false

// writeOnce writes nothing: the hub has a goroutine wait for the socket instead.
func (s *socket) writeOnce(uintptr) bool { return true }

// writeNow is never called.
func writeNow(uintptr, []byte) (int, error) { return 0, nil }
