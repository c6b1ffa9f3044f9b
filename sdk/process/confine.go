package process

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/service-islands/islands/sdk"
)

// Confine bounds the files that an island reaches: it may read what programs need to run (the system's libraries,
// certificates, time zones, name resolution, /proc, /sys and /dev) and write into the folder of its socket, a folder for
// temporary files that is its own, and nothing else but what is named here. A folder stands for everything in it.
type Confine struct {
	// Reads are files and folders that the island may read and execute.
	Reads []string
	// Writes are files and folders that it may read and change. What is missing is made, as a folder for this user alone.
	Writes []string
	// Private are files and folders that belong to the host alone. An island reaches them only when they lie within what it
	// may reach; Applied says so then.
	Private []string
	// User is the number of the user, and of its group, that the process runs as, who is to be nobody else's; 0 for the
	// host's own. It takes a host that is root. Where the user cannot get at what the island needs, the host's own runs it,
	// and Applied says why.
	User uint32
}

// systemFolders are what programs read to run. Whole folders, because a file in them is replaced as a whole, and what may
// be read is decided by file, not by name, when the island starts.
var systemFolders = []string{
	"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/proc", "/sys", "/dev",
	"/nix/store", "/gnu/store", "/run/current-system", "/var/lib/ca-certificates", // where other distributions keep them
	"/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", // what /etc/resolv.conf may lead to
}

// systemDevices are what programs write to without leaving anything behind.
var systemDevices = []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/tty"}

// notAskedFor is why a process without a Confine reaches what its user may.
const notAskedFor = "islands.hcl does not ask for it"

// files are the paths that a process may reach.
type files struct {
	reads, writes []string
	// optional paths of reads need not exist; wanted are those of them that the island should not do without.
	optional, wanted []string
	// made are those of writes that were made for the island just now.
	made []string
}

// temporaryName is the folder for temporary files below that of an island's socket.
const temporaryName = "tmp"

// files makes the folders that an island is to have, with that of its socket among them, and returns what it may reach. It
// is nil when nothing bounds it.
func (c *Confine) files(dir string, opts *LaunchOptions) (*files, error) {
	if c == nil || !canConfine {
		return nil, nil //nolint:nilnil // Nothing to bound is no mistake.
	}
	f := &files{
		reads: absolutes(c.Reads), writes: append(absolutes(c.Writes), dir),
		optional: append(slices.Clone(systemFolders), opts.Path),
	}
	for _, name := range []string{"SSL_CERT_FILE", "SSL_CERT_DIR"} {
		for path := range strings.SplitSeq(cmp.Or(opts.Env[name], os.Getenv(name)), ":") {
			if path != "" {
				f.optional, f.wanted = append(f.optional, path), append(f.wanted, path)
			}
		}
	}
	f.wanted = append(f.wanted, f.reads...)
	around := os.FileMode(0o700)
	if c.User != 0 {
		around = 0o711 // Another user passes through.
	}
	for _, path := range append(slices.Clone(f.writes), filepath.Join(dir, temporaryName)) {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		f.made = append(f.made, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), around), os.Mkdir(path, 0o700)); err != nil {
			return nil, sdk.Errorf(sdk.InvalidArgument, "the folder %s, which %s is to write to, cannot be made: %w", path, opts.Name, err)
		}
	}
	return f, nil
}

// exposed lists those of the host's own files and folders that an island may read in spite of its bounds.
func (f *files) exposed(private []string) []string {
	var out []string
	reach := slices.Concat(f.reads, f.writes, f.optional)
	for i, path := range reach {
		reach[i] = resolved(path)
	}
	for _, path := range absolutes(private) {
		target := resolved(path)
		if slices.ContainsFunc(reach, func(r string) bool { return within(target, r) }) {
			out = append(out, path)
		}
	}
	return out
}

// within reports whether a path is that of a folder or below it.
func within(path, folder string) bool {
	relative, err := filepath.Rel(folder, path)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, "../")
}

// absolutes are paths that mean the same in any working directory.
func absolutes(paths []string) []string {
	out := make([]string, len(paths))
	for i, path := range paths {
		out[i] = path
		if abs, err := filepath.Abs(path); err == nil {
			out[i] = abs
		}
	}
	return out
}

// resolved is where a path leads, as far as that exists.
func resolved(path string) string {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		return target
	}
	if parent := filepath.Dir(path); parent != path {
		return filepath.Join(resolved(parent), filepath.Base(path))
	}
	return path
}

// canConfine is whether there is anything that bounds the files of a process. Without it nothing is prepared for that.
const canConfine = runtime.GOOS == "linux"

// isolation says why a process is less apart from others than it should be.
type isolation struct {
	// notIsolated is empty when it reaches no other process.
	notIsolated string
	// unconfined is empty when it reaches no other files than it should.
	unconfined string
	// userless says why it does not run as the user it should.
	userless string
	// groupless says why it is not in the control group made for it.
	groupless string
	// missing are paths that it should reach and does not.
	missing []string
}
