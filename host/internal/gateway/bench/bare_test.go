package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestBareServerAnswersAlike(t *testing.T) {
	t.Parallel()
	body := strings.Repeat(`{"symbol":"btc"}`, 300)
	for _, c := range []struct{ name, head string }{
		{"with a date", "Date: Sat, 01 Aug 2026 10:00:00 GMT\r\n"},
		{"without a date", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			original := answer{status: http.StatusOK, body: []byte(body), head: []byte("HTTP/1.1 200 OK\r\n" + c.head +
				"Content-Type: application/json; charset=x\r\nETag: \"abc\"\r\nCache-Control: public, max-age=3000\r\nX-Cache: near\r\n" +
				"Vary: Accept, Accept-Encoding\r\nContent-Length: 4800")}
			address, err := freeAddress(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			plan, err := json.Marshal(ceilingOf(address, original))
			if err != nil {
				t.Fatal(err)
			}
			lifeline, hold := io.Pipe()
			served := make(chan error, 1)
			go func() { served <- serveBare(t.Context(), io.MultiReader(bytes.NewReader(plan), lifeline)) }()
			s := server{&child{name: "bare", done: make(chan struct{})}, address}
			if err := s.await(t.Context(), "/api/crypto-report/btc"); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{"/api/crypto-report/btc", "/api/market-data/global", "/api/market-data?symbols=a", "/health/ready"} {
				got, err := s.sample(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				if err := sameAnswer(original, got); err != nil {
					t.Errorf("%s: %v", path, err)
				}
				if got.header("Etag") != `"abc"` || got.header("Content-Type") != "application/json; charset=x" {
					t.Errorf("%s: the header is %q", path, got.head)
				}
			}
			if status, err := s.try(t.Context(), "/elsewhere"); err != nil || status != http.StatusNotFound {
				t.Errorf("another route: %d %v", status, err)
			}
			_ = hold.Close()
			select {
			case err := <-served:
				if err != nil {
					t.Error(err)
				}
			case <-time.After(10 * time.Second):
				t.Fatal("the bare server outlives whoever started it")
			}
		})
	}
}

func TestSameAnswer(t *testing.T) {
	t.Parallel()
	want := answer{head: []byte("HTTP/1.1 200 OK\r\nAge: 3\r\nVary: Accept"), body: []byte("x")}
	for _, c := range []struct {
		name, head, body, difference string
	}{
		{"another order and value", "HTTP/1.1 200 OK\r\nVary: Accept\r\nAge: 9", "x", ""},
		{"another body", "HTTP/1.1 200 OK\r\nVary: Accept\r\nAge: 9", "y", "other bytes"},
		{"a field less", "HTTP/1.1 200 OK\r\nAge: 9", "x", `"vary"`},
	} {
		err := sameAnswer(want, answer{head: []byte(c.head), body: []byte(c.body)})
		if got := err != nil; got != (c.difference != "") || got && !strings.Contains(err.Error(), c.difference) {
			t.Errorf("%s: %v, want %q", c.name, err, c.difference)
		}
	}
}
