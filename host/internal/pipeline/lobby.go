package pipeline

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
)

// lobby is where cold work waits for a place. Warm answers never come by it.
//
// Places are taken in turn by those who are waited for: each caller has a queue of its own, so that one who floods the
// host with questions waits behind himself. In his queue the newest goes first: under a load that does not pass, the oldest
// have waited so long already that most of their askers have gone, and serving those first would make everybody late. What
// freshens an answer that is served meanwhile goes before all of them, since there is one such load per answer that is asked
// for, and turning it away would make warm answers cold.
//
// Who is turned away is told so at once. Only while processors are short he is told after a pause, up to a second: most who
// flood a host ask again as soon as they are answered, and telling them costs a processor's time too, which the warm
// answers need.
//
// What waits is a func, not a goroutine. How many places there are follows how long goroutines wait for a processor: when
// cold work leaves none to the warm answers, it gets fewer.
type lobby struct {
	now      func() time.Time
	logger   hclog.Logger
	lag      func() time.Duration
	most     int // places
	seats    int // tickets that may wait
	patience time.Duration

	shed, served, overdue atomic.Uint64

	mu      sync.Mutex
	closed  bool
	running int
	places  int // of most, in use as long as goroutines must not wait
	urgent  []*ticket
	queues  map[string]*queue
	turns   []*queue // in the order in which they are served
	waiting int

	// The figures of the second that is under way and of the one before.
	second                             time.Time
	done, away, doneBefore, awayBefore int
	looked                             time.Time // at the lag
	told                               time.Time // of what was turned away
	untold                             int
	pause                              time.Duration // before somebody is told that he is turned away
}

// queue holds what one caller waits for, the oldest first.
type queue struct {
	caller  string
	tickets []*ticket
}

// ticket is cold work that waits.
type ticket struct {
	queue  *queue // nil for what is urgent
	since  time.Time
	wanted func() bool // whether anybody still waits for it
	begin  func()
	refuse func(error)
	timer  *time.Timer
}

// Bounds of the lobby.
const (
	// seatsPerPlace is how many may wait for each place.
	seatsPerPlace = 4
	// patienceShare is the part of a request's time that it may wait for a place, as a divisor.
	patienceShare = 5
	// firstPlaces is how many there are at first, per processor: nobody knows yet what a load costs.
	firstPlaces = 8
	// lagHigh is how long goroutines may wait for a processor before cold work gets fewer places, lagLow below which it gets
	// more, lookEvery how often that is looked at.
	lagHigh, lagLow = time.Millisecond, 300 * time.Microsecond
	lookEvery       = 25 * time.Millisecond
	// minPause and maxPause bound the pause before somebody is told that he is turned away, while processors are short.
	minPause, maxPause = 50 * time.Millisecond, time.Second
	// minTurnedAway and maxTurnedAway bound when one who was turned away may come back.
	minTurnedAway, maxTurnedAway = time.Second, 30 * time.Second
)

func newLobby(opts Options) *lobby {
	return &lobby{
		now: opts.Now, logger: opts.Logger, lag: schedulingLag(), most: opts.MaxFlights, places: min(opts.MaxFlights, firstPlaces*runtime.GOMAXPROCS(0)),
		seats: seatsPerPlace * opts.MaxFlights, patience: opts.RequestTimeout / patienceShare, queues: make(map[string]*queue),
	}
}

// enter runs begin as soon as there is a place for it, at once or later in the goroutine of whoever leaves one, or calls
// refuse with a ResourceExhausted error. Begin must not block; leave is to be called when what it began has ended.
func (l *lobby) enter(caller string, urgent bool, wanted func() bool, begin func(), refuse func(error)) {
	l.mu.Lock()
	l.tick()
	if !l.closed && l.running < l.places && l.waiting == 0 {
		l.running++
		l.mu.Unlock()
		begin()
		return
	}
	t := &ticket{since: l.now(), wanted: wanted, begin: begin, refuse: refuse}
	out := t
	if !l.closed {
		out = l.seat(caller, urgent, t)
	}
	var err error
	if out != nil {
		err = l.turnAway()
	}
	if out != t {
		t.timer = time.AfterFunc(l.patience, func() { l.expire(t) })
	}
	tell, pause := l.news(), l.pause
	if l.closed {
		pause = 0
	}
	l.mu.Unlock()
	tell()
	if out == nil {
		return
	}
	out.stop()
	if pause > 0 {
		time.AfterFunc(pause/2+rand.N(pause), func() { out.refuse(err) }) // Not all of them at once.
		return
	}
	out.refuse(err)
}

// stop ends a ticket's patience.
func (t *ticket) stop() {
	if t.timer != nil {
		t.timer.Stop()
	}
}

// seat lets a ticket wait, and returns the one that has to go for it: nil for none, the ticket itself when nobody else
// should. The caller holds the lock.
func (l *lobby) seat(caller string, urgent bool, t *ticket) (out *ticket) {
	if urgent {
		if len(l.urgent) >= l.seats {
			return t
		}
		l.urgent = append(l.urgent, t)
		l.waiting++
		return nil
	}
	q := l.queues[caller]
	if q == nil {
		q = &queue{caller: caller}
	}
	if l.waiting-len(l.urgent) >= l.seats {
		// Whoever has his share of the seats gives one of his own up, the others one of who has most.
		from := q
		if len(q.tickets) < max(1, l.seats/max(1, len(l.turns))) {
			from = slices.MaxFunc(l.turns, func(a, b *queue) int { return len(a.tickets) - len(b.tickets) })
		}
		if len(from.tickets) == 0 {
			return t
		}
		out = from.tickets[0]
		l.remove(out)
	}
	if len(q.tickets) == 0 {
		l.queues[caller] = q
		l.turns = append(l.turns, q)
	}
	t.queue = q
	q.tickets = append(q.tickets, t)
	l.waiting++
	return out
}

// remove takes a ticket out, and reports whether it was there. The caller holds the lock.
func (l *lobby) remove(t *ticket) bool {
	from := &l.urgent
	if t.queue != nil {
		from = &t.queue.tickets
	}
	at := slices.Index(*from, t)
	if at < 0 {
		return false
	}
	*from = slices.Delete(*from, at, at+1)
	l.waiting--
	if q := t.queue; q != nil && len(q.tickets) == 0 {
		delete(l.queues, q.caller)
		l.turns = slices.Delete(l.turns, slices.Index(l.turns, q), slices.Index(l.turns, q)+1)
	}
	return true
}

// next takes the ticket out whose turn it is, nil for none. The caller holds the lock.
func (l *lobby) next() *ticket {
	var t *ticket
	switch {
	case len(l.urgent) > 0:
		t = l.urgent[0]
	case len(l.turns) > 0:
		q := l.turns[0]
		l.turns = append(slices.Delete(l.turns, 0, 1), q)
		t = q.tickets[len(q.tickets)-1]
	default:
		return nil
	}
	l.remove(t)
	return t
}

// leave gives a place back, and lets those in whose turn it is.
func (l *lobby) leave() {
	l.served.Add(1)
	l.mu.Lock()
	l.running--
	l.done++
	l.tick()
	var in, gone []*ticket
	for l.running < l.places {
		t := l.next()
		if t == nil {
			break
		}
		t.stop()
		if !t.wanted() {
			gone = append(gone, t)
			continue
		}
		l.running++
		in = append(in, t)
	}
	l.mu.Unlock()
	for _, t := range gone {
		t.refuse(sdk.Errorf(sdk.Canceled, "nobody waits for it any more"))
	}
	for _, t := range in {
		t.begin()
	}
}

// expire turns a ticket away that has waited for too long.
func (l *lobby) expire(t *ticket) {
	l.mu.Lock()
	there := l.remove(t)
	var err error
	if there {
		l.overdue.Add(1)
		l.tick()
		err = l.turnAway()
	}
	tell := l.news()
	l.mu.Unlock()
	tell()
	if there {
		t.refuse(err)
	}
}

// close turns away whoever waits and whoever comes.
func (l *lobby) close() {
	l.mu.Lock()
	l.closed = true
	var out []*ticket
	for t := l.next(); t != nil; t = l.next() {
		out = append(out, t)
	}
	l.mu.Unlock()
	for _, t := range out {
		t.stop()
		t.refuse(errShuttingDown)
	}
}

// errShuttingDown refuses what comes too late.
var errShuttingDown = &sdk.Error{Kind: sdk.Unavailable, Message: "the host is shutting down", RetryAfter: time.Second}

// turnAway counts one who is turned away and returns what he is told: to come back once all that were turned away lately
// could have been served, or somewhat later, so that they do not come back together. The caller holds the lock.
func (l *lobby) turnAway() error {
	if l.closed {
		return errShuttingDown
	}
	l.shed.Add(1)
	l.away++
	l.untold++
	pace := max(1, l.done, l.doneBefore)
	after := time.Duration(l.waiting+max(l.away, l.awayBefore)) * time.Second / time.Duration(pace)
	after = min(max(after, minTurnedAway), maxTurnedAway)
	return &sdk.Error{
		Kind: sdk.ResourceExhausted, Message: "too much is asked for at once that has to be loaded first",
		RetryAfter: after + rand.N(after), Err: errCrowded,
	}
}

// tellOverload is how often the log is told that work is turned away.
const tellOverload = 10 * time.Second

// news returns a func that tells the log what was turned away, when that is due. The caller holds the lock, and calls the func
// without it.
func (l *lobby) news() func() {
	now := l.now()
	if l.untold == 0 || now.Sub(l.told) < tellOverload {
		return func() {}
	}
	n, running, places := l.untold, l.running, l.places
	l.told, l.untold = now, 0
	return func() {
		l.logger.Warn("Overloaded: what has to be loaded first is turned away, what is warm is served", "turned_away", n,
			"running", running, "places", places)
	}
}

// tick begins a new second, and adapts the places to the lag. The caller holds the lock.
func (l *lobby) tick() {
	now := l.now()
	if since := now.Sub(l.second); since >= time.Second {
		l.doneBefore, l.awayBefore = l.done, l.away
		if since >= 2*time.Second {
			l.doneBefore, l.awayBefore = 0, 0
		}
		l.done, l.away, l.second = 0, 0, now
	}
	if l.lag == nil || now.Sub(l.looked) < lookEvery {
		return
	}
	l.looked = now
	switch lag := l.lag(); {
	case lag > lagHigh:
		l.places = max(fewestPlaces(l.most), l.places*3/4)
		l.pause = min(max(2*l.pause, minPause), maxPause)
	case lag < lagLow:
		l.places = min(l.most, l.places+max(1, l.most/64))
		if l.pause -= l.pause / 32; l.pause < minPause {
			l.pause = 0
		}
	}
}

// fewestPlaces is how many places cold work has at least, however slow the machine.
func fewestPlaces(most int) int { return min(most, 4) }

// LobbyStatus is how cold work is let in.
type LobbyStatus struct {
	// Running is what is being loaded, Places how much may be right now, Waiting what waits for a place.
	Running, Places, Waiting int
	// Served counts what was loaded, Shed what was turned away, Overdue those of them that had waited.
	Served, Shed, Overdue uint64
}

func (l *lobby) status() LobbyStatus {
	l.mu.Lock()
	defer l.mu.Unlock()
	return LobbyStatus{
		Running: l.running, Places: l.places, Waiting: l.waiting,
		Served: l.served.Load(), Shed: l.shed.Load(), Overdue: l.overdue.Load(),
	}
}

// schedulingLag returns a func that tells how long most goroutines at most waited for a processor since it was called the
// last time: the 99th of a hundred. It is not safe for concurrent use.
func schedulingLag() func() time.Duration {
	sample := []metrics.Sample{{Name: "/sched/latencies:seconds"}}
	var before []uint64
	return func() time.Duration {
		metrics.Read(sample)
		if sample[0].Value.Kind() != metrics.KindFloat64Histogram {
			return 0
		}
		h := sample[0].Value.Float64Histogram()
		since := slices.Clone(h.Counts)
		var all uint64
		for i := range since {
			if i < len(before) {
				since[i] -= before[i]
			}
			all += since[i]
		}
		before = slices.Clone(h.Counts)
		left := all / 100
		for i := len(since) - 1; i >= 0; i-- {
			if since[i] > left {
				return time.Duration(max(0, h.Buckets[i]) * float64(time.Second))
			}
			left -= since[i]
		}
		return 0
	}
}

// errCrowded marks what this host refuses for want of room, which says nothing of what was asked for or of whom.
var errCrowded = errors.New("no room")
