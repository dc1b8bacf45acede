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
		{" bytes  5-9/10\t", chunk.Range{Off: 5, End: 10}, 10, true}, // blanks around are no one's mistake to punish
		{"bytes 0-9223372036854775806/*", chunk.Range{Off: 0, End: math.MaxInt64}, -1, true},

		{in: ""},
		{in: "bytes"},
		{in: "bytes "},
		{in: "bytes /"},
		{in: "bytes 5-9"},
		{in: "bytes 5-9/"},
		{in: "bytes */*"}, // tells nothing
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
		{in: "bytes 0-9223372036854775807/*"}, // its end has no int64
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
				t.Errorf("%q: refused, with range %v", s, r)
			}
		case r.Empty():
			if r != (chunk.Range{}) || total < 0 {
				t.Errorf("%q: got %v/%d, want an empty range with a total", s, r, total)
			}
		case r.Off < 0 || total < -1 || total >= 0 && r.End > total:
			t.Errorf("%q: got %v/%d", s, r, total)
		}
	})
}

// respond makes a response; header is name, value, name, value …
func respond(status int, length int64, header ...string) *http.Response {
	h := make(http.Header)
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return &http.Response{
		StatusCode: status, ContentLength: length, Header: h, Body: http.NoBody,
		Request: &http.Request{URL: &url.URL{Scheme: "http", Host: "h"}},
	}
}

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
	got := func(off, end, total int64) Content {
		return Content{Range: chunk.Range{Off: off, End: end}, Version: Version{Size: total}}
	}
	is := func(m Meaning) Content { return Content{Meaning: m, Version: Version{Size: -1}} }
	unsatisfiable := func(size int64) Content { return Content{Meaning: Unsatisfiable, Version: Version{Size: size}} }
	zipped := whole(-1)
	zipped.Gzip = true
	kept := func(c Content, coding string) Content {
		c.Version.Coding = coding
		return c
	}
	tests := []struct {
		name  string
		resp  *http.Response
		asked chunk.Range
		want  Content
	}{
		{"200", respond(200, 50), chunk.Range{}, whole(50)},
		{"200 without length", respond(200, -1), chunk.Range{}, whole(-1)},
		{"200 of nothing", respond(200, 0), chunk.Range{}, whole(0)},
		{"200 to a range", respond(200, 500), part, whole(500)},
		{"200 with a Content-Range", respond(200, 500, cr, "bytes 100-199/500"), part, whole(500)},
		{"200 gzip", respond(200, 50, "Content-Encoding", "gzip"), chunk.Range{}, zipped},
		{"200 gzip by its old name", respond(200, 50, "Content-Encoding", "X-GZip"), part, zipped},
		{"200 of another coding", respond(200, 50, "Content-Encoding", "br"), chunk.Range{}, is(Undecodable)},
		{"200 coded twice", respond(200, 50, "Content-Encoding", "gzip, br"), chunk.Range{}, is(Undecodable)},

		{"206", respond(206, 100, cr, "bytes 100-199/500"), part, got(100, 200, 500)},
		{"206 of unknown total", respond(206, 100, cr, "bytes 100-199/*"), part, got(100, 200, -1)},
		{"206 chunked", respond(206, -1, cr, "bytes 100-199/500"), part, got(100, 200, 500)},
		{"206 shorter", respond(206, 10, cr, "bytes 100-109/500"), part, got(100, 110, 500)},
		{"206 to the end", respond(206, 50, cr, "bytes 100-149/150"), part, got(100, 150, 150)},
		{"206 identity", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "Identity"), part, got(100, 200, 500)},

		{"206 longer", respond(206, 101, cr, "bytes 100-200/500"), part, got(100, 201, 500)},
		{"206 shorter than it says", respond(206, 100, cr, "bytes 100-200/500"), part, is(Lie)},
		{"206 from before", respond(206, 101, cr, "bytes 99-199/500"), part, is(Lie)},
		{"206 from behind", respond(206, 99, cr, "bytes 101-199/500"), part, is(Lie)},
		{"206 elsewhere", respond(206, 100, cr, "bytes 0-99/500"), part, is(Lie)},
		{"206 without Content-Range", respond(206, 100), part, is(Lie)},
		{"206 unsatisfied", respond(206, 100, cr, "bytes */500"), part, is(Lie)},
		{"206 of another unit", respond(206, 100, cr, "items 100-199/500"), part, is(Lie)},
		{"206 multipart", respond(206, 300, "Content-Type", "multipart/byteranges; boundary=x"), part, is(Lie)},
		// The body is boundaries and headers, not the file (RFC 9110 §15.3.7.2).
		{"206 multipart with Content-Range", respond(206, -1, cr, "bytes 100-199/500", "Content-Type", "multipart/byteranges; boundary=x"), part, is(Lie)},
		{"206 too long a body", respond(206, 101, cr, "bytes 100-199/500"), part, is(Lie)},
		{"206 too short a body", respond(206, 99, cr, "bytes 100-199/500"), part, is(Lie)},
		{"206 empty body", respond(206, 0, cr, "bytes 100-199/500"), part, is(Lie)},
		{"206 coded", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "gzip"), part, kept(got(100, 200, 500), "gzip")},
		{"206 of another coding", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "br"), part, is(Lie)},
		{"206 of an unknown coding", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "aws-chunked"), part, got(100, 200, 500)},
		{"206 of all to a plain GET", respond(206, 500, cr, "bytes 0-499/500"), chunk.Range{}, whole(500)},
		{"206 to a plain GET", respond(206, 499, cr, "bytes 0-498/500"), chunk.Range{}, is(Lie)},
		{"206 of unknown total to a plain GET", respond(206, 500, cr, "bytes 0-499/*"), chunk.Range{}, is(Lie)},

		{"416 with total", respond(416, 0, cr, "bytes */50"), part, unsatisfiable(50)},
		{"416 of an empty file", respond(416, 0, cr, "bytes */0"), part, unsatisfiable(0)},
		{"416 without total", respond(416, 0), part, unsatisfiable(-1)},
		{"416 with a range", respond(416, 0, cr, "bytes 0-9/50"), part, unsatisfiable(-1)},
		{"416 to a plain GET", respond(416, 0, cr, "bytes */50"), chunk.Range{}, is(HTTPError)},

		{"201", respond(201, 50), part, whole(50)},
		{"203", respond(203, 50), part, whole(50)},
		{"203 without length", respond(203, -1), chunk.Range{}, whole(-1)},
		{"226", respond(226, 50), chunk.Range{}, whole(50)},
		{"205", respond(205, 0), part, is(HTTPError)},
		{"204", respond(204, 0), part, is(HTTPError)},
		{"302", respond(302, 0), part, is(HTTPError)},
		{"304", respond(304, 0), part, is(HTTPError)},
		{"401", respond(401, 0), part, is(HTTPError)},
		{"404", respond(404, 0), part, is(HTTPError)},
		{"500 with a Content-Range", respond(500, 100, cr, "bytes 100-199/500"), part, is(HTTPError)},
		{"503", respond(503, 0), part, is(HTTPError)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.resp.Header.Set("ETag", `"v"`)
			tt.resp.Header.Set("Last-Modified", "then")
			tt.want.Version.ETag, tt.want.Version.LastModified = `"v"`, "then"
			if tt.want.Gzip { // the tag is for the coded bytes
				tt.want.Version.ETag = ""
			}
			c := Read(tt.resp, tt.asked, Known{Size: -1})
			if needed := c.Meaning == Lie || c.Meaning == Undecodable; needed != (c.Problem != "") {
				t.Errorf("got problem %q with meaning %d", c.Problem, c.Meaning)
			}
			c.Problem, c.Note, c.Version.MediaType = "", "", ""
			if c != tt.want {
				t.Errorf("got %+v, want %+v", c, tt.want)
			}
		})
	}
}

// A usable part lies inside the requested range and begins where the range begins, whatever
// a server sends.
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
		asked := chunk.Range{Off: off, End: off + n}
		resp := respond(status, length, "Content-Range", contentRange, "Content-Encoding", coded)
		c := Read(resp, asked, Known{Size: -1})
		coding := codingOf(resp, Known{Size: -1})
		switch {
		case c.Version.Size < -1:
			t.Errorf("got size %d", c.Version.Size)
		case c.Meaning == Undecodable && (!isWhole(status) || coding.problem == ""):
			t.Errorf("coding %q, status %d: got %+v", coded, status, c)
		case c.Meaning != Usable:
			if c.Whole || c.Gzip || !c.Range.Empty() {
				t.Errorf("got %+v", c)
			}
		case c.Gzip:
			if !isWhole(status) || !c.Whole || !coding.removed || c.Version.Size != -1 || c.Version.ETag != "" || c.Range != (chunk.Range{End: chunk.Unbounded}) {
				t.Errorf("got %+v for status %d", c, status)
			}
		case c.Whole && status == 206:
			if !asked.Empty() || c.Range != (chunk.Range{End: c.Version.Size}) || length >= 0 && c.Range.Len() != length {
				t.Errorf("requested %v, got %+v, length %d", asked, c, length)
			}
		case c.Whole:
			if !isWhole(status) || c.Range.Off != 0 || c.Version.Size != length || length >= 0 && c.Range.Len() != length {
				t.Errorf("got %+v for status %d, length %d", c, status, length)
			}
		case status != 206 || c.Range.Empty() || c.Range.Off != asked.Off:
			t.Errorf("requested %v, got %+v", asked, c)
		case length >= 0 && length != c.Range.Len():
			t.Errorf("length %d, got %+v", length, c)
		case coding.kept != c.Version.Coding:
			t.Errorf("coding %q, got %+v", coded, c)
		}
	})
}

func TestComplete(t *testing.T) {
	for status, want := range map[int]bool{200: true, 201: true, 202: true, 203: true, 204: false, 205: false, 206: true, 302: false, 304: true, 404: false, 416: true, 500: false} {
		if got := Complete(respond(status, 0)); got != want {
			t.Errorf("status %d: got %v, want %v", status, got, want)
		}
	}
	if Complete(respond(202, 0, "Retry-After", "1")) {
		t.Error("a 202 with Retry-After counts as a file")
	}
}
