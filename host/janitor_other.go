//go:build !unix

package main

import (
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/cobra"
)

// janitor does nothing where processes cannot inherit a pipe: the next host sweeps, and what islands have started stays when
// their host is killed.
type janitor struct{}

func startJanitor(*runDir, hclog.Logger) (*janitor, error) { return &janitor{}, nil }

func (j *janitor) watch(int) (gone func()) { return func() {} }

func (j *janitor) close() error { return nil }

func newJanitor() *cobra.Command { return &cobra.Command{Use: janitorCommand, Hidden: true} }
