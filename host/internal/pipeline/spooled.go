package pipeline

import (
	"encoding/json"
	"slices"

	"github.com/service-islands/islands/sdk"
)

// Spool keeps what waits for the store on disk, in order, until it has arrived there.
type Spool interface {
	// Append keeps a content. It survives the end of this process from then on.
	Append(contents ...[]byte) (last uint64, err error)
	// Read returns the contents after those it returned before, about so many bytes of them, and the number of the last.
	Read(most int) (contents [][]byte, last uint64, err error)
	// Confirm forgets all contents up to a number; Rewind makes Read begin again behind those.
	Confirm(last uint64)
	Rewind()
}

// spoolEntry is a content of the spool: no more rows than fit into a batch.
type spoolEntry struct {
	Version int           `json:"v"`
	Quotes  []sdk.Quote   `json:"quotes,omitempty"`
	Candles []sdk.Candles `json:"candles,omitempty"`
}

// spoolVersion is the version of its form.
const spoolVersion = 1

// entriesOf makes entries of rows.
func entriesOf(quotes []sdk.Quote, series []sdk.Candles) (entries []spoolEntry) {
	for part := range slices.Chunk(quotes, ledgerBatch) {
		entries = append(entries, spoolEntry{Version: spoolVersion, Quotes: part})
	}
	for _, part := range candleBatches(series) {
		entries = append(entries, spoolEntry{Version: spoolVersion, Candles: part})
	}
	return entries
}

// rowsOf counts candles.
func rowsOf(series []sdk.Candles) (rows int) {
	for _, s := range series {
		rows += len(s.Items)
	}
	return rows
}

// spool gives rows to the spool, and reports whether it has them. It has all or none.
func (l *ledger) spool(rows int, entries []spoolEntry) bool {
	if l.r.opts.Spool == nil {
		return false
	}
	err := l.appendAll(rows, entries)
	l.spooling.set(err == nil, err)
	return err == nil
}

func (l *ledger) appendAll(rows int, entries []spoolEntry) error {
	contents := make([][]byte, 0, len(entries))
	for _, e := range entries {
		text, err := json.Marshal(e)
		if err != nil {
			return err
		}
		contents = append(contents, text)
	}
	// The lock comes first, so that the writer never counts rows off that were not yet counted.
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.r.opts.Spool.Append(contents...); err != nil {
		return err
	}
	if l.spooled += rows; l.spooled >= ledgerBatch {
		l.wake()
	}
	return nil
}

// unpacked returns what contents of the spool hold, and how many rows that is. What is not understood is dropped, counted,
// and said once.
func (l *ledger) unpacked(contents [][]byte) (quotes []sdk.Quote, candles []sdk.Candles, rows int) {
	for _, text := range contents {
		var e spoolEntry
		if err := json.Unmarshal(text, &e); err != nil || e.Version != spoolVersion {
			l.dropped.Add(1)
			l.strange.Do(func() {
				l.r.opts.Logger.Error("what is in the spool is not understood and is dropped; was it another version?", "version", e.Version, "error", err)
			})
			continue
		}
		quotes, candles = append(quotes, e.Quotes...), append(candles, e.Candles...)
	}
	return quotes, candles, len(quotes) + rowsOf(candles)
}
