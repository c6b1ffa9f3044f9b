package hub

import "strings"

// SetSymbols makes other symbols the ones of the feed: each has a channel from now on, also before its first quote. The
// channels of others are not to be subscribed to any more, unless the feed brings a quote of them; who has them hears
// nothing until then.
func (h *Hub) SetSymbols(symbols []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	there := make(map[string]bool, len(symbols))
	for _, symbol := range symbols {
		there[symbol] = true
		h.ticker(symbol)
	}
	for name, ch := range h.byName {
		if symbol, ok := strings.CutPrefix(name, tickerPrefix); ok && ch.only != "" && !there[symbol] {
			delete(h.byName, name)
			h.retired[name] = ch
		}
	}
}

// ForgetIslands leaves islands that are gone out of what clients get from now on.
func (h *Hub) ForgetIslands(names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		delete(h.islands.values, name)
	}
	h.islands.snapshot = nil
}

// named returns a channel that a client may have, also one that nobody can subscribe to any more.
func (h *Hub) named(name string) *channel {
	if ch := h.byName[name]; ch != nil {
		return ch
	}
	return h.retired[name]
}
