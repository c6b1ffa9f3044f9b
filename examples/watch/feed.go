package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// feed is what is known of the live feed. It changes by apply and interrupted alone, touches nothing outside, and reads
// no clock. It is not safe for concurrent use.
type feed struct {
	names    []string // the wanted channels.
	channels map[string]*channel
	global   *global
	islands  map[string]island

	holes    int    // jumps seen.
	lost     uint64 // updates that were jumped over, as far as they can be counted.
	lastHole *hole
	problem  string        // the last error that the feed told.
	latency  time.Duration // from the last update's timestamp to its arrival: also the difference of two clocks.
	last     string        // the channel of the last update.
}

// channel is what is known of one channel.
type channel struct {
	at      position       // of what is shown; none before the first snapshot.
	live    bool           // subscribed in this connection: its updates count.
	refused string         // why it is not.
	quotes  map[string]row // by symbol.
}

// row is a quote, and where its price went when it last moved: 1 up, -1 down, 0 not yet.
type row struct {
	quote
	trend int
}

// hole is a jump in a channel's seq.
type hole struct {
	channel    string
	from, to   position
	uncounted  bool // between two epochs nobody can count.
	inSnapshot bool // made good by a snapshot instead of a later update.
}

func (h hole) lost() uint64 {
	switch {
	case h.uncounted:
		return 0
	case h.inSnapshot:
		return h.to.Seq - h.from.Seq
	default:
		return h.to.Seq - h.from.Seq - 1
	}
}

func (h hole) String() string {
	if h.uncounted {
		return fmt.Sprintf("hole in %s: epoch %s ended at %d, epoch %s goes on at %d",
			h.channel, printable(h.from.Epoch), h.from.Seq, printable(h.to.Epoch), h.to.Seq)
	}
	return fmt.Sprintf("hole in %s: %d lost between seq %d and %d", h.channel, h.lost(), h.from.Seq, h.to.Seq)
}

// news is what one message changed.
type news struct {
	quotes  []row // by symbol.
	global  *global
	islands []island // by name.
	holes   []hole
	notes   []string // what the feed told in words.
}

// errEpoch ends a connection whose updates do not continue what is known.
var errEpoch = errors.New("a new epoch without a snapshot")

func newFeed(channels []string) *feed {
	f := &feed{names: channels, channels: make(map[string]*channel), islands: make(map[string]island)}
	for _, name := range channels {
		f.channels[name] = &channel{quotes: make(map[string]row)}
	}
	return f
}

// since returns where each channel was left, for the next subscription.
func (f *feed) since() map[string]position {
	since := make(map[string]position)
	for name, c := range f.channels {
		if c.at.Epoch != "" {
			since[name] = c.at
		}
	}
	return since
}

// interrupted tells that the connection is gone. What is known of the market stays.
func (f *feed) interrupted() {
	f.problem = ""
	for _, c := range f.channels {
		c.live = false
	}
}

// live reports whether any channel is subscribed.
func (f *feed) live() bool {
	for _, c := range f.channels {
		if c.live {
			return true
		}
	}
	return false
}

// apply takes in a message that arrived at the time. An error means that the connection cannot be trusted any more; a
// type that is not known is none.
func (f *feed) apply(m message, at time.Time) (news, error) {
	switch m.Type {
	case "subscribed":
		if m.ID != requestID {
			return news{}, nil
		}
		return f.subscribed(m)
	case "error":
		var problem struct{ Code, Message string }
		if err := m.decode(&problem); err != nil {
			return news{}, err
		}
		f.problem = printable(problem.Code + ": " + problem.Message)
		return news{notes: []string{f.problem}}, nil
	case "snapshot", "market_update", "global_update", "islands_update":
		c := f.channels[m.Channel]
		if c == nil || !c.live {
			return news{}, nil
		}
		return f.values(c, m, at)
	}
	return news{}, nil
}

func (f *feed) subscribed(m message) (news, error) {
	var answers map[string]subscription
	if err := m.decode(&answers); err != nil {
		return news{}, err
	}
	var n news
	for _, name := range slices.Sorted(maps.Keys(answers)) {
		c, answer := f.channels[name], answers[name]
		if c == nil {
			continue
		}
		c.live, c.refused = answer.OK, ""
		if !answer.OK {
			c.refused = printable(answer.Error)
			n.notes = append(n.notes, name+" refused: "+c.refused)
		}
	}
	return n, nil
}

// values takes in a snapshot or an update of a channel that is live.
func (f *feed) values(c *channel, m message, at time.Time) (news, error) {
	to, snapshot := position{m.Epoch, m.Seq}, m.Type == "snapshot"
	var found *hole
	switch {
	case c.at.Epoch == "": // The first there is.
	case to.Epoch != c.at.Epoch:
		found = &hole{channel: m.Channel, from: c.at, to: to, uncounted: true}
	case snapshot && to.Seq > c.at.Seq:
		found = &hole{channel: m.Channel, from: c.at, to: to, inSnapshot: true}
	case !snapshot && to.Seq <= c.at.Seq: // Known already.
		return news{}, nil
	case !snapshot && to.Seq > c.at.Seq+1:
		found = &hole{channel: m.Channel, from: c.at, to: to}
	}

	var n news
	if found != nil {
		n.holes = []hole{*found}
		f.holes, f.lost, f.lastHole = f.holes+1, f.lost+found.lost(), found
		if found.uncounted && !snapshot {
			c.at = position{}
			return n, fmt.Errorf("%s began %w", m.Channel, errEpoch)
		}
	}
	if err := f.content(c, m, &n); err != nil {
		return n, err
	}
	c.at, f.last = to, m.Channel
	if !snapshot && !m.Timestamp.IsZero() {
		f.latency = at.Sub(m.Timestamp)
	}
	return n, nil
}

// content takes in the data, which depends on the channel.
func (f *feed) content(c *channel, m message, n *news) error {
	switch {
	case m.Channel == "global":
		var g global
		if err := m.decode(&g); err != nil {
			return err
		}
		f.global, n.global = &g, &g
	case m.Channel == "islands":
		var changed map[string]island
		if err := m.decode(&changed); err != nil {
			return err
		}
		if m.Type == "snapshot" {
			clear(f.islands)
		}
		for _, name := range slices.Sorted(maps.Keys(changed)) {
			i := changed[name]
			i.Name = name
			f.islands[name] = i
			n.islands = append(n.islands, i)
		}
	default:
		var changed map[string]quote
		if err := m.decode(&changed); err != nil {
			return err
		}
		known := c.quotes
		if m.Type == "snapshot" {
			c.quotes = make(map[string]row, len(changed))
		}
		for _, symbol := range slices.Sorted(maps.Keys(changed)) {
			r := moved(known[symbol], changed[symbol])
			r.Symbol = symbol
			c.quotes[symbol] = r
			n.quotes = append(n.quotes, r)
		}
	}
	return nil
}

// moved returns the quote with the way its price went from the known one.
func moved(known row, q quote) row {
	r := row{quote: q, trend: known.trend}
	before, had := known.Price.Float64()
	if now, has := q.Price.Float64(); had && has && now != before {
		r.trend = cmp.Compare(now, before)
	}
	return r
}

// rows returns the newest quote of each symbol, the largest market capitalisation first, unknown ones last.
func (f *feed) rows() []row {
	newest := make(map[string]row)
	for _, c := range f.channels {
		for symbol, r := range c.quotes {
			if known, ok := newest[symbol]; !ok || r.AsOf.After(known.AsOf) {
				newest[symbol] = r
			}
		}
	}
	return slices.SortedFunc(maps.Values(newest), func(a, b row) int {
		return cmp.Or(cmp.Compare(b.MarketCap.Or(-1), a.MarketCap.Or(-1)), strings.Compare(a.Symbol, b.Symbol))
	})
}

// refusals returns the channels that are not shown, and why.
func (f *feed) refusals() []string {
	var refused []string
	for _, name := range f.names {
		if why := f.channels[name].refused; why != "" {
			refused = append(refused, name+" refused: "+why)
		}
	}
	return refused
}

// troubled returns the islands that run and are not ok, by name.
func (f *feed) troubled() []island {
	var troubled []island
	for _, name := range slices.Sorted(maps.Keys(f.islands)) {
		if i := f.islands[name]; i.Status != "ok" && i.State != "disabled" {
			troubled = append(troubled, i)
		}
	}
	return troubled
}
