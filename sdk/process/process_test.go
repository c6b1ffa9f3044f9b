package process_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// mood is the island that the test binary becomes when Launch starts it.
type mood struct {
	sdk.Life
	cfg sdk.Config
}

func (m *mood) Initialize(_ context.Context, cfg sdk.Config) error {
	m.cfg = cfg
	var set struct {
		Label string `setting:"label" default:"calm" doc:"What to answer."`
	}
	return cfg.Decode(&set)
}

func (m *mood) Sentiment(ctx context.Context, _ sdk.SentimentRequest) (sdk.Sentiment, error) {
	m.cfg.Logger.InfoContext(ctx, "asked")
	if _, err := os.Stat(os.Getenv("MOOD_FAILS")); err == nil {
		return sdk.Sentiment{}, &sdk.Error{Kind: sdk.RateLimited, Message: "too often", RetryAfter: 7 * time.Second}
	}
	return sdk.Sentiment{Value: sdk.Known(42), Label: "Fear", Source: "mood", AsOf: time.Unix(1700000000, 0).UTC()}, nil
}

func moodManifest() sdk.Manifest {
	return sdk.Manifest{Name: "mood", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "How the market feels."}
}

func TestMain(m *testing.M) {
	if os.Getenv("SERVICE_ISLANDS_ISLAND") != "" || (len(os.Args) == 2 && os.Args[1] == "describe") {
		process.Serve(moodManifest(), &mood{})
		return
	}
	goleak.VerifyTestMain(m)
}

func launch(t *testing.T, opts process.LaunchOptions) *process.Process {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	opts.Name, opts.Path = "mood", exe
	if opts.RunDir == "" {
		opts.RunDir = t.TempDir()
	}
	p, err := process.Launch(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	return p
}

func TestLaunchedIslandAnswersAndStops(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, process.LaunchOptions{RunDir: dir, Env: map[string]string{"MOOD_FAILS": filepath.Join(dir, "fail")}})
	island := p.Island()
	if got := p.Manifest(); got.Name != "mood" || !got.Has(sdk.RoleSentiment) || got.Has(sdk.RoleQuotes) {
		t.Fatalf("manifest %+v", got)
	}
	if _, err := island.Sentiment(t.Context(), sdk.SentimentRequest{}); !errors.Is(err, sdk.Unavailable) {
		t.Fatalf("before Initialize: %v", err)
	}
	if err := island.Initialize(t.Context(), sdk.Config{Name: "mood"}); err != nil {
		t.Fatal(err)
	}
	got, err := island.Sentiment(t.Context(), sdk.SentimentRequest{})
	if err != nil || got.Value != sdk.Known(42) || got.Label != "Fear" || !got.AsOf.Equal(time.Unix(1700000000, 0)) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "fail"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = island.Sentiment(t.Context(), sdk.SentimentRequest{}); !errors.Is(err, sdk.RateLimited) || sdk.RetryAfter(err) != 7*time.Second {
		t.Fatalf("%v, %v", err, sdk.RetryAfter(err))
	}
	if _, err = island.Quotes(t.Context(), sdk.QuotesRequest{}); !errors.Is(err, sdk.Unsupported) {
		t.Fatalf("a role it lacks: %v", err)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if exit := p.Exit(); exit.Code != 0 || exit.Signal != "" {
		t.Fatalf("exit %+v", exit)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "i*")); len(left) > 0 {
		t.Fatalf("left behind: %v", left)
	}
	if _, err = island.Sentiment(t.Context(), sdk.SentimentRequest{}); err == nil {
		t.Fatal("answers after its end")
	}
}

func TestKilledIslandIsNoticed(t *testing.T) {
	p := launch(t, process.LaunchOptions{})
	proc, _ := os.FindProcess(p.PID())
	start := time.Now()
	if err := proc.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	t.Logf("noticed and cleared up after %v", time.Since(start))
	if exit := p.Exit(); exit.Signal != "killed" {
		t.Fatalf("exit %+v", exit)
	}
}
