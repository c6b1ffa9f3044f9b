// Bench measures what the host promises about speed, on the shipped islands.hcl and a simulated market: what a warm report
// costs next to the least that fiber can do, what a cold one waits for, how soon a host is ready, how soon an island that
// was killed answers again, and what a crowd in front of one cold report costs.
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
// A slow result is a result: it is shown beside its aim, and the program ends with 0. It ends with 1 when something could
// not be measured, and says what.
//
// Only Linux tells the processor time of another process in a way that is worth showing; elsewhere the rest is measured.
package main
