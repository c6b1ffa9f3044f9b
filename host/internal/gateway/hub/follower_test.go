package hub

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
)

// follower is a client of the feed that checks what it is told.
type follower struct {
	w        *world
	number   int
	room     int
	encoding Encoding
	hub      *Hub
	l        *listener // nil while it is away

	// known is what the client knows, also of channels that it has left.
	known map[string]*standing
	// active are the channels that it has, as far as it has been told; asked those that it wants.
	active, asked map[string]bool
	explicit      bool // active are no longer the defaults
	// deaf is the id of the request whose answer a client that returns waits for, and ignores what comes before.
	deaf string
	ids  int
	// waiting are the channels of requests that are not answered, by id.
	waiting map[string][]string
	// begins are the channels that have to begin with a snapshot; owed those of which everything up to a number has to come.
	begins map[string]bool
	owed   map[string]uint64

	// cursor is where an event stream was last, with what it knew there.
	cursor    string
	committed map[string]*standing
}

// standing is where a client is in a channel, and what it knows there.
type standing struct {
	epoch  string
	seq    uint64
	values map[string]int
}

func newFollower(w *world, number, room int) *follower {
	return &follower{
		w: w, number: number, room: room, encoding: Encoding(number % int(encodings)), known: map[string]*standing{},
		asked: map[string]bool{}, begins: map[string]bool{}, owed: map[string]uint64{},
		waiting: map[string][]string{},
	}
}

func (f *follower) step(s step) {
	switch {
	case s.What == come && f.l == nil:
		f.come(s.Set%2, s.N%2 == 0)
	case f.l == nil:
	case s.What == read:
		f.read(s.N)
	case s.What == vanish:
		f.vanish()
	case f.encoding == EventStream: // It has no way to ask.
	case s.What == subscribe:
		f.subscribe(chosen(s.Set), s.N%2 == 0)
	case s.What == leave:
		f.unsubscribe(chosen(s.Set))
	}
}

// come connects to a host, with what the client knows or without.
func (f *follower) come(host int, knowing bool) {
	f.hub = f.w.hubs[host]
	wanted := slices.Sorted(maps.Keys(f.asked))
	clear(f.begins)
	clear(f.owed)
	clear(f.waiting)
	start := Start{Channels: wanted}
	if f.encoding == EventStream && f.number%2 == 0 { // Its channels are in its address, and always the same.
		start.Channels = []string{"ticker:btc", Islands, Global}
	}
	switch {
	case f.encoding == EventStream && knowing:
		start.Cursor = f.cursor
		f.known = cloned(f.committed) // Of an event that ended without its id nothing was had.
	case f.encoding != EventStream && knowing && len(wanted) > 0:
		start.Channels = nil
	}
	f.l = listen(f.w.t, f.hub, f.encoding, f.room, start)
	f.explicit = len(start.Channels) > 0
	f.active = map[string]bool{}
	f.hub.mu.Lock()
	for _, ch := range f.l.client.group.channels {
		f.active[ch.name] = true
		if start.Cursor == "" {
			f.begins[ch.name] = true
		} else if p := f.known[ch.name]; p != nil && p.epoch == ch.line.epoch {
			f.owed[ch.name] = ch.seq // Unless it begins with a snapshot.
		} else {
			f.begins[ch.name] = true
		}
	}
	f.hub.mu.Unlock()
	if f.encoding != EventStream && knowing && len(wanted) > 0 {
		f.deaf = f.ask(actionSubscribe, wanted, f.sinceWhat(wanted))
	}
}

func cloned(known map[string]*standing) map[string]*standing {
	out := make(map[string]*standing, len(known))
	for name, p := range known {
		out[name] = &standing{p.epoch, p.seq, maps.Clone(p.values)}
	}
	return out
}

// vanish is gone, with what has not been read.
func (f *follower) vanish() {
	if f.l != nil {
		f.l.client.Leave()
		f.l, f.deaf = nil, ""
	}
}

// ask sends a request and returns its id.
func (f *follower) ask(action string, channels []string, known map[string]since) (id string) {
	f.ids++
	id = strconv.Itoa(f.ids)
	text, err := json.Marshal(map[string]any{"action": action, "channels": channels, "id": id, "since": known})
	if err != nil {
		f.w.t.Fatal(err)
	}
	f.waiting[id] = channels
	f.l.client.Receive(text)
	return id
}

// sinceWhat is what the client knows of channels.
func (f *follower) sinceWhat(channels []string) map[string]since {
	out := map[string]since{}
	for _, name := range channels {
		if p := f.known[name]; p != nil {
			out[name] = since{p.epoch, p.seq}
		}
	}
	return out
}

// subscribe asks for channels.
func (f *follower) subscribe(channels []string, knowing bool) {
	if len(channels) == 0 {
		return
	}
	known := f.sinceWhat(channels)
	maps.DeleteFunc(known, func(name string, _ since) bool { return !knowing || f.mayBeTold(name) })
	for _, name := range channels {
		f.asked[name] = true
	}
	f.ask(actionSubscribe, channels, known)
}

// mayBeTold reports whether messages of a channel may be on their way, which asking for what comes after the last one
// would double.
func (f *follower) mayBeTold(name string) bool {
	for _, channels := range f.waiting {
		if slices.Contains(channels, name) {
			return true
		}
	}
	return f.active[name]
}

func (f *follower) unsubscribe(channels []string) {
	if len(channels) == 0 {
		return
	}
	for _, name := range channels {
		delete(f.asked, name)
	}
	f.ask(actionUnsubscribe, channels, nil)
}

// read takes some bytes and checks the messages that are whole with them. It returns how many it took.
func (f *follower) read(n int) int {
	b := f.l.pipe.readSome(n)
	for _, m := range f.l.decode(b) {
		f.take(m)
	}
	if halved, closed := f.l.pipe.ended(); halved || closed {
		f.vanish()
	}
	return len(b)
}

// take checks a message.
func (f *follower) take(m received) {
	if id, ok := m.ID.(string); ok {
		delete(f.waiting, id)
	}
	switch {
	case f.deaf != "" && m.ID != f.deaf:
	case m.Type == typeSubscribed:
		f.deaf = ""
		f.subscribed(m)
	case m.Type == typeUnsubscribed:
		f.unsubscribed(m)
	case m.Channel == "":
	case !f.active[m.Channel]:
		f.w.blame("client %d got %v without %s", f.number, describe([]received{m}), m.Channel)
	case m.Type == typeSnapshot:
		f.snapshot(m)
	default:
		f.update(m)
	}
	if m.Cursor != "" {
		f.cursor, f.committed = m.Cursor, cloned(f.known)
	}
}

func (f *follower) subscribed(m received) {
	var results map[string]result
	if err := json.Unmarshal(m.Data, &results); err != nil {
		f.w.t.Fatal(err)
	}
	if !f.explicit {
		f.explicit, f.active = true, map[string]bool{}
	}
	for name, r := range results {
		if !r.OK {
			delete(f.asked, name)
			continue
		}
		f.active[name] = true
		if !*r.Recovered {
			f.begins[name] = true
			continue
		}
		if p := f.known[name]; p == nil || p.epoch != r.Epoch || p.seq > *r.Seq {
			f.w.blame("client %d recovered %s at %s %d and knows %+v", f.number, name, r.Epoch, *r.Seq, p)
			continue
		}
		f.owed[name] = *r.Seq
		delete(f.begins, name)
	}
}

func (f *follower) unsubscribed(m received) {
	var results map[string]result
	if err := json.Unmarshal(m.Data, &results); err != nil {
		f.w.t.Fatal(err)
	}
	f.explicit = true
	for name, r := range results {
		if r.OK {
			delete(f.active, name)
			delete(f.owed, name)
		}
	}
}

// snapshot checks that everything there was at its number is in it.
func (f *follower) snapshot(m received) {
	values, err := valuesOf(m.Channel, m.Data)
	if err != nil {
		f.w.blame("%v in %s", err, m.Data)
	}
	p := f.known[m.Channel]
	if p != nil && p.epoch == m.Epoch && m.Seq < p.seq {
		f.w.blame("client %d knows %s %d and got a snapshot of %d", f.number, m.Channel, p.seq, m.Seq)
	}
	if owed := f.owed[m.Channel]; f.encoding != EventStream && p != nil && p.seq < owed {
		f.w.blame("client %d recovered %s up to %d and got a snapshot at %d", f.number, m.Channel, owed, p.seq)
	}
	if want := f.w.said[sayingOf(m.Epoch, m.Channel, m.Seq)].state; !maps.Equal(values, want) {
		f.w.blame("client %d got a snapshot of %s %s %d with %v, not %v", f.number, m.Epoch, m.Channel, m.Seq, values, want)
	}
	f.known[m.Channel] = &standing{m.Epoch, m.Seq, values}
	delete(f.begins, m.Channel)
	delete(f.owed, m.Channel)
}

// update checks that the next update is exactly that, and that one which jumps brings everything that changed meanwhile.
func (f *follower) update(m received) {
	values, err := valuesOf(m.Channel, m.Data)
	if err != nil {
		f.w.blame("%v in %s", err, m.Data)
	}
	p := f.known[m.Channel]
	if p == nil || f.begins[m.Channel] || p.epoch != m.Epoch || m.Seq <= p.seq {
		f.w.blame("client %d knows %+v and got the update %s %s %d", f.number, p, m.Epoch, m.Channel, m.Seq)
		return
	}
	said := f.w.said[sayingOf(m.Epoch, m.Channel, m.Seq)]
	switch {
	case m.Seq == p.seq+1:
		if !maps.Equal(values, said.change) {
			f.w.blame("client %d got %s %d with %v, not %v", f.number, m.Channel, m.Seq, values, said.change)
		}
	case p.seq < f.owed[m.Channel]:
		f.w.blame("client %d recovered %s up to %d and got a jump from %d to %d", f.number, m.Channel, f.owed[m.Channel], p.seq, m.Seq)
	}
	maps.Copy(p.values, values)
	if p.seq = m.Seq; !maps.Equal(p.values, said.state) {
		f.w.blame("client %d knows %v of %s %d, not %v", f.number, p.values, m.Channel, m.Seq, said.state)
	}
	if p.seq >= f.owed[m.Channel] {
		delete(f.owed, m.Channel)
	}
}
