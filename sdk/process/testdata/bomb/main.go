// Command bomb is an island that takes memory, up to 2 GB, once it is initialized.
package main

import (
	"context"
	"os"
	"strconv"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

type bomb struct{ sdk.Life }

func (bomb) Initialize(context.Context, sdk.Config) error {
	go func() {
		var held [][]byte
		for range 2 << 10 {
			piece := make([]byte, 1<<20)
			for i := range piece {
				piece[i] = byte(i) // What is not touched takes no memory.
			}
			held = append(held, piece)
		}
		os.Exit(len(strconv.Itoa(len(held))))
	}()
	return nil
}

func main() {
	process.Serve(sdk.Manifest{Name: "bomb", Version: "1.0.0", Layer: sdk.LayerExternalServices, Description: "Takes memory."}, bomb{})
}
