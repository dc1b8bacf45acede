// Package daemon serves a queue of downloads over HTTP: to scripts by an API of its own, to the clients of
// aria2 and to a web page by handlers that it is given. It also has the client of the API.
//
// # Access
//
// A request must name the daemon as the user does (Host), must not come from another web page (Origin), and
// must have the secret, or the session of a page that somebody with the secret has opened. The first
// two are checked for each request, also of the mounted handlers.
//
//	Host     a loopback name, the address that the connection has reached, or one of Options.Hosts
//	Origin   none, the origin of the own page, an extension of a browser, or one of Options.Origins
//	secret   Authorization: Bearer SECRET; or the session cookie, and then for a change also X-Pawl: 1
//
// # Limits
//
// Connections, header, body, depth of JSON, streams of events, time of each. When there are too many
// connections, the oldest without a right secret is closed for a new one, so that a client without the secret
// cannot keep out the user. All limits are constants in limits.go.
//
// # Durability
//
// An answer that reports a change is sent when the change is durable. A request waits for one
// transaction, however many tasks it changes.
package daemon
