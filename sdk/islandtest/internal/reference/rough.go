package reference

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/service-islands/islands/sdk"
)

// kept is what leaks.
var kept [][]byte

// errCrooked is why a Shutdown fails.
var errCrooked = errors.New("it cannot stop")

// roughStart has the flaws of Initialize that only a program can have.
func (l *life) roughStart(cfg sdk.Config, err error) error {
	switch l.flaw {
	case "logs secrets":
		cfg.Logger.Info("the key", "key", l.set.Key.Reveal())
	case "prints secrets":
		_, _ = fmt.Fprintln(os.Stdout, "key:", l.set.Key.Reveal())
	case "dies of signals":
		signals := make(chan os.Signal, 1)
		signal.Notify(signals, syscall.SIGTERM)
		go func() {
			<-signals
			os.Exit(0) //nolint:revive // A flaw that ends the process.
		}()
	case "shows no stacks", "leaks threads", "stays unseen":
		signal.Notify(make(chan os.Signal, 1), syscall.SIGQUIT) // As a program that is not in Go.
	case "dies of a bad setting":
		if err != nil {
			os.Exit(4) //nolint:revive // A flaw that ends the process.
		}
	}
	return err
}

// roughCall has the flaws of every call of a role that only a program can have.
func (l *life) roughCall() {
	switch l.flaw {
	case "leaks memory":
		page := make([]byte, 256<<10)
		for i := range page {
			page[i] = byte(i)
		}
		kept = append(kept, page)
	case "leaks with calls":
		go func() { <-l.leak }()
	case "leaks threads":
		go func() {
			runtime.LockOSThread()
			<-l.leak
		}()
	case "busy":
		for start := time.Now(); time.Since(start) < 800*time.Millisecond; {
			runtime.Gosched()
		}
	}
}

// odd is called with a text of a request that ought to hold something.
func (l *life) odd(text string) {
	if text != "" {
		return
	}
	switch l.flaw {
	case "dies of nonsense":
		os.Exit(6) //nolint:revive // A flaw that ends the process.
	case "panics at nonsense":
		panic("nothing was asked for")
	case "panics aside":
		go func() { panic("nothing was asked for") }()
	}
}

// roughStop has the flaws of Shutdown that only a program can have.
func (l *life) roughStop() error {
	switch l.flaw {
	case "slow to stop":
		time.Sleep(5 * time.Second)
	case "fails to stop":
		return errCrooked
	case "dies in shutdown":
		os.Exit(8) //nolint:revive // A flaw that ends the process.
	}
	return nil
}
