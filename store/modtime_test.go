package store

import (
	"os"
	"testing"
	"time"
)

func TestSameModTime(t *testing.T) {
	at := func(sec, nsec int64) time.Time { return time.Unix(1_700_000_000+sec, nsec) }
	for _, tc := range []struct {
		name          string
		recorded, now time.Time
		want          bool
	}{
		{"equal", at(0, 123456789), at(0, 123456789), true},
		{"to 100 ns", at(0, 123456789), at(0, 123456700), true},
		{"to microseconds, up", at(0, 123456789), at(0, 123457000), true},
		{"to milliseconds", at(0, 123456789), at(0, 123000000), true},
		{"to 10 ms", at(0, 123456789), at(0, 120000000), true},
		{"to seconds", at(0, 999999999), at(0, 0), true},
		{"to seconds, up", at(0, 500000000), at(1, 0), true},
		{"to even seconds", at(1, 999999999), at(0, 0), true},
		{"an odd second to the even one", at(1, 0), at(0, 0), true},
		{"by a floating-point number", at(0, 123456789), at(0, 123456717), true},
		{"before 1970", time.Unix(-5, 5), time.Unix(-5, 0), true},
		{"one second later", at(1, 0), at(2, 0), false},
		{"one second earlier", at(0, 0), at(-1, 0), false},
		{"two seconds earlier", at(2, 0), at(0, 0), false},
		{"one second later, with nanoseconds", at(0, 5000), at(1, 5000), false},
		{"a millisecond later", at(0, 123456789), at(0, 124456789), false},
		{"an hour later", at(0, 0), at(3600, 0), false},
		{"a whole second, two later", at(0, 5), at(2, 0), false},
	} {
		if got := sameModTime(tc.recorded, tc.now); got != tc.want {
			t.Errorf("%s: got %t, want %t", tc.name, got, tc.want)
		}
	}
}

// A complete part file whose time was rounded after a crash is renamed, and a finished file
// whose time was rounded is intact.
func TestRoundedAfterCrash(t *testing.T) {
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 100_000)
	l.put(l.target, "in the way")
	l.wantErr("Finish", p.Finish(time.Unix(1_700_000_001, 5000)), ErrForeign)
	must(t, p.Close(), os.Remove(l.target))
	rounded := time.Unix(1_700_000_000, 0)
	must(t, os.Chtimes(l.target+".part", rounded, rounded))
	p = l.resume()
	if p.Record().State != Done || p.Dirty() {
		t.Errorf("got %s, dirty %t, want %s", p.Record().State, p.Dirty(), Done)
	}
	must(t, p.Close(), os.Chtimes(l.target, rounded, rounded))
	l.wantDone()
}

// A part file that occupies no blocks as far as the file system says needs no more space for
// its held bytes.
func TestResumeWithoutBlocks(t *testing.T) {
	sc := scenarioNamed(t, "straight")
	w := newWorld(t, sc, 1)
	w.store.fs.FS = blocklessFS{w.fs}
	s := &session{w: w}
	s.create("v1", 2900)
	s.write(0, 2100)
	s.commit()
	s.close()
	w.fs.space = 1000
	w.complete()
}

// A blocklessFS reports that no file occupies any block.
type blocklessFS struct{ *crashFS }

func (b blocklessFS) Open(name string) (File, error) {
	f, err := b.crashFS.Open(name)
	return blocklessFile{f.(*memFile)}, err
}

type blocklessFile struct{ *memFile }

func (f blocklessFile) Stat() (os.FileInfo, error) {
	info, err := f.memFile.Stat()
	if err != nil {
		return nil, err
	}
	of := info.(memInfo)
	of.taken = 0
	return of, nil
}

// A file that has the right size already is not truncated.
func TestTruncateToSameSize(t *testing.T) {
	c, f, _ := memPart(t, 10)
	tolerant := tolerantFile{f, &tolerantFS{FS: c}}
	c.lacks = map[string]error{"truncate": errInjected}
	must(t, tolerant.Truncate(10))
	if err := tolerant.Truncate(9); err == nil {
		t.Error("another size: got no error")
	}
}
