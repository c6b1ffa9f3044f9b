package main

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

// settings are what the config block may hold.
type settings struct {
	MaxMemory  sdk.Size      `setting:"max_memory" default:"64MiB" doc:"Bound on what L1 holds, keys and overhead included; at least 64KiB."`
	MaxEntries int           `setting:"max_entries" default:"100000" doc:"Bound on the number of entries in L1; at least 1."`
	MaxValue   sdk.Size      `setting:"max_value" default:"8MiB" doc:"Values larger than this are not remembered, and messages larger than this are refused."`
	RedisURL   sdk.Secret    `setting:"redis_url" default:"" doc:"L2, as redis://[USER]:PASSWORD@HOST:PORT/DB or rediss:// for TLS; empty for none."`
	Namespace  string        `setting:"namespace" default:"islands:" doc:"Prefix of every key in Redis; hosts with the same one share what they remember. 1 to 64 printable characters without spaces or braces."`
	L2Timeout  time.Duration `setting:"l2_timeout" default:"250ms" doc:"Bound on one exchange with Redis; from 10ms to 10s."`
}

func manifest() sdk.Manifest {
	return sdk.Manifest{
		Name:        "cache",
		Version:     "1.0.0",
		Layer:       sdk.LayerInfrastructure,
		Description: "Remembers values in memory and in Redis, and lets hosts that share a Redis agree.",
		Settings:    sdk.SettingsOf(settings{}),
	}
}

// silent keeps go-redis from writing to the standard error on its own; every error it returns is handled here.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}

func main() {
	redis.SetLogger(silent{})
	process.Serve(manifest(), newCache())
}
