//go:build !unix

package main

import "github.com/spf13/cobra"

// janitor does nothing where processes cannot inherit a pipe: the next host sweeps.
type janitor struct{}

func startJanitor(*runDir) (*janitor, error) { return &janitor{}, nil }

func (j *janitor) close() error { return nil }

func newJanitor() *cobra.Command { return &cobra.Command{Use: janitorCommand, Hidden: true} }
