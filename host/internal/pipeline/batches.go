package pipeline

import (
	"slices"

	"github.com/service-islands/islands/sdk"
)

// candleBatches parts series of candles into batches of ledgerBatch candles at most.
func candleBatches(series []sdk.Candles) (batches [][]sdk.Candles) {
	var batch []sdk.Candles
	rows := 0
	for _, s := range series {
		for items := range slices.Chunk(s.Items, ledgerBatch) {
			if rows+len(items) > ledgerBatch {
				batches, batch, rows = append(batches, batch), nil, 0
			}
			part := s
			part.Items = items
			batch, rows = append(batch, part), rows+len(items)
		}
	}
	if len(batch) > 0 {
		batches = append(batches, batch)
	}
	return batches
}
