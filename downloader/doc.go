// Package downloader moves the bytes of files from HTTP servers into package
// store. It is a library: it prints nothing, reads no environment and exits
// nothing; a front end polls Snapshot and listens to events.
//
// # The life of a download
//
//	find    is the target done already, or begun? (find.go)
//	ask     a GET for the first missing range; its answer tells size, ranges,
//	        version and name, its body is the first connection's work (ask.go)
//	plan    package sched decides which connection fetches which bytes, how many
//	        connections there are, and which one replaces a slow one
//	fetch   each connection reads its claim into a buffer and writes it at its
//	        place; a body that breaks off is continued at its byte (fetch.go)
//	commit  one goroutine makes what is written durable, by time and volume, and
//	        together with what other downloads have (commit.go)
//	verify  one goroutine hashes behind the growing finished prefix (verify.go)
//	finish  checked, renamed, recorded (transfer.go)
//
// A server without ranges gets one stream (stream.go). Where bytes of two
// versions could mix, the download starts over and says so. A small file of a list
// is one answer, which needs no plan, and is made durable in a group (small.go).
//
// Mirrors of a file are used beside its URL, once they are proven (mirrors.go), or in
// place of it (instead.go).
//
// Connections to a host are limited for all downloads together, and the limit is
// remembered (package hosts); all processes of a user share them (slots.go).
package downloader
