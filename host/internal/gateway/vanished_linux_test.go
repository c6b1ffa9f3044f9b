package gateway

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// TestAVanishedPeerIsGivenUp sees that the kernel is told when: packets cannot be lost here.
func TestAVanishedPeerIsGivenUp(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	client, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s := newSocket(conn)
	defer func() { _ = s.Close() }()
	var after int
	if err := s.raw.Control(func(fd uintptr) {
		after, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT)
	}); err != nil {
		t.Fatal(err)
	}
	if err != nil || int64(after) != vanishedAfter.Milliseconds() {
		t.Errorf("given up after %d ms, %v", after, err)
	}
}
