package sdk

import "context"

// requestIDKey is the context key of the request id.
type requestIDKey struct{}

// WithRequestID returns a context that carries the id of the client's request. The id crosses the wire with every call;
// an island's logger adds it to what it logs with that context.
func WithRequestID(ctx context.Context, id string) context.Context {
	return context.WithValue(ctx, requestIDKey{}, id)
}

// RequestID returns the id of the client's request that a call serves, or "" when it serves none.
func RequestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}
