package market

import "math"

// key is the root of all draws of one coin: the seed mixed with the coin's id.
type key uint64

// Streams keep draws for different purposes independent. The split level is added above streamLevels, so the constants
// below stay under 1<<8.
const (
	streamOctave uint64 = iota + 1
	streamHigh
	streamLow
	streamTop
	streamBottom
	streamEdge
	streamWickUp
	streamWickDown
	streamTraded
	streamSpread
	streamMood
)

const levelShift = 8

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// newKey folds a name into the seed (FNV-1a, then mixed).
func newKey(seed uint64, name string) key {
	h := uint64(0xcbf29ce484222325)
	for i := range len(name) {
		h = (h ^ uint64(name[i])) * 0x100000001b3
	}
	return key(mix(h ^ mix(seed+0x9e3779b97f4a7c15)))
}

// draw returns a number in [0, 1) for the index-th draw of a stream.
func (k key) draw(stream uint64, index int64) float64 {
	x := uint64(k) + stream*0x9e3779b97f4a7c15 + uint64(index)*0xd1342543de82ef95
	return float64(mix(x)>>11) / (1 << 53)
}

// octavePeriods are lengths in days. They are not multiples of each other, so the octaves' flat spots do not meet.
var octavePeriods = [...]float64{1, 2.3, 5.1, 11.3, 23.9, 51.7, 113.2, 251.4, 557.9}

// ownOctaves is how many of octavePeriods a coin has of its own; the longer ones belong to the whole market, so that
// the ranking by market cap stays recognisable over years.
const ownOctaves = 6

// wander is the sum of octaves at a day, scaled so that its daily steps have about the standard deviation sigma.
func (k key) wander(day, sigma float64, octaves int) float64 {
	sum := 0.0
	for i, period := range octavePeriods[:octaves] {
		sum += sqrtPeriods[i] * k.smooth(streamOctave+uint64(i)<<levelShift, day/period)
	}
	return 0.9 * sigma * sum
}

var sqrtPeriods = func() (roots [len(octavePeriods)]float64) {
	for i, period := range octavePeriods {
		roots[i] = math.Sqrt(period)
	}
	return roots
}()

// smooth is value noise in (-1, 1): draws at whole numbers, joined by smoothstep.
func (k key) smooth(stream uint64, x float64) float64 {
	whole := math.Floor(x)
	f := x - whole
	a, b := k.draw(stream, int64(whole)), k.draw(stream, int64(whole)+1)
	return 2*(a+(b-a)*f*f*(3-2*f)) - 1
}
