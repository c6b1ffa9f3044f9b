package gateway

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/service-islands/islands/host/internal/gateway/hub"
)

func TestHandshake(t *testing.T) {
	l := startLive(t, hub.Options{})
	cases := map[string][]string{
		"plain":                   handshake(),
		"tokens in lists":         {"Connection", "keep-alive, Upgrade", "Upgrade", "h2c, WebSocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
		"names in another case":   {"connection", "upgrade", "UPGRADE", "websocket", "sec-websocket-version", "13", "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="},
		"a subprotocol":           handshake("Sec-WebSocket-Protocol", "chat, superchat"),
		"an unknown extension":    handshake("Sec-WebSocket-Extensions", "permessage-bzip2"),
		"an offer of compression": handshake("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits"),
		"a second offer":          handshake("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=10, permessage-deflate"),
		"an offer in a field of its own": handshake(
			"Sec-WebSocket-Extensions", "permessage-bzip2", "Sec-WebSocket-Extensions", "permessage-deflate"),
		"no acceptable offer": handshake("Sec-WebSocket-Extensions", "permessage-deflate; server_max_window_bits=10"),
	}
	for name, headers := range cases {
		t.Run(name, func(t *testing.T) {
			r := l.ask(t, http.MethodGet, "/ws", headers...)
			if r.status != http.StatusSwitchingProtocols {
				t.Fatalf("status %d", r.status)
			}
			if got := r.header.Get("Sec-WebSocket-Accept"); got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Errorf("accepts with %q", got)
			}
			if got := r.header.Get("Sec-WebSocket-Protocol"); got != "" {
				t.Errorf("chose the subprotocol %q", got)
			}
			want := ""
			if strings.HasPrefix(name, "an offer") || name == "a second offer" {
				want = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
			}
			if got := r.header.Get("Sec-WebSocket-Extensions"); got != want {
				t.Errorf("extensions %q, want %q", got, want)
			}
			if r.header.Get("X-Request-Id") == "" {
				t.Error("no request id")
			}
		})
	}
	until(t, "all are let in", func() bool { return l.hub.Stats().Connected == uint64(len(cases)) })
}

func TestHandshakeRefusals(t *testing.T) {
	l := startLive(t, hub.Options{MaxSubscriptions: 3}, "https://islands.example")
	without := func(name string) []string {
		headers := handshake()
		i := slices.Index(headers, name)
		return slices.Delete(headers, i, i+2)
	}
	with := func(name, value string) []string { return append(without(name), name, value) }
	cases := map[string]struct {
		target  string
		headers []string
		status  int
		code    string
	}{
		"a plain request":       {"/ws", nil, 426, "upgrade_required"},
		"no upgrade":            {"/ws", without("Upgrade"), 426, "upgrade_required"},
		"another upgrade":       {"/ws", with("Upgrade", "h2c"), 426, "upgrade_required"},
		"no connection":         {"/ws", without("Connection"), 426, "upgrade_required"},
		"a connection to close": {"/ws", with("Connection", "close"), 426, "upgrade_required"},
		"no version":            {"/ws", without("Sec-WebSocket-Version"), 426, "upgrade_required"},
		"an old version":        {"/ws", with("Sec-WebSocket-Version", "8"), 426, "upgrade_required"},
		"no key":                {"/ws", without("Sec-WebSocket-Key"), 426, "upgrade_required"},
		"a short key":           {"/ws", with("Sec-WebSocket-Key", "c2hvcnQ="), 426, "upgrade_required"},
		"a key that is none":    {"/ws", with("Sec-WebSocket-Key", "!!!!!!!!!!!!!!!!!!!!!!=="), 426, "upgrade_required"},
		"an unknown channel":    {"/ws?channels=ticker:btc,ticker:bct", handshake(), 400, "invalid_parameter"},
		"too many channels":     {"/ws?channels=global,global,global,global", handshake(), 400, "invalid_parameter"},
		"an unknown parameter":  {"/ws?chanels=global", handshake(), 400, "invalid_parameter"},
		"another origin":        {"/ws", handshake("Origin", "https://evil.example"), 403, "origin_not_allowed"},
		"a stream, unknown":     {"/api/stream?channels=tickers", nil, 400, "invalid_parameter"},
		"a stream, origin":      {"/api/stream", []string{"Origin", "https://evil.example"}, 403, "origin_not_allowed"},
		"a stream as HTML":      {"/api/stream", []string{"Accept", "text/html"}, 406, "not_acceptable"},
		"a stream, refused":     {"/api/stream", []string{"Accept", "text/event-stream;q=0, */*;q=0"}, 406, "not_acceptable"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := l.refusal(t, http.MethodGet, tc.target, tc.headers...)
			p := isProblem(t, r, tc.status)
			if p.Code != tc.code {
				t.Errorf("code %q", p.Code)
			}
			if tc.status == http.StatusUpgradeRequired && (r.Header.Get("Upgrade") != "websocket" || r.Header.Get("Sec-WebSocket-Version") != "13") {
				t.Errorf("does not say what is wanted: %v", r.Header)
			}
			if strings.Contains(tc.target, "bct") && !strings.Contains(string(r.body), "ticker:bct") {
				t.Errorf("does not name the channel: %s", r.body)
			}
		})
	}
	if s := l.hub.Stats(); s.Connected != 0 {
		t.Errorf("%d clients were let in", s.Connected)
	}
}

func TestHead(t *testing.T) {
	l := startLive(t, hub.Options{})
	for target, status := range map[string]int{"/ws": 426, "/api/stream": 200, "/api/stream?channels=no": 400} {
		r := l.refusal(t, http.MethodHead, target)
		if r.StatusCode != status || len(r.body) != 0 {
			t.Errorf("%s: %d with %d bytes", target, r.StatusCode, len(r.body))
		}
		if got := r.Header.Get("Content-Type"); target == "/api/stream" && got != eventStreamType {
			t.Errorf("content type %q", got)
		}
	}
	if r := l.refusal(t, http.MethodHead, "/ws", handshake()...); r.StatusCode != http.StatusUpgradeRequired {
		t.Errorf("a HEAD that wants a WebSocket: %d", r.StatusCode)
	}
	if r := l.refusal(t, http.MethodPost, "/ws", handshake("Content-Length", "0")...); r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST that wants a WebSocket: %d", r.StatusCode)
	}
	if s := l.hub.Stats(); s.Connected != 0 {
		t.Errorf("%d clients were let in", s.Connected)
	}
}

func TestOrigins(t *testing.T) {
	l := startLive(t, hub.Options{}, "https://islands.example", "https://*.pages.example", "http://localhost:8080")
	open := startLive(t, hub.Options{}, "*")
	none := startLive(t, hub.Options{})
	cases := map[string]struct {
		at     *liveFeed
		origin string
		ok     bool
	}{
		"none":                        {l, "", true},
		"exact":                       {l, "https://islands.example", true},
		"in capitals":                 {l, "HTTPS://Islands.Example", true},
		"another scheme":              {l, "http://islands.example", false},
		"another port":                {l, "https://islands.example:8443", false},
		"with its port":               {l, "http://localhost:8080", true},
		"without its port":            {l, "http://localhost", false},
		"below a domain":              {l, "https://a.pages.example", true},
		"far below a domain":          {l, "https://a.b.pages.example", true},
		"the domain itself":           {l, "https://pages.example", false},
		"another that ends so":        {l, "https://evilpages.example", false},
		"one that only begins so":     {l, "https://a.pages.example.evil.example", false},
		"a path that ends so":         {l, "https://evil.example/.pages.example", false},
		"a user that begins so":       {l, "https://evil.example@x.pages.example", false},
		"a port below a domain":       {l, "https://a.pages.example:1", false},
		"an opaque one":               {l, "null", false},
		"any":                         {open, "https://evil.example", true},
		"an opaque one where any may": {open, "null", true},
		"where none may":              {none, "https://islands.example", false},
		"no page where none may":      {none, "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var headers []string
			if tc.origin != "" {
				headers = []string{"Origin", tc.origin}
			}
			socket := tc.at.ask(t, http.MethodGet, "/ws", handshake(headers...)...)
			stream := tc.at.ask(t, http.MethodGet, "/api/stream", headers...)
			want := [2]int{http.StatusForbidden, http.StatusForbidden}
			if tc.ok {
				want = [2]int{http.StatusSwitchingProtocols, http.StatusOK}
			}
			if got := [2]int{socket.status, stream.status}; got != want {
				t.Errorf("%d, want %d", got, want)
			}
		})
	}
}

func TestTooMany(t *testing.T) {
	cases := map[string]struct {
		opts   hub.Options
		status int
		code   string
	}{
		"in all":           {hub.Options{MaxConnections: 2}, 503, "feed_full"},
		"from one address": {hub.Options{MaxPerAddress: 2}, 429, "too_many_connections"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			l := startLive(t, tc.opts)
			first := l.rawDial(t, "/ws", "")
			second := l.events(t, "/api/stream")
			l.clients(t, 2)
			for target, headers := range map[string][]string{"/ws": handshake(), "/api/stream": nil} {
				r := l.refusal(t, http.MethodGet, target, headers...)
				if p := isProblem(t, r, tc.status); p.Code != tc.code || !p.Retryable {
					t.Errorf("%s: %s", target, r.body)
				}
				if r.Header.Get("Retry-After") == "" || r.Header.Get("RateLimit") == "" {
					t.Errorf("%s does not say when to come back: %v", target, r.Header)
				}
			}
			_, _ = first.Close(), second.Close()
			l.clients(t, 0)
			l.rawDial(t, "/ws", "").await("welcome")
			if s := l.hub.Stats(); s.Refused != 2 {
				t.Errorf("%d refusals counted", s.Refused)
			}
		})
	}
}

// TestAnImpatientClient sends frames before it has heard that it may.
func TestAnImpatientClient(t *testing.T) {
	l := startLive(t, hub.Options{MessagesPerSecond: 100})
	l.publish(3)
	ask := `{"action":"subscribe","channels":["ticker:eth"],"id":"` + strings.Repeat("i", 50) + `"}`
	var behind strings.Builder
	n := 0
	for behind.Len() < 2<<10 {
		behind.WriteString(clientFrame(0x81, ask) + clientFrame(0x89, "now"))
		n++
	}
	s := l.rawDial(t, "/ws", behind.String())
	for range n {
		s.await("subscribed")
		s.await("pong now")
	}
	s.write(clientFrame(0x88, "\x03\xe8"))
	if got := s.rest(); got[len(got)-1] != "close 1000" {
		t.Errorf("ended with %q", got)
	}
	m, err := s.next()
	if !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %q, %v", m.brief(), err)
	}
}
