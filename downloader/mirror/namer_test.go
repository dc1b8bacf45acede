package mirror

import (
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"pawl/downloader/list"
	"pawl/downloader/weburl"
)

// shapes are URLs as sites write them, each in two variants that end in the same way.
var shapes = []string{
	"https://gitlab.com/g/p/-/raw/main/a/config.yml?ref_type=heads&inline=false",
	"https://gitlab.com/g/p/-/raw/main/b/config.yml?ref_type=heads&inline=false",
	"https://drive.google.com/uc?export=download&id=1AbC",
	"https://drive.google.com/uc?export=download&id=2DeF",
	"https://zenodo.org/records/1/files/data.zip?download=1",
	"https://zenodo.org/records/2/files/data.zip?download=1",
	"https://zenodo.org/api/records/3/files/table.csv/content",
	"https://zenodo.org/api/records/4/files/table.csv/content",
	"https://huggingface.co/a/m1/resolve/main/model.safetensors",
	"https://huggingface.co/a/m2/resolve/main/model.safetensors?download=true",
	"https://data.commoncrawl.org/crawl-data/CC-MAIN-2024-10/wet.paths.gz",
	"https://data.commoncrawl.org/crawl-data/CC-MAIN-2024-18/wet.paths.gz",
	"https://firebasestorage.googleapis.com/v0/b/x/o/a%2Fphoto.png?alt=media&token=1",
	"https://firebasestorage.googleapis.com/v0/b/x/o/b%2Fphoto.png?alt=media&token=2",
	"https://sourceforge.net/projects/p/files/1.0/p.tar.gz/download",
	"https://sourceforge.net/projects/p/files/2.0/p.tar.gz/download",
	"https://github.com/a/x/archive/refs/tags/v1.0.tar.gz",
	"https://github.com/a/y/archive/refs/tags/v1.0.tar.gz",
	"https://example.org/get.php?file=1.zip",
	"https://example.org/get.php?file=2.zip",
	"https://example.org/w/index.php?title=A/B&action=raw",
	"https://example.org/w/index.php?title=A/C&action=raw",
	"https://cloud.example.org/s/TOKEN1/download",
	"https://cloud.example.org/s/TOKEN2/download",
	"https://repo.example.org/a/1/maven-metadata.xml",
	"https://repo.example.org/b/1/maven-metadata.xml",
	"https://example.org/set/part2/data.bin",
	"https://example.org/set/part10/data.bin",
}

// listOf returns a list of URLs that can be read again and again.
func listOf(urls []string) func() iter.Seq2[list.Entry, error] {
	return func() iter.Seq2[list.Entry, error] {
		return func(yield func(list.Entry, error) bool) {
			for _, u := range urls {
				if !yield(list.Entry{URLs: []string{u}, Size: -1}, nil) {
					return
				}
			}
		}
	}
}

// namesOf returns the path of each URL of a list.
func namesOf(t *testing.T, n *namer, urls []string) map[string]string {
	t.Helper()
	if _, err := n.scan(t.Context(), listOf(urls), &pathSet{}); err != nil {
		t.Fatal(err)
	}
	names, used := make(map[string]string), make(map[string]string)
	for _, u := range urls {
		e, _ := n.name(list.Entry{URLs: []string{u}, Size: -1})
		rel, err := localPath(n.dir, e)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := used[rel]; taken && weburl.Key(other) != weburl.Key(u) {
			t.Errorf("%q is the name of %s and of %s", rel, other, u)
		}
		names[u], used[rel] = rel, u
	}
	return names
}

func testNamer(how Naming, given map[string]string) *namer {
	n := newNamer(Options{Dir: "/d", Naming: how})
	for u, rel := range given {
		n.given[u] = rel
	}
	return n
}

// All shapes get names of their own, which do not depend on the order of the list.
func TestNames(t *testing.T) {
	want := namesOf(t, testNamer(Naming{}, nil), shapes)
	for _, seed := range []uint64{1, 2, 3} {
		shuffled := slices.Clone(shapes)
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for u, name := range namesOf(t, testNamer(Naming{}, nil), shuffled) {
			if name != want[u] {
				t.Errorf("%s: got %q, in another order %q", u, name, want[u])
			}
		}
	}
	for u, name := range map[string]string{
		shapes[0]:  "config.yml",
		shapes[1]:  "config.1.yml",
		shapes[2]:  "uc_export=download&id=1AbC",
		shapes[6]:  "table.csv",
		shapes[7]:  "table.1.csv",
		shapes[12]: "photo.png",
		shapes[15]: "p.1.tar.gz",
		shapes[18]: "get.php_file=1.zip",
		shapes[20]: "index.php_title=A%2FB&action=raw",
		shapes[23]: "download.1",
		shapes[26]: "data.bin", // part2 is before part10
		shapes[27]: "data.1.bin",
	} {
		if want[u] != name {
			t.Errorf("%s: got %q, want %q", u, want[u], name)
		}
	}
}

// Names that earlier runs have given stay, names that an entry has of its own are not given to
// others, and a tree keeps host and directories.
func TestNamesTaken(t *testing.T) {
	a, b, c := "http://h/a/x.bin", "http://h/b/x.bin", "http://h/c/x.bin"
	got := namesOf(t, testNamer(Naming{}, map[string]string{c: "x.2.bin"}), []string{a, b, c})
	if want := map[string]string{a: "x.bin", b: "x.1.bin", c: "x.2.bin"}; got[a] != want[a] || got[b] != want[b] || got[c] != want[c] {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := namesOf(t, testNamer(Naming{}, map[string]string{c: "x.2.bin"}), []string{c}); got[c] != "x.2.bin" {
		t.Errorf("alone in the list: got %v", got)
	}
	signed := c + "?sig=1"
	if got := namesOf(t, testNamer(Naming{}, map[string]string{c: "x.2.bin"}), []string{a, signed}); got[signed] != "x.2.bin" {
		t.Errorf("with another signature: got %v", got)
	}
	spelled := "HTTP://H/%61/x.bin#top"
	if got := namesOf(t, testNamer(Naming{}, nil), []string{"http://h/a/x.bin", spelled}); got[spelled] != "x.bin" {
		t.Errorf("two spellings: got %v", got)
	}
	other := "http://h/x.1.bin" // the name that the second one would get
	if got := namesOf(t, testNamer(Naming{}, nil), []string{a, b, other}); got[b] != "x.2.bin" || got[other] != "x.1.bin" {
		t.Errorf("got %v", got)
	}
	n := testNamer(Naming{}, nil)
	named := func() iter.Seq2[list.Entry, error] {
		return func(yield func(list.Entry, error) bool) {
			_ = yield(list.Entry{URLs: []string{a}, Size: -1}, nil) && yield(list.Entry{URLs: []string{c}, Out: "x.bin", Size: -1}, nil)
		}
	}
	if _, err := n.scan(t.Context(), named, &pathSet{}); err != nil {
		t.Fatal(err)
	}
	if e, _ := n.name(list.Entry{URLs: []string{a}}); e.Out != "x.1.bin" {
		t.Errorf("beside an entry with the name: got %q", e.Out)
	}
	var before pathSet
	before.Add("x.bin", c)
	if _, err := n.scan(t.Context(), listOf([]string{a}), &before); err != nil {
		t.Fatal(err)
	}
	if e, _ := n.name(list.Entry{URLs: []string{a}}); e.Out != "x.1.bin" {
		t.Errorf("after a list with the name: got %q", e.Out)
	}

	tree := namesOf(t, testNamer(Naming{Tree: true, CutDirs: 1}, nil), []string{a, b, "http://h:81/a/b/c/x?1", "http://h:81/a/b/c/x?2", "http://h/../../e/%2e%2e/f", "http://h/a/", "http://h"})
	for u, name := range map[string]string{a: "h/x.bin", b: "h/x.1.bin", "http://h:81/a/b/c/x?1": "h_81/b/c/x_1", "http://h/../../e/%2e%2e/f": "h/f", "http://h": "h/index.html", "http://h/a/": "h/index.1.html"} {
		if tree[u] != filepath.FromSlash(name) {
			t.Errorf("--tree: %s: got %q, want %q", u, tree[u], name)
		}
	}
}

// The memory for clashes is bounded.
func TestManyClashes(t *testing.T) {
	t.Parallel()
	n := testNamer(Naming{}, nil)
	many := func() iter.Seq2[list.Entry, error] {
		return func(yield func(list.Entry, error) bool) {
			u := "http://h/" + string(make([]byte, 0))
			for i := range 40 {
				long := make([]byte, 1<<20)
				for j := range long {
					long[j] = byte('a' + i%26)
				}
				if !yield(list.Entry{URLs: []string{u + string(long[:900_000+i]) + "/x"}, Size: -1}, nil) {
					return
				}
			}
		}
	}
	if _, err := n.scan(t.Context(), many, &pathSet{}); err != errClashes {
		t.Errorf("got %v, want errClashes", err)
	}
}
