package mirror

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// A fakeElsewhere is a queue and a log in memory, as those of a run that outlive its processes.
// process returns the Elsewhere of one process.
type fakeElsewhere struct {
	blind bool // see Sees

	mu      sync.Mutex
	changed *sync.Cond
	batch   []*Item         // sent, but not flushed
	queue   []*Item         // flushed
	sent    map[string]bool // by key; as the log says
	sends   int             // calls of Send
	flushes int
	log     []Outcome // from the first one
	closed  bool      // ends the workers
	failing error     // of Send, Flush and Outcomes
	ends    bool      // Outcomes ends after the log
}

func newFakeElsewhere() *fakeElsewhere {
	f := &fakeElsewhere{sent: map[string]bool{}}
	f.changed = sync.NewCond(&f.mu)
	return f
}

// change changes f under its lock.
func (f *fakeElsewhere) change(fn func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn()
	f.changed.Broadcast()
}

// copied is what comes out of a queue for it.
func copied(it *Item) *Item {
	b, err := it.MarshalJSON()
	var c Item
	if err = errors.Join(err, c.UnmarshalJSON(b)); err != nil {
		panic(err)
	}
	return &c
}

func (f *fakeElsewhere) Send(ctx context.Context, it *Item) (err error) {
	f.change(func() {
		if err = f.failing; err != nil {
			return
		}
		if f.sends++; !f.sent[it.Key()] {
			f.batch = append(f.batch, copied(it))
		}
	})
	return err
}

func (f *fakeElsewhere) Flush(context.Context) (err error) {
	f.change(func() {
		if err = f.failing; err != nil {
			return
		}
		f.flushes++
		for _, it := range f.batch {
			f.sent[it.Key()] = true
		}
		f.queue, f.batch = append(f.queue, f.batch...), nil
	})
	return err
}

func (f *fakeElsewhere) Outcomes(ctx context.Context) iter.Seq2[Outcome, error] {
	return func(yield func(Outcome, error) bool) {
		defer context.AfterFunc(ctx, func() { f.change(func() {}) })()
		for n := 0; ; n++ {
			f.mu.Lock()
			for len(f.log) == n && ctx.Err() == nil && f.failing == nil && !f.ends {
				f.changed.Wait()
			}
			var o Outcome
			err, ended := f.failing, len(f.log) == n
			if !ended {
				o, err = f.log[n], nil
			}
			f.mu.Unlock()
			if ctx.Err() != nil || ended && err == nil || !yield(o, err) || err != nil {
				return
			}
		}
	}
}

func (f *fakeElsewhere) Sees() bool { return !f.blind }

// take waits for an item, nil at the end.
func (f *fakeElsewhere) take() *Item {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.queue) == 0 && !f.closed {
		f.changed.Wait()
	}
	if len(f.queue) == 0 {
		return nil
	}
	it := f.queue[0]
	f.queue = f.queue[1:]
	return it
}

// work fetches queued files with n jobs until f is closed, and tries again what may mend.
func (f *fakeElsewhere) work(r *rig, w *Worker, n int) {
	var jobs sync.WaitGroup
	for range n {
		jobs.Go(func() {
			for it := f.take(); it != nil; it = f.take() {
				o := r.fetchOne(context.Background(), w, it, func() {})
				if o.State == Failed && MayRecover(o.Err) && o.Rounds < 3 {
					it.Rounds, it.LastError = o.Rounds, o.Err.Error()
					f.change(func() { f.queue = append(f.queue, it) })
					continue
				}
				f.change(func() { f.log = append(f.log, inLog(it, o)) })
			}
		})
	}
	jobs.Wait()
}

// inLog is an outcome as it comes out of a log.
func inLog(it *Item, o Outcome) Outcome {
	return Outcome{Key: it.Key(), Path: o.Path, State: o.State, URL: o.URL, Result: o.Result, Record: o.Record, Rounds: o.Rounds, Err: o.Err}
}

// worker returns a rig with the same server and directory, but a state directory of its own, as on
// another machine.
func (r *rig) worker() *rig {
	r.t.Helper()
	w := *r
	w.state = memDir(r.t)
	st, err := store.Open(w.state, store.Options{Warn: func(s string) { r.t.Log(s) }})
	if err != nil {
		r.t.Fatal(err)
	}
	w.store = st
	return &w
}

// startWorker runs a worker of f until stop is called.
func (r *rig) startWorker(f *fakeElsewhere, n int, change ...func(*Options)) (stop func()) {
	r.t.Helper()
	w := r.worker()
	d := downloader.New(w.store, w.opts)
	o := Options{Dir: w.dir}
	for _, c := range change {
		c(&o)
	}
	var running sync.WaitGroup
	running.Go(func() { f.work(w, NewWorker(d, w.store, o), n) })
	var once sync.Once
	stop = func() {
		once.Do(func() {
			f.change(func() { f.closed = true })
			running.Wait()
			f.change(func() { f.closed = false })
			d.Close()
		})
	}
	r.t.Cleanup(stop)
	return stop
}

// through makes a run go through f.
func through(f *fakeElsewhere) func(*Options) { return func(o *Options) { o.Elsewhere = f } }

// summary is what two runs of the same lists have in common.
func (r *rig) summary() map[string]string {
	all := map[string]string{}
	for rel, o := range r.outcomes {
		if rel == "late" && o.Rounds > 0 { // how many of its failures come in the first round depends on the other files
			o.Rounds = 1
		}
		all[rel] = fmt.Sprintf("%s %s %d rounds, list %s:%d, size %d, sum %s, fetched %d, proof %s, %v", o.State, o.URL, o.Rounds, o.Entry.List, o.Entry.Line, o.Result.Size, o.Result.Sum, o.Result.Fetched, o.Result.Proof, o.Err)
	}
	return all
}

// finished returns what the state file says about the finished files, by path below the directory.
func (r *rig) finished() map[string]string {
	all := map[string]string{}
	for rec, err := range r.store.Finished("") {
		if err != nil {
			r.t.Fatal(err)
		}
		rel, _ := filepath.Rel(r.dir, rec.Target)
		all[rel] = fmt.Sprint(rec.Size, rec.ETag, rec.LastModified, rec.URL, rec.Sum, rec.ModTime, rec.CRC, rec.Lists, rec.Publishing)
	}
	return all
}

// mixedList fills a rig with files, some of which are there already, and returns a list of them, of missing
// files, of files that fail for a while, and of entries with problems.
func (r *rig) mixedList() string {
	text := r.put(40)
	lines := strings.SplitAfter(text, "\n")
	r.mustRun(strings.Join(lines[:10], ""))
	os.Remove(filepath.Join(r.dir, "f0003"))
	os.WriteFile(filepath.Join(r.dir, "f0004"), []byte("altered"), 0o666)
	r.srv.Set(onPath("/late", faultserver.First(3, faultserver.Status(500, 0))), onPath("/denied", faultserver.Status(451, -1)))
	r.srv.Put("late", r.files["f0000"])
	r.srv.Reset()
	u := r.srv.URL
	digests := fmt.Sprintf("%s/f0020\n  out=good\n  checksum=%s\n%s/f0021\n  out=bad\n  checksum=sha-256=%s\n%s/f0022\n  out=short\n  size=5\n", u, digest(r.files["f0020"]), u, strings.Repeat("0", 64), u)
	return text + u + "/gone\n" + u + "/late\n" + u + "/denied\n" + lines[5] + u + "/f0006\n  out=f0005\n" + u + "/f0001\n  out=../away\n" + digests +
		"http://127.0.0.1:1/f0030\t" + u + "/f0030\n  out=second\n"
}

// TestElsewhere: a run that has its files fetched by a worker has the same outcomes, counts, problems,
// records and files as one that fetches them itself, and asks for the same files.
func TestElsewhere(t *testing.T) {
	alone, fleet := newRig(t), newRig(t)
	fleet.srv.Close()
	fleet.net, fleet.srv, fleet.opts = alone.net, alone.srv, alone.opts
	run := func(r *rig, change ...func(*Options)) (Counts, int) {
		text := r.mixedList()
		c := r.mustRun(text, change...)
		return c, r.asked()
	}
	wantCounts, wantRequests := run(alone)
	f := newFakeElsewhere()
	fleet.startWorker(f, 4)
	gotCounts, gotRequests := run(fleet, through(f))
	if gotCounts != wantCounts {
		t.Errorf("got %+v, want %+v", gotCounts, wantCounts)
	}
	if gotRequests != wantRequests {
		t.Errorf("got requests for %d files, want %d", gotRequests, wantRequests)
	}
	compareMaps(t, "outcome", fleet.summary(), alone.summary())
	compareMaps(t, "record", fleet.finished(), alone.finished())
	if got, want := fmt.Sprint(fleet.problems), fmt.Sprint(alone.problems); got != want {
		t.Errorf("problems: got %s, want %s", got, want)
	}
	fleet.check()
	for _, again := range []func(*Options){func(*Options) {}, through(newFakeElsewhere())} { // what is recorded is as good as if it had been fetched here
		if c := fleet.mustRun(fleet.put(40), again); c.Current != 40 {
			t.Errorf("again: got %+v", c)
		}
	}
}

func compareMaps(t *testing.T, what string, got, want map[string]string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s of %s:\n got %s\nwant %s", what, k, got[k], want[k])
		}
	}
	for k := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s of %s: got one, want none", what, k)
		}
	}
}

// TestElsewhereUpdate: files that are there are sent with their records, so that the worker asks whether
// they have changed.
func TestElsewhereUpdate(t *testing.T) {
	r := newRig(t)
	text := r.put(30)
	r.mustRun(text)
	for _, name := range []string{"f0004", "f0014"} {
		f := faultserver.NewFile(77, 500)
		f.Modified = r.files[name].Modified.Add(time.Hour)
		r.files[name] = f
		r.srv.Put(name, f)
	}
	r.srv.Reset()
	f := newFakeElsewhere()
	update := func(o *Options) { o.Update = true }
	r.startWorker(f, 4, update)
	if c := r.mustRun(text, update, through(f)); c.Unchanged != 28 || c.Fetched != 2 || f.sends != 30 {
		t.Errorf("got %+v, %d sent", c, f.sends)
	}
	r.check()
	if c := r.mustRun(text); c.Current != 30 {
		t.Errorf("after it: got %+v", c)
	}
}

// TestElsewhereInterrupted: what was sent and has no outcome is Pending, and the next process sends only what
// was not sent.
func TestElsewhereInterrupted(t *testing.T) {
	for name, stopped := range map[string]bool{"cancelled": false, "stopped": true} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				text := r.put(50)
				f := newFakeElsewhere()
				ctx, cancel := context.WithCancelCause(t.Context())
				stop, gone := make(chan struct{}), errors.New("gone")
				go func() {
					for i := range 20 { // 20 files are fetched
						it := f.take()
						f.change(func() {
							f.log = append(f.log, Outcome{Key: it.Key(), State: Failed, Rounds: 1, Err: fmt.Errorf("no %d", i)})
						})
					}
					time.Sleep(time.Second)
					if stopped {
						close(stop)
					} else {
						cancel(gone)
					}
				}()
				c, err := r.run(ctx, text, through(f), func(o *Options) { o.Stop = stop })
				if c.Failed != 20 || c.Pending != 30 || len(r.outcomes) != 50 || !stopped && !errors.Is(err, gone) || stopped && err != nil {
					t.Errorf("got %+v, %v", c, err)
				}
				for _, o := range r.outcomes {
					if o.State == Pending && (len(o.Entry.URLs) != 1 || o.Path == "") {
						t.Errorf("pending: got %+v", o)
					}
				}
				r.startWorker(f, 2)
				before := len(f.sent)
				c = r.mustRun(text+r.srv.URL+"/f0001\n  out=new\n", through(f))
				if c.Fetched != 31 || c.Failed != 20 || len(f.sent) != before+1 {
					t.Errorf("the next process: got %+v, %d files sent before, %d now", c, before, len(f.sent))
				}
			})
		})
	}
}

// TestElsewhereReplay: a process that starts again gets all outcomes from the first one, some of them before
// it has read the entries, some twice, and some of files that the list does not name any more.
func TestElsewhereReplay(t *testing.T) {
	r := newRig(t)
	text := r.put(20)
	lines := strings.SplitAfter(text, "\n")
	f := newFakeElsewhere()
	stopWorker := r.startWorker(f, 2)
	r.mustRun(text+r.srv.URL+"/gone\n", through(f))
	stopWorker()
	f.log = append(f.log, f.log...)
	r.store = r.worker().store // nothing is on record
	r.srv.Reset()
	c := r.mustRun(strings.Join(lines[5:], "")+r.srv.URL+"/gone\n", through(f))
	if c.Fetched != 15 || c.Failed != 1 || c.Listed != 16 || r.requests() != 0 {
		t.Errorf("got %+v, %d requests", c, r.requests())
	}
	if n := len(r.finished()); n != 20 {
		t.Errorf("got %d records, want 20: files that no list names any more are still of this run", n)
	}
	if c := r.mustRun(text); c.Current != 20 {
		t.Errorf("then: got %+v", c)
	}
}

// TestElsewhereGroups: outcomes that come one after another are recorded together, none is late by more than recordWait, and the run ends
// with the last one.
func TestElsewhereGroups(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		const files, apart = 200, 10 * time.Millisecond
		text := r.put(files)
		f := newFakeElsewhere()
		var worker sync.WaitGroup
		var last time.Time
		told := map[string]time.Time{}
		worker.Go(func() {
			for range files {
				it := f.take()
				time.Sleep(apart)
				f.change(func() {
					last = time.Now()
					told[it.Path] = last
					f.log = append(f.log, Outcome{Key: it.Key(), State: Failed, Rounds: 1, Err: errors.New("x")})
				})
			}
		})
		groups := map[time.Time]int{}
		c := r.mustRun(text, through(f), func(o *Options) {
			o.OnOutcome = func(x Outcome) {
				groups[time.Now()]++
				f.change(func() {
					if late := time.Since(told[x.Path]); late > recordWait {
						t.Errorf("%s is reported %v late", x.Path, late)
					}
				})
			}
		})
		ended := time.Now()
		worker.Wait()
		if most := int(files*apart/recordWait) + 1; c.Failed != files || len(groups) > most {
			t.Errorf("got %+v in %d groups, want at most %d", c, len(groups), most)
		}
		if wait := ended.Sub(last); wait > 0 {
			t.Errorf("the run has ended %v after the last outcome", wait)
		}
	})
}

// TestElsewhereFails: an error of the other side ends the run, and everything is reported once.
func TestElsewhereFails(t *testing.T) {
	broken := errors.New("broken")
	for name, tt := range map[string]struct {
		prepare func(f *fakeElsewhere)
		want    error
	}{
		"send":         {func(f *fakeElsewhere) { f.failing = broken }, broken},
		"outcomes end": {func(f *fakeElsewhere) { f.ends = true }, nil},
		"no key":       {func(f *fakeElsewhere) { f.log = []Outcome{{State: Failed}} }, errKey},
		"outside": {func(f *fakeElsewhere) {
			f.log = []Outcome{{Key: "0123456789abcdef", State: Fetched, Path: "/etc/passwd", Record: store.Record{ID: store.NewID()}}}
			f.ends = true
		}, nil},
		"flush and outcomes": {func(f *fakeElsewhere) {
			time.AfterFunc(time.Second/2, func() { f.change(func() { f.failing = broken }) })
		}, broken},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				f := newFakeElsewhere()
				tt.prepare(f)
				c, err := r.run(t.Context(), r.put(700), through(f))
				if tt.want != nil && !errors.Is(err, tt.want) || tt.want == nil && err != nil && !errors.Is(err, errUnread) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if c.Pending != c.Listed || len(r.outcomes) != c.Listed || len(r.finished()) != 0 {
					t.Errorf("got %+v, %d outcomes, %d records", c, len(r.outcomes), len(r.finished()))
				}
			})
		})
	}
}

// TestElsewhereUnrecordable: a finished file that cannot be one of the run has failed, whatever a worker says; the
// others of its group are recorded.
func TestElsewhereUnrecordable(t *testing.T) {
	r := newRig(t)
	text := r.put(4)
	f := newFakeElsewhere()
	go func() {
		var all []Outcome
		for _, path := range []string{"", filepath.Join(r.dir, "..", "away"), filepath.Join(r.dir, strings.Repeat("long/", 10_000)+"f"), ""} {
			it := f.take()
			all = append(all, Outcome{Key: it.Key(), Path: path, State: Fetched, Record: store.Record{ID: store.NewID(), URL: it.Entry.URLs[0], Size: 100}})
		}
		f.change(func() { f.log = all })
	}()
	c, err := r.run(t.Context(), text, through(f))
	if err != nil || c.Fetched != 2 || c.Failed != 2 || len(r.finished()) != 2 {
		t.Errorf("got %+v, %v, %d records", c, err, len(r.finished()))
	}
	for rel, o := range r.outcomes {
		if o.State == Failed && (o.Err == nil || MayRecover(o.Err)) {
			t.Errorf("%s: got %+v", rel, o)
		}
	}
}

// TestElsewhereDryRun: nothing is sent.
func TestElsewhereDryRun(t *testing.T) {
	r := newRig(t)
	f := newFakeElsewhere()
	if c := r.mustRun(r.put(5), through(f), func(o *Options) { o.DryRun = true }); c.Wanted != 5 || f.sends != 0 {
		t.Errorf("got %+v, %d sent", c, f.sends)
	}
}

// TestElsewhereUnseen: if the files are not on a disk of this process, their records count.
func TestElsewhereUnseen(t *testing.T) {
	r := newRig(t)
	text := r.put(10)
	r.mustRun(text)
	os.RemoveAll(r.dir)
	f := newFakeElsewhere()
	f.blind = true
	r.startWorker(f, 2)
	more := r.srv.URL + "/f0001\n  out=new\n"
	if c := r.mustRun(text+more, through(f)); c.Current != 10 || c.Fetched != 1 || f.sends != 1 {
		t.Errorf("got %+v, %d sent", c, f.sends)
	}
	f.blind = false
	if c := r.mustRun(text, through(f)); c.Fetched != 10 {
		t.Errorf("seen: got %+v", c)
	}
}

// TestElsewhereSlowList: files of a list that comes slowly do not wait for its end, and neither do
// their outcomes.
func TestElsewhereSlowList(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		text := r.put(1)
		f := newFakeElsewhere()
		r.startWorker(f, 1)
		ctx, cancel := context.WithCancel(t.Context())
		lists := func(yield func(List, error) bool) {
			for l, err := range oneList(listA, strings.NewReader(text)) {
				yield(l, err)
			}
			<-ctx.Done()
		}
		var outcomes atomic.Int32
		time.AfterFunc(3*flushInterval, func() {
			f.change(func() {
				if n := outcomes.Load(); n != 1 || f.flushes != 1 {
					t.Errorf("got %d outcomes, %d flushes while the list is read, want 1 each", n, f.flushes)
				}
			})
			cancel()
		})
		count := func(o *Options) { o.OnOutcome = func(Outcome) { outcomes.Add(1) } }
		if c, err := r.runLists(ctx, lists, through(f), count); c.Fetched != 1 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %+v, %v", c, err)
		}
	})
}

// TestElsewhereClaims: an adopted file is claimed by all lists of the run, and a file that was fetched without
// a list stays one.
func TestElsewhereClaims(t *testing.T) {
	const listB = "bbbbbbbbbbbbbbbb"
	r := newRig(t)
	text := r.put(3)
	lists := func(yield func(List, error) bool) {
		for _, key := range []string{listA, listB} {
			for l, err := range oneList(key, strings.NewReader(text)) {
				yield(l, err)
			}
		}
	}
	f := newFakeElsewhere()
	r.startWorker(f, 1)
	if c, err := r.runLists(t.Context(), lists, through(f)); err != nil || c.Fetched != 3 {
		t.Fatalf("got %+v, %v", c, err)
	}
	for rec, err := range r.store.Finished("") {
		if err != nil || !rec.Lists.Has(listA) || !rec.Lists.Has(listB) || rec.Publishing {
			t.Errorf("got %+v, %v", rec, err)
		}
	}
}

// TestElsewhereMemory: outcomes that come long before their files are read are kept only up to a limit, and
// none is lost.
func TestElsewhereMemory(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		text := r.put(1)
		f := newFakeElsewhere()
		for i := range maxEarly + 500 {
			f.log = append(f.log, Outcome{Key: fmt.Sprintf("%016x", i), State: Failed, Err: errors.New("of an earlier list")})
		}
		key := r.item("f0000").Key()
		f.log = append(f.log, Outcome{Key: key, State: Failed, Err: errors.New("wanted")}, Outcome{Key: key, State: Failed, Err: errors.New("the second one does not count")})
		d := downloader.New(r.store, r.opts)
		defer d.Close()
		var m *Run
		var got []Outcome
		m = NewRun(d, r.store, Options{Dir: r.dir, Elsewhere: f, OnOutcome: func(o Outcome) { got = append(got, o) }})
		err := m.Do(t.Context(), func(yield func(List, error) bool) {
			time.Sleep(time.Minute)
			m.elsewhere.mu.Lock()
			if n := len(m.elsewhere.early); n != maxEarly {
				t.Errorf("got %d outcomes in memory, want %d", n, maxEarly)
			}
			m.elsewhere.mu.Unlock()
			for l, err := range oneList(listA, strings.NewReader(text)) {
				yield(l, err)
			}
		})
		if err != nil || len(got) != 1 || got[0].Err.Error() != "wanted" || got[0].Path != filepath.Join(r.dir, "f0000") || f.sends != 1 {
			t.Errorf("got %+v, %v, %d sent", got, err, f.sends)
		}
	})
}

// TestElsewhereStale: what an earlier process of the run has recorded, and another run has fetched again
// since, is not recorded again by a replay.
func TestElsewhereStale(t *testing.T) {
	r := newRig(t)
	text := r.put(2)
	f := newFakeElsewhere()
	r.startWorker(f, 1)
	r.mustRun(text, through(f))
	changed := faultserver.NewFile(55, 9)
	changed.Modified = r.files["f0001"].Modified.Add(time.Hour)
	r.files["f0001"] = changed
	r.srv.Put("f0001", changed)
	r.mustRun(text, func(o *Options) { o.Update = true })
	if c := r.mustRun(text+r.srv.URL+"/f0001\n  out=new\n", through(f)); c.Current != 2 || c.Fetched != 1 {
		t.Errorf("replayed: got %+v", c)
	}
	if c := r.mustRun(text); c.Current != 2 {
		t.Errorf("then: got %+v", c)
	}
	r.check()
}

// TestElsewhereOrder: when a file is reported, it is on record. If it cannot be recorded, it is Pending, because the
// next process of the run will record it.
func TestElsewhereOrder(t *testing.T) {
	r := newRig(t)
	f := newFakeElsewhere()
	r.startWorker(f, 4)
	recorded := func(o *Options) {
		report := o.OnOutcome
		o.OnOutcome = func(x Outcome) {
			if rec, err := r.store.ByTarget(x.Path); err != nil || rec.State != store.Done || rec.ID != x.Record.ID {
				t.Errorf("%s is reported before it is on record: got %+v, %v", x.Path, rec, err)
			}
			report(x)
		}
	}
	if c := r.mustRun(r.put(300), through(f), recorded); c.Fetched != 300 {
		t.Errorf("got %+v", c)
	}
	broken := newRig(t)
	f = newFakeElsewhere()
	go func() {
		it := f.take()
		os.RemoveAll(broken.state)
		os.WriteFile(broken.state, nil, 0o600)
		f.change(func() {
			f.log = append(f.log, Outcome{Key: it.Key(), State: Fetched, Record: store.Record{ID: store.NewID(), Size: 100}})
		})
	}()
	c, err := broken.run(t.Context(), broken.put(1), through(f))
	if c.Fetched != 0 || c.Pending != 1 || !errors.Is(err, store.ErrState) {
		t.Errorf("without a state file: got %+v, %v", c, err)
	}
}
