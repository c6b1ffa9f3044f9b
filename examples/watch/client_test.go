package main

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"
)

var inLines = options{lines: true}

func TestResumes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away time.Time
		s := watching(t, inLines, nil, func(s *server, stop func()) {
			switch s.n {
			case 1:
				if since := s.begin(false); since != (position{}) {
					t.Errorf("a new client was at %v", since)
				}
				s.send(snapshot("a", 10, "btc 1, eth 2"), update("a", 11, "btc 2"))
				away = time.Now()
			case 2:
				if wait := s.at.Sub(away); wait >= firstBackoff {
					t.Errorf("back after %v", wait)
				}
				if since := s.begin(true); since != (position{"a", 11}) {
					t.Errorf("the client was at %v", since)
				}
				s.send(update("a", 12, "btc 3"), update("a", 13, "eth 4"))
				stop()
				if code := s.closed(); code != websocket.StatusNormalClosure {
					t.Errorf("closed with %d", code)
				}
			}
		})
		if s.err != nil {
			t.Error(s.err)
		}
		if diff := cmp.Diff("btc 1, eth 2, btc 2, btc 3, eth 4", s.values()); diff != "" {
			t.Error(diff)
		}
		if strings.Contains(s.errs.String(), "hole") || strings.Count(s.errs.String(), "connected\n") != 2 {
			t.Error(s.errs.String())
		}
	})
}

func TestShutdownSaysWhenToReturn(t *testing.T) {
	for _, test := range []struct {
		name  string
		after time.Duration
		stays time.Duration // between the message and the close.
		want  time.Duration
	}{
		{"in a while", 7 * time.Second, 0, 7 * time.Second},
		{"counted from the message", 7 * time.Second, 3 * time.Second, 7 * time.Second},
		{"at once", 0, 0, 0},
		{"in the past", time.Second, 3 * time.Second, 3 * time.Second},
		{"next year", 365 * 24 * time.Hour, 0, longestWait},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var told, back time.Time
				s := watching(t, inLines, nil, func(s *server, stop func()) {
					if s.n == 2 {
						back = s.at
						stop()
						s.closed()
						return
					}
					s.begin(false)
					told = time.Now()
					s.send(shutdownAfter(test.after))
					time.Sleep(test.stays)
					_ = s.conn.Close(4001, "shutdown")
				})
				if got := back.Sub(told); s.err != nil || got != test.want {
					t.Errorf("back after %v, want %v; %v", got, test.want, s.err)
				}
				if !strings.Contains(s.errs.String(), "closed with 4001 shutdown") {
					t.Error(s.errs.String())
				}
			})
		})
	}
}

func TestCloseCodes(t *testing.T) {
	for _, test := range []struct {
		code    websocket.StatusCode
		returns bool
	}{
		{1000, true},
		{1001, true},
		{1011, true},
		{3000, true},
		{4000, true},
		{4008, true},
		{4499, true},
		{4500, false},
		{4501, false},
		{4503, false},
		{4999, false},
	} {
		t.Run(test.code.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				returned := false
				s := watching(t, inLines, nil, func(s *server, stop func()) {
					if s.n == 2 {
						returned = true
						if since := s.begin(false); since != (position{"a", 3}) {
							t.Errorf("the client was at %v", since)
						}
						stop()
						s.closed()
						return
					}
					s.begin(false)
					s.send(snapshot("a", 3, "btc 1"))
					_ = s.conn.Close(test.code, "because")
				})
				if returned != test.returns || (s.err == nil) != test.returns {
					t.Errorf("returned: %v, %v", returned, s.err)
				}
				if said := s.errs.String(); test.returns && !strings.Contains(said, "because") {
					t.Error(said)
				}
				if s.err != nil && !strings.Contains(s.err.Error(), "because") {
					t.Error(s.err)
				}
			})
		})
	}
}

func TestHolesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := watching(t, inLines, nil, func(s *server, stop func()) {
			s.begin(false)
			s.send(snapshot("a", 10, "btc 1"), update("a", 11, "btc 2"), update("a", 15, "btc 6"), update("a", 16, "btc 7"))
			stop()
			s.closed()
		})
		if want := "connected\nhole in ticker:*: 3 lost between seq 11 and 15\n"; s.errs.String() != want {
			t.Errorf("%q, want %q", s.errs.String(), want)
		}
		if s.values() != "btc 1, btc 2, btc 6, btc 7" {
			t.Error(s.values())
		}
	})
}

// TestEpochWithoutSnapshot comes back for one, without claiming to know anything.
func TestEpochWithoutSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := watching(t, inLines, nil, func(s *server, stop func()) {
			since := s.begin(false)
			if s.n == 1 {
				s.send(snapshot("a", 10, "btc 1, eth 1"), update("b", 11, "btc 2"))
				s.closed()
				return
			}
			if since != (position{}) {
				t.Errorf("the client was at %v", since)
			}
			s.send(snapshot("b", 11, "btc 2, eth 3"))
			stop()
			s.closed()
		})
		if s.values() != "btc 1, eth 1, btc 2, eth 3" || !strings.Contains(s.errs.String(), "ticker:* began a new epoch without a snapshot") {
			t.Errorf("%s\n%s", s.values(), s.errs.String())
		}
	})
}

func TestSilence(t *testing.T) {
	const short = `{"type":"welcome","data":{"heartbeat_interval_ms":1000}}`
	for _, test := range []struct {
		name  string
		greet string
		live  func(s *server) // what the server still shows of itself.
		want  time.Duration   // until the connection is given up, from the last of it on.
	}{
		{"from the start on", "", func(*server) {}, 45 * time.Second},
		{"after a welcome", short, func(*server) {}, 3 * time.Second},
		{"a welcome without an interval", `{"type":"welcome","data":{}}`, func(*server) {}, 45 * time.Second},
		{"an absurd interval", `{"type":"welcome","data":{"heartbeat_interval_ms":1e300}}`, func(*server) {}, 15 * time.Minute},
		{"after heartbeats", short, func(s *server) {
			for range 5 {
				time.Sleep(2900 * time.Millisecond)
				s.send(`{"type":"heartbeat","data":null,"timestamp":"2026-11-05T12:00:00Z"}`)
			}
		}, 3 * time.Second},
		{"after pings", short, func(s *server) {
			for range 5 {
				time.Sleep(2900 * time.Millisecond)
				if err := s.conn.Ping(s.t.Context()); err != nil {
					s.t.Error(err)
				}
			}
		}, 3 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := watching(t, inLines, nil, func(s *server, stop func()) {
					if s.n == 2 {
						stop()
						s.closed()
						return
					}
					if test.greet != "" {
						s.send(test.greet)
					}
					s.subscribed()
					reading := s.conn.CloseRead(s.t.Context()) // Or pongs would not be read.
					test.live(s)
					last := time.Now()
					<-reading.Done()
					if got := time.Since(last); got != test.want {
						t.Errorf("given up after %v, want %v", got, test.want)
					}
				})
				if s.err != nil || !strings.Contains(s.errs.String(), "nothing heard for ") {
					t.Errorf("%v\n%s", s.err, s.errs.String())
				}
			})
		})
	}
}

func TestHandshakes(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		header string // Retry-After.
		met    bool   // there was a feed before.
		wait   time.Duration
		err    string
	}{
		{"no feed there", 404, "", false, 0, "the answer is 404 Not Found"},
		{"not for this origin", 403, "", false, 0, "the answer is 403 Forbidden"},
		{"a moment's mistake", 404, "", true, -1, ""},
		{"full, in a while", 503, "5", false, 5 * time.Second, ""},
		{"full, until", 503, "Sat, 01 Jan 2000 00:01:00 GMT", false, time.Minute, ""},
		{"too often", 429, "2", false, 2 * time.Second, ""},
		{"too often, no time", 429, "", false, -1, ""},
		{"broken", 500, "", false, -1, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var refused, back time.Time
				at := 1
				if test.met {
					at = 2
				}
				s := watching(t, inLines, func(n int, w http.ResponseWriter) bool {
					if n != at {
						back = time.Now()
						return false
					}
					if test.header != "" {
						w.Header().Set("Retry-After", test.header)
					}
					w.WriteHeader(test.status)
					refused = time.Now()
					return true
				}, func(s *server, stop func()) {
					s.send(welcome)
					s.subscribed()
					if s.n > at {
						stop()
						s.closed()
					}
				})
				switch {
				case test.err != "":
					if s.err == nil || s.err.Error() != test.err {
						t.Errorf("%v, want %s", s.err, test.err)
					}
				case s.err != nil:
					t.Error(s.err)
				case test.wait < 0 && back.Sub(refused) >= 2*firstBackoff:
					t.Errorf("back after %v", back.Sub(refused))
				case test.wait >= 0 && back.Sub(refused) != test.wait:
					t.Errorf("back after %v, want %v", back.Sub(refused), test.wait)
				}
			})
		})
	}
}

// TestBackoff: each wait is below its bound, they are not one and the same, and a connection that stood begins anew.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const attempts = 40
		var ended time.Time
		var waits []time.Duration
		s := watching(t, inLines, func(n int, w http.ResponseWriter) bool {
			if n > 1 {
				waits = append(waits, time.Since(ended))
			}
			ended = time.Now()
			if n > attempts {
				return false
			}
			w.WriteHeader(http.StatusBadGateway)
			return true
		}, func(s *server, stop func()) {
			if s.n == attempts+1 {
				s.begin(false)
				time.Sleep(settled)
				ended = time.Now()
				return
			}
			stop()
			s.closed()
		})
		if s.err != nil || len(waits) != attempts+1 {
			t.Fatalf("%d waits, %v", len(waits), s.err)
		}
		bound, different := firstBackoff, false
		for i, wait := range waits[:attempts] {
			if wait > bound {
				t.Errorf("wait %d is %v, beyond %v", i, wait, bound)
			}
			different = different || wait != waits[0]
			bound = min(2*bound, longestBackoff)
		}
		if last := waits[attempts]; last >= firstBackoff || !different {
			t.Errorf("back after %v; %v", last, waits)
		}
	})
}

func TestUnreadableMessages(t *testing.T) {
	for _, test := range []struct{ name, message, said string }{
		{"no JSON", "{", "a message that cannot be read"},
		{"data of another form", `{"type":"subscribed","id":1,"data":7}`, "subscribed with unreadable data"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := watching(t, inLines, nil, func(s *server, stop func()) {
					s.subscribed()
					if s.n == 1 {
						s.send(test.message)
					} else {
						stop()
					}
					s.closed()
				})
				if s.err != nil || !strings.Contains(s.errs.String(), test.said) {
					t.Errorf("%v\n%s", s.err, s.errs.String())
				}
			})
		})
	}
}

// TestLeavesThoughNobodyAnswers: a host that is silent holds the program up for a moment only.
func TestLeavesThoughNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told time.Time
		s := watching(t, inLines, nil, func(s *server, stop func()) {
			s.subscribed()
			told = time.Now()
			stop()
			time.Sleep(time.Hour)
		})
		if took := s.ended.Sub(told); s.err != nil || took > farewell {
			t.Errorf("left after %v, %v", took, s.err)
		}
	})
}
