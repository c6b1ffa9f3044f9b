package gateway

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// adminRoutes are what an operator may do. Guard decides who is one.
func (g *Gateway) adminRoutes(app *fiber.App, guard fiber.Handler) {
	op := g.opts.Operator
	admin := app.Group("/admin", guard)
	admin.Get("/status", g.operate(func(ctx context.Context, _ *fiber.Ctx) (any, error) { return op.Status(ctx), nil }))
	admin.Get("/islands/:name/crashes", g.operate(func(_ context.Context, c *fiber.Ctx) (any, error) {
		name, err := islandName(c)
		if err != nil {
			return nil, err
		}
		return op.Crashes(name)
	}))
	admin.Post("/islands/:name/restart", g.operate(onIsland("restarted", op.Restart)))
	admin.Post("/islands/:name/reset", g.operate(onIsland("reset", op.Reset)))
	admin.Post("/islands/:name/swap", g.operate(func(ctx context.Context, c *fiber.Ctx) (any, error) {
		name, err := islandName(c)
		if err != nil {
			return nil, err
		}
		var req struct {
			To     string `json:"to"`
			SHA256 string `json:"sha256"`
		}
		if len(bytes.TrimSpace(c.Request().Body())) > 0 {
			if err := readBody(c, &req); err != nil {
				return nil, err
			}
		}
		if err := checkSwap(req.To, req.SHA256); err != nil {
			return nil, err
		}
		return map[string]string{"island": name, "result": "swapped"}, op.Swap(ctx, name, req.To, req.SHA256)
	}))
	admin.Post("/reload", g.operate(func(ctx context.Context, c *fiber.Ctx) (any, error) {
		if len(bytes.TrimSpace(c.Request().Body())) > 0 {
			if err := readBody(c, &struct{}{}); err != nil {
				return nil, err
			}
		}
		return op.Reload(ctx)
	}))
	admin.Post("/cache/invalidate", g.operate(func(ctx context.Context, c *fiber.Ctx) (any, error) {
		var req struct {
			Patterns []string `json:"patterns"`
		}
		if err := readBody(c, &req); err != nil {
			return nil, err
		}
		if err := checkPatterns(req.Patterns); err != nil {
			return nil, err
		}
		n, err := op.Invalidate(ctx, req.Patterns)
		return map[string]int{"invalidated": n}, err
	}))
	admin.Post("/cache/tiers/:tier", g.operate(func(ctx context.Context, c *fiber.Ctx) (any, error) {
		tier := strings.Clone(c.Params("tier"))
		if tier != "l1" && tier != "l2" {
			return nil, sdk.Errorf(sdk.NotFound, "no tier %q; the tiers are l1 and l2", shown(tier))
		}
		var req struct {
			Enabled *bool `json:"enabled"`
		}
		if err := readBody(c, &req); err != nil {
			return nil, err
		}
		if req.Enabled == nil {
			return nil, badBody("enabled", "is required: true or false")
		}
		return map[string]any{"tier": tier, "enabled": *req.Enabled}, op.SetTier(ctx, tier, *req.Enabled)
	}))
}

// checkSwap reports what is wrong with the binary that is to replace another.
func checkSwap(to, sum string) error {
	if to != "" && !filepath.IsAbs(to) {
		return badBody("to", "wants an absolute path: the host and you may not be in the same folder")
	}
	if sum != "" {
		if raw, err := hex.DecodeString(sum); err != nil || len(raw) != sha256.Size || strings.ToLower(sum) != sum {
			return badBody("sha256", "wants 64 hexadecimal digits in lower case")
		}
	}
	return nil
}

// onIsland carries out a change of one island that takes no more than its name.
func onIsland(done string, change func(context.Context, string) error) func(context.Context, *fiber.Ctx) (any, error) {
	return func(ctx context.Context, c *fiber.Ctx) (any, error) {
		name, err := islandName(c)
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(c.Request().Body())) > 0 {
			if err := readBody(c, &struct{}{}); err != nil {
				return nil, err
			}
		}
		return map[string]string{"island": name, "result": done}, change(ctx, name)
	}
}

// operate carries out an operator's request. Its errors are shown in full, other than those of the API.
func (g *Gateway) operate(do func(context.Context, *fiber.Ctx) (any, error)) fiber.Handler {
	return g.operateAt(hclog.Info, do)
}

// operateAt is operate for requests whose coming is worth a line of that level.
func (g *Gateway) operateAt(level hclog.Level, do func(context.Context, *fiber.Ctx) (any, error)) fiber.Handler {
	return func(c *fiber.Ctx) error {
		ctx := contextOf(c)
		ctx.deadline = startOf(c.Context()).Add(g.limits.operation) // Nobody else has the context yet.
		if c.Method() == http.MethodPost {
			g.opts.Logger.Log(level, "operator request", "path", instance(c.Context().URI().PathOriginal()),
				"request_id", ctx.id.String())
		}
		body, err := do(ctx, c)
		if err != nil {
			return operatorProblem(err)
		}
		return g.writeInsight(c, body, http.StatusOK)
	}
}

// operatorProblem is an error with its own text.
func operatorProblem(err error) *problem {
	var ready *problem
	if errors.As(err, &ready) {
		return ready
	}
	p := *problemOf(err)
	p.detail = err.Error()
	return &p
}

// anyone lets everybody pass: who may open the socket is for the file system to say.
func anyone(c *fiber.Ctx) error { return c.Next() }

// readBody reads a JSON object, strictly.
func readBody(c *fiber.Ctx, into any) error {
	d := json.NewDecoder(bytes.NewReader(c.Request().Body()))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		if errors.Is(err, io.EOF) {
			return badBody("", "a JSON object is required")
		}
		return badBody("", strings.TrimPrefix(err.Error(), "json: "))
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return badBody("", "one JSON object is required, and nothing after it")
	}
	return nil
}

func badBody(member, detail string) *problem {
	return &problem{
		status: http.StatusBadRequest, code: "invalid_body", title: "Invalid body",
		detail: "The body is not what this route takes.", faults: []fault{{Parameter: member, Detail: detail}},
	}
}

// Bounds of one invalidation.
const (
	maxPatterns = 1000
	maxPattern  = 512
)

func checkPatterns(patterns []string) error {
	if len(patterns) == 0 || len(patterns) > maxPatterns {
		return badBody("patterns", fmt.Sprintf("wants 1 to %d keys or globs such as crypto_report_*", maxPatterns))
	}
	for _, pattern := range patterns {
		if pattern == "" || len(pattern) > maxPattern {
			return badBody("patterns", fmt.Sprintf("a key or glob has 1 to %d bytes", maxPattern))
		}
	}
	return nil
}
