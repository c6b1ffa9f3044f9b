package hub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// Bounds of what one message may ask for.
const (
	maxChannelName = 64
	maxIDBytes     = 64
)

// request is what a client asks for.
type request struct {
	Action   string           `json:"action"`
	Channels []string         `json:"channels"`
	ID       json.RawMessage  `json:"id"`
	Since    map[string]since `json:"since"`
}

// since is the last update that a client has had of a channel.
type since struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

// The actions there are.
const (
	actionSubscribe   = "subscribe"
	actionUnsubscribe = "unsubscribe"
)

// parseRequest reads a message. Its error is for the client.
func parseRequest(text []byte) (request, error) {
	var r request
	decoder := json.NewDecoder(bytes.NewReader(text))
	if err := decoder.Decode(&r); err != nil {
		return request{}, errors.New(`a message is JSON such as {"action":"subscribe","channels":["ticker:btc"],"id":1}`)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return request{}, errors.New("one message holds one request")
	}
	id := string(r.ID)
	switch {
	case r.Action != actionSubscribe && r.Action != actionUnsubscribe:
		return request{}, fmt.Errorf("action is subscribe or unsubscribe, not %.40q", r.Action)
	case len(r.Channels) == 0:
		return request{}, errors.New("channels lists at least one channel")
	case len(id) > maxIDBytes || strings.HasPrefix(id, "{") || strings.HasPrefix(id, "["):
		return request{}, fmt.Errorf("id is a number or a string of at most %d bytes", maxIDBytes)
	}
	return r, nil
}

// result is what came of one channel of a request.
type result struct {
	OK        bool   `json:"ok"`
	Error     string `json:"error,omitempty"`
	Recovered *bool  `json:"recovered,omitempty"`
	Epoch     string `json:"epoch,omitempty"`
	// Seq of the channel as the request was answered; nil for a channel that there is not.
	Seq *uint64 `json:"seq,omitempty"`
}

// Receive takes a message that the client sent.
func (c *Client) Receive(text []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closing || !c.admit(time.Now()) {
		return
	}
	r, err := parseRequest(text)
	if err != nil {
		c.complain("bad_request", err.Error(), false)
		c.shut(CloseBadRequest, err.Error(), true)
		return
	}
	if r.Action == actionUnsubscribe {
		c.unsubscribe(r)
		return
	}
	c.subscribe(r)
}

// complain tells the client what is wrong. The client's lock is held.
func (c *Client) complain(code, text string, temporary bool) {
	data := struct {
		Code      string `json:"code"`
		Message   string `json:"message"`
		Temporary bool   `json:"temporary"`
	}{code, text, temporary}
	c.send(piece{text: plainMessage(typeError, data, time.Now()).whole(c.encoding)})
}

// subscribe answers a request for channels: the answer first, then what each begins with. The client's lock is held.
func (c *Client) subscribe(r request) {
	h := c.hub
	h.mu.Lock()
	var channels []*channel
	if c.explicit {
		channels = slices.Clone(c.group.channels)
	}
	results := make(map[string]result, len(r.Channels))
	var updates []*update
	var begin []*channel
	for _, name := range r.Channels {
		ch := h.byName[name]
		if _, again := results[name]; again {
			continue
		}
		if ch == nil {
			results[clip(name)] = result{Error: unknownChannel}
			continue
		}
		if !slices.Contains(channels, ch) {
			if len(channels) >= h.opts.MaxSubscriptions {
				results[name] = result{Error: fmt.Sprintf("a client has at most %d channels", h.opts.MaxSubscriptions)}
				continue
			}
			channels = append(channels, ch)
		}
		last, asked := r.Since[name]
		missed, recovered := ch.after(last.Epoch, last.Seq)
		if recovered = recovered && asked; recovered {
			h.counts.recovered.Add(1)
			updates = append(updates, missed...)
		} else {
			begin = append(begin, ch)
			if asked {
				h.counts.unrecovered.Add(1)
			}
		}
		seq := ch.seq
		results[name] = result{OK: true, Recovered: &recovered, Epoch: ch.line.epoch, Seq: &seq}
	}
	c.explicit = true
	pieces := c.change(sorted(channels))
	pieces = append(pieces, piece{text: answer(typeSubscribed, r.ID, results).whole(c.encoding)})
	pieces = append(pieces, h.replay(c.encoding, updates)...)
	pieces = append(pieces, h.stream(c.encoding, present(begin), h.cursor())...)
	h.mu.Unlock()
	c.send(pieces...)
}

// unsubscribe gives channels up. The client's lock is held.
func (c *Client) unsubscribe(r request) {
	h := c.hub
	h.mu.Lock()
	results := make(map[string]result, len(r.Channels))
	channels := slices.Clone(c.group.channels)
	for _, name := range r.Channels {
		ch := h.named(name)
		before := len(channels)
		channels = slices.DeleteFunc(channels, func(other *channel) bool { return other == ch })
		_, again := results[name]
		switch {
		case ch == nil:
			results[clip(name)] = result{Error: unknownChannel}
		case len(channels) == before && !again:
			results[name] = result{Error: "not subscribed"}
		case !again:
			results[name] = result{OK: true}
		}
	}
	c.explicit = true
	pieces := c.change(channels)
	h.mu.Unlock()
	c.send(append(pieces, piece{text: answer(typeUnsubscribed, r.ID, results).whole(c.encoding)})...)
}

const unknownChannel = "no such channel; the welcome lists those there are"

// clip shortens a name that the client made up.
func clip(name string) string {
	if len(name) > maxChannelName {
		return strings.ToValidUTF8(name[:maxChannelName], "") + "…"
	}
	return name
}

// change gives a client other channels and returns what of its present ones it has not had. Both locks are held.
func (c *Client) change(channels []*channel) []piece {
	h := c.hub
	pieces := c.missingLocked(c.patience())
	h.join(c, channels)
	return pieces
}

// answer is the answer to a request.
func answer(kind string, id json.RawMessage, results map[string]result) *frame {
	data, err := json.Marshal(results)
	if err != nil {
		data = []byte("{}") // Strings, numbers and booleans always marshal.
	}
	b := append(message(kind, len(data)+len(id)), data...)
	b = appendStamp(b, time.Now())
	if len(id) > 0 {
		b = append(append(b, `,"id":`...), id...)
	}
	return newFrame(kind, append(b, '}'))
}

// bucket counts what a client sends.
type bucket struct {
	rate, tokens float64
	at           time.Time
	refused      int // since the bucket was last full
}

// A client may send for two seconds at once, is told when that is over, and is sent away when it goes on as if it had not
// heard: when as much is refused as it could have sent in five seconds.
const (
	burstSeconds  = 2
	refuseSeconds = 5
)

func newBucket(perSecond int, now time.Time) bucket {
	rate := float64(perSecond)
	return bucket{rate: rate, tokens: rate * burstSeconds, at: now}
}

// admit counts a message of the client and reports whether it may be answered. The client's lock is held.
func (c *Client) admit(now time.Time) bool {
	b := &c.inbox
	b.tokens = min(b.rate*burstSeconds, b.tokens+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	if b.tokens >= b.rate*burstSeconds {
		b.refused = 0 // The client has been quiet for a while.
	}
	if b.tokens >= 1 {
		b.tokens--
		return true
	}
	if b.refused++; b.refused == 1 {
		c.complain("rate_limited", fmt.Sprintf("a client may send %d messages a second", c.hub.opts.MessagesPerSecond), true)
	}
	if b.refused > int(b.rate)*refuseSeconds {
		c.hub.counts.noisy.Add(1)
		c.shut(CloseLimit, "too many messages", true)
	}
	return false
}
