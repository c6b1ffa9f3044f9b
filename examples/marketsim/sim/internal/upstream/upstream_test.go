package upstream_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim/internal/upstream"
)

func TestTableForgetsTheOldest(t *testing.T) {
	t.Parallel()
	table := upstream.NewTable[int](3)
	for i := range 10 {
		table.With(strconv.Itoa(i), func(n *int) { *n = i })
	}
	if table.Len() != 3 {
		t.Errorf("%d callers", table.Len())
	}
	table.With("9", func(n *int) {
		if *n != 9 {
			t.Error("the newest was forgotten")
		}
	})
	table.With("0", func(n *int) {
		if *n != 0 {
			t.Error("the oldest was kept")
		}
	})
	if table.Clear(); table.Len() != 0 {
		t.Errorf("%d callers after clearing", table.Len())
	}
	table.With("a", func(*int) {})
	if table.Len() != 1 {
		t.Errorf("%d callers", table.Len())
	}
}

func TestMinuteStartsAgain(t *testing.T) {
	t.Parallel()
	var m upstream.Minute
	at := time.Date(2026, 1, 1, 0, 0, 50, 0, time.UTC)
	for _, want := range []int{2, 4} {
		if used, left := m.Spend(2, at); used != want || left != 10*time.Second {
			t.Errorf("%d used, %v left", used, left)
		}
	}
	if used, left := m.Spend(1, at.Add(10*time.Second)); used != 1 || left != time.Minute {
		t.Errorf("%d used, %v left", used, left)
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{upstream.Float(21e6), "21000000.0"},
		{upstream.Float(0.5), "0.5"},
		{upstream.Float(589.2e12), "589200000000000.0"},
		{upstream.Scientific(1.5e15), "1.5e+15"},
		{upstream.Scientific(12.5), "12.5"},
		{upstream.Object{{Name: "b", Value: nil}, {Name: "a\"", Value: 1}}, `{"b":null,"a\"":1}`},
		{upstream.Object{}, `{}`},
	} {
		got, err := json.Marshal(c.value)
		if err != nil || string(got) != c.want {
			t.Errorf("%v: %s %v, want %s", c.value, got, err, c.want)
		}
	}
	if reply := upstream.JSON(200, func() {}); reply.Status != 500 {
		t.Errorf("a value without a JSON form: %d", reply.Status)
	}
}

func TestRetrySeconds(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60",
	} {
		if got := upstream.RetrySeconds(wait); got != want {
			t.Errorf("%v: %s, want %s", wait, got, want)
		}
	}
}
