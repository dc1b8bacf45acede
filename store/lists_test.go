package store

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"
)

const keyA, keyB, keyC = "aaaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbbb", "cccccccccccccccc"

// manyLists returns the keys of n lists.
func manyLists(n int) (all Lists) {
	for i := range n {
		all = append(all, fmt.Sprintf("%016x", i))
	}
	return all
}

func TestLists(t *testing.T) {
	full := manyLists(maxLists)
	for _, tc := range []struct{ name, got, want string }{
		{"the first", Lists(nil).With(keyA).String(), keyA},
		{"sorted", Lists{keyB}.With(keyC, keyA, Nameless).String(), "- " + keyA + " " + keyB + " " + keyC},
		{"twice", Lists{keyA}.With(keyA, keyB, keyB).String(), keyA + " " + keyB},
		{"none", Lists{keyA}.With().String(), keyA},
		{"without", Lists{keyA, keyB, keyC}.Without(keyC, keyA).String(), keyB},
		{"without another", Lists{keyA}.Without(keyB).String(), keyA},
		{"the last", Lists{keyA}.Without(keyA).String(), ""},
		{"full", full.With(keyA).String(), full.With(Nameless).String()},
		{"full, again", full.With(keyA).With(keyB).String(), full.With(Nameless).String()},
		{"full, a known one", full.With(full[7]).String(), full.String()},
		{"almost full", full[1:].With(full[0], Nameless).String(), full.With(Nameless).String()},
		{"too many at once", Lists(nil).With(append(full, keyA)...).String(), Nameless},
		{"released of a full one", full.With(keyA).Without(full...).String(), Nameless},
	} {
		if tc.got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.name, tc.got, tc.want)
		}
	}
	if l := (Lists{keyA, keyB}); l.Has(keyC) || !l.Has(keyC, keyB) || l.Has() || Lists(nil).Has(keyA) {
		t.Errorf("Has is wrong")
	}
	l := Lists{keyA, keyC}
	l.With(keyB)
	if l.Without(keyA); !slices.Equal(l, Lists{keyA, keyC}) {
		t.Errorf("changed in place: %v", l)
	}
}

// The text of one list is its key.
func TestListsText(t *testing.T) {
	for text, want := range map[string]Lists{
		"": nil, keyA: {keyA}, keyB + " " + keyA + " " + keyB: {keyA, keyB}, "- " + keyA: {Nameless, keyA},
		manyLists(maxLists + 1).String(): {Nameless},
	} {
		var got Lists
		if err := got.UnmarshalText([]byte(text)); err != nil || !slices.Equal(got, want) || (got == nil) != (want == nil) {
			t.Errorf("%q: got %v, %v, want %v", text, got, err, want)
		}
	}
}

// finished creates a finished file of lists on disk and on record.
func (l *fixture) finished(name string, lists ...string) Record {
	l.t.Helper()
	rec := l.recordOf(name, lists...)
	p := l.opened(l.store.Create(rec))
	l.write(p, 0, 10)
	must(l.t, p.Finish(time.Time{}), p.Close())
	return p.Record()
}

// unfinished creates an unfinished download for lists.
func (l *fixture) unfinished(name string, lists ...string) Record {
	l.t.Helper()
	p := l.opened(l.store.Create(l.recordOf(name, lists...)))
	l.write(p, 0, 5)
	must(l.t, p.Close())
	return p.Record()
}

func (l *fixture) recordOf(name string, lists ...string) Record {
	return Record{Target: l.path(name), URL: "https://example.com/" + name, Size: 10, Lists: lists, Named: true, Replace: true}
}

// claim claims files for a list.
func (l *fixture) claim(key string, names ...string) {
	l.t.Helper()
	var claims []Claim
	for _, name := range names {
		claims = append(claims, Claim{l.path(name), key})
	}
	must(l.t, l.store.Claim(claims))
}

// wantLists checks which lists claim a finished file.
func (l *fixture) wantLists(name string, want ...string) {
	l.t.Helper()
	var got Record
	err := l.store.read(func(t tx) (err error) {
		got, err = t.finishedAt(l.path(name))
		return err
	})
	if err != nil || !slices.Equal(got.Lists, want) {
		l.t.Errorf("lists of %s: got %v, %v, want %v", name, got.Lists, err, want)
	}
}

// wantUnfinishedLists is wantLists for an unfinished download.
func (l *fixture) wantUnfinishedLists(name string, want ...string) {
	l.t.Helper()
	got, err := l.store.ByTarget(l.path(name))
	if err != nil || got.State == Done || !slices.Equal(got.Lists, want) {
		l.t.Errorf("lists of %s: got %v, %s, %v, want %v", name, got.Lists, got.State, err, want)
	}
}

// A claim counts for files that a list has asked for, finished or not, and for both
// records if there are two. If there is nothing to record, nothing is written.
func TestClaim(t *testing.T) {
	l := newFixture(t)
	l.finished("done", keyA)
	l.finished("both", keyA)
	l.unfinished("both", keyA)
	l.unfinished("unfinished", keyA)
	l.finished("direct")
	l.unfinished("direct, unfinished")
	l.finished("full", manyLists(maxLists)...)
	names := []string{"done", "both", "unfinished", "direct", "direct, unfinished", "none", "full"}
	l.claim(keyB, names...)
	before, err := os.ReadFile(l.dbPath())
	must(t, err)
	l.claim(keyB, names...)
	l.claim(keyC, "full", "direct", "none")
	after, err := os.ReadFile(l.dbPath())
	must(t, err)
	if !slices.Equal(before, after) {
		t.Errorf("claims that are on record: the state file was written")
	}
	l.wantLists("done", keyA, keyB)
	l.wantLists("both", keyA, keyB)
	l.wantUnfinishedLists("both", keyA, keyB)
	l.wantUnfinishedLists("unfinished", keyA, keyB)
	l.wantLists("direct")
	l.wantUnfinishedLists("direct, unfinished")
	l.wantLists("full", manyLists(maxLists).With(Nameless)...)
}

// A claim that another process makes during a download is kept until its end and
// afterwards.
func TestClaimWhileRunning(t *testing.T) {
	l := newFixture(t)
	l.finished("f", keyA)
	p := l.opened(l.store.Create(l.recordOf("f", keyB)))
	l.claim(keyC, "f")
	l.write(p, 0, 10)
	l.wantUnfinishedLists("f", keyB, keyC)
	must(t, p.Finish(time.Time{}), p.Close())
	l.wantLists("f", keyA, keyB, keyC)
}

// A file that replaces a file of lists inherits their claims, unless no list asked for
// it.
func TestReplacementInheritsLists(t *testing.T) {
	l := newFixture(t)
	l.unfinished("unfinished", keyA)
	l.finished("unfinished", keyB)
	l.wantLists("unfinished", keyA, keyB)

	l.finished("done", keyA)
	l.finished("done", keyB)
	l.wantLists("done", keyA, keyB)

	l.finished("direct", keyA)
	l.finished("direct")
	l.wantLists("direct")

	rec := l.finished("amended", keyA)
	l.claim(keyB, "amended")
	must(t, l.store.Amend(rec))
	l.wantLists("amended", keyA, keyB)
}

// publishFor publishes a small file for lists.
func (l *fixture) publishFor(name string, replace bool, lists ...string) error {
	l.t.Helper()
	rec := l.recordOf(name, lists...)
	rec.Replace = replace
	u, err := l.store.CreateTemp(rec)
	if errors.Is(err, errors.ErrUnsupported) {
		l.t.Skip("no files without a name here")
	}
	must(l.t, err)
	return l.store.publishAll([]*TempFile{u})[0]
}

func TestListsOfSmallFiles(t *testing.T) {
	l := newFixture(t)
	must(t, l.publishFor("f", false, keyA), l.publishFor("f", true, keyB))
	l.claim(keyC, "f")
	must(t, l.store.FlushPublished())
	l.wantLists("f", keyA, keyB, keyC)
	if rec, err := l.store.ByTarget(l.path("f")); err != nil || rec.Publishing || !rec.Replaces.ModTime.IsZero() {
		t.Errorf("a claim before Placed: got %+v, %v, want that it is in its place", rec, err)
	}

	// The earlier file stays, and the list that wanted the new one claims it.
	must(t, l.publishFor("g", false, keyA))
	l.wantErr("Publish", l.publishFor("g", false, keyB), ErrForeign)
	l.wantLists("g", keyA, keyB)
}

// The directory of a TempFile may be pruned before the file gets its name.
func TestPublishPrunedDirectory(t *testing.T) {
	l := newFixture(t)
	u, err := l.store.CreateTemp(l.recordOf("sub/f", keyA))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("no files without a name here")
	}
	must(t, err)
	l.store.RemoveEmpty(l.path("."), l.path("sub"))
	l.wantNo(l.path("sub"))
	must(t, l.store.publishAll([]*TempFile{u})[0])
	l.wantFile(l.path("sub/f"), "")
}
