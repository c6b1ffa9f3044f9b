package observe

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The sketch's buckets: subBuckets to each doubling of nanoseconds from 1<<firstExponent to 1<<lastExponent, one bucket
// for what is shorter and one for what is longer.
const (
	firstExponent = 10
	lastExponent  = 37
	subBits       = 4
	subBuckets    = 1 << subBits
	bucketCount   = (lastExponent-firstExponent)*subBuckets + 2
)

// sketch counts durations in buckets whose width grows with the duration. The zero value is ready; all methods may be
// called concurrently.
type sketch struct {
	buckets [bucketCount]atomic.Uint64
	sum     atomic.Uint64 // nanoseconds
	longest atomic.Int64  // nanoseconds
}

// add counts one duration.
func (s *sketch) add(d time.Duration) {
	d = max(d, 0)
	s.buckets[bucketOf(d)].Add(1)
	s.sum.Add(uint64(d))
	for {
		longest := s.longest.Load()
		if int64(d) <= longest || s.longest.CompareAndSwap(longest, int64(d)) {
			return
		}
	}
}

// bucketOf returns the index of the bucket that holds a duration. Buckets include their upper edge, as the buckets of a
// Prometheus histogram do.
func bucketOf(d time.Duration) int {
	if d <= 1<<firstExponent {
		return 0
	}
	n := uint64(d) - 1
	exponent := bits.Len64(n) - 1
	if exponent >= lastExponent {
		return bucketCount - 1
	}
	return 1 + (exponent-firstExponent)*subBuckets + int(n>>(exponent-subBits))&(subBuckets-1)
}

// upperEdge returns the longest duration that a bucket holds; the last bucket has none.
func upperEdge(bucket int) time.Duration {
	switch bucket {
	case 0:
		return 1 << firstExponent
	case bucketCount - 1:
		return math.MaxInt64
	}
	exponent, sub := firstExponent+(bucket-1)/subBuckets, (bucket-1)%subBuckets
	return time.Duration(subBuckets+sub+1) << (exponent - subBits)
}

// counts is a sketch at one moment.
type counts struct {
	buckets [bucketCount]uint64
	total   uint64
	sum     time.Duration
	longest time.Duration
}

// read copies the sketch. Durations that arrive meanwhile may or may not be in it.
func (s *sketch) read() *counts {
	c := &counts{sum: time.Duration(s.sum.Load()), longest: time.Duration(s.longest.Load())}
	for i := range s.buckets {
		n := s.buckets[i].Load()
		c.buckets[i] = n
		c.total += n
	}
	return c
}

// quantile returns the duration below which a share q of (0, 1] lies, and false when nothing was counted.
func (c *counts) quantile(q float64) (time.Duration, bool) {
	if c.total == 0 {
		return 0, false
	}
	rank := max(uint64(math.Ceil(q*float64(c.total))), 1)
	var seen uint64
	for i, n := range &c.buckets {
		seen += n
		if seen < rank {
			continue
		}
		if i == bucketCount-1 {
			return c.longest, true
		}
		lower := time.Duration(0)
		if i > 0 {
			lower = upperEdge(i - 1)
		}
		return min((lower+upperEdge(i))/2, c.longest), true
	}
	return c.longest, true
}
