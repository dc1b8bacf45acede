// Package response reads HTTP responses to requests for a file: which bytes the body
// has, of which version of the file, in which content coding, under which name, and
// where else the file is. It is pure: it reads headers, sends nothing and never reads a
// body. It returns decisions; the caller turns them into requests, errors and messages.
//
// [Read] reads one response by itself. [Evidence] compares the versions of many, and
// decides whether a response may be used together with the bytes that are held.
package response

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"pawl/chunk"
)

const (
	// maxValidator limits an ETag or Last-Modified field, in bytes; a longer one is ignored.
	// Known servers send less than 200. Each record of a list keeps both, so double would
	// double the state that a hostile server can cause; half is still enough.
	maxValidator = 1 << 10
	// maxMediaType limits a media type, or a list of content codings, in bytes: a type and a
	// subtype of 127 bytes each, and a slash (RFC 6838 §4.2). Half would refuse legal ones.
	maxMediaType = 256
	// maxQuote limits the text of a server that a message quotes, in bytes: three lines of a
	// terminal. A guess.
	maxQuote = 200
)

// Fields are the header fields that pawl reads. The transport drops all others, because a header
// of the maximum size may consist of so many short fields that they take 5 MiB of memory for as
// long as the body lasts.
var Fields = append(digestFields(),
	"Accept-Ranges", "Authentication-Info", "Content-Disposition", "Content-Encoding", "Content-Length", "Content-Range", "Content-Type", "Date",
	"Etag", "Last-Modified", "Link", "Location", "Retry-After", "Set-Cookie", "Www-Authenticate")

// A Meaning says how far a response can be used.
type Meaning int

const (
	Usable        Meaning = iota // the body has bytes of the file
	Lie                          // the response contradicts the requested range
	Unsatisfiable                // the file has no byte at the start of the requested range
	Undecodable                  // the body is in a content coding that cannot be removed
	HTTPError                    // the status ends the exchange
)

// A Content is the description of a body by the header of its response. The fields below Problem
// are valid if Meaning is Usable; Version.Size is also valid if it is Unsatisfiable.
type Content struct {
	Meaning Meaning
	Problem string // why the response is a Lie or Undecodable

	Whole   bool        // the body is the file from byte 0, whatever range was requested
	Range   chunk.Range // bytes of the file in the body; End is chunk.Unbounded if there is no length
	Gzip    bool        // a gzip coding must be removed from the body to get the file
	Note    string      // a note for the user about the content coding; "" for none
	Charset string      // encoding of a text, for example "utf-8"; "" if the server names none
	Version Version
}

// Complete reports whether Read can interpret the response. Others are HTTP errors.
func Complete(resp *http.Response) bool {
	switch resp.StatusCode {
	case http.StatusPartialContent, http.StatusNotModified, http.StatusRequestedRangeNotSatisfiable:
		return true
	}
	return hasFile(resp)
}

// hasFile reports whether the body of a response is the whole file. With status 202 the file is usually
// being made (RFC 9110 §15.3.3), and the body says so, unless the header describes a stored file.
func hasFile(resp *http.Response) bool {
	h := resp.Header
	describes := h.Get("ETag") != "" || h.Get("Last-Modified") != "" || h.Get("Content-Disposition") != "" || offersRanges(resp)
	return isWhole(resp.StatusCode) || resp.StatusCode == http.StatusAccepted && describes && h.Get("Retry-After") == ""
}

// isWhole reports whether a response with this status has the whole file as its body: a 200,
// and every other success with a body, except 206 and a 202: the body of a 202 says that the server
// is still preparing the file (RFC 9110 §15.3).
func isWhole(status int) bool {
	switch status {
	case http.StatusAccepted, http.StatusNoContent, http.StatusResetContent, http.StatusPartialContent:
		return false
	}
	return status >= 200 && status < 300
}

// Read returns the meaning of the response to a request for a range, or for the whole file
// if asked is empty. known has the facts about the file. Read uses the header alone; the
// caller must compare the version with the wanted one (RFC 9110 §14.4, §15.3.7, §15.5.17).
func Read(resp *http.Response, asked chunk.Range, known Known) Content {
	h := resp.Header
	media, charset := parseType(h)
	r := Content{Charset: charset, Version: Version{
		Size: -1, ETag: bounded(h.Get("ETag"), maxValidator), LastModified: bounded(h.Get("Last-Modified"), maxValidator), MediaType: media,
	}}
	c := codingOf(resp, known)
	r.Version.Coding, r.Note = c.kept, c.note
	switch {
	case hasFile(resp):
		return r.readWhole(resp, c)
	case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable && !asked.Empty():
		if span, total, ok := parseContentRange(h.Get("Content-Range")); ok && span.Empty() {
			r.Version.Size = total
		}
		r.Meaning = Unsatisfiable
		return r
	case resp.StatusCode != http.StatusPartialContent:
		r.Meaning = HTTPError
		return r
	}
	return r.readPart(resp, asked, c)
}

// readWhole reads a response whose body is the whole file.
func (r Content) readWhole(resp *http.Response, c coding) Content {
	if c.problem != "" {
		r.Meaning, r.Problem = Undecodable, c.problem
		return r
	}
	r.Whole, r.Gzip, r.Range = true, c.removed, chunk.Range{End: chunk.Unbounded}
	switch {
	case c.removed: // the length and the ETag describe the coded bytes (RFC 9110 §8.8.1)
		r.Version.ETag = ""
	case resp.ContentLength >= 0:
		r.Version.Size, r.Range.End = resp.ContentLength, resp.ContentLength
	}
	return r
}

// readPart reads a 206. The body may go beyond the requested range: the caller need not read
// the rest.
func (r Content) readPart(resp *http.Response, asked chunk.Range, c coding) Content {
	h := resp.Header
	got, total, ok := parseContentRange(h.Get("Content-Range"))
	whole := ok && asked.Empty() && !got.Empty() && got.Off == 0 && got.End == total
	if whole { // an unusual way to send the whole file
		asked = got
	}
	switch {
	case strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "multipart/byteranges"):
		r.Problem = "one range was requested, and the server sent several parts"
	case !ok || got.Empty():
		r.Problem = "the server sent the Content-Range " + quote(h.Get("Content-Range"))
	case asked.Empty():
		r.Problem = "the whole file was requested, and the server sent a part"
	case got.Off != asked.Off:
		r.Problem = fmt.Sprintf("%s were requested, and the server sent %s", FormatRange(asked), FormatRange(got))
	case resp.ContentLength >= 0 && resp.ContentLength != got.Len():
		r.Problem = fmt.Sprintf("the server sent %d bytes as %s", resp.ContentLength, FormatRange(got))
	case c.problem != "":
		r.Problem = "the server sent a range of a coded body"
	default:
		r.Whole, r.Range, r.Version.Size = whole, got, total
		return r
	}
	r.Meaning = Lie
	return r
}

// FormatRange returns a range as HTTP writes it, for example "bytes 0-99".
func FormatRange(r chunk.Range) string {
	if r.End == chunk.Unbounded {
		return fmt.Sprintf("the bytes from %d", r.Off)
	}
	return fmt.Sprintf("bytes %d-%d", r.Off, r.End-1)
}

// parseContentRange parses "bytes first-last/total". total is -1 for "*". "bytes */total" is
// an empty range. ok is false for everything else (RFC 9110 §14.4).
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

// parseDigits parses 1*DIGIT: no sign, no blank.
func parseDigits(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil
}

// bounded returns v, or "" if it is longer than limit bytes.
func bounded(v string, limit int) string {
	if len(v) > limit {
		return ""
	}
	return v
}

// quote returns a text of a server as a message quotes it, cut if it is long.
func quote(v string) string {
	if len(v) > maxQuote {
		v = strings.ToValidUTF8(v[:maxQuote], "") + "…"
	}
	return strconv.Quote(v)
}
