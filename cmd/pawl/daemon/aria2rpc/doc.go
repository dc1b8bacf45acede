// Package aria2rpc speaks aria2's JSON-RPC (aria2c(1), section RPC INTERFACE) for a queue of pawl, so that the
// clients of aria2 can use it. It is a translation: package queue has the state.
//
// # Same as aria2
//
// A GID is the ID of a task. Methods, keys, messages of errors and HTTP statuses are as in aria2 1.37. As aria2
// does, the package accepts requests that JSON-RPC 2.0 forbids, because clients send them: with any "jsonrpc", with
// any id, and by GET with parameters in base64. Notifications go to every WebSocket, also before it has shown the
// secret, because some clients only listen; a notification contains nothing but an ID.
//
// # Different from aria2
//
//   - A download that is in the queue already is not added twice; addUri returns its GID.
//   - An answer is sent when its changes are durable. All changes of a request or message share one transaction.
//   - No option makes pawl read a file or run a command, and nothing is written outside of the directory of
//     the queue. The table of package aria2 has a column for RPC.
//   - Users, passwords and header fields are never returned, neither in URIs nor in options.
//   - There is no BitTorrent, FTP and XML-RPC.
//   - A piece is as long as it takes to have at most 10,240 of them, which is as many as clients draw.
//
// # Limits
//
// A request or message has at most 2 MiB, a depth of 64 and 300,000 values. Its answers have at most 64 MiB
// together. A WebSocket that does not read is closed.
//
//	aria2rpc.go     Options, the handler, HTTP
//	query.go        GET
//	request.go      one request or message: from text to calls, and from answers to text
//	params.go       parameters of a call
//	methods.go      the table of methods; methods about the daemon itself
//	add.go          methods that add downloads
//	control.go      methods that change downloads
//	tell.go         methods that show downloads
//	struct.go       encodes a struct of aria2
//	pieces.go       bitfields
//	rates.go        bytes per second
//	options.go      the meaning of aria2's options for a download
//	socket.go       WebSockets
//	notify.go       notifications
package aria2rpc
