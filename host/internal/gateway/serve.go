package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// server is an app and the listener it serves.
type server struct {
	app      *fiber.App
	handler  fasthttp.RequestHandler
	routes   atomic.Pointer[fasthttp.RequestHandler] // what the handler ends in
	listener net.Listener
	served   chan struct{} // closed when the listener is no longer served; nil before serve
	err      error         // of serving, once served is closed
	watch    *watch
}

// newApp makes a fiber app without routes.
func (g *Gateway) newApp() *fiber.App {
	return fiber.New(fiber.Config{
		StrictRouting: true, CaseSensitive: true,
		BodyLimit: g.limits.body, ReadBufferSize: g.limits.header,
		DisablePreParseMultipartForm: true, DisableStartupMessage: true, DisableDefaultContentType: true,
		ErrorHandler: func(c *fiber.Ctx, err error) error {
			g.fail(c.Context(), err)
			return nil
		},
	})
}

// writeBuffer holds a report with its header, so that they leave in one plain write, in bytes. Larger answers are written
// from where they are.
const writeBuffer = 8 << 10

// newServer makes the server of an app. Public says whether browsers of any origin may use it.
func (g *Gateway) newServer(app *fiber.App, public bool) *server {
	s := &server{app: app, watch: newWatch(g.limits)}
	routes := app.Handler()
	s.routes.Store(&routes)
	s.handler = func(rctx *fasthttp.RequestCtx) { g.serve(rctx, s.watch, *s.routes.Load(), public) }
	fast := app.Server()
	fast.Handler = s.handler
	fast.ConnState = s.watch.track
	fast.LazyRequestTime = true
	fast.WriteBufferSize = writeBuffer
	fast.KeepHijackedConns = true // The live feed closes its own.
	// Who asks before it sends a body that is too large is told so at once.
	fast.ExpectHandler = func(rctx *fasthttp.RequestCtx) int {
		if rctx.Request.Header.ContentLength() <= g.limits.body {
			return http.StatusContinue
		}
		g.fail(rctx, fiber.ErrRequestEntityTooLarge)
		return http.StatusRequestEntityTooLarge
	}
	return s
}

// requestKey is the key of the request context among a request's user values.
type requestKey struct{}

// serve is what every request passes: it gets its id, its time and the headers that every answer has, and a panic
// becomes a problem. What is warm is answered before the router and without a context.
func (g *Gateway) serve(rctx *fasthttp.RequestCtx, w *watch, routes fasthttp.RequestHandler, public bool) {
	var id requestID
	id.take(rctx.Request.Header.PeekCanonical(nameRequestID))
	var started time.Time
	if g.opts.Logger.IsDebug() {
		started = startOf(rctx)
	}
	defer g.end(rctx, w, &id, started)
	always(rctx, &id)
	var refusal *problem
	if public {
		anyOrigin.set(&rctx.Response.Header)
		exposed.set(&rctx.Response.Header)
		if g.strict.value != nil {
			g.strict.set(&rctx.Response.Header)
		}
		if g.allowance == nil {
			if rctx.IsGet() && g.warm(rctx) {
				return
			}
		} else {
			client := clientOf(g.proxies.client(rctx))
			if refusal = g.pays(rctx, client, warmPrice); refusal == nil {
				if rctx.IsGet() && g.warm(rctx) {
					return
				}
				if !paysWarm(rctx) {
					if refusal = g.pays(rctx, client, wholePrice-warmPrice); refusal == nil {
						defer g.settle(rctx, client)
					} else {
						g.allowance.give(client, warmPrice) // A refusal costs nothing.
					}
				}
			}
		}
	} else if conn, ok := rctx.Conn().(*peerConn); ok && conn.why != "" {
		refusal = refusedPeer
	}
	intime := w.step(rctx.Conn(), working)
	g.begin(rctx, &id)
	if !intime {
		rctx.SetConnectionClose()
		g.fail(rctx, fiber.ErrRequestTimeout)
		return
	}
	if refusal != nil {
		g.fail(rctx, refusal)
		return
	}
	if !rctx.IsGet() && !rctx.IsHead() && twoLengths(&rctx.Request.Header) {
		rctx.SetConnectionClose()
		g.fail(rctx, errTwoLengths)
		return
	}
	if method := rctx.Method(); !rctx.IsGet() && !rctx.IsHead() && !rctx.IsPost() {
		if public && rctx.IsOptions() && openToAnyOrigin(rctx.URI().PathOriginal()) {
			preflight(rctx)
			return
		}
		if !slices.Contains(fiber.DefaultMethods, string(method)) {
			rctx.Response.Header.Set(fiber.HeaderAllow, "GET, HEAD, OPTIONS")
			g.fail(rctx, fiber.ErrMethodNotAllowed)
			return
		}
	}
	routes(rctx)
}

// errTwoLengths refuses a request that says in two ways how long it is. Somebody in between may have believed the other one.
var errTwoLengths = &problem{
	status: http.StatusBadRequest, code: "malformed_request", title: "Malformed request",
	detail: "A request has a Content-Length or a Transfer-Encoding, and not both.",
}

// twoLengths reports whether a request has both.
func twoLengths(h *fasthttp.RequestHeader) bool {
	var length, coding bool
	for line := range bytes.Lines(h.RawHeaders()) {
		name, _, _ := bytes.Cut(line, []byte(":"))
		length = length || bytes.EqualFold(name, []byte("content-length"))
		coding = coding || bytes.EqualFold(name, []byte("transfer-encoding"))
	}
	return length && coding
}

// warm answers a request for a report when the market has the answer at hand. It knows the plainest form of such a
// request only, GET /api/REPORT/SYMBOL in lower case; all others go by the route, which answers this one in the same way.
func (g *Gateway) warm(rctx *fasthttp.RequestCtx) bool {
	rest, ok := strings.CutPrefix(text(rctx.Request.Header.RequestURI()), "/api/")
	if !ok {
		return false
	}
	report, symbol, _ := strings.Cut(rest, "/")
	formats := (*g.reports.Load())[report]
	if formats == nil || !plainSymbol(symbol) {
		return false
	}
	format := chooseFormat(text(rctx.Request.Header.PeekCanonical(nameAccept)), formats)
	if format == "" {
		return false
	}
	answer, ok := g.opts.Market.WarmReport(report, symbol, currencies[0], format)
	if ok {
		g.writeAnswer(rctx, &answer)
	}
	return ok
}

// always sets the headers that every answer has.
func always(rctx *fasthttp.RequestCtx, id *requestID) {
	rctx.Response.Header.SetCanonical(nameRequestID, id.bytes())
	noSniff.set(&rctx.Response.Header)
}

// begin makes the context of a request.
func (g *Gateway) begin(rctx *fasthttp.RequestCtx, id *requestID) *requestContext {
	rc := &requestContext{
		base: g.base, deadline: startOf(rctx).Add(g.opts.RequestTimeout), id: *id, client: clientOf(g.proxies.client(rctx)),
	}
	rctx.SetUserValue(requestKey{}, rc)
	return rc
}

// startOf is when a request was first asked for its time.
func startOf(rctx *fasthttp.RequestCtx) time.Time {
	if started := rctx.Time(); !started.IsZero() {
		return started
	}
	return time.Now() // There is no server around it.
}

// end turns a panic into a problem and ends the context of the request. Started is zero when nobody reads debug lines.
func (g *Gateway) end(rctx *fasthttp.RequestCtx, w *watch, id *requestID, started time.Time) {
	p := recover()
	rc, ok := rctx.UserValue(requestKey{}).(*requestContext)
	if p != nil {
		g.opts.Logger.Error("panic while answering", "panic", fmt.Sprint(p), "request_id", id.String(),
			"path", instance(rctx.URI().PathOriginal()), "stack", string(debug.Stack()))
		rctx.Response.Reset()
		always(rctx, id)
		if !ok {
			rc, ok = g.begin(rctx, id), true
		}
		g.fail(rctx, errPanic)
	}
	if ok {
		rc.end()
	}
	if !rctx.Response.IsBodyStream() && !w.step(rctx.Conn(), writing) { // Whoever streams bounds what he writes.
		rctx.SetConnectionClose() // It came late, but here it is.
	}
	if !started.IsZero() {
		g.opts.Logger.Debug("request", "method", string(rctx.Method()), "path", instance(rctx.URI().PathOriginal()),
			"status", rctx.Response.StatusCode(), "duration", time.Since(started), "request_id", id.String(),
			"address", g.proxies.client(rctx).String())
	}
}

// errPanic is why a request failed whose handler panicked. The panic itself was logged.
var errPanic = &problem{
	status: kindProblems[0].status, code: "internal", title: kindProblems[0].title, detail: kindProblems[0].detail,
}

// fail answers with an error. What is the host's own fault is logged, since the client is not told what it was.
func (g *Gateway) fail(rctx *fasthttp.RequestCtx, err error) {
	rc, ok := rctx.UserValue(requestKey{}).(*requestContext)
	if !ok { // The request could not be read, so that it did not come by serve.
		var id requestID
		id.take(rctx.Request.Header.PeekCanonical(nameRequestID))
		always(rctx, &id)
		anyOrigin.set(&rctx.Response.Header)
		exposed.set(&rctx.Response.Header)
		rc = g.begin(rctx, &id)
	}
	var ready *problem
	p := problemOf(err)
	if p.status == http.StatusInternalServerError && !errors.As(err, &ready) {
		g.opts.Logger.Error("request failed", "error", err, "request_id", rc.id.String(),
			"path", instance(rctx.URI().PathOriginal()))
	}
	if p.status == http.StatusMethodNotAllowed {
		if allow := rctx.Response.Header.Peek(fiber.HeaderAllow); len(allow) > 0 && !bytes.Contains(allow, []byte("OPTIONS")) &&
			openToAnyOrigin(rctx.URI().PathOriginal()) {
			rctx.Response.Header.Set(fiber.HeaderAllow, string(allow)+", OPTIONS")
		}
	}
	g.writeProblem(rctx, rc, p)
}

// openToAnyOrigin reports whether pages of any origin may read what is at a path.
func openToAnyOrigin(path []byte) bool {
	for _, prefix := range []string{"/api/", "/health/", "/metrics/"} {
		if bytes.HasPrefix(path, []byte(prefix)) {
			return true
		}
	}
	return false
}

// preflight answers a browser that asks what it may do here.
func preflight(rctx *fasthttp.RequestCtx) {
	h := &rctx.Response.Header
	h.Set(fiber.HeaderAllow, "GET, HEAD, OPTIONS")
	h.Set(fiber.HeaderAccessControlAllowMethods, "GET, HEAD, OPTIONS")
	h.Set(fiber.HeaderAccessControlAllowHeaders, "Accept, If-None-Match, X-Request-Id")
	h.Set(fiber.HeaderAccessControlMaxAge, "86400")
	rctx.SetStatusCode(http.StatusNoContent)
}

// serve serves a listener in a goroutine that finish waits for.
func (s *server) serve(listener net.Listener) {
	s.listener, s.served = listener, make(chan struct{})
	s.watch.start()
	go func() {
		defer close(s.served)
		s.err = s.app.Server().Serve(listener)
	}()
}

// drain stops accepting and waits for requests under way until the context ends.
func (s *server) drain(ctx context.Context) error {
	if s.served == nil {
		return nil
	}
	if err := s.app.Server().ShutdownWithContext(ctx); err != nil {
		return fmt.Errorf("draining %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// finish closes the connections that draining left, and waits until nobody serves them any more or the context ends.
func (s *server) finish(ctx context.Context) error {
	if s.served == nil {
		return nil
	}
	s.watch.closeAll()
	err := s.app.Server().ShutdownWithContext(ctx)
	if errors.Is(err, net.ErrClosed) {
		err = nil // The listener was closed by drain.
	}
	<-s.served
	s.watch.end()
	return errors.Join(err, s.err)
}
