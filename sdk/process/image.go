package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/service-islands/islands/sdk"
)

// Image is a program as it was when it was sealed: its bytes, in memory that nobody can change any more, and their
// checksum. What was hashed is what runs, whatever becomes of the file meanwhile.
//
// Only Linux has such memory. Elsewhere, and for scripts, whose interpreter wants to open a file by its name, the file is
// hashed and then executed by its path; Unsealed says so.
type Image struct {
	path   string
	sum    string
	sealed *os.File // nil when the file itself is executed
	why    string
}

// ErrChecksum is the cause of an error about a program that has another checksum than it must have.
var ErrChecksum = errors.New("the checksum is another")

// Seal reads a program and seals it. It must have that SHA-256 (lower-case hex) unless it is empty. Close gives the memory
// back; a process that runs keeps what it needs.
//
// Errors: InvalidArgument for a file that cannot be an island: missing, not executable, of another checksum (ErrChecksum),
// or one that everybody may change; Unavailable for one that cannot be read.
func Seal(path, wantSHA256 string) (*Image, error) {
	if err := checkBinary(path); err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, sdk.Errorf(sdk.InvalidArgument, "binary %s: %w", path, err)
	}
	defer func() { _ = file.Close() }()
	sum := sha256.New()
	image := &Image{path: path}
	image.sealed, image.why, err = sealed(filepath.Base(path), io.TeeReader(file, sum))
	if err == nil {
		_, err = io.Copy(sum, file) // Whatever sealing has left unread.
	}
	if err != nil {
		image.Close()
		return nil, sdk.Errorf(sdk.Unavailable, "read %s: %w", path, err)
	}
	image.sum = hex.EncodeToString(sum.Sum(nil))
	if wantSHA256 != "" && image.sum != wantSHA256 {
		image.Close()
		return nil, &sdk.Error{Kind: sdk.InvalidArgument, Err: ErrChecksum, Message: fmt.Sprintf(
			"%s has the sha256 %s, not %s: somebody changed it, or \"sha256\" in islands.hcl is out of date", path, image.sum, wantSHA256)}
	}
	return image, nil
}

// Path of the file that the image was read from.
func (i *Image) Path() string { return i.path }

// SHA256 of the bytes, in lower-case hex.
func (i *Image) SHA256() string { return i.sum }

// Unsealed says why the file itself is executed and not what was read from it; empty when the bytes are sealed.
func (i *Image) Unsealed() string { return i.why }

// Close gives the memory back. It is safe on nil and safe twice.
func (i *Image) Close() {
	if i != nil && i.sealed != nil {
		_ = i.sealed.Close()
	}
}

// checkBinary reports what keeps a file from being started as an island.
func checkBinary(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return sdk.Errorf(sdk.InvalidArgument, "there is no binary %s: build it, or correct \"binary\" in islands.hcl", path)
	case err != nil:
		return sdk.Errorf(sdk.InvalidArgument, "binary %s: %w", path, err)
	case !info.Mode().IsRegular() || !executable(info.Mode()):
		return sdk.Errorf(sdk.InvalidArgument, "%s is not an executable file", path)
	case worldWritable(info.Mode()):
		return sdk.Errorf(sdk.InvalidArgument, "%s may be changed by everybody, so nobody knows what would run: chmod o-w it", path)
	}
	// Who may write to a folder may put another file in the place of this one, unless the folder is sticky.
	folder, err := os.Stat(filepath.Dir(path))
	if err == nil && worldWritable(folder.Mode()) && folder.Mode()&os.ModeSticky == 0 {
		return sdk.Errorf(sdk.InvalidArgument, "%s lies in a folder that everybody may write to, so nobody knows what would run: chmod o-w it", path)
	}
	return nil
}

// errNotSealed is what sealed returns where the bytes cannot be executed from memory.
const errNotSealed = "this system has no memory that can be sealed and executed"
