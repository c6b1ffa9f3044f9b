// Package rfc6455 reads and makes the frames of a WebSocket server, in as little memory as a connection that only listens
// should cost.
//
// # Design
//
// The handshake is gofiber/contrib/websocket's. What follows is read here, because the library's connection keeps the HTTP
// server's buffers and its own for as long as it lives, which is more than everything else an idle client needs, and takes
// text that is not UTF-8. A [Reader] has 256 bytes of its own; a message gets memory when it comes.
//
// Frames to clients are plain bytes, made once and shared by all who are sent them: [AppendFrame] and [Deflate] know
// nothing of connections.
//
// Compression is permessage-deflate (RFC 7692) without context takeover on either side, which is what lets one compressed
// frame serve every client. [AcceptsDeflate] turns down offers that demand a window of the server.
package rfc6455
