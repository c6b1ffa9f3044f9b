package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/service-islands/islands/host/internal/gateway"
	"github.com/service-islands/islands/host/internal/observe"
	"github.com/service-islands/islands/host/internal/pipeline"
	"github.com/service-islands/islands/host/internal/supervisor"
	"github.com/service-islands/islands/sdk"
)

// insight answers the health and metrics routes from what the supervisor, the pipeline and the islands say.
type insight struct{ h *host }

var _ gateway.Insight = (*insight)(nil)

// askTimeout bounds one question to an island on behalf of a health or metrics route.
const askTimeout = 2 * time.Second

// Ready implements gateway.Insight: every enabled island has run. It does not wait for any upstream, nor for an island
// that is being restarted: the host answers meanwhile.
func (i *insight) Ready() (bool, string) {
	for _, s := range i.h.supervisor.Status() {
		if s.Generation == 0 && s.State != supervisor.StateDisabled {
			return false, s.Name + " is " + string(s.State)
		}
	}
	return true, ""
}

// System implements gateway.Insight.
func (i *insight) System(context.Context) (any, sdk.Status) {
	var states []observe.IslandState
	for _, s := range i.h.supervisor.Status() {
		states = append(states, stateOf(s))
	}
	system := observe.System(time.Now().UTC(), states, map[sdk.Layer]sdk.Health{sdk.LayerCommunication: i.h.communication()})
	return system, system.Overall
}

// stateOf is an island as observe wants to see it.
func stateOf(s supervisor.IslandStatus) observe.IslandState {
	return observe.IslandState{Name: s.Name, Layer: s.Layer, State: string(s.State), Health: s.Health, Since: s.Since}
}

// islandView is an island as anybody may see it: without output, errors and paths.
type islandView struct {
	islandNews
	Roles []sdk.Role `json:"roles"`
	Parts []sdk.Part `json:"parts"`
}

// crashView is a crash as anybody may see it.
type crashView struct {
	At            time.Time        `json:"at"`
	Cause         supervisor.Cause `json:"cause"`
	Signal        string           `json:"signal"`
	Code          int              `json:"code"`
	UptimeSeconds float64          `json:"uptime_seconds"`
}

func viewOf(s supervisor.IslandStatus) islandView {
	status, reason := observe.StatusOf(stateOf(s))
	v := islandView{
		islandNews: islandNews{
			Name: s.Name, Layer: s.Layer, Version: s.Version, State: s.State, Status: status, Reason: reason, Since: s.Since.UTC(),
			Restarts: s.Restarts,
		},
		Roles: s.Roles, Parts: []sdk.Part{},
	}
	if s.State == supervisor.StateRunning && s.Health.Parts != nil {
		v.Parts = s.Health.Parts
	}
	if v.Roles == nil {
		v.Roles = []sdk.Role{}
	}
	if c := s.LastCrash; c != nil {
		v.LastCrash = &crashView{At: c.At.UTC(), Cause: c.Cause, Signal: c.Signal, Code: c.Code, UptimeSeconds: c.Uptime.Seconds()}
	}
	return v
}

// status returns an island's status, asking the island itself how it is when it runs: a health route shows the present.
func (i *insight) status(ctx context.Context, name string) (supervisor.IslandStatus, bool) {
	all := i.h.supervisor.Status()
	at := slices.IndexFunc(all, func(s supervisor.IslandStatus) bool { return s.Name == name })
	if at < 0 {
		return supervisor.IslandStatus{}, false
	}
	s := all[at]
	if island, err := i.h.supervisor.Island(name); err == nil {
		ctx, cancel := context.WithTimeout(ctx, askTimeout)
		defer cancel()
		s.Health = island.Health(ctx)
	}
	return s, true
}

// partView is a part of a health route's answer.
type partView struct {
	Name    string         `json:"name"`
	Status  sdk.Status     `json:"status"`
	Reason  string         `json:"reason"`
	Details map[string]any `json:"details,omitempty"`
}

// CacheHealth implements gateway.Insight: the near cache and the tiers of the cache island.
func (i *insight) CacheHealth(ctx context.Context) (any, sdk.Status) {
	body := struct {
		Status sdk.Status `json:"status"`
		Reason string     `json:"reason"`
		Island string     `json:"island"`
		// Mode is how the cache island answers the pipeline, which goes on without it.
		Mode  modeView   `json:"mode"`
		Tiers []partView `json:"tiers"`
	}{Island: i.h.config().Request.Cache}
	stats := i.h.requests.Stats()
	body.Mode = viewOfMode(stats.Cache)
	near := partView{Name: "near", Details: map[string]any{"entries": stats.NearEntries, "bytes": stats.NearBytes, "suspect": stats.Suspect}}
	s, ok := i.status(ctx, body.Island)
	if !ok {
		body.Reason = "no cache island is configured; the host's near cache alone remembers"
		body.Tiers = []partView{near}
		return body, body.Status
	}
	if stats.Suspect {
		near.Status, near.Reason = sdk.StatusDegraded, "the invalidation stream is down"
	}
	body.Tiers = append(body.Tiers, near)
	body.Status, body.Reason = observe.StatusOf(stateOf(s))
	if s.State == supervisor.StateRunning {
		for _, p := range s.Health.Parts {
			body.Tiers = append(body.Tiers, partView(p))
		}
	}
	if body.Status == sdk.StatusOK && near.Status != sdk.StatusOK {
		body.Status, body.Reason = near.Status, "near: "+near.Reason
	}
	return body, body.Status
}

// sourceView is a source in /health/external-apis.
type sourceView struct {
	Name   string     `json:"name"`
	Status sdk.Status `json:"status"`
	Reason string     `json:"reason"`
	// Breaker is closed, open or half-open.
	Breaker           string         `json:"breaker"`
	Calls             uint64         `json:"calls"`
	Failures          uint64         `json:"failures"`
	Last429           *time.Time     `json:"last_429"`
	RetryAfterSeconds float64        `json:"retry_after_seconds"`
	LastError         string         `json:"last_error"`
	LastSuccess       *time.Time     `json:"last_success"`
	Mode              modeView       `json:"mode"`
	Limiter           map[string]any `json:"limiter"`
}

// ExternalAPIsHealth implements gateway.Insight: each source with its breaker and its limiter. A source whose upstream is
// down is degraded, and so is the whole when all are: cached data is still served.
func (i *insight) ExternalAPIsHealth(ctx context.Context) (any, sdk.Status) {
	body := struct {
		Status sdk.Status `json:"status"`
		Reason string     `json:"reason"`
		// Mode is unavailable while all of them are.
		Mode    modeView     `json:"mode"`
		Sources []sourceView `json:"sources"`
	}{Mode: viewOfMode(i.h.requests.Stats().Sources), Sources: []sourceView{}}
	var ill []string
	sources := i.h.requests.Sources()
	slices.SortFunc(sources, func(a, b pipeline.SourceStatus) int { return strings.Compare(a.Name, b.Name) })
	for _, src := range sources {
		v := sourceView{
			Name: src.Name, Breaker: src.Breaker, Calls: src.Calls, Failures: src.Failures, Last429: moment(src.Last429),
			RetryAfterSeconds: src.RetryAfter.Seconds(), LastError: src.LastError, LastSuccess: moment(src.LastSuccess),
			Mode: viewOfMode(src.Mode),
		}
		if s, ok := i.status(ctx, src.Name); ok {
			v.Status, v.Reason = observe.StatusOf(stateOf(s))
			if part, ok := s.Health.Part("upstream"); ok {
				v.Limiter = part.Details
			}
		}
		if src.Failing && v.Status == sdk.StatusOK {
			v.Status, v.Reason = sdk.StatusDegraded, "the last call failed: "+src.LastError
		}
		if v.Status != sdk.StatusOK {
			ill = append(ill, v.Name+": "+v.Reason)
		}
		body.Status = sdk.Worst(body.Status, v.Status)
		body.Sources = append(body.Sources, v)
	}
	body.Reason = strings.Join(ill, "; ")
	if !i.h.requests.Stats().SourcesAvailable {
		body.Reason = "no external API can be reached, cached data is served: " + body.Reason
	}
	return body, body.Status
}

// moment is a time that may never have been.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// DatabaseHealth implements gateway.Insight.
func (i *insight) DatabaseHealth(ctx context.Context) (any, sdk.Status) {
	body := struct {
		Status sdk.Status `json:"status"`
		Reason string     `json:"reason"`
		Island string     `json:"island"`
		// Mode is normal, cache_only, or none where no store is configured.
		Mode string `json:"mode"`
		// Changes of the mode since the start, and when the last one was; null for never.
		Changes uint64     `json:"changes"`
		Since   *time.Time `json:"since"`
		Spool   spoolView  `json:"spool"`
		Parts   []partView `json:"parts"`
	}{Island: i.h.config().Request.Store, Mode: "normal", Spool: i.spool(), Parts: []partView{}}
	stats := i.h.requests.Stats()
	body.Changes, body.Since = stats.Store.Changes, moment(stats.Store.Since)
	s, ok := i.status(ctx, body.Island)
	if !ok {
		body.Mode, body.Reason = "none", "no store is configured"
		return body, body.Status
	}
	body.Status, body.Reason = observe.StatusOf(stateOf(s))
	if s.State == supervisor.StateRunning {
		for _, p := range s.Health.Parts {
			body.Parts = append(body.Parts, partView(p))
		}
	}
	if body.Status == sdk.StatusFailed || !stats.StoreAvailable {
		body.Mode = "cache_only"
	}
	switch {
	case body.Status != sdk.StatusOK:
	case !stats.StoreAvailable:
		body.Status, body.Reason = sdk.StatusDegraded, "the store did not answer a moment ago"
	case body.Spool.fault() != "":
		body.Status, body.Reason = sdk.StatusDegraded, body.Spool.fault()
	}
	return body, body.Status
}

// modeView is how something is that the pipeline can do without for a while.
type modeView struct {
	Available bool `json:"available"`
	// Changes since the start, and when the last one was; null for never.
	Changes uint64     `json:"changes"`
	Since   *time.Time `json:"since"`
}

func viewOfMode(m pipeline.Mode) modeView { return modeView{m.Available, m.Changes, moment(m.Since)} }

// IslandsHealth implements gateway.Insight.
func (i *insight) IslandsHealth(context.Context) (any, sdk.Status) {
	body := struct {
		Status  sdk.Status   `json:"status"`
		Islands []islandView `json:"islands"`
	}{Islands: []islandView{}}
	for _, s := range i.h.supervisor.Status() {
		v := viewOf(s)
		body.Status = sdk.Worst(body.Status, v.Status)
		body.Islands = append(body.Islands, v)
	}
	return body, body.Status
}

// IslandHealth implements gateway.Insight.
func (i *insight) IslandHealth(ctx context.Context, name string) (any, sdk.Status, error) {
	s, ok := i.status(ctx, name)
	if !ok {
		return nil, 0, sdk.Errorf(sdk.NotFound, "no island %q in the configuration", name)
	}
	v := viewOf(s)
	body := struct {
		islandView
		// Rejected counts what the island answered and was not taken, by reason.
		Rejected map[string]uint64 `json:"rejected"`
	}{v, i.h.rejected(name)}
	return body, v.Status, nil
}

// IslandMetrics implements gateway.Insight.
func (i *insight) IslandMetrics(ctx context.Context, name string) (any, error) {
	metrics, err := i.metrics(ctx, name)
	reason := ""
	switch kind := sdk.KindOf(err); {
	case err == nil:
	case kind == sdk.NotFound || kind == sdk.Unavailable || ctx.Err() != nil:
		return nil, err
	default: // The fault is the island's; what the host counts of it is to be had all the same.
		reason = "does not answer: " + kind.String()
	}
	if metrics == nil {
		metrics = sdk.Metrics{}
	}
	return struct {
		Name    string      `json:"name"`
		Metrics sdk.Metrics `json:"metrics"`
		// Reason why there are no metrics of a running island, absent where there are.
		Reason string `json:"reason,omitempty"`
		// Rejected counts what the island answered and was not taken, by reason: the host's own count.
		Rejected  map[string]uint64 `json:"rejected"`
		Behaviour behaviour         `json:"behaviour"`
	}{name, metrics, reason, i.h.rejected(name), i.h.behaviour(name)}, nil
}

// behaviour is how an island keeps up, as the host sees it.
type behaviour struct {
	// RefusedAnswers counts answers of which nothing was believed.
	RefusedAnswers uint64 `json:"refused_answers"`
	// CallsUnderWay are those that requests make, CallsWaiting wait for one of them to end; CallsTurnedAway counts those that
	// were not made because the island did not keep up.
	CallsUnderWay   int    `json:"calls_under_way"`
	CallsWaiting    int    `json:"calls_waiting"`
	CallsTurnedAway uint64 `json:"calls_turned_away"`
}

func (h *host) behaviour(name string) behaviour {
	s := h.requests.Behaviour(name)
	return behaviour{s.Refused, s.UnderWay, s.Waiting, s.TurnedAway}
}

// rejected counts what an island answered and was not taken, by reason.
func (h *host) rejected(name string) map[string]uint64 {
	return h.requests.Behaviour(name).Dropped
}

// metrics asks an island what it counts.
func (i *insight) metrics(ctx context.Context, name string) (sdk.Metrics, error) {
	island, err := i.h.supervisor.Island(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return island.Metrics(ctx)
}

// hitRate is hits in all, null before the first.
func hitRate(hits, misses float64) sdk.Number {
	if hits+misses == 0 {
		return sdk.Number{}
	}
	return sdk.Known(hits / (hits + misses))
}

// tierCounts are the figures of a tier that looks keys up; null where nobody could be asked.
type tierCounts struct {
	Entries sdk.Number `json:"entries"`
	Hits    sdk.Number `json:"hits"`
	Misses  sdk.Number `json:"misses"`
	HitRate sdk.Number `json:"hit_rate"`
}

// serverCounts are the figures of Redis.
type serverCounts struct {
	MemoryUsage sdk.Number `json:"memory_usage"` // bytes, as Redis' INFO has it
	Connections sdk.Number `json:"connections"`
	LatencyAvg  sdk.Number `json:"latency_avg"` // milliseconds
	Hits        sdk.Number `json:"hits"`
	Misses      sdk.Number `json:"misses"`
}

// managerCounts are the figures of the cache as a whole.
type managerCounts struct {
	Promotions sdk.Number `json:"l1_promotions"`
	Fallbacks  sdk.Number `json:"fallbacks"`
	Operations sdk.Number `json:"total_operations"`
}

// CacheMetrics implements gateway.Insight. What the cache island does not answer is null.
func (i *insight) CacheMetrics(ctx context.Context) (any, error) {
	stats := i.h.requests.Stats()
	metrics, _ := i.metrics(ctx, i.h.config().Request.Cache) // a cache that is away shows as nulls; /health/cache says why
	value := func(name, tier string) sdk.Number {
		var labels map[string]string
		if tier != "" {
			labels = map[string]string{"tier": tier}
		}
		if v, ok := metrics.Value(name, labels); ok {
			return sdk.Known(v)
		}
		return sdk.Number{}
	}
	l1 := tierCounts{Entries: value("cache_entries", "l1"), Hits: value("cache_hits_total", "l1"), Misses: value("cache_misses_total", "l1")}
	l1.HitRate = hitRate(l1.Hits.Or(0), l1.Misses.Or(0))
	latency := value("cache_l2_latency_avg_seconds", "")
	if seconds, ok := latency.Float64(); ok {
		latency = sdk.Known(seconds * 1000)
	}
	return struct {
		Near    tierCounts    `json:"near_cache"`
		L1      tierCounts    `json:"l1_cache"`
		L2      serverCounts  `json:"l2_cache"`
		Manager managerCounts `json:"cache_manager"`
	}{
		Near: tierCounts{
			Entries: sdk.Known(float64(stats.NearEntries)), Hits: sdk.Known(float64(stats.NearHits)),
			Misses: sdk.Known(float64(stats.NearMisses)), HitRate: hitRate(float64(stats.NearHits), float64(stats.NearMisses)),
		},
		L1: l1,
		L2: serverCounts{
			value("cache_l2_memory_usage_bytes", ""), value("cache_l2_connections", ""), latency,
			value("cache_hits_total", "l2"), value("cache_misses_total", "l2"),
		},
		Manager: managerCounts{
			value("cache_promotions_total", ""), value("cache_fallbacks_total", ""), value("cache_operations_total", ""),
		},
	}, nil
}

// DatabaseMetrics implements gateway.Insight. What the store does not answer is null.
func (i *insight) DatabaseMetrics(ctx context.Context) (any, error) {
	metrics, _ := i.metrics(ctx, i.h.config().Request.Store) // as with the cache
	value := func(name string) sdk.Number {
		if v, ok := metrics.Value(name, nil); ok {
			return sdk.Known(v)
		}
		return sdk.Number{}
	}
	waited := value("db_pool_wait_seconds_total")
	if seconds, ok := waited.Float64(); ok {
		waited = sdk.Known(seconds * 1000)
	}
	stats := i.h.requests.Stats()
	type pool struct {
		Total      sdk.Number `json:"total"`
		Idle       sdk.Number `json:"idle"`
		InUse      sdk.Number `json:"in_use"`
		Waits      sdk.Number `json:"waits"`
		WaitTimeMS sdk.Number `json:"wait_time_ms"`
	}
	return struct {
		Island      string     `json:"island"`
		Pool        pool       `json:"pool"`
		RowsWritten sdk.Number `json:"rows_written"`
		// Writes of the pipeline to cache and store, and those that failed.
		Writes        uint64    `json:"writes"`
		WriteFailures uint64    `json:"write_failures"`
		Spool         spoolView `json:"spool"`
	}{
		Island: i.h.config().Request.Store,
		Pool: pool{
			value("db_pool_connections"), value("db_pool_idle"), value("db_pool_in_use"), value("db_pool_waits_total"), waited,
		},
		RowsWritten: value("db_rows_written_total"), Writes: stats.Writes, WriteFailures: stats.WriteFailures,
		Spool: i.spool(),
	}, nil
}

// Performance implements gateway.Insight.
func (i *insight) Performance() any {
	l := i.h.requests.Stats().Lobby
	return struct {
		observe.Performance
		Admission admission `json:"admission"`
	}{i.h.observer.Snapshot(), admission{l.Running, l.Places, l.Waiting, l.Served, l.Shed, l.Overdue}}
}

// admission is how what has to be loaded is let in.
type admission struct {
	// Running is what is being loaded, Places how much may be right now, Waiting what waits for a place.
	Running int `json:"running"`
	Places  int `json:"places"`
	Waiting int `json:"waiting"`
	// Loaded, TurnedAway and, of those, WaitedInVain are counted since the start.
	Loaded       uint64 `json:"loaded"`
	TurnedAway   uint64 `json:"turned_away"`
	WaitedInVain uint64 `json:"waited_in_vain"`
}
