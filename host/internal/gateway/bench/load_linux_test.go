package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"
)

func TestLoadCountsAnswers(t *testing.T) {
	t.Parallel()
	listenerPlan := ceiling{Body: []byte("hello"), Fields: []field{{"Content-Type", "text/plain"}}}
	address, err := freeAddress(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	listenerPlan.Address = address
	plan, err := json.Marshal(listenerPlan)
	if err != nil {
		t.Fatal(err)
	}
	lifeline, hold := io.Pipe()
	served := make(chan error, 1)
	go func() { served <- serveBare(t.Context(), io.MultiReader(bytes.NewReader(plan), lifeline)) }()
	t.Cleanup(func() {
		_ = hold.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	s := server{&child{name: "bare", done: make(chan struct{})}, address}
	if err := s.await(t.Context(), "/health/ready"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, body, want string }{
		{"the same body", "hello", ""},
		{"another body", "other", "another body"},
		{"a longer body", "", "another body"},
	} {
		l, err := newLoad(address, "/health/ready", []byte(c.body), 4)
		if err != nil {
			t.Fatal(err)
		}
		answers, took, err := l.run(t.Context(), 30*time.Millisecond)
		switch {
		case c.want == "" && (err != nil || answers < 4 || took < 30*time.Millisecond):
			t.Errorf("%s: %d in %v, %v", c.name, answers, took, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", c.name, err)
		}
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}
}
