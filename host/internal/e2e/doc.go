// Package e2e proves the whole: it builds every program, starts the simulated market, hosts and islands as real
// processes, and asks as a client would. It holds tests alone and knows the rest of the project by its programs, files
// and routes only.
package e2e
