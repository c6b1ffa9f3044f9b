package main

import (
	"hash/fnv"
	"os"
	"path/filepath"
	"slices"

	"github.com/service-islands/islands/config"
)

// The numbers of users and groups that islands run as. Systemd takes the users that it makes up for services from the same
// ones, and checks that nobody has them; distributions give them to nobody.
const (
	firstUser = 61184
	lastUser  = 65519
)

// usersOf gives each confined island the number of a user, when the host can make processes of other users. The number
// comes of the island's name and the data folder: it is the same in every life of the host, since the island's files belong
// to it, and another one for another host's island of that name.
func usersOf(cfg *config.Config, dir string) map[string]uint32 {
	if os.Geteuid() != 0 || cfg.Host.IslandUsers == config.UsersOff {
		return nil
	}
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	var names []string
	for _, island := range cfg.Islands {
		if island.Confine {
			names = append(names, island.Name)
		}
	}
	return numbered(dir, names)
}

// numbered gives each name a number of its own. Names that would have the same one are told apart in the order of the
// alphabet, so that the file's order does not matter.
func numbered(dir string, names []string) map[string]uint32 {
	const all = lastUser - firstUser + 1
	names = slices.Sorted(slices.Values(names))
	users := make(map[string]uint32, len(names))
	taken := make(map[uint32]bool, len(names))
	for _, name := range names {
		hash := fnv.New32a()
		_, _ = hash.Write([]byte(dir + "\x00" + name)) // A hash takes everything.
		user := firstUser + hash.Sum32()%all
		for taken[user] && len(taken) < all {
			user = firstUser + (user-firstUser+1)%all
		}
		taken[user], users[name] = true, user
	}
	return users
}
