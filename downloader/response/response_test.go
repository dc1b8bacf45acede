package response

import (
	"math"
	"net/http"
	"net/url"
	"testing"

	"pawl/chunk"
)

func TestParseContentRange(t *testing.T) {
	tests := []struct {
		in    string
		want  chunk.Range
		total int64
		ok    bool
	}{
		{"bytes 0-0/1", chunk.Range{Off: 0, End: 1}, 1, true},
		{"bytes 5-9/10", chunk.Range{Off: 5, End: 10}, 10, true},
		{"bytes 5-9/*", chunk.Range{Off: 5, End: 10}, -1, true},
		{"bytes */10", chunk.Range{}, 10, true},
		{"bytes */0", chunk.Range{}, 0, true},
		{"Bytes 5-9/10", chunk.Range{Off: 5, End: 10}, 10, true},
		{"bytes 005-009/0010", chunk.Range{Off: 5, End: 10}, 10, true},
		{" bytes  5-9/10\t", chunk.Range{Off: 5, End: 10}, 10, true}, // surplus blanks are allowed
		{"bytes 0-9223372036854775806/*", chunk.Range{Off: 0, End: math.MaxInt64}, -1, true},

		{in: ""},
		{in: "bytes"},
		{in: "bytes "},
		{in: "bytes /"},
		{in: "bytes 5-9"},
		{in: "bytes 5-9/"},
		{in: "bytes */*"}, // no information
		{in: "bytes *"},
		{in: "bytes -/10"},
		{in: "bytes 5/10"},
		{in: "bytes 5-/10"},
		{in: "bytes -9/10"},
		{in: "bytes=5-9/10"},
		{in: "5-9/10"},
		{in: "items 5-9/10"},
		{in: "bytesx 5-9/10"},
		{in: "bytes 9-5/10"},  // reversed
		{in: "bytes 5-10/10"}, // beyond the total
		{in: "bytes 5-9/5"},
		{in: "bytes 0-0/0"},
		{in: "bytes +5-9/10"},
		{in: "bytes 5-+9/10"},
		{in: "bytes 5--9/10"},
		{in: "bytes 5-9/+10"},
		{in: "bytes 5-9/-1"},
		{in: "bytes */-1"},
		{in: "bytes 5 -9/10"},
		{in: "bytes 5- 9/10"},
		{in: "bytes 5-9 /10"},
		{in: "bytes 5-9/ 10"},
		{in: "bytes 5-9/10/10"},
		{in: "bytes 5-9-9/10"},
		{in: "bytes 5-9,15-19/100"},
		{in: "bytes 0x5-0x9/0x10"},
		{in: "bytes 1_0-2_0/1_00"},
		{in: "bytes ٥-٩/١٠"},
		{in: "bytes 0-9223372036854775807/*"}, // the end of the range overflows int64
		{in: "bytes 0-9223372036854775808/*"},
		{in: "bytes 18446744073709551616-18446744073709551617/*"},
		{in: "bytes */9223372036854775808"},
	}
	for _, tt := range tests {
		r, total, ok := parseContentRange(tt.in)
		if ok != tt.ok || ok && (r != tt.want || total != tt.total) {
			t.Errorf("parseContentRange(%q): got %v, %d, %v, want %v, %d, %v", tt.in, r, total, ok, tt.want, tt.total, tt.ok)
		}
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes */5", "bytes 1-2/*", "bytes 0-9223372036854775807/*", "bytes -1-2/3", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, total, ok := parseContentRange(s)
		switch {
		case !ok:
			if !r.Empty() {
				t.Errorf("%q: got range %v although it is invalid", s, r)
			}
		case r.Empty():
			if r != (chunk.Range{}) || total < 0 {
				t.Errorf("%q: got %v/%d, want an empty range with a total", s, r, total)
			}
		case r.Off < 0 || total < -1 || total >= 0 && r.End > total:
			t.Errorf("%q: got %v/%d, want a range inside of the total", s, r, total)
		}
	})
}

// newResponse returns a response with an empty body. header has names and values by turns.
func newResponse(status int, length int64, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, ContentLength: length, Header: h, Body: http.NoBody,
		Request: &http.Request{URL: &url.URL{Scheme: "http", Host: "h"}},
	}
}

// Read returns the bytes, the version and the coding of a response, or the reason why it cannot be
// used.
func TestRead(t *testing.T) {
	const cr = "Content-Range"
	part := chunk.Range{Off: 100, End: 200}
	whole := func(size int64) Content {
		end := size
		if size < 0 {
			end = chunk.Unbounded
		}
		return Content{Whole: true, Range: chunk.Range{End: end}, Version: Version{Size: size}}
	}
	ranged := func(off, end, total int64) Content {
		return Content{Range: chunk.Range{Off: off, End: end}, Version: Version{Size: total}}
	}
	unusable := func(m Meaning) Content { return Content{Meaning: m, Version: Version{Size: -1}} }
	unsatisfiable := func(size int64) Content { return Content{Meaning: Unsatisfiable, Version: Version{Size: size}} }
	gzipped := whole(-1)
	gzipped.Gzip = true
	kept := func(c Content, coding string) Content {
		c.Version.Coding = coding
		return c
	}
	tests := []struct {
		name      string
		resp      *http.Response
		requested chunk.Range
		want      Content
	}{
		{"200", newResponse(200, 50), chunk.Range{}, whole(50)},
		{"200 without length", newResponse(200, -1), chunk.Range{}, whole(-1)},
		{"200 of an empty file", newResponse(200, 0), chunk.Range{}, whole(0)},
		{"200 to a range", newResponse(200, 500), part, whole(500)},
		{"200 with a Content-Range", newResponse(200, 500, cr, "bytes 100-199/500"), part, whole(500)},
		{"200 gzip", newResponse(200, 50, "Content-Encoding", "gzip"), chunk.Range{}, gzipped},
		{"200 gzip by its old name", newResponse(200, 50, "Content-Encoding", "X-GZip"), part, gzipped},
		{"200 of another coding", newResponse(200, 50, "Content-Encoding", "br"), chunk.Range{}, unusable(Undecodable)},
		{"200 coded twice", newResponse(200, 50, "Content-Encoding", "gzip, br"), chunk.Range{}, unusable(Undecodable)},

		{"206", newResponse(206, 100, cr, "bytes 100-199/500"), part, ranged(100, 200, 500)},
		{"206 of unknown total", newResponse(206, 100, cr, "bytes 100-199/*"), part, ranged(100, 200, -1)},
		{"206 chunked", newResponse(206, -1, cr, "bytes 100-199/500"), part, ranged(100, 200, 500)},
		{"206 shorter", newResponse(206, 10, cr, "bytes 100-109/500"), part, ranged(100, 110, 500)},
		{"206 to the end", newResponse(206, 50, cr, "bytes 100-149/150"), part, ranged(100, 150, 150)},
		{"206 identity", newResponse(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "Identity"), part, ranged(100, 200, 500)},

		{"206 longer", newResponse(206, 101, cr, "bytes 100-200/500"), part, ranged(100, 201, 500)},
		{"206 with fewer bytes than its Content-Range", newResponse(206, 100, cr, "bytes 100-200/500"), part, unusable(Lie)},
		{"206 that starts too early", newResponse(206, 101, cr, "bytes 99-199/500"), part, unusable(Lie)},
		{"206 that starts too late", newResponse(206, 99, cr, "bytes 101-199/500"), part, unusable(Lie)},
		{"206 of another range", newResponse(206, 100, cr, "bytes 0-99/500"), part, unusable(Lie)},
		{"206 without Content-Range", newResponse(206, 100), part, unusable(Lie)},
		{"206 unsatisfied", newResponse(206, 100, cr, "bytes */500"), part, unusable(Lie)},
		{"206 of another unit", newResponse(206, 100, cr, "items 100-199/500"), part, unusable(Lie)},
		{"206 multipart", newResponse(206, 300, "Content-Type", "multipart/byteranges; boundary=x"), part, unusable(Lie)},
		// The body is boundaries and headers, not the file (RFC 9110 §15.3.7.2).
		{"206 multipart with Content-Range", newResponse(206, -1, cr, "bytes 100-199/500", "Content-Type", "multipart/byteranges; boundary=x"), part, unusable(Lie)},
		{"206 with a body that is too long", newResponse(206, 101, cr, "bytes 100-199/500"), part, unusable(Lie)},
		{"206 with a body that is too short", newResponse(206, 99, cr, "bytes 100-199/500"), part, unusable(Lie)},
		{"206 with an empty body", newResponse(206, 0, cr, "bytes 100-199/500"), part, unusable(Lie)},
		{"206 gzip", newResponse(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "gzip"), part, kept(ranged(100, 200, 500), "gzip")},
		{"206 of another coding", newResponse(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "br"), part, unusable(Lie)},
		{"206 of an unknown coding", newResponse(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "aws-chunked"), part, ranged(100, 200, 500)},
		{"206 of the whole file to a plain GET", newResponse(206, 500, cr, "bytes 0-499/500"), chunk.Range{}, whole(500)},
		{"206 to a plain GET", newResponse(206, 499, cr, "bytes 0-498/500"), chunk.Range{}, unusable(Lie)},
		{"206 of unknown total to a plain GET", newResponse(206, 500, cr, "bytes 0-499/*"), chunk.Range{}, unusable(Lie)},

		{"416 with total", newResponse(416, 0, cr, "bytes */50"), part, unsatisfiable(50)},
		{"416 of an empty file", newResponse(416, 0, cr, "bytes */0"), part, unsatisfiable(0)},
		{"416 without total", newResponse(416, 0), part, unsatisfiable(-1)},
		{"416 with a range", newResponse(416, 0, cr, "bytes 0-9/50"), part, unsatisfiable(-1)},
		{"416 to a plain GET", newResponse(416, 0, cr, "bytes */50"), chunk.Range{}, unusable(HTTPError)},

		{"201", newResponse(201, 50), part, whole(50)},
		{"203", newResponse(203, 50), part, whole(50)},
		{"203 without length", newResponse(203, -1), chunk.Range{}, whole(-1)},
		{"226", newResponse(226, 50), chunk.Range{}, whole(50)},
		{"205", newResponse(205, 0), part, unusable(HTTPError)},
		{"204", newResponse(204, 0), part, unusable(HTTPError)},
		{"302", newResponse(302, 0), part, unusable(HTTPError)},
		{"304", newResponse(304, 0), part, unusable(HTTPError)},
		{"401", newResponse(401, 0), part, unusable(HTTPError)},
		{"404", newResponse(404, 0), part, unusable(HTTPError)},
		{"500 with a Content-Range", newResponse(500, 100, cr, "bytes 100-199/500"), part, unusable(HTTPError)},
		{"503", newResponse(503, 0), part, unusable(HTTPError)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.resp.Header.Set("ETag", `"v"`)
			tt.resp.Header.Set("Last-Modified", "then")
			tt.want.Version.ETag, tt.want.Version.LastModified = `"v"`, "then"
			if tt.want.Gzip { // the ETag is for the coded bytes
				tt.want.Version.ETag = ""
			}
			c := Read(tt.resp, tt.requested, Known{Size: -1})
			if hasProblem := c.Meaning == Lie || c.Meaning == Undecodable; hasProblem != (c.Problem != "") {
				t.Errorf("got problem %q with meaning %d, want one: %v", c.Problem, c.Meaning, hasProblem)
			}
			c.Problem, c.Note, c.Version.MediaType = "", "", ""
			if c != tt.want {
				t.Errorf("got %+v, want %+v", c, tt.want)
			}
		})
	}
}

// The charset of a text is the one in Content-Type.
func TestReadCharset(t *testing.T) {
	for mediaType, want := range map[string]string{
		"text/html": "", "text/html; charset=utf-8": "utf-8", "text/html;charset=ISO-8859-1": "ISO-8859-1", `text/html; Charset="x"`: "x", "text/html; charset": "",
	} {
		resp := newResponse(200, 5)
		resp.Header.Set("Content-Type", mediaType)
		if got := Read(resp, chunk.Range{}, Known{Size: -1}).Charset; got != want {
			t.Errorf("%q: got %q, want %q", mediaType, got, want)
		}
	}
}

// The range of a usable part begins where the requested range begins, and has the length of the
// body, whatever a server sends.
func FuzzRead(f *testing.F) {
	f.Add(206, int64(100), "bytes 100-199/500", "", int64(100), int64(100))
	f.Add(206, int64(-1), "bytes 100-150/*", "identity", int64(100), int64(100))
	f.Add(206, int64(5), "bytes 0-4/5", "gzip", int64(0), int64(5))
	f.Add(200, int64(5), "", "", int64(7), int64(5))
	f.Add(416, int64(0), "bytes */5", "", int64(5), int64(1))
	f.Add(206, int64(1), "bytes 9223372036854775806-9223372036854775806/*", "", int64(math.MaxInt64-1), int64(1))
	f.Fuzz(func(t *testing.T, status int, length int64, contentRange, coded string, off, n int64) {
		length = max(length, -1)
		off = max(off, 0)
		n = min(max(n, 0), math.MaxInt64-off)
		requested := chunk.Range{Off: off, End: off + n}
		resp := newResponse(status, length, "Content-Range", contentRange, "Content-Encoding", coded)
		c := Read(resp, requested, Known{Size: -1})
		coding := codingOf(resp, Known{Size: -1})
		switch {
		case c.Version.Size < -1:
			t.Errorf("got size %d, want at least -1", c.Version.Size)
		case c.Meaning == Undecodable && (!isWhole(status) || coding.problem == ""):
			t.Errorf("coding %q, status %d: got %+v", coded, status, c)
		case c.Meaning != Usable:
			if c.Whole || c.Gzip || !c.Range.Empty() {
				t.Errorf("got %+v, want no range of an unusable response", c)
			}
		case c.Gzip:
			if !isWhole(status) || !c.Whole || !coding.removed || c.Version.Size != -1 || c.Version.ETag != "" || c.Range != (chunk.Range{End: chunk.Unbounded}) {
				t.Errorf("got %+v for status %d", c, status)
			}
		case c.Whole && status == 206:
			if !requested.Empty() || c.Range != (chunk.Range{End: c.Version.Size}) || length >= 0 && c.Range.Len() != length {
				t.Errorf("requested %v, got %+v, length %d", requested, c, length)
			}
		case c.Whole:
			if !isWhole(status) || c.Range.Off != 0 || c.Version.Size != length || length >= 0 && c.Range.Len() != length {
				t.Errorf("got %+v for status %d, length %d", c, status, length)
			}
		case status != 206 || c.Range.Empty() || c.Range.Off != requested.Off:
			t.Errorf("requested %v, got %+v", requested, c)
		case length >= 0 && length != c.Range.Len():
			t.Errorf("length %d, got %+v", length, c)
		case coding.kept != c.Version.Coding:
			t.Errorf("coding %q, got %+v", coded, c)
		}
	})
}

// Read can interpret successes with a body, 206, 304 and 416. All others are HTTP errors.
func TestComplete(t *testing.T) {
	for status, want := range map[int]bool{200: true, 201: true, 202: false, 203: true, 204: false, 205: false, 206: true, 302: false, 304: true, 404: false, 416: true, 500: false} {
		if got := Complete(newResponse(status, 0)); got != want {
			t.Errorf("status %d: got %v, want %v", status, got, want)
		}
	}
}
