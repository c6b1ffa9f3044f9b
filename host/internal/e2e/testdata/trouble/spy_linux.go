package main

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// spy tries what an island must not be able to do to a host with a data directory and to the islands with sockets, this one aside, and returns as
// JSON what became of each try: what it could do, or, after "refused: ", why not.
func spy(data, sockets string) string {
	socket := another(strings.Split(sockets, ","))
	run := filepath.Join(data, "run")
	parent := os.Getppid()
	results := map[string]string{
		"user":                  fmt.Sprintf("%d", os.Getuid()),
		"environment":           strings.Join(variables(), " "),
		"descriptors":           strings.Join(descriptors(), " "),
		"admin socket":          adminSocket(filepath.Join(run, "admin.sock")),
		"list run directory":    tried(func() (string, error) { return listed(run) }),
		"list data directory":   tried(func() (string, error) { return listed(data) }),
		"write run directory":   tried(func() (string, error) { return written(run) }),
		"write data directory":  tried(func() (string, error) { return written(data) }),
		"lock":                  tried(func() (string, error) { return opened(filepath.Join(run, "lock"), os.O_RDWR) }),
		"configuration":         tried(func() (string, error) { return read(configuration(parent)) }),
		"crash reports":         tried(func() (string, error) { return readAll(filepath.Join(data, "crashes")) }),
		"spool":                 tried(func() (string, error) { return readAll(filepath.Join(data, "spool")) }),
		"database":              tried(func() (string, error) { return opened(filepath.Join(data, "store", "islands.db"), os.O_RDWR) }),
		"passwords":             tried(func() (string, error) { return read("/etc/shadow") }),
		"kernel settings":       tried(func() (string, error) { return opened("/proc/sys/kernel/core_pattern", os.O_WRONLY) }),
		"own program":           tried(func() (string, error) { return opened(os.Args[0], os.O_WRONLY) }),
		"sibling's socket":      tried(func() (string, error) { return "answers", speak(socket) }),
		"sibling's socket file": tried(func() (string, error) { return written(filepath.Dir(socket)) }),
	}
	for who, pids := range map[string][]int{"host": {parent}, "sibling": siblings(parent)} {
		for what, try := range map[string]func(pid int) (string, error){
			"memory":      memory,
			"environment": func(pid int) (string, error) { return read(fmt.Sprintf("/proc/%d/environ", pid)) },
			"files":       func(pid int) (string, error) { return os.Readlink(fmt.Sprintf("/proc/%d/fd/3", pid)) },
			"root":        func(pid int) (string, error) { return listed(fmt.Sprintf("/proc/%d/root", pid)) },
			"trace":       trace,
			"signal":      func(pid int) (string, error) { return "sent", syscall.Kill(pid, syscall.SIGWINCH) },
			"limits":      limits,
			"priority":    func(pid int) (string, error) { return "set", syscall.Setpriority(syscall.PRIO_PROCESS, pid, 19) },
		} {
			results[who+"'s "+what] = each(pids, try)
		}
	}
	text, err := json.Marshal(results)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// another is a socket of another island than this one.
func another(sockets []string) string {
	own := os.Getenv("PLUGIN_UNIX_SOCKET_DIR")
	if folder, err := os.Readlink(own); err == nil {
		own = folder // It was handed down open.
	}
	for _, socket := range sockets {
		if !strings.HasPrefix(socket, own+"/") {
			return socket
		}
	}
	return "/nowhere"
}

// tried is what became of a try.
func tried(try func() (string, error)) string {
	could, err := try()
	if err != nil {
		return "refused: " + err.Error()
	}
	return could
}

// each tries the same with every process, and returns the first that could be done.
func each(pids []int, try func(pid int) (string, error)) string {
	result := "refused: there is no such process"
	for _, pid := range pids {
		result = tried(func() (string, error) { return try(pid) })
		if !strings.HasPrefix(result, "refused: ") {
			return fmt.Sprintf("process %d: %s", pid, result)
		}
	}
	return result
}

func variables() (names []string) {
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// descriptors are what this process holds open, but for what it has opened itself.
func descriptors() (held []string) {
	open, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range open {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err == nil && !strings.HasPrefix(target, "socket:") && !strings.HasPrefix(target, "anon_inode:") && !strings.HasPrefix(target, "/proc/") {
			kind, _, _ := strings.Cut(target, ":")
			held = append(held, fd.Name()+"="+strings.ReplaceAll(kind, " ", "_"))
		}
	}
	return held
}

// siblings are the other children of the host.
func siblings(parent int) (pids []int) {
	all, _ := os.ReadDir("/proc")
	for _, entry := range all {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, after, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// memory reads from another process' memory.
func memory(pid int) (string, error) {
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return "", err
	}
	line, _, _ := strings.Cut(string(maps), "\n")
	from, _, _ := strings.Cut(line, "-")
	address, err := strconv.ParseInt(from, 16, 64)
	if err != nil {
		return "", fmt.Errorf("no maps: %w", err)
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return "", err
	}
	defer func() { _ = mem.Close() }()
	buffer := make([]byte, 64)
	n, err := mem.ReadAt(buffer, address)
	return fmt.Sprintf("read %d bytes", n), err
}

// trace stops another process to look into it, and lets it go.
func trace(pid int) (string, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.PtraceAttach(pid); err != nil {
		return "", err
	}
	_, _ = syscall.Wait4(pid, nil, 0, nil)
	return "attached", syscall.PtraceDetach(pid)
}

// limits changes another process' limits, to what they are.
func limits(pid int) (string, error) {
	var old syscall.Rlimit
	if _, _, errno := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, uintptr(pid), syscall.RLIMIT_CORE, 0, uintptr(unsafe.Pointer(&old)), 0, 0); errno != 0 {
		return "", errno
	}
	return "read", nil
}

func listed(dir string) (string, error) {
	entries, err := os.ReadDir(dir)
	return fmt.Sprintf("%d entries", len(entries)), err
}

func written(dir string) (string, error) {
	f, err := os.CreateTemp(dir, "spy")
	if err != nil {
		return "", err
	}
	_ = f.Close()
	return "made a file", os.Remove(f.Name())
}

func opened(path string, flags int) (string, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return "", err
	}
	return "opened", f.Close()
}

func read(path string) (string, error) {
	text, err := os.ReadFile(path)
	return fmt.Sprintf("read %d bytes", len(text)), err
}

// readAll reads every file below a folder.
func readAll(dir string) (string, error) {
	n := 0
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		n++
		_, err = os.ReadFile(path)
		return err
	})
	return fmt.Sprintf("read %d files", n), err
}

// configuration is the file that the host was started with.
func configuration(host int) string {
	words, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", host))
	list := strings.Split(string(words), "\x00")
	if i := slices.Index(list, "--config"); i >= 0 && i+1 < len(list) {
		return list[i+1]
	}
	return "islands.hcl"
}

// adminSocket asks for what an operator may see.
func adminSocket(path string) string {
	return tried(func() (string, error) {
		conn, err := net.DialTimeout("unix", path, 5*time.Second)
		if err != nil {
			return "", err
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
		if _, err := io.WriteString(conn, "GET /admin/status HTTP/1.1\r\nHost: islands\r\nConnection: close\r\n\r\n"); err != nil {
			return "", err
		}
		line, err := bufio.NewReader(conn).ReadString('\n')
		if err == nil && !strings.Contains(line, " 200 ") {
			return "", fmt.Errorf("answered %q", line)
		}
		return strings.TrimSpace(line), err
	})
}

// speak speaks to another island as a host would that has no certificate.
func speak(path string) error {
	conn, err := net.DialTimeout("unix", path, 5*time.Second)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}}) //nolint:gosec // It is the server that is to refuse.
	if _, err := io.WriteString(secured, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00"); err != nil {
		return err
	}
	_, err = secured.Read(make([]byte, 16))
	return err
}
