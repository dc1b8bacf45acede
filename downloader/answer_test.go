package downloader

import (
	"errors"
	"math"
	"net/http"
	"net/url"
	"testing"

	"pawl/chunk"
	"pawl/downloader/failure"
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

func TestReadAnswer(t *testing.T) {
	const cr = "Content-Range"
	part := chunk.Range{Off: 100, End: 200}
	whole := func(size int64) answer {
		end := size
		if size < 0 {
			end = chunk.Unbounded
		}
		return answer{whole: true, body: chunk.Range{End: end}, id: identity{size: size}}
	}
	got := func(off, end, total int64) answer {
		return answer{body: chunk.Range{Off: off, End: end}, id: identity{size: total}}
	}
	size := func(n int64) answer { return answer{id: identity{size: n}} }
	zipped := whole(-1)
	zipped.coding = "gzip"
	kept := func(a answer, coding string) answer {
		a.id.coding = coding
		return a
	}
	tests := []struct {
		name  string
		resp  *http.Response
		asked chunk.Range
		want  answer
		err   error // a sentinel, or a StatusError by its kind
	}{
		{"200", respond(200, 50), chunk.Range{}, whole(50), nil},
		{"200 without length", respond(200, -1), chunk.Range{}, whole(-1), nil},
		{"200 of nothing", respond(200, 0), chunk.Range{}, whole(0), nil},
		{"200 to a range", respond(200, 500), part, whole(500), nil},
		{"200 with a Content-Range", respond(200, 500, cr, "bytes 100-199/500"), part, whole(500), nil},
		{"200 gzip", respond(200, 50, "Content-Encoding", "gzip"), chunk.Range{}, zipped, nil},
		{"200 gzip by its old name", respond(200, 50, "Content-Encoding", "X-GZip"), part, zipped, nil},
		{"200 of another coding", respond(200, 50, "Content-Encoding", "br"), chunk.Range{}, size(-1), failure.ErrProtocol},
		{"200 coded twice", respond(200, 50, "Content-Encoding", "gzip, br"), chunk.Range{}, size(-1), failure.ErrProtocol},

		{"206", respond(206, 100, cr, "bytes 100-199/500"), part, got(100, 200, 500), nil},
		{"206 of unknown total", respond(206, 100, cr, "bytes 100-199/*"), part, got(100, 200, -1), nil},
		{"206 chunked", respond(206, -1, cr, "bytes 100-199/500"), part, got(100, 200, 500), nil},
		{"206 shorter", respond(206, 10, cr, "bytes 100-109/500"), part, got(100, 110, 500), nil},
		{"206 to the end", respond(206, 50, cr, "bytes 100-149/150"), part, got(100, 150, 150), nil},
		{"206 identity", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "Identity"), part, got(100, 200, 500), nil},

		{"206 longer", respond(206, 101, cr, "bytes 100-200/500"), part, got(100, 201, 500), nil},
		{"206 shorter than it says", respond(206, 100, cr, "bytes 100-200/500"), part, size(-1), errLie},
		{"206 from before", respond(206, 101, cr, "bytes 99-199/500"), part, size(-1), errLie},
		{"206 from behind", respond(206, 99, cr, "bytes 101-199/500"), part, size(-1), errLie},
		{"206 elsewhere", respond(206, 100, cr, "bytes 0-99/500"), part, size(-1), errLie},
		{"206 without Content-Range", respond(206, 100), part, size(-1), errLie},
		{"206 unsatisfied", respond(206, 100, cr, "bytes */500"), part, size(-1), errLie},
		{"206 of another unit", respond(206, 100, cr, "items 100-199/500"), part, size(-1), errLie},
		{"206 multipart", respond(206, 300, "Content-Type", "multipart/byteranges; boundary=x"), part, size(-1), errLie},
		// The body is boundaries and headers, not the file (RFC 9110 §15.3.7.2).
		{"206 multipart with Content-Range", respond(206, -1, cr, "bytes 100-199/500", "Content-Type", "multipart/byteranges; boundary=x"), part, size(-1), errLie},
		{"206 too long a body", respond(206, 101, cr, "bytes 100-199/500"), part, size(-1), errLie},
		{"206 too short a body", respond(206, 99, cr, "bytes 100-199/500"), part, size(-1), errLie},
		{"206 empty body", respond(206, 0, cr, "bytes 100-199/500"), part, size(-1), errLie},
		{"206 coded", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "gzip"), part, kept(got(100, 200, 500), "gzip"), nil},
		{"206 of another coding", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "br"), part, size(-1), errLie},
		{"206 of an unknown coding", respond(206, 100, cr, "bytes 100-199/500", "Content-Encoding", "aws-chunked"), part, got(100, 200, 500), nil},
		{"206 of all to a plain GET", respond(206, 500, cr, "bytes 0-499/500"), chunk.Range{}, whole(500), nil},
		{"206 to a plain GET", respond(206, 499, cr, "bytes 0-498/500"), chunk.Range{}, size(-1), errLie},
		{"206 of unknown total to a plain GET", respond(206, 500, cr, "bytes 0-499/*"), chunk.Range{}, size(-1), errLie},

		{"416 with total", respond(416, 0, cr, "bytes */50"), part, size(50), errUnsatisfiable},
		{"416 of an empty file", respond(416, 0, cr, "bytes */0"), part, size(0), errUnsatisfiable},
		{"416 without total", respond(416, 0), part, size(-1), errUnsatisfiable},
		{"416 with a range", respond(416, 0, cr, "bytes 0-9/50"), part, size(-1), errUnsatisfiable},
		{"416 to a plain GET", respond(416, 0, cr, "bytes */50"), chunk.Range{}, size(-1), failure.ErrRefused},

		{"201", respond(201, 50), part, whole(50), nil},
		{"203", respond(203, 50), part, whole(50), nil},
		{"203 without length", respond(203, -1), chunk.Range{}, whole(-1), nil},
		{"226", respond(226, 50), chunk.Range{}, whole(50), nil},
		{"205", respond(205, 0), part, size(-1), failure.ErrProtocol},
		{"204", respond(204, 0), part, size(-1), failure.ErrProtocol},
		{"302", respond(302, 0), part, size(-1), failure.ErrProtocol},
		{"304", respond(304, 0), part, size(-1), failure.ErrProtocol},
		{"401", respond(401, 0), part, size(-1), failure.ErrAuth},
		{"404", respond(404, 0), part, size(-1), failure.ErrRefused},
		{"500 with a Content-Range", respond(500, 100, cr, "bytes 100-199/500"), part, size(-1), failure.ErrRefused},
		{"503", respond(503, 0), part, size(-1), failure.ErrThrottled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.resp.Header.Set("ETag", `"v"`)
			tt.resp.Header.Set("Last-Modified", "then")
			tt.want.id.etag, tt.want.id.lastModified = `"v"`, "then"
			if tt.want.coding != "" { // the tag is that of the coded bytes
				tt.want.id.etag = ""
			}
			a, err := readAnswer(tt.resp, tt.asked, knownForm{size: -1})
			a.id.media, a.note = "", ""
			if !errors.Is(err, tt.err) || a != tt.want {
				t.Errorf("got %+v, %v, want %+v, %v", a, err, tt.want, tt.err)
			}
			var status *failure.StatusError
			if errors.As(err, &status) && (status.Code != tt.resp.StatusCode || status.Host != "h") {
				t.Errorf("got status error %+v, want %d of h", status, tt.resp.StatusCode)
			}
		})
	}
}

// FuzzReadAnswer: whatever a server sends, an accepted part lies inside what
// was asked for and starts where that does.
func FuzzReadAnswer(f *testing.F) {
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
		a, err := readAnswer(resp, asked, knownForm{size: -1})
		coding, codingErr := codingOf(resp, knownForm{size: -1})
		var refused *failure.StatusError
		switch {
		case a.id.size < -1:
			t.Errorf("got size %d", a.id.size)
		case errors.Is(err, errLie) || errors.Is(err, errUnsatisfiable) || errors.As(err, &refused):
			if a.whole || !a.body.Empty() {
				t.Errorf("got an answer %+v with error %v", a, err)
			}
		case isWhole(status) && errors.Is(err, failure.ErrProtocol):
			if codingErr == nil {
				t.Errorf("coding %q: got error %v", coded, err)
			}
		case err != nil:
			t.Errorf("got error %v, which is of no kind", err)
		case a.coding != "":
			if !isWhole(status) || !a.whole || coding.removed == "" || a.id.size != -1 || a.id.etag != "" || a.body != (chunk.Range{End: chunk.Unbounded}) {
				t.Errorf("got %+v for status %d", a, status)
			}
		case a.whole && status == 206:
			if !asked.Empty() || a.body != (chunk.Range{End: a.id.size}) || length >= 0 && a.body.Len() != length {
				t.Errorf("asked for %v, got %+v, length %d", asked, a, length)
			}
		case a.whole:
			if !isWhole(status) || a.body.Off != 0 || a.id.size != length || length >= 0 && a.body.Len() != length {
				t.Errorf("got %+v for status %d, length %d", a, status, length)
			}
		case status != 206 || a.body.Empty() || a.body.Off != asked.Off:
			t.Errorf("asked for %v, got %+v", asked, a)
		case length >= 0 && length != a.body.Len():
			t.Errorf("length %d, got %+v", length, a)
		case coding.kept != a.id.coding:
			t.Errorf("coding %q, got %+v", coded, a)
		}
	})
}

func TestIdentity(t *testing.T) {
	const day, later = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
	tests := []struct {
		a, b    identity
		differs bool
		proves  bool // that b is a
	}{
		{identity{-1, "", "", "", ""}, identity{-1, "", "", "", ""}, false, false},
		{identity{5, "", "", "", ""}, identity{5, "", "", "", ""}, false, false},
		{identity{5, "", "", "", ""}, identity{6, "", "", "", ""}, true, false},
		{identity{0, "", "", "", ""}, identity{6, "", "", "", ""}, true, false}, // 0 is a size that is known
		{identity{-1, "", "", "", ""}, identity{6, "", "", "", ""}, false, false},
		{identity{5, `"a"`, day, "", ""}, identity{5, `"a"`, day, "", ""}, false, true},
		{identity{5, `"a"`, day, "", ""}, identity{-1, `"a"`, "", "", ""}, false, true},
		{identity{-1, `"a"`, "", "", ""}, identity{5, `"a"`, "", "", ""}, false, true},
		{identity{5, `"a"`, "", "", ""}, identity{5, `"b"`, "", "", ""}, true, false},
		{identity{5, `"a"`, "", "", ""}, identity{6, `"a"`, "", "", ""}, true, false},
		{identity{5, `"a"`, day, "", ""}, identity{5, `"a"`, later, "", ""}, true, false},
		{identity{5, `"a"`, day, "", ""}, identity{5, "", day, "", ""}, false, false},
		{identity{5, "", day, "", ""}, identity{5, `"a"`, day, "", ""}, false, false},
		{identity{5, `"a"`, "", "", ""}, identity{5, `W/"a"`, "", "", ""}, false, false}, // as Apache says it of a young file
		{identity{5, `W/"a"`, "", "", ""}, identity{5, `W/"b"`, "", "", ""}, true, false},
		{identity{5, `W/"a"`, "", "", ""}, identity{5, `W/"a"`, "", "", ""}, false, false}, // weak: equal meaning, not equal bytes
		{identity{5, "", day, "", ""}, identity{5, "", day, "", ""}, false, false},         // a second is long
		{identity{5, "", day, "", ""}, identity{5, "", later, "", ""}, true, false},
	}
	for _, tt := range tests {
		there, back := tt.a.differs(tt.b), tt.b.differs(tt.a)
		if (there != "") != tt.differs || (back != "") != tt.differs {
			t.Errorf("%v differs from %v: got %q and %q, want %v", tt.a, tt.b, there, back, tt.differs)
		}
		if got := tt.a.proves(tt.b); got != tt.proves {
			t.Errorf("%v proves %v: got %v, want %v", tt.a, tt.b, got, tt.proves)
		}
	}
}

func TestStrongETag(t *testing.T) {
	for etag, want := range map[string]string{
		"": "", `"a"`: `"a"`, `""`: `""`, `W/"a"`: "", `w/"a"`: "", "a": "", `'a'`: "",
	} {
		if got := (identity{etag: etag}).strongETag(); got != want {
			t.Errorf("strong form of %q: got %q, want %q", etag, got, want)
		}
	}
}
