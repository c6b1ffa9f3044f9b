package pipeline

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Kinds of records in the log.
const (
	recordTick   = "tick"   // what changed
	recordState  = "state"  // everything that is known after tick N
	recordBeat   = "beat"   // nothing changed since tick N
	recordMarker = "marker" // a new leader: what an older one writes from here on does not count
	recordOffer  = "offer"  // for the leader, quotes that a host delivered on its own, or none: it asks for a state; without a token
)

// Bounds on a record. One that is larger is not read.
const (
	recordVersion = 1
	maxRecord     = 8 << 20
	maxInRecord   = 10_000 // quotes
	maxWord       = 64     // bytes of an epoch, a nonce, a symbol
)

// record is a message in the log of the feed.
type record struct {
	Version   int         `json:"v"`
	Kind      string      `json:"kind"`
	Nonce     string      `json:"nonce,omitempty"`
	Epoch     string      `json:"epoch,omitempty"`
	N         uint64      `json:"n,omitempty"`
	At        time.Time   `json:"at"`
	QuotesSeq uint64      `json:"quotes_seq,omitempty"`
	Quotes    []TickQuote `json:"quotes,omitempty"`
	Global    *sdk.Global `json:"global,omitempty"`
	GlobalSeq uint64      `json:"global_seq,omitempty"`
}

// recordOf writes a tick down.
func recordOf(kind string, t Tick) record {
	return record{
		Kind: kind, Epoch: t.Epoch, N: t.N, At: t.At, QuotesSeq: t.QuotesSeq, Quotes: t.Quotes, Global: t.Global, GlobalSeq: t.GlobalSeq,
	}
}

// tick is what a tick or a state record says.
func (r *record) tick() Tick {
	return Tick{
		Epoch: r.Epoch, N: r.N, At: r.At.UTC(), Whole: r.Kind == recordState, Quotes: r.Quotes, QuotesSeq: r.QuotesSeq,
		Global: r.Global, GlobalSeq: r.GlobalSeq,
	}
}

func (r *record) encode() ([]byte, error) {
	r.Version = recordVersion
	return json.Marshal(r)
}

// decodeRecord reads a record that can be taken as it is.
func decodeRecord(payload []byte) (*record, error) {
	if len(payload) > maxRecord {
		return nil, sdk.Errorf(sdk.BadUpstream, "a record of %d bytes; the most is %d", len(payload), maxRecord)
	}
	r := &record{}
	if err := json.Unmarshal(payload, r); err != nil {
		return nil, sdk.Errorf(sdk.BadUpstream, "a record that is none: %w", err)
	}
	if why := r.fault(); why != "" {
		return nil, sdk.Errorf(sdk.BadUpstream, "a record of version %d and kind %.20q: %s", r.Version, r.Kind, why)
	}
	return r, nil
}

// fault says what is wrong with a record, empty for nothing.
func (r *record) fault() string {
	sequenced := r.Kind == recordTick || r.Kind == recordState || r.Kind == recordBeat
	switch {
	case r.Version != recordVersion:
		return "an unknown version"
	case !sequenced && r.Kind != recordMarker && r.Kind != recordOffer:
		return "an unknown kind"
	case len(r.Nonce) > maxWord || len(r.Epoch) > maxWord:
		return "a name that is too long"
	case sequenced && (r.Epoch == "" || r.N == 0):
		return "no place in an epoch"
	case len(r.Quotes) > maxInRecord:
		return "too many quotes"
	case r.Kind == recordTick && (len(r.Quotes) > 0) != (r.QuotesSeq > 0), r.Kind == recordState && len(r.Quotes) > 0 && r.QuotesSeq == 0:
		return "quotes without a place, or a place without quotes"
	case (r.Global != nil) != (r.GlobalSeq > 0):
		return "global figures without a place, or a place without figures"
	}
	for i, q := range r.Quotes {
		switch {
		case q.Quote.Symbol == "" || len(q.Quote.Symbol) > maxWord || q.Quote.Price.Or(0) <= 0 || q.Quote.AsOf.IsZero():
			return "a quote without symbol, price or time"
		case q.Seq == 0 && r.Kind != recordOffer:
			return "a quote without a place"
		case i > 0 && strings.Compare(r.Quotes[i-1].Quote.Symbol, q.Quote.Symbol) >= 0:
			return "quotes out of order"
		}
	}
	return ""
}

// offered lists quotes for a record.
func offered(quotes []sdk.Quote) []TickQuote {
	out := make([]TickQuote, 0, len(quotes))
	for _, q := range quotes {
		out = append(out, TickQuote{Quote: q})
	}
	sortQuotes(out)
	return out[:min(len(out), maxInRecord)]
}

// quotesOf lists the quotes alone.
func quotesOf(quotes []TickQuote) []sdk.Quote {
	out := make([]sdk.Quote, 0, len(quotes))
	for _, q := range quotes {
		out = append(out, q.Quote)
	}
	return out
}
