package config

import (
	"cmp"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/service-islands/islands/sdk"
)

// broadcast reads the broadcast block, nil for none.
func (l *loader) broadcast(block *hcl.Block) {
	b := Broadcast{Poll: 30 * time.Second}
	r := l.read(block, with(attributes("symbols", "sources", "poll", "silence"), "clients"))
	if block != nil {
		l.feed(r, &b)
	}
	poll := r.duration("poll", &b.Poll)
	b.Silence = min(15*time.Second, b.Poll-b.Poll/2) // Rounded up, because half of the shortest poll is nothing.
	if silence := r.duration("silence", &b.Silence); silence && poll && b.Silence > b.Poll {
		r.above("silence", b.Silence, "poll", b.Poll)
	}
	b.Clients = l.clients(r.sub("clients"))
	l.cfg.Broadcast = b
}

// feed reads what the live feed carries and where it comes from.
func (l *loader) feed(r reader, b *Broadcast) {
	var good bool
	b.Symbols, good = l.symbols(r, "symbols")
	if _, there := r.content.Attributes["symbols"]; !there || good && len(b.Symbols) == 0 {
		r.missing("symbols", "what the live feed carries")
	}
	b.Sources = l.sources(r, true, sdk.RoleStream, sdk.RoleQuotes)
}

// clients reads what clients of the live feed may take, from a nil block the defaults.
func (l *loader) clients(block *hcl.Block) Clients {
	c := Clients{
		MaxSubscriptions:  128,
		MessagesPerSecond: 10,
		MaxMessage:        4 << 10,
		MaxPending:        1 << 20,
		History:           16 << 20,
		SlowTimeout:       30 * time.Second,
		WriteTimeout:      10 * time.Second,
		PingInterval:      25 * time.Second,
		PongTimeout:       10 * time.Second,
		Heartbeat:         15 * time.Second,
		Origins:           []string{"*"},
	}
	r := l.read(block, attributes("max_connections", "max_per_address", "max_subscriptions", "messages_per_second", "max_message",
		"max_pending", "history", "slow_timeout", "write_timeout", "ping_interval", "pong_timeout", "heartbeat", "origins"))
	l.clientConnections(r, &c)
	r.whole("max_subscriptions", &c.MaxSubscriptions, 10_000)
	r.whole("messages_per_second", &c.MessagesPerSecond, 1_000)
	r.sizeBetween("max_message", &c.MaxMessage, 128, 1<<20)
	r.sizeBetween("max_pending", &c.MaxPending, 64<<10, 64<<20)
	r.sizeBetween("history", &c.History, 1<<20, 1<<30)
	l.clientTimeouts(r, &c)
	l.origins(r, &c)
	return c
}

// clientConnections reads how many clients there may be. Where the file sets but one of the two numbers, the smaller is
// what counts, as it would anyway.
func (l *loader) clientConnections(r reader, c *Clients) {
	const most = 1_000_000
	var total, each int // Nothing: not set, or not well.
	r.whole("max_connections", &total, most)
	r.whole("max_per_address", &each, most)
	if total > 0 && each > total {
		r.above("max_per_address", each, "max_connections", total)
	}
	c.MaxConnections = cmp.Or(total, 20_000)
	c.MaxPerAddress = min(cmp.Or(each, 1_000), c.MaxConnections)
}

// clientTimeouts reads how patient the live feed is with a client.
func (l *loader) clientTimeouts(r reader, c *Clients) {
	slow := r.duration("slow_timeout", &c.SlowTimeout)
	write := r.duration("write_timeout", &c.WriteTimeout)
	ping := r.duration("ping_interval", &c.PingInterval)
	pong := r.duration("pong_timeout", &c.PongTimeout)
	r.duration("heartbeat", &c.Heartbeat)
	if slow && write && c.WriteTimeout > c.SlowTimeout {
		r.above("write_timeout", c.WriteTimeout, "slow_timeout", c.SlowTimeout)
	}
	if ping && pong && c.PongTimeout > c.PingInterval {
		r.above("pong_timeout", c.PongTimeout, "ping_interval", c.PingInterval)
	}
}

// origins reads which pages may connect.
func (l *loader) origins(r reader, c *Clients) {
	listed, good := r.names("origins")
	if len(listed) == 0 {
		if good && r.given("origins") {
			c.Origins = nil
		}
		return
	}
	c.Origins = nil
	for _, n := range listed {
		o, ok := origin(n.text)
		switch {
		case !ok:
			l.problem(n.at, "Bad origin",
				"%.60q is not an origin: those are \"*\", or http or https and a host, with nothing after it but a port, "+
					"such as \"https://example.com\", \"https://*.example.com\" and \"http://localhost:8080\".", n.text)
		case !slices.Contains(c.Origins, o):
			c.Origins = append(c.Origins, o)
		}
	}
}

// originPattern takes an origin in lower case apart: scheme, host, port.
var originPattern = regexp.MustCompile(`^(https?)://((?:\*\.)?[a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?$`)

// origin turns a pattern of origins into what browsers send, false for what no browser could.
func origin(text string) (string, bool) {
	const longest = 300 // The longest host has 253 letters.
	if text == "*" {
		return text, true
	}
	m := originPattern.FindStringSubmatch(strings.ToLower(text))
	if m == nil || len(text) > longest {
		return "", false
	}
	scheme, host, port := m[1], m[2], m[3]
	if literal, ok := strings.CutPrefix(host, "["); ok {
		address, err := netip.ParseAddr(strings.TrimSuffix(literal, "]"))
		if err != nil || !address.Is6() {
			return "", false
		}
		host = "[" + address.String() + "]"
	}
	if port == "" {
		return scheme + "://" + host, true
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return "", false
	}
	if implied := map[string]uint64{"http": 80, "https": 443}[scheme]; number != implied {
		host += ":" + strconv.FormatUint(number, 10)
	}
	return scheme + "://" + host, true
}
