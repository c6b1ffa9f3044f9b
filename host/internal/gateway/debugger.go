package gateway

import (
	"context"
	"fmt"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/hashicorp/go-hclog"
)

// Bounds of a debugger's command.
const (
	maxDebuggerArgs = 64
	maxDebuggerArg  = 4096
)

// debuggerRoutes put islands under a debugger. They are for the admin socket alone: who may say what is executed has to be the
// user who runs the host.
func (g *Gateway) debuggerRoutes(app *fiber.App) {
	op := g.opts.Operator
	app.Post("/admin/islands/:name/attach", g.operate(func(ctx context.Context, c *fiber.Ctx) (any, error) {
		name, err := islandName(c)
		if err != nil {
			return nil, err
		}
		var req struct {
			Debugger []string `json:"debugger"`
		}
		if err := readBody(c, &req); err != nil {
			return nil, err
		}
		if err := checkDebugger(req.Debugger); err != nil {
			return nil, err
		}
		return map[string]string{"island": name, "result": "attached"}, op.Attach(ctx, name, req.Debugger)
	}))
	// It comes every few seconds from a program, not from an operator.
	app.Post("/admin/islands/:name/keep", g.operateAt(hclog.Debug, onIsland("kept", func(_ context.Context, name string) error { return op.Keep(name) })))
	app.Post("/admin/islands/:name/detach", g.operate(onIsland("detached", op.Detach)))
}

// checkDebugger reports what is wrong with a command.
func checkDebugger(command []string) error {
	if len(command) == 0 || command[0] == "" || len(command) > maxDebuggerArgs {
		return badBody("debugger", fmt.Sprintf("wants a command with its arguments, at most %d", maxDebuggerArgs))
	}
	for _, arg := range command {
		if len(arg) > maxDebuggerArg || strings.ContainsRune(arg, 0) {
			return badBody("debugger", fmt.Sprintf("wants arguments of at most %d bytes, without zeros", maxDebuggerArg))
		}
	}
	return nil
}
