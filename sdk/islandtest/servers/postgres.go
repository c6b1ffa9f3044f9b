//go:build unix

package servers

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

const (
	postgresInstall = "install it: apt-get install -y postgresql"
	postgresFolders = "/usr/lib/postgresql/*/bin" // where Debian puts the servers, outside of PATH.
	postgresName    = "islands"                   // of the user and of the database.
)

// PostgresServer is a Postgres of the test's own, with a database and a superuser called islands. Its methods end the
// test when they cannot do what they say, so they belong into the test's goroutine.
type PostgresServer struct {
	tb         testing.TB
	binaries   string // the folder of initdb and postgres
	dir        string
	port       int
	password   string
	credential *syscall.Credential // nil: as the test itself
	process    *process
}

// Postgres initialises and starts a server with an empty database and returns once it takes connections. It is stopped,
// and its files are removed, when the test ends. The test fails where Postgres is not installed.
//
// Durability is switched off: data survives [PostgresServer.Restart], but not the machine.
func Postgres(tb testing.TB) *PostgresServer {
	tb.Helper()
	binaries, err := findPostgres(postgresFolders)
	if err != nil {
		tb.Fatalf("%v; %s", err, postgresInstall)
	}
	credential, err := unprivileged("postgres")
	if err != nil {
		tb.Fatalf("%v; %s", err, postgresInstall)
	}
	s := &PostgresServer{tb: tb, binaries: binaries, credential: credential, password: rand.Text()}
	if s.dir, err = ownedFolder(credential); err != nil {
		tb.Fatalf("folder for postgres: %v", err)
	}
	tb.Cleanup(s.remove)
	if err := s.initialize(); err != nil {
		tb.Fatalf("initialise postgres: %v", err)
	}
	if err := onFreePort(s.start); err != nil {
		tb.Fatalf("postgres: %v", err)
	}
	return s
}

// Addr returns the host:port that the server listens on. It stays the same across [PostgresServer.Restart].
func (s *PostgresServer) Addr() string { return hostPort(s.port) }

// URL returns the address of the database islands as DATABASE_URL takes it, user and password included.
func (s *PostgresServer) URL() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(postgresName, s.password),
		Host:     s.Addr(),
		Path:     postgresName,
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

// Stop ends the server as an operator would: open transactions are rolled back, connections end, new ones are refused,
// data is kept. A stopped server stays stopped.
func (s *PostgresServer) Stop() {
	s.tb.Helper()
	s.end(syscall.SIGINT)
}

// Restart starts the server again, with its data and on the same port, stopping it first where it runs.
func (s *PostgresServer) Restart() {
	s.tb.Helper()
	s.Stop()
	if err := s.start(s.port); err != nil {
		s.tb.Fatalf("restart postgres: %v", err)
	}
}

// end stops the server with SIGINT (roll back, write a checkpoint) or SIGQUIT (at once).
func (s *PostgresServer) end(sig syscall.Signal) {
	s.tb.Helper()
	if s.process == nil {
		return
	}
	if err := s.process.stop(sig); err != nil {
		s.tb.Errorf("stop postgres: %v", err)
	}
	s.process = nil
}

func (s *PostgresServer) remove() {
	s.tb.Helper()
	s.end(syscall.SIGQUIT)
	logFailure(s.tb, "postgres", s.log())
	if err := os.RemoveAll(s.dir); err != nil {
		s.tb.Errorf("remove postgres' files: %v", err)
	}
}

func (s *PostgresServer) log() string  { return filepath.Join(s.dir, "postgres.log") }
func (s *PostgresServer) data() string { return filepath.Join(s.dir, "data") }

// initialize makes the data directory, the user and the database.
func (s *PostgresServer) initialize() error {
	password := filepath.Join(s.dir, "password")
	if err := os.WriteFile(password, []byte(s.password+"\n"), 0o600); err != nil {
		return fmt.Errorf("hand over the password: %w", err)
	}
	if err := give(password, s.credential); err != nil {
		return err
	}
	if err := s.run("initdb", "", "--pgdata", s.data(), "--username", postgresName, "--pwfile", password,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"); err != nil {
		return err
	}
	if err := os.Remove(password); err != nil {
		return fmt.Errorf("remove the password: %w", err)
	}
	// The server itself makes the database, before it listens: no client program is needed.
	return s.run("postgres", "CREATE DATABASE "+postgresName+";\n", "--single", "-j", "-F", "-D", s.data(), "postgres")
}

// run runs one of Postgres' programs to its end, with the text as its input.
func (s *PostgresServer) run(program, input string, args ...string) error {
	path := filepath.Join(s.binaries, program)
	cmd := &exec.Cmd{
		Path:        path,
		Args:        append([]string{path}, args...),
		Env:         environment(),
		Dir:         "/",
		Stdin:       strings.NewReader(input),
		SysProcAttr: &syscall.SysProcAttr{Credential: s.credential},
	}
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", program, err, output)
	}
	return nil
}

func (s *PostgresServer) start(port int) error {
	p, err := command{
		path: filepath.Join(s.binaries, "postgres"),
		args: []string{
			"-D", s.data(),
			"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(port),
			"-c", "unix_socket_directories=",
			"-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off",
			// In the data directory, where it is removed after a kill -9 as well; the default leaves it in /dev/shm.
			"-c", "dynamic_shared_memory_type=mmap",
		},
		log:        s.log(),
		credential: s.credential,
		// Unlike SIGKILL this reaches a session in the midst of a long query too, and frees the shared memory.
		deathSignal: syscall.SIGQUIT,
	}.start()
	if err != nil {
		return err
	}
	if err := p.awaitReady(s.log(), func() bool { return s.ready(p.handle.Pid) }); err != nil {
		return err
	}
	s.port, s.process = port, p
	return nil
}

// ready tells whether the process has written into its data directory that it takes connections: its id is the first
// line of postmaster.pid, its state the eighth.
func (s *PostgresServer) ready(pid int) bool {
	content, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return false
	}
	lines := strings.Split(string(content), "\n")
	return len(lines) >= 8 && lines[0] == strconv.Itoa(pid) && strings.TrimSpace(lines[7]) == "ready"
}

// findPostgres returns the folder with postgres and initdb: the one that PATH leads to, else the newest that matches
// the pattern, whose second last element is the version.
func findPostgres(pattern string) (string, error) {
	var folders []string
	if path, err := exec.LookPath("postgres"); err == nil {
		// The programs find each other and their files from where they really are, and a wrapper has no initdb beside it.
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = append(folders, filepath.Dir(path))
		}
	}
	installed, err := filepath.Glob(pattern)
	if err != nil {
		return "", fmt.Errorf("look for postgres in %s: %w", pattern, err)
	}
	slices.SortFunc(installed, func(a, b string) int { return cmp.Compare(version(b), version(a)) })
	for _, folder := range append(folders, installed...) {
		if executable(folder, "postgres") && executable(folder, "initdb") {
			return folder, nil
		}
	}
	return "", fmt.Errorf("postgres and initdb are neither in PATH nor in %s", pattern)
}

// version reads 15 from /usr/lib/postgresql/15/bin; what is no number sorts last.
func version(folder string) float64 {
	number, err := strconv.ParseFloat(filepath.Base(filepath.Dir(folder)), 64)
	if err != nil {
		return -1
	}
	return number
}

func executable(folder, program string) bool {
	_, err := exec.LookPath(filepath.Join(folder, program))
	return err == nil
}

// unprivileged returns the named user's identity for a test that runs as root, and nil for any other.
func unprivileged(name string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	account, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("postgres refuses root: %w", err)
	}
	uid, errUID := strconv.ParseUint(account.Uid, 10, 32)
	gid, errGID := strconv.ParseUint(account.Gid, 10, 32)
	if err := errors.Join(errUID, errGID); err != nil {
		return nil, fmt.Errorf("identity of %s: %w", name, err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// ownedFolder makes an empty folder that the credential owns and can reach. The folders of testing.TB are below one
// that only root may enter.
func ownedFolder(credential *syscall.Credential) (string, error) {
	parent := os.TempDir()
	if credential != nil && !open(parent) {
		parent = "/tmp"
	}
	dir, err := os.MkdirTemp(parent, "islands-postgres-")
	if err != nil {
		return "", err
	}
	if err := give(dir, credential); err != nil {
		return "", errors.Join(err, os.RemoveAll(dir))
	}
	return dir, nil
}

// open tells whether every user may enter the folder.
func open(folder string) bool {
	for {
		info, err := os.Stat(folder)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			return true
		}
		folder = parent
	}
}

// give makes the credential the owner of the file.
func give(path string, credential *syscall.Credential) error {
	if credential == nil {
		return nil
	}
	if err := os.Chown(path, int(credential.Uid), int(credential.Gid)); err != nil {
		return fmt.Errorf("give to postgres: %w", err)
	}
	return nil
}
