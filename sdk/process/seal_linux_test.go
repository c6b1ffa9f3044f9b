package process

import (
	"errors"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestSealOutwaitsWhoeverHoldsAPage(t *testing.T) {
	fd, err := unix.MemfdCreate("island", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	memory := os.NewFile(uintptr(fd), "island")
	defer func() { _ = memory.Close() }()
	if err := memory.Truncate(int64(os.Getpagesize())); err != nil {
		t.Fatal(err)
	}
	held, err := unix.Mmap(fd, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_WRITE); !errors.Is(err, unix.EBUSY) {
		t.Fatalf("held memory was sealed: %v", err)
	}
	released := make(chan error, 1)
	time.AfterFunc(100*time.Millisecond, func() { released <- unix.Munmap(held) })
	if err := seal(memory); err != nil {
		t.Error(err)
	}
	if err := <-released; err != nil {
		t.Error(err)
	}
	if _, err := memory.WriteString("x"); !errors.Is(err, unix.EPERM) {
		t.Errorf("sealed memory was written to: %v", err)
	}
}
