package upstream

import (
	"context"

	"github.com/service-islands/islands/sdk"
)

// Life answers Health, Metrics and Shutdown for a source that asks one upstream and holds nothing else. Embed it where
// sdk.Life would be, and set Client in Initialize. Methods of the source's own take the place of these.
type Life struct {
	// Client is nil before Initialize; the island is failed until then.
	Client *Client
}

// Health is that of the upstream: degraded while it fails or asked for silence. It is never failed for it, because to
// restart the source would mend nothing.
func (l *Life) Health(context.Context) sdk.Health {
	if l.Client == nil {
		return sdk.Failed("not initialized")
	}
	part := l.Client.Health()
	if part.Status != sdk.StatusOK {
		return sdk.Degraded(part.Reason, part)
	}
	return sdk.Healthy(part)
}

// Metrics are those of the client.
func (l *Life) Metrics(context.Context) (sdk.Metrics, error) {
	if l.Client == nil {
		return nil, nil
	}
	return l.Client.Metrics(), nil
}

// Shutdown closes the client.
func (l *Life) Shutdown(context.Context) error {
	if l.Client != nil {
		l.Client.Close()
	}
	return nil
}
