package streams

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/binance"
)

func FuzzRequests(f *testing.F) {
	f.Add(`{"method":"SUBSCRIBE","params":["btcusdt@miniTicker","!miniTicker@arr"],"id":1}`)
	f.Add(`{"method":"SET_PROPERTY","params":["combined",true],"id":"a"}`)
	f.Add(`{"method":"` + "\xff" + `","id":null}`)
	f.Add("{\n\"method\":3")
	f.Add(`{"id":1e400,"method":"LIST_SUBSCRIPTIONS","params":[[]]}`)
	f.Fuzz(func(t *testing.T, text string) {
		s := subscriptions{find: func(name string) binance.Stream { return binance.Stream{Name: name} }}
		reply, method, full := s.request([]byte(text))
		if full {
			if strings.Count(text, ",") < maxStreams {
				t.Errorf("a short request fills the connection: %q", text)
			}
			return
		}
		if !json.Valid(reply) || method == "" {
			t.Errorf("%q: %q is answered by %q", text, method, reply)
		}
		if names := s.names(); len(names) > 0 && method != methodSubscribe {
			t.Errorf("%q: %s subscribes to %q", text, method, names)
		}
	})
}
