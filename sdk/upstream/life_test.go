package upstream_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/upstream"
)

func TestLife(t *testing.T) {
	status := http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
	defer server.Close()

	var life upstream.Life
	if health := life.Health(t.Context()); health.Status != sdk.StatusFailed {
		t.Errorf("before Initialize: %+v", health)
	}
	if metrics, err := life.Metrics(t.Context()); metrics != nil || err != nil {
		t.Errorf("before Initialize: %v, %v", metrics, err)
	}
	if err := life.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}

	life.Client = upstream.New(upstream.Options{BaseURL: server.URL})
	if health := life.Health(t.Context()); health.Status != sdk.StatusOK {
		t.Errorf("unused: %+v", health)
	}
	status = http.StatusInternalServerError
	if err := life.Client.GetJSON(t.Context(), upstream.Request{Path: "/"}, new(any)); !errors.Is(err, sdk.Unavailable) {
		t.Error(err)
	}
	health := life.Health(t.Context())
	if part, ok := health.Part("upstream"); !ok || health.Status != sdk.StatusDegraded || health.Reason != part.Reason {
		t.Errorf("while it fails: %+v", health)
	}
	metrics, err := life.Metrics(t.Context())
	if n, ok := metrics.Value("upstream_calls_total", map[string]string{"outcome": "unavailable"}); err != nil || !ok || n != 1 {
		t.Errorf("%v failed calls, %v", n, err)
	}
	if err := errors.Join(life.Shutdown(t.Context()), life.Shutdown(t.Context())); err != nil {
		t.Error(err)
	}
	if err := life.Client.GetJSON(t.Context(), upstream.Request{Path: "/"}, new(any)); !errors.Is(err, sdk.Unavailable) {
		t.Errorf("after Shutdown: %v", err)
	}
}
