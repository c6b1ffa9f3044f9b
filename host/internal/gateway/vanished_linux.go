package gateway

import "golang.org/x/sys/unix"

// dropVanished has the kernel give a connection up whose peer no longer takes notice of what is sent.
func dropVanished(fd uintptr) {
	// It fails only for what is no TCP connection, which this is not asked for.
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, int(vanishedAfter.Milliseconds()))
}
