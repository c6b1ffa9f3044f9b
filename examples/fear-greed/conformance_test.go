package main

import (
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/islandtest"
	"github.com/service-islands/islands/sdk/upstream"
)

// answering is a service that answers with a body.
func answering(t *testing.T, body string) *islandtest.Upstream {
	t.Helper()
	return islandtest.NewUpstream(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body) // The client may be gone.
	}))
}

// answer is what the service answers.
const answer = `{"name": "Fear and Greed Index", "metadata": {"error": null}, "data": [
	{"value": "40", "value_classification": "Fear", "timestamp": "1551157200", "time_until_update": "68499"}]}`

func TestConformance(t *testing.T) {
	service := answering(t, answer)
	islandtest.Run(t, islandtest.Subject{
		Manifest: manifest,
		New:      func(testing.TB) sdk.IslandComponent { return &source{} },
		Settings: func(testing.TB) map[string]any { return map[string]any{"url": service.URL} },
		Break:    service.Break,
	})
}

func TestSentiment(t *testing.T) {
	for _, test := range []struct {
		name, body string
		want       sdk.Sentiment
		kind       string // of the error; none when empty
	}{
		{
			"as the service answers", answer,
			sdk.Sentiment{Value: sdk.Known(40), Label: "Fear", Source: "fear-greed", AsOf: time.Date(2019, 2, 26, 5, 0, 0, 0, time.UTC)},
			"",
		},
		{"no data", `{"data": []}`, sdk.Sentiment{}, sdk.BadUpstream.String()},
		{"a value that is none", `{"data": [{"value": "greedy"}]}`, sdk.Sentiment{}, sdk.BadUpstream.String()},
		{"another form", `{"data": "soon"}`, sdk.Sentiment{}, sdk.BadUpstream.String()},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &source{Life: upstream.Life{Client: upstream.New(upstream.Options{BaseURL: answering(t, test.body).URL})}}
			defer s.Client.Close()
			got, err := s.Sentiment(t.Context(), sdk.SentimentRequest{})
			if test.kind != "" {
				if err == nil || sdk.KindOf(err).String() != test.kind {
					t.Errorf("%v, want an error of kind %s", err, test.kind)
				}
			} else if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
}

// TestReadmeNamesEverySetting keeps the table of settings complete.
func TestReadmeNamesEverySetting(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range manifest.Settings {
		if row := "| `" + s.Name + "` | " + string(s.Type) + " | `" + s.Default + "` |"; !strings.Contains(string(readme), row) {
			t.Errorf("README.md has no row %q", row)
		}
	}
}
