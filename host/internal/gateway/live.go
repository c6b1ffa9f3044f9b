package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/service-islands/islands/sdk"
)

// liveRoutes are the routes of the live feed.
func (g *Gateway) liveRoutes(app *fiber.App) {
	if g.opts.Feed == nil {
		return
	}
	app.Get("/ws", g.webSocket())
	app.Get("/api/stream", g.eventStream)
}

// admit refuses a client of the live feed that would not be let in: of an origin that may not connect, or one too many.
func (g *Gateway) admit(c *fiber.Ctx) (netip.Addr, error) {
	if origin := c.Get(fiber.HeaderOrigin); !allowsOrigin(g.opts.Origins, origin) {
		return netip.Addr{}, &problem{
			status: http.StatusForbidden, code: "origin_not_allowed", title: "Origin not allowed",
			detail: "Pages of this origin may not connect to the live feed.",
		}
	}
	from := g.proxies.client(c.Context())
	return from, crowded(g.opts.Feed.Full(from))
}

// crowded says of a refusal of the hub what a client can do about it.
func crowded(err error) error {
	p := &problem{retryable: true, retryAfter: sdk.RetryAfter(err), policy: "connections"}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sdk.RateLimited):
		p.status, p.code, p.title = http.StatusTooManyRequests, "too_many_connections", "Too many connections"
		p.detail = "This address has as many connections to the live feed as one may have."
	case errors.Is(err, sdk.ResourceExhausted):
		p.status, p.code, p.title = http.StatusServiceUnavailable, "feed_full", "Feed full"
		p.detail = "The live feed has as many clients as this host serves."
	default:
		return err
	}
	return p
}

// allowsOrigin reports whether a page of an origin may connect. Patterns are "*", scheme://host[:port], or that with a
// host of "*.domain" for all hosts below a domain. What sends no origin is no browser.
func allowsOrigin(patterns []string, origin string) bool {
	if origin == "" {
		return true
	}
	origin = strings.ToLower(origin)
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		before, after, wild := strings.Cut(pattern, "*")
		switch {
		case !wild:
			return origin == pattern
		case before == "" && after == "":
			return true
		}
		rest, ok := strings.CutPrefix(origin, before)
		below, ok2 := strings.CutSuffix(rest, after)
		return ok && ok2 && below != "" && !strings.ContainsAny(below, "/:@?#")
	})
}

// channels reads ?channels=, which lists channels of the feed; none when there is no such parameter.
func (g *Gateway) channels(c *fiber.Ctx) ([]string, error) {
	q, err := readQuery(c, channelsParam)
	if err != nil || q[channelsParam] == "" {
		return nil, err
	}
	names := strings.Split(strings.ToLower(q[channelsParam]), ",")
	if most := g.opts.Feed.MaxSubscriptions(); len(names) > most {
		return nil, badValue(channelsParam, q[channelsParam], fmt.Sprintf("at most %d channels", most))
	}
	if known, unknown := g.opts.Feed.Known(names); len(unknown) > 0 {
		return nil, badValue(channelsParam, unknown[0], "channels such as ticker:*, ticker:btc, global or islands; "+
			"the welcome lists those there are", closest(unknown[0], known, 1)...)
	}
	return names, nil
}

// takeOver makes the connection of a hijacked request the feed's, and returns what of it has been read already.
func takeOver(raw, hijacked net.Conn) (*socket, []byte, error) {
	// The server may have read beyond the request. A read that may not wait brings no more than that.
	if err := raw.SetReadDeadline(longAgo); err != nil {
		return nil, nil, err
	}
	var first []byte
	var chunk [512]byte
	for {
		n, err := hijacked.Read(chunk[:])
		first = append(first, chunk[:n]...)
		if err != nil {
			break
		}
	}
	if err := raw.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	return newSocket(raw), first, nil
}

// listens counts a client whose connection is read in a goroutine of its own, so that the server can let go of everything
// that it keeps for a request.
func (g *Gateway) listens(read func()) {
	g.listeners.Go(func() {
		defer func() {
			if p := recover(); p != nil {
				g.opts.Logger.Error("panic while reading from a client of the live feed", "panic", fmt.Sprint(p))
			}
		}()
		read()
	})
}

// sendAway tells the clients of the live feed to come back later, and returns when they have gone, within half of the time
// that the shutdown has.
func (g *Gateway) sendAway(ctx context.Context) {
	if g.opts.Feed == nil {
		return
	}
	budget := maxFarewell
	if deadline, ok := ctx.Deadline(); ok {
		budget = min(budget, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, budget)
	defer cancel()
	g.opts.Feed.Shutdown(ctx)
	g.listeners.Wait()
}

// maxFarewell is the most that sending the clients of the live feed away may take of a shutdown.
const maxFarewell = 5 * time.Second
