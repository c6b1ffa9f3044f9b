package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// asProgram makes the test binary stand for the program.
const asProgram = "WATCH_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	verifyNoLeaks(m)
}

// feedServer serves the script over TCP and returns the address of the feed.
func feedServer(t *testing.T, script func(s *server)) string {
	t.Helper()
	var n atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.CloseNow() }()
		script(&server{t: t, conn: conn, n: int(n.Add(1)), at: time.Now()})
	}))
	t.Cleanup(web.Close)
	return "ws" + strings.TrimPrefix(web.URL, "http") + "/ws"
}

func TestArguments(t *testing.T) {
	for _, test := range []struct{ name, args, err string }{
		{"unknown flag", "--colour", "flag provided but not defined: -colour; see --help"},
		{"both", "--plain --json", "--plain and --json exclude each other"},
		{"no address", "--url nowhere", `--url wants an address such as ws://127.0.0.1:3000/ws, not "nowhere"`},
		{"another scheme", "--url http://127.0.0.1/ws", `--url wants an address such as ws://127.0.0.1:3000/ws, not "http://127.0.0.1/ws"`},
		{"a flag too late", "btc --plain", `"--plain" is no symbol: letters, digits and dashes, at most 32, behind the flags`},
		{"a channel", "ticker:btc", `"ticker:btc" is no symbol: letters, digits and dashes, at most 32, behind the flags`},
		{"too many", strings.Repeat("btc ", 101), "101 symbols, at most 100 can be named; without any, all are shown"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := run(t.Context(), strings.Fields(test.args), &safeBuffer{}, &safeBuffer{})
			if err == nil || err.Error() != test.err {
				t.Errorf("%v\nwant %s", err, test.err)
			}
		})
	}
}

func TestHelp(t *testing.T) {
	var out, errs safeBuffer
	err := run(t.Context(), []string{"--help"}, &out, &errs)
	if err != nil || errs.String() != "" || !strings.HasPrefix(out.String(), "Usage: watch ") || !strings.Contains(out.String(), "-url") {
		t.Errorf("%v %q %q", err, out.String(), errs.String())
	}
}

// TestInPipe is the whole program: named symbols, a line per update, an end in order.
func TestInPipe(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var shown session
	url := feedServer(t, func(s *server) {
		s.send(welcome)
		if want := []string{"ticker:btc", "ticker:eth", "global", "islands"}; !slices.Equal(s.subscribed().Channels, want) {
			t.Errorf("asked for something else than %v", want)
		}
		s.send(`{"type":"subscribed","id":1,"data":{"ticker:btc":{"ok":true},"ticker:eth":{"ok":true},"global":{"ok":true},"islands":{"ok":true}}}`,
			ticker("snapshot", "ticker:btc", "a", 1, "btc 7"), ticker("market_update", "ticker:eth", "a", 1, "eth 8"))
		for strings.Count(shown.out.String(), "\n") < 2 {
			time.Sleep(time.Millisecond)
		}
		stop()
		if code := s.closed(); code != websocket.StatusNormalClosure {
			t.Errorf("closed with %d", code)
		}
	})
	if err := run(ctx, []string{"--url", url, "ETH", "btc", "eth"}, &shown.out, &shown.errs); err != nil {
		t.Error(err)
	}
	if shown.values() != "btc 7, eth 8" || shown.errs.String() != "connected\n" {
		t.Errorf("%s\n%s", shown.values(), shown.errs.String())
	}
}
