package process_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// protocol is what this SDK speaks.
var protocol = sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor}

// previous is what the SDK in testdata/previous speaks.
var previous = sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor - 1}

// buildPrevious builds a program of testdata/previous, which is a module of its own with the SDK as it was when the minor
// before this one was frozen. It has the dependencies of this tree, so that nothing but what is there anyway is needed.
func buildPrevious(t *testing.T, program string) string {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), program)
	cmd := exec.CommandContext(t.Context(), "go", "build", "-modfile="+filepath.Join(root, "go.mod"), "-buildvcs=false", "-o", path, "./"+program)
	cmd.Dir = filepath.Join("testdata", "previous")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s of the previous minor: %v\n%s", program, err, out)
	}
	return path
}

// TestAnIslandOfThePreviousMinor runs one, as it was built before a field was added, under this host.
func TestAnIslandOfThePreviousMinor(t *testing.T) {
	path := buildPrevious(t, "island")
	described, err := process.Describe(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	if described.Protocol != previous {
		t.Fatalf("testdata/previous speaks %s, and the minor before this one is %s: a minor is begun with make next-minor, which keeps the SDK",
			described.Protocol, previous)
	}
	output := newLog()
	p, err := process.Launch(t.Context(), process.LaunchOptions{
		Name: "previous", Path: path, RunDir: runDir(t), Logger: output.logger, StartTimeout: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	if diff := cmp.Diff(described, p.Manifest()); diff != "" {
		t.Errorf("describe and the running island differ:\n%s", diff)
	}
	if m := p.Manifest(); m.StopFirst || !m.Has(sdk.RoleQuotes) || !m.Has(sdk.RoleStream) || m.Protocol.Check(protocol) != nil {
		t.Errorf("manifest %+v", m)
	}
	island := p.Island()

	var refused *sdk.Error
	err = island.Initialize(t.Context(), sdk.Config{Name: "previous", Values: map[string]any{"price": "much"}})
	if !errors.As(err, &refused) || refused.Kind != sdk.InvalidArgument || refused.Setting != "price" {
		t.Fatalf("settings of the wrong type: %v", err)
	}
	p.Kill()
	p, err = process.Launch(t.Context(), process.LaunchOptions{
		Name: "previous", Path: path, RunDir: runDir(t), Logger: output.logger, StartTimeout: 30 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Kill)
	island = p.Island()
	err = island.Initialize(t.Context(), sdk.Config{Name: "previous", Values: map[string]any{"price": 4.5, "token": "hunter2-hunter2"}})
	if err != nil {
		t.Fatal(err)
	}
	if health := island.Health(t.Context()); health.Status != sdk.StatusDegraded || health.Reason != "of the previous minor" {
		t.Errorf("health %+v", health)
	}
	if metrics, err := island.Metrics(t.Context()); err != nil || len(metrics) != 1 || metrics[0].Samples[0].Value != 7 {
		t.Errorf("metrics %+v, %v", metrics, err)
	}
	btc := sdk.Asset{ID: "bitcoin", Symbol: "BTC"}
	quotes, err := island.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{btc}, VsCurrency: "usd"})
	if err != nil || len(quotes) != 1 || quotes[0].Price != sdk.Known(4.5) || quotes[0].Symbol != "BTC" {
		t.Errorf("quotes %+v, %v", quotes, err)
	}
	_, err = island.Quotes(t.Context(), sdk.QuotesRequest{Assets: []sdk.Asset{{Symbol: "NONE"}}})
	if !errors.As(err, &refused) || refused.Kind != sdk.RateLimited || refused.RetryAfter != 3*time.Second {
		t.Errorf("refused with %v", err)
	}
	enough := errors.New("enough")
	err = island.Stream(t.Context(), sdk.StreamRequest{Assets: []sdk.Asset{btc}, VsCurrency: "usd", Candles: true}, func(batch sdk.QuoteBatch) error {
		if batch.Seq != 1 || len(batch.Quotes) != 1 || batch.Quotes[0].Price != sdk.Known(4.5) {
			t.Errorf("batch %+v", batch)
		}
		return enough
	})
	if !errors.Is(err, enough) && sdk.KindOf(err) != sdk.Canceled {
		t.Errorf("stream: %v", err)
	}
	output.eventually(t, "the island of the previous minor is here")
	output.eventually(t, "printed by the previous minor")
	if text := strings.Join(output.lines(), "\n"); strings.Contains(text, "hunter2") {
		t.Errorf("a secret shows:\n%s", text)
	}
	if err := p.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestAHostOfThePreviousMinor runs an island of this SDK under one, which does not know what was added since.
func TestAHostOfThePreviousMinor(t *testing.T) {
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), buildPrevious(t, "host"), executable(t), runDir(t))
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	var heard struct {
		Speaks, Described, Manifest sdk.Protocol
		Roles                       []sdk.Role
		Answer, Refused             string
		Healthy                     bool
	}
	if err := json.Unmarshal(out.Bytes(), &heard); err != nil {
		t.Fatalf("%v: %s", err, out.String())
	}
	if heard.Speaks != previous || heard.Described != protocol || heard.Manifest != protocol {
		t.Errorf("a host of %s hears of %s and %s, not %s and %s", heard.Speaks, heard.Described, heard.Manifest, protocol, protocol)
	}
	if heard.Answer != previous.String() {
		t.Errorf("the island settled on %s, not %s", heard.Answer, previous)
	}
	if !heard.Healthy || heard.Refused != sdk.RateLimited.String() || !slices.Contains(heard.Roles, sdk.RoleStore) {
		t.Errorf("it heard %+v", heard)
	}
	if strings.Contains(errs.String(), "hunter2") {
		t.Errorf("a secret shows:\n%s", errs.String())
	}
}

func TestBothSidesSettleOnTheLowerMinor(t *testing.T) {
	p := initialized(t, process.LaunchOptions{}, "")
	if got, err := ask(t, p, "protocol"); err != nil || got != protocol.String() {
		t.Errorf("with a host of %s, the island settled on %q, %v", protocol, got, err)
	}
}
