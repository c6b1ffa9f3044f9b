//go:build !linux

package gateway

import "net"

// peerOf knows nobody: here the rights of the socket's file alone say who may connect.
func peerOf(*net.UnixConn) (pid, uid int, known bool, err error) { return 0, 0, false, nil }
