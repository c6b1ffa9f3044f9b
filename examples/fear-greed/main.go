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

type source struct {
	sdk.Life                  // answers Health, Metrics and Shutdown
	URL      string           `setting:"url" default:"https://api.alternative.me/fng/" doc:"Address of the index."`
	client   *upstream.Client // keeps to a budget, tries again, bounds every call
}

func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
	err := cfg.Decode(s)
	s.client = upstream.New(upstream.Options{BaseURL: s.URL, Logger: cfg.Logger})
	return err
}

func (s *source) Sentiment(ctx context.Context, req sdk.SentimentRequest) (sdk.Sentiment, error) {
	var body struct{ Data [1]map[string]string } // every value is a string
	err := s.client.GetJSON(ctx, upstream.Request{Path: "/", Retries: req.Retries}, &body)
	value, bad := strconv.ParseFloat(body.Data[0]["value"], 64)
	if err == nil && bad != nil {
		err = sdk.Errorf(sdk.BadUpstream, "the index is no number: %w", bad)
	}
	label, at := body.Data[0]["value_classification"], body.Data[0]["timestamp"]
	seconds, _ := strconv.ParseInt(at, 10, 64) // unstamped, it is as old as can be
	return sdk.Sentiment{Value: sdk.Known(value), Label: label, Source: "fear-greed", AsOf: time.Unix(seconds, 0)}, err
}

func main() {
	process.Serve(sdk.Manifest{Name: "fear-greed", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "The Fear and Greed Index.", Settings: sdk.SettingsOf(source{})}, &source{})
}
