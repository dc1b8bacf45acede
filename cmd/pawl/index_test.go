package main

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"

	"pawl/downloader/list"
)

func newTestWalk(t *testing.T, o IndexOptions) *indexWalk {
	t.Helper()
	w := newIndexWalk(listOpener{private: new(sync.Map)}, openedList{page: &webPage{url: "http://h/pub/", private: true}}, &o)
	if w == nil {
		t.Fatal("a web page is no index")
	}
	return w
}

// TestIndexLimits checks that an endless index ends: by the number of its directories, and by the length
// of their URLs. The limit is reported once, at the end.
func TestIndexLimits(t *testing.T) {
	for _, tt := range []struct {
		name string
		size int // of each URL
		most int // directories that are visited
	}{
		{"many directories", 20, maxIndexDirs},
		{"long URLs", 1 << 20, 16},
	} {
		w := newTestWalk(t, IndexOptions{Depth: 1})
		u := strings.Repeat("x", tt.size)
		for i := range maxIndexDirs + 1000 {
			w.add(fmt.Sprint(i), u)
		}
		if n := len(w.pending); n > tt.most || n < tt.most-1 || w.size != n*tt.size {
			t.Errorf("%s: %d directories of %d bytes are pending, want %d", tt.name, n, w.size, tt.most)
		}
		w.pending, w.onPage = nil, 0
		if _, more, err := w.next(t.Context()); !more || err == nil || !strings.Contains(err.Error(), "are not visited") || exitCode(err) != 2 {
			t.Errorf("%s: got %v, %v, want the limit", tt.name, more, err)
		}
		if _, more, err := w.next(t.Context()); more || err != nil {
			t.Errorf("%s: got %v, %v, want the end", tt.name, more, err)
		}
	}
}

// TestIndexRedirects checks which redirects of a directory are followed, each time that they are asked
// for: a retry follows them again.
func TestIndexRedirects(t *testing.T) {
	w := newTestWalk(t, IndexOptions{Depth: 9})
	w.add("a", "http://h/pub/a/")
	w.add("b", "http://h/pub/b/")
	for _, tt := range []struct {
		to   string
		want string // part of the error
	}{
		{"https://h/pub/a/", ""},
		{"http://h/pub/c/", ""},
		{"http://h/pub/c/", ""},
		{"http://h/pub/b/", "known already"},
		{"http://h/pub/", "known already"},
		{"http://h/pub", "not below"},
		{"http://h/pub/c", "not below"},
		{"http://h/", "not below"},
		{"http://g/pub/c/", "not below"},
		{"http://h:81/pub/c/", "not below"},
	} {
		check := w.redirects("http://h/pub/a/")
		for range 2 {
			u, _ := url.Parse(tt.to)
			if err := check(u); (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: got %v, want %q", tt.to, err, tt.want)
			}
		}
		if tt.to == "http://h/pub/c/" { // as if it had not been asked
			clear(w.seen)
			w.isNew("")
			w.isNew("a")
			w.isNew("b")
		}
	}
}

// TestIndexIsPublic checks that the directories of an index may name private addresses if the index may,
// and nothing else.
func TestIndexIsPublic(t *testing.T) {
	w := newTestWalk(t, IndexOptions{})
	for name, want := range map[string]bool{
		"http://h/pub/": false, "http://h/pub/a/": false, "http://h/pub/a/b%20c/": false,
		"http://h/": true, "http://h/public/": true, "http://h/pub/list": true, "http://g/pub/": true, "list": false,
	} {
		if got := w.lists.isPublic(name); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
}

// TestIndexWanted checks that --exclude wins, and that --include is about files.
func TestIndexWanted(t *testing.T) {
	globs := func(texts ...string) (all []list.PathGlob) {
		for _, text := range texts {
			var g list.PathGlob
			if err := g.UnmarshalText([]byte(text)); err != nil {
				t.Fatal(err)
			}
			all = append(all, g)
		}
		return all
	}
	o := IndexOptions{Include: globs("*.iso", "doc/**"), Exclude: globs("old/", "*-rc*")}
	for path, want := range map[string]bool{
		"a.iso": true, "x/a.iso": true, "doc/a": true, "x/": true, "doc/x/": true,
		"a.bin": false, "a-rc1.iso": false, "old/": false, "x/old/": false, "x/old/a.iso": false, "a-rc/": false,
	} {
		name, isDir := strings.CutSuffix(path, "/")
		if got := o.wanted(name, isDir); got != want {
			t.Errorf("%q: got %v, want %v", path, got, want)
		}
	}
}
