// Package upstream holds what the simulated services have in common: the request and reply they exchange with the
// server, tables that cannot grow without end, and JSON whose members keep their order.
//
// # Design
//
// A service never sees a connection. It turns a [Request] into a [Reply], so the server can cut, delay or replace the
// reply, and a test can ask a service without a socket. Time comes with the request, so one clock governs everything.
package upstream
