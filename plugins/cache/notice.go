package main

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// What a notice says.
const (
	noticeBegin   = "begin"   // an invalidation has begun
	noticeEnd     = "end"     // it has ended, the keys are gone
	noticeChanged = "changed" // the keys hold something new
	noticeFlush   = "flush"   // more changed than fits
)

const (
	// noticeKeys and noticeBytes bound the patterns of one notice; what does not fit becomes a noticeFlush.
	noticeKeys  = 1000
	noticeBytes = 256 << 10
	// noticeLimit is the size of the largest notice that is read.
	noticeLimit = 2 << 20
)

// notice is what hosts tell each other over Redis. On the wire its generation stands before it, written by the script
// that raises it.
type notice struct {
	// Sender is the epoch of the cache that tells.
	Sender string `json:"sender"`
	Kind   string `json:"kind"`
	// ID joins a begin and its end.
	ID       string   `json:"id,omitempty"`
	Patterns []string `json:"patterns,omitempty"`
}

// encode writes a notice, turning one that is too large into a flush.
func (n notice) encode() string {
	size := 0
	for _, p := range n.Patterns {
		size += len(p)
	}
	fitting := n
	if len(n.Patterns) > noticeKeys || size > noticeBytes {
		fitting = notice{Sender: n.Sender, ID: n.ID, Kind: noticeFlush}
	}
	text, _ := json.Marshal(fitting) // A struct of strings always marshals.
	return string(text)
}

// errNotice says that something on the channel is not a notice.
var errNotice = errors.New("the message is not a notice")

// parseNotice reads a notice and its generation, 0 for one that raised none.
func parseNotice(text string) (generation uint64, n notice, err error) {
	if len(text) > noticeLimit {
		return 0, notice{}, errNotice
	}
	number, body, found := strings.Cut(text, " ")
	generation, err = strconv.ParseUint(number, 10, 64)
	if err != nil || !found || json.Unmarshal([]byte(body), &n) != nil || n.Sender == "" {
		return 0, notice{}, errNotice
	}
	switch n.Kind {
	case noticeBegin, noticeEnd, noticeChanged, noticeFlush:
		return generation, n, nil
	default:
		return 0, notice{}, errNotice
	}
}
