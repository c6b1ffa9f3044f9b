package e2e

import (
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// wire is what lies between a host's islands and a server, to be spoiled.
type wire struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
}

// startWire listens on a free port and passes everything on to an address.
func startWire(t *testing.T, to string) *wire {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	w := &wire{t, toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", to)}
	w.mend()
	t.Cleanup(w.proxy.Stop)
	return w
}

// addr is where to connect to, instead of the server.
func (w *wire) addr() string { return w.proxy.Listen }

// cut ends all connections and takes no new ones, until it is mended.
func (w *wire) cut() { w.proxy.Stop() }

func (w *wire) mend() {
	w.t.Helper()
	if err := w.proxy.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// spoil puts a toxic on what the server answers, such as "latency" with `{"latency":300}`, until the function that it returns
// is called.
func (w *wire) spoil(kind, attributes string) (heal func()) {
	w.t.Helper()
	text := fmt.Sprintf(`{"name":%q,"type":%q,"stream":"downstream","toxicity":1,"attributes":%s}`, kind, kind, attributes)
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
		w.t.Fatal(err)
	}
	return func() {
		if err := w.proxy.Toxics.RemoveToxic(w.t.Context(), kind); err != nil {
			w.t.Error(err)
		}
	}
}
