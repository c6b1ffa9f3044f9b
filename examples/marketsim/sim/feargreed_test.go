package sim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/service-islands/islands/examples/marketsim/sim"
)

func TestFearAndGreed(t *testing.T) {
	t.Parallel()
	b := newBench(t, unlimited())
	var index struct {
		Name string
		Data []map[string]string
		Meta struct{ Error *string } `json:"metadata"`
	}
	labels := map[string]string{}
	a := b.read("/fng/?limit=0", &index)
	midnight := start.Truncate(24 * time.Hour)
	if len(index.Data) < 2900 || index.Name != "Fear and Greed Index" || index.Meta.Error != nil {
		t.Fatalf("%d entries: %.200s", len(index.Data), a.body)
	}
	for i, entry := range index.Data {
		if want := fmt.Sprint(midnight.AddDate(0, 0, -i).Unix()); entry["timestamp"] != want {
			t.Fatalf("entry %d is of %s, want %s", i, entry["timestamp"], want)
		}
		if _, ok := entry["time_until_update"]; ok != (i == 0) {
			t.Errorf("entry %d: %v", i, entry)
		}
		value, err := strconv.Atoi(entry["value"])
		if err != nil || value < 0 || value > 100 {
			t.Fatalf("entry %d: %v", i, entry)
		}
		labels[entry["value"]] = entry["value_classification"]
	}
	if index.Data[0]["time_until_update"] != "43195" {
		t.Errorf("until the update: %s", index.Data[0]["time_until_update"])
	}
	for value, want := range map[string]string{
		"20": "Extreme Fear", "25": "Extreme Fear", "26": "Fear", "46": "Fear", "50": "Neutral", "60": "Greed", "80": "Extreme Greed",
	} {
		if got := labels[value]; got != want {
			t.Errorf("%s is called %q, want %q", value, got, want)
		}
	}
	for path, n := range map[string]int{"/fng/": 1, "/fng": 1, "/fng/?limit=3": 3} {
		index.Data = nil
		if b.read(path, &index); len(index.Data) != n {
			t.Errorf("%s: %d entries", path, len(index.Data))
		}
	}
	for path, status := range map[string]int{"/fng/?limit=x": 422, "/fng/?limit=-1": 422, "/fng/other": 404} {
		if a := b.get(path); a.status != status || !json.Valid([]byte(a.body)) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestFearAndGreedBudget(t *testing.T) {
	t.Parallel()
	b := newBench(t, sim.Options{FearGreedPerMinute: 2})
	for range 2 {
		b.get("/fng/")
	}
	if a := b.get("/fng/"); a.status != http.StatusTooManyRequests || a.header.Get("Retry-After") != "56" {
		t.Errorf("%d %v", a.status, a.header)
	}
	b.clock.advance(time.Minute)
	if a := b.get("/fng/"); a.status != http.StatusOK {
		t.Errorf("in the next minute: %d", a.status)
	}
}
