// Package downloader downloads files from HTTP servers into package store. This downloads one
// file, or resumes its download if an earlier process was interrupted:
//
//	st, err := store.Open(stateDir, store.Options{})
//	if err != nil {
//		return err
//	}
//	d := downloader.New(st, downloader.Options{})
//	defer d.Close()
//	result, err := d.Get(ctx, downloader.Request{URL: "https://example.com/archive.tar.zst"})
//
// After a nil error, the file is at result.Target, complete and durable. The kinds of errors
// are in packages failure and store; if ctx ends, the received bytes are kept.
//
// A [Request] also names the directory or the writer for the bytes, other sources, a digest and
// header fields. [Options] are the limits and the patience of all downloads of a [Downloader].
// Any number of goroutines may call [Downloader.Get]. While they wait, a front end polls
// [Downloader.Snapshot], and [Options.OnEvent] gets the transitions. A [Handle] watches and steers a
// single download. Package mirror downloads lists of files. The library prints nothing, reads no
// environment and exits nothing.
//
// # The phases of a download
//
//	lookup    finds the record of the file, which may be finished or unfinished (lookup.go), or
//	          the file of another program (present.go, takeover.go)
//	attempt   requests the first missing bytes; the response shows size, ranges, version and
//	          name, and its body is the first work of the transfer (attempt.go, origin.go);
//	          then the part file is created (create.go)
//	transfer  fetches the rest over several connections (transfer.go, conn.go); package sched
//	          decides which connection fetches which bytes, and how many there are
//	commit    makes the written bytes durable, by time and by volume (commit.go)
//	verify    hashes the growing finished prefix beside the transfer (verify.go)
//	finish    verifies the whole file, renames it and records it (attempt.go)
//
// If the held bytes do not fit the bytes of the server, or the transfer must begin again,
// a restartError leads to another attempt. A server without ranges gets one stream (stream.go).
// A small file of a list is one response, which is made durable in a group (smallfile.go).
//
// # The life of the data
//
//	exchange     one request and its repetitions, up to a response (exchange.go)
//	conn         one connection of a transfer
//	transfer     the connections of one attempt
//	version      the version of the file whose bytes are held
//	job          one download of one URL, with its mirrors (job.go)
//	mismatches   all downloads of one request whose digest was wrong (mismatch.go)
//	Downloader   all downloads of a process
//
// # The packages around it
//
// The packages below decide or act, and know nothing of downloads:
//
//	failure      classifies errors
//	response     reads responses
//	sched        divides the bytes of a file among connections
//	hosts        limits connections to a host, and pauses requests
//	transport    sends requests
//	credentials  reads files of logins, and the challenges of servers
//	leftover     knows the partial files of other programs
//	weburl       parses, compares and redacts URLs
//	recent       remembers values by name for a while
//
// The packages above use a Downloader:
//
//	list         reads lists of files; it knows no downloads either
//	signature    verifies the signatures of lists; likewise
//	mirror       downloads the files of lists into a directory
//	queue        keeps downloads that outlive the process, for a daemon
//	fleet        divides a mirror run among many machines
//
// Package aria2 is a table of aria2's options, and faultserver a server for tests.
package downloader
