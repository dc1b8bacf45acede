package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/downloader/list"
	"pawl/store"
)

const listB = "bbbbbbbbbbbbbbbb"

func withPrune(o *Options) { o.Prune = true }

// A text is a list as text.
type text struct {
	key, entries string
	cut          bool // the list may have been cut off: it is not Complete
	mayBeEmpty   bool
}

// lists returns the lists of a run.
func lists(texts ...text) iter.Seq2[List, error] {
	return func(yield func(List, error) bool) {
		for _, t := range texts {
			entries := list.Read("list", strings.NewReader(t.entries), list.Options{})
			if !yield(List{Key: t.key, Complete: !t.cut, MayBeEmpty: t.mayBeEmpty, Entries: entries}, nil) {
				return
			}
		}
	}
}

// mustRunLists is runLists that must not return an error.
func (r *rig) mustRunLists(texts []text, change ...func(*Options)) Counts {
	r.t.Helper()
	c, err := r.runLists(r.t.Context(), lists(texts...), change...)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// firstOf returns the first n lines of a list.
func firstOf(n int, entries string) string {
	return strings.Join(strings.SplitAfter(entries, "\n")[:n], "")
}

// wantExist checks which of the named files exist.
func (r *rig) wantExist(want map[string]bool) {
	r.t.Helper()
	for name, want := range want {
		if _, err := os.Lstat(filepath.Join(r.dir, name)); (err == nil) != want {
			r.t.Errorf("%s: got error %v, want it to exist: %v", name, err, want)
		}
	}
}

// claims returns the lists that claim a finished file.
func (r *rig) claims(name string) store.Lists {
	r.t.Helper()
	rec, err := r.store.ByTarget(filepath.Join(r.dir, name))
	if err != nil || rec.State != store.Done {
		r.t.Fatalf("%s: got %+v, %v", name, rec, err)
	}
	return rec.Lists
}

// TestPruneDeletes: Prune deletes the files that earlier runs fetched and that the list no longer
// names. It deletes no other files, no altered files, and nothing after a failure.
func TestPruneDeletes(t *testing.T) {
	r := newRig(t)
	all := r.put(6)
	r.mustRun(all)
	os.WriteFile(filepath.Join(r.dir, "mine"), []byte("mine"), 0o666)
	os.WriteFile(filepath.Join(r.dir, "f0005"), []byte("altered"), 0o666)
	r.files["gone"] = r.files["f0000"]
	r.srv.Set(onPath("/forbidden", faultserver.Status(403, -1)))
	if _, err := r.run(t.Context(), firstOf(4, all)+r.srv.URL+"/forbidden\n", withPrune); !errors.Is(err, ErrNotPruned) {
		t.Errorf("after a failure: got %v, want ErrNotPruned", err)
	}
	if _, err := r.run(t.Context(), "# nothing\n", withPrune); !errors.Is(err, ErrNotPruned) {
		t.Errorf("empty list: got %v, want ErrNotPruned", err)
	}
	if c := r.mustRunLists([]text{{key: listB, entries: firstOf(4, all)}}, withPrune); c.Pruned != 0 {
		t.Errorf("another list: got %+v, want none pruned", c)
	}
	if c := r.mustRun(firstOf(4, all), withPrune); c.Pruned != 1 || c.Current != 4 {
		t.Errorf("got %+v, want one pruned", c)
	}
	r.wantExist(map[string]bool{"f0003": true, "f0004": false, "f0005": true, "mine": true})
}

// onPath is a fault of the requests whose paths have a prefix.
func onPath(prefix string, f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, prefix) {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// TestPruneDespiteGone: files that are gone from their server do not prevent pruning, and what is
// here of them stays. Any other failure prevents it, also of a second source of a gone file.
func TestPruneDespiteGone(t *testing.T) {
	for name, tt := range map[string]struct {
		status int    // of /dead
		line   string // further URL of the dead entry
		prunes bool
	}{
		"404":                       {404, "", true},
		"410":                       {410, "", true},
		"404 from two sources":      {404, "/none/dead", true},
		"403":                       {403, "", false},
		"451":                       {451, "", false},
		"404, and 403 elsewhere":    {404, "/forbidden/dead", false},
		"403, and 404 elsewhere":    {403, "/none/dead", false},
		"404, and a wrong checksum": {404, "/f0000\n  checksum=md5=00000000000000000000000000000000", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			all := r.put(3)
			r.srv.Put("dead", r.files["f0000"])
			dead := r.srv.URL + "/dead"
			r.mustRun(all + dead + "\n")
			r.srv.Set(onPath("/dead", faultserver.Status(tt.status, -1)), onPath("/forbidden", faultserver.Status(403, -1)))
			os.WriteFile(filepath.Join(r.dir, "dead"), []byte("altered"), 0o666) // so that it is requested again
			if tt.line != "" {
				dead += "\t" + r.srv.URL + tt.line
			}
			c, err := r.run(t.Context(), firstOf(2, all)+dead+"\n", withPrune, func(o *Options) { o.Request.Existing.InTheWay = downloader.Replace })
			if c.Failed != 1 || (c.Gone == 1) != tt.prunes || errors.Is(err, ErrNotPruned) == tt.prunes {
				t.Errorf("got %+v, %v", c, err)
			}
			r.wantExist(map[string]bool{"f0001": true, "f0002": !tt.prunes, "dead": true})
		})
	}
}

// TestPruneEmpty: with MayBeEmpty, an empty list prunes within the limit, and also beside another
// list. A list that is not known to be complete, or has no name, still prunes nothing.
func TestPruneEmpty(t *testing.T) {
	none := func(*Options) {}
	for name, tt := range map[string]struct {
		lists  []text
		change func(*Options)
		prunes bool
	}{
		"alone":           {[]text{{key: listA, mayBeEmpty: true}}, none, true},
		"not allowed":     {[]text{{key: listA}}, none, false},
		"beside another":  {[]text{{key: listA, mayBeEmpty: true}, {key: listB}}, none, true},
		"cut":             {[]text{{key: listA, cut: true, mayBeEmpty: true}}, none, false},
		"nameless":        {[]text{{key: store.Nameless, mayBeEmpty: true}}, none, false},
		"above the limit": {[]text{{key: listA, mayBeEmpty: true}}, func(o *Options) { o.MaxDelete = Limit{limitFiles, 1} }, false},
		"a dry run":       {[]text{{key: listA, mayBeEmpty: true}}, func(o *Options) { o.DryRun = true }, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.mustRun(r.put(2))
			r.runLists(t.Context(), lists(tt.lists...), withPrune, tt.change)
			r.wantExist(map[string]bool{"f0000": !tt.prunes, "f0001": !tt.prunes})
		})
	}
}

// TestClaims: a list claims each file that it names and that a list has fetched, with and without
// Prune, whether the file is current, missing, failed or fetched. A dry run claims nothing.
func TestClaims(t *testing.T) {
	r := newRig(t)
	all := r.put(4)
	r.mustRun(firstOf(3, all))
	both := []string{listA, listB}
	os.Remove(filepath.Join(r.dir, "f0001"))
	other := firstOf(2, all) + r.srv.URL + "/none\n  out=f0002\n" + r.srv.URL + "/f0003\n"
	r.mustRunLists([]text{{key: listB, entries: other}}, func(o *Options) { o.DryRun = true })
	if got := r.claims("f0000"); !slices.Equal(got, []string{listA}) {
		t.Errorf("after a dry run: got lists %v, want only listA", got)
	}
	r.mustRunLists([]text{{key: listB, entries: other}})
	for name, want := range map[string][]string{"f0000": both, "f0001": both, "f0002": both, "f0003": {listB}} {
		if got := r.claims(name); !slices.Equal(got, want) {
			t.Errorf("%s: got lists %v, want %v", name, got, want)
		}
	}
	r.mustRunLists([]text{{key: store.Nameless, entries: all}})
	if got := r.claims("f0003"); !slices.Equal(got, []string{store.Nameless, listB}) {
		t.Errorf("after a list without a name: got lists %v, want Nameless and listB", got)
	}
}

// TestClaimsOfOverlappingLists: if two lists of one run name a file, both claim it, whether it was on
// record before or not, and even if the run has failures.
func TestClaimsOfOverlappingLists(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all := r.put(3*maxLookupBatch + 7)
	lines := strings.SplitAfter(all, "\n")
	r.mustRun(firstOf(100, all))
	twice := []text{
		{key: listA, entries: firstOf(2*maxLookupBatch, all) + lines[0] + r.srv.URL + "/none\n"},
		{key: listB, entries: strings.Join(lines[50:], "") + lines[50]},
	}
	for range 2 {
		if c := r.mustRunLists(twice); c.Failed != 1 || c.Problems != 0 {
			t.Fatalf("got %+v, want one failure and no problems", c)
		}
		for i := range 3*maxLookupBatch + 7 {
			var want []string
			if i < 2*maxLookupBatch {
				want = append(want, listA)
			}
			if i >= 50 {
				want = append(want, listB)
			}
			if got := r.claims(fmt.Sprintf("f%04d", i)); !slices.Equal(got, want) {
				t.Fatalf("f%04d: got lists %v, want %v", i, got, want)
			}
		}
	}
}

// TestClaimsOfInterruptedRun: an interrupted run claims the files of all entries that it has read.
func TestClaimsOfInterruptedRun(t *testing.T) {
	r := newRig(t)
	all := r.put(20)
	r.mustRun(all)
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancelling := func(yield func(List, error) bool) { // ends the context after the last list
		for l := range lists(text{key: listB, entries: all}, text{key: "cccccccccccccccc", entries: all}) {
			if !yield(l, nil) {
				return
			}
		}
		cancel(gone)
	}
	if _, err := r.runLists(ctx, cancelling); !errors.Is(err, gone) {
		t.Errorf("got error %v, want the cause", err)
	}
	if got := r.claims("f0019"); len(got) != 3 {
		t.Errorf("got lists %v, want three", got)
	}
}

// TestListsThatPrune: a list prunes if it is complete, has a name and is not empty, whatever the other
// lists of the run are.
func TestListsThatPrune(t *testing.T) {
	for _, tt := range []struct {
		name  string
		texts func(one, other string) []text
		want  bool // f0000, which only listA has named before, is deleted
	}{
		{"whole", func(one, other string) []text { return []text{{key: listA, entries: one}} }, true},
		{"cut", func(one, other string) []text { return []text{{key: listA, entries: one, cut: true}} }, false},
		{"nameless", func(one, other string) []text { return []text{{key: store.Nameless, entries: one}} }, false},
		{"beside a nameless one", func(one, other string) []text {
			return []text{{key: store.Nameless, entries: other}, {key: listA, entries: one}}
		}, true},
		{"beside a cut one", func(one, other string) []text {
			return []text{{key: listB, entries: other, cut: true}, {key: listA, entries: one}}
		}, true},
		{"one key, and a part cut", func(one, other string) []text {
			return []text{{key: listA, entries: other, cut: true}, {key: listA, entries: one}}
		}, false},
		{"one key, and the last part cut", func(one, other string) []text {
			return []text{{key: listA, entries: other}, {key: listA, entries: one, cut: true}}
		}, false},
		{"one key, and a part empty", func(one, other string) []text {
			return []text{{key: listA}, {key: listA, entries: one}}
		}, true},
		{"empty beside another", func(one, other string) []text { return []text{{key: listA}, {key: listB, entries: other}} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t)
			lines := strings.SplitAfter(r.put(3), "\n")
			r.mustRun(lines[0] + lines[1])
			r.mustRunLists(tt.texts(lines[1], lines[2]), withPrune)
			r.wantExist(map[string]bool{"f0000": !tt.want, "f0001": true})
		})
	}
}

// TestPruneKeepsManyClaims: a record keeps a bounded number of claims; a file that more lists have
// named belongs to Nameless, and is never deleted.
func TestPruneKeepsManyClaims(t *testing.T) {
	r := newRig(t)
	lines := strings.SplitAfter(r.put(2), "\n")
	var keys []string
	for i := range 40 {
		keys = append(keys, fmt.Sprintf("%016x", i))
		r.mustRunLists([]text{{key: keys[i], entries: lines[0]}})
	}
	for _, key := range keys {
		r.mustRunLists([]text{{key: key, entries: lines[1]}}, withPrune)
	}
	r.wantExist(map[string]bool{"f0000": true})
	if got := r.claims("f0000"); !slices.Equal(got, []string{store.Nameless}) {
		t.Errorf("got lists %v, want only Nameless", got)
	}
}

// TestPruneAfterCrash: if a crash has left a file without its name, Prune does not delete the file that
// somebody else has put there, and does not count it against the limit.
func TestPruneAfterCrash(t *testing.T) {
	r := newRig(t)
	all := r.put(2)
	r.mustRun(all)
	r.placing("f0001", func(*store.Record) {})
	mine := filepath.Join(r.dir, "f0001")
	os.Remove(mine)
	os.WriteFile(mine, []byte("mine"), 0o666)
	if c := r.mustRun(firstOf(1, all), withPrune, func(o *Options) { o.MaxDelete = Limit{kind: limitFiles} }); c.Pruned != 0 {
		t.Errorf("got %+v, want none pruned", c)
	}
	if got, _ := os.ReadFile(mine); string(got) != "mine" {
		t.Errorf("the file of somebody else: got %q", got)
	}
}

// TestPruneDuringOtherRun: while a run prunes files, another process begins to mirror a list that
// names them. In whatever order their steps happen, in the end all files of that list are there.
func TestPruneDuringOtherRun(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all := r.put(60)
	for round := range 5 {
		r.mustRunLists([]text{{key: listA, entries: all}})
		r.mustRunLists([]text{{key: listB, entries: firstOf(1, all)}}, withPrune, withoutLimit)
		other := &rig{t: t, srv: r.srv, state: r.state, dir: r.dir, opts: r.opts, files: r.files}
		other.store, _ = store.Open(r.state, store.Options{})
		var both sync.WaitGroup
		both.Go(func() { r.run(t.Context(), firstOf(1, all), withPrune, withoutLimit) })
		both.Go(func() {
			if c, err := other.runLists(t.Context(), lists(text{key: listB, entries: all})); err != nil || c.Fetched+c.Current != 60 {
				t.Errorf("round %d: got %+v, %v", round, c, err)
			}
		})
		both.Wait()
		r.check()
		if t.Failed() {
			return
		}
	}
}

func withoutLimit(o *Options) { o.MaxDelete = Limit{kind: noLimit} }

// TestLimit: the texts of limits, the number of files that they allow, and texts that are no limits.
func TestLimit(t *testing.T) {
	for _, tt := range []struct {
		text string
		made int
		want int
	}{
		{"", 0, 10}, {"", 19, 10}, {"", 20, 10}, {"", 21, 10}, {"", 22, 11}, {"", 1000, 500},
		{"0", 1000, 0}, {"1", 1000, 1}, {"2147483647", 3, math.MaxInt32},
		{"0%", 1000, 0}, {"29%", 100, 29}, {"50%", 3, 1}, {"0.1%", 1000, 1}, {"99.9%", 10, 9},
		{"100%", 10, math.MaxInt}, {"100.0%", 10, math.MaxInt}, {"inf", 0, math.MaxInt}, {"unlimited", 0, math.MaxInt},
	} {
		var l Limit
		if tt.text != "" {
			if err := l.UnmarshalText([]byte(tt.text)); err != nil {
				t.Errorf("%q: %v", tt.text, err)
			}
		}
		if got := l.of(tt.made); got != tt.want {
			t.Errorf("%q of %d: got %d, want %d", tt.text, tt.made, got, tt.want)
		}
	}
	for _, text := range []string{"", "%", "-1", "-1%", "101%", "NaN%", "inf%", "1.5", "ten", "2147483648", "1e3", "5 %", "0x10"} {
		if err := new(Limit).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q: got no error", text)
		}
	}
}

// TestPruneKeepsLinkedFile: a file that the list now names by another path, through a symbolic link
// to its directory, is not deleted.
func TestPruneKeepsLinkedFile(t *testing.T) {
	r := newRig(t)
	all := r.put(3)
	entries := func(dir string) (text string) {
		for line := range strings.Lines(all) {
			text += line + "  dir=" + dir + "\n"
		}
		return text
	}
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(r.dir, "v1"), 0o777))
	if os.Symlink("v1", filepath.Join(r.dir, "current")) != nil {
		t.Skip("no symbolic links here")
	}
	r.mustRun(entries("current"))
	c := r.mustRun(firstOf(4, entries("v1")), withPrune, func(o *Options) { o.Request.Existing.InTheWay = downloader.Replace })
	if c.Pruned != 1 {
		t.Errorf("got %+v, want one pruned", c)
	}
	r.wantExist(map[string]bool{"v1/f0000": true, "v1/f0001": true, "v1/f0002": false})
}
