package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestNeedsRestart(t *testing.T) {
	const file = `
host {
  listen      = "127.0.0.1:3000"
  admin_token = "a token that nobody guesses"
  log {
    level = "info"
  }
  near_cache {
    max_entries = 1000
  }
}
strategy "real_time" {
  ttl = "30s"
}
island "source" {
  layer  = "external_services"
  binary = "/source"
  sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
}
broadcast {
  symbols = ["btc"]
  sources = ["source"]
}
`
	for _, test := range []struct {
		name, from, to string
		want           []string
	}{
		{"nothing", "", "", nil},
		{"the address", `127.0.0.1:3000`, `127.0.0.1:3001`, []string{"host.listen"}},
		{"a token", `that nobody`, `that one`, []string{"host.admin_token"}},
		{"the level of the log", `"info"`, `"debug"`, nil},
		{"the format of the log", `level = "info"`, `format = "json"`, []string{"host.log.format"}},
		{"the environment", `listen `, "environment = \"production\"\n  listen ", []string{"host.log.format"}},
		{"the near cache", `1000`, `2000`, []string{"host.near_cache.max_entries"}},
		{"a strategy", `"30s"`, `"20s"`, nil},
		{"whose the islands are", `listen `, "island_users = \"off\"\n  listen ", nil},
		{"the watch", `listen `, "watch = true\n  listen ", nil},
		{"how long an absence is remembered", `listen `, "negative_ttl = \"5s\"\n  listen ", nil},
		{
			"several", `listen      = "127.0.0.1:3000"`, "listen = \":1\"\n  data_dir = \"/d\"\n  last_source_timeout = \"7s\"",
			[]string{"host.data_dir", "host.last_source_timeout", "host.listen"},
		},
		{
			"clients of the feed", "[\"source\"]\n", "[\"source\"]\n  poll = \"9s\"\n  clients {\n    max_connections = 7\n  }\n",
			[]string{"broadcast.clients.max_connections", "broadcast.clients.max_per_address"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			parsed := func(text string) *Config {
				t.Helper()
				cfg, err := Parse([]byte(text), "islands.hcl", Options{Env: func(string) (string, bool) { return "", false }, ExecutableDir: "/"})
				if err != nil {
					t.Fatal(err)
				}
				return cfg
			}
			changed := file
			if test.from != "" {
				if changed = strings.Replace(file, test.from, test.to, 1); changed == file {
					t.Fatalf("no %q to replace", test.from)
				}
			}
			got := parsed(file).NeedsRestart(parsed(changed))
			if diff := cmp.Diff(test.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Error(diff)
			}
		})
	}
}
