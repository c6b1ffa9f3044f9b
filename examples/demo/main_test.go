package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// What the stand-ins for the children are told through their environment.
const (
	journalVariable = "ISLANDS_TEST_JOURNAL" // the file that gets a line for everything that happens to them.
	mannerVariable  = "ISLANDS_TEST_MANNER"  // how islands behaves: well, or as named below.

	mannerCrash = "crash" // ends at once.
	mannerDie   = "die"   // ends once it is ready.
	mannerDeaf  = "deaf"  // does not end when asked to.
)

// TestMain makes the test binary stand for the programs that the demo starts, by the name it was called with, and for
// the demo itself.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "marketsim":
		exit(standInMarket())
	case "islands":
		exit(standInHost())
	case "demo":
		main()
	default:
		goleak.VerifyTestMain(m)
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// record adds a line to the journal.
func record(line string) error {
	file, err := os.OpenFile(os.Getenv(journalVariable), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(file, line)
	return errors.Join(err, file.Close())
}

// serveUntilAsked serves until SIGTERM, or for ever.
func serveUntilAsked(name, address string, handler http.Handler, deaf bool) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	go http.Serve(listener, handler) //nolint:errcheck // It ends with the process.
	if err := record(name + " listens on " + address); err != nil {
		return err
	}
	<-ctx.Done()
	if deaf {
		select {}
	}
	return record(name + " ended")
}

func standInMarket() error {
	if len(os.Args) != 3 || os.Args[1] != "--listen" {
		return fmt.Errorf("unexpected arguments %q", os.Args)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_sim/env", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"COINGECKO_URL": "http://" + os.Args[2] + "/simulated"})
	})
	return serveUntilAsked("marketsim", os.Args[2], mux, false)
}

func standInHost() error {
	if err := record("islands was given " + strings.Join(os.Args[1:], " ")); err != nil {
		return err
	}
	for _, name := range append([]string{"COINGECKO_URL", "ISLANDS_DATA_DIR"}, withheld...) {
		if value, found := os.LookupEnv(name); found {
			if err := record(name + "=" + value); err != nil {
				return err
			}
		}
	}
	manner := os.Getenv(mannerVariable)
	if manner == mannerCrash {
		return errors.New("crashing as told")
	}
	asked := 0
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health/ready", func(w http.ResponseWriter, _ *http.Request) {
		asked++
		if asked < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		} else if manner == mannerDie {
			time.AfterFunc(50*time.Millisecond, func() { os.Exit(3) })
		}
	})
	return serveUntilAsked("islands", os.Getenv("ISLANDS_LISTEN"), mux, manner == mannerDeaf)
}
