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

// client is one keep-alive connection with one request at a time. It takes answers with a Content-Length only. It is not
// safe for concurrent use.
type client struct {
	conn net.Conn
	buf  []byte
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

// request builds a GET as curl sends it.
func request(address, path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: " + address + "\r\nUser-Agent: islands-bench\r\nAccept: */*\r\n\r\n")
}

// do sends a request and reads the answer.
func (c *client) do(request []byte) (answer, error) {
	if _, err := c.conn.Write(request); err != nil {
		return answer{}, err
	}
	have := 0
	for {
		n, err := c.conn.Read(c.buf[have:])
		if n == 0 && err != nil {
			return answer{}, err
		}
		have += n
		a, total, err := parseAnswer(c.buf[:have])
		switch {
		case err != nil:
			return answer{}, err
		case total > 0 && have >= total:
			return a, nil
		case total > len(c.buf):
			c.buf = append(c.buf[:have], make([]byte, total-have)...)
		}
	}
}

// parseAnswer reads an answer from what has arrived of it. Total is the length of the whole, 0 while that is not known;
// the answer is complete once so much is there. What is longer is no answer.
func parseAnswer(arrived []byte) (a answer, total int, err error) {
	end := bytes.Index(arrived, headEnd)
	if end < 0 {
		if len(arrived) >= maxHead {
			return answer{}, 0, fmt.Errorf("the header has more than %d bytes", maxHead)
		}
		return answer{}, 0, nil
	}
	status, length, err := parseHead(arrived[:end])
	if err != nil {
		return answer{}, 0, err
	}
	begin := end + len(headEnd)
	total = begin + length
	if len(arrived) > total {
		return answer{}, 0, fmt.Errorf("%d bytes came after the answer", len(arrived)-total)
	}
	return answer{status: status, head: arrived[:end], body: arrived[begin:]}, total, nil
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
