package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
)

// What a terminal obeys. A frame is shown at once where it is understood as one, and piece by piece elsewhere.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // another screen, without a cursor.
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	beginFrame  = "\x1b[?2026h\x1b[H"
	endFrame    = "\x1b[J\x1b[?2026l"
	clearScreen = "\x1b[2J"
	clearLine   = "\x1b[2K"
)

const (
	frameTime = 100 * time.Millisecond // between two frames when something changes,
	agingTime = time.Second            // and when only ages do.
)

// screen draws in place on a terminal.
type screen struct {
	out     io.Writer
	size    func() (width, height int)
	palette palette
	view    func() (v view, version int) // another version when something changed.
}

// run draws until the context ends. The terminal is as it was when run returns.
func (s *screen) run(ctx context.Context) (err error) {
	defer func() {
		if _, leave := io.WriteString(s.out, leaveScreen); err == nil && leave != nil {
			err = fmt.Errorf("%w: %w", errOutput, leave)
		}
	}()
	if _, err := io.WriteString(s.out, enterScreen); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	frames := time.NewTicker(frameTime)
	defer frames.Stop()
	var drawn time.Time
	var version, width, height int
	for {
		v, newest := s.view()
		w, h := s.size()
		if resized := w != width || h != height; resized || newest != version || v.now.Sub(drawn) >= agingTime {
			if err := s.frame(v, w, h, resized); err != nil {
				return err
			}
			drawn, version, width, height = v.now, newest, w, h
		}
		select {
		case <-ctx.Done():
			return nil
		case <-frames.C:
		}
	}
}

// frame draws one. Each line is cleared before it is written: after a line of full width there is no place to do it.
func (s *screen) frame(v view, width, height int, resized bool) error {
	var b strings.Builder
	b.WriteString(beginFrame)
	if resized {
		b.WriteString(clearScreen)
	}
	lines := draw(v, width, height, s.palette)
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n")
		}
		b.WriteString(clearLine + line)
	}
	if len(lines) < height {
		b.WriteString("\r\n")
		b.WriteString(endFrame)
	} else {
		b.WriteString(strings.TrimPrefix(endFrame, "\x1b[J"))
	}
	if _, err := io.WriteString(s.out, b.String()); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}
