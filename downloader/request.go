package downloader

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"pawl/chunk"
	"pawl/downloader/transport"
	"pawl/store"
)

// A Request asks for one file. Into is the destination of the bytes, and so the kind of the download:
//
//	Into       URL                             the other fields
//	File       required                        all
//	Recorded   "" for the recorded URL, or a   all; without Sum, the Sum of the record
//	           new one, if a link has expired
//	Damaged    as Recorded                     as Recorded
//	Stream     required                        all but Existing: a stream cannot start over
//	Listed     required                        all; Mirrors are used beside URL only, because
//	                                           package mirror chooses the source
type Request struct {
	// URL is http or https. A user and password in it are sent to its origin only, and are never
	// recorded.
	URL string
	// Into is the destination of the bytes; nil means File{}, a file in the working directory.
	Into Destination
	// Mirrors are other URLs of the file. They are used beside URL once samples have shown that
	// they have the same bytes, or instead of URL if it fails. They get Header, too.
	Mirrors []string
	// Access says which header fields are sent, and to which origins.
	Access Access
	// Sum is the digest that the file must have; zero for none.
	Sum chunk.Sum
	// SumBy says whose digest Sum is: ProofYours, ProofList or ProofSignature. "" means ProofList for
	// Listed, else ProofYours.
	SumBy Proof
	// Pieces are digests that the pieces of the file must have; zero for none. A wrong piece is
	// fetched again as soon as it is complete, from another source if there is one. If they
	// contradict Sum, Sum decides. A Stream gets each piece when it is right, if the pieces have at most
	// 16 MiB, and a wrong one ends it only after some tries.
	Pieces chunk.PieceHashes
	// MaxSize limits the size of the file, in bytes; 0 for no limit. A larger file ends with
	// failure.ErrTooLarge: before its body is read if its size is known, else when more bytes
	// arrive, and then the part file is removed.
	MaxSize int64
	// Expect are patterns that the media type of the response must fit, as response.MatchesType
	// says; nil for any. Another type ends with failure.ErrMediaType before anything is stored.
	Expect []string
	// Inspect is called with the first bytes of the file, at most InspectBytes, before anything is
	// stored. An error of it ends the download, which leaves nothing behind. May be nil.
	Inspect func(beginning []byte) error
	// Existing decides about an existing file and about held bytes.
	Existing Existing
	// ID is the ID of the download if it is a new one: 16 hex digits in lower case; "" for a random one.
	// A download on record keeps its own. If the download of another target has it, the error is
	// store.ErrIDTaken.
	ID store.ID
	// Handle watches and steers the download while it runs. It must not be the Handle of another
	// Request at the same time. May be nil.
	Handle *Handle
	// OnEvent is called beside Options.OnEvent for the transitions of this download, never by two
	// goroutines at a time. It must return soon. Default none.
	OnEvent func(Event)
}

// InspectBytes is how many bytes Request.Inspect gets, if the file has so many. The first reads of
// a connection bring about as many; double would let a server send more in vain, and half may end
// within the comments at the beginning of a list.
const InspectBytes = 64 << 10

// A Destination is the destination of the bytes of a Request: File, Recorded, Damaged, Stream or Listed.
type Destination interface{ isDestination() }

// A File is a file by its URL. If its download has begun already, it is resumed; if it is
// finished, and has not changed, nothing is downloaded.
type File struct {
	Dir    string // directory; "" for the working directory
	Output string // name or path; "" for the name in the response or in the URL
	// Released is for a file that may be one of many small ones, which are made durable together, and are
	// not resumed. It is called when the file needs no connection any more, and waits for that. nil for a
	// single file.
	Released func()
}

// A Recorded is a download of the Store, which is resumed.
type Recorded struct{ ID store.ID }

// A Damaged is a download of the Store, finished or not, with wrong bytes. These are fetched again,
// together with the missing ones. The server must still have the version on record: otherwise the
// error is failure.ErrChanged, and a finished file stays as it is. A finished file is an unfinished
// download while it is repaired, and has its name again if that fails.
type Damaged struct {
	ID    store.ID
	Wrong chunk.Set // of a finished file; all of it if no part of it is known to be right
}

// A Stream gets the bytes in order, over one connection at a time. Nothing is recorded.
type Stream struct{ Writer io.Writer }

// A Listed is a file of a list. It has the entry of the list and the record of the file, so that the
// download need not look them up. Package mirror makes these.
type Listed struct {
	Path   string       // absolute path of the file
	Record store.Record // the record of Path; the zero Record for none
	Lists  store.Lists  // the lists that claim the file once it is fetched
	Size   int64        // bytes that the file must have; -1 if unknown
	Moved  store.Record // a record of another path, whose checksums may prove a file at Path that is not on record; zero for none
	// ByURL means that the path does not follow from the list alone, for example because it has a number.
	// Later runs find the file by its URL (store.Store.ByURLBelow).
	ByURL bool
	// ServerName means that a file without a record gets the name in the response, if it has one, in
	// the directory of Path.
	ServerName bool
	Update     bool // ask the server whether a finished file has changed
	// Resume is the unfinished download of the file that must be resumed, although it was begun
	// from another URL; "" for none.
	Resume store.ID
	// Released is called when the file needs no connection any more, and waits until it is made
	// durable together with others. May be nil.
	Released func()
	// Begin is called with the record of the part file before bytes are written to it, and again before those of
	// another attempt or version. It may wait. An error ends the download. May be nil.
	Begin func(store.Record) error
}

func (File) isDestination()     {}
func (Recorded) isDestination() {}
func (Damaged) isDestination()  {}
func (Stream) isDestination()   {}
func (Listed) isDestination()   {}

// Access says which header fields the requests have, and how far origins are trusted.
type Access struct {
	// Header is sent with each request. Fields that may be secret are sent only to the origins
	// of Request.URL and Request.Mirrors.
	Header http.Header
	// Credentials returns further credentials for an origin, as function Origin names it. They are sent to
	// the same origins as Header. The user in the URL and Header override them. May be nil.
	Credentials func(origin string) Credentials
	// Public reports whether a public list has named an origin, as function Origin names it. URLs
	// of that origin must not lead to a private address. May be nil.
	Public func(origin string) bool
	// Redirect returns an error if the download must not follow a redirect to a URL. The download ends
	// with that error, before anything is sent there. May be nil.
	Redirect func(to *url.URL) error
}

// Credentials authenticate the user to an origin. The zero Credentials are none.
type Credentials struct {
	// Header are further header fields. An Authorization field overrides User. A Referer follows redirects to
	// other origins.
	Header http.Header
	// User is a user and a password, which are sent as the server wants them, by Basic or Digest
	// authentication; nil for none.
	User *url.Userinfo
	// Cookies returns the cookies for a URL of the origin; nil for none. A field Cookie of Header
	// overrides those with the same names, and so do cookies that servers have set.
	Cookies func(u *url.URL) []*http.Cookie
	// Options are the options by which the user has given all this, for example "-u USER". They are
	// recorded with an unfinished download, so that pawl can name them when somebody resumes it. They
	// must not contain a secret.
	Options []string
}

// Existing decides about an existing file at the target, and about the held bytes of a download.
type Existing struct {
	Taking       Taking   // when a file that pawl did not download is taken as the wanted one
	InTheWay     InTheWay // for a file that is in the way, and is not taken
	Restart      bool     // the held bytes of the download are discarded
	FailOnChange bool     // if the remote file has changed, the download ends with failure.ErrChanged and keeps its bytes; otherwise it starts over
}

// A Taking says when a file that pawl did not download is taken as the wanted one.
type Taking int

const (
	// TakeProved takes a file that has the wanted digest, or the checksums on record.
	TakeProved Taking = iota
	// TakeSameSize also takes a file that has the size that the server says.
	TakeSameSize
	// TakePartial also takes the part of the file that another program has left, at the target or
	// under the name of a partial file beside it, if samples of it equal the file of the server. The
	// missing bytes are fetched. A whole file must pass the same comparison.
	TakePartial
	// TakeSameVersion also takes, like TakeSameSize, a file that has the size and the modification time that the server says. A
	// process that has ended since may have downloaded it.
	TakeSameVersion
)

// An InTheWay is the way to deal with a file that has the name of the wanted file and is not taken for it.
type InTheWay int

const (
	// Refuse ends the download with store.ErrForeign or a ClaimedError. If nobody has chosen the
	// name, and the file was downloaded from another URL, the new one gets a number.
	Refuse InTheWay = iota
	// Replace replaces a file that pawl did not download.
	Replace
	// Rename gives the new file a number.
	Rename
	// Keep leaves the file, and ends the download without an error: Result.Current and
	// Outcome.Kept are true. If the name is known, no request is sent.
	Keep
)

// keeps reports whether a file that is in the way, as err says, is kept.
func (e Existing) keeps(err error) bool {
	return e.InTheWay == Keep && errors.Is(err, store.ErrForeign) && !errors.Is(err, store.ErrIrregular)
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
	Page     bool          // the file is a web page, although neither its name nor its URL says so
	Private  bool          // all responses came from private addresses
	Retries  int           // failures that were followed by another try
	Final    string        // URL of the bytes, without user and password; "" if no byte was received
	Charset  string        // encoding of a text as the last response names it, for example "utf-8"; "" for none
	CRC      uint32        // CRC-32C of a small file of a list (RFC 3720 §12.1)
	Sum      chunk.Sum     // digest that was verified: Request.Sum, or the server's; zero for none
	Proof    Proof         // how the file was proved; "" after an error
}

// resuming returns r with the recorded download id in place of its destination, unless id is "".
func (r Request) resuming(id store.ID) Request {
	if id == "" {
		return r
	}
	if l, ok := r.Into.(Listed); ok {
		l.Resume = id
		r.Into = l
	} else {
		r.Into = Recorded{id}
	}
	return r
}

// isPublic reports whether a public list has named u.
func (r *Request) isPublic(u *url.URL) bool {
	return r.Access.Public != nil && r.Access.Public(transport.Origin(u))
}
