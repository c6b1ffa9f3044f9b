package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"
)

// Bounds of an answer, in bytes.
const (
	maxHead = 16 << 10
	maxBody = 8 << 20
)

// client is the cheapest client that reads whole answers: one keep-alive connection, one request at a time. It takes
// answers with a Content-Length only. It is not safe for concurrent use.
type client struct {
	conn net.Conn
	buf  []byte
	have int // bytes of buf that were read; those beyond the last answer belong to nobody.
}

// answer is what a server said. Its bytes hold until the client's next request.
type answer struct {
	status int
	// head is the status line and the header, without the empty line at the end.
	head []byte
	body []byte
}

// connect opens a connection whose requests all end by the deadline.
func connect(ctx context.Context, address string, deadline time.Time) (*client, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &client{conn: conn, buf: make([]byte, maxHead)}, nil
}

// close ends the connection.
func (c *client) close() error { return c.conn.Close() }

// request builds a GET.
func request(address, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: islands-bench\r\nAccept: application/json\r\n\r\n")
}

// do sends a request and reads the answer.
func (c *client) do(request []byte) (answer, error) {
	if _, err := c.conn.Write(request); err != nil {
		return answer{}, err
	}
	c.have = 0
	end := -1
	for searched := 0; end < 0; {
		if c.have >= maxHead {
			return answer{}, fmt.Errorf("the header has more than %d bytes", maxHead)
		}
		if err := c.read(); err != nil {
			return answer{}, err
		}
		if at := bytes.Index(c.buf[searched:c.have], headEnd); at >= 0 {
			end = searched + at
		}
		searched = max(0, c.have-len(headEnd)+1)
	}
	status, length, err := parseHead(c.buf[:end])
	if err != nil {
		return answer{}, err
	}
	begin := end + len(headEnd)
	total := begin + length
	if total > len(c.buf) {
		c.buf = append(c.buf[:c.have], make([]byte, total-c.have)...)
	}
	for c.have < total {
		if err := c.read(); err != nil {
			return answer{}, err
		}
	}
	if c.have > total {
		return answer{}, fmt.Errorf("%d bytes came after the answer", c.have-total)
	}
	return answer{status: status, head: c.buf[:end], body: c.buf[begin:total]}, nil
}

// read takes what has arrived.
func (c *client) read() error {
	n, err := c.conn.Read(c.buf[c.have:])
	c.have += n
	if n > 0 {
		return nil
	}
	return err
}

var (
	headEnd = []byte("\r\n\r\n")
	lineEnd = []byte("\r\n")
)

// parseHead returns the status of an answer and the length of its body.
func parseHead(head []byte) (status, length int, err error) {
	line, rest, _ := bytes.Cut(head, lineEnd)
	const prefix = "HTTP/1.1 "
	if len(line) < len(prefix)+3 || string(line[:len(prefix)]) != prefix {
		return 0, 0, fmt.Errorf("%.40q is no status line of HTTP/1.1", line)
	}
	if status, err = strconv.Atoi(string(line[len(prefix) : len(prefix)+3])); err != nil || status < 100 {
		return 0, 0, fmt.Errorf("%.40q has no status", line)
	}
	length = -1
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, lineEnd)
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case len(name) == len("Content-Length") && bytes.EqualFold(name, []byte("Content-Length")):
			length, err = strconv.Atoi(string(bytes.TrimSpace(value)))
			if err != nil || length < 0 || length > maxBody {
				return 0, 0, fmt.Errorf("%.40q: want 0 to %d bytes", line, maxBody)
			}
		case len(name) == len("Transfer-Encoding") && bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, 0, errors.New("the answer comes in pieces, not with a Content-Length")
		}
	}
	switch {
	case status < 200 || status == http.StatusNoContent || status == http.StatusNotModified:
		return status, 0, nil
	case length < 0:
		return 0, 0, errors.New("the answer has no Content-Length")
	}
	return status, length, nil
}

// field is a line of a header.
type field struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// fields returns the header of a head.
func fields(head []byte) []field {
	_, rest, _ := bytes.Cut(head, lineEnd)
	var out []field
	for len(rest) > 0 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, lineEnd)
		name, value, _ := bytes.Cut(line, []byte(":"))
		out = append(out, field{Name: string(name), Value: string(bytes.TrimSpace(value))})
	}
	return out
}

// header returns the value of a field, empty when there is none.
func (a answer) header(name string) string {
	for _, f := range fields(a.head) {
		if http.CanonicalHeaderKey(f.Name) == name {
			return f.Value
		}
	}
	return ""
}
