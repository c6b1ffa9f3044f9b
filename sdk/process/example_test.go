package process_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// flat is a whole island: a source of a market where nothing moves.
type flat struct {
	sdk.Life         // answers Health, Metrics and Shutdown
	Price    float64 `setting:"price" default:"100" doc:"What everything costs, in US dollars."`
}

// Initialize decodes the config block.
func (f *flat) Initialize(_ context.Context, cfg sdk.Config) error { return cfg.Decode(f) }

// Quotes answers what it knows.
func (f *flat) Quotes(_ context.Context, req sdk.QuotesRequest) ([]sdk.Quote, error) {
	if req.VsCurrency != "usd" {
		return nil, sdk.Errorf(sdk.Unsupported, "there are prices in usd alone, not in %q", req.VsCurrency)
	}
	quotes := make([]sdk.Quote, 0, len(req.Assets))
	for _, asset := range req.Assets {
		quotes = append(quotes, sdk.Quote{
			ID: asset.ID, Symbol: asset.Symbol, VsCurrency: req.VsCurrency, Price: sdk.Known(f.Price), Source: "flat", AsOf: time.Now().UTC(),
		})
	}
	return quotes, nil
}

// Loopback puts an island behind a real gRPC connection, as it is behind the process boundary. In main it is Serve that takes
// the same manifest and component.
func ExampleLoopback() {
	manifest := sdk.Manifest{
		Name: "flat", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "A market where nothing moves.", Settings: sdk.SettingsOf(flat{}),
	}
	island, end, err := process.Loopback(manifest, &flat{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer end()
	ctx := context.Background()
	fmt.Println(island.Initialize(ctx, sdk.Config{Name: "flat", Values: map[string]any{"price": 42}}))

	quotes, err := island.Quotes(ctx, sdk.QuotesRequest{Assets: []sdk.Asset{{Symbol: "btc"}}, VsCurrency: "usd"})
	fmt.Println(len(quotes), quotes[0].Symbol, quotes[0].Price, quotes[0].Volume24h, err)

	_, err = island.Quotes(ctx, sdk.QuotesRequest{Assets: []sdk.Asset{{Symbol: "btc"}}, VsCurrency: "eur"})
	fmt.Println(errors.Is(err, sdk.Unsupported), err)

	_, err = island.Global(ctx, sdk.GlobalRequest{VsCurrency: "usd"})
	fmt.Println(errors.Is(err, sdk.Unsupported), island.Health(ctx).Status)
	// Output:
	// <nil>
	// 1 btc 42 null <nil>
	// true there are prices in usd alone, not in "eur"
	// true ok
}
