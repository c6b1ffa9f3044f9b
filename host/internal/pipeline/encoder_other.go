//go:build !linux

package pipeline

// yieldThread does nothing: only on Linux has a thread a niceness of its own.
func yieldThread() {}

func onMainThread() bool { return false }
