package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/service-islands/islands/config"
	"github.com/service-islands/islands/sdk/process"
)

func newLock() *cobra.Command {
	var path string
	var write bool
	cmd := &cobra.Command{
		Use: "lock", Short: "Show the checksum of every enabled island's binary, or write them into the configuration",
		Long: `Lock shows the SHA-256 of the binary of every island that is enabled, as the environment is now, and whether the
configuration has it. A host starts no binary that has another checksum than the configuration gives it.

With --write the checksums are put into the configuration; everything else in it stays as it is. That says that you trust
the binaries as they are: build or verify them first. No binary is executed.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			src, err := os.ReadFile(path)
			if err != nil {
				return usageError{fmt.Errorf("read configuration: %w", err)}
			}
			locked, sums, err := config.Lock(src, path, config.Options{}, checksumOf)
			if err != nil {
				return usageError{err}
			}
			if write && !bytes.Equal(src, locked) {
				if err := replaceFile(path, locked); err != nil {
					return fmt.Errorf("write configuration: %w", err)
				}
			}
			return showChecksums(cmd.OutOrStdout(), sums, write)
		},
	}
	cmd.Flags().StringVar(&path, "config", defaultConfig, "the configuration")
	cmd.Flags().BoolVar(&write, "write", false, "write the checksums into the configuration")
	return cmd
}

// checksumOf is the checksum of a binary that a host would start.
func checksumOf(path string) (string, error) {
	image, err := process.Seal(path, "")
	if err != nil {
		return "", err
	}
	defer image.Close()
	return image.SHA256(), nil
}

// showChecksums prints the checksum of each island and what has become of it.
func showChecksums(w io.Writer, sums []config.Checksum, written bool) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "ISLAND\tSHA256\tCONFIGURATION")
	for _, s := range sums {
		state := "has it"
		switch {
		case s.Written == s.SHA256:
		case written && s.Written == "":
			state = "has it now"
		case written:
			state = "has it now, had " + s.Written
		case s.Written == "":
			state = "has none"
		default:
			state = "has " + s.Written
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", s.Island, s.SHA256, state)
	}
	return table.Flush() // What was written before is still in it, with its error.
}

// replaceFile puts a content in the place of a file's, all of it or nothing, and keeps the file's mode and owner. A symbolic
// link stays one.
func replaceFile(path string, content []byte) (err error) {
	path, err = filepath.EvalSymlinks(path)
	if err != nil {
		return err
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	next, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = next.Close()
			_ = os.Remove(next.Name())
		}
	}()
	if _, err := next.Write(content); err != nil {
		return err
	}
	if err := ownAs(next, info); err != nil {
		return err
	}
	if err := next.Chmod(info.Mode().Perm()); err != nil {
		return err
	}
	if err := next.Sync(); err != nil {
		return err
	}
	if err := next.Close(); err != nil {
		return err
	}
	return os.Rename(next.Name(), path)
}
