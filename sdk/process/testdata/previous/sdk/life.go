package sdk

import "context"

// Life answers Health, Metrics and Shutdown for an island that holds nothing of its own. Embed it, and override what
// there is more to say about.
type Life struct{}

// Health is ok.
func (Life) Health(context.Context) Health { return Healthy() }

// Metrics are none.
func (Life) Metrics(context.Context) (Metrics, error) { return nil, nil }

// Shutdown has nothing to release.
func (Life) Shutdown(context.Context) error { return nil }
