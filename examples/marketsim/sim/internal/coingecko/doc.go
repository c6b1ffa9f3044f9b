// Package coingecko simulates the CoinGecko API, version 3: the host that serves keyless callers and demo keys, and the
// host for pro keys.
//
// # Design
//
// Bodies are computed for the beginning of their cache window ([upstream.Slot]), so they are identical throughout it
// and nothing is stored.
//
// The service's habits that break clients are kept: almost every number may be null, whole numbers come as 88123,
// 88123.5 or 19970000.0, stamps of charts jitter and their last two may be swapped, a candle carries its close time and
// the last one's lies in the future, errors have four shapes, and a space after a comma in ids drops what follows.
package coingecko
