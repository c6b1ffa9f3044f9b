package main

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestL1IsBoundedByBytesAndEntries(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bytes   int64
		entries int
		value   int
	}{
		"bytes":   {bytes: 1 << 20, entries: 1 << 20, value: 1000},
		"entries": {bytes: 1 << 30, entries: 500, value: 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMemory(test.bytes, test.entries, time.Now)
			defer m.stop()
			value := strings.Repeat("v", test.value)
			var fillers sync.WaitGroup
			for filler := range 4 {
				fillers.Go(func() {
					for i := range 25_000 {
						m.put(entry(fmt.Sprintf("key_%d_%d", filler, i), value), 0)
						if i%100 == 0 {
							m.settle()
							// What the four fillers have put since their last settling is not weighed yet.
							if n, size, _ := m.usage(); n > test.entries+500 || size > test.bytes+500*1300 {
								t.Errorf("%d entries of %d bytes", n, size)
								return
							}
						}
					}
				})
			}
			fillers.Wait()
			m.settle()
			entries, size, evicted := m.usage()
			if entries > test.entries || size > test.bytes || entries == 0 {
				t.Errorf("%d entries of %d bytes, the bounds are %d and %d", entries, size, test.entries, test.bytes)
			}
			if evicted < 50_000 {
				t.Errorf("%d evictions", evicted)
			}
		})
	}
}

func TestL1ForgetsWhatExpires(t *testing.T) {
	t.Parallel()
	now := newClock()
	m := newMemory(1<<20, 100, now.Now)
	defer m.stop()
	e := entry("k", "v")
	e.StaleUntil = now.Now().Add(time.Minute)
	m.put(e, 0)
	m.put(entry("longer", "v"), 0)
	now.advance(time.Minute - time.Nanosecond)
	if m.get("k") == nil {
		t.Error("gone before StaleUntil")
	}
	now.advance(time.Nanosecond)
	if m.get("k") != nil {
		t.Error("there at StaleUntil")
	}
	m.sweep()
	if n := m.count(); n != 1 {
		t.Errorf("%d entries after a sweep, want 1", n)
	}
}

func TestL1AnswersAfterItsEnd(t *testing.T) {
	t.Parallel()
	m := newMemory(1<<20, 100, time.Now)
	m.put(entry("k", "v"), 0)
	m.stop()
	m.stop()
	m.clear()
	m.settle()
	m.sweep()
	if m.put(entry("k", "v"), 0) || m.get("k") != nil || m.drop([]string{"k", "*"}) != 0 || m.count() != 0 || m.probe() {
		t.Error("a stopped L1 remembers")
	}
}

func TestL1RefusesWhatAloneIsTooLarge(t *testing.T) {
	t.Parallel()
	m := newMemory(1<<20, 100, time.Now)
	defer m.stop()
	m.put(entry("small", "v"), 0)
	if m.put(entry("large", strings.Repeat("v", 1<<20)), 0) {
		t.Error("taken")
	}
	m.settle()
	if m.get("small") == nil {
		t.Error("what was there is gone")
	}
}

// Dropping more than ccache's buffers hold while it evicts would block for ever with its own DeleteFunc.
func TestL1DropsWhileItEvicts(t *testing.T) {
	t.Parallel()
	m := newMemory(1<<20, 2000, time.Now)
	defer m.stop()
	var work sync.WaitGroup
	for worker := range 3 {
		work.Go(func() {
			for i := range 10_000 {
				m.put(entry(fmt.Sprintf("k_%d_%d", worker, i), "v"), 0)
			}
		})
	}
	work.Go(func() {
		for range 50 {
			m.drop([]string{"k_*"})
			m.clear()
		}
	})
	work.Wait()
	m.drop([]string{"*"})
	if n := m.count(); n != 0 {
		t.Errorf("%d entries left", n)
	}
}

func BenchmarkLookupHitInL1(b *testing.B) {
	h := open(b, nil)
	e := entry("crypto_report_btc", strings.Repeat("v", 20_000))
	if _, err := h.Fill(b.Context(), []sdk.Entry{e}); err != nil {
		b.Fatal(err)
	}
	keys := []string{e.Key}
	b.ReportAllocs()
	for b.Loop() {
		if found, err := h.Lookup(b.Context(), keys); err != nil || !found[0].Found {
			b.Fatal(found, err)
		}
	}
}
