package config

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/service-islands/islands/sdk"
)

var (
	// symbol is what an asset's symbol consists of.
	symbol = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)
	// reportName is what a report may be called: a part of its route.
	reportName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,63}$`)
	// reportKey is what a report's keys may begin with.
	reportKey = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
)

// takenRoutes are names under /api/ that no report may have.
var takenRoutes = []string{"market-data", "candles", "history", "symbols", "stream"}

// takenKeys are beginnings of the host's own keys.
var takenKeys = []string{"quotes", "candles", "global", "sentiment", "catalogue"}

// request reads the request block, nil for none.
func (l *loader) request(block *hcl.Block) {
	schema := with(attributes("cache", "store"), "quotes", "candles", "global", "sentiment", "catalogue")
	schema.Blocks = append(schema.Blocks, hcl.BlockHeaderSchema{Type: "report", LabelNames: []string{"name"}})
	r := l.read(block, schema)
	q := &l.cfg.Request
	told := map[string]bool{}
	q.Cache = l.owner(r, "cache", sdk.RoleCache, told)
	q.Store = l.owner(r, "store", sdk.RoleStore, told)
	l.secondOwners(told)
	q.Quotes = l.kind(r.sub("quotes"), sdk.RoleQuotes, true)
	q.Candles = l.kind(r.sub("candles"), sdk.RoleCandles, true)
	q.Global = l.kind(r.sub("global"), sdk.RoleGlobal, true)
	q.Sentiment = l.kind(r.sub("sentiment"), sdk.RoleSentiment, false)
	q.Catalogue = l.kind(r.sub("catalogue"), sdk.RoleCatalogue, true)
	names, keys := map[string]bool{}, map[string]string{}
	for _, b := range l.atMost(r.content.Blocks.ByType()["report"]) {
		if names[b.Labels[0]] {
			l.problem(b.LabelRanges[0], "Duplicate name", "There is a report %q already. Rename or remove one of the two.", b.Labels[0])
			continue
		}
		names[b.Labels[0]] = true
		l.report(b, keys)
	}
}

// use returns an island that is to play one of some roles. It notes one that does not exist or has none of them, and
// returns false for it and for a disabled one.
func (l *loader) use(n word, roles ...sdk.Role) (Island, bool) {
	i := slices.IndexFunc(l.cfg.Islands, func(island Island) bool { return island.Name == n.text })
	if i < 0 {
		l.problem(n.at, "Unknown island", "There is no island %q.%s", n.text, suggest(n.text, "islands", l.islandNames()))
		return Island{}, false
	}
	island := l.cfg.Islands[i]
	if !l.islands[i].described || slices.ContainsFunc(roles, island.Manifest.Has) {
		return island, island.Enabled
	}
	l.problem(n.at, "Role not offered", "The island %q does not offer %s; it offers %s. Name an island that does.",
		n.text, list(roles, " or "), list(island.Manifest.Roles, ", "))
	return Island{}, false
}

// list writes roles into a sentence.
func list(roles []sdk.Role, between string) string {
	if len(roles) == 0 {
		return "none"
	}
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, between)
}

// owner reads which island has a role that one island has alone: the first enabled one of those listed.
// Told gathers the islands that were found to be second owners.
func (l *loader) owner(r reader, attr string, role sdk.Role, told map[string]bool) string {
	listed, _ := r.names(attr)
	owner := ""
	for _, n := range listed {
		island, ok := l.use(n, role)
		switch {
		case !ok:
		case owner == "":
			owner = island.Name
		default:
			told[island.Name] = true
			l.twoOwners(n.at, role, owner, island.Name)
		}
	}
	return owner
}

// twoOwners notes that two enabled islands have a role that one has alone.
func (l *loader) twoOwners(at hcl.Range, role sdk.Role, first, second string) {
	l.problem(at, "Two owners of one role",
		"Both %q and %q are enabled and offer the role %s, which one island has alone. Set enabled = false in one of them, or give them opposite conditions.", first, second, role)
}

// secondOwners notes enabled islands that have a role that one island has alone, though nothing refers to them.
// Those in told are known already.
func (l *loader) secondOwners(told map[string]bool) {
	for _, role := range []sdk.Role{sdk.RoleCache, sdk.RoleStore, sdk.RoleCoordinator} {
		owner := map[sdk.Role]string{
			sdk.RoleCache: l.cfg.Request.Cache, sdk.RoleStore: l.cfg.Request.Store, sdk.RoleCoordinator: l.cfg.Request.Cache,
		}[role]
		if island, ok := l.cfg.Island(owner); !ok || !island.Manifest.Has(role) {
			owner = ""
		}
		for i, b := range l.islands {
			island := l.cfg.Islands[i]
			switch {
			case !b.described || !island.Manifest.Has(role) || island.Name == owner || told[island.Name]:
			case owner == "":
				owner = island.Name
			default:
				told[island.Name] = true
				l.twoOwners(b.at, role, owner, island.Name)
			}
		}
	}
}

// kind reads who answers one kind of data. A nil block is a kind that nobody answers.
func (l *loader) kind(block *hcl.Block, role sdk.Role, needsSources bool) Kind {
	var k Kind
	if block == nil {
		return k
	}
	r := l.read(block, attributes("sources", "strategy", "stale_for"))
	k.Sources = l.sources(r, needsSources, role)
	k.Strategy = l.strategy(r)
	return k
}

// sources reads the islands to ask, in order, leaving out disabled ones.
func (l *loader) sources(r reader, needed bool, roles ...sdk.Role) []string {
	listed, good := r.names("sources")
	if _, there := r.content.Attributes["sources"]; needed && (!there || good && len(listed) == 0) {
		r.missing("sources", "the islands to ask, in this order")
	}
	var out []string
	for _, n := range listed {
		if island, ok := l.use(n, roles...); ok {
			out = append(out, island.Name)
		}
	}
	return out
}

// strategy reads which strategy applies, and what it says.
func (l *loader) strategy(r reader) Strategy {
	if _, there := r.content.Attributes["strategy"]; !there {
		r.missing("strategy", "how long an answer stays good, one of "+strings.Join(l.strategyNames(), ", "))
		return Strategy{}
	}
	name := ""
	if !r.text("strategy", &name) {
		return Strategy{}
	}
	s, ok := l.cfg.Strategy(name)
	if !ok {
		l.problem(r.where("strategy"), "Unknown strategy", "There is no strategy %q.%s", name, suggest(name, "strategies", l.strategyNames()))
		return Strategy{}
	}
	r.durationOrNone("stale_for", &s.StaleFor)
	return s
}

// report reads one report. Keys maps the keys of those before to their names.
func (l *loader) report(block *hcl.Block, keys map[string]string) {
	p := Report{Name: block.Labels[0]}
	p.Key = strings.ReplaceAll(p.Name, "-", "_")
	r := l.read(block, attributes("island", "strategy", "stale_for", "key", "warm"))
	switch {
	case !reportName.MatchString(p.Name):
		l.problem(block.LabelRanges[0], "Bad name", "A report has a name such as \"crypto-report\": lower case, digits and dashes.")
	case slices.Contains(takenRoutes, p.Name):
		l.problem(block.LabelRanges[0], "Bad name", "/api/%s is a route already. Choose another name.", p.Name)
	}
	p.Strategy = l.strategy(r)
	if r.text("key", &p.Key) {
		l.checkKey(r, p, keys)
		keys[p.Key] = p.Name
	}
	p.Warm, _ = l.symbols(r, "warm")

	if _, there := r.content.Attributes["island"]; !there {
		r.missing("island", "the one that makes the report")
		return
	}
	if !r.text("island", &p.Island) || p.Island == "" {
		return
	}
	island, ok := l.use(word{text: p.Island, at: r.where("island")}, sdk.RoleReporter)
	if !ok {
		return
	}
	if len(island.Manifest.Roles) > 0 && !makes(island, p.Name) {
		l.problem(block.LabelRanges[0], "Unknown report", "The island %q makes no report %q.%s", p.Island, p.Name,
			suggest(p.Name, "reports", reportsOf(island)))
	}
	l.cfg.Request.Reports = append(l.cfg.Request.Reports, p)
}

// checkKey notes a key that is malformed or could stand for something else too.
func (l *loader) checkKey(r reader, p Report, keys map[string]string) {
	if !reportKey.MatchString(p.Key) {
		l.problem(r.where("key"), "Bad key", "\"key\" wants something such as \"crypto_report\": lower case, digits and underscores.")
		return
	}
	for _, taken := range takenKeys {
		if p.Key == taken || collide(p.Key, taken) {
			l.problem(r.where("key"), "Bad key", "Keys of the host's own begin with %q. Choose another.", taken)
			return
		}
	}
	for _, other := range slices.Sorted(maps.Keys(keys)) {
		if p.Key == other || collide(p.Key, other) {
			l.problem(r.where("key"), "Duplicate key", "The key %q could also be one of the report %q, whose key is %q. Choose another.",
				p.Key, keys[other], other)
			return
		}
	}
}

// collide reports whether KEY_SYMBOL_CURRENCY of one key can be KEY_SYMBOL of the other.
func collide(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	rest, ok := strings.CutPrefix(b, a+"_")
	return ok && !strings.Contains(rest, "_")
}

// makes reports whether an island makes a report.
func makes(island Island, report string) bool { return slices.Contains(reportsOf(island), report) }

// reportsOf lists the reports that an island makes.
func reportsOf(island Island) []string {
	names := make([]string, len(island.Manifest.Reports))
	for i, spec := range island.Manifest.Reports {
		names[i] = spec.Name
	}
	return names
}

// symbols reads a list of symbols into lower case.
func (l *loader) symbols(r reader, attr string) ([]string, bool) {
	listed, good := r.names(attr)
	var out []string
	for _, n := range listed {
		s := strings.ToLower(n.text)
		switch {
		case !symbol.MatchString(s):
			l.problem(n.at, "Bad symbol", "%s is not a symbol: those consist of at most 32 letters, digits and dashes, such as \"btc\".",
				fmt.Sprintf("%.40q", n.text))
			good = false
		case slices.Contains(out, s):
			l.problem(n.at, "Duplicate name", "%q is listed twice. List it once.", s)
			good = false
		default:
			out = append(out, s)
		}
	}
	return out, good
}
