package pipeline

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/service-islands/islands/sdk"
)

func TestEncodersAreHalfOfTheProcessors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEncoders()
		defer e.close()
		most := max(1, runtime.GOMAXPROCS(0)/2)
		var mu sync.Mutex
		var working, peak, done int
		for range 3 * most {
			go e.run(func() {
				mu.Lock()
				working++
				peak = max(peak, working)
				mu.Unlock()
				time.Sleep(time.Second)
				mu.Lock()
				working--
				done++
				mu.Unlock()
			})
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if peak != most || done != 3*most {
			t.Errorf("%d of %d done, %d at once, want %d", done, 3*most, peak, most)
		}
	})
}

func TestAPanicOfAnEncoderIsTheCallers(t *testing.T) {
	e := newEncoders()
	defer e.close()
	for range 2 { // The encoder lives on.
		func() {
			defer func() {
				if p, ok := recover().(string); !ok || !strings.HasPrefix(p, "a mistake\n") || !strings.Contains(p, "encoder_test.go") {
					t.Errorf("panicked with %v", p)
				}
			}()
			e.run(func() { panic("a mistake") })
		}()
	}
}

func TestWithoutEncodersTheCallerWorks(t *testing.T) {
	ended := newEncoders()
	ended.close()
	for name, e := range map[string]*encoders{"none": nil, "ended": ended} {
		worked := false
		if e.run(func() { worked = true }); !worked {
			t.Errorf("%s: nothing was done", name)
		}
	}
}

func TestPartsAreMadeByEncoders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		r, end := running(w)
		defer end()
		a, err := r.Candles(t.Context(), "btc", "usd", sdk.Interval1d, 10)
		if err != nil {
			t.Fatal(err)
		}
		// All of them are busy.
		release := make(chan struct{})
		for range max(1, runtime.GOMAXPROCS(0)/2) {
			go r.encoders.run(func() { <-release })
		}
		synctest.Wait()
		made := make(chan error, 1)
		go func() {
			if got := a.Part(3, func(any) Representation { return Representation{Format: "x"} }); got.Format != "x" {
				made <- errors.New("another part")
			}
			close(made)
		}()
		synctest.Wait()
		select {
		case err := <-made:
			t.Errorf("a part was made beside the encoders, %v", err)
		default:
		}
		close(release)
		if err := <-made; err != nil {
			t.Error(err)
		}
	})
}
