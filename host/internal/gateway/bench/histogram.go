package main

import (
	"math"
	"math/bits"
	"time"
)

// Each power of two has so many buckets.
const (
	fineBits = 5
	fine     = 1 << fineBits
)

// histogram counts durations in buckets whose width grows with them, so that it tells each to one part in 64 and takes any
// number of them in the same memory.
type histogram struct {
	counts [(63 - fineBits + 1) * fine]uint64
	total  uint64
}

// add counts a duration. A negative one counts as none.
func (h *histogram) add(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

// bucketOf returns where a number of nanoseconds counts.
func bucketOf(ns uint64) int {
	if ns < fine {
		return int(ns)
	}
	shift := bits.Len64(ns) - fineBits - 1
	return shift*fine + int(ns>>shift)
}

// middleOf returns the middle of a bucket.
func middleOf(bucket int) time.Duration {
	if bucket < 2*fine {
		return time.Duration(bucket)
	}
	shift := bucket/fine - 1
	return time.Duration(bucket%fine+fine)<<shift + 1<<(shift-1)
}

// quantile returns what the share q of the durations does not exceed, 0 without any. Q is from 0 to 1.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(max(1, math.Ceil(q*float64(h.total))))
	var seen uint64
	for bucket := range h.counts {
		if seen += h.counts[bucket]; seen >= rank {
			return middleOf(bucket)
		}
	}
	return 0
}
