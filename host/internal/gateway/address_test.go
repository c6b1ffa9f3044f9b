package gateway

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

// from is the client of a request of a peer with header fields, in pairs.
func from(p *proxies, peer string, headers ...string) string {
	rctx := &fasthttp.RequestCtx{}
	rctx.Init(&fasthttp.Request{}, net.TCPAddrFromAddrPort(netip.MustParseAddrPort(peer)), nil)
	for i := 0; i < len(headers); i += 2 {
		rctx.Request.Header.Add(headers[i], headers[i+1])
	}
	return p.client(rctx).String()
}

func TestWhoAsksBehindAProxy(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	many := strings.Repeat("10.0.0.1, ", 2*maxHops)
	tests := []struct {
		name, peer string
		forwarded  bool
		headers    []string
		want       string
	}{
		{"nobody is trusted with nothing said", "192.0.2.1:4000", false, nil, "192.0.2.1"},
		{"a peer that is not trusted", "192.0.2.1:4000", false, []string{"X-Forwarded-For", "198.51.100.7"}, "192.0.2.1"},
		{"a proxy that says nothing", "10.0.0.1:4000", false, nil, "10.0.0.1"},
		{"one proxy", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"a chain of proxies", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "198.51.100.7, 10.0.0.3, 10.0.0.2"}, "198.51.100.7"},
		{"what the client invents stands before it", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "1.1.1.1, 198.51.100.7"}, "198.51.100.7"},
		{"invents a proxy", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "1.1.1.1, 10.0.0.9, 198.51.100.7"}, "198.51.100.7"},
		{"several fields are one list", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "1.1.1.1", "X-Forwarded-For", "198.51.100.7"}, "198.51.100.7"},
		{"garbage ends the list", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "198.51.100.7, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"nothing but garbage", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "localhost"}, "10.0.0.1"},
		{"ports", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "198.51.100.7:1234"}, "198.51.100.7"},
		{"IPv6", "[fd00::1]:4000", false, []string{"X-Forwarded-For", "2001:db8::7"}, "2001:db8::7"},
		{"IPv6 with a port", "[fd00::1]:4000", false, []string{"X-Forwarded-For", "[2001:db8::7]:80"}, "2001:db8::7"},
		{"IPv4 within IPv6", "[::ffff:10.0.0.1]:4000", false, []string{"X-Forwarded-For", "::ffff:198.51.100.7"}, "198.51.100.7"},
		{"a zone is no address", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "fe80::1%eth0"}, "10.0.0.1"},
		{"too many hops", "10.0.0.1:4000", false, []string{"X-Forwarded-For", "198.51.100.7, " + many + "10.0.0.1"}, "10.0.0.1"},
		{"the field that is not configured", "10.0.0.1:4000", false, []string{"Forwarded", "for=198.51.100.7"}, "10.0.0.1"},

		{"Forwarded", "10.0.0.1:4000", true, []string{"Forwarded", "for=198.51.100.7;proto=https"}, "198.51.100.7"},
		{"Forwarded, the other field", "10.0.0.1:4000", true, []string{"X-Forwarded-For", "198.51.100.7"}, "10.0.0.1"},
		{"Forwarded, a chain", "10.0.0.1:4000", true, []string{"Forwarded", "for=1.1.1.1, For=\"198.51.100.7:80\", for=10.0.0.2;by=10.0.0.1"}, "198.51.100.7"},
		{"Forwarded, IPv6", "10.0.0.1:4000", true, []string{"Forwarded", `for="[2001:db8::7]:4711"`}, "2001:db8::7"},
		{"Forwarded, hidden", "10.0.0.1:4000", true, []string{"Forwarded", "for=_hidden"}, "10.0.0.1"},
		{"Forwarded, an open quotation mark", "10.0.0.1:4000", true, []string{"Forwarded", `for="1.1.1.1, for=198.51.100.7`}, "198.51.100.7"},
		{"Forwarded, an escape", "10.0.0.1:4000", true, []string{"Forwarded", `for="1\.1.1.1"`}, "10.0.0.1"},
		{"Forwarded, twice", "10.0.0.1:4000", true, []string{"Forwarded", "for=1.1.1.1;for=198.51.100.7"}, "10.0.0.1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if got := from(newProxies(trusted, test.forwarded), test.peer, test.headers...); got != test.want {
				t.Errorf("the client is %s, want %s", got, test.want)
			}
		})
	}
	if got := from(newProxies(nil, false), "10.0.0.1:4000", "X-Forwarded-For", "198.51.100.7"); got != "10.0.0.1" {
		t.Errorf("without trusted proxies the client is %s", got)
	}
}

// Whatever stands in the field, nobody becomes a client that a proxy did not name.
func FuzzForwarded(f *testing.F) {
	for _, seed := range []string{
		"198.51.100.7", "1.1.1.1, 10.0.0.2", `for="[2001:db8::7]:80";by=x, for=10.0.0.1`, `for="`, ",,,", "[::", "for=;", `\`, "unknown", "\x00",
	} {
		f.Add(seed)
	}
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, list string) {
		for _, forwarded := range []bool{false, true} {
			p := newProxies(trusted, forwarded)
			field := string(p.field)
			// A client sends the list, and a proxy adds it.
			last := "198.51.100.7"
			if forwarded {
				last = "for=198.51.100.7"
			}
			if got := from(p, "10.0.0.1:80", field, list+", "+last); got != "198.51.100.7" {
				t.Errorf("%q made the client %s", list, got)
			}
			if got := from(p, "192.0.2.1:80", field, list); got != "192.0.2.1" {
				t.Errorf("%q made a stranger %s", list, got)
			}
			_ = from(p, "10.0.0.1:80", field, list)
		}
	})
}

func TestProxiesAreBelievedByTheRoutes(t *testing.T) {
	t.Parallel()
	m := newFakeMarket()
	m.answer.Tier = "source" // What is at hand would cost less.
	opts := options(m)
	opts.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	opts.RateLimit = &RateLimit{Requests: 1, Per: 3600e9, Burst: 2}
	g := started(t, opts, defaultLimits())
	asked := func(client string) int {
		t.Helper()
		req, err := http.NewRequest(http.MethodGet, "http://"+g.Addr()+"/api/market-data/btc", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", client)
		r, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
		return r.StatusCode
	}
	for _, want := range []int{200, 200, 429} {
		if got := asked("198.51.100.7"); got != want {
			t.Errorf("status %d, want %d", got, want)
		}
	}
	if got := asked("198.51.100.8"); got != 200 {
		t.Errorf("another client behind the same proxy gets %d", got)
	}
}
