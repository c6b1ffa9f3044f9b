package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// sealed copies a program into memory that nobody can change any more. For what cannot be executed from there it returns
// no file and the reason.
func sealed(name string, from io.Reader) (_ *os.File, why string, err error) {
	program := bufio.NewReader(from)
	if start, err := program.Peek(2); err == nil && string(start) == "#!" {
		return nil, "it is a script, which its interpreter opens by its name", nil
	}
	flags := unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // A kernel before 6.3 knows no other than executable ones.
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, fmt.Sprintf("%s: %v", errNotSealed, err), nil
	}
	memory := os.NewFile(uintptr(fd), name)
	defer func() { _ = memory.Close() }()
	if _, err := io.Copy(memory, program); err != nil {
		return nil, "", err
	}
	if err := memory.Chmod(0o555); err != nil {
		return nil, "", err
	}
	if err := seal(memory); err != nil {
		return nil, "", fmt.Errorf("seal the copy of the program in memory: %w", err)
	}
	// What is open for writing cannot be executed, sealed or not.
	reading, err := os.Open("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return nil, errNotSealed + ": /proc is not mounted", nil
	}
	return reading, "", nil
}

// sealWait bounds how long seal waits for pages that something else holds.
const sealWait = 5 * time.Second

// seal makes memory that nobody maps for writing unchangeable. The kernel itself may hold a page for a moment, while it moves
// or ages memory, and refuses to seal it as long as it cannot tell its own hold from that of a writer: it says "busy" then, and
// another try is all it takes.
func seal(memory *os.File) error {
	const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
	for end, wait := time.Now().Add(sealWait), 5*time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		_, err := unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS, seals)
		if !errors.Is(err, unix.EBUSY) || !time.Now().Before(end) {
			return err
		}
		time.Sleep(wait)
	}
}

// run makes the command execute the image; what the process is called stays its path. The image is among the files that the
// child is given, the last of them, because any other number may be taken by what the child needs on its way to the program.
// The program keeps it open, and can do no more with it than read itself.
func (i *Image) run(cmd *exec.Cmd) {
	cmd.Path = i.path
	if i.sealed != nil {
		const standard = 3 // input, output and error come before the extra files
		cmd.Path = "/proc/self/fd/" + strconv.Itoa(standard+len(cmd.ExtraFiles))
		cmd.ExtraFiles = append(cmd.ExtraFiles, i.sealed)
	}
}

func executable(mode fs.FileMode) bool    { return mode.Perm()&0o111 != 0 }
func worldWritable(mode fs.FileMode) bool { return mode.Perm()&0o002 != 0 }
