package gateway

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

func TestAdminToken(t *testing.T) {
	opts := options(newFakeMarket())
	op := &fakeOperator{}
	opts.Operator, opts.AdminToken = op, "correct horse"
	g := newTest(t, opts)
	for name, tt := range map[string]struct {
		header []string
		status int
	}{
		"right":          {[]string{"Authorization", "Bearer correct horse"}, 200},
		"right, in case": {[]string{"Authorization", "bearer correct horse"}, 200},
		"none":           {nil, 404},
		"wrong":          {[]string{"Authorization", "Bearer wrong horse"}, 404},
		"prefix":         {[]string{"Authorization", "Bearer correct"}, 404},
		"other scheme":   {[]string{"Authorization", "Basic correct horse"}, 404},
		"empty":          {[]string{"Authorization", "Bearer "}, 404},
	} {
		t.Run(name, func(t *testing.T) {
			r := get(t, g, "/admin/status", tt.header...)
			if r.StatusCode != tt.status {
				t.Errorf("%d: %s", r.StatusCode, r.body)
			}
			if tt.status == 404 {
				if p := isProblem(t, r, 404); p.Code != "unknown_route" {
					t.Errorf("%+v", p)
				}
			}
			if got := r.Header.Get("Access-Control-Allow-Origin"); got != "" {
				t.Errorf("open to any origin: %q", got)
			}
			change := send(t, g, http.MethodPost, "/admin/islands/cache/restart", "", tt.header...)
			if change.StatusCode != tt.status {
				t.Errorf("POST: %d", change.StatusCode)
			}
		})
	}
	if want := []string{"restart cache", "restart cache"}; !slices.Equal(op.told, want) {
		t.Errorf("told %q, want %q", op.told, want)
	}
}

func TestAdminSocket(t *testing.T) {
	opts := options(newFakeMarket())
	op := &fakeOperator{}
	log := &logLines{}
	opts.Logger = hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Info})
	opts.Operator, opts.AdminSocket = op, filepath.Join(t.TempDir(), "admin.sock")
	started(t, opts, defaultLimits())
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", opts.AdminSocket)
		},
	}}
	for name, tt := range map[string]struct {
		method, path, body string
		status             int
		answer, told       string
	}{
		"status":          {"GET", "/admin/status", "", 200, `{"what":"status","value":0}`, ""},
		"crashes":         {"GET", "/admin/islands/cache/crashes", "", 200, `[]`, "crashes cache"},
		"restart":         {"POST", "/admin/islands/cache/restart", "", 200, `{"island":"cache","result":"restarted"}`, "restart cache"},
		"restart, object": {"POST", "/admin/islands/cache/restart", "{}", 200, `{"island":"cache","result":"restarted"}`, "restart cache"},
		"reload":          {"POST", "/admin/reload", "{}", 200, `{"result":"reloaded"}`, "reload"},
		"reset":           {"POST", "/admin/islands/cache/reset", "", 200, `{"island":"cache","result":"reset"}`, "reset cache"},
		"swap":            {"POST", "/admin/islands/cache/swap", "", 200, `{"island":"cache","result":"swapped"}`, "swap cache  "},
		"swap to": {
			"POST", "/admin/islands/cache/swap", `{"to":"/opt/cache","sha256":"` + strings.Repeat("0a", 32) + `"}`, 200,
			`{"island":"cache","result":"swapped"}`, "swap cache /opt/cache " + strings.Repeat("0a", 32),
		},
		"debugger": {
			"POST", "/admin/islands/cache/attach", `{"debugger":["dlv","exec"]}`, 200, `{"island":"cache","result":"attached"}`, "attach cache dlv exec",
		},
		"debugger, kept":      {"POST", "/admin/islands/cache/keep", "", 200, `{"island":"cache","result":"kept"}`, "keep cache"},
		"debugger, no more":   {"POST", "/admin/islands/cache/detach", "{}", 200, `{"island":"cache","result":"detached"}`, "detach cache"},
		"no debugger":         {"POST", "/admin/islands/cache/attach", `{"debugger":[]}`, 400, "", ""},
		"no debugger's name":  {"POST", "/admin/islands/cache/attach", `{"debugger":["","x"]}`, 400, "", ""},
		"debugger, no list":   {"POST", "/admin/islands/cache/attach", `{"debugger":"dlv"}`, 400, "", ""},
		"debugger with zeros": {"POST", "/admin/islands/cache/attach", `{"debugger":["a\u0000b"]}`, 400, "", ""},
		"debugger, too long":  {"POST", "/admin/islands/cache/attach", `{"debugger":["` + strings.Repeat("x", 5000) + `"]}`, 400, "", ""},
		"swap to somewhere":   {"POST", "/admin/islands/cache/swap", `{"to":"cache"}`, 400, "", ""},
		"swap, no checksum":   {"POST", "/admin/islands/cache/swap", `{"sha256":"xyz"}`, 400, "", ""},
		"invalidate":          {"POST", "/admin/cache/invalidate", `{"patterns":["crypto_report_*","global"]}`, 200, `{"invalidated":2}`, "invalidate"},
		"tier off":            {"POST", "/admin/cache/tiers/l2", `{"enabled":false}`, 200, `{"enabled":false,"tier":"l2"}`, "disable l2"},
		"tier on":             {"POST", "/admin/cache/tiers/l1", `{"enabled":true}`, 200, `{"enabled":true,"tier":"l1"}`, "enable l1"},
		"unknown tier":        {"POST", "/admin/cache/tiers/l3", `{"enabled":true}`, 404, "", ""},
		"no word":             {"POST", "/admin/cache/tiers/l1", `{}`, 400, "", ""},
		"unknown member":      {"POST", "/admin/cache/invalidate", `{"pattern":["x"]}`, 400, "", ""},
		"wrong type":          {"POST", "/admin/cache/invalidate", `{"patterns":"x"}`, 400, "", ""},
		"no patterns":         {"POST", "/admin/cache/invalidate", `{"patterns":[]}`, 400, "", ""},
		"empty pattern":       {"POST", "/admin/cache/invalidate", `{"patterns":[""]}`, 400, "", ""},
		"no body":             {"POST", "/admin/cache/invalidate", ``, 400, "", ""},
		"two bodies":          {"POST", "/admin/cache/invalidate", `{"patterns":["x"]}{}`, 400, "", ""},
		"broken body":         {"POST", "/admin/cache/invalidate", `{"patterns":`, 400, "", ""},
		"no path":             {"POST", "/admin/islands/..%2f/restart", "", 404, "", ""},
		"reading changes":     {"GET", "/admin/islands/cache/restart", "", 405, "", ""},
		"not the API":         {"GET", "/api/crypto-report/btc", "", 404, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			op.told = nil
			req, err := http.NewRequest(tt.method, "http://admin"+tt.path, strings.NewReader(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			r, err := client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(r.Body)
			_ = r.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			got := response{Response: r, body: body}
			if tt.status != 200 {
				isProblem(t, got, tt.status)
			} else if string(body) != tt.answer || r.StatusCode != http.StatusOK {
				t.Errorf("%d %s", r.StatusCode, body)
			}
			if strings.Join(op.told, ",") != tt.told {
				t.Errorf("told %q, want %q", op.told, tt.told)
			}
			// What a program asks for every few seconds is no news.
			told := len(log.with("operator request: path="+tt.path)) > 0
			if want := tt.method == http.MethodPost && !strings.HasSuffix(tt.path, "/keep"); tt.status == http.StatusOK && told != want {
				t.Errorf("a line of the log: %t", told)
			}
		})
	}
}

func TestOperatorsSeeTheErrorItself(t *testing.T) {
	opts := options(newFakeMarket())
	opts.Operator, opts.AdminToken = &fakeOperator{err: sdk.Errorf(sdk.NotFound, `no island "cash"; there is "cache"`)}, "t"
	g := newTest(t, opts)
	p := isProblem(t, send(t, g, http.MethodPost, "/admin/islands/cash/reset", "", "Authorization", "Bearer t"), http.StatusNotFound)
	if p.Detail != `no island "cash"; there is "cache"` {
		t.Errorf("%+v", p)
	}
	opts.Operator = &fakeOperator{err: errors.New("exec /no/such/binary")}
	g = newTest(t, opts)
	p = isProblem(t, send(t, g, http.MethodPost, "/admin/islands/cash/restart", "", "Authorization", "Bearer t"), http.StatusInternalServerError)
	if p.Detail != "exec /no/such/binary" {
		t.Errorf("%+v", p)
	}
}
