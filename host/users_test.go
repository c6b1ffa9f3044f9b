package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"

	"github.com/service-islands/islands/config"
)

func TestUsersOfIslands(t *testing.T) {
	t.Parallel()
	names := []string{"cache", "store", "source"}
	users := numbered("/data", names)
	reversed := slices.Clone(names)
	slices.Reverse(reversed)
	if again := numbered("/data", reversed); !maps.Equal(users, again) {
		t.Errorf("in another order: %v, %v", users, again)
	}
	if more := numbered("/data", append(names, "another")); more["cache"] != users["cache"] || more["store"] != users["store"] {
		t.Errorf("with another island: %v, %v", users, more)
	}
	if other := numbered("/other", names); maps.Equal(users, other) {
		t.Errorf("another host has the same: %v", other)
	}
	var many []string
	for i := range 1000 { // Some of them would have the same.
		many = append(many, fmt.Sprint("island-", i))
	}
	seen := map[uint32]string{}
	for name, user := range numbered("/data", many) {
		if user < firstUser || user > lastUser || seen[user] != "" {
			t.Fatalf("%s is user %d, as is %q", name, user, seen[user])
		}
		seen[user] = name
	}
}

func TestWhoHasAUserOfItsOwn(t *testing.T) {
	t.Parallel()
	cfg := &config.Config{Islands: []config.Island{{Name: "a", Confine: true}, {Name: "b"}}}
	root := os.Geteuid() == 0
	if users := usersOf(cfg, "data"); (users["a"] != 0) != root || users["b"] != 0 {
		t.Errorf("%v", users)
	}
	cfg.Host.IslandUsers = config.UsersOff
	if users := usersOf(cfg, "data"); len(users) > 0 {
		t.Errorf("off: %v", users)
	}
}
