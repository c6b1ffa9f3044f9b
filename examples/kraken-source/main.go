package main

import (
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// manifest says what the island is.
func manifest() sdk.Manifest {
	return sdk.Manifest{
		Name: "kraken-source", Version: "1.0.0", Layer: sdk.LayerExternalServices,
		Description: "Quotes, live and on demand, candles and the catalogue of assets from Kraken Spot.",
		Settings:    sdk.SettingsOf(settings{}),
	}
}

func main() {
	process.Serve(manifest(), newSource())
}
