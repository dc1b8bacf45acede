package downloader

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/store"
)

// excerptBytes is how many bytes of a web page are read for a message: some 60 characters are
// shown, and a page often begins with blanks. A guess.
const excerptBytes = 512

// A PageWarning reports that a web page has arrived, although neither the name of the file nor its
// URL says so. The page is stored all the same.
type PageWarning struct {
	MediaType string // of the response, for example "text/html"
	Excerpt   string // the beginning of its text, in one line; "" if it cannot be shown
}

func (w *PageWarning) Error() string {
	text := fmt.Sprintf("the server sends a web page (%s)", w.MediaType)
	if w.Excerpt != "" {
		text += fmt.Sprintf(", which begins with %q", w.Excerpt)
	}
	return text
}

// inspect checks the first response of an attempt before anything is stored: its media type and,
// if the request asks for that, its first bytes. The warning, nil for none, is of an unexpected web
// page; it must be emitted when the name of the file is known. resumed reports whether some bytes
// of the file are held.
func (j *job) inspect(rep *reply, resumed bool) (warning *PageWarning, err error) {
	if rep.Version.MediaType == "" && !resumed && rep.Range.Off == 0 && rep.Version.Coding == "" {
		rep.Version.MediaType = response.SniffPage(j.beginning(rep, excerptBytes))
	}
	media := cmp.Or(rep.Version.MediaType, j.version.MediaType) // a part may come without (RFC 9110 §15.3.7)
	if !j.req.Expects(media) {
		return nil, failure.Permanent(&failure.MediaTypeError{Media: media, Text: j.unexpectedType(rep, media)})
	}
	if j.req.Inspect != nil && !resumed {
		if err := j.req.Inspect(j.beginning(rep, InspectBytes)); err != nil {
			return nil, failure.Permanent(err)
		}
	}
	name := cmp.Or(j.file.record().Target, j.goal.output)
	if name == "" {
		name = response.Filename(rep.Header.Get("Content-Disposition"), j.origin.url)
	}
	known := j.version.page
	j.version.page = !j.req.wantsType() && response.IsUnexpectedPage(media, filepath.Base(name), j.origin.url)
	if j.version.page && !known && !resumed {
		warning = &PageWarning{media, j.excerpt(rep)}
	}
	return warning, nil
}

// Expects reports whether the request expects files of a media type, "" if it is unknown.
func (r *Request) Expects(media string) bool { return response.MatchesType(media, r.Expect) }

// wantsType reports whether the request says which media types it expects, and not only which ones it refuses.
func (r *Request) wantsType() bool {
	return slices.ContainsFunc(r.Expect, func(pattern string) bool { return !strings.HasPrefix(pattern, "!") })
}

// IsUnexpectedPage reports whether the file of a record is a web page, although neither its name
// nor its URL says so.
func IsUnexpectedPage(rec store.Record) bool {
	if !response.IsPage(rec.Type) { // as most files, so that their URLs need not be parsed
		return false
	}
	u, err := parseURL(rec.URL)
	return err == nil && response.IsUnexpectedPage(rec.Type, filepath.Base(rec.Target), u)
}

// unexpectedType returns the text of the error for a media type that the request does not expect.
func (j *job) unexpectedType(rep *reply, media string) string {
	text := fmt.Sprintf("the server sends the media type %s, which does not fit %q", media, strings.Join(j.req.Expect, ","))
	if media == "" {
		text = fmt.Sprintf("the server sends no media type, and it should fit %q", strings.Join(j.req.Expect, ","))
	}
	if !response.IsPage(media) {
		return text
	}
	return fmt.Sprintf("%s; it begins with %q", text, j.excerpt(rep))
}

// excerpt returns the beginning of the body of rep for a message.
func (j *job) excerpt(rep *reply) string {
	if rep.Range.Off > 0 || rep.Version.Coding != "" {
		return ""
	}
	return response.Excerpt(j.beginning(rep, excerptBytes))
}

// beginning returns the first n bytes of the body of rep, or fewer if it ends or fails before. The
// body still has them.
func (j *job) beginning(rep *reply, n int) []byte {
	b := make([]byte, n)
	got, _ := readFull(j.paced(rep.ctx, rep), b) // the next read of the body returns the error again
	rep.Body = readCloser{io.MultiReader(bytes.NewReader(b[:got]), rep.Body), rep.Body}
	j.progress.receive(-int64(got)) // they are counted again when they are read
	return b[:got]
}
