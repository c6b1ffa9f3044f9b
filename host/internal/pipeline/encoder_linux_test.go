package pipeline

import (
	"os"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// niceness of each thread of this process.
func niceness(t *testing.T) map[int]int {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	found := map[int]int{}
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if left, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil { // Else it has ended.
			found[id] = 20 - left
		}
	}
	return found
}

func TestEncodersYieldToTheRestOfTheHost(t *testing.T) {
	usual := niceness(t)[os.Getpid()]
	want := min(usual+encoderNiceness, 19)
	nicer := func() (n int) {
		for _, nice := range niceness(t) {
			if nice == want {
				n++
			}
		}
		return n
	}
	before := nicer()
	e := newEncoders()
	var at, thread int
	if err := e.load(t.Context(), func() {
		thread = unix.Gettid()
		at = niceness(t)[thread]
	}); err != nil {
		t.Fatal(err)
	}
	if at != want {
		t.Errorf("an encoder is at %d, the rest at %d", at, usual)
	}
	e.close()
	for deadline := time.Now().Add(20 * time.Second); want != usual && nicer() > before && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if left := nicer() - before; want != usual && left > 0 {
		t.Errorf("%d threads are nicer though there are no encoders any more", left)
	}
}
