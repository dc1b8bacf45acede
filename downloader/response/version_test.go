package response

import "testing"

// Differs reports contradictions, in both directions. Proves is true only for equal strong ETags
// without a contradiction.
func TestVersion(t *testing.T) {
	const day, later = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
	tests := []struct {
		a, b    Version
		differs bool
		proves  bool // a proves that b is the same version
	}{
		{Version{-1, "", "", "", ""}, Version{-1, "", "", "", ""}, false, false},
		{Version{5, "", "", "", ""}, Version{5, "", "", "", ""}, false, false},
		{Version{5, "", "", "", ""}, Version{6, "", "", "", ""}, true, false},
		{Version{0, "", "", "", ""}, Version{6, "", "", "", ""}, true, false}, // size 0 is known, unlike -1
		{Version{-1, "", "", "", ""}, Version{6, "", "", "", ""}, false, false},
		{Version{5, `"a"`, day, "", ""}, Version{5, `"a"`, day, "", ""}, false, true},
		{Version{5, `"a"`, day, "", ""}, Version{-1, `"a"`, "", "", ""}, false, true},
		{Version{-1, `"a"`, "", "", ""}, Version{5, `"a"`, "", "", ""}, false, true},
		{Version{5, `"a"`, "", "", ""}, Version{5, `"b"`, "", "", ""}, true, false},
		{Version{5, `"a"`, "", "", ""}, Version{6, `"a"`, "", "", ""}, true, false},
		{Version{5, `"a"`, day, "", ""}, Version{5, `"a"`, later, "", ""}, false, true}, // the time of the response
		{Version{5, `W/"a"`, day, "", ""}, Version{5, `W/"a"`, later, "", ""}, true, false},
		{Version{5, `"a"`, day, "", ""}, Version{6, `"a"`, later, "", ""}, true, false},
		{Version{5, `"a"`, day, "", ""}, Version{5, "", day, "", ""}, false, false},
		{Version{5, "", day, "", ""}, Version{5, `"a"`, day, "", ""}, false, false},
		{Version{5, `"a"`, "", "", ""}, Version{5, `W/"a"`, "", "", ""}, false, false}, // Apache marks the ETag of a young file as weak
		{Version{5, `W/"a"`, "", "", ""}, Version{5, `W/"b"`, "", "", ""}, true, false},
		{Version{5, `W/"a"`, "", "", ""}, Version{5, `W/"a"`, "", "", ""}, false, false}, // a weak ETag does not promise equal bytes
		{Version{5, "", day, "", ""}, Version{5, "", day, "", ""}, false, false},         // a file may change twice in one second
		{Version{5, "", day, "", ""}, Version{5, "", later, "", ""}, true, false},
	}
	for _, tt := range tests {
		forth, back := tt.a.Differs(tt.b), tt.b.Differs(tt.a)
		if (forth != "") != tt.differs || (back != "") != tt.differs {
			t.Errorf("%v differs from %v: got %q and %q, want %v", tt.a, tt.b, forth, back, tt.differs)
		}
		if got := tt.a.Proves(tt.b); got != tt.proves {
			t.Errorf("%v proves %v: got %v, want %v", tt.a, tt.b, got, tt.proves)
		}
	}
}

func TestStrongETag(t *testing.T) {
	for etag, want := range map[string]string{
		"": "", `"a"`: `"a"`, `""`: `""`, `W/"a"`: "", `w/"a"`: "", "a": "", `'a'`: "",
	} {
		if got := (Version{ETag: etag}).StrongETag(); got != want {
			t.Errorf("strong ETag of %q: got %q, want %q", etag, got, want)
		}
	}
}

// A web page is refused if the file had another media type, unless the ETags show that it is
// the file.
func TestIsPage(t *testing.T) {
	version := func(media, etag string) Version { return Version{Size: 1, MediaType: media, ETag: etag} }
	tests := []struct {
		was, is Version
		want    bool
	}{
		{version("application/zip", ""), version("text/html", ""), true},
		{version("application/zip", `"a"`), version("application/xhtml+xml", `"b"`), true},
		{version("application/zip", `"a"`), version("text/html", `W/"a"`), false}, // the server gives the file another media type now
		{version("text/html", ""), version("text/html", ""), false},
		{version("", ""), version("text/html", ""), false},
		{version("application/zip", ""), version("", ""), false},
		{version("application/zip", ""), version("text/plain", ""), false},
	}
	for _, tt := range tests {
		if got := tt.was.IsPage(tt.is); got != tt.want {
			t.Errorf("%+v, then %+v: got %v, want %v", tt.was, tt.is, got, tt.want)
		}
	}
}

// A version is older only if both times are known.
func TestIsOlder(t *testing.T) {
	const early, late = "Fri, 01 Mar 2024 00:00:00 GMT", "Sat, 02 Mar 2024 00:00:00 GMT"
	for _, tt := range []struct {
		v, o string
		want bool
	}{{early, late, true}, {late, early, false}, {early, early, false}, {"", late, false}, {early, "", false}, {"yesterday", late, false}} {
		if got := (Version{LastModified: tt.v}).IsOlder(Version{LastModified: tt.o}); got != tt.want {
			t.Errorf("%q and %q: got %v", tt.v, tt.o, got)
		}
	}
}
