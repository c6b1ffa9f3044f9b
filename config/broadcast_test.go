package config

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// anyClients are the limits of a file that sets none.
var anyClients = Clients{
	MaxConnections: 20_000, MaxPerAddress: 1_000, MaxSubscriptions: 128, MessagesPerSecond: 10,
	MaxMessage: 4 << 10, MaxPending: 1 << 20, History: 16 << 20,
	SlowTimeout: 30 * time.Second, WriteTimeout: 10 * time.Second, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
	Heartbeat: 15 * time.Second, Origins: []string{"*"},
}

// feed is a file whose broadcast block holds more.
func feed(more string) string {
	return `
		island "a" {
			layer  = "external_services"
			binary = "a"
		}
		broadcast {
			symbols = ["btc"]
			sources = ["a"]
			` + more + `
		}`
}

func TestBroadcast(t *testing.T) {
	const everything = `
		poll    = "2s"
		silence = "2s"
		clients {
			max_connections     = env("CONNECTIONS")
			max_per_address     = 6
			max_subscriptions   = 5
			messages_per_second = 4
			max_message         = 128
			max_pending         = "64KiB"
			history             = "1GiB"
			slow_timeout        = "3s"
			write_timeout       = "3s"
			ping_interval       = "2s"
			pong_timeout        = "2s"
			heartbeat           = "1s"
			origins             = ["HTTPS://Example.com", "http://localhost:8080"]
		}`
	for name, tt := range map[string]struct {
		src  string
		want Broadcast
	}{
		"no block":       {"", Broadcast{Poll: 30 * time.Second, Silence: 15 * time.Second, Clients: anyClients}},
		"no clients":     {feed(""), Broadcast{[]string{"btc"}, []string{"a"}, 30 * time.Second, 15 * time.Second, anyClients}},
		"an empty block": {feed("clients {}"), Broadcast{[]string{"btc"}, []string{"a"}, 30 * time.Second, 15 * time.Second, anyClients}},
		"everything null": {
			feed("poll = null\nsilence = null\nclients {\nmax_connections = null\nhistory = null\npong_timeout = null\norigins = null\n}"),
			Broadcast{[]string{"btc"}, []string{"a"}, 30 * time.Second, 15 * time.Second, anyClients},
		},
		"everything set": {
			feed(everything),
			Broadcast{[]string{"btc"}, []string{"a"}, 2 * time.Second, 2 * time.Second, Clients{
				7, 6, 5, 4, 128, 64 << 10, 1 << 30, 3 * time.Second, 3 * time.Second, 2 * time.Second, 2 * time.Second, time.Second,
				[]string{"https://example.com", "http://localhost:8080"},
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, parse(t, tt.src, map[string]string{"CONNECTIONS": "7"}).Broadcast); diff != "" {
				t.Errorf("broadcast (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSilenceFollowsPoll(t *testing.T) {
	for more, want := range map[string]time.Duration{
		`poll = "10s"`:                       5 * time.Second,
		`poll = "30s"`:                       15 * time.Second,
		`poll = "31s"`:                       15 * time.Second,
		`poll = "1h"`:                        15 * time.Second,
		`poll = "1ns"`:                       1,
		"poll = \"1h\"\nsilence = \"1h\"":    time.Hour,
		"poll = \"10s\"\nsilence = \"10s\"":  10 * time.Second,
		"poll = \"10s\"\nsilence = \"1ms\"":  time.Millisecond,
		"silence = \"30s\"\npoll = \"1m\"\n": 30 * time.Second,
	} {
		t.Run(more, func(t *testing.T) {
			if got := parse(t, feed(more), nil).Broadcast.Silence; got != want {
				t.Errorf("silence is %s, want %s", got, want)
			}
		})
	}
}

func TestConnectionsOfOneAddressAreAmongAll(t *testing.T) {
	for name, tt := range map[string]struct {
		clients      string
		total, ofOne int
	}{
		"few in all":          {"max_connections = 500", 500, 500},
		"just enough in all":  {"max_connections = 1000", 1_000, 1_000},
		"many in all":         {"max_connections = 1000000", 1_000_000, 1_000},
		"few of an address":   {"max_per_address = 1", 20_000, 1},
		"all of an address":   {"max_per_address = 20000", 20_000, 20_000},
		"more of an address":  {"max_per_address = 50000", 20_000, 20_000},
		"both, and the same":  {"max_connections = 7\nmax_per_address = 7", 7, 7},
		"both, and different": {"max_connections = 50000\nmax_per_address = 40000", 50_000, 40_000},
	} {
		t.Run(name, func(t *testing.T) {
			c := parse(t, feed("clients {\n"+tt.clients+"\n}"), nil).Broadcast.Clients
			if c.MaxConnections != tt.total || c.MaxPerAddress != tt.ofOne {
				t.Errorf("%d connections, %d of one address; want %d and %d", c.MaxConnections, c.MaxPerAddress, tt.total, tt.ofOne)
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	for expr, want := range map[string][]string{
		`[]`:                         nil,
		`"*"`:                        {"*"},
		`["https://example.com"]`:    {"https://example.com"},
		`split(",", env("ORIGINS"))`: {"https://a.example", "https://*.b.example:8443"},
		`["https://a.example", "HTTPS://A.example", "https://a.example:443", "http://b.example"]`: {
			"https://a.example", "http://b.example",
		},
	} {
		t.Run(expr, func(t *testing.T) {
			env := map[string]string{"ORIGINS": "https://a.example,https://*.b.example:8443"}
			got := parse(t, feed("clients {\norigins = "+expr+"\n}"), env).Broadcast.Clients.Origins
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("origins (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOriginIsAsBrowsersSendIt(t *testing.T) {
	for text, want := range map[string]string{
		"*":                                   "*",
		"https://example.com":                 "https://example.com",
		"HTTPS://Example.COM":                 "https://example.com",
		"https://*.example.com":               "https://*.example.com",
		"http://localhost:8080":               "http://localhost:8080",
		"http://localhost:080":                "http://localhost",
		"http://localhost:443":                "http://localhost:443",
		"https://localhost:443":               "https://localhost",
		"http://127.0.0.1:3000":               "http://127.0.0.1:3000",
		"http://[::1]:3000":                   "http://[::1]:3000",
		"http://[0:0:0:0:0:0:0:1]":            "http://[::1]",
		"https://xn--bcher-kva.example":       "https://xn--bcher-kva.example",
		"https://a_b.example":                 "https://a_b.example",
		"":                                    "",
		"**":                                  "",
		"null":                                "",
		"example.com":                         "",
		"//example.com":                       "",
		"https://":                            "",
		"https://*":                           "",
		"https://*.":                          "",
		"https://*example.com":                "",
		"https://a.*.example.com":             "",
		"https://*.*.example.com":             "",
		"https://.example.com":                "",
		"https://example.com.":                "",
		"https://example..com":                "",
		"*://example.com":                     "",
		"ws://example.com":                    "",
		"file://example.com":                  "",
		"https://example.com/":                "",
		"https://example.com/a":               "",
		"https://example.com?a":               "",
		"https://example.com#a":               "",
		"https://example.com:":                "",
		"https://example.com:0":               "",
		"https://example.com:*":               "",
		"https://example.com:65536":           "",
		"https://example.com:-1":              "",
		"https://user@example.com":            "",
		"https://example.com https://a":       "",
		" https://example.com":                "",
		"https://example.com\n":               "",
		"https://bücher.example":              "",
		"https://[::1":                        "",
		"https://[:::]":                       "",
		"https://[1.2.3.4]":                   "",
		"https://*.[::1]":                     "",
		"https://" + strings.Repeat("a", 300): "",
	} {
		t.Run(text, func(t *testing.T) {
			if got, ok := origin(text); got != want || ok != (want != "") {
				t.Errorf("got %q, %v; want %q", got, ok, want)
			}
		})
	}
}

// FuzzOrigin takes any text: nothing, or an origin that reads as itself.
func FuzzOrigin(f *testing.F) {
	for _, text := range []string{"*", "https://*.Example.com:443", "http://[0::1]:080", "http://[::ffff:1.2.3.4]", "https://a/b"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, ok := origin(text)
		if !ok {
			return
		}
		if again, ok := origin(got); !ok || again != got {
			t.Errorf("%q is %q, which is %q, %v", text, got, again, ok)
		}
		if host := strings.TrimPrefix(strings.TrimPrefix(got, "https://"), "http://"); strings.ContainsAny(host, "/?#@ \n") {
			t.Errorf("%q is %q", text, got)
		}
	})
}
