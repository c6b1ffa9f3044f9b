package config

import (
	"log/slog"
	"net/netip"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// Config is a checked composition: what islands.hcl says, with every default filled in.
type Config struct {
	// File is the path of the file as Load was given it; empty when Parse was given its content alone.
	File string
	Host Host
	// Strategies in the order of the file.
	Strategies []Strategy
	// Islands in the order of the file, disabled ones included.
	Islands   []Island
	Request   Request
	Broadcast Broadcast
}

// Island returns the island of that name.
func (c *Config) Island(name string) (Island, bool) {
	i := slices.IndexFunc(c.Islands, func(island Island) bool { return island.Name == name })
	if i < 0 {
		return Island{}, false
	}
	return c.Islands[i], true
}

// Strategy returns the strategy of that name.
func (c *Config) Strategy(name string) (Strategy, bool) {
	i := slices.IndexFunc(c.Strategies, func(s Strategy) bool { return s.Name == name })
	if i < 0 {
		return Strategy{}, false
	}
	return c.Strategies[i], true
}

// The environments there are.
const (
	// Development is the default.
	Development = "development"
	// Production logs JSON and refuses an enabled island without a checksum.
	Production = "production"
)

// Whose processes islands are.
const (
	// UsersAuto is the default: a host that is root runs each confined island as a user of its own, where it can.
	UsersAuto = "auto"
	// UsersOff runs every island as the host's user.
	UsersOff = "off"
)

// Host is what the host itself is told. Durations are positive.
type Host struct {
	// Listen is the HOST:PORT of the API; default "127.0.0.1:3000". An empty host is every address, port 0 any free one.
	Listen string
	// DataDir keeps what must survive a restart; default "data". It is as the file gives it: a relative one is relative
	// to the working directory.
	DataDir string
	// Environment is Development or Production; default the environment variable ISLANDS_ENV, else Development.
	Environment string
	// IslandUsers is UsersAuto or UsersOff; default UsersAuto.
	IslandUsers string
	// AdminToken opens the admin API over HTTP; empty, the default, keeps it closed.
	AdminToken sdk.Secret `json:"-"`
	Log        Log
	// ShutdownTimeout bounds the whole of an orderly stop; default 15 s.
	ShutdownTimeout time.Duration
	// RequestTimeout bounds one request; default 10 s.
	RequestTimeout time.Duration
	// SourceTimeout bounds one attempt at a source while another is in line; default 3 s.
	SourceTimeout time.Duration
	// LastSourceTimeout bounds the attempt at the last source in line, retries included; default 8 s.
	LastSourceTimeout time.Duration
	// NegativeTTL is how long "there is no such asset" is remembered; default 1 min.
	NegativeTTL time.Duration
	// Watch is whether the host reloads the file by itself when it changes; default false.
	Watch     bool
	NearCache NearCache
	Spool     Spool
	Limits    Limits
	// TrustedProxies are the networks of the peers that are believed when they say for whom they speak; none by default,
	// and never everybody. An address alone is a network of one.
	TrustedProxies []netip.Prefix
	// ForwardedHeader is the field in which they say so, XForwardedFor, the default, or Forwarded. The other one is not
	// looked at, since a proxy that does not write it passes on what a client wrote.
	ForwardedHeader string
	// TLS is nil, the default, where the API is plain HTTP.
	TLS *TLS
	// RateLimit is nil, the default, where clients may ask as often as they like.
	RateLimit *RateLimit
}

// TLS is how the API is served over TLS. The files are looked at once a second, and read again when they have changed.
type TLS struct {
	// CertFile and KeyFile are PEM: the certificate with those between it and its issuer, and its key. Relative paths are
	// relative to the working directory.
	CertFile, KeyFile string
	// MinVersion is "1.2", the default, or "1.3".
	MinVersion string
	// ClientCAFile holds, in PEM, who must have issued the certificate that then every client has to show; empty, the
	// default, asks for none.
	ClientCAFile string
	// HSTS is how long browsers shall come back over TLS only; 0, the default, does not ask them to.
	HSTS time.Duration
}

// RateLimit bounds how often one client, an IPv4 address or an IPv6 network of 64 bits, may ask.
type RateLimit struct {
	// Requests in each Per, 1 to 1,000,000. An answer that the host has at hand counts a tenth.
	Requests int
	// Per is at most a day; default 1 s.
	Per time.Duration
	// Burst is how many a client that was quiet may make at once, 1 to 1,000,000; default Requests.
	Burst int
}

// Log is what the host writes about itself.
type Log struct {
	// Level is "trace", "debug", "info", "warn" or "error"; default "info".
	Level string
	// Format is "text" or "json"; default "json" in Production, else "text".
	Format string
}

// Spool bounds what waits on disk for the store, in the folder spool of the data directory.
type Spool struct {
	// MaxSize of all of it, 256 MiB by itself, from 1 MiB to 1 TiB; beyond, the oldest is dropped. So is what is older than
	// MaxAge, a day by itself.
	MaxSize sdk.Size
	MaxAge  time.Duration
	// Sync is how long what waits may be in the system's memory alone, which a failure of the power costs, but no kill; a
	// second by itself. With 0 each write waits for the disk.
	Sync time.Duration
}

// NearCache bounds the encoded answers that the host keeps in its own memory.
type NearCache struct {
	// MaxEntries is how many; default 10,000.
	MaxEntries int
	// MaxMemory is how large together; default 64 MiB.
	MaxMemory sdk.Size
}

// Limits bound what clients may ask of the host.
type Limits struct {
	// MaxSymbols is how many symbols one query may name, 1 to 250; default 250.
	MaxSymbols int
	// MaxColdRequests is how many different things may be loaded at once because no memory has them, 1 to 100,000;
	// default 256. Requests for something that is being loaded already do not count.
	MaxColdRequests int
	// MaxConnections is how many connections the API has at once, those of the live feed among them, 1 to 2,000,000;
	// default 32,768, and at least 4,096 more than the feed has clients. One that waits between requests takes about 30 KiB.
	MaxConnections int
	// MaxConnectionsPerAddress is how many of them come from one IP address, trusted proxies aside, 1 to MaxConnections;
	// default half of MaxConnections, and at least 4,096 more than an address may have clients of the feed.
	MaxConnectionsPerAddress int
}

// Strategy is how long an answer stays good.
type Strategy struct {
	// Name such as "real_time".
	Name string
	// TTL is how long the answer is fresh; positive.
	TTL time.Duration
	// StaleFor is how long beyond TTL it may still be served, marked stale; default 24 h, 0 for never. A kind of data or
	// a report may set its own, which is then in its copy of the strategy.
	StaleFor time.Duration
}

// Island is a program that the host runs.
type Island struct {
	// Name in islands.hcl. Two islands may run the same binary under two names.
	Name  string
	Layer sdk.Layer
	// Binary is the path of the program: absolute, or joined to the executable's folder.
	Binary string
	// SHA256 that the binary must have, in lower-case hex; empty for any.
	SHA256 string
	// Enabled islands run. Of a disabled one, Manifest, Settings and Env are empty.
	Enabled bool
	Restart Restart
	Health  Health
	Limits  IslandLimits
	// MaxCalls is how many calls that requests make to the island may be under way at once, 1 to 10,000; 0 for the default:
	// 64, for a reporter 16. Others wait for one to end. What the host does by itself does not count.
	MaxCalls int
	// Confine is whether the island reaches no other files than what programs need to run, Reads and Writes; default true.
	Confine bool
	// Reads and Writes are files and folders that it may read, and read and change. They are as the file gives them:
	// relative ones are relative to the working directory. Folders of Writes are made where they are missing.
	Reads  []string
	Writes []string
	// Env is added to the environment of the process. Its values may be secret.
	Env map[string]string `json:"-"`
	// Settings hold the config block for sdk.Config.Values: string, bool, json.Number and []any, checked against the
	// manifest. What the block leaves out is absent. Values may be secret.
	Settings map[string]any `json:"-"`
	// Manifest is what Describe returned; the zero Manifest when there was no Describe.
	Manifest sdk.Manifest
	// Fingerprint differs when the process would have to be another: layer, binary, checksum, enabled, Env, Settings, Limits or
	// what it may reach.
	// It is to be compared and never shown, since secrets went into it.
	Fingerprint string `json:"-"`
}

// String returns the island's name, so that printing an Island shows no secret.
func (i Island) String() string { return i.Name }

// GoString hides an island's settings from %#v.
func (i Island) GoString() string { return "config.Island(" + i.Name + ")" }

// LogValue hides an island's settings from slog.
func (i Island) LogValue() slog.Value { return slog.StringValue(i.Name) }

// Restart says what follows a crash. Backoff is with full jitter between BackoffMin and a bound that doubles up to
// BackoffMax.
type Restart struct {
	// MaxCrashes within Window open the island's breaker: it is then left alone but for a try every ProbeEvery; default 5
	// within 10 min.
	MaxCrashes int
	Window     time.Duration
	// BackoffMin and BackoffMax bound the wait before a restart; default 250 ms and 30 s.
	BackoffMin time.Duration
	BackoffMax time.Duration
	// ResetAfter this long in health the backoff starts from its least again; default 1 min.
	ResetAfter time.Duration
	// ProbeEvery is how often an island with an open breaker is tried; default 5 min.
	ProbeEvery time.Duration
}

// IslandLimits bound what one island may take of the machine. Zero, the default, is no bound.
type IslandLimits struct {
	// Memory that the island's data may take, 64 MiB to 1 TiB.
	Memory sdk.Size
	// Processors that an island in Go uses at once, 1 to 1,024.
	Processors int
	// Files that it may have open, sockets included, 64 to 1,000,000.
	Files int
}

// Health says how an island is asked how it is.
type Health struct {
	// Interval between two questions; default 5 s.
	Interval time.Duration
	// Timeout of one; default 2 s.
	Timeout time.Duration
	// Misses in a row that make a hang; default 3.
	Misses int
}

// Request is who answers what, on the way of a request.
type Request struct {
	// Cache is the enabled island that caches; empty for none.
	Cache string
	// Store is the enabled island that stores, the first of those listed; empty for none.
	Store     string
	Quotes    Kind
	Candles   Kind
	Global    Kind
	Sentiment Kind
	Catalogue Kind
	// Reports in the order of the file. Those of a disabled island are left out.
	Reports []Report
}

// Kind is who answers one kind of data, and how long an answer stays good. A kind that the file does not mention is the
// zero Kind, with no sources and a Strategy without a name.
type Kind struct {
	// Sources are the enabled islands to ask, in this order.
	Sources  []string
	Strategy Strategy
}

// Report is a kind of report that clients may ask for.
type Report struct {
	// Name is the reporter's and the route's: /api/NAME/{symbol}.
	Name string
	// Island that makes it.
	Island   string
	Strategy Strategy
	// Key begins the key it is remembered under, KEY_{symbol}; default Name with underscores for dashes.
	Key string
	// Warm lists symbols, in lower case, whose report is made at start.
	Warm []string
}

// Broadcast is what the live feed carries, and to whom. Without the block it has every default, and no symbols.
type Broadcast struct {
	// Symbols in lower case.
	Symbols []string
	// Sources are the enabled islands to ask, in this order; each streams or quotes.
	Sources []string
	// Poll is how often a source that does not stream is asked; default 30 s.
	Poll time.Duration
	// Silence is how long a source may be silent about a symbol before the next in line speaks for it, at most Poll;
	// default half of Poll, and no more than 15 s.
	Silence time.Duration
	Clients Clients
}

// Clients bound what one client of the live feed, and all of them together, may take. Durations are positive.
type Clients struct {
	// MaxConnections is how many clients are connected at once, 1 to 1,000,000; default 20,000.
	MaxConnections int
	// MaxPerAddress is how many of them from one IP address, 1 to MaxConnections; default 1,000.
	MaxPerAddress int
	// MaxSubscriptions is how many channels one connection may have, 1 to 10,000; default 128.
	MaxSubscriptions int
	// MessagesPerSecond is how many messages one connection may send, 1 to 1,000; default 10.
	MessagesPerSecond int
	// MaxMessage is how large one of those may be, 128 B to 1 MiB; default 4 KiB.
	MaxMessage sdk.Size
	// MaxPending is how much may wait for one slow client, 64 KiB to 64 MiB; default 1 MiB.
	MaxPending sdk.Size
	// History is how much of the updates is kept for clients that return, 1 MiB to 1 GiB; default 16 MiB.
	History sdk.Size
	// SlowTimeout is how long a client may lag before it is sent away; default 30 s.
	SlowTimeout time.Duration
	// WriteTimeout is how long a client may take nothing at all, at most SlowTimeout; default 10 s.
	WriteTimeout time.Duration
	// PingInterval is how often a client is pinged; default 25 s.
	PingInterval time.Duration
	// PongTimeout bounds the wait for the answer to a ping, at most PingInterval, and for the first pong after the
	// welcome; default 10 s.
	PongTimeout time.Duration
	// Heartbeat is how long nothing may have been sent before a heartbeat is, in-band; default 15 s.
	Heartbeat time.Duration
	// Origins are the pages that may connect: "*" for all, the default, or the origins that browsers send, such as
	// "https://example.com" and "http://localhost:8080", in lower case and without the port that the scheme implies. A
	// host that begins with "*." is every host below. Who sends no Origin is let in whatever stands here.
	Origins []string
}
