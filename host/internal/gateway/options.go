package gateway

import (
	"context"
	"net/netip"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/host/internal/gateway/hub"
	"github.com/service-islands/islands/sdk"
)

// Representation is an answer in one format, ready to be written and never changed.
type Representation struct {
	// Format such as "json", "html" or "md".
	Format      string
	ContentType string
	Body        []byte
	// Gzip and Brotli are the compressed forms, nil when they would save nothing.
	Gzip, Brotli []byte
	// ETag is strong and quoted, of the plain body.
	ETag string
	// ETagGzip and ETagBrotli are those of the compressed forms.
	ETagGzip, ETagBrotli string
}

// Answer is what the market answered, and how old it is. The answer to a search needs no Representation.
type Answer struct {
	// Representation to write; nil when the answer does not exist in the format that was asked for.
	Representation *Representation
	// Tier the answer came from: near, l1, l2, store, miss or stale.
	Tier  string
	Stale bool
	// StoredAt is when the answer was loaded, FreshUntil when it becomes stale, StaleUntil when it may not be served any
	// more.
	StoredAt, FreshUntil, StaleUntil time.Time
}

// Market answers the questions of the API. Symbols are checked and in lower case, currencies known and in lower case.
// Errors carry an sdk.Kind; an unknown symbol may also offer Suggested() []string.
type Market interface {
	// Report answers a kind of report in a format.
	Report(ctx context.Context, report, symbol, vsCurrency, format string) (Answer, error)
	// WarmReport answers as Report would when a fresh answer in that format is at hand, and reports false otherwise. It
	// never waits, and keeps no argument: the symbol's bytes are those of the request, and change after it.
	WarmReport(report, symbol, vsCurrency, format string) (Answer, bool)
	// Quote answers what an asset is worth; source names one source to ask, empty asks all in line.
	Quote(ctx context.Context, symbol, vsCurrency, source string) (Answer, error)
	// Quotes answers for several at once, in their order.
	Quotes(ctx context.Context, symbols []string, vsCurrency, source string) ([]Answer, []error)
	Global(ctx context.Context, vsCurrency string) (Answer, error)
	// Candles answers with the newest candles, at most limit.
	Candles(ctx context.Context, symbol, vsCurrency string, interval sdk.Interval, limit int) (Answer, error)
	History(ctx context.Context, req sdk.HistoryRequest) (sdk.HistoryPage, error)
	// Symbols searches the catalogue; ambiguous says which symbols several assets share.
	Symbols(ctx context.Context, query string) (assets []sdk.Asset, ambiguous map[string]bool, answer Answer, err error)
	// HasSource reports whether a source of that name answers quotes.
	HasSource(name string) bool
}

// Insight answers the health and metrics routes. Each body is encoded as JSON as it is; a failed status answers 503.
type Insight interface {
	// Ready is whether every enabled island has run once; the reason says which is missing.
	Ready() (ready bool, reason string)
	System(ctx context.Context) (body any, status sdk.Status)
	CacheHealth(ctx context.Context) (body any, status sdk.Status)
	ExternalAPIsHealth(ctx context.Context) (body any, status sdk.Status)
	DatabaseHealth(ctx context.Context) (body any, status sdk.Status)
	IslandsHealth(ctx context.Context) (body any, status sdk.Status)
	// IslandHealth and IslandMetrics are NotFound for an island that is not in islands.hcl.
	IslandHealth(ctx context.Context, name string) (body any, status sdk.Status, err error)
	IslandMetrics(ctx context.Context, name string) (body any, err error)
	CacheMetrics(ctx context.Context) (any, error)
	DatabaseMetrics(ctx context.Context) (any, error)
	Performance() any
	// FeedMetrics are the figures of the live feed and its clients.
	FeedMetrics() any
}

// Operator carries out what an operator asks for, over the admin socket or with the admin token.
type Operator interface {
	Status(ctx context.Context) any
	Crashes(name string) (any, error)
	Restart(ctx context.Context, name string) error
	Reset(ctx context.Context, name string) error
	// Swap replaces an island by what its binary holds now, or by the binary at an absolute path, which must have a SHA-256
	// unless that is empty.
	Swap(ctx context.Context, name, to, sha256 string) error
	// Attach replaces an island by its binary under a debugger, a command with its arguments, for as long as Keep is called and
	// until Detach. They are for the admin socket alone: whoever may say what is executed could be anybody with a token.
	Attach(ctx context.Context, name string, debugger []string) error
	Keep(name string) error
	Detach(ctx context.Context, name string) error
	// Reload makes the host what its configuration says now, and answers with what has changed. A file that is wrong, or an
	// island that cannot be what it says, changes nothing.
	Reload(ctx context.Context) (any, error)
	// Invalidate forgets keys and globs everywhere and returns how many keys the cache forgot.
	Invalidate(ctx context.Context, patterns []string) (int, error)
	SetTier(ctx context.Context, tier string, enabled bool) error
}

// Options of a Gateway.
type Options struct {
	// Listen is the HOST:PORT of the API; port 0 takes any free one.
	Listen string
	// AdminSocket is the path of the unix socket for the CLI, of at most 107 bytes; empty for none. Its folder is made when
	// it is not there.
	AdminSocket string
	// AdminToken opens /admin over HTTP; empty keeps it closed.
	AdminToken sdk.Secret

	Market   Market
	Insight  Insight
	Operator Operator
	// Reports lists the names of the reports, each a route /api/NAME/{symbol}, with the formats it comes in, the default
	// first. A name is made of letters, digits and hyphens and is not that of another route.
	Reports map[string][]string

	// Feed is the live feed at /ws and /api/stream; without it there are no such routes. The gateway starts it and shuts it
	// down.
	Feed *hub.Hub
	// Origins are the pages that may connect to the feed: "*", scheme://host[:port], or that with a host of "*.domain". What
	// sends no origin may always.
	Origins []string

	// TrustedProxies are the peers that are believed about whom they speak for. They say so in X-Forwarded-For, or in
	// Forwarded (RFC 7239) when that is true; the other field is not looked at.
	TrustedProxies []netip.Prefix
	Forwarded      bool
	// RateLimit bounds how often a client may ask; nil for no bound.
	RateLimit *RateLimit
	// TLS has the API served over TLS; nil for plain HTTP.
	TLS *TLS
	// MaxConnections is how many connections the API has at once; 32,768 when zero. MaxConnectionsPerAddress is how many of
	// them an IPv4 address or an IPv6 network of 64 bits may have, trusted proxies aside; half of them when zero.
	MaxConnections, MaxConnectionsPerAddress int
	// RefusePeer says why a process may not use the admin socket although its user could, empty when it may. Where the
	// system does not tell who connects, nobody is asked.
	RefusePeer func(pid, uid int) (why string)

	// RequestTimeout bounds one request of the API; 10 s when zero. What an operator asks for may take a minute.
	RequestTimeout time.Duration
	// MaxSymbols bounds ?symbols=; 250 when zero.
	MaxSymbols int
	Logger     hclog.Logger
	Now        func() time.Time
}
