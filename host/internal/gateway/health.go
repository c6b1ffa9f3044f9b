package gateway

import (
	"context"
	"net/http"

	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/sdk"
)

// insightRoutes are the routes that tell how the host and its islands are. Whatever stands in the query string is
// ignored, since probes like to add something to it.
func (g *Gateway) insightRoutes(app *fiber.App) {
	in := g.opts.Insight
	app.Get("/health/live", g.live)
	app.Get("/health/ready", g.ready)
	app.Get("/health/system", g.health(in.System))
	app.Get("/health/cache", g.health(in.CacheHealth))
	app.Get("/health/external-apis", g.health(in.ExternalAPIsHealth))
	app.Get("/health/database", g.health(in.DatabaseHealth))
	app.Get("/health/islands", g.health(in.IslandsHealth))
	app.Get("/health/islands/:name", func(c *fiber.Ctx) error {
		name, err := islandName(c)
		if err != nil {
			return err
		}
		body, status, err := in.IslandHealth(contextOf(c), name)
		if err != nil {
			return unknownIsland(err)
		}
		return g.writeInsight(c, body, httpStatus(status))
	})
	app.Get("/metrics/cache", g.metrics(in.CacheMetrics))
	app.Get("/metrics/database", g.metrics(in.DatabaseMetrics))
	app.Get("/metrics/performance", g.metrics(func(context.Context) (any, error) { return in.Performance(), nil }))
	app.Get("/metrics/feed", g.metrics(func(context.Context) (any, error) { return in.FeedMetrics(), nil }))
	app.Get("/metrics/islands/:name", func(c *fiber.Ctx) error {
		name, err := islandName(c)
		if err != nil {
			return err
		}
		return g.metrics(func(ctx context.Context) (any, error) {
			body, err := in.IslandMetrics(ctx, name)
			if err != nil {
				return nil, unknownIsland(err)
			}
			return body, nil
		})(c)
	})
}

// live says that the process answers.
func (g *Gateway) live(c *fiber.Ctx) error {
	return g.writeInsight(c, struct {
		Status sdk.Status `json:"status"`
	}{sdk.StatusOK}, http.StatusOK)
}

// ready says whether requests should be sent here: not before the islands run, and not while the host shuts down.
func (g *Gateway) ready(c *fiber.Ctx) error {
	body := struct {
		Status sdk.Status `json:"status"`
		Ready  bool       `json:"ready"`
		Reason string     `json:"reason"`
	}{}
	if g.draining.Load() {
		body.Reason = "the host is shutting down"
	} else {
		body.Ready, body.Reason = g.opts.Insight.Ready()
	}
	if !body.Ready {
		body.Status = sdk.StatusFailed
	}
	return g.writeInsight(c, body, httpStatus(body.Status))
}

// health answers with a status and what belongs to it.
func (g *Gateway) health(ask func(context.Context) (any, sdk.Status)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		body, status := ask(contextOf(c))
		return g.writeInsight(c, body, httpStatus(status))
	}
}

// metrics answers with figures.
func (g *Gateway) metrics(ask func(context.Context) (any, error)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		body, err := ask(contextOf(c))
		if err != nil {
			return err
		}
		return g.writeInsight(c, body, http.StatusOK)
	}
}

// httpStatus lets a probe do without JSON: what has failed answers 503.
func httpStatus(status sdk.Status) int {
	if status >= sdk.StatusFailed {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// writeInsight writes a body that holds for this moment only.
func (g *Gateway) writeInsight(c *fiber.Ctx, body any, status int) error {
	encoded, err := encodeAny(body)
	if err != nil {
		return err
	}
	rctx := c.Context()
	h := &rctx.Response.Header
	rctx.SetStatusCode(status)
	noStore.set(h)
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", retrySeconds(0))
	}
	h.SetContentType(jsonType)
	rctx.Response.SetBodyRaw(encoded)
	return nil
}

// islandName returns the name of an island in the path, which may hold letters, digits, hyphens and underscores.
func islandName(c *fiber.Ctx) (string, error) {
	name := c.Params("name")
	for i := range len(name) {
		if b := name[i]; !isAlphanumeric(b) && b != '-' && b != '_' {
			return "", unknownIsland(sdk.NotFound)
		}
	}
	if name == "" || len(name) > 64 {
		return "", unknownIsland(sdk.NotFound)
	}
	return string([]byte(name)), nil
}

// unknownIsland says of a NotFound that it is the island that is not known.
func unknownIsland(err error) error {
	if sdk.KindOf(err) != sdk.NotFound {
		return err
	}
	return &problem{
		status: http.StatusNotFound, code: "unknown_island", title: "Unknown island",
		detail: "No island of this name is configured; /health/islands lists those that are.",
	}
}
