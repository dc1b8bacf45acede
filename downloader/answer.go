package downloader

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"pawl/chunk"
	"pawl/downloader/failure"
)

const (
	// maxValidator is how many bytes an ETag or Last-Modified field may have, and the text of
	// an answer that an error quotes. Those of known servers have less than 200. A record of
	// a list of millions has each, so double doubles the state that a hostile server costs.
	maxValidator = 1 << 10
	// maxMedia is how many bytes a media type, or a list of content codings, may have: a
	// type and a subtype of 127 each and a slash (RFC 6838 §4.2). Less refuses legal ones.
	maxMedia = 256
)

// usedFields are the header fields of responses that pawl reads. The transport drops all others,
// because they may take much memory for as long as the body lasts.
var usedFields = []string{
	"Accept-Ranges", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Date",
	"Docker-Content-Digest", "Etag", "Last-Modified", "Link", "Location", "Repr-Digest", "Retry-After", "Set-Cookie",
}

// limited returns v, or "" if it has more than most bytes.
func limited(v string, most int) string {
	if len(v) > most {
		return ""
	}
	return v
}

// quoted returns a text of a server as an error quotes it, cut if it is long.
func quoted(v string) string {
	const most = 200
	if len(v) > most {
		v = strings.ToValidUTF8(v[:most], "") + "…"
	}
	return strconv.Quote(v)
}

// An identity is what a server says a file is, so that bytes of two versions
// are never mixed.
type identity struct {
	size         int64  // bytes; -1 unknown
	etag         string // as sent
	lastModified string // as sent
	media        string // media type without parameters; "" unknown
	coding       string // content coding that belongs to the file; "" for none
}

// sizeDiffers reports whether both sizes are known, and differ.
func (id identity) sizeDiffers(o identity) bool {
	return id.size >= 0 && o.size >= 0 && id.size != o.size
}

// strongETag returns the entity tag if it may be used in If-Range: a weak one
// does not promise equal bytes (RFC 9110 §8.8.1, §13.1.5).
func (id identity) strongETag() string {
	if strings.HasPrefix(id.etag, `"`) {
		return id.etag
	}
	return ""
}

// differs says in words how o is another version than id, or returns "". What
// one of the two does not tell is no difference.
func (id identity) differs(o identity) string {
	switch {
	case id.sizeDiffers(o):
		return fmt.Sprintf("its size was %d and is %d", id.size, o.size)
	case id.etag != "" && o.etag != "" && opaque(id.etag) != opaque(o.etag):
		return fmt.Sprintf("its ETag was %s and is %s", id.etag, o.etag)
	case id.lastModified != "" && o.lastModified != "" && id.lastModified != o.lastModified:
		return fmt.Sprintf("it was modified %s and now %s", id.lastModified, o.lastModified)
	}
	return ""
}

// shares reports whether both have a validator of the same kind, so that what differs
// tells something.
func (id identity) shares(o identity) bool {
	return id.etag != "" && o.etag != "" || id.lastModified != "" && o.lastModified != ""
}

// opaque is an entity tag without its mark of weakness, for the weak comparison
// (RFC 9110 §8.8.3.2). Apache sends a tag as weak while the file is young, and
// as strong from then on.
func opaque(etag string) string { return strings.TrimPrefix(etag, "W/") }

// proves reports whether o is surely the same version as id.
func (id identity) proves(o identity) bool {
	return id.differs(o) == "" && o.strongETag() != "" && id.etag == o.etag
}

// isPage reports whether o is a web page where id is another kind of file: a
// login page, most likely, or that of a captive portal.
func (id identity) isPage(o identity) bool {
	page := func(media string) bool { return media == "text/html" || media == "application/xhtml+xml" }
	same := id.etag != "" && opaque(id.etag) == opaque(o.etag)
	return id.media != "" && !page(id.media) && page(o.media) && !same
}

// impostor reports whether o has no validator where id has one, and not its size:
// an error that is told as if all were well, most likely. It proves no change.
func (id identity) impostor(o identity) bool {
	return (id.etag != "" || id.lastModified != "") && o.etag == "" && o.lastModified == "" && id.size != o.size
}

// strange returns why o is not the file at all, nil if it may be a version of it.
func (id identity) strange(o identity) error {
	switch {
	case id.isPage(o):
		return errPage
	case id.sizeDiffers(o) && id.impostor(o):
		return errImpostor
	}
	return nil
}

// An answer is what a response to a request for bytes means.
type answer struct {
	whole  bool        // the body is the file from byte 0, whatever was asked
	body   chunk.Range // bytes of the file that the body is; End may be Unbounded
	coding string      // that has to be removed from the body, "gzip" or ""
	note   string      // what the user should know of its coding; "" for nothing
	id     identity
}

var (
	// errLie says that a partial response is not what was asked for.
	errLie = errors.New("the server lies about ranges")
	// errImpostor says that what has come is not the file, by all that is known.
	errImpostor error = failure.New(failure.ErrPage, "the server sends something else in place of the file, that has no validator")
	// errPage says that a web page has come in place of the file.
	errPage error = failure.New(failure.ErrPage, "the server sends a web page in place of the file, perhaps to log in")
	// errUnsatisfiable says that the file has no byte at the start of the range.
	errUnsatisfiable = errors.New("the range is beyond the end of the file")
)

// readAnswer says what resp means as the answer to a request for asked, or for
// the whole file if asked is empty; k is what is known of the file. It judges the
// header alone; the caller must compare the version with the wanted one. Its errors are a
// StatusError, errLie, an failure.ErrProtocol for a coding that cannot be removed, and
// errUnsatisfiable along with an answer whose id.size is the size that the server
// sent, or -1 (RFC 9110 §14.4, §15.3.7, §15.5.17).
func readAnswer(resp *http.Response, asked chunk.Range, k knownForm) (answer, error) {
	h := resp.Header
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type")) // what it says before an error is good
	a := answer{id: identity{
		size: -1, etag: limited(h.Get("ETag"), maxValidator), lastModified: limited(h.Get("Last-Modified"), maxValidator), media: limited(media, maxMedia),
	}}
	coding, codingErr := codingOf(resp, k)
	a.id.coding, a.note = coding.kept, coding.note
	switch {
	case isWhole(resp.StatusCode) && codingErr != nil:
		return a, failure.Permanent(codingErr)
	case isWhole(resp.StatusCode) && coding.removed != "":
		a.whole, a.coding, a.body.End = true, coding.removed, chunk.Unbounded
		a.id.etag = "" // it is that of the coded bytes (RFC 9110 §8.8.1)
		return a, nil
	case isWhole(resp.StatusCode):
		a.whole = true
		a.id.size = resp.ContentLength
		a.body = chunk.Range{End: chunk.Unbounded}
		if a.id.size >= 0 {
			a.body.End = a.id.size
		}
		return a, nil
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && !asked.Empty():
		if r, total, ok := parseContentRange(h.Get("Content-Range")); ok && r.Empty() {
			a.id.size = total
		}
		return a, errUnsatisfiable
	case resp.StatusCode != http.StatusPartialContent:
		return a, &failure.StatusError{Code: resp.StatusCode, Host: resp.Request.URL.Host}
	}
	r, total, ok := parseContentRange(h.Get("Content-Range"))
	whole := ok && asked.Empty() && !r.Empty() && r.Off == 0 && r.End == total
	if whole { // a strange way to say it, but all of it
		asked = r
	}
	switch {
	case strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "multipart/byteranges"):
		return a, fmt.Errorf("%w: several parts, where one was asked for", errLie)
	case !ok || r.Empty():
		return a, fmt.Errorf("%w: Content-Range %s", errLie, quoted(h.Get("Content-Range")))
	case asked.Empty():
		return a, fmt.Errorf("%w: a part, where the whole was asked for", errLie)
	case r.Off != asked.Off: // what is beyond the end of asked is right, and need not be read
		return a, fmt.Errorf("%w: asked for %s, got %s", errLie, span(asked), span(r))
	case resp.ContentLength >= 0 && resp.ContentLength != r.Len():
		return a, fmt.Errorf("%w: a body of %d bytes for %s", errLie, resp.ContentLength, span(r))
	case codingErr != nil:
		return a, fmt.Errorf("%w: a range of a coded body", errLie)
	}
	a.whole, a.body, a.id.size = whole, r, total
	return a, nil
}

// isWhole reports whether a response of this status has the whole file as its body:
// 200, and every other success with a body but 206 (RFC 9110 §15.3).
func isWhole(status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent:
		return false
	}
	return status >= 200 && status < 300
}

// span is r as HTTP and people write it.
func span(r chunk.Range) string {
	if r.End == chunk.Unbounded {
		return fmt.Sprintf("the bytes from %d", r.Off)
	}
	return fmt.Sprintf("bytes %d-%d", r.Off, r.End-1)
}

// parseContentRange reads "bytes first-last/total" and "bytes */total", the
// latter as an empty range; total is -1 where it is "*". ok is false for
// everything else (RFC 9110 §14.4).
func parseContentRange(v string) (r chunk.Range, total int64, ok bool) {
	unit, rest, _ := strings.Cut(strings.TrimSpace(v), " ")
	span, size, found := strings.Cut(strings.TrimSpace(rest), "/")
	if !strings.EqualFold(unit, "bytes") || !found {
		return chunk.Range{}, 0, false
	}
	total = -1
	if size != "*" {
		if total, ok = parseDigits(size); !ok || total == chunk.Unbounded {
			return chunk.Range{}, 0, false
		}
	}
	if span == "*" {
		return chunk.Range{}, total, total >= 0
	}
	first, last, _ := strings.Cut(span, "-")
	a, okA := parseDigits(first)
	b, okB := parseDigits(last)
	if !okA || !okB || b < a || b == chunk.Unbounded || total >= 0 && b >= total {
		return chunk.Range{}, 0, false
	}
	return chunk.Range{Off: a, End: b + 1}, total, true
}

// parseDigits reads 1*DIGIT, which no sign or blank is part of.
func parseDigits(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}
