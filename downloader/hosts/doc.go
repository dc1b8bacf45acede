// Package hosts counts the connections to HTTP servers. It decides how many connections a
// server grants, until when it must be left alone, and remembers the number for later runs. It opens
// no connection itself: its callers ask before they open one, and report refusals.
//
// Three numbers limit the connections to a [Host]:
//
//   - the ceiling, which the user sets;
//   - the share of this process, if several processes use the host (see [Address]);
//   - the number that the server grants, which is known only after it has refused one.
//
// # Refusals
//
// A server that refuses a connection may have a limit, or may be overloaded for a moment. So a
// refusal lowers the granted number to the connections that are left, and no further one is
// opened for a penalty time, which doubles with each refusal. After that, one connection more
// than granted is tried. If all of several connections fail at once and the server then responds
// again, it may have stood still, or it may have banned us for their number. Both look the same. So
// half of them are used from then on, and more are tried later.
//
// # First and further connections
//
// A download waits for its first connection as long as it must ([Host.Acquire]), but not for
// further ones ([Host.TryOpen]). While a download waits, no other one opens further
// connections, and downloads that have several give some away.
package hosts
