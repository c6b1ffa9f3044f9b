package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// readSize is how much a client reads at once. The kernel fills it when a station sends faster than the audience reads.
const readSize = 256 << 10

// hall is an audience from inside: clients that one thread serves with the least that a client can do, so that the station,
// not the audience, is what has no time left. A delivery costs no allocation.
type hall struct {
	joining
	clock clock
	poll  int // the epoll instance
	// buf has room in front of what is read for what the connection kept from the last time.
	buf     []byte
	seats   []*chair
	current *chair // the one that is read
	now     int64  // when it was, by the machine's clock
	gone    int
	reason  error // why the first was gone
	notes   *notes
}

// chair is one client.
type chair struct {
	fd      int
	frames  frames
	next    uint64 // number of the update that is due
	waiting bool   // for the last update of the turn
	carried int
	carry   [mostCarried]byte
	arrival *arrival // until the client has joined
}

// attend is the life of an audience: it joins, and listens when it is told to, until the context ends or the input does.
func attend(ctx context.Context, in io.Reader, out io.Writer) (err error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, orders := takeOrders[json.RawMessage](ctx, in)
	answers := json.NewEncoder(out)
	var raw json.RawMessage
	select {
	case <-ctx.Done():
		return ended(ctx)
	case raw = <-orders:
	}
	h := &hall{buf: make([]byte, mostCarried+readSize)}
	if err := json.Unmarshal(raw, &h.joining); err != nil {
		return fmt.Errorf("read an order: %w", err)
	}
	if h.clock, err = newClock(); err != nil {
		return err
	}
	if h.poll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	defer func() { err = errors.Join(err, h.leave()) }()
	if err := h.join(ctx); err != nil {
		return err
	}
	if err := answers.Encode(joined{Clients: len(h.seats)}); err != nil {
		return err
	}
	if h.Mute {
		return h.sulk(ctx)
	}
	return h.listen(ctx, orders, answers)
}

// leave ends the connections.
func (h *hall) leave() error {
	errs := []error{unix.Close(h.poll)}
	for _, c := range h.seats {
		if c.fd >= 0 {
			errs = append(errs, unix.Close(c.fd))
		}
	}
	return errors.Join(errs...)
}

// listen reads all the time, so that pings are answered between the turns, too.
func (h *hall) listen(ctx context.Context, orders <-chan json.RawMessage, answers *json.Encoder) error {
	const patience = 5 // ms, so that orders are looked at
	events := make([]unix.EpollEvent, 1024)
	for {
		select {
		case <-ctx.Done():
			return ended(ctx)
		case raw := <-orders:
			if err := h.begin(raw); err != nil {
				return err
			}
			if err := answers.Encode(struct{}{}); err != nil {
				return err
			}
		default:
		}
		n, err := unix.EpollWait(h.poll, events, patience)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("epoll: %w", err)
		}
		for _, event := range events[:max(n, 0)] {
			h.read(h.seats[event.Fd])
		}
		if n := h.notes; n != nil && (n.waiting == 0 || h.clock.now() > n.deadline) {
			h.notes = nil
			if err := answers.Encode(n.sum(h.gone, h.reason)); err != nil {
				return err
			}
		}
	}
}

// begin begins a turn.
func (h *hall) begin(raw json.RawMessage) error {
	var l listening
	if err := json.Unmarshal(raw, &l); err != nil {
		return fmt.Errorf("read an order: %w", err)
	}
	now := h.clock.now()
	h.notes = &notes{waiting: len(h.seats) - h.gone, began: now, deadline: now + int64(l.Patience)}
	for _, c := range h.seats {
		c.next, c.waiting = l.Next, true
	}
	return nil
}

// read takes what has arrived at a client.
func (h *hall) read(c *chair) {
	n, err := unix.Read(c.fd, h.buf[mostCarried:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err == nil && n == 0:
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		h.lose(c, fmt.Errorf("read: %w", err))
		return
	}
	arrived := h.buf[mostCarried-c.carried : mostCarried+n]
	copy(arrived, c.carry[:c.carried])
	h.take(c, arrived)
}

// take hears what has arrived at a client.
func (h *hall) take(c *chair, arrived []byte) {
	h.current, h.now = c, h.clock.now()
	rest, err := c.frames.take(arrived, h)
	if err != nil {
		h.lose(c, err)
		return
	}
	c.carried = copy(c.carry[:], arrived[len(arrived)-rest:])
}

// hear implements hearer.
func (h *hall) hear(s stamp) {
	c := h.current
	switch {
	case h.notes == nil || c.fd < 0: // A greeting repeats an old update; so may a station between the turns.
	case s.number < c.next:
		h.notes.Repeated++
	default:
		c.next = s.number + 1
		h.notes.take(s, h.now)
		if s.last && c.waiting {
			c.waiting = false
			h.notes.waiting--
		}
	}
}

// control implements hearer.
func (h *hall) control(op byte, payload []byte) {
	c := h.current
	switch op {
	case opPing:
		pong, err := clientFrame(opPong, payload)
		if err == nil {
			err = c.send(pong)
		}
		if err != nil {
			h.lose(c, err)
		}
	case opClose:
		err := errors.New("closed without a code")
		if len(payload) >= 2 {
			err = fmt.Errorf("closed with code %d %q", binary.BigEndian.Uint16(payload), payload[2:])
		}
		h.lose(c, err)
	}
}

// send writes a frame, which is so short that the kernel takes it whole.
func (c *chair) send(frame []byte) error {
	if c.fd < 0 {
		return nil
	}
	if n, err := unix.Write(c.fd, frame); err != nil || n < len(frame) {
		return fmt.Errorf("send %d bytes: %d were taken, %w", len(frame), n, err)
	}
	return nil
}

// lose gives a client up.
func (h *hall) lose(c *chair, why error) {
	if c.fd < 0 {
		return
	}
	if err := unix.Close(c.fd); err != nil {
		why = errors.Join(why, err)
	}
	c.fd = -1
	h.gone++
	if h.reason == nil {
		h.reason = why
	}
	if h.notes != nil && c.waiting {
		h.notes.waiting--
	}
	c.waiting = false
}

// sulk shows that the mute live, and reads nothing.
func (h *hall) sulk(ctx context.Context) error {
	pong, err := clientFrame(opPong, nil)
	if err != nil {
		return err
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		for _, c := range h.seats {
			_ = c.send(pong) // Fails once the station has had enough of the client, which goes on sulking.
		}
		select {
		case <-ctx.Done():
			return ended(ctx)
		case <-tick.C:
		}
	}
}
