package streams

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"sync"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/binance"
)

const (
	// maxStreams is how many streams one connection can have.
	maxStreams = 1024
	// maxName is the longest name of a stream that is remembered, in bytes.
	maxName = 100
	// maxRequest is the largest message, in bytes; the names of all streams fit into it.
	maxRequest = 256 << 10
)

// subscriptions are what a client wants to hear, and in which wrapping.
type subscriptions struct {
	find func(name string) binance.Stream

	mu       sync.Mutex
	combined bool
	streams  []binance.Stream // By name.
}

// subscribe adds streams; false when they are too many, and then none is added.
func (s *subscriptions) subscribe(names []string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := slices.Clone(s.streams)
	for _, name := range names {
		i, found := slices.BinarySearchFunc(streams, name, byName)
		if !found {
			streams = slices.Insert(streams, i, s.find(name))
		}
		if len(streams) > maxStreams {
			return false
		}
	}
	s.streams = streams
	return true
}

func (s *subscriptions) unsubscribe(names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = slices.DeleteFunc(slices.Clone(s.streams), func(stream binance.Stream) bool {
		return slices.Contains(names, stream.Name)
	})
}

func byName(s binance.Stream, name string) int { return cmp.Compare(s.Name, name) }

// list returns the streams of one pace, by name.
func (s *subscriptions) list(slow bool) []binance.Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []binance.Stream
	for _, stream := range s.streams {
		if stream.Slow == slow {
			list = append(list, stream)
		}
	}
	return list
}

func (s *subscriptions) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, len(s.streams))
	for i, stream := range s.streams {
		names[i] = stream.Name
	}
	return names
}

func (s *subscriptions) isCombined() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.combined
}

// The methods of requests.
const (
	methodSubscribe   = "SUBSCRIBE"
	methodUnsubscribe = "UNSUBSCRIBE"
	methodList        = "LIST_SUBSCRIPTIONS"
	methodSet         = "SET_PROPERTY"
	methodGet         = "GET_PROPERTY"
	methodUnknown     = "(unknown)"
)

// complaint is an error frame; it has no id, but for one about an unknown property.
type complaint struct {
	Code int             `json:"code"`
	Msg  string          `json:"msg"`
	ID   json.RawMessage `json:"id,omitempty"`
}

func refuse(code int, message string) []byte { return encode(complaint{Code: code, Msg: message}) }

// result acknowledges a request.
func result(value any, id json.RawMessage) []byte {
	return encode(struct {
		Result any             `json:"result"`
		ID     json.RawMessage `json:"id"`
	}{value, id})
}

// encode writes JSON as the exchange does, without escapes for HTML.
func encode(value any) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		// Only an id could fail to encode, and it was read as JSON before.
		return []byte(`{"code":2,"msg":"Invalid request"}`)
	}
	return bytes.TrimSpace(b.Bytes())
}

func quote(name string) []byte { return encode(name) }

var textID = regexp.MustCompile(`^"[A-Za-z0-9_-]{0,36}"$`)

// request serves one message. Method is what it asked for, and full says that the client wants too many streams.
func (s *subscriptions) request(text []byte) (reply []byte, method string, full bool) {
	var r struct {
		Method, Params, ID json.RawMessage
	}
	if err := json.Unmarshal(text, &r); err != nil {
		var wrongType *json.UnmarshalTypeError
		if errors.As(err, &wrongType) {
			return refuse(2, "Invalid request: expected an object"), methodUnknown, false
		}
		line, column := position(text, offset(err, text))
		return refuse(3, fmt.Sprintf("Invalid JSON: expected value at line %d column %d", line, column)), methodUnknown, false
	}
	if r.Method == nil {
		line, column := position(text, len(text))
		return refuse(2, fmt.Sprintf("Invalid request: missing field `method` at line %d column %d", line, column)),
			methodUnknown, false
	}
	if err := json.Unmarshal(r.Method, &method); err != nil || !slices.Contains(methods, method) {
		name := method
		if err != nil {
			name = string(r.Method)
		}
		line, column := position(text, bytes.Index(text, r.Method)+len(r.Method))
		return refuse(2, fmt.Sprintf("Invalid request: unknown variant `%s`, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, "+
				"`LIST_SUBSCRIPTIONS`, `SET_PROPERTY`, `GET_PROPERTY` at line %d column %d", shorten(name), line, column)),
			methodUnknown, false
	}
	if _, err := strconv.ParseInt(string(r.ID), 10, 64); err != nil && string(r.ID) != "null" && !textID.Match(r.ID) {
		return refuse(2, "Invalid request: request ID must be an unsigned integer"), method, false
	}
	reply, full = s.serve(method, r.Params, r.ID)
	return reply, method, full
}

var methods = []string{methodSubscribe, methodUnsubscribe, methodList, methodSet, methodGet}

func (s *subscriptions) serve(method string, params, id json.RawMessage) (reply []byte, full bool) {
	var list []json.RawMessage
	if params != nil && json.Unmarshal(params, &list) != nil {
		return refuse(2, "Invalid request: params must be an array"), false
	}
	switch method {
	case methodSubscribe, methodUnsubscribe:
		names := make([]string, len(list))
		for i, raw := range list {
			if json.Unmarshal(raw, &names[i]) != nil || string(raw) == "null" || names[i] == "" || len(names[i]) > maxName {
				return refuse(2, "Invalid request: stream name must be a string"), false
			}
		}
		if len(names) == 0 {
			return refuse(2, "Invalid request: no stream was named"), false
		}
		if method == methodUnsubscribe {
			s.unsubscribe(names)
		} else if !s.subscribe(names) {
			return nil, true
		}
		return result(nil, id), false
	case methodList:
		if len(list) > 0 {
			return refuse(2, "Invalid request: too many parameters"), false
		}
		return result(s.names(), id), false
	}
	return s.property(method, list, id), false
}

// property serves SET_PROPERTY and GET_PROPERTY, which know one property.
func (s *subscriptions) property(method string, list []json.RawMessage, id json.RawMessage) []byte {
	want := 1
	if method == methodSet {
		want = 2
	}
	var name string
	switch {
	case len(list) == 0 || json.Unmarshal(list[0], &name) != nil:
		return refuse(2, "Invalid request: property name must be a string")
	case name != "combined":
		return encode(complaint{Msg: "Unknown property", ID: id})
	case len(list) > want:
		return refuse(2, "Invalid request: too many parameters")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if method == methodGet {
		return result(s.combined, id)
	}
	if len(list) < want || json.Unmarshal(list[1], &s.combined) != nil || string(list[1]) == "null" {
		return refuse(1, "Invalid value type: expected Boolean")
	}
	return result(nil, id)
}

// shorten bounds what is repeated of a client's own words.
func shorten(name string) string {
	if len(name) > maxName {
		return name[:maxName]
	}
	return name
}

// offset is where JSON went wrong.
func offset(err error, text []byte) int {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return int(min(syntax.Offset, int64(len(text))))
	}
	return len(text)
}

// position counts lines from 1 and columns of bytes as the exchange's parser does.
func position(text []byte, offset int) (line, column int) {
	before := text[:max(0, min(offset, len(text)))]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, len(before) - 1 - bytes.LastIndexByte(before, '\n')
}
