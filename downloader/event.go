package downloader

import (
	"time"

	"pawl/chunk"
	"pawl/store"
)

// A Kind is the kind of an Event.
type Kind string

// The kinds of events, roughly in the order in which a download reports them.
const (
	Started   Kind = "started"   // the transfer starts; Held bytes are here already
	Lost      Kind = "lost"      // Held bytes of the record are no longer in the part file
	Retrying  Kind = "retrying"  // Err; the next request follows after Wait; Attempt of Tries
	Waiting   Kind = "waiting"   // Err; the host wants no request for Wait
	Offline   Kind = "offline"   // Err; the machine has no network; reported once for all downloads
	Limited   Kind = "limited"   // Err; the host refused another connection; Conns go on, or the download waits if 0
	Restarted Kind = "restarted" // Err; the held bytes cannot be used
	Renamed   Kind = "renamed"   // Err; another file has the name that the server or the URL gives this one
	Warning   Kind = "warning"   // Err is not a failure, but the user should know it
	Finished  Kind = "finished"  // the file is complete and durable
	Stopped   Kind = "stopped"   // Err ended the download; Held bytes are kept
)

// An Event is a transition of a download. Time and URL are always set, ID and Target once they
// are known; the other fields depend on the Kind.
type Event struct {
	Time   time.Time
	Kind   Kind
	ID     store.ID
	URL    string // as requested, without user and password
	Target string // absolute path; "-" for a stream

	Size    int64 // bytes; -1 if unknown
	Held    int64 // bytes
	Conns   int
	Retry   Retry   // Retrying, Waiting
	Outcome Outcome // Finished, Stopped
	Err     error
}

// A Retry is the next try of a request.
type Retry struct {
	Attempt int           // consecutive failures so far
	Tries   int           // consecutive failures that end the download; 0 for no limit
	Wait    time.Duration // until the next request
}

// An Outcome is the end of a download, in an Event.
type Outcome struct {
	Fetched  int64         // bytes received by this run
	Resumed  int64         // bytes of the file that an earlier run received
	Elapsed  time.Duration // of this run
	Current  bool          // the file was finished already, and has not changed
	Kept     bool          // Current says only that another file has the name; it is left as it is
	Page     bool          // the file is a web page, although neither its name nor its URL says so
	Unframed bool          // the server did not mark the end of the file, so it may be truncated
	Proof    Proof         // how the file was proved; "" if it is not complete
	Sum      chunk.Sum     // digest that was verified; zero for none
}

// Progress is the progress of a running download.
type Progress struct {
	Number int64 // of the download, in order of start; unlike Target it never changes
	ID     store.ID
	Target string // absolute path; "-" for a stream
	Size   int64  // bytes; -1 if unknown
	Have   int64  // arrived bytes, in this run and in earlier ones
	Conns  int    // connections that are open or being opened

	Received int64 // bytes received by this run; those received twice count twice
	Retries  int   // failures that were followed by another try
}
