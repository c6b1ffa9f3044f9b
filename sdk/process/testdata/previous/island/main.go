// Island is a source as its author built it with the SDK of the previous minor: it knows nothing of what was added since.
package main

import (
	"context"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

type settings struct {
	Price float64    `setting:"price" doc:"What everything costs, in the quote currency."`
	Token sdk.Secret `setting:"token" default:"" doc:"A secret."`
}

type source struct{ set settings }

func main() {
	process.Serve(sdk.Manifest{
		Name: "previous", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "Speaks the previous minor.",
		Settings: sdk.SettingsOf(settings{}),
	}, &source{})
}

func (s *source) Initialize(_ context.Context, cfg sdk.Config) error {
	if err := cfg.Decode(&s.set); err != nil {
		return err
	}
	cfg.Logger.Info("the island of the previous minor is here", "token", s.set.Token)
	fmt.Println("printed by the previous minor")
	return nil
}

func (s *source) Health(context.Context) sdk.Health { return sdk.Degraded("of the previous minor") }

func (s *source) Metrics(context.Context) (sdk.Metrics, error) {
	return sdk.Metrics{sdk.Counter("island_calls_total", "Calls.", 7)}, nil
}

func (s *source) Shutdown(context.Context) error { return nil }

func (s *source) Quotes(_ context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	var quotes []sdk.Quote
	for _, asset := range req.Assets {
		if asset.Symbol == "NONE" {
			return nil, &sdk.Error{Kind: sdk.RateLimited, Message: "too often", RetryAfter: 3 * time.Second}
		}
		quotes = append(quotes, sdk.Quote{
			ID: asset.ID, Symbol: asset.Symbol, VsCurrency: req.VsCurrency, Price: sdk.Known(s.set.Price), AsOf: time.Now(),
		})
	}
	return quotes, nil
}

func (s *source) Stream(ctx context.Context, req sdk.StreamRequest, emit func(sdk.QuoteBatch) error) error {
	quotes, err := s.Quotes(ctx, sdk.QuotesRequest{Assets: req.Assets, VsCurrency: req.VsCurrency})
	if err != nil {
		return err
	}
	if err := emit(sdk.QuoteBatch{Seq: 1, Quotes: quotes}); err != nil {
		return err
	}
	<-ctx.Done()
	return ctx.Err()
}
