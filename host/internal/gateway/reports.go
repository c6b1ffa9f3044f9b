package gateway

import (
	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/sdk"
)

// checkReports reports what cannot be a route.
func checkReports(reports map[string][]string) error {
	for name, formats := range reports {
		if _, ok := parseSymbol(name); !ok || reserved[name] {
			return sdk.Errorf(sdk.InvalidArgument, "report %q cannot be a route: a name has at most 32 letters, digits and "+
				"hyphens and is not that of another route", name)
		}
		if len(formats) == 0 {
			return sdk.Errorf(sdk.InvalidArgument, "report %q comes in no format", name)
		}
	}
	return nil
}

// publicApp makes the app of the API with a route for each report.
func (g *Gateway) publicApp(reports map[string][]string) *fiber.App {
	app := g.newApp()
	g.publicRoutes(app, reports)
	if g.opts.AdminToken != "" {
		g.adminRoutes(app, g.bearer(g.opts.AdminToken))
	}
	return app
}

// SetReports makes other reports the ones that there are, under the rules of Options.Reports. Requests under way end by the
// routes they began with. An InvalidArgument error changes nothing. It must not be called twice at once.
func (g *Gateway) SetReports(reports map[string][]string) error {
	if err := checkReports(reports); err != nil {
		return err
	}
	routes := g.publicApp(reports).Handler()
	g.reports.Store(&reports)
	g.public.routes.Store(&routes)
	return nil
}
