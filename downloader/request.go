package downloader

import (
	"io"
	"net/http"
	"net/url"
	"time"

	"pawl/chunk"
	"pawl/downloader/transport"
	"pawl/store"
)

// A Request asks for one file.
type Request struct {
	// URL is http or https. A user and password in it are sent to its origin only, and are never
	// recorded.
	URL string
	// ID names a recorded download to resume. URL then is its new URL, if not empty, and Dir and
	// Output are not used.
	ID store.ID
	// Mirrors are other URLs of the file. They are used beside URL once samples have shown that
	// they have the same bytes, or instead of URL if it fails. They get Header, too.
	Mirrors []string
	// Dir is the directory for the file, by default the working directory. Output is its name
	// or path, by default the name in the response or in the URL.
	Dir, Output string
	// Stream, if not nil, gets the bytes in order instead of a file. Nothing is recorded then.
	Stream io.Writer
	// Access says which header fields are sent, and to which origins.
	Access Access
	// Sum is the digest that the file must have; zero for none.
	Sum chunk.Sum
	// MaxSize limits the size of the file, in bytes; 0 for no limit. A larger file ends with
	// failure.ErrTooLarge: before its body is read if its size is known, else when more bytes
	// arrive, and then the part file is removed.
	MaxSize int64
	// Existing says what happens to an existing file and to held bytes.
	Existing Existing
	// ListEntry is set for a file of a list. Output then is its path.
	ListEntry *ListEntry
}

// Access says which header fields the requests have, and how far origins are trusted.
type Access struct {
	// Header is sent with each request. Fields that may be secret are sent only to the origins
	// of Request.URL and Request.Mirrors.
	Header http.Header
	// Credentials returns further header fields for an origin, as function Origin names it. They
	// are sent to the same origins as Header. The user in the URL and Header override them. May be
	// nil.
	Credentials func(origin string) http.Header
	// Public reports whether a public list has named an origin, as function Origin names it. URLs
	// of that origin must not lead to a private address. May be nil.
	Public func(origin string) bool
}

// Existing says what happens to an existing file and to the held bytes of a download.
type Existing struct {
	Overwrite    bool // a file that pawl did not download may be replaced
	Restart      bool // the held bytes of the download are discarded
	FailOnChange bool // if the remote file has changed, the download ends with failure.ErrChanged and keeps its bytes; otherwise it starts over
}

// A Result is the outcome of a download. After an error it says how far the download came.
type Result struct {
	ID       store.ID
	Target   string        // absolute path; "-" for a stream; "" if it was never known
	Size     int64         // bytes; -1 if it was never known
	Fetched  int64         // bytes received by this run, including those received twice
	Elapsed  time.Duration // of this run
	Current  bool          // the file was finished already, and has not changed
	Unframed bool          // the server did not mark the end of the file, so it may be truncated
	Private  bool          // all responses came from private addresses
	Retries  int           // failures that were followed by another try
	Final    string        // URL of the bytes, without user and password; "" if no byte was received
	CRC      uint32        // CRC-32C of a small file of a list (RFC 3720 §12.1)
	Sum      chunk.Sum     // digest that was verified: Request.Sum, or the server's; zero for none
}

// A ListEntry has the facts about a file that the list and the state file contain, so that the
// download need not look them up.
type ListEntry struct {
	Record store.Record // the record of the target; the zero Record for none
	Lists  store.Lists  // the lists that claim the file once it is fetched
	Size   int64        // bytes that the file must have; -1 if unknown
	Update bool         // ask the server whether a finished file has changed
	// Released is called when the file needs no connection any more, and waits until it is made
	// durable together with others. May be nil.
	Released func()
}

// isPublic reports whether a public list has named u.
func (r *Request) isPublic(u *url.URL) bool {
	return r.Access.Public != nil && r.Access.Public(transport.Origin(u))
}
