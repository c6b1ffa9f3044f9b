// Bench measures what the host promises about speed, on the shipped islands.hcl and a simulated market: what a warm report
// costs next to the least that fiber can do, what a cold one waits for, how soon a host is ready, how soon an island that
// was killed answers again, what a crowd in front of one cold report costs, what a flood of cold requests does to a warm
// client, and what it costs to send one update to thousands of clients.
//
// # Design
//
// It lies below the gateway because the ceiling of a warm report is a bare fiber server, and fiber stays in there. That
// server is this program again, in another process, so that both sides are measured alike.
//
// The figure that decides is the server's processor time per request, user and system together: it hardly moves when the
// machine is busy, while requests per second do. It is read from the process's own clock in nanoseconds. Host and bare
// server take turns for short phases, and the ratio is taken within each pair of neighbours, so that a machine that slows
// down slows both sides of a ratio. Where there are two processors, the server under load has one of them and the load
// the other.
//
// The bare server has nine routes with a parameter, no middleware, no timeouts, and writes the header fields of the host's
// answer with their values, in the cheapest way that the library has. A ceiling that flatters the host would say nothing.
//
// A flood asks for another key each time, from many connections at a pace that does not wait for answers that are late, and a
// warm client asks beside it, one request after the other, from a thread of its own. Rounds without and with the flood take
// turns. The load has the other processor and more of it to do with the flood, so that a part of what the warm client waits
// longer is the load's own; the ratio is an upper bound. Most of what the host turns away costs no call to an upstream.
//
// The fan-out is measured on stations: servers, each in a process of its own, that hold a source of updates and are driven
// over their standard input. Beside the host's own feed stand the least that a server can do, a loop that writes to one
// connection after the other, and what others make, the centrifuge library, with its defaults and with a write delay; the
// better of the two on a load is what the host is held against. Each has an audience, which is this program again:
// thousands of sockets and one thread that looks for nothing but stamps, so that it is not what is measured; what it costs
// is shown all the same. A stamp says when an update was published, on the clock that all processes of a machine share, and
// which one it was, so that an audience knows its age and what is missing. It is made right before the update is handed to
// the server. One that is due while the server still takes the one before is left out, and what did not go out is seen in
// the deliveries per second, not in their age.
//
// Memory per connection is read once a station has collected its garbage twice and given back what was free: how soon that
// happens by itself depends on what else it does. Clients that never read have small windows, as over a network; loopback
// would hold megabytes for them before the server could know.
//
// A slow result is a result: it is shown beside its aim, and the program ends with 0. It ends with 1 when something could
// not be measured, and says what.
//
// Only Linux tells the processor time of another process in a way that is worth showing; elsewhere the rest is measured.
package main
