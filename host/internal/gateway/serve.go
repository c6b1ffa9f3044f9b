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
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"
)

// server is an app and the listener it serves.
type server struct {
	app      *fiber.App
	handler  fasthttp.RequestHandler
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

// newServer makes the server of an app. Public says whether browsers of any origin may use it.
func (g *Gateway) newServer(app *fiber.App, public bool) *server {
	s := &server{app: app, watch: newWatch(g.limits)}
	routes := app.Handler()
	s.handler = func(rctx *fasthttp.RequestCtx) {
		if !s.watch.step(rctx.Conn(), working) {
			rctx.SetConnectionClose()
			g.fail(rctx, fiber.ErrRequestTimeout)
			return
		}
		g.serve(rctx, routes, public)
		if !rctx.Response.IsBodyStream() { // Whoever streams bounds what he writes.
			s.watch.step(rctx.Conn(), writing)
		}
	}
	fast := app.Server()
	fast.Handler = s.handler
	fast.ConnState = s.watch.track
	fast.LazyRequestTime = true
	return s
}

// requestKey is the key of the request context among a request's user values.
type requestKey struct{}

// serve is what every request passes: it gets its id, its time and the headers that every answer has, and a panic
// becomes a problem.
func (g *Gateway) serve(rctx *fasthttp.RequestCtx, routes fasthttp.RequestHandler, public bool) {
	rc := g.begin(rctx)
	defer g.end(rctx, rc)
	if public {
		anyOrigin.set(&rctx.Response.Header)
		exposed.set(&rctx.Response.Header)
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

// begin makes the context of a request.
func (g *Gateway) begin(rctx *fasthttp.RequestCtx) *requestContext {
	started := rctx.Time()
	if started.IsZero() {
		started = time.Now()
	}
	rc := &requestContext{base: g.base, started: started, deadline: started.Add(g.opts.RequestTimeout)}
	rc.takeID(rctx.Request.Header.PeekCanonical(nameRequestID))
	rctx.SetUserValue(requestKey{}, rc)
	g.always(rctx, rc)
	return rc
}

// always sets the headers that every answer has.
func (g *Gateway) always(rctx *fasthttp.RequestCtx, rc *requestContext) {
	h := &rctx.Response.Header
	h.SetCanonical(nameRequestID, rc.id())
	noSniff.set(h)
}

// end turns a panic into a problem and ends the context of the request.
func (g *Gateway) end(rctx *fasthttp.RequestCtx, rc *requestContext) {
	if p := recover(); p != nil {
		g.opts.Logger.Error("panic while answering", "panic", fmt.Sprint(p), "request_id", rc.requestID(),
			"path", instance(rctx.URI().PathOriginal()), "stack", string(debug.Stack()))
		rctx.Response.Reset()
		g.always(rctx, rc)
		g.fail(rctx, errPanic)
	}
	rc.end()
	if g.opts.Logger.IsDebug() {
		g.opts.Logger.Debug("request", "method", string(rctx.Method()), "path", instance(rctx.URI().PathOriginal()),
			"status", rctx.Response.StatusCode(), "duration", time.Since(rc.started), "request_id", rc.requestID())
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
		rc = g.begin(rctx)
		anyOrigin.set(&rctx.Response.Header)
	}
	var ready *problem
	p := problemOf(err)
	if p.status == http.StatusInternalServerError && !errors.As(err, &ready) {
		g.opts.Logger.Error("request failed", "error", err, "request_id", rc.requestID(),
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
