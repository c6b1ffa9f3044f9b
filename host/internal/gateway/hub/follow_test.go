package hub

import (
	"slices"
	"testing"
	"time"
)

func TestSymbolsOfTheFeedChange(t *testing.T) {
	h := New(Options{Symbols: []string{"btc", "eth"}})
	names := []string{"ticker:*", "global", "islands", "ticker:btc", "ticker:eth", "ticker:sol"}
	known := func() []string {
		known, _ := h.Known(names)
		return known
	}
	h.SetSymbols([]string{"btc", "sol"})
	if want := []string{"ticker:*", "global", "islands", "ticker:btc", "ticker:sol"}; !slices.Equal(known(), want) {
		t.Errorf("the channels are %v, want %v", known(), want)
	}
	for range 100 {
		h.SetSymbols([]string{"eth"})
		h.SetSymbols([]string{"btc", "sol"})
	}
	if got := len(h.channels); got != 6 {
		t.Errorf("%d channels were made", got)
	}
	h.Publish(Tick{Epoch: "e", N: 1, At: time.Now(), Whole: true, Quotes: []Item{{Key: "eth", Seq: 1, JSON: []byte("{}")}}, QuotesSeq: 1})
	if known := known(); !slices.Contains(known, "ticker:eth") {
		t.Errorf("the channel of what the feed brings is missing in %v", known)
	}
	h.PublishIslands(time.Now(), []Item{{Key: "cache", JSON: []byte("1")}, {Key: "gone", JSON: []byte("2")}})
	h.ForgetIslands([]string{"gone", "never there"})
	if items := h.islands.since(0); len(items) != 1 || items[0].Key != "cache" {
		t.Errorf("the islands are %+v", items)
	}
}
