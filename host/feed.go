package main

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/host/internal/gateway"
	"github.com/service-islands/islands/host/internal/gateway/hub"
	"github.com/service-islands/islands/host/internal/pipeline"
	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
)

// hubOptions are what clients of the live feed may take.
func (h *host) hubOptions() hub.Options {
	b, c := h.config().Broadcast, h.config().Broadcast.Clients
	return hub.Options{
		Symbols: b.Symbols, MaxConnections: c.MaxConnections, MaxPerAddress: c.MaxPerAddress, MaxSubscriptions: c.MaxSubscriptions,
		MessagesPerSecond: c.MessagesPerSecond, MaxMessage: int(c.MaxMessage), MaxPending: int(c.MaxPending), History: int(c.History),
		SlowTimeout: c.SlowTimeout, WriteTimeout: c.WriteTimeout, PingInterval: c.PingInterval, PongTimeout: c.PongTimeout,
		Heartbeat: c.Heartbeat, Logger: h.logger.Named("feed"),
	}
}

// feedOptions join the configuration and the islands to the feed.
func (h *host) feedOptions(cfg *config.Config) pipeline.FeedOptions {
	b := cfg.Broadcast
	opts := pipeline.FeedOptions{
		Symbols: b.Symbols, Sources: b.Sources, Poll: b.Poll, Silence: b.Silence,
		Streams: func(source string) bool { return has(cfg, source, sdk.RoleStream) }, Deliver: h.deliver,
	}
	if cache := cfg.Request.Cache; has(cfg, cache, sdk.RoleCoordinator) {
		opts.Coordinator = cache
	}
	return opts
}

// has reports whether an island has a role, by its manifest.
func has(cfg *config.Config, name string, role sdk.Role) bool {
	island, ok := cfg.Island(name)
	return ok && island.Manifest.Has(role)
}

// deliver hands a step of the feed to the hub, with each value encoded once for all channels and clients.
func (h *host) deliver(t pipeline.Tick) {
	step := hub.Tick{
		Epoch: t.Epoch, N: t.N, At: t.At, Whole: t.Whole, QuotesSeq: t.QuotesSeq, GlobalSeq: t.GlobalSeq,
		Quotes: make([]hub.Item, len(t.Quotes)),
	}
	for i, q := range t.Quotes {
		step.Quotes[i] = hub.Item{Key: q.Quote.Symbol, Seq: q.Seq, JSON: gateway.EncodeQuote(q.Quote, false)}
	}
	if t.Global != nil {
		step.Global = gateway.EncodeGlobal(*t.Global, false)
	}
	h.hub.Publish(step)
}

// islandNews is the part of an island's view that is news when it changes: what the channel of islands shows.
type islandNews struct {
	Name      string           `json:"name"`
	Layer     sdk.Layer        `json:"layer"`
	Version   string           `json:"version"`
	State     supervisor.State `json:"state"`
	Status    sdk.Status       `json:"status"`
	Reason    string           `json:"reason"`
	Since     time.Time        `json:"since"`
	Restarts  int              `json:"restarts"`
	LastCrash *crashView       `json:"last_crash"`
}

// news tells clients of the live feed what becomes of islands. The details of an island's health change all the time and
// are left to the health routes.
type news struct {
	hub *hub.Hub

	mu   sync.Mutex
	last map[string]string // what was told of an island, by its name
}

func newNews(h *hub.Hub) *news { return &news{hub: h, last: make(map[string]string)} }

// changed tells of an island unless it looks as it did before.
func (n *news) changed(s supervisor.IslandStatus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tell(viewOf(s).islandNews)
}

// tell tells what is new of an island; the lock is held.
func (n *news) tell(island islandNews) {
	text, err := json.Marshal(island)
	if err != nil || n.last[island.Name] == string(text) { // Nothing in it can fail to marshal.
		return
	}
	n.last[island.Name] = string(text)
	n.hub.PublishIslands(time.Now(), []hub.Item{{Key: island.Name, JSON: text}})
}

// communication is how layer 3 is: the invalidations of the cache, and the live feed.
func (h *host) communication() sdk.Health {
	if stats := h.requests.Stats(); stats.Suspect && h.config().Request.Cache != "" {
		return sdk.Degraded("the invalidation stream is down, warm answers are confirmed one by one")
	}
	feed := h.feeds.current.Load()
	if feed == nil {
		return sdk.Healthy()
	}
	switch stats := feed.Stats(); {
	case stats.Reason != "":
		return sdk.Degraded("live feed: " + stats.Reason)
	case stats.Age > feedSilence(h.config().Broadcast):
		return sdk.Degraded("the live feed has been silent for " + stats.Age.Round(time.Second).String())
	default:
		return sdk.Healthy()
	}
}

// feedSilence is how long the feed may bring nothing before that is worth a word: every source had its turn by then.
func feedSilence(b config.Broadcast) time.Duration { return 2*b.Poll + b.Silence }

// feedSourceView is a source in /metrics/feed.
type feedSourceView struct {
	Name      string     `json:"name"`
	Streaming bool       `json:"streaming"`
	Open      bool       `json:"open"`
	Silent    bool       `json:"silent"`
	Reason    string     `json:"reason"`
	LastQuote *time.Time `json:"last_quote"`
	Batches   uint64     `json:"batches"`
	Breaks    uint64     `json:"breaks"`
	Polls     uint64     `json:"polls"`
	Failures  uint64     `json:"failures"`
	TakenOver uint64     `json:"taken_over"`
}

// feedView is the feed in /metrics/feed.
type feedView struct {
	Mode       pipeline.FeedMode `json:"mode"`
	Reason     string            `json:"reason"`
	Epoch      string            `json:"epoch"`
	N          uint64            `json:"n"`
	AgeSeconds float64           `json:"age_seconds"`
	Symbols    int               `json:"symbols"`
	Ticks      uint64            `json:"ticks"`
	Quotes     uint64            `json:"quotes"`
	Dropped    map[string]uint64 `json:"dropped"`
	Takeovers  uint64            `json:"takeovers"`
	SoloSpells uint64            `json:"solo_spells"`
	Sources    []feedSourceView  `json:"sources"`
	Store      struct {
		Waiting  int    `json:"waiting"`
		Batches  uint64 `json:"batches"`
		Rows     uint64 `json:"rows"`
		Failures uint64 `json:"failures"`
		Dropped  uint64 `json:"dropped"`
	} `json:"store"`
}

// clientsView are the clients of the feed in /metrics/feed.
type clientsView struct {
	Connected    int    `json:"connected"`
	EventStreams int    `json:"event_streams"`
	Lagging      int    `json:"lagging"`
	Total        uint64 `json:"total"`
	Refused      uint64 `json:"refused"`
	SentAwaySlow uint64 `json:"sent_away_slow"`
	SentAwayLoud uint64 `json:"sent_away_noisy"`
	Delivered    uint64 `json:"delivered"`
	Conflated    uint64 `json:"conflated"`
	Flushes      uint64 `json:"flushes"`
	Recovered    uint64 `json:"recovered"`
	Unrecovered  uint64 `json:"unrecovered"`
	Channels     int    `json:"channels"`
	History      struct {
		Events int `json:"events"`
		Bytes  int `json:"bytes"`
	} `json:"history"`
}

// FeedMetrics implements gateway.Insight.
func (i *insight) FeedMetrics() any {
	s := i.h.hub.Stats()
	clients := clientsView{
		Connected: s.Clients, EventStreams: s.EventStreams, Lagging: s.Lagging, Total: s.Connected, Refused: s.Refused,
		SentAwaySlow: s.Slow, SentAwayLoud: s.Noisy, Delivered: s.Delivered, Conflated: s.Conflated, Flushes: s.Flushes,
		Recovered: s.Recovered, Unrecovered: s.Unrecovered, Channels: s.Channels,
	}
	clients.History.Events, clients.History.Bytes = s.HistoryEvents, s.HistoryBytes
	out := struct {
		Feed    *feedView   `json:"feed"` // null when nothing is broadcast
		Clients clientsView `json:"clients"`
	}{Clients: clients}
	feed := i.h.feeds.current.Load()
	if feed == nil {
		return out
	}
	f := feed.Stats()
	v := &feedView{
		Mode: f.Mode, Reason: f.Reason, Epoch: f.Epoch, N: f.N, AgeSeconds: f.Age.Seconds(), Symbols: f.Symbols,
		Ticks: f.Ticks, Quotes: f.Quotes, Takeovers: f.Takeovers, SoloSpells: f.SoloSpells, Sources: []feedSourceView{},
		Dropped: map[string]uint64{
			"late": f.Late, "duplicate": f.Duplicate, "invalid_price": f.InvalidPrice, "future": f.Future, "ancient": f.Ancient,
			"not_asked_for": f.NotAsked, "went_back": f.WentBack,
		},
	}
	for _, src := range f.Sources {
		v.Sources = append(v.Sources, feedSourceView{
			src.Name, src.Streaming, src.Open, src.Silent, src.Reason, moment(src.LastQuote), src.Batches, src.Breaks, src.Polls,
			src.Failures, src.TakenOver,
		})
	}
	v.Store.Waiting, v.Store.Batches, v.Store.Rows = f.Store.Waiting, f.Store.Batches, f.Store.Rows
	v.Store.Failures, v.Store.Dropped = f.Store.Failures, f.Store.Dropped
	out.Feed = v
	return out
}
