package main

import (
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// manifest says what the island is.
func manifest() sdk.Manifest {
	return sdk.Manifest{
		Name: "coingecko-source", Version: "1.0.0", Layer: sdk.LayerExternalServices,
		Description: "Quotes, candles, global figures and the catalogue of assets from CoinGecko.",
		Settings:    sdk.SettingsOf(settings{}),
	}
}

func main() {
	process.Serve(manifest(), newSource())
}
