package gateway

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/valyala/fasthttp"
	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
)

// Gateway is the HTTP side of the host.
type Gateway struct {
	opts   Options
	limits limits

	// reports are those that there are right now, with their formats.
	reports atomic.Pointer[map[string][]string]
	public  *server
	admin   *server // nil without an admin socket

	proxies      *proxies
	allowance    *allowance    // nil where clients may ask as often as they like
	certificates *certificates // nil without TLS
	strict       header        // Strict-Transport-Security, without a value when browsers are not asked for it
	door         *door         // nil before Start
	refusals     refusals
	lines        *rate.Limiter // of the log about what clients make happen
	untold       atomic.Uint64

	// base ends when the gateway gives up on the requests that still run.
	base     context.Context //nolint:containedctx // Every request's context descends from it; Shutdown ends it.
	giveUp   context.CancelFunc
	draining atomic.Bool
	// listeners are the goroutines that read from clients of the live feed.
	listeners sync.WaitGroup
	loops     sync.WaitGroup // that last as long as base

	start sync.Once
	stop  sync.Once
	err   error // of the shutdown
}

// limits bound what a client may take. They are not options: nobody needs others, except for tests that cannot wait.
type limits struct {
	header    int // bytes of the request line and header
	body      int // bytes of a body
	read      time.Duration
	write     time.Duration
	idle      time.Duration
	hurry     time.Duration // instead of read for who says nothing, and of idle, when there is little room
	look      time.Duration // between two looks at who exceeds the three before
	operation time.Duration // of an operator
	straggler time.Duration // for requests that were given up on to end
}

func defaultLimits() limits {
	return limits{
		header: 16 << 10, body: 64 << 10, read: 10 * time.Second, write: 30 * time.Second, idle: 75 * time.Second,
		hurry: 5 * time.Second, look: time.Second, operation: time.Minute, straggler: time.Second,
	}
}

// New makes a gateway. It does not listen yet. An InvalidArgument error names what is missing or cannot be meant.
func New(opts Options) (*Gateway, error) { return newGateway(opts, defaultLimits()) }

func newGateway(opts Options, l limits) (*Gateway, error) {
	switch {
	case opts.Market == nil:
		return nil, sdk.Errorf(sdk.InvalidArgument, "a gateway needs a Market")
	case opts.Insight == nil:
		return nil, sdk.Errorf(sdk.InvalidArgument, "a gateway needs an Insight")
	case opts.Operator == nil && (opts.AdminSocket != "" || opts.AdminToken != ""):
		return nil, sdk.Errorf(sdk.InvalidArgument, "a gateway with an admin socket or token needs an Operator")
	}
	if err := checkReports(opts.Reports); err != nil {
		return nil, err
	}
	if opts.RequestTimeout <= 0 {
		opts.RequestTimeout = 10 * time.Second
	}
	if opts.MaxSymbols <= 0 {
		opts.MaxSymbols = 250
	}
	if opts.Logger == nil {
		opts.Logger = hclog.NewNullLogger()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.MaxConnections <= 0 {
		opts.MaxConnections = 32_768
	}
	if opts.MaxConnectionsPerAddress <= 0 {
		opts.MaxConnectionsPerAddress = max(1, opts.MaxConnections/2)
	}
	if r := opts.RateLimit; r != nil && (r.Requests < 1 || r.Per <= 0 || r.Burst < 1) {
		return nil, sdk.Errorf(sdk.InvalidArgument, "a rate limit of %d requests per %s, %d at once, lets nobody in", r.Requests, r.Per, r.Burst)
	}
	g := &Gateway{
		opts: opts, limits: l, proxies: newProxies(opts.TrustedProxies, opts.Forwarded),
		lines: rate.NewLimiter(linesPerSecond, linesAtOnce),
	}
	if opts.RateLimit != nil {
		g.allowance = newAllowance(*opts.RateLimit)
	}
	if opts.TLS != nil && opts.TLS.HSTS > 0 {
		g.strict = fixed("Strict-Transport-Security", fmt.Sprintf("max-age=%d", int64(opts.TLS.HSTS/time.Second)))
	}
	g.reports.Store(&opts.Reports)
	g.base, g.giveUp = context.WithCancel(context.Background())
	g.public = g.newServer(g.publicApp(opts.Reports), true)
	if opts.AdminSocket != "" {
		app := g.newApp()
		g.adminRoutes(app, anyone)
		g.debuggerRoutes(app)
		g.admin = g.newServer(app, false)
	}
	return g, nil
}

// tell logs what clients make happen, so rarely that they cannot fill a disk with it.
func (g *Gateway) tell(what string, fields ...any) {
	if !g.lines.Allow() {
		g.untold.Add(1)
		return
	}
	if untold := g.untold.Swap(0); untold > 0 {
		fields = append(fields, "more_like_it", untold)
	}
	g.opts.Logger.Warn(what, fields...)
}

// Lines about clients: one every other second, with a burst for what happens once in a while.
const (
	linesPerSecond = 0.5
	linesAtOnce    = 10
)

// isClosed is whether a listener has ended.
func isClosed(err error) bool { return errors.Is(err, net.ErrClosed) }

// reserved are the names under /api that no report may have.
var reserved = map[string]bool{"market-data": true, "candles": true, "history": true, "symbols": true, "stream": true}

// Handler returns what answers the API's requests, for tests and benchmarks without a socket.
func (g *Gateway) Handler() fasthttp.RequestHandler { return g.public.handler }

// Addr is where the API listens, empty before Start. It must not be called while Start runs.
func (g *Gateway) Addr() string {
	if l := g.public.listener; l != nil {
		return l.Addr().String()
	}
	return ""
}

// URL is how the API is reached. It must not be called before Start or while it runs.
func (g *Gateway) URL() string {
	if g.opts.TLS != nil {
		return "https://" + g.Addr()
	}
	return "http://" + g.Addr()
}

// Start listens, on the address of the API and on the admin socket, and returns when both are open. It may be called
// once; when it fails nothing is left open.
func (g *Gateway) Start() error {
	err := errors.New("a gateway starts once")
	g.start.Do(func() { err = g.listen() })
	return err
}

func (g *Gateway) listen() error {
	if g.base.Err() != nil {
		return errors.New("the gateway was shut down")
	}
	if g.opts.TLS != nil {
		certificates, err := loadCertificates(*g.opts.TLS, g.opts.Logger, time.Now)
		if err != nil {
			return err
		}
		g.certificates = certificates
	}
	var config net.ListenConfig
	listener, err := config.Listen(g.base, "tcp", g.opts.Listen)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", g.opts.Listen, err)
	}
	g.door = newDoor(listener.(*net.TCPListener), g.opts.MaxConnections, g.opts.MaxConnectionsPerAddress, g.proxies, g.tell) //nolint:forcetypeassert // That is what "tcp" is.
	var public net.Listener = g.door
	if g.certificates != nil {
		public = &secureDoor{door: g.door, config: g.certificates.config()}
	}
	g.public.watch.pressed = g.door.pressed
	if g.admin != nil {
		admin, err := listenAdmin(g.base, g.opts.AdminSocket)
		if err != nil {
			return errors.Join(fmt.Errorf("opening the admin socket: %w", err), public.Close())
		}
		g.admin.serve(&peerDoor{UnixListener: admin.(*net.UnixListener), g: g}) //nolint:forcetypeassert // That is what "unix" is.
	}
	if g.certificates != nil {
		g.loops.Go(func() { g.certificates.run(g.base) })
	}
	if g.opts.Feed != nil {
		g.opts.Feed.Start()
	}
	g.public.serve(public)
	return nil
}

// listenAdmin opens the admin socket for this user alone. A file that a host left behind when it was killed is removed;
// one that somebody answers on is not.
func listenAdmin(ctx context.Context, path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	switch info, err := os.Lstat(path); {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != os.ModeSocket:
		return nil, fmt.Errorf("%s exists and is not a socket", path)
	default:
		dialer := net.Dialer{Timeout: time.Second}
		conn, err := dialer.DialContext(ctx, "unix", path)
		if err == nil {
			return nil, errors.Join(fmt.Errorf("another host answers on %s", path), conn.Close())
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return nil, fmt.Errorf("whether a host answers on %s is not to be found out: %w", path, err)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	// The mode of the open descriptor becomes that of the file, so that it is never wider, not even for a moment.
	config := net.ListenConfig{Control: private}
	listener, err := config.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return listener, nil
}

// Shutdown stops accepting, waits for the requests under way until the context ends, gives up on those that are left,
// and removes the admin socket. It may be called twice, and without a Start.
func (g *Gateway) Shutdown(ctx context.Context) error {
	g.stop.Do(func() {
		g.draining.Store(true)
		g.sendAway(ctx)
		errs := make([]error, 2)
		var both sync.WaitGroup
		for i, s := range []*server{g.public, g.admin} {
			if s != nil {
				both.Go(func() { errs[i] = s.drain(ctx) })
			}
		}
		both.Wait()
		g.giveUp()
		g.loops.Wait()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), g.limits.straggler)
		defer cancel()
		for i, s := range []*server{g.public, g.admin} {
			if s != nil {
				errs[i] = errors.Join(errs[i], s.finish(grace))
			}
		}
		g.err = errors.Join(errs...)
	})
	return g.err
}
