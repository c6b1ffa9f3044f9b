package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/service-islands/islands/sdk"
)

// message is whatever the feed sends. Channel, Epoch and Seq are those of snapshots and updates.
type message struct {
	Type      string          `json:"type"`
	Channel   string          `json:"channel"`
	Epoch     string          `json:"epoch"`
	Seq       uint64          `json:"seq"`
	ID        int             `json:"id"` // of the request that is answered.
	Timestamp time.Time       `json:"timestamp"`
	Data      json.RawMessage `json:"data"`
}

// decode reads the message's data into what it holds.
func (m message) decode(into any) error {
	if err := json.Unmarshal(m.Data, into); err != nil {
		return fmt.Errorf("%s with unreadable data: %w", m.Type, err)
	}
	return nil
}

// position is a place in a channel. Seq means nothing beyond its Epoch.
type position struct {
	Epoch string `json:"epoch"`
	Seq   uint64 `json:"seq"`
}

type quote struct {
	sdk.Quote
	Stale bool `json:"stale"`
}

type global struct {
	sdk.Global
	Stale bool `json:"stale"`
}

type island struct {
	Name   string `json:"name"`
	State  string `json:"state"`
	Status string `json:"status"`
	Reason string `json:"reason"`
}

func (i island) String() string {
	text := "island " + printable(i.Name) + " " + printable(i.Status)
	if i.Reason != "" {
		text += ": " + printable(i.Reason)
	}
	return text
}

// subscription is the answer for one channel.
type subscription struct {
	OK        bool   `json:"ok"`
	Recovered bool   `json:"recovered"` // what was missed follows; otherwise a snapshot does.
	Error     string `json:"error"`
}

type request struct {
	Action   string              `json:"action"`
	Channels []string            `json:"channels"`
	ID       int                 `json:"id"`
	Since    map[string]position `json:"since,omitempty"`
}

const (
	requestID  = 1    // of every request: what is not an answer to us has none.
	maxRequest = 4000 // bytes; the feed reads 4 KiB.
)

// subscribe returns the requests for the channels, from where each was left. There are several only when one would be
// longer than the feed reads.
func subscribe(channels []string, since map[string]position) [][]byte {
	r := request{Action: "subscribe", Channels: channels, ID: requestID, Since: maps.Clone(since)}
	maps.DeleteFunc(r.Since, func(name string, _ position) bool { return !slices.Contains(channels, name) })
	frame, err := json.Marshal(r)
	if err != nil {
		panic(err) // Strings and numbers only.
	}
	if half := len(channels) / 2; len(frame) > maxRequest && half > 0 {
		return append(subscribe(channels[:half], since), subscribe(channels[half:], since)...)
	}
	return [][]byte{frame}
}
