package hub

import (
	"maps"
	"slices"
	"sync"
	"time"
)

// Names of the channels that do not belong to one symbol.
const (
	AllTickers = "ticker:*"
	Global     = "global"
	Islands    = "islands"
	// tickerPrefix begins the channel of one symbol.
	tickerPrefix = "ticker:"
)

// defaults are the channels of a client that has named none.
func defaults() []string { return []string{AllTickers, Global} }

// Item is the present value of a key, in JSON: a symbol's quote, or an island.
type Item struct {
	Key string
	// Seq of the key's own channel; 0 where it has none.
	Seq  uint64
	JSON []byte
}

// Tick is one step of the feed. Its fields are those of the pipeline's, with values in JSON.
type Tick struct {
	Epoch string
	N     uint64
	At    time.Time
	// Whole ticks hold everything that is known, others what has changed.
	Whole bool
	// Quotes that changed; QuotesSeq is their place in the channel of all symbols, 0 when there are none.
	Quotes    []Item
	QuotesSeq uint64
	// Global is nil when it did not change.
	Global    []byte
	GlobalSeq uint64
}

// line is a run of numbers that several channels share: the feed's, which comes with it, and this host's own.
type line struct {
	epoch string
	n     uint64
	// forgotten is the number of the newest event of which the history holds nothing any more.
	forgotten uint64
}

// value is the latest of a key.
type value struct {
	json []byte
	pos  uint64 // of the event that brought it
}

// channel is what clients subscribe to.
type channel struct {
	name string
	id   int // index in Hub.channels
	line *line
	// update is the type of its updates.
	update string
	// single channels have one value, which is their data; others an object of keys.
	single bool
	// values by key. The channel of one symbol looks into that of all.
	values map[string]*value
	only   string // that symbol

	seq uint64
	at  time.Time
	// replaced is the position of the event that last replaced everything.
	replaced uint64
	// history holds the updates that clients may still ask for, oldest first, without a hole up to seq. Of the events up to
	// forgotten it may lack some.
	history   []*update
	forgotten uint64

	snapshot *frame // of seq and replaced; nil until somebody needs it
}

// update is what an event means for one channel.
type update struct {
	channel *channel
	pos, n  uint64
	seq     uint64
	epoch   string
	at      time.Time
	items   []Item
	text    []byte // of a single channel
	// whole updates replace everything and are not kept.
	whole bool

	once sync.Once
	made *frame
}

// frame returns the update as a message.
func (u *update) frame() *frame {
	u.once.Do(func() {
		kind := u.channel.update
		if u.whole {
			kind = typeSnapshot
		}
		u.made = newFrame(kind, u.channel.message(kind, u.items, u.text, u.seq, u.epoch, u.at))
		u.items, u.text = nil, nil // They are in the message now.
	})
	return u.made
}

// message makes a message of the channel.
func (ch *channel) message(kind string, items []Item, text []byte, seq uint64, epoch string, at time.Time) []byte {
	size := len(text)
	for i := range items {
		size += len(items[i].JSON) + len(items[i].Key) + 4
	}
	b := message(kind, size)
	switch {
	case !ch.single:
		b = append(b, '{')
		for i := range items {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendQuoted(b, items[i].Key), ':')
			b = append(b, items[i].JSON...)
		}
		b = append(b, '}')
	case text == nil:
		b = append(b, "null"...)
	default:
		b = append(b, text...)
	}
	return place(b, at, ch.name, seq, epoch)
}

// since lists what has changed after a position, by key.
func (ch *channel) since(pos uint64) []Item {
	if ch.only != "" {
		if v := ch.values[ch.only]; v != nil && v.pos > pos {
			return []Item{{Key: ch.only, JSON: v.json}}
		}
		return nil
	}
	var items []Item
	for _, key := range slices.Sorted(maps.Keys(ch.values)) {
		if v := ch.values[key]; v.pos > pos {
			items = append(items, Item{Key: key, JSON: v.json})
		}
	}
	return items
}

// latest returns a message that brings whoever was at a position up to date, nil when nothing has changed. It stands for
// all updates in between.
func (ch *channel) latest(pos uint64) *frame {
	if pos < ch.replaced {
		return ch.present()
	}
	items := ch.since(pos)
	if len(items) == 0 {
		return nil
	}
	if ch.single {
		return newFrame(ch.update, ch.message(ch.update, nil, items[0].JSON, ch.seq, ch.line.epoch, ch.at))
	}
	return newFrame(ch.update, ch.message(ch.update, items, nil, ch.seq, ch.line.epoch, ch.at))
}

// present returns the snapshot: the latest value of everything in the channel.
func (ch *channel) present() *frame {
	if ch.snapshot == nil {
		at := ch.at
		if at.IsZero() {
			at = time.Now()
		}
		items := ch.since(0)
		var text []byte
		if ch.single && len(items) > 0 {
			text = items[0].JSON
		}
		ch.snapshot = newFrame(typeSnapshot, ch.message(typeSnapshot, items, text, ch.seq, ch.line.epoch, at))
	}
	return ch.snapshot
}

// after lists the updates after a number, and whether the history holds all of them.
func (ch *channel) after(epoch string, seq uint64) ([]*update, bool) {
	if epoch != ch.line.epoch || seq > ch.seq || ch.seq-seq > uint64(len(ch.history)) {
		return nil, false
	}
	return ch.history[len(ch.history)-int(ch.seq-seq):], true
}

// afterEvent lists the updates of events after a number of the channel's line, and whether the history holds all of them.
func (ch *channel) afterEvent(epoch string, n uint64) ([]*update, bool) {
	if epoch != ch.line.epoch || n > ch.line.n || n < max(ch.forgotten, ch.line.forgotten) {
		return nil, false
	}
	first, _ := slices.BinarySearchFunc(ch.history, n+1, func(u *update, n uint64) int {
		switch {
		case u.n < n:
			return -1
		case u.n > n:
			return 1
		default:
			return 0
		}
	})
	return ch.history[first:], true
}

// event is what was published at once.
type event struct {
	pos     uint64
	line    *line
	n       uint64
	updates []*update
	size    int
	// cursor is where an event stream stands after it.
	cursor string
}
