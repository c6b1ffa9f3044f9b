package config

import (
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// live are the settings that a running host takes over. What is not listed takes a restart, so that a new setting that
// nobody thought of is not taken over by halves.
var live = []string{
	"host.environment", // It says what a file must have, and what log.format is where it is not set.
	"host.island_users", "host.log.level", "host.negative_ttl", "host.shutdown_timeout", "host.watch",
	"broadcast.symbols", "broadcast.sources", "broadcast.poll", "broadcast.silence",
}

// NeedsRestart lists the settings in which another configuration differs from the one that a host runs with and that it
// takes over at its next start alone, by the names that they have in the file, such as "host.listen", in order; never nil. What is
// not listed a running host can take over: all islands, strategies, the request block, the rest of the others.
func (c *Config) NeedsRestart(other *Config) []string {
	names := []string{}
	differing("host", reflect.ValueOf(c.Host), reflect.ValueOf(other.Host), &names)
	differing("broadcast", reflect.ValueOf(c.Broadcast), reflect.ValueOf(other.Broadcast), &names)
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(live, name) })
	slices.Sort(names)
	return names
}

// differing adds the names of the settings in which two values of one type differ.
func differing(name string, a, b reflect.Value, names *[]string) {
	if a.Kind() != reflect.Struct {
		if !reflect.DeepEqual(a.Interface(), b.Interface()) {
			*names = append(*names, name)
		}
		return
	}
	for i := range a.NumField() {
		differing(name+"."+attributeName(a.Type().Field(i).Name), a.Field(i), b.Field(i), names)
	}
}

// attributeName is how the file calls a field: NegativeTTL is negative_ttl.
func attributeName(field string) string {
	var out strings.Builder
	letters := []rune(field)
	for i, r := range letters {
		begins := i > 0 && unicode.IsUpper(r) &&
			(unicode.IsLower(letters[i-1]) || (i+1 < len(letters) && unicode.IsLower(letters[i+1])))
		if begins {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}
