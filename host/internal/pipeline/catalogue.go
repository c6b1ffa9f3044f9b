package pipeline

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/sdk"
)

// catalogueNoun is every asset that the first source in line knows, with the ways to find one.
type catalogueNoun struct {
	Assets []sdk.Asset `json:"assets"` // the largest first
	// Partial is whether a source answered that is not the first in line: an asset it lacks may exist all the same.
	Partial bool `json:"partial"`

	bySymbol map[string][]int
	byID     map[string]int
	// symbols lists the symbols in alphabetical order, and short the largest assets whose symbols begin with so few letters.
	symbols []string
	short   map[string][]int
}

// shortPrefix is how many letters are few: many symbols begin with them.
const shortPrefix = 2

// index sorts the assets by market capitalisation and makes them findable.
func (c *catalogueNoun) index() {
	slices.SortStableFunc(c.Assets, func(a, b sdk.Asset) int {
		return cmp.Or(
			cmp.Compare(b.MarketCap.Or(-1), a.MarketCap.Or(-1)),
			cmp.Compare(rankOrLast(a.Rank), rankOrLast(b.Rank)),
			strings.Compare(a.ID, b.ID),
		)
	})
	c.bySymbol, c.byID = make(map[string][]int, len(c.Assets)), make(map[string]int, len(c.Assets))
	for i, a := range c.Assets {
		c.bySymbol[a.Symbol] = append(c.bySymbol[a.Symbol], i)
		if a.ID != "" {
			c.byID[a.ID] = i
		}
	}
	c.symbols, c.short = slices.Sorted(maps.Keys(c.bySymbol)), make(map[string][]int)
	for i, a := range c.Assets {
		if c.bySymbol[a.Symbol][0] != i {
			continue
		}
		for n := 1; n <= min(shortPrefix, len(a.Symbol)); n++ {
			if there := c.short[a.Symbol[:n]]; len(there) < maxSuggestions {
				c.short[a.Symbol[:n]] = append(there, i)
			}
		}
	}
}

func rankOrLast(rank int) int {
	if rank == 0 {
		return 1 << 30
	}
	return rank
}

func (r *Requests) loadCatalogue(ctx context.Context, rt *routes, _ question) (out loaded) {
	r.counts.loads.Add(1)
	out.err = r.sources.walk(ctx, rt.Catalogue.Sources, fewRetries, func(ctx context.Context, a attempt) error {
		assets, err := a.island.Catalogue(ctx, sdk.CatalogueRequest{Retries: a.retries})
		if err != nil {
			return err
		}
		if len(assets) == 0 {
			return sdk.Errorf(sdk.BadUpstream, "an empty catalogue")
		}
		noun := &catalogueNoun{Assets: assets, Partial: !a.first}
		for i := range noun.Assets {
			noun.Assets[i].Symbol = strings.ToLower(noun.Assets[i].Symbol)
		}
		noun.index()
		out.noun, out.poor = noun, noun.Partial
		return errEnough
	})
	return out
}

// resolved is what a symbol stands for.
type resolved struct {
	sdk.Asset
	// ambiguous lists the other assets of that symbol, the largest first.
	ambiguous []sdk.Asset
	// known is whether the catalogue holds the asset.
	known bool
	// poor is whether the catalogue could not be had in full.
	poor bool
	// shadowed assets share their symbol with a larger one.
	shadowed bool
}

// forSource is the asset as sources are asked for it. Many go by the symbol alone, which for a shadowed asset means
// another one: they are given its id in the place of its symbol, and know no such thing.
func (a resolved) forSource() sdk.Asset {
	asked := a.Asset
	if a.shadowed {
		asked.Symbol = asked.ID
	}
	return asked
}

// Unknown is the error for a symbol that no asset has: a NotFound that knows symbols that look like it.
type Unknown struct {
	Symbol      string
	suggestions []string
}

// Error names the symbol.
func (u *Unknown) Error() string { return "no asset has the symbol or id " + u.Symbol }

// Unwrap makes it a NotFound.
func (u *Unknown) Unwrap() error { return sdk.NotFound }

// Suggested lists symbols that look like the unknown one, those of the largest assets first.
func (u *Unknown) Suggested() []string { return u.suggestions }

// unknown returns an error for a symbol that the catalogue at hand does not hold, without asking anybody: nothing is
// looked up, loaded or remembered for it.
func (r *Requests) unknown(symbol string) error {
	if out, ok := r.peek(r.routes.Load().kinds.catalogue, catalogueQuestion); ok && out.err == nil {
		_, err := out.answer.Noun().(*catalogueNoun).find(symbol)
		return err
	}
	return nil // without one, the symbol may exist
}

// catalogueQuestion is the one question there is about the catalogue.
var catalogueQuestion = question{key: "catalogue"}

// cataloguePatience is the part of the time that a question has for the catalogue, as a divisor: what it is needed for must still
// be asked for.
const cataloguePatience = 2

// resolve finds the asset of a symbol, the largest when several share it, or else the asset of that id. Without a
// catalogue in time the symbol stands for itself.
func (r *Requests) resolve(ctx context.Context, symbol string) (resolved, error) {
	limited, cancel := ctx, func() {}
	if deadline, ok := ctx.Deadline(); ok {
		limited, cancel = context.WithTimeout(ctx, time.Until(deadline)/cataloguePatience)
	}
	defer cancel()
	rt := r.enter()
	defer rt.leave()
	answer, err := r.get(limited, rt.kinds.catalogue, catalogueQuestion)
	switch {
	case err == nil:
		return answer.Noun().(*catalogueNoun).find(symbol)
	case ctx.Err() != nil:
		return resolved{}, ctx.Err()
	case errors.Is(err, sdk.ResourceExhausted):
		return resolved{}, err
	default:
		return resolved{Asset: sdk.Asset{Symbol: symbol}, poor: true}, nil
	}
}

// find looks a symbol or id up. What a partial catalogue lacks stands for itself; what a full one lacks is Unknown.
func (c *catalogueNoun) find(symbol string) (resolved, error) {
	if same := c.bySymbol[symbol]; len(same) > 0 {
		out := resolved{Asset: c.Assets[same[0]], known: true, poor: c.Partial}
		for _, i := range same[1:min(len(same), 1+maxAmbiguous)] {
			out.ambiguous = append(out.ambiguous, c.Assets[i])
		}
		return out, nil
	}
	if i, ok := c.byID[symbol]; ok {
		largest := c.bySymbol[c.Assets[i].Symbol][0]
		return resolved{Asset: c.Assets[i], known: true, poor: c.Partial, shadowed: largest != i}, nil
	}
	if c.Partial {
		return resolved{Asset: sdk.Asset{Symbol: symbol}, poor: true}, nil
	}
	return resolved{}, &Unknown{Symbol: symbol, suggestions: c.suggest(symbol)}
}

// maxAmbiguous bounds how many assets of one symbol are named beside the largest.
const maxAmbiguous = 100

// maxSuggestions bounds the suggestions for an unknown symbol.
const maxSuggestions = 5

// maxAlike bounds how many symbols that begin alike are looked at: a flood of unknown symbols must cost next to nothing.
const maxAlike = 512

// suggest lists symbols that begin like an unknown one, or whose beginning it is, the largest assets first.
func (c *catalogueNoun) suggest(symbol string) []string {
	alike := slices.Clone(c.short[symbol])
	if len(symbol) > shortPrefix {
		from, _ := slices.BinarySearch(c.symbols, symbol)
		for _, s := range c.symbols[from:min(from+maxAlike, len(c.symbols))] {
			if !strings.HasPrefix(s, symbol) {
				break
			}
			alike = append(alike, c.bySymbol[s][0])
		}
	}
	for n := 3; n < len(symbol); n++ {
		if same := c.bySymbol[symbol[:n]]; len(same) > 0 {
			alike = append(alike, same[0])
		}
	}
	slices.Sort(alike) // The assets are in the order of their size.
	var out []string
	for _, i := range alike[:min(len(alike), maxSuggestions)] {
		out = append(out, c.Assets[i].Symbol)
	}
	return out
}

// maxSymbols bounds the answer of Symbols.
const maxSymbols = 100

// Symbols searches the catalogue: exact symbols and ids first, then symbols and names that begin with the query, the
// largest assets first, at most 100. An empty query lists the largest. Ambiguous is whether several assets share the
// symbol of an asset that is listed.
func (r *Requests) Symbols(ctx context.Context, query string) (assets []sdk.Asset, ambiguous map[string]bool, answer Answer, err error) {
	rt := r.enter()
	defer rt.leave()
	answer, err = r.get(ctx, rt.kinds.catalogue, catalogueQuestion)
	if err != nil {
		return nil, nil, Answer{}, err
	}
	noun := answer.Noun().(*catalogueNoun)
	query = strings.ToLower(query)
	take := func(match func(a sdk.Asset) bool) {
		for _, a := range noun.Assets {
			if len(assets) == maxSymbols {
				return
			}
			if match(a) {
				assets = append(assets, a)
			}
		}
	}
	exact := func(a sdk.Asset) bool { return a.Symbol == query || a.ID == query }
	if query != "" {
		take(exact)
	}
	take(func(a sdk.Asset) bool {
		return !exact(a) && (strings.HasPrefix(a.Symbol, query) || strings.HasPrefix(strings.ToLower(a.Name), query))
	})
	ambiguous = make(map[string]bool)
	for _, a := range assets {
		ambiguous[a.Symbol] = len(noun.bySymbol[a.Symbol]) > 1
	}
	return assets, ambiguous, answer, nil
}
