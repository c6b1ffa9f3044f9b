package main

import (
	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// manifest says what this island is.
func manifest() sdk.Manifest {
	return sdk.Manifest{
		Name: "report-generator", Version: "1.0.0", Layer: sdk.LayerBusinessLogic,
		Description: "Turns quotes and daily candles into crypto reports and technical analyses.",
		Settings:    sdk.SettingsOf(settings{}),
	}
}

func main() {
	process.Serve(manifest(), newGenerator())
}
