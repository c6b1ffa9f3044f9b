// Fear-greed is a complete island: the Fear and Greed Index of alternative.me as a source of sentiment.
package main

import (
	"context"
	"strconv"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
	"github.com/service-islands/islands/sdk/upstream"
)

// manifest is what the host knows before anything runs.
var manifest = sdk.Manifest{Name: "fear-greed", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "The Fear and Greed Index.", Settings: sdk.SettingsOf(source{})}

type source struct {
	upstream.Life        // has the client, and answers Health, Metrics and Shutdown for it
	URL           string `setting:"url" default:"https://api.alternative.me/fng/" doc:"Address of the index."`
}

func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
	err := cfg.Decode(s)
	s.Client = upstream.New(upstream.Options{BaseURL: s.URL, Logger: cfg.Logger})
	return err
}

func (s *source) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	var body struct{ Data [1]map[string]string } // every value is a string
	err := s.Client.GetJSON(ctx, upstream.Request{Path: "/", Fixed: true, Retries: req.Retries}, &body)
	latest := body.Data[0]
	value, bad := strconv.ParseFloat(latest["value"], 64)
	if err == nil && bad != nil {
		err = sdk.Errorf(sdk.BadUpstream, "the index is no number: %w", bad)
	}
	seconds, _ := strconv.ParseInt(latest["timestamp"], 10, 64) // unstamped, it is as old as can be
	return sdk.Sentiment{Value: sdk.Known(value), Label: latest["value_classification"], Source: "fear-greed", AsOf: time.Unix(seconds, 0).UTC()}, err
}

func main() { process.Serve(manifest, &source{}) }
