// Watch shows the live feed of a host in a terminal: a table that is redrawn in place, a line per update in a pipe, or
// the messages as they come.
//
//	watch [--url ws://127.0.0.1:3000/ws] [--plain | --json] [symbols…]
//
// # Design
//
//   - Three parts that know nothing of each other: feed is what is known and changes only by the messages applied to it,
//     client is the connection and brings messages, and the rest draws. watch.go ties them.
//   - What arrives before a subscription is answered does not count. The defaults of the feed start at once on connect,
//     and their snapshot is newer than the replay that a returning client is about to get.
//   - A jump in seq is reported and nothing else: the frame behind it holds the newest value of whatever was left out, so
//     the table is right again. Only an epoch that begins without a snapshot leaves the table in doubt; then the
//     connection is given up for one that asks for a snapshot.
//   - Updates come when they like, frames are drawn ten times a second at most, and each asks for the size of the window,
//     which needs no signal and so works everywhere. A terminal that is slow or stopped holds up the drawing, not the feed;
//     a pipe that is full holds up the feed, and the host then does what it does with slow clients.
//   - What the host sent is shown without its control characters: a name must not move the cursor.
package main
