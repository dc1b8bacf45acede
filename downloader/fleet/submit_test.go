package fleet_test

import (
	"context"
	"encoding/json"
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
	"testing/synctest"
	"time"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
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
	r.b = r.broker.Connect("submitter")
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

// work runs a simulated worker until ctx ends. It takes batches of all lanes, and appends how their items ended.
func (r *submitRig) work(ctx context.Context, run string) {
	st := r.openStore(r.TempDir())
	d := r.downloader(st)
	defer d.Close()
	w := mirror.NewWorker(d, st, mirror.Options{Dir: r.dir, Update: r.run.Settings.Update})
	b := r.broker.Connect("worker")
	for ctx.Err() == nil {
		lanes, err := b.Waiting(ctx, run)
		if err != nil || len(lanes) == 0 {
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		}
		for lane := range lanes {
			m, err := b.Take(ctx, run, lane)
			if err != nil || m == nil {
				continue
			}
			r.fetchBatch(ctx, b, w, m)
		}
	}
}

// fetchBatch fetches the items of a message.
func (r *submitRig) fetchBatch(ctx context.Context, b fleet.Broker, w *mirror.Worker, m fleet.Message) {
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
		file.Path = filepath.Join(r.dir, filepath.FromSlash(file.Path))
		var o mirror.Outcome
		for ended := false; !ended; {
			o = w.Fetch(ctx, &file, func() {})
			file.Rounds = o.Rounds
			ended = o.State != mirror.Failed || !mirror.MayRecover(o.Err) || o.Rounds >= r.run.Settings.Rounds
			if !ended {
				again := fleet.EndedOf(r.dir, it, o)
				again.Again = true
				report.Ended = append(report.Ended, again)
			}
		}
		report.Ended = append(report.Ended, fleet.EndedOf(r.dir, it, o))
	}
	if err := b.Append(ctx, batch.Run, batch.ID, fleet.Encode(report)); err != nil && ctx.Err() == nil {
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
	synctest.Test(t, func(t *testing.T) {
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
