package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// dialogue runs a child of the program within the test, and speaks with it as the bench does.
type dialogue struct {
	t      *testing.T
	orders *json.Encoder
	hangUp func()
	said   *json.Decoder
	done   chan error
}

func converse(t *testing.T, child func(context.Context, io.Reader, io.Writer) error) *dialogue {
	t.Helper()
	in, orders := io.Pipe()
	said, out := io.Pipe()
	d := &dialogue{
		t: t, orders: json.NewEncoder(orders), said: json.NewDecoder(said), done: make(chan error, 1),
		hangUp: func() { _ = orders.Close() },
	}
	go func() {
		err := child(t.Context(), in, out)
		_ = out.CloseWithError(io.EOF)
		_ = in.CloseWithError(io.ErrClosedPipe)
		d.done <- err
	}()
	t.Cleanup(d.hangUp)
	return d
}

// ask gives an order, unless it is nil, and reads an answer.
func (d *dialogue) ask(order, answer any) {
	d.t.Helper()
	if order != nil {
		if err := d.orders.Encode(order); err != nil {
			d.t.Fatal(err)
		}
	}
	if err := d.said.Decode(answer); err != nil {
		d.t.Fatalf("%v, and the child ended: %v", err, <-d.done)
	}
}

// end hangs up and expects that the child ends well.
func (d *dialogue) end() {
	d.t.Helper()
	d.hangUp()
	select {
	case err := <-d.done:
		if err != nil {
			d.t.Error(err)
		}
	case <-time.After(10 * time.Second):
		d.t.Fatal("the child outlives whoever started it")
	}
}

func TestAudienceOfTheBareLoop(t *testing.T) {
	t.Parallel()
	const clients = 20
	loop := converse(t, serveLoop)
	var station report
	loop.ask(nil, &station)
	greeting := greeting{Path: "/ws", Joined: `"type":"snapshot"`}
	audience := converse(t, attend)
	var all joined
	audience.ask(joining{Address: station.Address, Greeting: greeting, Clients: clients}, &all)
	far := converse(t, attend)
	far.ask(joining{Address: station.Address, Greeting: greeting, Clients: 3, Mute: true, Far: true}, &all)
	if all.Clients != 3 {
		t.Errorf("%+v of 3 joined", all)
	}
	far.end()
	for _, o := range []order{
		{Rate: 200, Lasts: 50 * time.Millisecond},
		{Rate: 0, Lasts: 20 * time.Millisecond},
		{Rate: 10, Lasts: time.Millisecond},
	} {
		before := station.Next
		audience.ask(listening{Next: before, Patience: 30 * time.Second}, &struct{}{})
		loop.ask(o, &station)
		var got heard
		audience.ask(nil, &got)
		if want := clients * int(station.Next-before); got.Deliveries != want || want == 0 {
			t.Errorf("%+v: %d deliveries, want %d", o, got.Deliveries, want)
		}
		if got.Repeated+got.Late+got.Gone != 0 || got.Reason != "" {
			t.Errorf("%+v: %+v", o, got)
		}
		const rounding = 32 // A histogram tells a duration to one part in so many at least.
		if got.P50 <= 0 || got.P50 > got.P99 || got.P99 > got.Took+got.Took/rounding || got.Took > 30*time.Second {
			t.Errorf("%+v: %+v", o, got)
		}
	}
	audience.end()
	loop.end()
}

// scriptedStation upgrades connections and sends each the same, however it is cut, and then waits for the client to leave or
// closes. It returns its address, and what clients sent once they left.
func scriptedStation(t *testing.T, stays bool, pieces ...string) (address string, received <-chan []byte) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan []byte, 8)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = listener.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reader := bufio.NewReader(conn)
			if request, err := http.ReadRequest(reader); err == nil {
				_ = request.Body.Close()
			}
			for _, piece := range pieces {
				_, _ = io.WriteString(conn, piece)
			}
			if stays {
				rest, _ := io.ReadAll(reader)
				sent <- rest
			}
			_ = conn.Close()
		}
	}()
	return listener.Addr().String(), sent
}

const upgraded = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
	"Sec-WebSocket-Accept: " + handshakeAnswer + "\r\n\r\n"

func TestAudienceIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		pieces []string
		want   string
	}{
		{"no WebSocket", []string{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}, "no WebSocket"},
		{"another key", []string{strings.ReplaceAll(upgraded, handshakeAnswer, "x")}, "no WebSocket"},
		{"nothing", nil, "EOF"},
		{"no greeting", []string{upgraded, string(serverFrame(opText, "hello"))}, "EOF"},
		{"an endless greeting", []string{upgraded, strings.Repeat("x", 2*mostGreeting)}, "more than 1048576 bytes"},
		{"a greeting of fragments", []string{upgraded + "\x01\x07welcome"}, "sent away again: a message comes in fragments"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			address, _ := scriptedStation(t, false, c.pieces...)
			d := converse(t, attend)
			if err := d.orders.Encode(joining{Address: address, Greeting: greeting{Path: "/", Joined: "welcome"}, Clients: 1}); err != nil {
				t.Fatal(err)
			}
			if err := <-d.done; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}

func TestAudienceSpeaks(t *testing.T) {
	t.Parallel()
	address, received := scriptedStation(t, true, upgraded+string(serverFrame(opText, "welcome"))+string(serverFrame(opPing, "there?")))
	d := converse(t, attend)
	var all joined
	d.ask(joining{Address: address, Greeting: greeting{Path: "/", Hello: "hello", Joined: "welcome"}, Clients: 1}, &all)
	d.ask(listening{Patience: 20 * time.Millisecond}, &struct{}{})
	var got heard
	d.ask(nil, &got)
	if got.Late != 1 || got.Deliveries != 0 || got.Gone != 0 {
		t.Errorf("%+v", got)
	}
	d.end()
	want := slices.Concat([]byte("\x81\x85\x00\x00\x00\x00hello"), []byte("\x8a\x86\x00\x00\x00\x00there?"))
	if said := <-received; !slices.Equal(said, want) {
		t.Errorf("the client sent %q, want %q", said, want)
	}
}

func TestAudienceCounts(t *testing.T) {
	t.Parallel()
	update := func(s stamp) []byte { return serverFrame(opText, string(updateOf(s.append(nil)))) }
	first, second, last := stamp{number: 5}, stamp{number: 6}, stamp{number: 8, last: true}
	for _, c := range []struct {
		name   string
		stream []byte
		want   heard
	}{
		{"all", slices.Concat(update(first), update(second), update(last)), heard{Deliveries: 3}},
		{"one is missing", slices.Concat(update(first), update(last)), heard{Deliveries: 2}},
		{"one comes twice", slices.Concat(update(first), update(first), update(last)), heard{Deliveries: 2, Repeated: 1}},
		{"one is old", slices.Concat(update(stamp{number: 4, last: true}), update(last)), heard{Deliveries: 1, Repeated: 1}},
		{"no last", slices.Concat(update(first), update(second)), heard{Deliveries: 2, Late: 1}},
		{"closed", slices.Concat(update(first), serverFrame(opClose, "\x0f\xa8slow"), update(second)), heard{Deliveries: 1, Gone: 1, Reason: `closed with code 4008 "slow"`}},
		{"closed without a code", serverFrame(opClose, ""), heard{Gone: 1, Reason: "closed without a code"}},
		{"broken", slices.Concat(update(first), []byte("\xff\xff")), heard{Deliveries: 1, Gone: 1, Reason: "a frame uses an extension that was not asked for"}},
	} {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		client := &chair{fd: fd, next: 5, waiting: true}
		h := &hall{seats: []*chair{client}, notes: &notes{waiting: 1}}
		h.take(client, c.stream)
		got := h.notes.sum(h.gone, h.reason)
		got.P50, got.P99, got.Took = 0, 0, 0
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		if c.want.Gone == 0 && c.want.Late == 0 && h.notes.waiting != 0 {
			t.Errorf("%s: %d still wait", c.name, h.notes.waiting)
		}
		if client.fd >= 0 {
			if err := unix.Close(fd); err != nil {
				t.Error(err)
			}
		}
	}
}
