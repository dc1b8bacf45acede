package response

import "testing"

func TestVersion(t *testing.T) {
	const day, later = "Mon, 01 Jan 2024 00:00:00 GMT", "Tue, 02 Jan 2024 00:00:00 GMT"
	tests := []struct {
		a, b    Version
		differs bool
		proves  bool // that b is a
	}{
		{Version{-1, "", "", "", ""}, Version{-1, "", "", "", ""}, false, false},
		{Version{5, "", "", "", ""}, Version{5, "", "", "", ""}, false, false},
		{Version{5, "", "", "", ""}, Version{6, "", "", "", ""}, true, false},
		{Version{0, "", "", "", ""}, Version{6, "", "", "", ""}, true, false}, // 0 is a size that is known
		{Version{-1, "", "", "", ""}, Version{6, "", "", "", ""}, false, false},
		{Version{5, `"a"`, day, "", ""}, Version{5, `"a"`, day, "", ""}, false, true},
		{Version{5, `"a"`, day, "", ""}, Version{-1, `"a"`, "", "", ""}, false, true},
		{Version{-1, `"a"`, "", "", ""}, Version{5, `"a"`, "", "", ""}, false, true},
		{Version{5, `"a"`, "", "", ""}, Version{5, `"b"`, "", "", ""}, true, false},
		{Version{5, `"a"`, "", "", ""}, Version{6, `"a"`, "", "", ""}, true, false},
		{Version{5, `"a"`, day, "", ""}, Version{5, `"a"`, later, "", ""}, true, false},
		{Version{5, `"a"`, day, "", ""}, Version{5, "", day, "", ""}, false, false},
		{Version{5, "", day, "", ""}, Version{5, `"a"`, day, "", ""}, false, false},
		{Version{5, `"a"`, "", "", ""}, Version{5, `W/"a"`, "", "", ""}, false, false}, // as Apache says it of a young file
		{Version{5, `W/"a"`, "", "", ""}, Version{5, `W/"b"`, "", "", ""}, true, false},
		{Version{5, `W/"a"`, "", "", ""}, Version{5, `W/"a"`, "", "", ""}, false, false}, // weak: equal meaning, not equal bytes
		{Version{5, "", day, "", ""}, Version{5, "", day, "", ""}, false, false},         // a second is long
		{Version{5, "", day, "", ""}, Version{5, "", later, "", ""}, true, false},
	}
	for _, tt := range tests {
		there, back := tt.a.Differs(tt.b), tt.b.Differs(tt.a)
		if (there != "") != tt.differs || (back != "") != tt.differs {
			t.Errorf("%v differs from %v: got %q and %q, want %v", tt.a, tt.b, there, back, tt.differs)
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
			t.Errorf("strong form of %q: got %q, want %q", etag, got, want)
		}
	}
}

// A web page is refused if the file was of another kind, and only then.
func TestIsPage(t *testing.T) {
	of := func(media, etag string) Version { return Version{Size: 1, MediaType: media, ETag: etag} }
	tests := []struct {
		was, is Version
		want    bool
	}{
		{of("application/zip", ""), of("text/html", ""), true},
		{of("application/zip", `"a"`), of("application/xhtml+xml", `"b"`), true},
		{of("application/zip", `"a"`), of("text/html", `W/"a"`), false}, // the server names it otherwise now
		{of("text/html", ""), of("text/html", ""), false},
		{of("", ""), of("text/html", ""), false},
		{of("application/zip", ""), of("", ""), false},
		{of("application/zip", ""), of("text/plain", ""), false},
	}
	for _, tt := range tests {
		if got := tt.was.IsPage(tt.is); got != tt.want {
			t.Errorf("%+v, then %+v: got %v, want %v", tt.was, tt.is, got, tt.want)
		}
	}
}
