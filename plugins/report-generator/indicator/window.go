package indicator

// window keeps the newest observations.
type window struct {
	values []float64
	next   int
	count  int
}

// newWindow makes a window of n observations; n below 1 counts as 1.
func newWindow(n int) window { return window{values: make([]float64, max(n, 1))} }

// push adds an observation and drops the oldest of a full window.
func (w *window) push(x float64) {
	w.values[w.next] = x
	w.next = (w.next + 1) % len(w.values)
	w.count = min(w.count+1, len(w.values))
}

// full reports whether the window holds as many observations as it can.
func (w *window) full() bool { return w.count == len(w.values) }

// mean returns the average of a full window.
func (w *window) mean() float64 {
	origin := w.values[0]
	sum := 0.0
	for _, x := range w.values {
		sum += x - origin
	}
	lowest, highest := w.extremes()
	return min(max(origin+sum/float64(len(w.values)), lowest), highest)
}

// extremes returns the lowest and the highest observation of a full window.
func (w *window) extremes() (lowest, highest float64) {
	lowest, highest = w.values[0], w.values[0]
	for _, x := range w.values {
		lowest, highest = min(lowest, x), max(highest, x)
	}
	return lowest, highest
}
