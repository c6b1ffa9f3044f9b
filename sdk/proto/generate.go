// Package proto holds the contract as protobuf, for authors in every language. The Go code generated from it is private
// to the SDK: Go authors use package sdk, which says the same in plain Go.
package proto

//go:generate ../../.tools/bin/buf generate
