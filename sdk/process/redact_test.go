package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

const leaked = "key-of-an-island"

// leaky tells what it should not whenever it is asked.
type leaky struct {
	long bool
	// refuses is whether it cannot be initialized.
	refuses bool
}

func (l *leaky) err() error {
	text := "Get \"https://example.com/?key=" + leaked + "\": refused"
	if l.long {
		text = strings.Repeat("x", maxMessage-len(leaked)-1) + leaked
	}
	return &sdk.Error{Kind: sdk.RateLimited, Message: text, RetryAfter: time.Minute, Setting: "key"}
}

func (l *leaky) Initialize(context.Context, sdk.Config) error {
	if l.refuses {
		return l.err()
	}
	return nil
}

func (l *leaky) Health(context.Context) sdk.Health {
	text := l.err().Error()
	return sdk.Degraded(text, sdk.Part{Name: text, Reason: text, Details: map[string]any{
		"a": text, "b": []any{text, 1.5, map[string]any{text: text}}, text: true, "n": nil,
	}})
}

func (l *leaky) Metrics(context.Context) (sdk.Metrics, error) {
	text := l.err().Error()
	return sdk.Metrics{{Name: "m", Help: text, Samples: []sdk.Sample{{Labels: map[string]string{"url": text, "n": "1"}, Value: 2}}}}, nil
}

func (l *leaky) Shutdown(context.Context) error { return l.err() }

func (l *leaky) Quotes(context.Context, sdk.QuotesRequest) ([]sdk.Quote, error) {
	if l.long {
		return []sdk.Quote{{ID: "a", Note: leaked}}, nil
	}
	return nil, l.err()
}

func (l *leaky) Stream(context.Context, sdk.StreamRequest, func(sdk.QuoteBatch) error) error {
	return fmt.Errorf("stream: %w", l.err())
}

// hiding is the stand-in of a leaky island that hides what leaks, and the error of its Initialize.
func hiding(t *testing.T, l *leaky) (r *remote, initialize error) {
	t.Helper()
	island, stop, err := Loopback(sdk.Manifest{
		Name: "leaky", Version: "1-" + leaked, Description: "Has " + leaked, Settings: []sdk.Setting{{Name: leaked, Doc: "Is " + leaked, Secret: true}},
	}, l)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	r = island.(*remote)
	r.hide = func(text string) string { return strings.ReplaceAll(text, leaked, "[redacted]") }
	initialize = r.Initialize(t.Context(), sdk.Config{})
	return r, initialize
}

func TestWhatAnIslandSaysAboutItselfIsRedacted(t *testing.T) {
	t.Parallel()
	_, initialize := hiding(t, &leaky{refuses: true})
	ended, _ := hiding(t, &leaky{})
	r, _ := hiding(t, &leaky{})
	_, quotes := r.Quotes(t.Context(), sdk.QuotesRequest{})
	for name, err := range map[string]error{
		"unary": quotes, "initialize": initialize,
		"stream":   r.Stream(t.Context(), sdk.StreamRequest{}, func(sdk.QuoteBatch) error { return nil }),
		"shutdown": ended.Shutdown(t.Context()),
	} {
		var failure *sdk.Error
		if !errors.As(err, &failure) {
			t.Fatalf("%s: %v", name, err)
		}
		if strings.Contains(fmt.Sprintf("%+v", failure), leaked) || !strings.HasSuffix(err.Error(), `Get "https://example.com/?key=[redacted]": refused`) {
			t.Errorf("%s: %v", name, err)
		}
		if failure.Kind != sdk.RateLimited || failure.RetryAfter != time.Minute || failure.Setting != "key" {
			t.Errorf("%s: %+v", name, failure)
		}
	}
	metrics, err := r.Metrics(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := r.fetchManifest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if manifest.Settings[0].Name != leaked {
		t.Errorf("the host goes by the name of a setting, which became %q", manifest.Settings[0].Name)
	}
	manifest.Settings[0].Name = ""
	for name, said := range map[string]struct {
		value any
		times int
	}{
		"health": {r.Health(t.Context()), 8}, "metrics": {metrics, 2}, "manifest": {manifest, 3},
	} {
		text, err := json.Marshal(said.value)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), leaked) || strings.Count(string(text), "[redacted]") != said.times {
			t.Errorf("%s: %s", name, text)
		}
	}
	if value, ok := metrics.Value("m", map[string]string{"n": "1", "url": `Get "https://example.com/?key=[redacted]": refused`}); !ok || value != 2 {
		t.Errorf("metrics: %+v", metrics)
	}
}

// TestNoHalfOfASecretIsLeft has texts that are cut within what must not get out, unless that is taken out first.
func TestNoHalfOfASecretIsLeft(t *testing.T) {
	t.Parallel()
	_, initialize := hiding(t, &leaky{long: true, refuses: true})
	r, _ := hiding(t, &leaky{long: true})
	for name, text := range map[string]string{
		"an error": initialize.Error(), "a name": r.Health(t.Context()).Parts[0].Name, "a reason": r.Health(t.Context()).Reason,
	} {
		if strings.Contains(text, leaked[:4]) {
			t.Errorf("%s: %s", name, text)
		}
	}
	cut := r.hide.words(strings.Repeat("x", maxReason-5)+leaked, maxReason)
	if strings.Contains(cut, leaked[:4]) || len(cut) > maxReason+len("…") {
		t.Errorf("%d bytes: %s", len(cut), cut[maxReason-20:])
	}
}

func TestDataIsNotRedacted(t *testing.T) {
	t.Parallel()
	r, _ := hiding(t, &leaky{long: true})
	quotes, err := r.Quotes(t.Context(), sdk.QuotesRequest{})
	if err != nil || len(quotes) != 1 || quotes[0].Note != leaked {
		t.Errorf("%+v, %v", quotes, err)
	}
}
