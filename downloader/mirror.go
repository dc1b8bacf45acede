package downloader

import (
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/response"
	"pawl/downloader/sched"
)

// maxServerMirrors limits the mirrors of a download if a server names them. A guess; the
// largest known networks of mirrors name about 40.
const maxServerMirrors = 64

// A namer is the origin of a URL: the user, a list, or a server.
type namer struct {
	given  bool // the user or a list, so that it gets the headers of the request; otherwise a server
	public bool // a public source, so that the URL must not lead to a private address
}

// A mirror is another URL of the file of a download, used beside the origin once samples have
// shown that it has the same bytes. It lives as long as the download.
type mirror struct {
	url *url.URL // immutable
	namer
	ended chan struct{} // closed when the mirror is disabled

	received atomic.Int64 // bytes, including samples
	proving  atomic.Bool  // a connection is open for samples

	mu       sync.Mutex
	host     *hosts.Host      // guarded by mu, as the fields below are
	source   *sched.Source    // in the transfer; nil before the mirror is admitted
	version  response.Version // as the mirror names it
	written  chunk.Set        // its bytes in the file
	sums     *chunk.Pieces    // of these bytes; nil before the mirror is admitted
	failures int              // consecutive ones
	disabled error            // why it is no longer used; nil if it is used
}

// check returns an error if rep is not a part of the version that the mirror had before, with
// the size and the media type of the wanted version.
func (m *mirror) check(want response.Version, c response.Content) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	own := response.Version{Size: want.Size, ETag: m.version.ETag, LastModified: m.version.LastModified, MediaType: want.MediaType}
	switch why := own.Differs(c.Version); {
	case want.IsPage(c.Version):
		return errPage
	case why != "":
		return failure.New(failure.ErrChanged, why)
	case c.Whole:
		return fmt.Errorf("%w: the server sends whole files", errLie)
	case want.OtherCoding(c):
		return fmt.Errorf("%w: the server sent a body in another content coding", errLie)
	}
	if m.version.Size < 0 {
		m.version = c.Version
	}
	m.failures = 0
	return nil
}

// reason returns why the mirror is disabled, nil if it is not.
func (m *mirror) reason() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.disabled
}

// noteWritten notes that the bytes b of the mirror were written at off.
func (m *mirror) noteWritten(off int64, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written.Add(chunk.Range{Off: off, End: off + int64(len(b))})
	m.sums.Add(off, b)
}

// forget forgets the bytes of the mirror, because they are no longer in the file. The caller
// must hold mu.
func (m *mirror) forget() {
	m.written = chunk.Set{}
	if m.sums != nil {
		m.sums = chunk.NewPieces(m.sums.Length())
	}
}

// isAdmitted reports whether the mirror is or was a source of the transfer.
func (m *mirror) isAdmitted() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.source != nil
}

// forgetBytes forgets the bytes b at off, which are replaced in the file.
func (m *mirror) forgetBytes(off int64, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.written.Remove(chunk.Range{Off: off, End: off + int64(len(b))})
	m.sums.Add(off, b) // adding bytes a second time removes them
}

// ready prepares a mirror for requests of t, whether or not it is proven, and returns its host.
func (m *mirror) ready(t *transfer) *hosts.Host {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.host == nil {
		m.version, m.host = response.Version{Size: -1}, t.engine.host(m.url)
	}
	if m.sums == nil {
		m.sums = chunk.NewPieces(t.file.part.PieceSums().Length())
	}
	return m.host
}
