package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
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
	sent   int // batches
}

// inFleet runs a test with a clock of its own.
func inFleet(t *testing.T, settings fleet.Settings, test func(r *fleetRig)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // what was closed or cancelled just now ends
		r := &fleetRig{T: t, net: faultserver.NewNetwork(), broker: fakebroker.New(), dir: shmDir(t), files: make(map[string]faultserver.File)}
		r.srv = r.net.New()
		t.Cleanup(r.srv.Close)
		r.admin = r.broker.Connect("admin")
		t.Cleanup(func() { r.admin.Close() })
		r.open(settings)
		test(r)
	})
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
	for e, err := range r.admin.Log(ctx, r.run) {
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

// start starts a worker with a state directory of its own.
func (r *fleetRig) start(name string, change ...func(*fleet.WorkerOptions)) *fleetWorker {
	r.Helper()
	st, err := store.Open(shmDir(r.T), store.Options{Root: r.dir, Warn: func(s string) { r.Log(s) }})
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
		Broker: w.client, Store: st, Dir: r.dir, Shared: !r.local, Target: testTarget, Host: name, Once: true, OnNote: note, OnWarning: note,
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
		if deaths != 5 {
			r.Errorf("%d workers ended, want two, and three that had it alone", deaths)
		}
		r.wantFetched(1 << 10)
		got, _ := r.ended()
		if e := got["f5"]; e.State != mirror.Failed || !strings.Contains(e.Error, "3 workers ended") {
			r.Errorf("got %q, error %q", e.State, e.Error)
		}
		r.wantNothingLeft()
	})
}
