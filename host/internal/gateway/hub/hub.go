package hub

import (
	"context"
	"crypto/rand"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/service-islands/islands/sdk"
)

// Hub holds the channels and their clients. All methods may be called concurrently; those that publish, one after the other.
type Hub struct {
	opts  Options
	wake  chan struct{} // holds a token while something waits to be flushed
	done  chan struct{} // closed by Shutdown
	loops sync.WaitGroup
	// work are the goroutines of clients.
	work  sync.WaitGroup
	start sync.Once
	stop  sync.Once

	mu       sync.Mutex
	pos      uint64 // of the newest event
	flushed  uint64 // of the newest event that a flush has looked at
	feed     line
	local    line // of the islands channel
	channels []*channel
	byName   map[string]*channel
	retired  map[string]*channel // by name: channels of symbols that left the feed
	tickers  *channel
	global   *channel
	islands  *channel

	events []*event // the history, oldest first
	kept   int      // bytes in it
	groups map[string]*group

	clients   map[*Client]struct{}
	addresses map[netip.Addr]int
	draining  bool
	opened    uint64 // clients so far, for their ids
	// gone is closed when the last client of a hub that drains has left.
	gone chan struct{}

	counts counts
	lines  *rate.Limiter // of the log
	untold atomic.Uint64

	// What a flush needs, kept from one to the next. Only the flush loop touches it.
	flushing []*group
	members  []*Client
	shares   []share
	text     []byte
	ends     []mark
}

// New returns a hub that takes clients at once. What comes after their greeting is written once it is started.
func New(opts Options) *Hub {
	opts = opts.withDefaults()
	h := &Hub{
		opts: opts, wake: make(chan struct{}, 1), done: make(chan struct{}),
		byName: make(map[string]*channel), retired: make(map[string]*channel), groups: make(map[string]*group),
		lines:   rate.NewLimiter(linesPerSecond, linesAtOnce),
		clients: make(map[*Client]struct{}), addresses: make(map[netip.Addr]int), gone: make(chan struct{}),
	}
	h.local.epoch = rand.Text()
	h.tickers = h.addChannel(AllTickers, "market_update", &h.feed)
	h.global = h.addChannel(Global, "global_update", &h.feed)
	h.islands = h.addChannel(Islands, "islands_update", &h.local)
	h.global.single = true
	for _, symbol := range opts.Symbols {
		h.ticker(symbol)
	}
	return h
}

func (h *Hub) addChannel(name, update string, l *line) *channel {
	ch := &channel{name: name, id: len(h.channels), line: l, update: update, values: make(map[string]*value)}
	h.channels = append(h.channels, ch)
	h.byName[name] = ch
	return ch
}

// ticker returns the channel of a symbol, made at first sight.
func (h *Hub) ticker(symbol string) *channel {
	if ch := h.named(tickerPrefix + symbol); ch != nil {
		delete(h.retired, ch.name)
		h.byName[ch.name] = ch
		return ch
	}
	ch := h.addChannel(tickerPrefix+symbol, h.tickers.update, &h.feed)
	ch.only, ch.values = symbol, h.tickers.values
	return ch
}

// Start begins to write to clients.
func (h *Hub) Start() {
	h.start.Do(func() {
		h.loops.Go(h.flushLoop)
		h.loops.Go(h.sweepLoop)
	})
}

// stir lets the flush loop know that something waits.
func (h *Hub) stir() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Publish takes one step of the feed. It never waits for a client.
func (h *Hub) Publish(t Tick) {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer h.stir()
	if t.Whole {
		h.replace(t)
		return
	}
	if t.Epoch != h.feed.epoch || t.N != h.feed.n+1 {
		h.skip(t)
	}
	h.pos++
	h.feed.n = t.N
	e := h.newEvent(&h.feed)
	if len(t.Quotes) > 0 {
		h.add(e, h.tickers, t.QuotesSeq, t.At, t.Quotes, nil)
		for i := range t.Quotes {
			q := t.Quotes[i : i+1 : i+1]
			h.set(h.tickers, q[0].Key, q[0].JSON)
			h.add(e, h.ticker(q[0].Key), q[0].Seq, t.At, q, nil)
		}
	}
	if t.Global != nil {
		h.set(h.global, "", t.Global)
		h.add(e, h.global, t.GlobalSeq, t.At, nil, t.Global)
	}
	h.keep(e)
}

// skip makes room for a tick that does not follow the one before, although the feed promises a whole one then: what came
// before is of no use to clients that return. Those that are there see the numbers jump.
func (h *Hub) skip(t Tick) {
	h.feed = line{epoch: t.Epoch, n: t.N - 1, forgotten: t.N - 1}
	for _, ch := range h.channels {
		if ch.line == &h.feed {
			ch.history, ch.forgotten, ch.snapshot = nil, 0, nil
		}
	}
}

// replace forgets what there was of the feed and takes what the tick holds for everything there is. Each client gets a
// snapshot.
func (h *Hub) replace(t Tick) {
	h.pos++
	h.feed = line{epoch: t.Epoch, n: t.N, forgotten: t.N}
	e := h.newEvent(&h.feed)
	clear(h.tickers.values)
	clear(h.global.values)
	seqs := map[*channel]uint64{h.tickers: t.QuotesSeq, h.global: t.GlobalSeq}
	for _, q := range t.Quotes {
		h.set(h.tickers, q.Key, q.JSON)
		seqs[h.ticker(q.Key)] = q.Seq
	}
	if t.Global != nil {
		h.set(h.global, "", t.Global)
	}
	for _, ch := range h.channels {
		if ch.line != &h.feed {
			continue
		}
		ch.history, ch.forgotten, ch.replaced, ch.snapshot, ch.seq, ch.at = nil, 0, h.pos, nil, seqs[ch], t.At
		u := &update{
			channel: ch, pos: h.pos, n: t.N, seq: ch.seq, epoch: t.Epoch, at: t.At, whole: true,
		}
		if items := ch.since(0); ch.single && len(items) > 0 {
			u.text = items[0].JSON
		} else if !ch.single {
			u.items = items
		}
		e.updates = append(e.updates, u)
		e.size += updateOverhead + formsPerUpdate*(len(u.text)+sizeOf(u.items))
	}
	h.keep(e)
}

// PublishIslands takes the present state of islands that have changed.
func (h *Hub) PublishIslands(at time.Time, changed []Item) {
	if len(changed) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pos++
	h.local.n++
	e := h.newEvent(&h.local)
	for _, item := range changed {
		h.set(h.islands, item.Key, item.JSON)
	}
	h.add(e, h.islands, h.islands.seq+1, at, changed, nil)
	h.keep(e)
	h.stir()
}

func (h *Hub) newEvent(l *line) *event {
	return &event{pos: h.pos, line: l, n: l.n, cursor: h.cursor()}
}

// set notes the latest value of a key.
func (h *Hub) set(ch *channel, key string, text []byte) {
	ch.values[key] = &value{json: text, pos: h.pos}
}

// formsPerUpdate is in how many forms an update may be there: as a value, a message, and in each encoding.
const formsPerUpdate = 4

func sizeOf(items []Item) (size int) {
	for i := range items {
		size += len(items[i].JSON)
	}
	return size
}

// updateOverhead estimates what an update takes besides its bytes.
const updateOverhead = 256

// add adds to an event what it means for a channel.
func (h *Hub) add(e *event, ch *channel, seq uint64, at time.Time, items []Item, text []byte) {
	u := &update{channel: ch, pos: h.pos, n: e.n, seq: seq, epoch: ch.line.epoch, at: at, items: items, text: text}
	if seq != ch.seq+1 {
		// The feed promises numbers without a hole. Where there is one, what came before it is of no use to anybody.
		ch.history, ch.forgotten = nil, e.n-1
	}
	ch.seq, ch.at, ch.snapshot = seq, at, nil
	ch.history = append(ch.history, u)
	e.updates = append(e.updates, u)
	e.size += updateOverhead + formsPerUpdate*(len(text)+sizeOf(items))
}

// keep adds an event to the history and makes room for it.
func (h *Hub) keep(e *event) {
	h.events = append(h.events, e)
	h.kept += e.size
	for len(h.events) > 1 && (len(h.events) > maxEvents || h.kept > h.opts.History) {
		h.forgetOldest()
	}
}

func (h *Hub) forgetOldest() {
	e := h.events[0]
	h.events[0] = nil
	h.events = h.events[1:]
	h.kept -= e.size
	if e.line.forgotten < e.n && e.line.n >= e.n {
		e.line.forgotten = e.n
	}
	for _, u := range e.updates {
		if hist := u.channel.history; len(hist) > 0 && hist[0] == u {
			hist[0] = nil
			u.channel.history = hist[1:]
		}
	}
}

// cursor is where an event stream stands that has everything: a place in each line.
func (h *Hub) cursor() string {
	b := make([]byte, 0, 80)
	b = append(append(b, h.feed.epoch...), '.')
	b = append(strconv.AppendUint(b, h.feed.n, 10), '~')
	b = append(append(b, h.local.epoch...), '.')
	return string(strconv.AppendUint(b, h.local.n, 10))
}

// Full returns why a client from an address would not be let in right now, nil when it would: ResourceExhausted when there
// are too many, RateLimited when there are too many from there, Unavailable when the hub shuts down.
func (h *Hub) Full(from netip.Addr) error {
	h.mu.Lock()
	err := h.full(from)
	h.mu.Unlock()
	h.refused(err, from)
	return err
}

func (h *Hub) full(from netip.Addr) error {
	switch {
	case h.draining:
		return &sdk.Error{Kind: sdk.Unavailable, Message: "the host shuts down", RetryAfter: time.Second}
	case len(h.clients) >= h.opts.MaxConnections:
		return &sdk.Error{Kind: sdk.ResourceExhausted, Message: "too many clients of the live feed", RetryAfter: retryFull}
	case h.addresses[from] >= h.opts.MaxPerAddress:
		return &sdk.Error{Kind: sdk.RateLimited, Message: "too many clients of the live feed at one address", RetryAfter: retryFull}
	default:
		return nil
	}
}

// refused counts and tells of a client that was not let in.
func (h *Hub) refused(err error, from netip.Addr) {
	if err != nil {
		h.counts.refused.Add(1)
		h.tell("client of the live feed refused", "reason", err.Error(), "address", from.String())
	}
}

// tell logs what clients make happen, so rarely that they cannot fill a disk with it.
func (h *Hub) tell(what string, fields ...any) {
	if !h.lines.Allow() {
		h.untold.Add(1)
		return
	}
	if untold := h.untold.Swap(0); untold > 0 {
		fields = append(fields, "more_like_it", untold)
	}
	h.opts.Logger.Info(what, fields...)
}

// Lines about clients: one every other second, with a burst for what happens once in a while.
const (
	linesPerSecond = 0.5
	linesAtOnce    = 10
)

// retryFull is when a client that was not let in may try again.
const retryFull = 15 * time.Second

// MaxSubscriptions is how many channels a client may have.
func (h *Hub) MaxSubscriptions() int { return h.opts.MaxSubscriptions }

// MaxMessage is how many bytes a message of a client may have.
func (h *Hub) MaxMessage() int { return h.opts.MaxMessage }

// Known returns those of some channels that there are, and those that there are not.
func (h *Hub) Known(names []string) (known, unknown []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range names {
		if h.byName[name] != nil {
			known = append(known, name)
		} else {
			unknown = append(unknown, name)
		}
	}
	return known, unknown
}

// Shutdown tells every client to come back later, each at another moment, and returns when all have gone. When the context ends before that,
// those that are left are cut off. No client is let in any more. It may be called twice.
func (h *Hub) Shutdown(ctx context.Context) { h.stop.Do(func() { h.drain(ctx) }) }

func (h *Hub) drain(ctx context.Context) {
	h.mu.Lock()
	h.draining = true
	clients := make([]*Client, 0, len(h.clients))
	for c := range h.clients {
		clients = append(clients, c)
	}
	if len(clients) == 0 {
		close(h.gone)
	}
	h.mu.Unlock()
	h.farewell(ctx, clients)
	select {
	case <-h.gone:
	case <-ctx.Done():
		for _, c := range clients {
			c.cut()
		}
		<-h.gone
	}
	close(h.done)
	h.loops.Wait()
	h.work.Wait()
}

// groupKey names the group of some channels, in the order of their ids, and an encoding.
func groupKey(channels []*channel, e Encoding) string {
	b := make([]byte, 0, 2+4*len(channels))
	b = append(b, byte('0'+e))
	for _, ch := range channels {
		b = strconv.AppendInt(append(b, ' '), int64(ch.id), 10)
	}
	return string(b)
}

// sorted orders channels by their ids and drops doubles.
func sorted(channels []*channel) []*channel {
	slices.SortFunc(channels, func(a, b *channel) int { return a.id - b.id })
	return slices.Compact(channels)
}
