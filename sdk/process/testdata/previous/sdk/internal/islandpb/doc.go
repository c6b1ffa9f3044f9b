// Package islandpb is generated from sdk/proto/islands/v1; nothing else lives here. The wire types stop in
// sdk/process, which translates them to and from the nouns of package sdk.
package islandpb
