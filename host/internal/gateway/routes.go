package gateway

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/sdk"
)

// publicRoutes are the routes of the API. Those that are asked for most stand first: the router walks them in order.
func (g *Gateway) publicRoutes(app *fiber.App, reports map[string][]string) {
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		app.Get("/api/"+name+"/:symbol", g.report(name, reports[name]))
	}
	app.Get("/api/market-data/global", g.global)
	app.Get("/api/market-data/:symbol", g.quote)
	app.Get("/api/market-data", g.quotes)
	app.Get("/api/candles/:symbol", g.candles)
	app.Get("/api/history/:symbol", g.history)
	app.Get("/api/symbols", g.symbols)

	// A symbol that holds a slash, or none at all, is as malformed as any other.
	for _, name := range slices.Sorted(maps.Keys(reports)) {
		app.Get("/api/"+name+"/*", noSymbol)
	}
	for _, name := range []string{"market-data", "candles", "history"} {
		app.Get("/api/"+name+"/*", noSymbol)
	}
	g.liveRoutes(app)
	g.insightRoutes(app)
}

func noSymbol(*fiber.Ctx) error { return malformedSymbol() }

// contextOf returns the context of a request.
func contextOf(c *fiber.Ctx) *requestContext {
	rc, ok := c.Context().UserValue(requestKey{}).(*requestContext)
	if !ok {
		panic("a route outside Gateway.serve")
	}
	return rc
}

// report answers with a report, in one of its formats.
func (g *Gateway) report(name string, formats []string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		symbol, err := pathSymbol(c)
		if err != nil {
			return err
		}
		q, err := readQuery(c, vsCurrencyParam, formatParam)
		if err != nil {
			return err
		}
		vsCurrency, err := q.vsCurrency()
		if err != nil {
			return err
		}
		format, err := chosenFormat(c, &q, formats)
		if err != nil {
			return err
		}
		answer, err := g.opts.Market.Report(contextOf(c), name, symbol, vsCurrency, format)
		if err != nil {
			return unknownAsset(err)
		}
		return g.answer(c, &answer, formats)
	}
}

// chosenFormat returns the format to answer in: that of ?format=, or else the best of the Accept header.
func chosenFormat(c *fiber.Ctx, q *query, formats []string) (string, error) {
	if asked := q[formatParam]; asked != "" {
		if i := slices.Index(formats, asked); i >= 0 {
			return formats[i], nil
		}
		return "", badValue(formatParam, asked, "one of "+strings.Join(formats, ", "), closest(asked, formats, 1)...)
	}
	if format := chooseFormat(text(c.Request().Header.PeekCanonical(nameAccept)), formats); format != "" {
		return format, nil
	}
	return "", notAcceptable(formats)
}

// acceptsJSON refuses a client that takes anything but JSON.
func acceptsJSON(c *fiber.Ctx) error {
	if accept := c.Request().Header.PeekCanonical(nameAccept); chooseFormat(text(accept), jsonOnly) == "" {
		return notAcceptable(jsonOnly)
	}
	return nil
}

var jsonOnly = []string{"json"}

func notAcceptable(formats []string) *problem {
	types := make([]string, len(formats))
	for i, format := range formats {
		types[i] = mediaType(format)
	}
	return &problem{
		status: http.StatusNotAcceptable, code: "not_acceptable", title: "Not acceptable",
		detail: "This is not available in a type that the Accept header takes.", suggestions: types,
	}
}

// answer writes what the market answered, which may not exist in the format that was asked for.
func (g *Gateway) answer(c *fiber.Ctx, answer *Answer, formats []string) error {
	if answer.Representation == nil {
		return notAcceptable(formats)
	}
	g.writeAnswer(c.Context(), answer)
	return nil
}

// quote answers what one asset is worth.
func (g *Gateway) quote(c *fiber.Ctx) error {
	symbol, err := pathSymbol(c)
	if err != nil {
		return err
	}
	q, err := readQuery(c, vsCurrencyParam, sourceParam)
	if err != nil {
		return err
	}
	vsCurrency, source, err := g.quoteTerms(c, &q)
	if err != nil {
		return err
	}
	answer, err := g.opts.Market.Quote(contextOf(c), symbol, vsCurrency, source)
	if err != nil {
		return unknownAsset(err)
	}
	return g.answer(c, &answer, jsonOnly)
}

// quoteTerms returns the currency and the source that quotes are asked in and from.
func (g *Gateway) quoteTerms(c *fiber.Ctx, q *query) (vsCurrency, source string, err error) {
	if err = acceptsJSON(c); err != nil {
		return "", "", err
	}
	if vsCurrency, err = q.vsCurrency(); err != nil {
		return "", "", err
	}
	if source = q[sourceParam]; source != "" && !g.opts.Market.HasSource(source) {
		return "", "", badValue(sourceParam, source, "a source that answers quotes; "+
			"/health/external-apis lists the sources")
	}
	return vsCurrency, source, nil
}

// global answers how the whole market is.
func (g *Gateway) global(c *fiber.Ctx) error {
	q, err := readQuery(c, vsCurrencyParam)
	if err != nil {
		return err
	}
	if err = acceptsJSON(c); err != nil {
		return err
	}
	vsCurrency, err := q.vsCurrency()
	if err != nil {
		return err
	}
	answer, err := g.opts.Market.Global(contextOf(c), vsCurrency)
	if err != nil {
		return err
	}
	return g.answer(c, &answer, jsonOnly)
}

// defaultCandles is how many candles are answered with when nobody says.
const defaultCandles = 365

// candles answers how a price moved.
func (g *Gateway) candles(c *fiber.Ctx) error {
	symbol, err := pathSymbol(c)
	if err != nil {
		return err
	}
	q, err := readQuery(c, vsCurrencyParam, intervalParam, limitParam)
	if err != nil {
		return err
	}
	if err = acceptsJSON(c); err != nil {
		return err
	}
	vsCurrency, err := q.vsCurrency()
	if err != nil {
		return err
	}
	interval, err := q.interval()
	if err != nil {
		return err
	}
	limit, err := q.limit(defaultCandles)
	if err != nil {
		return err
	}
	answer, err := g.opts.Market.Candles(contextOf(c), symbol, vsCurrency, interval, limit)
	if err != nil {
		return unknownAsset(err)
	}
	return g.answer(c, &answer, jsonOnly)
}

// quotes answers what several assets are worth: {"quotes":[…],"missing":[…]}, both in the order of the question. Missing
// are those that are unknown and those that could not be had; when none could, the first failure is the answer.
func (g *Gateway) quotes(c *fiber.Ctx) error {
	q, err := readQuery(c, symbolsParam, vsCurrencyParam, sourceParam)
	if err != nil {
		return err
	}
	symbols, err := q.symbols(g.opts.MaxSymbols)
	if err != nil {
		return err
	}
	vsCurrency, source, err := g.quoteTerms(c, &q)
	if err != nil {
		return err
	}
	answers, errs := g.opts.Market.Quotes(contextOf(c), symbols, vsCurrency, source)
	size := 64
	var failure error
	var parts [][]byte
	var together Answer
	for i := range symbols {
		switch {
		case errs[i] == nil && answers[i].Representation != nil:
			if len(parts) == 0 {
				together = answers[i]
			}
			together.add(&answers[i])
			parts = append(parts, answers[i].Representation.Body)
			size += len(answers[i].Representation.Body) + 1
		case errs[i] != nil && failure == nil && !errors.Is(errs[i], sdk.NotFound):
			failure = errs[i]
		}
	}
	if len(parts) == 0 && failure != nil {
		return failure
	}
	body := append(make([]byte, 0, size), `{"quotes":[`...)
	for i, part := range parts {
		if i > 0 {
			body = append(body, ',')
		}
		body = append(body, part...)
	}
	body = append(body, `],"missing":[`...)
	missing := 0
	for i, symbol := range symbols {
		if errs[i] == nil && answers[i].Representation != nil {
			continue
		}
		if missing++; missing > 1 {
			body = append(body, ',')
		}
		body = appendString(body, symbol)
	}
	body = append(body, "]}"...)
	switch now := g.opts.Now(); {
	case len(parts) == 0:
		together = Answer{Tier: "miss", StoredAt: now, FreshUntil: now, StaleUntil: now}
	case missing > 0 && now.Before(together.FreshUntil):
		together.FreshUntil = now // What is missing may be there in a moment.
	}
	g.writeJSON(c.Context(), body, tagOf(body), &together)
	return nil
}

// farness orders the tiers of X-Cache: that of several answers is the farthest.
var farness = map[string]int{"near": 0, "l1": 1, "l2": 2, "store": 3, "miss": 4, "stale": 5}

// add makes an answer as old and as short-lived as another that becomes part of it.
func (a *Answer) add(other *Answer) {
	if other.StoredAt.Before(a.StoredAt) {
		a.StoredAt = other.StoredAt
	}
	if other.FreshUntil.Before(a.FreshUntil) {
		a.FreshUntil = other.FreshUntil
	}
	if other.StaleUntil.Before(a.StaleUntil) {
		a.StaleUntil = other.StaleUntil
	}
	if farness[other.Tier] > farness[a.Tier] {
		a.Tier = other.Tier
	}
	a.Stale = a.Stale || other.Stale
}

// defaultHistory is how many stored quotes a page holds when nobody says.
const defaultHistory = 100

// history answers with stored quotes, a page at a time.
func (g *Gateway) history(c *fiber.Ctx) error {
	symbol, err := pathSymbol(c)
	if err != nil {
		return err
	}
	q, err := readQuery(c, vsCurrencyParam, fromParam, toParam, limitParam, cursorParam)
	if err != nil {
		return err
	}
	if err = acceptsJSON(c); err != nil {
		return err
	}
	req := sdk.HistoryRequest{Symbol: symbol}
	if req.VsCurrency, err = q.vsCurrency(); err != nil {
		return err
	}
	if req.From, req.To, err = q.span(g.opts.Now()); err != nil {
		return err
	}
	if req.Limit, err = q.limit(defaultHistory); err != nil {
		return err
	}
	if req.Cursor, err = q.cursor(); err != nil {
		return err
	}
	page, err := g.opts.Market.History(contextOf(c), req)
	if err != nil {
		if req.Cursor != "" && errors.Is(err, sdk.InvalidArgument) {
			return badValue(cursorParam, req.Cursor, "what a page named as its next")
		}
		return err
	}
	body := encodeHistory(req, page)
	g.writeJSON(c.Context(), body, tagOf(body), nil)
	return nil
}

// symbols searches the catalogue.
func (g *Gateway) symbols(c *fiber.Ctx) error {
	q, err := readQuery(c, searchParam)
	if err != nil {
		return err
	}
	if err = acceptsJSON(c); err != nil {
		return err
	}
	search, err := q.search()
	if err != nil {
		return err
	}
	assets, ambiguous, answer, err := g.opts.Market.Symbols(contextOf(c), search)
	if err != nil {
		return err
	}
	body := encodeSymbols(assets, ambiguous)
	g.writeJSON(c.Context(), body, tagOf(body), &answer)
	return nil
}
