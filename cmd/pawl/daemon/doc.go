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
// The constants in limits.go bound the number of connections and of streams of events, the bytes of a header
// and a body, the depth of JSON, and the time of each. When there are too many connections, the oldest without
// a right secret is closed for a new one, so that a client without the secret cannot keep out the user.
//
// # Durability
//
// An answer that reports a change is sent when the change is durable. A request waits for one
// transaction, however many tasks it changes.
//
// # Files
//
//	server.go      Options and Server: the handler of all requests
//	origin.go      Host and Origin; auth.go, the secret and sessions; limits.go, limits
//	api.go         the requests of the API; shapes.go, their JSON; tasks.go, tasks
//	events.go      streams of events to clients; hub.go, the events of the queue
//	find.go        the secret and the address in the state directory
//	client.go      Client
package daemon
