// Host is the host's half of the SDK of the previous minor. It launches the island of its first argument with its socket below
// the second, calls it as a host does, and prints what it has heard as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/service-islands/islands/sdk"
	"github.com/service-islands/islands/sdk/process"
)

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(path, runDir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	described, err := process.Describe(ctx, path, "")
	if err != nil {
		return err
	}
	p, err := process.Launch(ctx, process.LaunchOptions{
		Name: "actor", Path: path, RunDir: runDir, StartTimeout: 30 * time.Second,
		Env:    map[string]string{"GORACE": "atexit_sleep_ms=0"},
		Logger: hclog.New(&hclog.LoggerOptions{Output: os.Stderr}),
	})
	if err != nil {
		return err
	}
	defer p.Kill()
	if err := p.Island().Initialize(ctx, sdk.Config{Name: "actor", Values: map[string]any{"token": "hunter2-hunter2"}}); err != nil {
		return err
	}
	entries, err := p.Island().Recall(ctx, []string{"protocol"})
	if err != nil {
		return err
	}
	_, refused := p.Island().Recall(ctx, []string{"refuse"})
	health := p.Island().Health(ctx)
	if err := p.Stop(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(map[string]any{
		"speaks":    sdk.Protocol{Major: sdk.ProtocolMajor, Minor: sdk.ProtocolMinor},
		"described": described.Protocol, "manifest": p.Manifest().Protocol, "roles": p.Manifest().Roles,
		"answer": string(entries[0].Value), "refused": sdk.KindOf(refused).String(), "healthy": health.Status == sdk.StatusOK,
	})
}
