package gateway

import (
	"errors"
	"net/http"
	"testing"

	"github.com/service-islands/islands/sdk"
)

func TestSetReports(t *testing.T) {
	g := newTest(t, options(newFakeMarket()))
	status := func(path string) int {
		t.Helper()
		return get(t, g, path).StatusCode
	}
	if status("/api/crypto-report/btc") != http.StatusOK || status("/api/brief/btc") != http.StatusNotFound {
		t.Fatal("the reports are others from the start")
	}
	if err := g.SetReports(map[string][]string{"brief": {"md"}}); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{
		"/api/brief/btc": 200, "/api/brief/btc?format=html": 400, "/api/crypto-report/btc": 404, "/api/crypto-report/": 404,
		"/api/brief/": 400, "/api/market-data/btc": 200, "/health/live": 200, "/admin/status": 404,
	} {
		if got := status(path); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	for name, reports := range map[string]map[string][]string{
		"a route that there is": {"candles": {"json"}}, "no name": {"a/b": {"json"}}, "no format": {"x": nil},
	} {
		if err := g.SetReports(reports); !errors.Is(err, sdk.InvalidArgument) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := status("/api/brief/btc"); got != http.StatusOK {
		t.Errorf("what was refused has changed something: %d", got)
	}
}
