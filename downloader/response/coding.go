package response

// This file decides whether a content coding belongs to the file.
//
// pawl asks for identity, so the body of a response is the file. Some servers send a
// content coding all the same. It belongs to the file if any signal says so: a name such
// as "x.tar.gz" in a URL of the exchange, in the local name or in Content-Disposition; a
// media type such as application/gzip; a digest or a size that was given for the file; a
// URL that contains a digest; or ranges, whose offsets count coded bytes (RFC 9110 §14.2).
// A gzip coding is removed only if there is no such signal. Other codings that transform
// bytes cannot be removed, and are then an error. An unknown coding most likely transforms
// nothing, for example "utf-8".

import (
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
)

// Known has the facts about a file that are known before any response.
type Known struct {
	Name       string // local name that the user or a list chose; "" for none
	Size       int64  // bytes that the file must have; -1 if unknown
	Digest     bool   // a digest is given, of the coded bytes unless WrongCoded is set
	WrongCoded bool   // the coded bytes were downloaded before, and do not have the digest
}

// A transform is a content coding that changes the bytes of a file.
type transform struct {
	suffixes   []string // names of files in this coding end so
	mediaTypes []string // media types of files in this coding contain one of these
}

// transforms are the codings that change bytes: those in the registry of RFC 9110 §18.6, and
// others that servers send without registration. The names are without "x-".
var transforms = map[string]transform{
	"gzip": {
		suffixes: []string{
			".gz", ".gzip", ".tgz", ".taz", ".tpz", ".svgz", ".emz", ".wmz", ".vgz", ".vgm", ".mgz", ".dz", ".adz", ".hdz", ".cpgz", ".xcfgz",
			".bgz", ".bgzf", ".bam", ".bcf", ".tbi", ".csi", // blocked gzip of genome data
			".crate", ".apk", ".ipk", ".opk", ".gem", ".box", ".unitypackage", ".rds", ".rda", ".rdata", // packages and data that are gzip inside
		},
		mediaTypes: []string{"gzip", "gunzip", "tgz", "-gz", "compressed"},
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

// codings returns the codings of a response that transform bytes, in the order in which the
// server applied them, and the unknown ones.
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

// A coding is the meaning of a Content-Encoding field for a file.
type coding struct {
	kept    string // coding that belongs to the file, for example "gzip"; "" for none
	removed bool   // a gzip coding must be removed to get the file
	note    string // a note for the user; "" for none
	problem string // why the file cannot be had; "" if it can
}

// codingOf returns the meaning of the Content-Encoding of resp for the file.
func codingOf(resp *http.Response, known Known) coding {
	applied, unknown := codings(resp.Header)
	c := strings.Join(applied, ", ")
	switch {
	case len(unknown) > 0 && c == "":
		return coding{note: fmt.Sprintf("the server names an unknown content coding, %s; the file is stored as sent", quote(strings.Join(unknown, ", ")))}
	case c == "":
		return coding{}
	case len(c) > maxMediaType:
		return coding{problem: "the server names too many content codings"}
	case belongsToFile(applied[len(applied)-1], resp, known):
		return coding{kept: c}
	case c == "gzip" && offersRanges(resp) && !known.WrongCoded:
		return coding{kept: c, note: "the server sends the file in the content coding gzip, and offers ranges of it; it is stored as sent"}
	case c == "gzip" && resp.StatusCode != http.StatusPartialContent:
		return coding{removed: true, note: "the server applied the content coding gzip, which was not requested; it is removed"}
	}
	return coding{problem: fmt.Sprintf("the server sends the content coding %s, which was not requested and cannot be removed", quote(c))}
}

// offersRanges reports whether the server serves ranges of this body.
func offersRanges(resp *http.Response) bool {
	return resp.StatusCode == http.StatusPartialContent || strings.EqualFold(strings.TrimSpace(resp.Header.Get("Accept-Ranges")), "bytes")
}

// belongsToFile reports whether any signal, except ranges, says that the file itself is in
// coding c.
func belongsToFile(c string, resp *http.Response, known Known) bool {
	if known.Digest && !known.WrongCoded || known.Size >= 0 && known.Size == resp.ContentLength {
		return true
	}
	t, mediaType := transforms[c], strings.ToLower(resp.Header.Get("Content-Type"))
	if slices.ContainsFunc(t.mediaTypes, func(part string) bool { return strings.Contains(mediaType, part) }) {
		return true
	}
	names := []string{known.Name, dispositionName(resp.Header.Get("Content-Disposition"))}
	for req := resp.Request; req != nil; { // from the final URL back to the first one
		if isContentAddress(req.URL.Path) {
			return true
		}
		names = append(names, namesIn(req.URL)...)
		if req.Response == nil {
			break
		}
		req = req.Response.Request
	}
	if known.WrongCoded || resp.Header.Get("Docker-Content-Digest") == "" {
		return slices.ContainsFunc(names, func(name string) bool { return hasSuffix(name, t.suffixes) })
	}
	return true
}

// namesIn returns the parts of a URL that may be the name of the file: the last segment of
// the path, the one before it if the last has no extension (".../x.tar.gz/download"), and the
// values of the query ("get?file=x.tar.gz").
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

// hasSuffix reports whether name, without the quotation marks that some URLs put around it,
// ends with one of the suffixes, in any case.
func hasSuffix(name string, suffixes []string) bool {
	name = strings.ToLower(strings.Trim(name, `"' `))
	return slices.ContainsFunc(suffixes, func(s string) bool { return strings.HasSuffix(name, s) })
}

// contentAddress matches a segment of a path that is a digest of the file, such as
// "sha256:HEX" among the blobs of an OCI registry, or the bare HEX in its storage.
var contentAddress = regexp.MustCompile(`(?i)(^|/)((sha256[:-])?[0-9a-f]{64}|(sha512[:-])?[0-9a-f]{128})(/|$)`)

func isContentAddress(path string) bool { return contentAddress.MatchString(path) }
