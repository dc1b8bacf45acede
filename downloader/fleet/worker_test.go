package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/store"
)

// A fleetRig is a run, a server and a broker in memory.
type fleetRig struct {
	*testing.T
	net    *faultserver.Network
	srv    *faultserver.Server
	broker *fakebroker.Server
	admin  *fakebroker.Client
	dir    string
	run    string
	local  bool
	files  map[string]faultserver.File
	sent   int               // batches
	states map[string]string // directories of the workers, by name
}

// inFleet runs a test with a clock of its own.
func inFleet(t *testing.T, settings fleet.Settings, test func(r *fleetRig)) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // what was closed or cancelled just now ends
		test(newFleetRig(t, settings, false))
	})
}

func newFleetRig(t *testing.T, settings fleet.Settings, local bool) *fleetRig {
	r := &fleetRig{T: t, net: faultserver.NewNetwork(), broker: fakebroker.New(), dir: shmDir(t), local: local, files: make(map[string]faultserver.File)}
	r.srv = r.net.New()
	t.Cleanup(r.srv.Close)
	r.admin = r.broker.Connect("admin")
	t.Cleanup(func() { r.admin.Close() })
	r.open(settings)
	return r
}

func shmDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "pawl-fleet-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

const testTarget = "0123456789abcdef"

// open creates the run.
func (r *fleetRig) open(settings fleet.Settings) {
	r.Helper()
	run := fleet.Run{Dir: r.dir, Target: testTarget, Settings: settings}
	if r.local {
		run.Target = ""
	}
	opened, err := fleet.OpenRun(r.Context(), r.admin, "k", run)
	if err != nil {
		r.Fatal(err)
	}
	r.run = opened.ID
}

// submitted records that everything is queued.
func (r *fleetRig) change(f func(*fleet.Run)) {
	r.Helper()
	b, err := r.admin.Bucket(r.Context(), "PAWL_RUNS", 0)
	if err != nil {
		r.Fatal(err)
	}
	v, err := b.Get(r.Context(), r.run)
	var run fleet.Run
	if err == nil {
		err = json.Unmarshal(v.Data, &run)
	}
	if err != nil {
		r.Fatal(err)
	}
	f(&run)
	data, _ := json.Marshal(run)
	if _, err := b.Update(r.Context(), r.run, data, v.Revision); err != nil {
		r.Fatal(err)
	}
}

// item puts a file on the server, and returns its item.
func (r *fleetRig) item(name string, size int64) fleet.Item {
	r.files[name] = faultserver.NewFile(size, uint64(len(r.files)))
	r.srv.Put(name, r.files[name])
	return r.itemAt(r.srv.URL+"/"+name, name)
}

func (r *fleetRig) itemAt(u, name string) fleet.Item {
	it := fleet.Item{File: mirror.Item{Entry: list.Entry{URLs: []string{u}, Size: -1, List: "list"}, List: "aaaaaaaaaaaaaaaa", Path: name}, Private: true}
	it.ID = it.File.Key()
	return it
}

// publish queues a batch, and says that it is the last one.
func (r *fleetRig) publish(items ...fleet.Item) {
	r.Helper()
	r.sent++
	r.publishBatch(fleet.Batch{Version: 1, Run: r.run, ID: fmt.Sprint("b", r.sent), Round: 1, Items: items})
}

func (r *fleetRig) publishBatch(b fleet.Batch) {
	r.Helper()
	u, err := url.Parse(b.Items[0].File.Entry.URLs[0])
	if err != nil {
		r.Fatal(err)
	}
	var limits fleet.Limits
	data, _ := json.Marshal(b)
	if err := r.admin.Publish(r.Context(), r.run, limits.Lane(fleet.HostPort(u)), b.ID, data); err != nil {
		r.Fatal(err)
	}
	r.change(func(run *fleet.Run) { run.State = fleet.Submitted })
}

// ended returns what the log has of each file, the first outcome if there are several, and how many outcomes there are.
func (r *fleetRig) ended() (byPath map[string]fleet.Ended, n int) {
	r.Helper()
	byPath = make(map[string]fleet.Ended)
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	for e, err := range r.admin.Log(ctx, r.run, 0) {
		if err != nil {
			r.Fatal(err)
		}
		if e.Data == nil {
			break
		}
		var rep fleet.Report
		if err := json.Unmarshal(e.Data, &rep); err != nil {
			r.Fatal(err)
		}
		for _, x := range rep.Ended {
			n++
			if _, ok := byPath[x.File.Path]; !ok {
				byPath[x.File.Path] = x
			}
		}
	}
	return byPath, n
}

// wantFetched checks that each file is there and in the log, at most once more than it should.
func (r *fleetRig) wantFetched(most int) {
	r.Helper()
	got, n := r.ended()
	for name, f := range r.files {
		if e := got[name]; e.State != mirror.Fetched && e.State != mirror.Current && e.State != mirror.Unchanged || e.File.Record.ID == "" && e.State == mirror.Fetched {
			r.Errorf("%s: %q, record %q, error %q", name, e.State, e.File.Record.ID, e.Error)
		}
		got, err := os.Open(filepath.Join(r.dir, name))
		if err == nil {
			err = errors.Join(f.Check(got), got.Close())
		}
		if err != nil {
			r.Errorf("%s: %v", name, err)
		}
	}
	if n > most {
		r.Errorf("the log has %d outcomes, want at most %d", n, most)
	}
}

// wantNothingLeft checks that nothing waits, and that no checkpoint is left.
func (r *fleetRig) wantNothingLeft() {
	r.Helper()
	if w, err := r.admin.Waiting(r.Context(), r.run); err != nil || len(w) > 0 {
		r.Errorf("waiting: %v, %v", w, err)
	}
	if keys := r.keys(); len(keys) > 0 {
		r.Errorf("keys are left: %v", keys)
	}
	parts, _ := filepath.Glob(filepath.Join(r.dir, "*.part*"))
	if len(parts) > 0 {
		r.Errorf("part files are left: %v", parts)
	}
}

// keys returns the keys of the run.
func (r *fleetRig) keys() (keys []string) {
	r.Helper()
	b, err := r.admin.Bucket(r.Context(), "PAWL_"+r.run, 0)
	if err != nil {
		r.Fatal(err)
	}
	all, err := b.List(r.Context(), "")
	if err != nil {
		r.Fatal(err)
	}
	for k := range all {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// A fleetWorker is a worker in this process.
type fleetWorker struct {
	r      *fleetRig
	client *fakebroker.Client
	store  *store.Store
	cancel context.CancelFunc
	done   chan struct{}
	err    error // once done is closed

	mu    sync.Mutex
	notes []string
}

// start starts a worker with a state directory of its own, which a later worker of the same name has, too.
func (r *fleetRig) start(name string, change ...func(*fleet.WorkerOptions)) *fleetWorker {
	r.Helper()
	if r.states == nil {
		r.states = make(map[string]string)
	}
	if r.states[name] == "" {
		r.states[name] = shmDir(r.T)
	}
	st, err := store.Open(r.states[name], store.Options{Root: r.dir, Warn: func(s string) { r.Log(s) }})
	if err != nil {
		r.Fatal(err)
	}
	w := &fleetWorker{r: r, client: r.broker.Connect(name), store: st, done: make(chan struct{})}
	note := func(s string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.notes = append(w.notes, s)
		r.Logf("%s %s: %s", time.Now().Format("04:05"), name, s)
	}
	o := fleet.WorkerOptions{
		Broker: w.client, Store: st, StateDir: r.states[name], Dir: r.dir, Shared: !r.local, Target: testTarget, Host: name, Once: true, OnNote: note, OnWarning: note,
		Downloader: func(slots func(string, int) downloader.Slots, forHost func(string) (int, float64)) *downloader.Downloader {
			return downloader.New(st, downloader.Options{
				Dial: r.net.Dial, Slots: slots, Retry: downloader.RetryPolicy{Tries: 2, Wait: time.Millisecond}, Timeouts: downloader.Timeouts{Stall: 5 * time.Second, Connect: time.Second},
				ForHost: func(hostPort string) downloader.HostOptions {
					n, rate := forHost(hostPort)
					return downloader.HostOptions{Connections: n, RequestRate: rate}
				},
			})
		},
	}
	if r.local {
		o.Target = ""
	}
	for _, f := range change {
		f(&o)
	}
	ctx, cancel := context.WithCancel(r.Context())
	w.cancel = cancel
	go func() {
		defer close(w.done)
		w.err = fleet.NewWorker(o).Run(ctx)
	}()
	r.Cleanup(func() { w.stop(); w.client.Close() })
	return w
}

// stop ends the worker as a signal does.
func (w *fleetWorker) stop() {
	w.cancel()
	<-w.done
}

// kill ends the worker as if its process had ended.
func (w *fleetWorker) kill() {
	w.client.Kill()
	w.cancel()
}

// wait waits until the worker has nothing left to do.
func (w *fleetWorker) wait() {
	w.r.Helper()
	select {
	case <-w.done:
		if w.err != nil {
			w.r.Error(w.err)
		}
	case <-time.After(time.Hour):
		w.r.Fatal("the worker does not end")
	}
}

func (w *fleetWorker) hasNoted(text string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.notes, func(s string) bool { return strings.Contains(s, text) })
}

// TestWorkerFetches: all files of several batches are fetched by several workers, reported once, and forgotten in the state of
// a worker.
func TestWorkerFetches(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
		for b := range 4 {
			var items []fleet.Item
			for i := range 10 {
				items = append(items, r.item(fmt.Sprintf("d/f%d-%d", b, i), int64(100*i)))
			}
			r.publish(items...)
		}
		a, b := r.start("a"), r.start("b")
		a.wait()
		b.wait()
		r.wantFetched(40)
		r.wantNothingLeft()
		for _, w := range []*fleetWorker{a, b} {
			for rec, err := range w.store.Finished(r.dir) {
				r.Errorf("still on record: %v, %v", rec.Target, err)
			}
		}
		if n := len(r.srv.Requests()); n != 40 {
			r.Errorf("%d requests", n)
		}
		all, err := fleet.Sessions(r.Context(), r.admin)
		if err != nil || len(all) > 0 {
			r.Errorf("sessions are left: %v, %v", all, err)
		}
	})
}

// TestWorkerHears: an idle worker begins soon after a submitter has queued files.
func TestWorkerHears(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3}, func(r *fleetRig) {
		r.start("w0")
		time.Sleep(10100 * time.Millisecond) // not long after it has looked
		run, err := fleet.ReadRun(r.Context(), r.admin, r.run)
		if err != nil {
			r.Fatal(err)
		}
		s, err := fleet.OpenSubmitter(r.Context(), r.admin, fleet.SubmitterOptions{Run: run, Dir: r.dir})
		if err != nil {
			r.Fatal(err)
		}
		it := r.item("f", 1000)
		it.File.Path = filepath.Join(r.dir, "f")
		if err := s.Send(r.Context(), &it.File); err != nil {
			r.Fatal(err)
		}
		queued := time.Now()
		if err := s.Flush(r.Context()); err != nil {
			r.Fatal(err)
		}
		for len(r.srv.Requests()) == 0 && time.Since(queued) < 3*time.Second {
			time.Sleep(10 * time.Millisecond)
		}
		if wait := time.Since(queued); wait > 500*time.Millisecond {
			r.Errorf("the worker has begun after %v", wait)
		}
		s.Close(r.Context())
	})
}

// TestWorkerPoison: an entry that ends each worker that tries it is given up after three, and only it.
func TestWorkerPoison(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
		var items []fleet.Item
		for i := range 12 {
			items = append(items, r.item(fmt.Sprint("f", i), 1000))
		}
		delete(r.files, "f5")
		r.publish(items...)
		var mu sync.Mutex
		var current *fleetWorker
		deaths := 0
		r.srv.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if req.URL.Path != "/f5" {
					next.ServeHTTP(w, req)
					return
				}
				mu.Lock()
				deaths++
				current.kill()
				mu.Unlock()
				<-req.Context().Done()
			})
		})
		for i := 0; ; i++ {
			mu.Lock()
			current = r.start(fmt.Sprint("w", i))
			mu.Unlock()
			<-current.done
			if current.err == nil || i > 10 {
				break
			}
		}
		if deaths != 3 {
			r.Errorf("%d workers ended, want three: with the batch, with this file and others, and with it alone", deaths)
		}
		r.wantFetched(1 << 10)
		got, _ := r.ended()
		if e := got["f5"]; e.State != mirror.Failed || !strings.Contains(e.Error, "3 workers ended") {
			r.Errorf("got %q, error %q", e.State, e.Error)
		}
		r.wantNothingLeft()
	})
}

// TestWorkerManyDeaths: a file that makes progress is not blamed for its workers, however many end while they have it.
func TestWorkerManyDeaths(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
		const size = 8 << 20
		r.publish(r.item("f", size), r.item("g", size))
		r.srv.Set(faultserver.Rate(size / 30))
		for i := range 6 {
			w := r.start(fmt.Sprint("w", i))
			for sent := r.srv.Sent(); r.srv.Sent() < sent+size/4; {
				time.Sleep(100 * time.Millisecond)
			}
			w.kill()
			<-w.done
		}
		r.start("last").wait()
		r.wantFetched(2)
		r.wantNothingLeft()
	})
}

// TestWorkerRounds: what may mend is tried again after the waits of mirror, by others first.
func TestWorkerRounds(t *testing.T) {
	for name, tt := range map[string]struct {
		workers  int
		requests int // that fail
		state    mirror.State
		rounds   int
		least    time.Duration
	}{
		"mends":       {1, 2, mirror.Fetched, 2, 10 * time.Second},
		"never mends": {1, 100, mirror.Failed, 3, 40 * time.Second},
		"others":      {2, 100, mirror.Fetched, 2, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
				r.publish(r.item("good", 100), r.item("bad", 100))
				began := time.Now()
				var mu sync.Mutex
				n := 0
				reached := tt.workers > 1 // by the second worker
				r.srv.Set(func(next http.Handler) http.Handler {
					return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
						mu.Lock()
						fails := req.URL.Path == "/bad" && n < tt.requests && (!reached || req.Header.Get("Worker") == "a")
						if fails {
							n++
						}
						mu.Unlock()
						if fails {
							w.WriteHeader(http.StatusBadGateway)
							return
						}
						next.ServeHTTP(w, req)
					})
				})
				named := func(name string) func(o *fleet.WorkerOptions) {
					return func(o *fleet.WorkerOptions) { o.Request.Access.Header = http.Header{"Worker": {name}} }
				}
				a := r.start("a", named("a"))
				if tt.workers > 1 {
					time.Sleep(5 * time.Second)
					r.start("b", named("b")).wait()
				}
				a.wait()
				got, _ := r.ended()
				if e := got["bad"]; e.State != tt.state || e.Rounds != tt.rounds {
					r.Errorf("got %q after %d rounds, error %q", e.State, e.Rounds, e.Error)
				}
				if e := got["good"]; e.State != mirror.Fetched || e.Rounds != 1 {
					r.Errorf("good: got %q after %d rounds", e.State, e.Rounds)
				}
				if d := time.Since(began); d < tt.least || d > tt.least+time.Minute {
					r.Errorf("it took %v, want little more than %v", d, tt.least)
				}
				if tt.workers > 1 && n != 2 {
					r.Errorf("the worker that has failed tried %d times, want 2", n)
				}
				r.wantNothingLeft()
			})
		})
	}
}

// TestWorkerContinues: a large file of a worker that was killed is continued by another one, from the last checkpoint; with
// local disks, it begins anew.
func TestWorkerContinues(t *testing.T) {
	for name, tt := range map[string]struct {
		size  int64
		local bool
		most  float64 // bytes, as a multiple of the size
	}{
		"shared":     {24 << 20, false, 1.5},
		"many pages": {300 << 20, false, 1.1},
		"local":      {24 << 20, true, 2},
	} {
		t.Run(name, func(t *testing.T) {
			if tt.size > 100<<20 && testing.Short() {
				t.Skip("large")
			}
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				t.Cleanup(func() { time.Sleep(time.Minute) })
				r := newFleetRig(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, tt.local)
				r.publish(r.item("small", 100), r.item("large", tt.size))
				r.srv.Set(faultserver.Rate(tt.size / 60))
				a := r.start("a")
				time.Sleep(30 * time.Second)
				a.kill()
				<-a.done
				if tt.local { // another machine has another disk
					os.RemoveAll(r.dir)
					os.Mkdir(r.dir, 0o777)
				}
				b := r.start("b")
				b.wait()
				if tt.local {
					delete(r.files, "small") // it was reported before
					if !b.hasNoted("begins anew") {
						r.Errorf("got %q", b.notes)
					}
				}
				r.wantFetched(3)
				r.wantNothingLeft()
				if sent := float64(r.srv.Sent()); sent > tt.most*float64(tt.size)+1000 {
					r.Errorf("%.0f bytes were sent for %d", sent, tt.size)
				}
			})
		})
	}
}

// TestWorkerFence: a worker whose message was given to another one drops its work, and does not disturb the other one.
func TestWorkerFence(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
		r.publish(r.item("large", 16<<20))
		r.srv.Set(faultserver.Rate(16 << 20 / 300))
		slow := func(o *fleet.WorkerOptions) { o.MessageLease = time.Hour } // so it does not extend the message in time
		a := r.start("a", slow)
		time.Sleep(10 * time.Second)
		b := r.start("b")
		for range 300 {
			if a.hasNoted("another worker has taken") {
				break
			}
			time.Sleep(time.Second)
		}
		if !a.hasNoted("another worker has taken") {
			r.Errorf("got %q", a.notes)
		}
		b.wait()
		a.wait()
		r.wantFetched(2)
		r.wantNothingLeft()
	})
}

// TestWorkerForeign: a file at the path that was not there when it was queued is that of a worker that has ended, if it is like
// that of the server. Otherwise it is replaced at a later delivery, and not at the first.
func TestWorkerForeign(t *testing.T) {
	for name, tt := range map[string]struct {
		delivered bool // before
		same      bool // bytes and time
		state     mirror.State
		sent      int64 // bytes
	}{
		"first":          {false, false, mirror.Failed, 1},
		"first, same":    {false, true, mirror.Current, 1},
		"later, same":    {true, true, mirror.Current, 1},
		"later, another": {true, false, mirror.Fetched, 1001},
		"later, no time": {true, true, mirror.Fetched, 1001},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
				it := r.item("f", 1000)
				r.publish(it)
				path := filepath.Join(r.dir, "f")
				b, at := []byte("somebody's"), time.Now()
				if tt.same {
					var err error
					if b, at, err = r.served("f"); err != nil {
						r.Fatal(err)
					}
				}
				if err := errors.Join(os.WriteFile(path, b, 0o644), os.Chtimes(path, at, at)); err != nil {
					r.Fatal(err)
				}
				if tt.delivered {
					dead := r.broker.Connect("dead")
					u, _ := url.Parse(r.srv.URL)
					if msg, err := dead.Take(r.Context(), r.run, new(fleet.Limits).Lane(fleet.HostPort(u))); err != nil || msg == nil {
						r.Fatal(err)
					}
					dead.Kill()
				}
				if tt.same && tt.sent > 1 {
					r.srv.Set(faultserver.NoValidators)
				}
				before := r.srv.Sent()
				r.start("a").wait()
				got, _ := r.ended()
				if e := got["f"]; e.State != tt.state && (tt.state != mirror.Current || e.State != mirror.Unchanged && e.State != mirror.Fetched) || tt.state == mirror.Failed && !strings.Contains(e.Kind, "foreign") {
					r.Errorf("got %q, kind %q, error %q", e.State, e.Kind, e.Error)
				}
				if sent := r.srv.Sent() - before; sent > tt.sent {
					r.Errorf("%d bytes were sent, want at most %d", sent, tt.sent)
				}
				if tt.state != mirror.Failed {
					r.wantFetched(1)
				}
			})
		})
	}
}

// served returns the bytes and the time of a file of the server.
func (r *fleetRig) served(name string) ([]byte, time.Time, error) {
	d := http.Client{Transport: &http.Transport{DialContext: r.net.Dial, DisableKeepAlives: true}}
	resp, err := d.Get(r.srv.URL + "/" + name)
	if err != nil {
		return nil, time.Time{}, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	at, timeErr := http.ParseTime(resp.Header.Get("Last-Modified"))
	return b, at, errors.Join(err, timeErr)
}

// TestWorkerRefusesMessages: a message that this version cannot read, or whose secrets it cannot open, goes back, and the session says
// so. A path that leaves the directory fails.
func TestWorkerRefusesMessages(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 1}, func(r *fleetRig) {
		it := r.item("f", 100)
		delete(r.files, "f")
		r.publishBatch(fleet.Batch{Version: 2, Run: r.run, ID: "new", Round: 1, Items: []fleet.Item{it}})
		a := r.start("a", func(o *fleet.WorkerOptions) { o.Once = false })
		time.Sleep(time.Minute)
		all, err := fleet.Sessions(r.Context(), r.admin)
		if err != nil || len(all) != 1 || !strings.Contains(all[0].Paused, "message version 2") {
			r.Errorf("got %+v, %v", all, err)
		}
		if w, _ := r.admin.Waiting(r.Context(), r.run); len(w) != 1 {
			r.Errorf("waiting: %v", w)
		}
		a.stop()
	})
	for _, path := range []string{"../f", "/etc/f", ".", "a/../../f", "a/../f", ""} {
		t.Run(path, func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 1}, func(r *fleetRig) {
				it := r.item("f", 100)
				delete(r.files, "f")
				it.File.Path = path
				r.publish(it)
				r.start("a").wait()
				got, n := r.ended()
				if e := got[path]; n != 1 || e.State != mirror.Failed || len(r.srv.Requests()) > 0 {
					r.Errorf("got %q of %d, %d requests", e.State, n, len(r.srv.Requests()))
				}
				r.wantNothingLeft()
			})
		})
	}
}

// TestWorkerWithoutNetwork: a worker that reaches none of five hosts pauses, and others do the work.
func TestWorkerWithoutNetwork(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
		for i := range 8 {
			srv := r.net.New()
			r.Cleanup(srv.Close)
			name := fmt.Sprint("f", i)
			r.files[name] = faultserver.NewFile(100, uint64(i))
			srv.Put(name, r.files[name])
			r.publish(r.itemAt(srv.URL+"/"+name, name))
		}
		a := r.start("a", func(o *fleet.WorkerOptions) {
			st := o.Store
			o.Downloader = func(slots func(string, int) downloader.Slots, _ func(string) (int, float64)) *downloader.Downloader {
				return downloader.New(st, downloader.Options{Slots: slots, Retry: downloader.RetryPolicy{Tries: 1, Wait: time.Millisecond},
					Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errors.New("no route to host") }})
			}
		})
		time.Sleep(20 * time.Second)
		all, err := fleet.Sessions(r.Context(), r.admin)
		if err != nil || len(all) != 1 || !strings.Contains(all[0].Paused, "could not be reached") {
			r.Errorf("got %+v, %v", all, err)
		}
		r.start("b").wait()
		a.wait()
		r.wantFetched(8)
		r.wantNothingLeft()
	})
}

// TestWorkerControl: a run that is paused is left alone, and goes on when it is resumed; the work on a run that is cancelled is interrupted.
func TestWorkerControl(t *testing.T) {
	inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
		var items []fleet.Item
		for i := range 50 {
			items = append(items, r.item(fmt.Sprint("f", i), 10<<10))
		}
		r.publish(items...)
		r.srv.Set(faultserver.Rate(50 << 10)) // 10 s
		a := r.start("a", func(o *fleet.WorkerOptions) { o.Jobs = 2 })
		time.Sleep(5 * time.Second)
		control := func(c fleet.Control, now bool) {
			if err := fleet.SetControl(r.Context(), r.admin, r.run, c, now, "test"); err != nil {
				r.Fatal(err)
			}
		}
		control(fleet.Paused, false)
		time.Sleep(3 * time.Second)
		_, before := r.ended()
		time.Sleep(time.Minute)
		if _, after := r.ended(); after != before || after == 0 || after > 40 {
			r.Errorf("%d and then %d files had ended", before, after)
		}
		control(fleet.Running, false)
		time.Sleep(5 * time.Second)
		control(fleet.Paused, true)
		time.Sleep(time.Second)
		requests := len(r.srv.Requests())
		time.Sleep(time.Minute)
		if n := len(r.srv.Requests()); n != requests {
			r.Errorf("%d requests while paused", n-requests)
		}
		control(fleet.Running, false)
		a.wait()
		r.wantFetched(50)
		r.wantNothingLeft()
		control(fleet.Cancelled, true)
	})
}

// TestWorkerBroker: transfers go on while the broker is away for less than 45 s; after a minute there is a new session. Nothing is
// lost either way.
func TestWorkerBroker(t *testing.T) {
	for _, away := range []time.Duration{35 * time.Second, 5 * time.Minute} {
		t.Run(away.String(), func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
				r.publish(r.item("large", 12<<20))
				r.srv.Set(faultserver.Rate(12 << 20 / 100))
				a := r.start("a")
				time.Sleep(10 * time.Second)
				r.broker.StopAnswering()
				time.Sleep(30 * time.Second)
				before := r.srv.Sent()
				time.Sleep(5 * time.Second)
				if r.srv.Sent() == before {
					r.Error("the transfer does not go on")
				}
				time.Sleep(away - 35*time.Second)
				if away > time.Minute {
					before := r.srv.Sent()
					time.Sleep(time.Minute)
					if r.srv.Sent() != before {
						r.Error("the transfer goes on without a session")
					}
				}
				r.broker.StartAnswering()
				a.wait()
				r.wantFetched(2)
				r.wantNothingLeft()
				if r.srv.Sent() > 12<<20*5/4 {
					r.Errorf("%d bytes were sent", r.srv.Sent())
				}
			})
		})
	}
}

// TestWorkerDiskFull: a worker whose own disk is full gives everything back and ends; on a shared disk, the run is paused.
func TestWorkerDiskFull(t *testing.T) {
	for name, local := range map[string]bool{"local": true, "shared": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			natstest.Bubble(t, func(t *testing.T) {
				t.Cleanup(func() { time.Sleep(time.Minute) })
				r := newFleetRig(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, local)
				var items []fleet.Item
				for i := range 8 {
					items = append(items, r.item(fmt.Sprint("f", i), 2<<20))
				}
				r.publish(items...)
				full := func(o *fleet.WorkerOptions) {
					st, err := store.Open(shmDir(t), store.Options{Root: r.dir, MinFree: 1 << 60})
					if err != nil {
						t.Fatal(err)
					}
					o.Store = st
					o.Downloader = func(slots func(string, int) downloader.Slots, _ func(string) (int, float64)) *downloader.Downloader {
						return downloader.New(st, downloader.Options{Slots: slots, Dial: r.net.Dial})
					}
				}
				a := r.start("a", full)
				if local {
					<-a.done
					if end := (*mirror.EndedError)(nil); !errors.As(a.err, &end) || !errors.Is(a.err, store.ErrNoSpace) {
						t.Errorf("got %v", a.err)
					}
				} else {
					time.Sleep(time.Minute)
					run, err := fleet.ReadRun(t.Context(), r.admin, r.run)
					if err != nil || run.Control != fleet.Paused || !errors.Is(run.PauseError(), store.ErrNoSpace) {
						t.Errorf("got %+v, %v", run, err)
					}
					a.stop()
					if err := fleet.SetControl(t.Context(), r.admin, r.run, fleet.Running, false, ""); err != nil {
						t.Fatal(err)
					}
				}
				if _, n := r.ended(); n > 0 {
					t.Errorf("%d files are reported", n)
				}
				began := time.Now()
				r.start("b").wait()
				if d := time.Since(began); d > 20*time.Second { // nothing waits for a lease
					t.Errorf("it took %v", d)
				}
				r.wantFetched(8)
				r.wantNothingLeft()
			})
		})
	}
}

// TestWorkersTakeTurns: workers that want more places than a host allows get all of the work done, and nobody exceeds the limit.
func TestWorkersTakeTurns(t *testing.T) {
	t.Parallel()
	natstest.Bubble(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) })
		r := newFleetRig(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, false)
		if err := fleet.SetLimits(t.Context(), r.admin, "", fleet.HostLimits{mustLimit(t, "*=1")}); err != nil {
			t.Fatal(err)
		}
		for b := range 6 {
			var items []fleet.Item
			for i := range 10 {
				items = append(items, r.item(fmt.Sprint("f", b, "-", i), 10<<10))
			}
			r.publish(items...)
		}
		r.srv.Set(faultserver.Rate(5 << 10)) // 2 s each, 120 s in all
		a, b := r.start("a"), r.start("b")
		a.wait()
		b.wait()
		r.wantFetched(60)
		r.wantNothingLeft()
		if r.srv.Peak() > 1 {
			t.Errorf("%d connections at once", r.srv.Peak())
		}
		by := make(map[string]int)
		for e, err := range r.admin.Log(ctxOf(t), r.run, 0) {
			if err != nil {
				t.Fatal(err)
			}
			if e.Data == nil {
				break
			}
			var rep fleet.Report
			json.Unmarshal(e.Data, &rep)
			by[rep.Worker] += len(rep.Ended)
		}
		if by["a"] == 0 || by["b"] == 0 {
			t.Errorf("files by worker: %v", by)
		}
	})
}

// TestWorkerOnceWithoutRun: a worker with Once that has nothing to do says why, and what to do, unless others have done everything.
func TestWorkerOnceWithoutRun(t *testing.T) {
	const next = "queue one first"
	for name, tt := range map[string]struct {
		prepare func(r *fleetRig)
		want    string // "" for nothing
	}{
		"no run": {func(r *fleetRig) {
			if err := fleet.DeleteRun(r.Context(), r.admin, r.run); err != nil {
				r.Error(err)
			}
		}, "the queue has no run yet"},
		"complete":        {func(r *fleetRig) { r.change(func(run *fleet.Run) { run.State = fleet.Complete }) }, "all runs of the queue have ended"},
		"cancelled":       {func(r *fleetRig) { r.change(func(run *fleet.Run) { run.Control = fleet.Cancelled }) }, "all runs of the queue have ended"},
		"other directory": {func(r *fleetRig) { r.change(func(run *fleet.Run) { run.Target = "fedcba9876543210" }) }, "its directory is another one"},
		"local disks":     {func(r *fleetRig) { r.change(func(run *fleet.Run) { run.Target = "" }) }, "for the local disks"},
		"nothing left":    {func(r *fleetRig) { r.change(func(run *fleet.Run) { run.State = fleet.Submitted }) }, ""},
		"work":            {func(r *fleetRig) { r.publish(r.item("f", 100)) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 1}, func(r *fleetRig) {
				tt.prepare(r)
				w := r.start("a")
				w.wait()
				if has := w.hasNoted(next); has != (tt.want != "") || !w.hasNoted(tt.want) && has {
					r.Errorf("got %q, want %q", w.notes, tt.want)
				}
			})
		})
	}
}

func mustLimit(t *testing.T, text string) (l fleet.HostLimit) {
	t.Helper()
	if err := l.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return l
}

func ctxOf(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	return ctx
}

// TestWorkerEnds: a worker that is told to end does so within two seconds, whether the broker answers or not.
func TestWorkerEnds(t *testing.T) {
	for name, away := range map[string]bool{"connected": false, "broker away": true} {
		t.Run(name, func(t *testing.T) {
			inFleet(t, fleet.Settings{Rounds: 3, RoundWait: 10 * time.Second}, func(r *fleetRig) {
				r.publish(r.item("large", 4<<20), r.item("small", 100))
				r.srv.Set(faultserver.Rate(4 << 20 / 60))
				a := r.start("a")
				time.Sleep(20 * time.Second)
				if away {
					r.broker.StopAnswering()
				}
				began := time.Now()
				a.stop()
				if d := time.Since(began); d > 2*time.Second {
					r.Errorf("it took %v", d)
				}
				if !errors.Is(a.err, context.Canceled) {
					r.Errorf("got %v", a.err)
				}
				r.broker.StartAnswering()
				began = time.Now()
				r.start("b").wait()
				if d := time.Since(began); !away && d > time.Minute { // 40 s of bytes, and not a lease
					r.Errorf("the next one took %v", d)
				}
				r.wantFetched(3)
				r.wantNothingLeft()
			})
		})
	}
}
