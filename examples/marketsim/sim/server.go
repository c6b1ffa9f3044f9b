package sim

import (
	"fmt"
	"hash/fnv"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/service-islands/islands/examples/marketsim/market"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/binance"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/coingecko"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/feargreed"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/kraken"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/streams"
	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

// Options choose a simulation. In every budget 0 stands for the default and a negative number for no limit.
type Options struct {
	// Seed selects the market.
	Seed uint64
	// Now is the clock; nil stands for [time.Now].
	Now func() time.Time

	// KeylessPerMinute is CoinGecko's budget per address in calls, default 30; DemoPerMinute and ProPerMinute are those
	// per key, defaults 100 and 500.
	KeylessPerMinute, DemoPerMinute, ProPerMinute int
	// DemoKeys and ProKeys are the CoinGecko keys that exist. With both empty every key is good where it belongs.
	DemoKeys, ProKeys []string
	// BinanceWeightPerMinute is Binance's budget per address in weight, default 6000.
	BinanceWeightPerMinute int
	// FearGreedPerMinute is the budget of the Fear & Greed index per address in calls, default 60.
	FearGreedPerMinute int
	// KrakenCounter is what Kraken's call counter of an address may rise to, default 15. It falls by one a second.
	KrakenCounter int
	// Channels are the rules of Kraken's channels.
	Channels ChannelOptions
	// Streams are the rules of Binance's streams.
	Streams StreamOptions
}

// Server simulates the services. It is safe for concurrent use.
type Server struct {
	now      func() time.Time
	market   *market.Market
	mounts   []mount
	streams  *streams.Hub
	channels *streams.Channels
	faults   faultSet
	closed   chan struct{}
	closeOne sync.Once

	mu    sync.Mutex
	calls map[string]int64
}

// service is what the server needs of one.
type service interface {
	// Template is the route that a path belongs to, "" for none.
	Template(path string) string
	// Admit charges the caller. The headers go on every reply; a reply is the refusal.
	Admit(r *upstream.Request) (http.Header, *upstream.Reply)
	// Answer serves an admitted call, Fail answers with an error.
	Answer(r *upstream.Request) upstream.Reply
	Fail(r *upstream.Request, f upstream.Failure) upstream.Reply
	// Reset forgets budgets and bans.
	Reset()
}

var (
	_ http.Handler = (*Server)(nil)
	_ service      = (*coingecko.Service)(nil)
	_ service      = (*binance.Service)(nil)
	_ service      = (*kraken.Service)(nil)
	_ service      = (*feargreed.Service)(nil)
)

// mount is a service under its prefix.
type mount struct {
	name, prefix string
	service
}

// The names of the services, as faults and request counts use them.
const (
	serviceCoinGecko    = "coingecko"
	serviceCoinGeckoPro = "coingecko-pro"
	serviceBinance      = "binance"
	serviceKraken       = "kraken"
	serviceFearGreed    = "fng"
)

// New returns a simulation. Close it to let go of calls that wait on a fault and of streams.
func New(o Options) *Server {
	if o.Now == nil {
		o.Now = time.Now
	}
	budget := func(n, def int) int {
		if n == 0 {
			return def
		}
		return n
	}
	m := market.New(market.Options{Seed: o.Seed, Born: o.Now()})
	gecko := coingecko.Options{
		Keyless: budget(o.KeylessPerMinute, 30), Demo: budget(o.DemoPerMinute, 100), PerPro: budget(o.ProPerMinute, 500),
		DemoKeys: slices.Clone(o.DemoKeys), ProKeys: slices.Clone(o.ProKeys),
	}
	pro := gecko
	pro.Pro = true
	spot := binance.New(m, budget(o.BinanceWeightPerMinute, 6000))
	exchange := kraken.New(m, budget(o.KrakenCounter, 15))
	s := &Server{
		now:    o.Now,
		market: m,
		mounts: []mount{
			{serviceCoinGecko, "/coingecko/api/v3", coingecko.New(m, gecko)},
			{serviceCoinGeckoPro, "/coingecko-pro/api/v3", coingecko.New(m, pro)},
			{serviceBinance, "/binance", spot},
			{serviceKraken, "/kraken", exchange},
			{serviceFearGreed, "/fng", feargreed.New(m, budget(o.FearGreedPerMinute, 60))},
		},
		faults: faultSet{released: make(chan struct{}), changed: make(chan struct{})},
		closed: make(chan struct{}),
		calls:  map[string]int64{},
	}
	s.streams = streams.New(streams.Options(o.Streams), o.Now, spot.Stream, &connectionFaults{&s.faults, serviceBinance}, func(method string) {
		s.add(serviceBinance + " WS " + method)
	})
	s.channels = streams.NewChannels(streams.ChannelOptions(o.Channels), o.Now, exchange.Channel,
		&connectionFaults{&s.faults, serviceKraken}, func(method string) { s.add(serviceKraken + " WS " + method) })
	return s
}

// Market is what the services talk about.
func (s *Server) Market() *market.Market { return s.market }

// Close lets go of every call that waits on a fault, and ends all streams and waits for them, a second or two when a
// client does not take part. It is safe to call twice; calls that arrive later are served, but none of them waits, and
// none becomes a stream.
func (s *Server) Close() {
	s.closeOne.Do(func() { close(s.closed) })
	s.streams.Close()
	s.channels.Close()
}

// Inject adds faults, after those that are active already. An invalid one, or one too many, adds none.
func (s *Server) Inject(faults ...Fault) error { return s.faults.add(s.now(), faults) }

// Clear removes all faults, lets go of the calls that wait on one, and forgets all budgets and bans. Streams go on as if
// there had been no fault.
func (s *Server) Clear() {
	s.faults.clear()
	s.streams.Reset()
	s.channels.Reset()
	for _, m := range s.mounts {
		m.Reset()
	}
}

// Faults lists the active faults in the order in which they are tried.
func (s *Server) Faults() []ActiveFault { return s.faults.active(s.now()) }

// Requests is how often each route was called since the start or the last reset, failed calls included. The names are
// those of `GET /_sim/requests`: "coingecko GET /coins/markets".
func (s *Server) Requests() map[string]int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// ResetRequests starts the counts again at nothing.
func (s *Server) ResetRequests() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.calls)
}

// unknownRoute is how calls of paths that a service does not have are counted.
const unknownRoute = "(unknown)"

func (s *Server) count(name, method, template string) {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions:
	default:
		method = "OTHER"
	}
	if template == "" {
		template = unknownRoute
	}
	s.add(name + " " + method + " " + template)
}

func (s *Server) add(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call]++
}

// ServeHTTP serves the services and, under /_sim/, the switches.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/_sim/") {
		s.control(w, r)
		return
	}
	for _, m := range s.mounts {
		if path, ok := strings.CutPrefix(r.URL.Path, m.prefix); ok && (path == "" || path[0] == '/') {
			s.serve(w, r, m, path)
			return
		}
	}
	problem(w, http.StatusNotFound, "nothing is simulated at "+strconv.Quote(r.URL.Path)+"; GET /_sim/env lists what is")
}

// serve takes one call of a service through counting, charging, faults and the service itself.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, m mount, path string) {
	template, stream := m.Template(path), streamRoute(m.name, path)
	if stream != "" {
		s.add(m.name + " WS " + stream)
	} else {
		s.count(m.name, r.Method, template)
	}
	now := s.now()
	met := s.faults.meet(m.name, path, template, stream != "", now)
	call := &upstream.Request{
		Path: path, Query: r.URL.Query(), Header: r.Header, Caller: caller(r), Now: now, Limit: met.limit,
	}
	refusal := s.admit(w, m, call, stream)
	if met.delay > 0 && !s.wait(r, met.released, met.delay) {
		// The client has gone.
		return
	}
	var reply upstream.Reply
	switch {
	case met.act == KindSilence:
		s.wait(r, met.released, maxSilence)
		drop(w, false)
		return
	case met.act == KindReset:
		drop(w, true)
		return
	case met.act == KindGarbage:
		reply = garbage(met.failure.Style)
	case met.failure.Status != 0:
		reply = m.Fail(call, met.failure)
	case refusal != nil:
		reply = *refusal
	case stream == krakenRoute:
		s.channels.Serve(w, r, stream)
		return
	case stream != "":
		s.streams.Serve(w, r, stream, streamNames(call, stream))
		return
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		reply = m.Fail(call, upstream.Failure{Status: http.StatusMethodNotAllowed})
	default:
		reply = m.Answer(call)
	}
	if met.act == KindTruncate {
		// An announced length that is kept: the body ends in the middle, the message does not.
		reply.Body, reply.Fresh = reply.Body[:len(reply.Body)/2], 0
	}
	send(w, r, reply)
}

// admit charges the caller for a call or for the upgrade of a stream.
func (s *Server) admit(w http.ResponseWriter, m mount, call *upstream.Request, stream string) (refusal *upstream.Reply) {
	if stream != "" {
		switch {
		case stream == krakenRoute && !s.channels.Admit(call.Caller):
			reply := m.Fail(call, upstream.Failure{Status: http.StatusTooManyRequests, Style: upstream.StyleText})
			return &reply
		case stream != krakenRoute && !s.streams.Admit(call.Caller):
			return streamRefusal()
		}
		return nil
	}
	headers, refusal := m.Admit(call)
	for name, values := range headers {
		w.Header()[name] = values
	}
	return refusal
}

// maxSilence is how long a silent call waits at most.
const maxSilence = 10 * time.Minute

// wait lets time pass. It returns early when the fault is cleared or the server closed, and false when the client went.
func (s *Server) wait(r *http.Request, released <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-released:
	case <-s.closed:
	case <-r.Context().Done():
		return false
	}
	return true
}

// drop ends the connection without an answer: with a reset, or orderly.
func drop(w http.ResponseWriter, reset bool) {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		// Without lingering, closing sends a reset. If it cannot be set, the close below still cuts the client off.
		_ = tcp.SetLinger(0)
	}
	// Nothing was written, so there is nothing that a failing close could lose.
	_ = conn.Close()
}

// send writes a reply, with an ETag and 304 for those that a cache may keep.
func send(w http.ResponseWriter, r *http.Request, reply upstream.Reply) {
	header := w.Header()
	for name, values := range reply.Header {
		header[name] = values
	}
	header.Set("Content-Type", reply.Type)
	if reply.Fresh > 0 && reply.Status == http.StatusOK {
		tag := etag(reply.Body)
		header.Set("Etag", tag)
		header.Set("Cache-Control", fmt.Sprintf("public, max-age=%d", int(reply.Fresh.Seconds())))
		header.Set("Age", strconv.Itoa(int(reply.Age.Seconds())))
		if matches(r.Header.Get("If-None-Match"), tag) {
			header.Del("Content-Type")
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Length", strconv.Itoa(len(reply.Body)))
	w.WriteHeader(reply.Status)
	// A client that went away is no concern of the server's.
	_, _ = w.Write(reply.Body)
}

// etag is weak, as the services' own are.
func etag(body []byte) string {
	h := fnv.New128a()
	// A hash never fails to write.
	_, _ = h.Write(body)
	return fmt.Sprintf(`W/"%x"`, h.Sum(nil))
}

// matches compares weakly.
func matches(header, tag string) bool {
	for candidate := range strings.SplitSeq(header, ",") {
		candidate = strings.TrimSpace(candidate)
		if candidate == "*" || strings.TrimPrefix(candidate, "W/") == strings.TrimPrefix(tag, "W/") {
			return true
		}
	}
	return false
}

// garbage is an answer with status 200 that says nothing: an HTML page, JSON of another shape, or bytes.
func garbage(style upstream.Style) upstream.Reply {
	reply := upstream.Reply{Status: http.StatusOK}
	switch style {
	case upstream.StyleJSON:
		reply.Type, reply.Body = upstream.TypeJSON, []byte(`{"message":"ok","result":[[{"a":"b"}],"c",null]}`)
	case upstream.StyleText:
		reply.Type, reply.Body = upstream.TypeJSON, []byte("\x00\xff\xfe{]\"not\x01JSON")
	default:
		reply.Type = upstream.TypeHTML
		reply.Body = []byte("<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in</body></html>\n")
	}
	return reply
}

// caller is the address that budgets are counted by.
func caller(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}
