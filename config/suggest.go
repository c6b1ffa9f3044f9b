package config

import (
	"fmt"
	"slices"
	"strings"
)

// suggest ends a message about an unknown name: with the name that was probably meant, or with all that there are. The
// noun is plural, such as "islands".
func suggest(name, noun string, there []string) string {
	if len(there) == 0 {
		return fmt.Sprintf(" There are no %s.", noun)
	}
	if best := closest(name, there); best != "" {
		return fmt.Sprintf(" Did you mean %q?", best)
	}
	shown := slices.Clone(there[:min(len(there), 20)])
	if len(there) > len(shown) {
		shown = append(shown, "…")
	}
	return fmt.Sprintf(" The %s are: %s.", noun, strings.Join(shown, ", "))
}

// closest returns the name that was probably meant, empty when none is close.
func closest(name string, there []string) string {
	best, least := "", max(1, min(len(name)/3, 4))+1
	for _, candidate := range there {
		if d := distance(strings.ToLower(name), candidate); d < least {
			best, least = candidate, d
		}
	}
	return best
}

// distance is how many letters must be inserted, dropped, changed or swapped with their neighbour to make b of a
// (optimal string alignment). Names longer than any real one are simply far apart.
func distance(a, b string) int {
	const longest = 64
	if len(a) > longest || len(b) > longest {
		return longest
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
