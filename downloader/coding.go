package downloader

// This file decides what a Content-Encoding field means for the file.
//
// pawl asks for identity, so the body of a response is the file. Some servers send
// a content coding all the same. It belongs to the file if anything says so: a name
// such as "x.tar.gz" in any URL of the exchange, in the local name or in
// Content-Disposition, a media type such as application/gzip, a digest or a size
// that was given for the file, a URL that contains a digest, or ranges, whose
// offsets count coded bytes (RFC 9110 §14.2). Only if nothing does, a gzip coding is
// removed. Other codings that transform bytes cannot be removed, and are an error
// then. A coding that is not known transforms nothing, most likely.

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"pawl/chunk"
	"pawl/downloader/failure"
)

// A knownForm is what is known of a file before any response.
type knownForm struct {
	name    string // local name that the user or a list chose; "" for none
	size    int64  // bytes that the file must have; -1 unknown
	digest  bool   // a digest is given, which is that of the coded bytes unless decoded is set
	decoded bool   // the coded bytes did not have the digest
}

// A transform is a content coding that changes the bytes of a file.
type transform struct {
	suffixes []string // of names of files that are in this coding already
	media    []string // parts of the media types of such files
}

// transforms are the codings of RFC 9110 §18.6 and its registry that change bytes,
// and those that servers send without registration. Names are without "x-".
var transforms = map[string]transform{
	"gzip": {
		suffixes: []string{
			".gz", ".gzip", ".tgz", ".taz", ".tpz", ".svgz", ".emz", ".wmz", ".vgz", ".vgm", ".mgz", ".dz", ".adz", ".hdz", ".cpgz", ".xcfgz",
			".bgz", ".bgzf", ".bam", ".bcf", ".tbi", ".csi", // blocked gzip of genome data
			".crate", ".apk", ".ipk", ".opk", ".gem", ".box", ".unitypackage", ".rds", ".rda", ".rdata", // packages and data that are gzip inside
		},
		media: []string{"gzip", "gunzip", "tgz", "-gz", "compressed"},
	},
	"br":           {[]string{".br", ".tbr"}, []string{"brotli"}},
	"zstd":         {[]string{".zst", ".zstd", ".tzst", ".tzs"}, []string{"zstd"}},
	"compress":     {[]string{".z", ".taz"}, []string{"x-compress"}},
	"deflate":      {[]string{".zz", ".zlib", ".deflate"}, []string{"zlib", "deflate"}},
	"bzip2":        {[]string{".bz2", ".bz", ".tbz", ".tbz2", ".tb2"}, []string{"bzip"}},
	"xz":           {[]string{".xz", ".txz"}, []string{"xz"}},
	"lzma":         {[]string{".lzma", ".tlz"}, []string{"lzma"}},
	"lz4":          {[]string{".lz4"}, []string{"lz4"}},
	"snappy":       {[]string{".sz", ".snappy"}, []string{"snappy"}},
	"dcb":          {},
	"dcz":          {},
	"exi":          {[]string{".exi"}, []string{"exi"}},
	"pack200-gzip": {[]string{".pack.gz"}, []string{"pack200"}},
	"aes128gcm":    {},
}

// codings returns the codings of a response that transform bytes, in the order in
// which they were applied, and all others but identity, which are not known.
func codings(h http.Header) (applied, unknown []string) {
	for c := range strings.SplitSeq(strings.Join(h.Values("Content-Encoding"), ","), ",") {
		c = strings.ToLower(strings.Trim(c, " \t"))
		name := strings.TrimPrefix(c, "x-")
		switch _, transforms := transforms[name]; {
		case transforms:
			applied = append(applied, name)
		case c != "" && c != "identity":
			unknown = append(unknown, c)
		}
	}
	return applied, unknown
}

// A coding is what a Content-Encoding field means for a file.
type coding struct {
	kept    string // coding that belongs to the file, for example "gzip"; "" for none
	removed string // "gzip" if it has to be removed to get the file, else ""
	note    string // what the user should know; "" for nothing
}

// codingOf returns what the Content-Encoding of resp means for a file of which k is
// known. The error is an failure.ErrProtocol, for a coding that cannot be removed.
func codingOf(resp *http.Response, k knownForm) (coding, error) {
	applied, unknown := codings(resp.Header)
	c := strings.Join(applied, ", ")
	switch {
	case len(unknown) > 0 && c == "":
		return coding{note: fmt.Sprintf("the server names an unknown content coding, %s; the file is stored as sent", quoted(strings.Join(unknown, ", ")))}, nil
	case c == "":
		return coding{}, nil
	case len(c) > maxMedia:
		return coding{}, failure.New(failure.ErrProtocol, "the server names too many content codings")
	case saysCoded(applied[len(applied)-1], resp, k):
		return coding{kept: c}, nil
	case c == "gzip" && offersRanges(resp) && !k.decoded:
		return coding{kept: c, note: "the server sends the file in the content coding gzip, and offers ranges of it; it is stored as sent"}, nil
	case c == "gzip" && resp.StatusCode != http.StatusPartialContent:
		return coding{removed: c, note: "the server applied the content coding gzip, which was not asked for; it is removed"}, nil
	}
	return coding{}, failure.Wrap(failure.ErrProtocol, fmt.Errorf("the server sends it coded as %s, which was not asked for", quoted(c)))
}

// offersRanges reports whether the server serves ranges of this body.
func offersRanges(resp *http.Response) bool {
	return resp.StatusCode == http.StatusPartialContent || strings.EqualFold(strings.TrimSpace(resp.Header.Get("Accept-Ranges")), "bytes")
}

// saysCoded reports whether anything but ranges says that the file is in coding c.
func saysCoded(c string, resp *http.Response, k knownForm) bool {
	if k.digest && !k.decoded || k.size >= 0 && k.size == resp.ContentLength {
		return true
	}
	t, media := transforms[c], strings.ToLower(resp.Header.Get("Content-Type"))
	if slices.ContainsFunc(t.media, func(part string) bool { return strings.Contains(media, part) }) {
		return true
	}
	names := []string{k.name, dispositionName(resp.Header.Get("Content-Disposition"))}
	for req := resp.Request; req != nil; { // back to the URL that was asked for first
		if isContentAddress(req.URL.Path) {
			return true
		}
		names = append(names, namesIn(req.URL)...)
		if req.Response == nil {
			break
		}
		req = req.Response.Request
	}
	if k.decoded || resp.Header.Get("Docker-Content-Digest") == "" {
		return slices.ContainsFunc(names, func(name string) bool { return hasSuffix(name, t.suffixes) })
	}
	return true
}

// namesIn returns what in a URL may be the name of the file: the last segment of
// the path, the one before it if the last has no extension (".../x.tar.gz/download"),
// and the values of the query ("get?file=x.tar.gz").
func namesIn(u *url.URL) []string {
	last := path.Base(u.Path)
	names := []string{last}
	if !strings.Contains(last, ".") {
		names = append(names, path.Base(path.Dir(u.Path)))
	}
	for _, values := range u.Query() {
		names = append(names, values...)
	}
	return names
}

func hasSuffix(name string, suffixes []string) bool {
	name = strings.ToLower(strings.Trim(name, `"' `))
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// contentAddress matches a segment of a path that is a digest of the file, such as
// "sha256:HEX" in the blobs of an OCI registry, or the bare HEX in its storage.
var contentAddress = regexp.MustCompile(`(?i)(^|/)((sha256[:-])?[0-9a-f]{64}|(sha512[:-])?[0-9a-f]{128})(/|$)`)

func isContentAddress(path string) bool { return contentAddress.MatchString(path) }

// decoded removes the gzip coding of a body, if there is one: a body without the
// mark of gzip (RFC 1952 §2.3.1) is the file, whatever the header says. It reads
// nothing before it is read.
type decoded struct {
	io.ReadCloser
	free  bool      // it may unfold as far as it does, because the size of the file is limited
	plain io.Reader // nil before the first read
}

func (d *decoded) Read(p []byte) (n int, err error) {
	if d.plain == nil {
		if err = d.open(); err != nil {
			return 0, err
		}
	}
	n, err = d.plain.Read(p)
	if errors.Is(err, gzip.ErrHeader) || errors.Is(err, gzip.ErrChecksum) {
		err = failure.Wrap(failure.ErrNetwork, err)
	}
	return n, err
}

// open looks at the beginning of the body.
func (d *decoded) open() error {
	received := &countingReader{Reader: d.ReadCloser}
	body := bufio.NewReader(received)
	mark, err := body.Peek(2)
	if err != nil && err != io.EOF {
		return err
	}
	if string(mark) != "\x1f\x8b" {
		d.plain = body
		return nil
	}
	z, err := gzip.NewReader(body)
	if err != nil {
		return err
	}
	if d.plain = z; !d.free {
		d.plain = &ratioReader{plain: z, received: received}
	}
	return nil
}

// knownForm returns what is known of the file before any response.
func (j *job) knownForm() knownForm {
	k := knownForm{size: -1, digest: !j.req.Sum.IsZero(), decoded: j.wrong.decode()}
	if j.named {
		k.name = path.Base(strings.ReplaceAll(j.req.Output, `\`, "/"))
	}
	if j.req.ListEntry != nil {
		k.size = j.req.ListEntry.Size
	}
	return k
}

// samePart returns an error if rep is a part of a body in another coding than that
// of the bytes so far: its offsets count other bytes.
func (id identity) samePart(rep *reply, r chunk.Range) error {
	if rep.whole || id.size < 0 || id.coding == rep.id.coding {
		return nil
	}
	return fmt.Errorf("%w: %s of a body in another content coding", errLie, span(r))
}
