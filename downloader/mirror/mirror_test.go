package mirror

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/list"
	"pawl/store"
)

// A rig is a server, a state directory, and a directory to mirror into.
type rig struct {
	t     *testing.T
	net   *faultserver.Network
	srv   *faultserver.Server
	store *store.Store
	state string
	dir   string
	opts  downloader.Options
	files map[string]faultserver.File // expected files below dir; see check

	outcomes map[string]Outcome // of the last run, by path below dir
	problems []error            // of the last run
}

// inBubble runs a test with a fake clock (testing/synctest): its waits take no time, however slow
// the machine is. The test fails if a goroutine is left at its end.
func inBubble(t *testing.T, test func(t *testing.T)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // what was closed or cancelled just now ends
		test(t)
	})
}

func newRig(t *testing.T) *rig {
	t.Helper()
	r := &rig{t: t, net: faultserver.NewNetwork(), state: memDir(t), dir: memDir(t), files: map[string]faultserver.File{}}
	r.srv = r.net.New()
	t.Cleanup(r.srv.Close)
	st, err := store.Open(r.state, store.Options{Warn: func(s string) { t.Log(s) }})
	if err != nil {
		t.Fatal(err)
	}
	r.store = st
	r.opts = downloader.Options{Dial: r.net.Dial, Retry: downloader.RetryPolicy{Tries: 2, Wait: time.Millisecond}, Timeouts: downloader.Timeouts{Stall: time.Minute, Connect: time.Minute}}
	return r
}

// memDir returns a temporary directory in memory, if the system has such a file system. A busy
// disk would take most of the time of a test.
func memDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "pawl-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// put adds n small files f0000, f0001, … to the server and to r.files, and returns a list of them.
func (r *rig) put(n int) string {
	var lines strings.Builder
	for i := range n {
		name := fmt.Sprintf("f%04d", i)
		r.files[name] = faultserver.NewFile(int64(100+37*i), uint64(i))
		r.srv.Put(name, r.files[name])
		fmt.Fprintf(&lines, "%s/%s\n", r.srv.URL, name)
	}
	return lines.String()
}

// listA is the key of the list that run mirrors.
const listA = "aaaaaaaaaaaaaaaa"

// oneList returns the lists of a run with a single, complete list.
func oneList(key string, r io.Reader) iter.Seq2[List, error] {
	return func(yield func(List, error) bool) {
		yield(List{Key: key, Complete: true, Entries: list.Read("list", r, list.Options{})}, nil)
	}
}

// run mirrors one list. change alters the options.
func (r *rig) run(ctx context.Context, text string, change ...func(*Options)) (Counts, error) {
	r.t.Helper()
	return r.runLists(ctx, oneList(listA, strings.NewReader(text)), change...)
}

// runLists mirrors lists, and checks that no file has two outcomes.
func (r *rig) runLists(ctx context.Context, lists iter.Seq2[List, error], change ...func(*Options)) (Counts, error) {
	r.t.Helper()
	d := downloader.New(r.store, r.opts)
	defer d.Close()
	r.outcomes, r.problems = map[string]Outcome{}, nil
	o := Options{
		Dir: r.dir, RoundWait: time.Millisecond,
		OnOutcome: func(o Outcome) {
			rel, _ := filepath.Rel(r.dir, o.Path)
			if old, twice := r.outcomes[rel]; twice {
				r.t.Errorf("%s: got two outcomes, %s and %s", rel, old.State, o.State)
			}
			r.outcomes[rel] = o
		},
		OnProblem: func(err error) { r.problems = append(r.problems, err) },
	}
	for _, c := range change {
		c(&o)
	}
	m := NewRun(d, r.store, o)
	err := m.Do(ctx, lists)
	return m.Counts(), err
}

// mustRun is run that must not return an error.
func (r *rig) mustRun(text string, change ...func(*Options)) Counts {
	r.t.Helper()
	c, err := r.run(r.t.Context(), text, change...)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

// check compares the files on disk with r.files.
func (r *rig) check() {
	r.t.Helper()
	for name, f := range r.files {
		r.checkFile(name, f)
	}
}

func (r *rig) checkFile(name string, f faultserver.File) {
	r.t.Helper()
	got, err := os.ReadFile(filepath.Join(r.dir, name))
	want := make([]byte, f.Size)
	f.ReadAt(want, 0)
	if err != nil || !bytes.Equal(got, want) {
		r.t.Errorf("%s: got %d bytes, %v, want the %d bytes of the server", name, len(got), err, len(want))
	}
}

func (r *rig) requests() int { return len(r.srv.Requests()) }

// TestMirror: the first run fetches each file with one request; the second run sends no request.
func TestMirror(t *testing.T) {
	r := newRig(t)
	text := r.put(300)
	if c := r.mustRun(text); c.Fetched != 300 || c.Listed != 300 || !c.Read || r.requests() != 300 {
		t.Errorf("first run: got %+v, %d requests", c, r.requests())
	}
	r.check()
	r.srv.Reset()
	if c := r.mustRun(text); c.Current != 300 || r.requests() != 0 {
		t.Errorf("second run: got %+v, %d requests, want none", c, r.requests())
	}
}

// TestUpdate: with Update, a run sends a conditional request for each file, and fetches the files
// that have changed.
func TestUpdate(t *testing.T) {
	r := newRig(t)
	text := r.put(100)
	r.mustRun(text)
	for i := range 7 {
		name := fmt.Sprintf("f%04d", 13*i)
		f := faultserver.NewFile(int64(50+i), uint64(5000+i))
		f.Modified = r.files[name].Modified.Add(time.Hour) // so that the first response decides
		r.files[name] = f
		r.srv.Put(name, f)
	}
	r.srv.Reset()
	if c := r.mustRun(text); c.Current != 100 || r.requests() != 0 {
		t.Errorf("without Update: got %+v, %d requests", c, r.requests())
	}
	c := r.mustRun(text, func(o *Options) { o.Update = true })
	notModified := 0
	for _, q := range r.srv.Requests() {
		if q.Status == 304 {
			notModified++
		}
	}
	if c.Fetched != 7 || c.Unchanged != 93 || notModified != 93 || r.requests() > 93+2*7 {
		t.Errorf("Update: got %+v, %d requests, %d not modified, want 7 fetched, 93 not modified", c, r.requests(), notModified)
	}
	r.check()
}

// TestAlteredAndForeignFiles: a file that is missing or altered on disk is fetched again; a file
// that pawl did not download is left alone.
func TestAlteredAndForeignFiles(t *testing.T) {
	r := newRig(t)
	text := r.put(5)
	foreign := filepath.Join(r.dir, "f0004")
	if err := os.WriteFile(foreign, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	c := r.mustRun(text)
	if c.Fetched != 4 || c.Failed != 1 || !errors.Is(r.outcomes["f0004"].Err, store.ErrForeign) || r.requests() != 4 {
		t.Errorf("got %+v, %v, %d requests, want one foreign file", c, r.outcomes["f0004"].Err, r.requests())
	}
	os.Remove(filepath.Join(r.dir, "f0001"))
	os.WriteFile(filepath.Join(r.dir, "f0002"), []byte("altered"), 0o666)
	c = r.mustRun(text)
	if c.Fetched != 2 || c.Current != 2 || c.Failed != 1 {
		t.Errorf("altered: got %+v", c)
	}
	if got, _ := os.ReadFile(foreign); string(got) != "precious" {
		t.Errorf("the foreign file: got %q", got)
	}
	delete(r.files, "f0004")
	r.check()
}

// TestRejectedPaths: an entry with the path of an earlier entry is skipped, with a problem if the
// URL differs; so are paths outside of the directory.
func TestRejectedPaths(t *testing.T) {
	r := newRig(t)
	r.put(3)
	u := r.srv.URL
	text := u + "/f0000\n" + u + "/f0000\n" + u + "/f0001\n  out=f0000\n" +
		u + "/f0001\n  out=../away\n" + u + "/f0001\n  dir=/etc\n  out=passwd\n" + u + "/f0002\n  dir=a/b\n  out=c\n"
	c := r.mustRun(text)
	if c.Fetched != 2 || c.Problems != 3 || r.requests() != 2 {
		t.Errorf("got %+v, %d requests, problems %q", c, r.requests(), r.problems)
	}
	for i, want := range []string{"list:3: ", "list:6: ", "list:7: "} {
		if i >= len(r.problems) || !strings.HasPrefix(r.problems[i].Error(), want) {
			t.Errorf("problem %d: got %v, want %q", i, r.problems, want)
		}
	}
	r.checkFile("f0000", r.files["f0000"])
	r.checkFile("a/b/c", r.files["f0002"])
}

// TestSourcesInOrder: the sources of an entry are tried in order, and the file is fetched from the
// first source that has it.
func TestSourcesInOrder(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(3<<20, 1)
	r.srv.Put("good", f)
	dead := "http://127.0.0.1:1/x"
	c := r.mustRun(fmt.Sprintf("%s\t%s/missing\t%s/good\n  out=f\n%s\t%s/missing\n  out=g\n", dead, r.srv.URL, r.srv.URL, dead, r.srv.URL))
	if c.Fetched != 1 || c.Failed != 1 || r.outcomes["g"].Rounds != 3 {
		t.Errorf("got %+v, %+v", c, r.outcomes["g"])
	}
	r.checkFile("f", f)
	r.srv.Reset()
	if c := r.mustRun(fmt.Sprintf("%s\t%s/good\n  out=f\n", dead, r.srv.URL)); c.Current != 1 || r.requests() != 0 {
		t.Errorf("second run: got %+v, %d requests", c, r.requests())
	}
}

// TestDigestAndSizeOfEntry: a file without the digest or size of its entry fails and leaves nothing
// on disk; a file on disk with the right digest is not requested again.
func TestDigestAndSizeOfEntry(t *testing.T) {
	r := newRig(t)
	text := r.put(2)
	lines := strings.Split(strings.TrimSpace(text), "\n")
	bad := lines[0] + "\n  checksum=sha-256=" + strings.Repeat("0", 64) + "\n" + lines[1] + "\n  size=5\n"
	c := r.mustRun(bad)
	if c.Failed != 2 || !errors.Is(r.outcomes["f0000"].Err, failure.ErrChecksum) || !errors.Is(r.outcomes["f0001"].Err, failure.ErrChecksum) {
		t.Errorf("got %+v, %v, %v", c, r.outcomes["f0000"].Err, r.outcomes["f0001"].Err)
	}
	if names, _ := filepath.Glob(filepath.Join(r.dir, "*")); len(names) != 0 {
		t.Errorf("files on disk: got %q, want none", names)
	}
	r.mustRun(text)
	h := digest(r.files["f0000"])
	good := lines[0] + "\n  checksum=" + h + "\n"
	for range 2 {
		r.srv.Reset()
		if c := r.mustRun(good); c.Unchanged+c.Current != 1 || r.requests() != 0 {
			t.Errorf("right digest: got %+v, %d requests", c, r.requests())
		}
	}
	if r.outcomes["f0000"].State != Current {
		t.Errorf("second time: got %s, want %s, because the digest is on record", r.outcomes["f0000"].State, Current)
	}
}

// TestDeadHosts: files of dead hosts fail, and the files of other hosts do not wait for them.
func TestDeadHosts(t *testing.T) {
	r := newRig(t)
	text := r.put(50)
	var dead strings.Builder
	for i := range 300 {
		fmt.Fprintf(&dead, "http://127.0.0.1:%d/x%d\n", 1+i%3, i)
	}
	if c := r.mustRun(dead.String() + text); c.Fetched != 50 || c.Failed != 300 {
		t.Errorf("got %+v, want 50 fetched, 300 failed", c)
	}
	r.check()
}

// TestFailuresAreRetried: a file that fails with HTTP error 503 is fetched in a later round.
func TestFailuresAreRetried(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		text := r.put(20)
		r.srv.Set(faultserver.First(7, faultserver.Status(503, 0)))
		rounds := 0
		c := r.mustRun(text, func(o *Options) { o.OnRound = func(int, int, time.Duration) { rounds++ } })
		if c.Fetched != 20 || rounds == 0 {
			t.Errorf("got %+v in %d further rounds, want 20 fetched in at least one", c, rounds)
		}
		r.check()
	})
}

// TestCancel: if the context of a run ends, the files without an outcome are reported as Pending,
// and the next run fetches them.
func TestCancel(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		text := r.put(100)
		r.srv.Set(faultserver.Delay(20 * time.Millisecond))
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("gone")
		n := 0
		in, out := io.Pipe()
		go func() { io.WriteString(out, text) }() // without closing out, so that the reader waits for more
		d := downloader.New(r.store, r.opts)
		defer d.Close()
		states := map[State]int{}
		m := NewRun(d, r.store, Options{Dir: r.dir, OnOutcome: func(o Outcome) {
			if states[o.State]++; o.State == Fetched {
				if n++; n == 20 {
					cancel(gone)
				}
			}
		}})
		if err := m.Do(ctx, oneList(listA, in)); !errors.Is(err, gone) {
			t.Errorf("got error %v, want the cause", err)
		}
		out.Close()
		if states[Fetched] < 20 || states[Fetched]+states[Pending] != m.Counts().Listed || m.Counts().Read {
			t.Errorf("got %v, %+v", states, m.Counts())
		}
		r.srv.Set()
		r.srv.Reset()
		if c := r.mustRun(text); c.Current < 20 || c.Current+c.Fetched != 100 || r.requests() != c.Fetched {
			t.Errorf("the next run: got %+v, %d requests", c, r.requests())
		}
		r.check()
	})
}

// TestManyDeadHosts: any number of silent hosts does not delay the hosts that respond.
func TestManyDeadHosts(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		var dead strings.Builder
		for i := range 300 {
			silent := r.net.New()
			t.Cleanup(silent.Close)
			silent.Set(faultserver.NoResponse)
			fmt.Fprintf(&dead, "%s/x%d\n", silent.URL, i)
		}
		lines := strings.SplitAfter(r.put(40), "\n")
		r.opts.Retry.Tries, r.opts.Timeouts.Stall = 1, 5*time.Second
		begun := time.Now()
		var last time.Duration
		c := r.mustRun(lines[0]+dead.String()+strings.Join(lines[1:], ""), func(o *Options) {
			o.Rounds, o.Jobs = 1, 8
			report := o.OnOutcome
			o.OnOutcome = func(x Outcome) {
				if report(x); x.State == Fetched {
					last = time.Since(begun)
				}
			}
		})
		if c.Fetched != 40 || c.Failed != 300 || last > 4*time.Second {
			t.Errorf("got %+v; the last file was fetched after %v, want at most 4s", c, last)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		c, _ = r.run(ctx, dead.String(), func(o *Options) { o.Jobs = 8 })
		if len(r.outcomes) != 300 || c.Pending != 300 { // also the hosts that had no turn yet
			t.Errorf("cancelled: got %d outcomes, %+v", len(r.outcomes), c)
		}
	})
}

// digest returns the SHA-256 digest of f in the form that a list has.
func digest(f faultserver.File) string {
	b := make([]byte, f.Size)
	f.ReadAt(b, 0)
	return fmt.Sprintf("sha-256=%x", sha256.Sum256(b))
}
