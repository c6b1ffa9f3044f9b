package config

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
)

var update = flag.Bool("update", false, "write the golden diagnostics anew")

// manifests are what the islands of the shipped file say about themselves, as far as it concerns this package.
var manifests = map[string]sdk.Manifest{
	"cache": {
		Name: "cache", Layer: sdk.LayerInfrastructure, Roles: []sdk.Role{sdk.RoleCache, sdk.RoleCoordinator},
		Settings: []sdk.Setting{
			{Name: "max_memory", Type: sdk.SizeSetting, Default: "64MiB", Doc: "Bound on L1."},
			{Name: "max_entries", Type: sdk.IntSetting, Default: "100000", Doc: "Bound on L1."},
			{Name: "redis_url", Type: sdk.StringSetting, Doc: "Redis, empty for none.", Secret: true},
			{Name: "namespace", Type: sdk.StringSetting, Default: "islands", Doc: "Prefix of the keys in Redis."},
		},
	},
	"sqlite-store": {
		Name: "sqlite-store", Layer: sdk.LayerInfrastructure, Roles: []sdk.Role{sdk.RoleStore},
		Settings: []sdk.Setting{
			{Name: "path", Type: sdk.StringSetting, Required: true, Doc: "File of the database."},
			{Name: "retention", Type: sdk.DurationSetting, Default: "0s", Doc: "How long quotes stay."},
		},
	},
	"postgres-store": {
		Name: "postgres-store", Layer: sdk.LayerInfrastructure, Roles: []sdk.Role{sdk.RoleStore},
		Settings: []sdk.Setting{
			{Name: "url", Type: sdk.StringSetting, Required: true, Secret: true, Doc: "URL of the database."},
			{Name: "retention", Type: sdk.DurationSetting, Default: "0s", Doc: "How long quotes stay."},
		},
	},
	"coingecko-source": {
		Name: "coingecko-source", Layer: sdk.LayerExternalServices,
		Roles: []sdk.Role{sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleGlobal, sdk.RoleCatalogue},
		Settings: []sdk.Setting{
			{Name: "url", Type: sdk.StringSetting, Default: "https://api.coingecko.com/api/v3", Doc: "Base URL."},
			{Name: "api_key", Type: sdk.StringSetting, Doc: "Key, empty for anonymous use.", Secret: true},
			{Name: "calls_per_minute", Type: sdk.IntSetting, Default: "30", Doc: "Budget."},
			{Name: "timeout", Type: sdk.DurationSetting, Default: "3s", Doc: "Bound on one call."},
		},
	},
	"binance-source": {
		Name: "binance-source", Layer: sdk.LayerExternalServices,
		Roles: []sdk.Role{sdk.RoleQuotes, sdk.RoleCandles, sdk.RoleCatalogue, sdk.RoleStream},
		Settings: []sdk.Setting{
			{Name: "url", Type: sdk.StringSetting, Default: "https://data-api.binance.vision", Doc: "Base URL."},
			{Name: "stream_url", Type: sdk.StringSetting, Default: "wss://data-stream.binance.vision", Doc: "Streams."},
			{Name: "weight_per_minute", Type: sdk.IntSetting, Default: "6000", Doc: "Budget."},
			{Name: "timeout", Type: sdk.DurationSetting, Default: "3s", Doc: "Bound on one call."},
			{Name: "symbols", Type: sdk.ListSetting, Doc: "Pairs."},
		},
	},
	"fear-greed": {
		Name: "fear-greed", Layer: sdk.LayerExternalServices, Roles: []sdk.Role{sdk.RoleSentiment},
		Settings: []sdk.Setting{{Name: "url", Type: sdk.StringSetting, Default: "https://api.alternative.me/fng/", Doc: "Address."}},
	},
	"report-generator": {
		Name: "report-generator", Layer: sdk.LayerBusinessLogic, Roles: []sdk.Role{sdk.RoleReporter},
		Reports: []sdk.ReportSpec{{Name: "crypto-report"}, {Name: "technical-analysis"}},
	},
	"newer-source": {Name: "newer-source", Layer: sdk.LayerExternalServices, Protocol: sdk.Protocol{Major: 2}},
	"older-source": {Name: "older-source", Layer: sdk.LayerExternalServices, Protocol: sdk.Protocol{Major: -1}},
}

// describe is what process.Describe is to the host.
func describe(_ context.Context, path, sum string) (sdk.Manifest, error) {
	if got, err := sumOf(path); err != nil || sum != "" && sum != got {
		return sdk.Manifest{}, errors.New("checksum mismatch")
	}
	m, ok := manifests[filepath.Base(path)]
	if !ok {
		return sdk.Manifest{}, errors.New("exit status 1")
	}
	switch m.Protocol.Major {
	case 0:
		m.Protocol.Major = sdk.ProtocolMajor
	case -1:
		m.Protocol.Major = sdk.ProtocolMajor - 1
	}
	return m, nil
}

// binaries makes a folder with a file for each island, its name the content.
func binaries(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o755); err != nil {
		tb.Fatal(err)
	}
	names := []string{"broken"}
	for name := range manifests {
		names = append(names, name)
	}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, "plugins", name), []byte(name), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plugins", "notes.txt"), []byte("notes"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return dir
}

// lookup is an environment of its own.
func lookup(env map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	}
}

// environmentOf reads the lines "# env: NAME=value" of a file.
func environmentOf(src string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(src) {
		if assignment, ok := strings.CutPrefix(strings.TrimSpace(line), "# env: "); ok {
			name, value, _ := strings.Cut(assignment, "=")
			env[name] = value
		}
	}
	return env
}

// TestMistakes checks what is said about each file in testdata: one mistake each, named for it. No text holds
// "hunter2", which is the secret in all of them.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata:", err)
	}
	dir := binaries(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".hcl"), func(t *testing.T) {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			_, err = Parse(src, filepath.Base(file), Options{
				Env: lookup(environmentOf(string(src))), Describe: describe, ExecutableDir: dir,
			})
			var wrong *Diagnostics
			if !errors.As(err, &wrong) {
				t.Fatalf("got error %v, want diagnostics", err)
			}
			if strings.Contains(fmt.Sprintf("%+v %#v", err, wrong.Problems()), "hunter2") {
				t.Errorf("a secret shows:\n%v", err)
			}
			for _, p := range wrong.Problems() {
				if p.File != filepath.Base(file) || p.Line < 1 || p.Column < 1 || p.Summary == "" || p.Detail == "" {
					t.Errorf("problem without its place or its words: %+v", p)
				}
			}
			got := strings.ReplaceAll(err.Error(), dir, "$DIR") + "\n"
			golden := strings.TrimSuffix(file, ".hcl") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("diagnostics (-want +got):\n%s", diff)
			}
		})
	}
}

// TestGoldensHaveFiles finds goldens that are left over.
func TestGoldensHaveFiles(t *testing.T) {
	goldens, err := filepath.Glob("testdata/*.golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, golden := range goldens {
		if _, err := os.Stat(strings.TrimSuffix(golden, ".golden") + ".hcl"); err != nil {
			t.Error(err)
		}
	}
}

// shipped loads the file that ships.
func shipped(t *testing.T, env map[string]string) *Config {
	t.Helper()
	cfg, err := Load("../islands.hcl", Options{Env: lookup(env), Describe: describe, ExecutableDir: binaries(t)})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// enabled lists the islands that run.
func enabled(cfg *Config) []string {
	var names []string
	for _, island := range cfg.Islands {
		if island.Enabled {
			names = append(names, island.Name)
		}
	}
	return names
}

func TestShippedFileEmbedded(t *testing.T) {
	cfg := shipped(t, nil)
	wantHost := Host{
		Listen: "127.0.0.1:3000", DataDir: "data", Environment: Development, IslandUsers: UsersAuto, Log: Log{Level: "info", Format: "text"},
		ShutdownTimeout: 15 * time.Second, RequestTimeout: 10 * time.Second, SourceTimeout: 3 * time.Second,
		LastSourceTimeout: 8 * time.Second, NegativeTTL: time.Minute,
		NearCache:       NearCache{MaxEntries: 10_000, MaxMemory: 64 << 20},
		Spool:           Spool{MaxSize: 256 << 20, MaxAge: 24 * time.Hour, Sync: time.Second},
		Limits:          Limits{MaxSymbols: 250, MaxColdRequests: 256, MaxConnections: 32_768, MaxConnectionsPerAddress: 16_384},
		ForwardedHeader: XForwardedFor,
	}
	if diff := cmp.Diff(wantHost, cfg.Host); diff != "" {
		t.Errorf("host (-want +got):\n%s", diff)
	}
	const day = 24 * time.Hour
	wantStrategies := []Strategy{
		{"real_time", 30 * time.Second, day},
		{"short_term", 5 * time.Minute, day},
		{"medium_term", time.Hour, day},
		{"long_term", 3 * time.Hour, day},
		{"very_long_term", day, day},
	}
	if diff := cmp.Diff(wantStrategies, cfg.Strategies); diff != "" {
		t.Errorf("strategies (-want +got):\n%s", diff)
	}
	wantRequest := Request{
		Cache: "cache", Store: "sqlite-store",
		Quotes:    Kind{Sources: []string{"coingecko-source", "binance-source"}, Strategy: wantStrategies[0]},
		Candles:   Kind{Sources: []string{"binance-source", "coingecko-source"}, Strategy: wantStrategies[3]},
		Global:    Kind{Sources: []string{"coingecko-source"}, Strategy: wantStrategies[1]},
		Sentiment: Kind{Sources: []string{"fear-greed"}, Strategy: wantStrategies[2]},
		Catalogue: Kind{Sources: []string{"coingecko-source", "binance-source"}, Strategy: wantStrategies[4]},
		Reports: []Report{
			{Name: "crypto-report", Island: "report-generator", Strategy: wantStrategies[2], Key: "crypto_report", Warm: []string{"btc", "eth"}},
			{Name: "technical-analysis", Island: "report-generator", Strategy: wantStrategies[3], Key: "rsi_analysis"},
		},
	}
	if diff := cmp.Diff(wantRequest, cfg.Request); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
	wantBroadcast := Broadcast{
		Symbols: []string{"btc", "eth", "sol", "bnb", "xrp", "ada", "doge", "link"},
		Sources: []string{"binance-source", "coingecko-source"}, Poll: 30 * time.Second,
		Silence: 15 * time.Second, Clients: anyClients,
	}
	if diff := cmp.Diff(wantBroadcast, cfg.Broadcast); diff != "" {
		t.Errorf("broadcast (-want +got):\n%s", diff)
	}
	want := []string{"cache", "sqlite-store", "coingecko-source", "binance-source", "fear-greed", "report-generator"}
	if diff := cmp.Diff(want, enabled(cfg)); diff != "" {
		t.Errorf("enabled islands (-want +got):\n%s", diff)
	}
	store, _ := cfg.Island("sqlite-store")
	if diff := cmp.Diff(map[string]any{"path": "data/store/islands.db", "retention": "8760h"}, store.Settings); diff != "" {
		t.Errorf("settings of the store (-want +got):\n%s", diff)
	}
	if off, there := cfg.Island("postgres-store"); !there || off.Enabled || off.Settings != nil || off.Manifest.Name != "" {
		t.Errorf("the disabled store is %+v, there %v", off, there)
	}
}

func TestShippedFileWithServers(t *testing.T) {
	cfg := shipped(t, map[string]string{
		"REDIS_URL": "redis://user:hunter2@127.0.0.1:6379/0", "DATABASE_URL": "postgres://u:hunter2@127.0.0.1/islands",
		"ISLANDS_LISTEN": "0.0.0.0:8080", "ISLANDS_DATA_DIR": "/var/lib/islands", "LOG_LEVEL": "DEBUG", "LOG_FORMAT": "json",
		"ISLANDS_ADMIN_TOKEN": "hunter2hunter2", "COINGECKO_URL": "http://127.0.0.1:1/api/v3", "COINGECKO_API_KEY": "hunter2",
		"BINANCE_URL": "http://127.0.0.1:2", "BINANCE_STREAM_URL": "ws://127.0.0.1:2", "FEAR_GREED_URL": "http://127.0.0.1:3/fng/",
	})
	if cfg.Request.Store != "postgres-store" {
		t.Errorf("store is %q", cfg.Request.Store)
	}
	h := cfg.Host
	if h.Listen != "0.0.0.0:8080" || h.DataDir != "/var/lib/islands" || h.Log != (Log{"debug", "json"}) || h.AdminToken.Reveal() != "hunter2hunter2" {
		t.Errorf("host is %+v", h)
	}
	for island, want := range map[string]map[string]any{
		"cache":          {"max_memory": "64MiB", "redis_url": "redis://user:hunter2@127.0.0.1:6379/0"},
		"postgres-store": {"url": "postgres://u:hunter2@127.0.0.1/islands", "retention": "8760h"},
		"coingecko-source": {
			"url": "http://127.0.0.1:1/api/v3", "api_key": "hunter2",
		},
		"binance-source":   {"url": "http://127.0.0.1:2", "stream_url": "ws://127.0.0.1:2"},
		"fear-greed":       {"url": "http://127.0.0.1:3/fng/"},
		"report-generator": {},
	} {
		got, _ := cfg.Island(island)
		if diff := cmp.Diff(want, got.Settings); diff != "" {
			t.Errorf("settings of %s (-want +got):\n%s", island, diff)
		}
	}
}

// TestShippedFileInProduction finds that each island then wants its checksum, and that the message holds the right one.
func TestShippedFileInProduction(t *testing.T) {
	dir := binaries(t)
	opts := Options{Env: lookup(map[string]string{"ISLANDS_ENV": "production"}), Describe: describe, ExecutableDir: dir}
	_, err := Load("../islands.hcl", opts)
	var wrong *Diagnostics
	if !errors.As(err, &wrong) || len(wrong.Problems()) != 6 {
		t.Fatalf("got %v", err)
	}
	src, err := os.ReadFile("../islands.hcl")
	if err != nil {
		t.Fatal(err)
	}
	for name := range manifests {
		sum := sha256.Sum256([]byte(name))
		line := fmt.Sprintf("binary = \"plugins/%s\"\n", name)
		src = []byte(strings.ReplaceAll(strings.ReplaceAll(string(src), "binary  =", "binary ="), line, line+fmt.Sprintf("sha256 = %q\n", hex.EncodeToString(sum[:]))))
	}
	cfg, err := Parse(src, "islands.hcl", opts)
	if err != nil {
		t.Fatal(err)
	}
	if cfg.Host.Log.Format != "json" || cfg.Host.Environment != Production {
		t.Errorf("host is %+v", cfg.Host)
	}
}

func TestLoadOfNoFile(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "islands.hcl"), Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
