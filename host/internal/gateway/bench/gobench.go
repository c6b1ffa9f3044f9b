package main

import (
	"strconv"
	"strings"
)

// readings are what Go's benchmarks printed of one of them, by run.
type readings struct {
	time, bytes, allocations []float64 // ns, B and count per operation
}

// parseBenchmarks reads the lines of Go's benchmarks, by name without the number of processors. What it does not
// understand it leaves out.
func parseBenchmarks(text string) map[string]readings {
	out := make(map[string]readings)
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) < 4 || !strings.HasPrefix(words[0], "Benchmark") {
			continue
		}
		name := words[0]
		if at := strings.LastIndexByte(name, '-'); at > 0 {
			if _, err := strconv.Atoi(name[at+1:]); err == nil {
				name = name[:at]
			}
		}
		r := out[name]
		for i := 2; i+1 < len(words); i += 2 {
			value, err := strconv.ParseFloat(words[i], 64)
			if err != nil {
				continue
			}
			switch words[i+1] {
			case "ns/op":
				r.time = append(r.time, value)
			case "B/op":
				r.bytes = append(r.bytes, value)
			case "allocs/op":
				r.allocations = append(r.allocations, value)
			}
		}
		out[name] = r
	}
	return out
}
