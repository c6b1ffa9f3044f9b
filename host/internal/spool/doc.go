// Package spool keeps records on disk until somebody has confirmed that they have arrived where they were going: what the
// live feed delivers waits here for the store, however long that is away.
//
// # Design
//
// Records are appended to segments, files of a few MiB that are named by the number of their first record, and are read in
// that order. Nothing that was written is ever changed; a segment is removed as a whole, when all of it was confirmed or when
// there is no more room for it. How far was confirmed stands in a small file of its own, written beside its place and
// renamed, and not each time: who reads may be given a record twice, never too late.
//
// A record is in the system's page cache before Append returns, so that it survives the end of this process, by whatever
// signal. A background sync takes it to the disk within Options.Sync, which bounds what a failure of the power can cost;
// nobody waits for that, unless every append is asked to.
//
// Each record carries its length, its number, its time and a checksum (CRC-32C) over all of that and its content. What has
// been torn by a crash or flipped by a disk does not match and is never handed out: reading goes on at the next record whose
// number and checksum are right, and what lies between is counted as lost. No length that is read is believed before it
// fits into the file. A new process never appends to a segment of an old one, so that a torn end stays an end.
//
// There is a library for most of this (tidwall/wal), but none that survives flipped bytes, drops the oldest when there is no
// more room, and goes on when the disk is full: its answer to all three is an error for ever.
package spool
