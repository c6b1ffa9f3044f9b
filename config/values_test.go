package config

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/service-islands/islands/sdk"
)

// parse reads a file by itself, without manifests.
func parse(t *testing.T, src string, env map[string]string) *Config {
	t.Helper()
	cfg, err := Parse([]byte(src), "islands.hcl", Options{Env: lookup(env), ExecutableDir: "/opt/islands"})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestEmptyFileIsAllDefaults(t *testing.T) {
	cfg := parse(t, "", nil)
	if cfg.Host.Listen != "127.0.0.1:3000" || cfg.Host.Environment != Development || cfg.Host.RequestTimeout != 10*time.Second {
		t.Errorf("host is %+v", cfg.Host)
	}
	if len(cfg.Islands)+len(cfg.Strategies)+len(cfg.Request.Reports) != 0 {
		t.Errorf("out of nothing comes %+v", cfg)
	}
	if cfg := parse(t, "", map[string]string{"ISLANDS_ENV": "production"}); cfg.Host.Environment != Production || cfg.Host.Log.Format != "json" {
		t.Errorf("host in production is %+v", cfg.Host)
	}
}

func TestEdgeDefaults(t *testing.T) {
	host := parse(t, "", nil).Host
	if len(host.TrustedProxies) > 0 || host.ForwardedHeader != XForwardedFor || host.TLS != nil || host.RateLimit != nil {
		t.Errorf("the edge of a host that is told nothing is %+v", host)
	}
	host = parse(t, "host {\nrate_limit {\nrequests = 7\n}\ntls {\ncert_file = \"a\"\nkey_file = \"b\"\n}\n}", nil).Host
	if *host.RateLimit != (RateLimit{7, time.Second, 7}) || *host.TLS != (TLS{"a", "b", "1.2", "", 0}) {
		t.Errorf("got %+v and %+v", host.RateLimit, host.TLS)
	}
}

func TestConnectionsHaveRoomForTheFeed(t *testing.T) {
	for name, tt := range map[string]struct {
		limits, clients string
		total, ofOne    int
	}{
		"nothing set":        {"", "", 32_768, 16_384},
		"a large feed":       {"", "max_connections = 100000\nmax_per_address = 50000", 104_096, 54_096},
		"one large address":  {"", "max_per_address = 20000", 32_768, 24_096},
		"few":                {"max_connections = 100", "", 100, 100},
		"few of an address":  {"max_connections_per_address = 100", "", 32_768, 100},
		"both, and the same": {"max_connections = 9\nmax_connections_per_address = 9", "", 9, 9},
	} {
		t.Run(name, func(t *testing.T) {
			l := parse(t, "host {\nlimits {\n"+tt.limits+"\n}\n}\n"+feed("clients {\n"+tt.clients+"\n}"), nil).Host.Limits
			if l.MaxConnections != tt.total || l.MaxConnectionsPerAddress != tt.ofOne {
				t.Errorf("%d connections, %d of one address; want %d and %d", l.MaxConnections, l.MaxConnectionsPerAddress, tt.total, tt.ofOne)
			}
		})
	}
}

func TestIslandDefaults(t *testing.T) {
	cfg := parse(t, `island "cache" {
		layer  = "infrastructure"
		binary = "plugins/cache"
	}`, nil)
	want := Island{
		Name: "cache", Layer: sdk.LayerInfrastructure, Binary: filepath.FromSlash("/opt/islands/plugins/cache"), Enabled: true, Confine: true,
		Restart: Restart{
			MaxCrashes: 5, Window: 10 * time.Minute, BackoffMin: 250 * time.Millisecond, BackoffMax: 30 * time.Second,
			ResetAfter: time.Minute, ProbeEvery: 5 * time.Minute,
		},
		Health: Health{Interval: 5 * time.Second, Timeout: 2 * time.Second, Misses: 3}, Settings: map[string]any{},
	}
	got := cfg.Islands[0]
	got.Fingerprint = ""
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("island (-want +got):\n%s", diff)
	}
}

func TestEverythingSet(t *testing.T) {
	cfg := parse(t, `
		host {
			listen              = ":0"
			environment         = "production"
			island_users        = "off"
			log { format = "text" }
			shutdown_timeout    = "1s"
			request_timeout     = "9s"
			source_timeout      = "2s"
			last_source_timeout = "2s"
			negative_ttl        = "5s"
			spool {
				max_size = "8MiB"
				max_age  = "2h"
				sync     = "0s"
			}
			near_cache {
				max_entries = env("ENTRIES")
				max_memory  = 1024
			}
			limits {
				max_symbols                 = 10
				max_cold_requests           = 20
				max_connections             = 40
				max_connections_per_address = 30
			}
			trusted_proxies  = ["10.1.2.3/8", "::ffff:192.0.2.7", "2001:db8::/32", "2001:db8::1/32"]
			forwarded_header = "forwarded"
			tls {
				cert_file      = "a.pem"
				key_file       = "b.pem"
				min_version    = "1.3"
				client_ca_file = "c.pem"
				hsts           = "24h"
			}
			rate_limit {
				requests = 100
				per      = "1m"
				burst    = 200
			}
		}
		strategy "mine" {
			ttl       = "1m"
			stale_for = "0s"
		}
		island "a" {
			layer   = "external_services"
			binary  = "/usr/lib/islands/a"
			sha256  = upper("ABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCDEFABCD")
			enabled = env("WITH_A", "true")
			env     = { HTTPS_PROXY = "http://proxy:3128", RETRIES = 3, GONE = null }
			confine = false
			reads   = ["/srv/a", "cert.pem"]
			writes  = "${host.data_dir}/a"
			restart {
				max_crashes = 1
				window      = "1m"
				backoff_min = "1s"
				backoff_max = "1s"
				reset_after = "2s"
				probe_every = "3s"
			}
			health {
				interval = "1s"
				timeout  = "100ms"
				misses   = 1
			}
			limits {
				memory     = "256MiB"
				processors = 2
				files      = 1024
				max_calls  = 8
			}
			config {
				text   = "${host.listen}|${host.data_dir}|${host.environment}"
				whole  = 12345678901234567890
				float  = 0.1
				zero   = -0
				truth  = true
				list   = ["x", 1]
				nested = { a = [null] }
				gone   = null
			}
		}
		island "b" {
			layer   = "business_logic"
			binary  = "b"
			enabled = host.environment != "production"
			config { key = env("NOT_SET_AND_NOT_ASKED_FOR") }
		}
		request {
			cache = []
			store = "b"
			quotes {
				sources   = concat(["b"], [lower("A")])
				strategy  = "mine"
				stale_for = "2h"
			}
			sentiment { strategy = "mine" }
			report "gone" {
				island   = "b"
				strategy = "mine"
			}
			report "my-report" {
				island   = "a"
				strategy = "mine"
				warm     = split(",", "BTC,eth")
			}
		}
		broadcast {
			symbols = "BTC"
			sources = "a"
			poll    = "1s"
		}`, map[string]string{"ENTRIES": "7"})
	want := &Config{
		Host: Host{
			Listen: ":0", DataDir: "data", Environment: Production, IslandUsers: UsersOff, Log: Log{"info", "text"}, ShutdownTimeout: time.Second,
			RequestTimeout: 9 * time.Second, SourceTimeout: 2 * time.Second, LastSourceTimeout: 2 * time.Second,
			NegativeTTL: 5 * time.Second, NearCache: NearCache{7, 1024}, Spool: Spool{8 << 20, 2 * time.Hour, 0}, Limits: Limits{10, 20, 40, 30},
			TrustedProxies: []netip.Prefix{
				netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("2001:db8::/32"),
			},
			ForwardedHeader: Forwarded,
			TLS:             &TLS{"a.pem", "b.pem", "1.3", "c.pem", 24 * time.Hour},
			RateLimit:       &RateLimit{100, time.Minute, 200},
		},
		Strategies: []Strategy{{"mine", time.Minute, 0}},
		Islands: []Island{
			{
				Name: "a", Layer: sdk.LayerExternalServices, Binary: "/usr/lib/islands/a", SHA256: strings.Repeat("abcdef", 10) + "abcd",
				Enabled: true, Restart: Restart{1, time.Minute, time.Second, time.Second, 2 * time.Second, 3 * time.Second},
				Health: Health{time.Second, 100 * time.Millisecond, 1}, Limits: IslandLimits{256 << 20, 2, 1024}, MaxCalls: 8,
				Reads: []string{"/srv/a", "cert.pem"}, Writes: []string{"data/a"},
				Env: map[string]string{"HTTPS_PROXY": "http://proxy:3128", "RETRIES": "3"},
				Settings: map[string]any{
					"text": ":0|data|production", "whole": json.Number("12345678901234567890"), "float": json.Number("0.1"),
					"zero": json.Number("0"), "truth": true, "list": []any{"x", json.Number("1")},
					"nested": map[string]any{"a": []any{nil}},
				},
			},
			{
				Name: "b", Layer: sdk.LayerBusinessLogic, Binary: filepath.FromSlash("/opt/islands/b"),
				Restart: Restart{5, 10 * time.Minute, 250 * time.Millisecond, 30 * time.Second, time.Minute, 5 * time.Minute},
				Health:  Health{5 * time.Second, 2 * time.Second, 3},
				Confine: true,
			},
		},
		Request: Request{
			Quotes:    Kind{[]string{"a"}, Strategy{"mine", time.Minute, 2 * time.Hour}},
			Sentiment: Kind{nil, Strategy{"mine", time.Minute, 0}},
			Reports:   []Report{{Name: "my-report", Island: "a", Strategy: Strategy{"mine", time.Minute, 0}, Key: "my_report", Warm: []string{"btc", "eth"}}},
		},
		Broadcast: Broadcast{[]string{"btc"}, []string{"a"}, time.Second, 500 * time.Millisecond, anyClients},
	}
	for i := range cfg.Islands {
		cfg.Islands[i].Fingerprint = ""
	}
	if diff := cmp.Diff(want, cfg, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

func TestFunctions(t *testing.T) {
	env := map[string]string{"SET": "value", "EMPTY": "", "BROKEN": "a\xffb"}
	for expr, want := range map[string]any{
		`env("SET")`:                           "value",
		`env("SET", "default")`:                "value",
		`env("UNSET", "default")`:              "default",
		`env("EMPTY", "default")`:              "default",
		`env("UNSET", "")`:                     "",
		`env("UNSET", 3)`:                      "3",
		`env("UNSET", null)`:                   nil,
		`env("BROKEN")`:                        "a\uFFFDb",
		`upper("abc")`:                         "ABC",
		`lower("ABC")`:                         "abc",
		`trimspace(" a ")`:                     "a",
		`format("%s:%d", "h", 1)`:              "h:1",
		`join("-", ["a", "b"])`:                "a-b",
		`split(",", "a,b")`:                    []any{"a", "b"},
		`replace("a-b", "-", "_")`:             "a_b",
		`coalesce(env("UNSET", null), "b")`:    "b",
		`concat(["a"], ["b"])`:                 []any{"a", "b"},
		`contains(["a"], "a")`:                 true,
		`length(["a", "b"])`:                   json.Number("2"),
		`env("SET") == "value" ? "y" : "n"`:    "y",
		`length(split(",", env("SET"))) > 1`:   false,
		`"${env("SET")}/x"`:                    "value/x",
		`format("%v", [1, "a"])`:               `[1,"a"]`,
		`replace("aaaa", "a", env("SET", ""))`: "valuevaluevaluevalue",
	} {
		t.Run(expr, func(t *testing.T) {
			cfg := parse(t, fmt.Sprintf("island \"a\" {\nlayer = \"business_logic\"\nbinary = \"a\"\nconfig {\nx = %s\n}\n}", expr), env)
			if diff := cmp.Diff(want, cfg.Islands[0].Settings["x"]); diff != "" {
				t.Errorf("value (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTextOfTheEnvironmentBecomesWhatTheSettingWants covers numbers and truths, which the environment holds as text.
func TestTextOfTheEnvironmentBecomesWhatTheSettingWants(t *testing.T) {
	cfg, err := Parse([]byte(`island "coingecko-source" {
		layer  = "external_services"
		binary = "plugins/coingecko-source"
		config { calls_per_minute = env("CALLS") }
	}`), "islands.hcl", Options{Env: lookup(map[string]string{"CALLS": "12"}), Describe: describe, ExecutableDir: binaries(t)})
	if err != nil {
		t.Fatal(err)
	}
	if got := cfg.Islands[0].Settings["calls_per_minute"]; got != json.Number("12") {
		t.Errorf("got %#v", got)
	}
}

func TestNamesOfDisabledIslandsDropOut(t *testing.T) {
	cfg := parse(t, `
		strategy "s" { ttl = "1s" }
		island "off" {
			layer   = "external_services"
			binary  = "off"
			enabled = false
		}
		request {
			cache = "off"
			store = ["off"]
			quotes {
				sources  = ["off"]
				strategy = "s"
			}
		}
		broadcast {
			symbols = ["btc"]
			sources = ["off"]
		}`, nil)
	if cfg.Request.Cache != "" || cfg.Request.Store != "" || len(cfg.Request.Quotes.Sources)+len(cfg.Broadcast.Sources) != 0 {
		t.Errorf("got %+v", cfg)
	}
}

// TestFingerprint finds what restarts an island on a reload and what does not.
func TestFingerprint(t *testing.T) {
	of := func(body string) string {
		return parse(t, "island \"a\" {\nlayer = \"business_logic\"\n"+body+"\n}", map[string]string{"K": "secret-one"}).Islands[0].Fingerprint
	}
	base := of("binary = \"a\"\nconfig {\nx = \"1\"\ny = env(\"K\")\n}")
	for name, tt := range map[string]struct {
		body string
		same bool
	}{
		"order, layout and comments": {"# a\nbinary = \"a\"\nconfig {\n y = \"secret-one\"\n x = \"1\"\n}", true},
		"restart and health":         {"binary = \"a\"\nconfig {\nx = \"1\"\ny = env(\"K\")\n}\nrestart { max_crashes = 1 }\nhealth { misses = 9 }", true},
		"a setting":                  {"binary = \"a\"\nconfig {\nx = \"2\"\ny = env(\"K\")\n}", false},
		"a setting's type":           {"binary = \"a\"\nconfig {\nx = 1\ny = env(\"K\")\n}", false},
		"a secret":                   {"binary = \"a\"\nconfig {\nx = \"1\"\ny = \"secret-two\"\n}", false},
		"the environment":            {"binary = \"a\"\nenv = { A = \"b\" }\nconfig {\nx = \"1\"\ny = env(\"K\")\n}", false},
		"the binary":                 {"binary = \"b\"\nconfig {\nx = \"1\"\ny = env(\"K\")\n}", false},
		"what it may write":          {"binary = \"a\"\nwrites = [\"w\"]\nconfig {\nx = \"1\"\ny = env(\"K\")\n}", false},
		"what it may read":           {"binary = \"a\"\nreads = [\"w\"]\nconfig {\nx = \"1\"\ny = env(\"K\")\n}", false},
		"whether it is confined":     {"binary = \"a\"\nconfine = false\nconfig {\nx = \"1\"\ny = env(\"K\")\n}", false},
		"enabled":                    {"enabled = false\nbinary = \"a\"\nconfig {\nx = \"1\"\ny = env(\"K\")\n}", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := of(tt.body) == base; got != tt.same {
				t.Errorf("same fingerprint: %v, want %v", got, tt.same)
			}
		})
	}
}

func TestConfigHidesSecretsWhenPrinted(t *testing.T) {
	cfg := parse(t, `
		host { admin_token = "hunter2" }
		island "a" {
			layer  = "business_logic"
			binary = "a"
			env    = { A = "hunter2" }
			config { x = "hunter2" }
		}`, nil)
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("config", "config", cfg, "island", cfg.Islands[0])
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{
		out.String(), string(text), fmt.Sprintf("%v %+v %#v", *cfg, *cfg, *cfg), cfg.Islands[0].String(), fmt.Sprintf("%#v", cfg.Islands),
	} {
		if strings.Contains(shown, "hunter2") || strings.Contains(shown, cfg.Islands[0].Fingerprint) {
			t.Errorf("a secret shows in %s", shown)
		}
	}
}

// TestDescribeRunsInParallelAndBounded describes eight islands, four at once.
func TestDescribeRunsInParallelAndBounded(t *testing.T) {
	dir := binaries(t)
	var src strings.Builder
	for i := range 8 {
		fmt.Fprintf(&src, "island \"r%d\" {\nlayer = \"business_logic\"\nbinary = \"plugins/report-generator\"\n}\n", i)
	}
	var running, most, calls atomic.Int32
	four := make(chan struct{})
	_, err := Parse([]byte(src.String()), "islands.hcl", Options{
		ExecutableDir: dir,
		Describe: func(ctx context.Context, path, sum string) (sdk.Manifest, error) {
			now := running.Add(1)
			defer running.Add(-1)
			for old := most.Load(); now > old; old = most.Load() {
				most.CompareAndSwap(old, now)
			}
			if calls.Add(1) == 4 {
				close(four)
			}
			select {
			case <-four:
			case <-ctx.Done():
				return sdk.Manifest{}, ctx.Err()
			}
			return describe(ctx, path, sum)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if most.Load() != 4 || calls.Load() != 8 {
		t.Errorf("%d calls, %d at once", calls.Load(), most.Load())
	}
}

func TestDescribeThatHangsTimesOut(t *testing.T) {
	_, err := Parse([]byte("island \"a\" {\nlayer = \"business_logic\"\nbinary = \"plugins/report-generator\"\n}"), "islands.hcl", Options{
		ExecutableDir: binaries(t), DescribeTimeout: time.Millisecond,
		Describe: func(ctx context.Context, _, _ string) (sdk.Manifest, error) {
			<-ctx.Done()
			return sdk.Manifest{}, ctx.Err()
		},
	})
	if err == nil || !strings.Contains(err.Error(), "deadline exceeded") {
		t.Errorf("got %v", err)
	}
}

func TestWriteWrapsAndColours(t *testing.T) {
	_, err := Parse([]byte("host {\n listen = \"x\"\n}"), "islands.hcl", Options{ExecutableDir: "/"})
	var wrong *Diagnostics
	if !errors.As(err, &wrong) {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := wrong.Write(&out, 30, true); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\x1b[31mError") || !strings.Contains(out.String(), "such\nas") {
		t.Errorf("got %q", out.String())
	}
	want := []Problem{{
		File: "islands.hcl", Line: 2, Column: 11, Summary: "Bad address",
		Detail: `"listen" wants HOST:PORT such as "127.0.0.1:3000", not "x".`,
	}}
	if diff := cmp.Diff(want, wrong.Problems()); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}
