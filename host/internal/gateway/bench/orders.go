package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// errAlone is why a child ends when nobody gives it orders any more.
var errAlone = errors.New("the input has ended")

// takeOrders reads what a child is asked to do, values of JSON one after the other. The context that it returns ends with
// the input: whoever started the child holds the other end open, so that it does not outlive them.
func takeOrders[T any](ctx context.Context, in io.Reader) (context.Context, <-chan T) {
	ctx, end := context.WithCancelCause(ctx)
	orders := make(chan T)
	go func() { // Ends with its input, at the latest with the process.
		input := json.NewDecoder(in)
		for {
			var order T
			if err := input.Decode(&order); errors.Is(err, io.EOF) {
				end(errAlone)
				return
			} else if err != nil {
				end(fmt.Errorf("read an order: %w", err))
				return
			}
			select {
			case orders <- order:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ctx, orders
}

// ended returns why the context of takeOrders ended, as far as that is an error.
func ended(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, errAlone) && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return nil
}
