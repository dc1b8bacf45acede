package downloader

import (
	"time"

	"pawl/store"
)

// A Kind says what an Event is about.
type Kind string

// The kinds of events, in the order in which a download may tell them.
const (
	Started   Kind = "started"   // bytes are about to move; Held are there already
	Lost      Kind = "lost"      // the part file no longer had Held bytes of its record
	Retrying  Kind = "retrying"  // Err; asking again after Wait, Attempt of Tries
	Waiting   Kind = "waiting"   // Err; nothing is asked for Wait, as the host wants it
	Offline   Kind = "offline"   // the machine has no network: Err; told once, for all downloads
	Limited   Kind = "limited"   // the host refused a further connection: Err; Conns go on, or it waits if 0
	Restarted Kind = "restarted" // the bytes so far cannot be used: Err
	Warning   Kind = "warning"   // Err is worth knowing, and no failure
	Finished  Kind = "finished"  // the file is there
	Stopped   Kind = "stopped"   // Err ended it; Held bytes are kept
)

// An Event is a transition of a download. Which fields are set depends on the
// Kind; Time, URL, and once known ID and Target, always are.
type Event struct {
	Time   time.Time
	Kind   Kind
	ID     store.ID
	URL    string // as asked, without credentials
	Target string // absolute path; "-" for a stream

	Size     int64 // bytes; -1 unknown
	Held     int64 // bytes
	Fetched  int64 // bytes that this run received (Finished, Stopped)
	Conns    int
	Attempt  int
	Tries    int
	Wait     time.Duration
	Elapsed  time.Duration // of this run (Finished)
	Current  bool          // Finished without a transfer: the file was there, unchanged
	Unframed bool          // Finished, and the server did not mark the end of the file: it may be cut
	Err      error
}

// Progress is how far a running download has come.
type Progress struct {
	ID     store.ID
	Target string // absolute path; "-" for a stream
	Size   int64  // bytes; -1 unknown
	Have   int64  // bytes that have arrived, of earlier runs too
	Conns  int    // open connections
}
