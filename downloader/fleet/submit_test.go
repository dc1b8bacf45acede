package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/store"
)

// A submitRig has a server of files, a broker, and the state of a submitter. Workers are simulated.
type submitRig struct {
	*testing.T
	net    *faultserver.Network
	srv    *faultserver.Server
	broker *fakebroker.Server
	b      *fakebroker.Client // of the submitter
	store  *store.Store
	dir    string
	place  string // directory of the workers: dir, or another one
	run    fleet.Run
	key    []byte // of the sealers; nil for none

	mu       sync.Mutex
	got      map[string]mirror.Outcome // of the last run, by path below dir
	n        int                       // outcomes of the last run
	problems []error                   // of the last run
	batches  []fleet.Batch             // that workers have taken
}

func newSubmitRig(t *testing.T) *submitRig {
	t.Helper()
	r := &submitRig{T: t, net: faultserver.NewNetwork(), broker: fakebroker.New(), dir: t.TempDir()}
	r.b, r.place = r.broker.Connect("submitter"), r.dir
	r.srv = r.net.New()
	t.Cleanup(r.srv.Close)
	r.store = r.openStore(t.TempDir())
	r.run = fleet.Run{Dir: r.dir, Target: "target", Settings: fleet.Settings{Rounds: 2, RoundWait: time.Second}}
	return r
}

func (r *submitRig) openStore(dir string) *store.Store {
	r.Helper()
	st, err := store.Open(dir, store.Options{Warn: func(s string) { r.Log(s) }})
	if err != nil {
		r.Fatal(err)
	}
	return st
}

func (r *submitRig) downloader(st *store.Store) *downloader.Downloader {
	return downloader.New(st, downloader.Options{Dial: r.net.Dial, Retry: downloader.RetryPolicy{Tries: 1, Wait: time.Millisecond}})
}

const listKey = "aaaaaaaaaaaaaaaa"

// lists returns one list with this text.
func (r *submitRig) lists(text string) iter.Seq2[mirror.List, error] {
	return func(yield func(mirror.List, error) bool) {
		yield(mirror.List{Key: listKey, Complete: true, Entries: list.Read("list", strings.NewReader(text), list.Options{})}, nil)
	}
}

// options are those of a run of the submitter or of one machine.
func (r *submitRig) options() mirror.Options {
	r.got, r.n, r.problems = make(map[string]mirror.Outcome), 0, nil
	return mirror.Options{
		Dir: r.dir, Temp: r.TempDir(), Rounds: r.run.Settings.Rounds, RoundWait: r.run.Settings.RoundWait, Update: r.run.Settings.Update,
		OnOutcome: func(o mirror.Outcome) {
			rel, _ := filepath.Rel(r.dir, o.Path)
			r.got[filepath.ToSlash(rel)] = o
			r.n++
		},
		OnProblem: func(err error) { r.problems = append(r.problems, err) },
	}
}

// submit runs the submitter until the run ends. change may be nil.
func (r *submitRig) submit(ctx context.Context, text string, change func(*fleet.SubmitterOptions)) (mirror.Counts, error) {
	r.Helper()
	run, err := fleet.OpenRun(ctx, r.b, "0000000000000001", r.run)
	if err != nil {
		r.Fatal(err)
	}
	o := fleet.SubmitterOptions{Run: run, Dir: r.dir, Stamp: r.store.Stamp}
	lists := r.lists(text)
	if r.key != nil {
		o.Sealer = r.sealer()
	} else {
		lists = fleet.WithoutSecrets(lists)
	}
	if change != nil {
		change(&o)
	}
	s, err := fleet.OpenSubmitter(ctx, r.b, o)
	if err != nil {
		return mirror.Counts{}, err
	}
	opts := r.options()
	opts.Elsewhere = s
	opts.OnRead = func(ctx context.Context) { s.AllSent(ctx) }
	d := r.downloader(r.store)
	defer d.Close()
	m := mirror.NewRun(d, r.store, opts)
	err = m.Do(ctx, lists)
	s.Close(ctx)
	if c := m.Counts(); err == nil && c.Pending == 0 && !o.Detach {
		if err := fleet.CompleteRun(ctx, r.b, run.ID); err != nil {
			r.Fatal(err)
		}
	}
	return m.Counts(), err
}

func (r *submitRig) sealer() *fleet.Sealer {
	s, err := fleet.NewSealer(r.key)
	if err != nil {
		r.Fatal(err)
	}
	return s
}

// alone mirrors a list as one machine does, into the same directory with a state of its own.
func (r *submitRig) alone(text string) mirror.Counts {
	r.Helper()
	st := r.openStore(r.TempDir())
	d := r.downloader(st)
	defer d.Close()
	m := mirror.NewRun(d, st, r.options())
	if err := m.Do(r.Context(), r.lists(text)); err != nil {
		r.Fatal(err)
	}
	return m.Counts()
}

// work runs a simulated worker until stopping ends. It takes batches of all lanes, and appends how their items ended.
func (r *submitRig) work(stopping context.Context, run string) {
	ctx := r.Context()
	st := r.openStore(r.TempDir())
	d := r.downloader(st)
	defer d.Close()
	defer st.FlushPublished()
	w := storeWorker{mirror.NewWorker(d, st, mirror.Options{Dir: r.place, Update: r.run.Settings.Update}), st}
	b := r.broker.Connect("worker")
	for stopping.Err() == nil {
		lanes, err := b.Waiting(ctx, run)
		if err != nil || len(lanes) == 0 {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-stopping.Done():
			}
			continue
		}
		for lane := range lanes {
			if stopping.Err() != nil {
				break
			}
			m, err := b.Take(ctx, run, lane)
			if err != nil || m == nil {
				continue
			}
			r.fetchBatch(ctx, b, w, m)
		}
	}
}

// A storeWorker is a worker and its store.
type storeWorker struct {
	*mirror.Worker
	store *store.Store
}

// fetch fetches a file, with its record before and after.
func (w storeWorker) fetch(ctx context.Context, file *mirror.Item) (o mirror.Outcome, err error) {
	if err = mirror.LookUp(w.store, file); err == nil {
		o = w.Fetch(ctx, file, mirror.Steps{Released: func() {}})
		err = mirror.Complete(w.store, []*mirror.Outcome{&o})
	}
	return o, err
}

// fetchBatch fetches the items of a message.
func (r *submitRig) fetchBatch(ctx context.Context, b fleet.Broker, w storeWorker, m fleet.Message) {
	var batch fleet.Batch
	if err := json.Unmarshal(m.Data(), &batch); err != nil {
		r.Error(err)
		return
	}
	if len(m.Data()) > 256<<10 {
		r.Errorf("a message has %d bytes", len(m.Data()))
	}
	r.mu.Lock()
	r.batches = append(r.batches, batch)
	r.mu.Unlock()
	report := fleet.Report{Version: 1, Time: time.Now(), Worker: "w", Batch: batch.ID}
	for _, it := range batch.Items {
		open := it
		if r.key != nil {
			if err := r.sealer().Open(batch.Run, &open); err != nil {
				r.Error(err)
			}
		}
		file := open.File
		file.Path = filepath.Join(r.place, filepath.FromSlash(file.Path))
		var o mirror.Outcome
		for ended := false; !ended; {
			var err error
			if o, err = w.fetch(ctx, &file); err != nil {
				r.Error(err)
			}
			file.Rounds = o.Rounds
			ended = o.State != mirror.Failed || !mirror.MayRecover(o.Err) || o.Rounds >= r.run.Settings.Rounds
			if !ended {
				again := fleet.EndedOf(r.place, it, o)
				again.Again = true
				report.Ended = append(report.Ended, again)
			}
		}
		report.Ended = append(report.Ended, fleet.EndedOf(r.place, it, o))
	}
	if err := b.Append(ctx, batch.Run, batch.ID, fleet.Encode(report)); err != nil {
		r.Error(err)
	}
	m.Done(ctx)
}

// withWorker runs f beside a worker of the run.
func (r *submitRig) withWorker(run string, f func()) {
	ctx, cancel := context.WithCancel(r.Context())
	var w sync.WaitGroup
	w.Go(func() { r.work(ctx, run) })
	f()
	cancel()
	w.Wait()
}

const firstRun = "0000000000000001-1"

// summary is what reports of the same list have in common, without times.
func (r *submitRig) summary() map[string]string {
	all := make(map[string]string)
	for rel, o := range r.got {
		text := fmt.Sprintf("%s %s, round %d, line %d, size %d, sum %s, crc %x, final %s, proof %s, fetched %d, gone %v, not tried %v",
			o.State, o.URL, o.Rounds, o.Entry.Line, o.Result.Size, o.Result.Sum, o.Result.CRC, o.Result.Final, o.Result.Proof, o.Result.Fetched,
			failure.IsGone(o.Err), mirror.WasNotTried(o.Err))
		if o.State == mirror.Current || o.State == mirror.Unchanged { // of a fetched file, one machine has only the record before
			text += fmt.Sprintf(", record %d %s %x", o.Record.Size, o.Record.Sum, o.Record.CRC)
		}
		if o.Err != nil {
			text += fmt.Sprintf(", %v: %s", o.Err, fleet.ErrorName(o.Err))
		}
		all[rel] = text
	}
	return all
}

// mixedList is a list with files of all kinds of ends.
func (r *submitRig) mixedList() string {
	r.srv.Put("a", faultserver.NewFile(1000, 1))
	r.srv.Put("b", faultserver.NewFile(200, 2))
	r.srv.Set(onPath("/busy", faultserver.Status(503, -1)), onPath("/auth", faultserver.Status(401, -1)))
	r.srv.Put("sums", faultserver.NewFile(300, 4))
	u := r.srv.URL
	return strings.Join([]string{
		u + "/a", u + "/b", "  out=sub/b", u + "/a", "nonsense", u + "/none", u + "/busy", u + "/auth",
		u + "/b", "  out=a", u + "/sums", "  checksum=sha-256=" + strings.Repeat("0", 64), u + "/b", "  out=bad\xff",
	}, "\n") + "\n"
}

// onPath is a fault of one path.
func onPath(path string, f faultserver.Fault) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == path {
				faulty.ServeHTTP(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

// A run through a queue has the outcomes of one machine: errors have the same kinds and texts.
func TestSubmitterIsLikeOneMachine(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		text := r.mixedList()
		wantCounts := r.alone(text)
		want, wantProblems := r.summary(), fmt.Sprint(r.problems)
		os.RemoveAll(r.dir)
		os.Mkdir(r.dir, 0o755)
		var got mirror.Counts
		r.withWorker(firstRun, func() {
			var err error
			if got, err = r.submit(r.Context(), text, nil); err != nil {
				t.Error(err)
			}
		})
		if got != wantCounts {
			t.Errorf("counts:\ngot  %+v\nwant %+v", got, wantCounts)
		}
		if s := r.summary(); !maps.Equal(s, want) {
			t.Errorf("outcomes:\ngot  %s\nwant %s", lines(s), lines(want))
		}
		if p := fmt.Sprint(r.problems); p != wantProblems {
			t.Errorf("problems: got %s, want %s", p, wantProblems)
		}
		run, err := fleet.ReadRun(r.Context(), r.b, firstRun)
		if err != nil || run.State != fleet.Complete {
			t.Errorf("at the end: got run %+v, %v", run, err)
		}
	})
}

func lines(m map[string]string) string {
	var all strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&all, "\n%q: %s", k, m[k])
	}
	return all.String()
}

// putMany serves n small files, and returns a list of them.
func (r *submitRig) putMany(n int) string {
	var text strings.Builder
	for i := range n {
		name := fmt.Sprintf("f%04d", i)
		r.srv.Put(name, faultserver.NewFile(int64(100+i), uint64(i)))
		fmt.Fprintf(&text, "%s/%s\n", r.srv.URL, name)
	}
	return text.String()
}

// putLong serves n small files with URLs of which only two fit into a batch, and returns a list of them.
func (r *submitRig) putLong(n int) string {
	var text strings.Builder
	for line := range strings.Lines(r.putMany(n)) {
		fmt.Fprintf(&text, "%s?%s\n", strings.TrimSpace(line), strings.Repeat("x", 30_000))
	}
	return text.String()
}

// wantRequests checks that each of n files was requested once.
func (r *submitRig) wantRequests(n int) {
	r.Helper()
	counts := make(map[string]int)
	for _, q := range r.srv.Requests() {
		counts[q.Path]++
	}
	for path, times := range counts {
		if times != 1 {
			r.Errorf("%s was requested %d times", path, times)
		}
	}
	if len(counts) != n {
		r.Errorf("%d files were requested, want %d", len(counts), n)
	}
}

// A dyingBroker ends the process of its submitter at the n-th write to the queue or the log, before or after its effect.
type dyingBroker struct {
	*fakebroker.Client
	mu    sync.Mutex
	left  int
	after bool
	die   context.CancelFunc
}

func (b *dyingBroker) write(do func() error) error {
	b.mu.Lock()
	b.left--
	dead, last := b.left < 0, b.left == 0
	b.mu.Unlock()
	if dead || last && !b.after {
		b.Kill()
		b.die()
		return fakebroker.ErrKilled
	}
	err := do()
	if last {
		b.Kill()
		b.die()
		return fakebroker.ErrKilled
	}
	return err
}

func (b *dyingBroker) Publish(ctx context.Context, run, lane, id string, data []byte) error {
	return b.write(func() error { return b.Client.Publish(ctx, run, lane, id, data) })
}

func (b *dyingBroker) Append(ctx context.Context, run, id string, data []byte) error {
	return b.write(func() error { return b.Client.Append(ctx, run, id, data) })
}

// A submitter that ends at any write is followed by another one, which queues the missing files. A file is queued twice only if the
// submitter died between its batch and the log.
func TestSubmitterDies(t *testing.T) {
	for n := 1; n <= 5; n++ {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("write %d, after its effect %v", n, after), func(t *testing.T) {
				natstest.Bubble(t, func(t *testing.T) {
					r := newSubmitRig(t)
					const files = 6 // in three batches
					text := r.putLong(files)
					ctx, die := context.WithCancel(t.Context())
					dying := &dyingBroker{Client: r.broker.Connect("dying"), left: n, after: after, die: die}
					if err := r.submitOver(ctx, dying, text); err == nil && n <= 4 {
						t.Error("the submitter did not die")
					}
					queued := r.waiting()
					if _, err := r.submit(t.Context(), text, func(o *fleet.SubmitterOptions) { o.Detach = true }); err != nil {
						t.Fatal(err)
					}
					twice := r.waiting() - 3 // batches
					if twice > 0 && queued == 0 || twice > 3 {
						t.Errorf("%d batches before, %d too many after", queued, twice)
					}
					r.withWorker(firstRun, func() {
						c, err := r.submit(t.Context(), text, nil)
						if err != nil || c.Listed != files || c.Fetched+c.Current != files || r.n != files {
							t.Errorf("got %+v, %d outcomes, %v", c, r.n, err)
						}
					})
				})
			})
		}
	}
}

// submitOver runs a submitter over another connection.
func (r *submitRig) submitOver(ctx context.Context, b fleet.Broker, text string) error {
	run, err := fleet.OpenRun(ctx, r.b, "0000000000000001", r.run)
	if err != nil {
		r.Fatal(err)
	}
	s, err := fleet.OpenSubmitter(ctx, b, fleet.SubmitterOptions{Run: run, Dir: r.dir, Detach: true})
	if err != nil {
		return err
	}
	opts := r.options()
	opts.Elsewhere = s
	opts.OnRead = func(ctx context.Context) { s.AllSent(ctx) }
	d := r.downloader(r.store)
	defer d.Close()
	err = mirror.NewRun(d, r.store, opts).Do(ctx, r.lists(text))
	s.Close(ctx)
	return err
}

// waiting returns how many batches wait.
func (r *submitRig) waiting() (n int) {
	lanes, err := r.b.Waiting(r.Context(), firstRun)
	if err != nil {
		r.Fatal(err)
	}
	for _, m := range lanes {
		n += m
	}
	return n
}

// The submitter may end at any time. The next one waits for what was queued, and queues nothing again: each file is requested once.
func TestSubmitterComesBack(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		const files = 6
		text := r.putLong(files)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			if c, err := r.submit(ctx, text, nil); err == nil || c.Pending != files || !c.Read {
				t.Errorf("without workers: got %+v, %v", c, err)
			}
			cancel()
			if n := r.waiting(); n != 3 {
				t.Errorf("%d batches wait, want 3", n)
			}
		}
		r.withWorker(firstRun, func() { // it works while there is no submitter
			for r.waiting() > 1 {
				time.Sleep(time.Second)
			}
		})
		r.withWorker(firstRun, func() {
			if c, err := r.submit(t.Context(), text, nil); err != nil || c.Fetched != files || r.n != files {
				t.Errorf("got %+v, %d outcomes, %v", c, r.n, err)
			}
		})
		r.wantRequests(files)
		// The next run of the same lists is another one, in which all files are here.
		if c, err := r.submit(t.Context(), text, nil); err != nil || c.Current != files {
			t.Errorf("the next run: got %+v, %v", c, err)
		}
		runs, err := fleet.ListRuns(t.Context(), r.b)
		if err != nil || len(runs) != 2 || runs[1].ID != "0000000000000001-2" {
			t.Errorf("got runs %+v, %v", runs, err)
		}
	})
}

// Of a list that changes under a run, the new entries are queued, and those that are gone are not reported.
func TestSubmitterListChanges(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		text := r.putMany(10)
		entries := strings.SplitAfter(text, "\n")
		if _, err := r.submit(t.Context(), strings.Join(entries[:6], ""), func(o *fleet.SubmitterOptions) { o.Detach = true }); err != nil {
			t.Fatal(err)
		}
		r.withWorker(firstRun, func() {
			c, err := r.submit(t.Context(), strings.Join(entries[3:], ""), nil)
			if err != nil || c.Listed != 7 || c.Fetched != 7 || r.n != 7 {
				t.Errorf("got %+v, %d outcomes, %v", c, r.n, err)
			}
		})
		for r.waiting() > 0 { // of files that no list names
			r.withWorker(firstRun, func() { time.Sleep(time.Second) })
		}
		r.wantRequests(10)
	})
}

// A batch is of one lane, and has at most 256 files and 64 KiB of text. Large files are alone.
func TestSubmitterBatches(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		r.run.Limits = fleet.HostLimits{must(t, "b.example.org=2"), must(t, "*.c.example.org=2,5/s")}
		var text strings.Builder
		for i := range 600 {
			fmt.Fprintf(&text, "http://%s.example.org/%d\n  out=%d\n", []string{"a", "b", "x.c", "y.c"}[i%4], i, i)
		}
		fmt.Fprintf(&text, "http://a.example.org/large\n  size=%d\n", 64<<20)
		for i := range 20 {
			fmt.Fprintf(&text, "http://b.example.org/%s\n  out=long%d\n", strings.Repeat("x", 10_000), i)
		}
		if _, err := r.submit(t.Context(), text.String(), func(o *fleet.SubmitterOptions) { o.Detach = true }); err != nil {
			t.Fatal(err)
		}
		byLane := make(map[string][]fleet.Batch)
		lanes, err := r.b.Waiting(t.Context(), firstRun)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for lane, count := range lanes {
			for range count {
				m, err := r.b.Take(t.Context(), firstRun, lane)
				if err != nil || m == nil {
					t.Fatal(m, err)
				}
				var b fleet.Batch
				if err := json.Unmarshal(m.Data(), &b); err != nil || len(m.Data()) > 256<<10 || b.Round != 1 || b.Version != 1 || b.Run != firstRun || len(b.ID) != 16 {
					t.Errorf("got %d bytes, %+v, %v", len(m.Data()), b, err)
				}
				byLane[lane] = append(byLane[lane], b)
				n += len(b.Items)
			}
		}
		if n != 621 || len(byLane) != 3 {
			t.Errorf("%d items in lanes %v", n, slices.Collect(maps.Keys(byLane)))
		}
		for lane, batches := range byLane {
			hosts := make(map[string]bool)
			for _, b := range batches {
				text := 0
				for _, it := range b.Items {
					text += it.File.Entry.Len()
					u := it.File.Entry.URLs[0]
					hosts[u[:strings.Index(u, ".example")]] = true
					if it.ID != it.File.Key() || filepath.IsAbs(it.File.Path) || it.File.List != listKey || it.File.Entry.Line == 0 {
						t.Errorf("item %+v", it)
					}
					if it.File.Entry.Size == 64<<20 && len(b.Items) > 1 {
						t.Error("a large file is not alone")
					}
				}
				if text > 64<<10 || len(b.Items) > 256 {
					t.Errorf("a batch has %d items and %d bytes of text", len(b.Items), text)
				}
			}
			if want := map[bool]int{true: 1, false: 2}[!hosts["http://x.c"]]; len(hosts) != want {
				t.Errorf("lane %s has hosts %v", lane, hosts)
			}
		}
	})
}

func must(t *testing.T, text string) (r fleet.HostLimit) {
	t.Helper()
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// Passwords and header fields are in no message: they are sealed, or without a key a problem of their line. An entry that
// is too large for a message fails alone.
func TestSubmitterSecrets(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		r.srv.Put("a", faultserver.NewFile(10, 1))
		withUser := strings.Replace(r.srv.URL, "http://", "http://me:SECRET@", 1)
		text := strings.Join([]string{
			r.srv.URL + "/a", withUser + "/a", "  out=b", r.srv.URL + "/a", "  out=c", "  header=X-Token: SECRET",
			r.srv.URL + "/a", "  out=d", "  referer=http://r/SECRET",
			r.srv.URL + "/a?" + strings.Repeat("x", 300<<10), "  out=large",
		}, "\n") + "\n"
		r.withWorker(firstRun, func() {
			c, err := r.submit(t.Context(), text, nil)
			if err != nil || c.Listed != 2 || c.Fetched != 1 || c.Problems != 3 || c.Failed != 1 {
				t.Errorf("without a key: got %+v, %v, %v", c, r.problems, err)
			}
			if err := r.got["large"].Err; err == nil || !strings.Contains(err.Error(), "too much for a queue") {
				t.Errorf("a large entry: got %v", err)
			}
		})
		r.key = []byte(strings.Repeat("k", 32))
		r.withWorker("0000000000000001-2", func() {
			if c, err := r.submit(t.Context(), text, nil); err != nil || c.Fetched != 3 || c.Current != 1 || c.Failed != 1 {
				t.Errorf("with a key: got %+v, %v, %v", c, r.problems, err)
			}
		})
		for _, b := range r.batches {
			if text := string(fleet.Encode(b)); strings.Contains(text, "SECRET") {
				t.Errorf("a batch has a secret: %s", text)
			}
		}
		for _, run := range []string{firstRun, "0000000000000001-2"} {
			for e, err := range r.b.Log(t.Context(), run, 0) {
				if err != nil || e.Data == nil {
					break
				}
				if strings.Contains(string(e.Data), "SECRET") {
					t.Errorf("the log has a secret: %s", e.Data)
				}
			}
		}
		var tokens []string
		for _, q := range r.srv.Requests() {
			tokens = append(tokens, q.Header.Get("X-Token")+q.Header.Get("Referer"))
		}
		if !slices.Contains(tokens, "SECRET") || !slices.Contains(tokens, "http://r/SECRET") {
			t.Errorf("the workers have sent %q", tokens)
		}
	})
}

// A run that is cancelled or deleted ends its submitter, and the same command begins another one.
func TestSubmitterCancelled(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		text := r.putMany(3)
		for i, end := range []func(id string) error{
			func(id string) error {
				return fleet.SetControl(t.Context(), r.b, id, fleet.Cancelled, true, "no more")
			},
			func(id string) error { return fleet.DeleteRun(t.Context(), r.b, id) },
		} {
			id := fmt.Sprintf("0000000000000001-%d", i+1)
			var ending sync.WaitGroup
			ending.Go(func() {
				time.Sleep(5 * time.Second)
				if err := end(id); err != nil {
					t.Error(err)
				}
			})
			c, err := r.submit(t.Context(), text, nil)
			ending.Wait()
			want := []error{&fleet.CancelledError{}, fleet.ErrNoRun}[i]
			if !errors.Is(err, want) || c.Pending != 3 {
				t.Errorf("got %+v, %v, want %v", c, err, want)
			}
		}
		if err := fleet.SetControl(t.Context(), r.b, firstRun, fleet.Running, false, ""); !errors.Is(err, fleet.ErrComplete) {
			t.Errorf("a cancelled run goes on: %v", err)
		}
	})
}

// With local disks of the workers the submitter records files that it does not see, and believes these records.
func TestSubmitterLocal(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		r.run.Target, r.place = "", t.TempDir()
		text := r.putMany(3)
		local := func(o *fleet.SubmitterOptions) { o.Stamp = nil }
		r.withWorker(firstRun, func() {
			if c, err := r.submit(t.Context(), text, local); err != nil || c.Fetched != 3 {
				t.Errorf("got %+v, %v", c, err)
			}
		})
		for path, o := range r.got {
			if o.Path != filepath.Join(r.dir, path) || o.Record.Target != o.Path {
				t.Errorf("%s: got %q, record %q", path, o.Path, o.Record.Target)
			}
		}
		if c, err := r.submit(t.Context(), text, local); err != nil || c.Current != 3 {
			t.Errorf("again: got %+v, %v", c, err)
		}
	})
}

// With --update, workers get the records of finished files, so that unchanged ones cost a small request.
func TestSubmitterUpdate(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		r.run.Settings.Update = true
		text := r.putMany(3)
		r.withWorker(firstRun, func() {
			if c, err := r.submit(t.Context(), text, nil); err != nil || c.Fetched != 3 {
				t.Errorf("got %+v, %v", c, err)
			}
		})
		r.srv.Put("f0001", faultserver.NewFile(99, 99))
		sent := r.srv.Sent()
		r.withWorker("0000000000000001-2", func() {
			if c, err := r.submit(t.Context(), text, nil); err != nil || c.Fetched != 1 || c.Unchanged != 2 {
				t.Errorf("update: got %+v, %v, %s", c, err, lines(r.summary()))
			}
		})
		if n := r.srv.Sent() - sent; n > 110 {
			t.Errorf("%d bytes were sent, want those of the changed file", n)
		}
	})
}

// A run has one directory.
func TestOpenRunOtherTarget(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := fakebroker.New().Connect("x")
		first, err := fleet.OpenRun(t.Context(), b, "k", fleet.Run{Target: "one", Settings: fleet.Settings{Rounds: 3}})
		if err != nil || first.ID != "k-1" || first.State != fleet.Submitting || first.Control != fleet.Running {
			t.Fatalf("got %+v, %v", first, err)
		}
		if _, err := fleet.OpenRun(t.Context(), b, "k", fleet.Run{Target: "two"}); !errors.Is(err, fleet.ErrOtherTarget) {
			t.Errorf("another directory: got %v", err)
		}
		again, err := fleet.OpenRun(t.Context(), b, "k", fleet.Run{Target: "one", Settings: fleet.Settings{Rounds: 5}})
		if err != nil || again.ID != "k-1" || again.Settings.Rounds != 5 || !again.Created.Equal(first.Created) {
			t.Errorf("the same command: got %+v, %v", again, err)
		}
		other, err := fleet.OpenRun(t.Context(), b, "k2", fleet.Run{})
		if err != nil || other.ID != "k2-1" {
			t.Errorf("another list: got %+v, %v", other, err)
		}
		full := errors.New("full")
		if err := fleet.PauseFor(t.Context(), b, "k-1", full); err != nil {
			t.Error(err)
		}
		if r, err := fleet.ReadRun(t.Context(), b, "k-1"); err != nil || r.Control != fleet.Paused || r.Reason != "full" {
			t.Errorf("paused: got %+v, %v", r, err)
		}
		if err := fleet.CompleteRun(t.Context(), b, "k-1"); err != nil {
			t.Error(err)
		}
		if err := fleet.SetControl(t.Context(), b, "k-1", fleet.Paused, false, ""); !errors.Is(err, fleet.ErrComplete) {
			t.Errorf("control of a complete run: got %v", err)
		}
		if next, err := fleet.OpenRun(t.Context(), b, "k", fleet.Run{Target: "two"}); err != nil || next.ID != "k-2" {
			t.Errorf("after its end: got %+v, %v", next, err)
		}
	})
}

// A status has what the log, the queue and the sessions say.
func TestStatusOf(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		text := r.mixedList()
		if _, err := r.submit(t.Context(), text, func(o *fleet.SubmitterOptions) { o.Detach = true }); err != nil {
			t.Fatal(err)
		}
		s, err := fleet.OpenSession(t.Context(), r.b, fleet.SessionOptions{Host: "m1", Worker: "w1"})
		if err != nil {
			t.Fatal(err)
		}
		s.Report(3, 1000, "")
		time.Sleep(20 * time.Second)
		before, err := fleet.StatusOf(t.Context(), r.b, firstRun)
		if err != nil || before.Sent != 7 || len(before.Ended) > 0 || len(before.Waiting) != 1 || before.ETA != 0 ||
			before.Run.State != fleet.Submitted || len(before.Workers) != 1 || before.InWork != 3 || before.Rate != 1000 {
			t.Errorf("before: got %+v, %v", before, err)
		}
		r.withWorker(firstRun, func() {
			for r.waiting() > 0 {
				time.Sleep(time.Second)
			}
		})
		retry := fleet.Report{Version: 1, Retry: &fleet.Retry{Batch: "b", Round: 2, Files: 4, NotBefore: time.Now().Add(time.Minute)}}
		if err := r.b.Append(t.Context(), firstRun, "retry", fleet.Encode(retry)); err != nil {
			t.Error(err)
		}
		after, err := fleet.StatusOf(t.Context(), r.b, firstRun)
		if err != nil || after.Sent != 7 || after.Ended[mirror.Fetched] != 3 || after.Ended[mirror.Failed] != 4 || len(after.Waiting) > 0 || after.FileRate == 0 || len(after.Retries) != 1 || after.Retries[0].Files != 4 {
			t.Errorf("after: got %+v, %v", after, err)
		}
		if _, err := fleet.StatusOf(t.Context(), r.b, "none-1"); !errors.Is(err, fleet.ErrNoRun) {
			t.Errorf("no run: got %v", err)
		}
		s.Close(t.Context())
	})
}

// Errors of package store and mirror keep their kinds in the log.
func TestErrorNames(t *testing.T) {
	for _, err := range []error{
		store.ErrNotFound, store.ErrBusy, store.ErrForeign, store.ErrGone, store.ErrCannotTruncate, store.ErrNoDirectory, store.ErrNoSpace,
		store.ErrDoesNotFit, store.ErrState, store.ErrNotOurs, store.ErrLink, store.ErrIrregular, store.ErrPartFile, store.ErrCannotRepair,
		&os.LinkError{Op: "rename", Old: "a", New: "b", Err: os.ErrPermission}, mirror.NotTried(&failure.StatusError{Code: 503, Host: "h"}),
		fmt.Errorf("%q: %w: %w", "x", store.ErrForeign, failure.New(failure.ErrChecksum, "sum")), errors.New("other"),
	} {
		name := fleet.ErrorName(err)
		got := fleet.NamedError(name, err.Error())
		if got.Error() != err.Error() || fleet.ErrorName(got) != name || mirror.WasNotTried(got) != mirror.WasNotTried(err) || mirror.MayRecover(got) != mirror.MayRecover(err) {
			t.Errorf("%v (%s): got %v (%s)", err, name, got, fleet.ErrorName(got))
		}
		for _, kind := range []error{store.ErrForeign, store.ErrNoSpace, store.ErrIrregular, store.ErrPartFile, store.ErrLink, store.ErrState} {
			if errors.Is(got, kind) != errors.Is(err, kind) {
				t.Errorf("%v is %v: got %v", err, kind, errors.Is(got, kind))
			}
		}
		var a, b *os.LinkError
		if errors.As(got, &a) != errors.As(err, &b) {
			t.Errorf("%v: got a LinkError %v", err, a)
		}
	}
}

// The log alone has how the files ended, and waits for those that have not.
func TestLogReader(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		r := newSubmitRig(t)
		text := r.mixedList()
		read := func(wait bool) (*fleet.LogReader, map[string]mirror.State, []fleet.Problem, error) {
			run, err := fleet.ReadRun(t.Context(), r.b, firstRun)
			if err != nil {
				t.Fatal(err)
			}
			states := make(map[string]mirror.State)
			var problems []fleet.Problem
			log := &fleet.LogReader{
				OnOutcome: func(o mirror.Outcome) { states[o.Path] = o.State },
				OnProblem: func(p fleet.Problem) { problems = append(problems, p) },
			}
			err = log.Read(t.Context(), r.b, run, wait)
			return log, states, problems, err
		}
		if _, err := r.submit(t.Context(), text, func(o *fleet.SubmitterOptions) { o.Detach = true }); err != nil {
			t.Fatal(err)
		}
		log, states, _, err := read(false)
		if c := log.Counts(); err != nil || len(states) > 0 || c.Pending != 7 || c.Listed != 7 || !c.Read {
			t.Errorf("before: got %+v, %v, %v", c, states, err)
		}
		var worker sync.WaitGroup
		worker.Go(func() {
			time.Sleep(10 * time.Second)
			r.withWorker(firstRun, func() {
				for r.waiting() > 0 {
					time.Sleep(time.Second)
				}
			})
		})
		log, states, _, err = read(true)
		worker.Wait()
		if c := log.Counts(); err != nil || len(states) != 7 || c.Pending != 0 || c.Fetched != 3 || c.Failed != 4 || c.Gone != 1 || c.Bytes == 0 {
			t.Errorf("with wait: got %+v, %v, %v", c, states, err)
		}
		if states[filepath.Join(r.dir, "bad\xff")] != mirror.Fetched {
			t.Errorf("got paths %q", slices.Collect(maps.Keys(states)))
		}
		if err := fleet.SetControl(t.Context(), r.b, firstRun, fleet.Cancelled, true, "why"); err != nil {
			t.Error(err)
		}
		var cancelled *fleet.CancelledError
		if _, _, _, err := read(false); !errors.As(err, &cancelled) || cancelled.Reason != "why" {
			t.Errorf("cancelled: got %v", err)
		}
	})
}

// Each change of a run is seen by all that watch it.
func TestWatchRuns(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		b := fakebroker.New().Connect("x")
		ctx, cancel := context.WithCancel(t.Context())
		run, err := fleet.OpenRun(ctx, b, "k", fleet.Run{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fleet.OpenRun(ctx, b, "other", fleet.Run{}); err != nil {
			t.Fatal(err)
		}
		changes, err := fleet.WatchRuns(ctx, b, run.ID)
		if err != nil {
			t.Fatal(err)
		}
		want := func(control fleet.Control, deleted bool) {
			t.Helper()
			if c := <-changes; c.Run.ID != run.ID || c.Run.Control != control || c.Deleted != deleted {
				t.Errorf("got %+v", c)
			}
		}
		want(fleet.Running, false)
		if err := fleet.PauseFor(ctx, b, run.ID, store.ErrNoSpace); err != nil {
			t.Error(err)
		}
		c := <-changes
		if err := c.Run.PauseError(); !errors.Is(err, store.ErrNoSpace) {
			t.Errorf("got %v", err)
		}
		if err := fleet.SetControl(ctx, b, run.ID, fleet.Running, false, ""); err != nil {
			t.Error(err)
		}
		if c := <-changes; c.Run.PauseError() != nil {
			t.Errorf("got %v", c.Run.PauseError())
		}
		if err := fleet.DeleteRun(ctx, b, run.ID); err != nil {
			t.Error(err)
		}
		want("", true)
		cancel()
		for range changes {
		}
		b.Close()
	})
}

// A crashingBroker kills and restarts its server at the n-th batch.
type crashingBroker struct {
	fleet.Broker
	server *natstest.Server
	mu     sync.Mutex
	left   int
}

func (b *crashingBroker) Publish(ctx context.Context, run, lane, id string, data []byte) error {
	b.mu.Lock()
	if b.left--; b.left == 0 {
		b.server.Kill()
		b.server.Restart()
	}
	b.mu.Unlock()
	return b.Broker.Publish(ctx, run, lane, id, data)
}

// A broker that crashes in the middle loses nothing: each file is queued, and in the log.
func TestSubmitterBrokerCrashes(t *testing.T) {
	t.Parallel()
	r := newSubmitRig(t)
	server := natstest.Start(t, natstest.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nats, err := fleet.ConnectNATS(ctx, fleet.NATSOptions{URLs: []string{server.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	defer nats.Close()
	run, err := fleet.OpenRun(ctx, nats, "0000000000000001", r.run)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fleet.OpenSubmitter(ctx, &crashingBroker{Broker: nats, server: server, left: 5}, fleet.SubmitterOptions{Run: run, Dir: r.dir, Detach: true})
	if err != nil {
		t.Fatal(err)
	}
	const files = 3000
	var text strings.Builder
	for i := range files {
		fmt.Fprintf(&text, "http://h%d.example.org/%d\n", i%3, i)
	}
	opts := r.options()
	opts.Elsewhere, opts.OnRead = s, func(ctx context.Context) { s.AllSent(ctx) }
	d := r.downloader(r.store)
	defer d.Close()
	if err := mirror.NewRun(d, r.store, opts).Do(ctx, r.lists(text.String())); err != nil {
		t.Fatal(err)
	}
	s.Close(ctx)
	status, err := fleet.StatusOf(ctx, nats, run.ID)
	batches := 0
	for _, n := range status.Waiting {
		batches += n
	}
	if err != nil || status.Sent != files || status.Run.State != fleet.Submitted || batches < 3*4 { // a slow machine flushes more often
		t.Errorf("got %d files in %d batches, %+v, %v", status.Sent, batches, status.Run, err)
	}
}
