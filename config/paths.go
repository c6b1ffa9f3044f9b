package config

import (
	"path/filepath"
	"strings"
)

// paths reads a list of files and folders that an island may reach. A folder to write to is never the data folder, or one
// around it: the host keeps its sockets and crash reports there, for itself.
func (l *loader) paths(r reader, attr string) []string {
	words, _ := r.names(attr)
	var out []string
	for _, w := range words {
		switch {
		case w.text == "" || strings.ContainsRune(w.text, 0):
			l.problem(w.at, "Bad folder", "%q wants the paths of files and folders, not %q.", attr, w.text)
		case attr == "writes" && around(w.text, l.cfg.Host.DataDir):
			l.problem(w.at, "Too much to write",
				"%q holds what the host keeps for itself. Give the island a folder of its own, such as \"${host.data_dir}/store\", or set confine = false.", w.text)
		default:
			out = append(out, w.text)
		}
	}
	return out
}

// around reports whether a folder is another one or lies around it.
func around(folder, other string) bool {
	outer, errOuter := filepath.Abs(folder)
	inner, errInner := filepath.Abs(other)
	if errOuter != nil || errInner != nil {
		return false
	}
	relative, err := filepath.Rel(outer, inner)
	return err == nil && relative != ".." && !strings.HasPrefix(relative, ".."+string(filepath.Separator))
}
