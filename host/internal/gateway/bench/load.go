package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// load is a number of clients that ask for the same again and again.
type load struct {
	clients []*client
	request []byte
	body    []byte // what they must get
}

// newLoad connects the clients. It lasts for as long as a run may take.
func newLoad(ctx context.Context, address, path string, body []byte, connections int, lasts time.Duration) (*load, error) {
	l := &load{request: request(address, path), body: body}
	for range connections {
		c, err := connect(ctx, address, time.Now().Add(lasts))
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		l.clients = append(l.clients, c)
	}
	return l, nil
}

// close ends the connections.
func (l *load) close() error {
	var errs []error
	for _, c := range l.clients {
		errs = append(errs, c.close())
	}
	return errors.Join(errs...)
}

// run lets all clients ask for the given time and returns how many answers they got, and how long that took.
func (l *load) run(ctx context.Context, lasts time.Duration) (answers int, took time.Duration, err error) {
	var stop atomic.Bool
	var total atomic.Int64
	var clients sync.WaitGroup
	failures := make(chan error, len(l.clients))
	began := time.Now()
	for _, c := range l.clients {
		clients.Go(func() {
			n := 0
			for !stop.Load() {
				if err := l.ask(c); err != nil {
					failures <- err
					stop.Store(true)
					break
				}
				n++
			}
			total.Add(int64(n))
		})
	}
	select {
	case <-ctx.Done():
	case <-time.After(lasts):
	}
	stop.Store(true)
	clients.Wait()
	took = time.Since(began)
	select {
	case err := <-failures:
		return 0, 0, err
	default:
	}
	if total.Load() == 0 {
		return 0, 0, errors.New("no answer came")
	}
	return int(total.Load()), took, ctx.Err()
}

// ask makes one request and checks the answer.
func (l *load) ask(c *client) error {
	a, err := c.do(l.request)
	switch {
	case err != nil:
		return err
	case a.status != http.StatusOK:
		return fmt.Errorf("status %d: %.200s", a.status, a.body)
	case !bytes.Equal(a.body, l.body):
		return fmt.Errorf("another body than before: %.200s", a.body)
	}
	return nil
}
