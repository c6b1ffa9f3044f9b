//go:build !linux

package process

// killSession does nothing where nobody tells who is in a session: a program that its debugger has put into another group ends when its
// lifeline does.
func killSession(int) {}
