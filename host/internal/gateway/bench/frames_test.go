package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// heardBy writes down what frames tell.
type heardBy []string

func (h *heardBy) hear(s stamp) { *h = append(*h, fmt.Sprintf("%d", s.number)) }

func (h *heardBy) control(op byte, payload []byte) {
	*h = append(*h, fmt.Sprintf("%#x %s", op, payload))
}

// serverFrame returns a frame as a server sends it.
func serverFrame(op byte, payload string) []byte {
	head := []byte{0x80 | op}
	switch size := len(payload); {
	case size < 126:
		head = append(head, byte(size))
	case size <= 0xffff:
		head = binary.BigEndian.AppendUint16(append(head, 126), uint16(size))
	default:
		head = binary.BigEndian.AppendUint64(append(head, 127), uint64(size))
	}
	return append(head, payload...)
}

// stamped returns an update with a number.
func stamped(number uint64) string { return string(updateOf(stamp{number: number}.append(nil))) }

// inPieces feeds a stream to frames as reads of the sizes would, the last one again and again.
func inPieces(stream []byte, sizes ...int) (said heardBy, err error) {
	var f frames
	var kept []byte
	for i := 0; len(stream) > 0; i++ {
		size := min(max(1, sizes[min(i, len(sizes)-1)]), len(stream))
		arrived := slices.Concat(kept, stream[:size])
		stream = stream[size:]
		carried, err := f.take(arrived, &said)
		if err != nil {
			return said, err
		}
		if carried > len(arrived) || carried >= mostCarried {
			return said, fmt.Errorf("%d of %d bytes are carried on", carried, len(arrived))
		}
		kept = bytes.Clone(arrived[len(arrived)-carried:])
	}
	return said, nil
}

func TestFramesHowEverTheyAreCut(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("y", 70_000)
	for _, c := range []struct {
		name   string
		frames [][]byte
		want   []string
	}{
		{"one", [][]byte{serverFrame(opText, stamped(1))}, []string{"1"}},
		{"merged", [][]byte{serverFrame(opText, stamped(1)), serverFrame(opBinary, stamped(2)), serverFrame(opText, stamped(3))}, []string{"1", "2", "3"}},
		{"several in one", [][]byte{serverFrame(opText, stamped(1)+"\n"+stamped(2)+"\n"+stamped(3))}, []string{"1", "2", "3"}},
		{"control frames between", [][]byte{
			serverFrame(opPing, "who"), serverFrame(opText, stamped(1)), serverFrame(opPong, ""),
			serverFrame(opClose, "\x03\xe8"+strings.Repeat("z", 123)),
		}, []string{"0x9 who", "1", "0xa ", "0x8 \x03\xe8" + strings.Repeat("z", 123)}},
		{"a long one", [][]byte{serverFrame(opText, long+stamped(1)+long), serverFrame(opText, stamped(2))}, []string{"1", "2"}},
		{"empty", [][]byte{serverFrame(opText, ""), serverFrame(opText, stamped(1))}, []string{"1"}},
		{"marks that are none", [][]byte{serverFrame(opText, "@@"+stamped(1)+"@"), serverFrame(opText, "@"), serverFrame(opText, stamped(2))}, []string{"1", "2"}},
		{"a stamp over two messages is none", [][]byte{serverFrame(opText, "@000000000"), serverFrame(opText, "00000000000/0000000001;")}, nil},
	} {
		stream := bytes.Join(c.frames, nil)
		for _, size := range []int{1, 2, 3, 7, 33, 127, 1000, 4096, len(stream)} {
			if got, err := inPieces(stream, size); err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s in pieces of %d: %q %v, want %q", c.name, size, got, err, c.want)
			}
		}
	}
}

func TestFramesRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, stream, want string }{
		{"compressed", "\xc1\x01x", "extension"},
		{"the first of fragments", "\x01\x01x", "fragments"},
		{"the last of fragments", "\x80\x01x", "fragments"},
		{"an unknown kind", "\x83\x01x", "unknown kind 0x3"},
		{"an unknown control", "\x8b\x01x", "unknown kind 0xb"},
		{"masked", "\x81\x81xxxxx", "masked"},
		{"a long ping", "\x89\x7e\x00\xff", "more than 125"},
		{"endless", "\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", "2^63"},
	} {
		if got, err := inPieces([]byte(c.stream), len(c.stream)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %q %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestClientFrame(t *testing.T) {
	t.Parallel()
	got, err := clientFrame(opPong, []byte("ab"))
	if want := []byte("\x8a\x82\x00\x00\x00\x00ab"); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q %v, want %q", got, err, want)
	}
	if _, err := clientFrame(opText, make([]byte, 126)); err == nil {
		t.Error("a frame was made that is not short")
	}
}

func TestFramesCostNoAllocation(t *testing.T) {
	stream := slices.Concat(serverFrame(opText, stamped(1)), serverFrame(opPing, "x"), serverFrame(opText, stamped(2)+stamped(3)))
	var f frames
	var h hearer = new(counter)
	if got := testing.AllocsPerRun(100, func() { _, _ = f.take(stream, h) }); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// counter counts what it hears.
type counter struct{ stamps, controls int }

func (c *counter) hear(stamp)           { c.stamps++ }
func (c *counter) control(byte, []byte) { c.controls++ }

func BenchmarkFrames(b *testing.B) {
	stream := bytes.Repeat(serverFrame(opText, stamped(1)), 200)
	var f frames
	var h counter
	b.SetBytes(int64(len(stream)))
	for b.Loop() {
		if _, err := f.take(stream, &h); err != nil {
			b.Fatal(err)
		}
	}
}

// FuzzFrames checks that what is heard does not depend on how the stream was cut.
func FuzzFrames(f *testing.F) {
	f.Add(slices.Concat(serverFrame(opText, stamped(1)), serverFrame(opPing, "x"), serverFrame(opText, stamped(2)+stamped(3))), uint16(5), uint16(700))
	f.Add(serverFrame(opText, strings.Repeat("@", 200)+stamped(4)), uint16(130), uint16(1))
	f.Add([]byte("\x81\x7f\xff\xff"), uint16(2), uint16(1))
	f.Fuzz(func(t *testing.T, stream []byte, first, then uint16) {
		whole, wholeErr := inPieces(stream, len(stream))
		cut, cutErr := inPieces(stream, int(first), int(then))
		if (wholeErr == nil) != (cutErr == nil) || !slices.Equal(whole, cut) {
			t.Errorf("%q %v in one, %q %v cut", whole, wholeErr, cut, cutErr)
		}
	})
}
