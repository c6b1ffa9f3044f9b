package rfc6455

import (
	"errors"
	"io"
	"testing"
)

// endless is a message whose empty parts never end.
type endless struct{ began bool }

// Read implements io.Reader.
func (e *endless) Read(b []byte) (int, error) {
	part := []byte{0, maskBit, 1, 2, 3, 4}
	if !e.began {
		part[0], e.began = byte(Text), true
	}
	return copy(b, part), nil
}

func TestAMessageHasAnEnd(t *testing.T) {
	_, err := NewReader(&endless{}, nil, 4<<10, false).Next()
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != PolicyViolation {
		t.Errorf("%v", err)
	}
	if errors.Is(err, io.EOF) {
		t.Error("it ended by itself")
	}
}
