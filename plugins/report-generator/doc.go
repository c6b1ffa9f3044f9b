// Command report-generator is the island that turns market data into reports.
//
// # Design
//
// The island keeps three things apart, each a package of its own: indicator computes streams of figures and knows no
// market; analysis decides what a series of candles can be asked and what its figures mean; report gathers a report from
// its request and writes it down. The command itself is only the life around them: settings, health, counters.
//
// It holds no data, opens no connection and asks nobody: everything a report says was handed over with the request. So
// any number of them can run beside each other, and a restart loses nothing but the counters.
package main
