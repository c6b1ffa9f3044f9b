// Package python tests the island in app/ as a host sees it.
package python

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/examples/marketsim/sim"
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
	"github.com/service-islands/islands/sdk/process"
)

// build packs the island and returns the path of the program.
func build(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "python-source")
	if out, err := exec.CommandContext(t.Context(), "./build", path).CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// source is the island in a process of its own, which starts when it is first asked something.
type source struct {
	sdk.QuoteSource
	sdk.CandleSource
	process func() (*process.Process, error)
}

// launcher returns a function that makes sources of a program.
func launcher(path string, logger hclog.Logger) func(testing.TB) sdk.IslandComponent {
	return func(tb testing.TB) sdk.IslandComponent {
		tb.Helper()
		s := &source{process: sync.OnceValues(func() (*process.Process, error) {
			ctx, cancel := context.WithTimeout(tb.Context(), time.Minute)
			defer cancel()
			return process.Launch(ctx, process.LaunchOptions{
				Name: "python-source", Path: path, RunDir: tb.TempDir(), Logger: logger, StartTimeout: time.Minute,
			})
		})}
		return s
	}
}

func (s *source) Initialize(ctx context.Context, cfg sdk.Config) error {
	p, err := s.process()
	if err != nil {
		return err
	}
	s.QuoteSource, s.CandleSource = p.Island(), p.Island()
	return p.Island().Initialize(ctx, cfg)
}

func (s *source) Health(ctx context.Context) sdk.Health {
	p, err := s.process()
	if err != nil {
		return sdk.Failed(err.Error())
	}
	return p.Island().Health(ctx)
}

func (s *source) Metrics(ctx context.Context) (sdk.Metrics, error) {
	p, err := s.process()
	if err != nil {
		return nil, err
	}
	return p.Island().Metrics(ctx)
}

// Shutdown also ends the process, in the way that a host does.
func (s *source) Shutdown(ctx context.Context) error {
	p, err := s.process()
	if err != nil {
		return err
	}
	return p.Stop(ctx)
}

// described is what the program says that it is.
func described(t *testing.T, path string) sdk.Manifest {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	manifest, err := process.Describe(ctx, path, "")
	if err != nil {
		t.Fatal(err)
	}
	return manifest
}

// TestConformance holds the island to every check of the kit, as a process, against the simulated Binance.
func TestConformance(t *testing.T) {
	path := build(t)
	market := sim.New(sim.Options{Seed: 1})
	upstream := islandtest.NewUpstream(t, market)
	islandtest.Run(t, islandtest.Subject{
		Manifest: described(t, path),
		New:      launcher(path, hclog.NewNullLogger()),
		Settings: func(testing.TB) map[string]any {
			return map[string]any{"url": upstream.URL + "/binance", "calls_per_minute": 100000}
		},
		Assets:    []sdk.Asset{{ID: "bitcoin", Symbol: "btc"}, {ID: "ethereum", Symbol: "eth"}, {Symbol: "sol"}},
		Unknown:   sdk.Asset{ID: "no-such-coin", Symbol: "nosuch"},
		Intervals: sdk.Intervals(),
		Break:     upstream.Break,
	})
}

var _ = fmt.Sprint
var _ = bytes.Equal
var _ = json.Marshal
var _ = os.Stat
var _ = strings.Cut
