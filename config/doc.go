// Package config turns islands.hcl into checked Go values. It knows HCL and the contract in package sdk; it knows no
// island. What an island may be told is in the island's own manifest, which [Options].Describe fetches without starting
// it, so that "islands validate" needs no network, no server and no running host.
//
// The file reads top to bottom:
//
//	host { … }              where to listen, where to keep data, how long things may take
//	strategy "NAME" { … }   how long an answer is fresh, and how long it may be served after that
//	island "NAME" { … }     a program to run: its layer, its binary, its settings
//	request { … }           which islands answer which question, in which order
//	broadcast { … }         what the live feed carries, where it comes from, what its clients may take
//
// # Design
//
// Everything that is wrong is said at once, in the order of the file, each with its line, its source and a way out. So
// reading goes on after a mistake wherever what follows can still be judged, and [Diagnostics] is one error that holds
// them all. The exception is a file that does not parse: what follows a syntax error means nothing.
//
// Blocks are decoded by hand, one small reader per type of attribute, rather than by reflection over tagged structs:
// the values handed to the host are plain Go, and every message can say what it wanted, such as a duration in quotes.
//
// The host block is read first, with functions alone; its listen, data_dir and environment are then variables for all
// other blocks. Nothing else is a variable: a file in which islands refer to each other could not be read top to bottom.
// There are no loops for the same reason, and because they are the one part of HCL's expressions that takes time out of
// proportion to its length. The remaining bounds (a megabyte, nesting, operators, what a function may return) keep a
// damaged or hostile file from costing more than a moment; [Parse] of any bytes at all ends, without a panic.
//
// A variable of the environment that is set to nothing counts as unset, since that is what an empty line in a compose
// or unit file is meant to say.
//
// A disabled island is kept in the list, for an operator who asks what there is, but neither its binary nor its config
// block needs to make sense: its environment is, as a rule, the one that is not there. Names in the request and
// broadcast blocks may be those of disabled islands and then drop out, so that taking an island out is one word in one
// place.
//
// A secret never shows. Diagnostics quote the file, so the quoted text is masked wherever a secret may stand: in
// settings that the manifest calls secret, in those it does not know (a misspelt api_key is still a key), in an island's
// env, in whatever has a name like a secret's, and in the user information of a URL. HCL would print the values of the
// variables in a failing expression; that is taken out of every diagnostic. [Island] hides its settings when it is
// printed, logged or marshalled.
//
// A cache, a store and a coordinator have one owner each, because two memories that differ are worse than none: a second
// enabled island with such a role is a mistake even when nothing refers to it.
//
// What clients of the live feed may take is bounded in every composition, one without a clients or a broadcast block
// included. Durations that lie within each other are compared as they come out, so a default may be what is too long, and
// the message says so. Two defaults follow their neighbour instead, because an operator who sets the one does not think of
// the other: max_per_address is never above max_connections, nor silence above half of poll. Origins become what browsers
// send, so that a comparison of text decides.
//
// Who may say for whom it speaks is a list of networks and the one field they say it in: a proxy that writes the one field
// passes the other on as a client wrote it. How many connections there may be is settled at the end, since those of the
// live feed are among them. A certificate is tried where binaries are looked at, and not where a CLI only wants to know
// where the data is: that has to work while a certificate is being replaced.
//
// [Island].Fingerprint covers what makes a process what it is, its settings and environment included. Whether to restart
// and how to ask for health belong to the host, are comparable by themselves, and can change under a running process.
package config
