package downloader

import (
	"context"
	"errors"
	"net/http"
	"time"

	"pawl/chunk"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
)

// A Ranges says whether a server sends parts of a file.
type Ranges string

// The values of Ranges.
const (
	RangesYes     Ranges = "yes"     // it sent the part that was requested
	RangesNo      Ranges = "no"      // it sent, or would have sent, the whole file
	RangesUnknown Ranges = "unknown" // the file is empty, so it has no part
)

// An Info is the response of a server to a request for the first byte of a file. Texts are as the
// server sends them, without user and password in URLs; none is "" or nil.
type Info struct {
	URL       string   // as requested
	Redirects []string // the URLs that the redirects led to, in order; the last one is Final
	Final     string   // URL that answered
	Status    int      // of the response, for example 206
	Protocol  string   // for example "HTTP/1.1"

	Name         string // of the file as it would be stored
	Size         int64  // bytes; -1 if unknown
	Ranges       Ranges
	ETag         string
	LastModified string
	Type         string      // media type without parameters
	Coding       string      // content coding that belongs to the file
	Digests      []chunk.Sum // that the server promises of the whole file
	Mirrors      []string    // other URLs of the file in Link fields, best first
	Private      bool        // the server has a private address
	Took         time.Duration
}

// Info asks the server about the file of req, with the request that a download would send first, but
// for one byte only. It stores nothing. Of req, URL and Access are used. The errors are as of Get.
func (d *Downloader) Info(ctx context.Context, req Request) (Info, error) {
	begun := time.Now()
	dl, err := newDownload(d.engine, req)
	if err != nil {
		return Info{}, err
	}
	a := asker{dl}
	if err := a.acquireFirst(ctx, a.engine.host(a.origin.url)); err != nil {
		return Info{}, err
	}
	defer a.first.release()
	extra := make(http.Header)
	extra.Set("Want-Repr-Digest", response.WantReprDigest)
	rep, err := a.askFirstByte(ctx, extra)
	isEmpty := errors.Is(err, errUnsatisfiable)
	if err != nil && !isEmpty {
		return Info{}, err
	}
	rep.close()
	i := Info{
		URL: weburl.WithoutUser(req.URL), Redirects: redirects(rep.Response), Final: weburl.WithoutUser(rep.Request.URL.String()), Status: rep.StatusCode, Protocol: rep.Proto,
		Name: response.Filename(rep.Header.Get("Content-Disposition"), a.origin.url),
		Size: rep.Version.Size, Ranges: RangesYes, ETag: rep.Version.ETag, LastModified: rep.Version.LastModified, Type: rep.Version.MediaType, Coding: rep.Version.Coding,
		Mirrors: response.Duplicates(rep.Header, rep.Request.URL), Private: rep.info.Private(), Took: time.Since(begun),
	}
	promised, _ := response.Digests(rep.Header, rep.Content)
	for _, d := range promised {
		i.Digests = append(i.Digests, d.Sum)
	}
	switch {
	case isEmpty || i.Size == 0:
		i.Ranges, i.Size = RangesUnknown, max(0, i.Size)
	case rep.Whole:
		i.Ranges = RangesNo
	}
	return i, nil
}

// redirects returns the URLs to which redirects led before resp, and the URL of resp itself.
func redirects(resp *http.Response) (urls []string) {
	for r := resp.Request; r != nil && r.Response != nil; r = r.Response.Request {
		urls = append([]string{weburl.WithoutUser(r.URL.String())}, urls...)
	}
	return urls
}
