//go:build unix

package servers

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// echo listens on a free port and sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // Connections are cut on purpose.
			}()
		}
	}()
	return listener.Addr().String()
}

func TestProxyBreaksAndHealsTheWire(t *testing.T) {
	t.Parallel()
	proxy := Proxy(t, echo(t))
	conn := dial(t, proxy.Addr())
	mustAsk(t, conn, "open", "open")

	proxy.Freeze()
	if answer, err := ask(conn, "late", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen wire answers %q, %v", answer, err)
	}
	fresh := dial(t, proxy.Addr())
	if answer, err := ask(fresh, "held", 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen wire answers %q, %v", answer, err)
	}
	proxy.Heal()
	mustAsk(t, conn, "", "late") // What was held back arrives.
	mustAsk(t, fresh, "", "held")

	proxy.Cut()
	if answer, err := ask(conn, "lost", time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a cut wire answers %q, %v", answer, err)
	}
	// The reset may come before the dialer has looked at its connection: then the dial itself fails.
	if refused, err := net.DialTimeout("tcp", proxy.Addr(), time.Second); err == nil {
		defer refused.Close()
		if answer, err := ask(refused, "lost", time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a cut wire answers %q, %v", answer, err)
		}
	} else if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("a cut wire is dialed: %v", err)
	}
	proxy.Heal()
	mustAsk(t, dial(t, proxy.Addr()), "again", "again")
}

func TestProxyHandsOnTheEndOfOneDirection(t *testing.T) {
	t.Parallel()
	proxy := Proxy(t, echo(t))
	conn := dial(t, proxy.Addr()).(*net.TCPConn)
	if _, err := io.WriteString(conn, "all of it"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); err != nil || string(got) != "all of it" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestProxyEndsConnectionsToATargetThatIsGone(t *testing.T) {
	t.Parallel()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	conn := dial(t, Proxy(t, hostPort(port)).Addr())
	if answer, err := ask(conn, "hello", 2*time.Second); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v; want the end of the connection", answer, err)
	}
}
