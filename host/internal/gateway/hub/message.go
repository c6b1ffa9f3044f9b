package hub

import (
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/service-islands/islands/host/internal/gateway/rfc6455"
)

// Types of messages to clients.
const (
	typeWelcome      = "welcome"
	typeSubscribed   = "subscribed"
	typeUnsubscribed = "unsubscribed"
	typeSnapshot     = "snapshot"
	typeHeartbeat    = "heartbeat"
	typeError        = "error"
	typeShutdown     = "shutdown"
)

// Encoding is how messages are put on a client's wire.
type Encoding uint8

// The encodings there are.
const (
	WebSocket         Encoding = iota // text frames
	DeflatedWebSocket                 // text frames, compressed one by one
	EventStream                       // text/event-stream
	encodings
)

// frame is a message with its encodings, each made once, when somebody first needs it. It must not be copied.
type frame struct {
	kind  string
	json  []byte
	forms [encodings]struct {
		once sync.Once
		text []byte
	}
}

func newFrame(kind string, text []byte) *frame { return &frame{kind: kind, json: text} }

// form returns the frame in an encoding. That of an event stream still lacks the empty line at its end, because a cursor
// may come before that.
func (f *frame) form(e Encoding) []byte {
	form := &f.forms[e]
	form.once.Do(func() {
		switch e {
		case DeflatedWebSocket:
			form.text = rfc6455.Deflate(rfc6455.Text, f.json)
		case EventStream:
			b := make([]byte, 0, len(f.json)+len(f.kind)+16)
			b = append(append(b, "event: "...), f.kind...)
			b = append(append(b, "\ndata: "...), f.json...)
			b = append(b, '\n')
			form.text = b
		case WebSocket, encodings:
			form.text = rfc6455.AppendFrame(make([]byte, 0, len(f.json)+10), rfc6455.Text, f.json)
		}
	})
	return form.text
}

// whole returns the frame as it can be written by itself, without a cursor.
func (f *frame) whole(e Encoding) []byte {
	text := f.form(e)
	if e == EventStream {
		return append(append(make([]byte, 0, len(text)+1), text...), '\n')
	}
	return text
}

// message begins a message, up to its data.
func message(kind string, size int) []byte {
	b := append(make([]byte, 0, size+192), `{"type":"`...)
	return append(append(b, kind...), `","data":`...)
}

// finish ends a message whose data is complete.
func finish(b []byte, at time.Time) []byte { return append(appendStamp(b, at), '}') }

// place ends a message that has a place in a channel.
func place(b []byte, at time.Time, channel string, seq uint64, epoch string) []byte {
	b = append(appendStamp(b, at), `,"channel":`...)
	b = append(appendQuoted(b, channel), `,"seq":`...)
	b = append(strconv.AppendUint(b, seq, 10), `,"epoch":`...)
	return append(appendQuoted(b, epoch), '}')
}

func appendStamp(b []byte, at time.Time) []byte {
	b = append(b, `,"timestamp":"`...)
	b = at.UTC().AppendFormat(b, time.RFC3339Nano)
	return append(b, '"')
}

// appendQuoted appends a JSON string.
func appendQuoted(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // A string always marshals.
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// plainMessage is a message with data of its own that has no place in a channel.
func plainMessage(kind string, data any, at time.Time) *frame {
	text, err := json.Marshal(data)
	if err != nil {
		text = []byte("null") // Only structs of plain fields come here.
	}
	return newFrame(kind, finish(append(message(kind, len(text)), text...), at))
}
