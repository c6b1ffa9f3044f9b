package config

import (
	"math"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/service-islands/islands/sdk"
)

// host reads the host block, nil for none, and makes it known to the others. It returns the limits block, nil for none, of
// which a part can be settled only at the end.
func (l *loader) host(block *hcl.Block) (limitsBlock *hcl.Block) {
	environment, _ := l.opts.Env("ISLANDS_ENV")
	if environment == "" {
		environment = Development
	}
	h := Host{
		Listen:            "127.0.0.1:3000",
		DataDir:           "data",
		Environment:       environment,
		IslandUsers:       UsersAuto,
		Log:               Log{Level: "info"},
		ShutdownTimeout:   15 * time.Second,
		RequestTimeout:    10 * time.Second,
		SourceTimeout:     3 * time.Second,
		LastSourceTimeout: 8 * time.Second,
		NegativeTTL:       time.Minute,
		NearCache:         NearCache{MaxEntries: 10_000, MaxMemory: 64 << 20},
		Spool:             Spool{MaxSize: 256 << 20, MaxAge: 24 * time.Hour, Sync: time.Second},
		Limits:            Limits{MaxSymbols: 250, MaxColdRequests: 256},
	}
	r := l.read(block, with(attributes("listen", "data_dir", "environment", "admin_token", "island_users", "shutdown_timeout",
		"request_timeout", "source_timeout", "last_source_timeout", "negative_ttl", "watch", "trusted_proxies", "forwarded_header"),
		"log", "near_cache", "spool", "limits", "tls", "rate_limit"))
	if r.text("listen", &h.Listen) && !listenable(h.Listen) {
		l.problem(r.where("listen"), "Bad address", "%q wants HOST:PORT such as \"127.0.0.1:3000\", not %q.", "listen", h.Listen)
	}
	if r.text("data_dir", &h.DataDir) && (h.DataDir == "" || strings.ContainsRune(h.DataDir, 0)) {
		l.problem(r.where("data_dir"), "Bad folder", "%q wants the path of a folder, not %q.", "data_dir", h.DataDir)
	}
	r.oneOf("environment", &h.Environment, Development, Production)
	r.oneOf("island_users", &h.IslandUsers, UsersAuto, UsersOff)
	token := ""
	r.text("admin_token", &token)
	h.AdminToken = sdk.Secret(token)
	l.keepSecret(token)
	r.duration("shutdown_timeout", &h.ShutdownTimeout)
	r.duration("negative_ttl", &h.NegativeTTL)
	r.boolean("watch", &h.Watch)
	l.hostTimeouts(r, &h)
	l.hostLog(l.read(r.sub("log"), attributes("level", "format")), &h)

	near := l.read(r.sub("near_cache"), attributes("max_entries", "max_memory"))
	near.whole("max_entries", &h.NearCache.MaxEntries, math.MaxInt32)
	near.size("max_memory", &h.NearCache.MaxMemory)

	spool := l.read(r.sub("spool"), attributes("max_size", "max_age", "sync"))
	spool.sizeBetween("max_size", &h.Spool.MaxSize, 1<<20, 1<<40)
	spool.duration("max_age", &h.Spool.MaxAge)
	spool.durationOrNone("sync", &h.Spool.Sync)

	limits := l.read(r.sub("limits"), attributes("max_symbols", "max_cold_requests", "max_connections",
		"max_connections_per_address")) // The last two are settled by connections.
	limits.whole("max_symbols", &h.Limits.MaxSymbols, 250)
	limits.whole("max_cold_requests", &h.Limits.MaxColdRequests, 100_000)

	l.edge(r, &h)

	l.cfg.Host = h
	l.setHostVariables()
	return r.sub("limits")
}

// hostTimeouts reads the timeouts that lie within each other.
func (l *loader) hostTimeouts(r reader, h *Host) {
	request := r.duration("request_timeout", &h.RequestTimeout)
	last := r.duration("last_source_timeout", &h.LastSourceTimeout)
	source := r.duration("source_timeout", &h.SourceTimeout)
	if request && last && h.LastSourceTimeout > h.RequestTimeout {
		l.problem(r.where("last_source_timeout"), "Out of range",
			"last_source_timeout (%s) lies within request_timeout (%s). Set one of them so.", h.LastSourceTimeout, h.RequestTimeout)
	}
	if source && last && h.SourceTimeout > h.LastSourceTimeout {
		l.problem(r.where("source_timeout"), "Out of range",
			"source_timeout (%s) lies within last_source_timeout (%s). Set one of them so.", h.SourceTimeout, h.LastSourceTimeout)
	}
}

// hostLog reads the log block.
func (l *loader) hostLog(r reader, h *Host) {
	if r.text("level", &h.Log.Level) {
		h.Log.Level = strings.ToLower(h.Log.Level)
		if levels := []string{"trace", "debug", "info", "warn", "error"}; !slices.Contains(levels, h.Log.Level) {
			l.problem(r.where("level"), "Unknown value", "%q cannot be %q.%s", "level", h.Log.Level, suggest(h.Log.Level, "levels", levels))
		}
	}
	h.Log.Format = "auto"
	r.oneOf("format", &h.Log.Format, "auto", "text", "json")
	switch {
	case h.Log.Format != "auto":
	case h.Environment == Production:
		h.Log.Format = "json"
	default:
		h.Log.Format = "text"
	}
}

// listenable reports whether an address is HOST:PORT, with a host that may be empty.
func listenable(address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, " \t\r\n/\x00") {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

// strategyName is what a strategy may be called.
var strategyName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// strategies reads the strategy blocks.
func (l *loader) strategies(blocks hcl.Blocks) {
	for _, block := range blocks {
		s := Strategy{Name: block.Labels[0], StaleFor: 24 * time.Hour}
		r := l.read(block, attributes("ttl", "stale_for"))
		if _, there := r.content.Attributes["ttl"]; !there {
			r.missing("ttl", `how long an answer is fresh, such as "5m"`)
		}
		r.duration("ttl", &s.TTL)
		r.durationOrNone("stale_for", &s.StaleFor)
		if !strategyName.MatchString(s.Name) {
			l.problem(block.LabelRanges[0], "Bad name", "A strategy has a name such as \"real_time\": lower case, digits and underscores.")
		}
		if _, again := l.cfg.Strategy(s.Name); again {
			l.problem(block.LabelRanges[0], "Duplicate name", "There is a strategy %q already. Rename or remove one of the two.", s.Name)
			continue
		}
		l.cfg.Strategies = append(l.cfg.Strategies, s)
	}
}
