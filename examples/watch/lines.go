package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// lines shows the feed as lines: what there is on out, how the feed fares on errs.
type lines struct {
	out, errs io.Writer
	raw       bool // the messages as they came, instead of lines for people.
}

// message writes all lines of a message at once.
func (l *lines) message(raw []byte, n news, at time.Time) error {
	for _, note := range n.notes {
		fmt.Fprintln(l.errs, note)
	}
	for _, h := range n.holes {
		fmt.Fprintln(l.errs, h)
	}
	var b bytes.Buffer
	if l.raw {
		if err := json.Compact(&b, raw); err != nil { // A line each, however they were laid out.
			return fmt.Errorf("a message that cannot be read: %w", err)
		}
		b.WriteByte('\n')
	} else {
		write(&b, n, at)
	}
	if b.Len() == 0 {
		return nil
	}
	if _, err := l.out.Write(b.Bytes()); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

// write appends a line for each value that changed.
func write(b *bytes.Buffer, n news, at time.Time) {
	stamp := at.Local().Format(time.TimeOnly)
	for _, r := range n.quotes {
		fmt.Fprintf(b, "%s %-8s %14s %s %8s %9s  %s", stamp, printable(r.Symbol), r.Price, mark(r.trend),
			percent(r.Change24h), short(r.Volume24h), printable(r.Source))
		if r.Stale || at.Sub(r.AsOf) > staleAfter {
			fmt.Fprintf(b, " stale, %s old", age(r.AsOf, at))
		}
		b.WriteByte('\n')
	}
	if n.global != nil {
		fmt.Fprintf(b, "%s %s\n", stamp, globalLine(*n.global))
	}
	for _, i := range n.islands {
		fmt.Fprintf(b, "%s %s\n", stamp, i)
	}
}

// linked writes how the connection is.
func (l *lines) linked(k link, now time.Time) {
	if k.up {
		fmt.Fprintln(l.errs, "connected")
	} else {
		fmt.Fprintf(l.errs, "%s; reconnecting in %v\n", k.reason, k.retry.Sub(now).Round(time.Millisecond))
	}
}
