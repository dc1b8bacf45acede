package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/fleet/natstest"
)

// This file has the tests of whole fleets: a submitter, workers and a NATS server, whose processes are killed, frozen and
// restarted. With PAWL_TEST_LONG=1, they have more files, workers and kills. They need Linux, where all
// addresses 127.0.0.0/8 are of this machine.

// A fleetSite has several servers, each at an address of its own, and a fleet that fetches their files into out.
type fleetSite struct {
	*site
	nats    *natstest.Server
	lease   time.Duration
	hosts   []*fleetHost
	paths   map[string]faultserver.File // files in out
	list    []string
	workers []*fleetProcess // those that were not killed
	made    int             // workers
}

func newFleetSite(t *testing.T, lease time.Duration) *fleetSite {
	t.Helper()
	sampled(t, 3) // each starts a NATS server
	f := &fleetSite{site: newSite(t), nats: natstest.Start(t, natstest.Options{}), lease: lease, paths: make(map[string]faultserver.File)}
	t.Cleanup(func() {
		for _, w := range f.workers {
			w.kill()
		}
	})
	return f
}

// A fleetHost is a server that counts its connections.
type fleetHost struct {
	*faultserver.Server
	name string // its address without the port
	url  string

	mu         sync.Mutex
	open, most int         // connections; guarded by mu, as all fields below
	asked      []time.Time // when requests came
}

// addHosts adds n servers.
func (f *fleetSite) addHosts(n int) {
	f.Helper()
	for range n {
		h := &fleetHost{Server: faultserver.New(), name: fmt.Sprintf("127.0.0.%d", len(f.hosts)+1)}
		f.Cleanup(h.Close)
		l, err := net.Listen("tcp", h.name+":0")
		must(f.testRun, err)
		h.url = "http://" + l.Addr().String() + "/"
		srv := &http.Server{Handler: http.HandlerFunc(h.serve), ConnState: h.count}
		done := make(chan struct{})
		go func() {
			defer close(done)
			srv.Serve(l)
		}()
		f.Cleanup(func() {
			srv.Close()
			<-done
		})
		f.hosts = append(f.hosts, h)
	}
}

func (h *fleetHost) serve(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	h.asked = append(h.asked, time.Now())
	h.mu.Unlock()
	h.ServeHTTP(w, r)
}

func (h *fleetHost) count(_ net.Conn, s http.ConnState) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch s {
	case http.StateNew:
		h.open++
		h.most = max(h.most, h.open)
	case http.StateClosed:
		h.open--
	}
}

// mostOpen returns how many connections were open at once, and forgets it.
func (h *fleetHost) mostOpen() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := h.most
	h.most = h.open
	return n
}

// shortest returns the shortest time in which n requests came.
func (h *fleetHost) shortest(n int) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	least := time.Hour
	for i := n - 1; i < len(h.asked); i++ {
		least = min(least, h.asked[i].Sub(h.asked[i-n+1]))
	}
	return least
}

// addFile serves a file of a host, and adds it to the list. Its URL is long, so that few of them are a batch.
func (f *fleetSite) addFile(h *fleetHost, name string, size int64) {
	file := faultserver.NewFile(size, f.rand.Uint64N(1<<40))
	h.Put(name, file)
	path := h.name + "/" + name
	f.paths[path] = file
	f.list = append(f.list, h.url+name+"?"+strings.Repeat("x", 900), "  out="+path)
}

// A fleetProcess is a running pawl.
type fleetProcess struct {
	f      *fleetSite
	name   string
	cmd    *exec.Cmd
	stderr lockedText
	exited chan struct{}
}

// start starts pawl, which ends with the test at the latest.
func (f *fleetSite) start(name string, args ...string) *fleetProcess {
	f.Helper()
	p := &fleetProcess{f: f, name: name, cmd: pawlCommand(f.dir, args...), exited: make(chan struct{})}
	p.cmd.Stderr = &p.stderr
	must(f.testRun, p.cmd.Start())
	go func() {
		defer close(p.exited)
		p.cmd.Wait()
	}()
	f.Cleanup(p.kill)
	return p
}

func (p *fleetProcess) kill() {
	p.cmd.Process.Kill()
	<-p.exited
}

// hasExited reports whether the process ends within d.
func (p *fleetProcess) hasExited(d time.Duration) bool {
	select {
	case <-p.exited:
		return true
	case <-time.After(d):
		return false
	}
}

// wantExit waits for the end of the process, and checks its exit code and what it says.
func (p *fleetProcess) wantExit(code int, texts ...string) {
	p.f.Helper()
	if !p.hasExited(fleetLimit()) {
		p.f.Errorf("%s does not end; it says\n%s", p.name, p.stderr.String())
		p.kill()
		return
	}
	if got := p.cmd.ProcessState.ExitCode(); got != code {
		p.f.Errorf("%s: exit code %d, want %d; it says\n%s", p.name, got, code, p.stderr.String())
	}
	for _, text := range texts {
		if !strings.Contains(p.stderr.String(), text) {
			p.f.Errorf("%s does not say %q but\n%s", p.name, text, p.stderr.String())
		}
	}
}

func fleetLimit() time.Duration {
	if isLongTest() {
		return 10 * time.Minute
	}
	return hangLimit
}

func isLongTest() bool { return os.Getenv("PAWL_TEST_LONG") != "" }

// submit writes the list, and starts the submitter.
func (f *fleetSite) submit(args ...string) *fleetProcess {
	f.Helper()
	f.writeList("list", f.list...)
	args = append([]string{"mirror", "-d", "out", "--queue", f.nats.URL(), "--report", "report", "--round-wait", "1s"}, args...)
	if !slices.Contains(args, "--local") {
		args = append(args, "--shared")
	}
	return f.start("the submitter", append(args, "list")...)
}

// work starts a worker with the shared directory. It may have the state directory of one that was killed.
func (f *fleetSite) work(state string, args ...string) *fleetProcess {
	f.Helper()
	f.made++
	name := fmt.Sprint("w", f.made)
	if state == "" {
		state = "state-" + name
	}
	w := f.workOn("--shared", "out", name, append([]string{"--state", state}, args...)...)
	f.workers = append(f.workers, w)
	return w
}

// workOn starts a worker with a directory that is shared or local.
func (f *fleetSite) workOn(place, dir, name string, args ...string) *fleetProcess {
	f.Helper()
	for deadline := time.Now().Add(hangLimit); place == "--shared" && !exists(filepath.Join(f.dir, dir, ".pawl-target")) && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if !slices.Contains(args, "--state") {
		args = append(args, "--state", "state-"+name)
	}
	return f.start(name, append([]string{"work", "--queue", f.nats.URL(), "-d", dir, place, "--name", name, "--lease", f.lease.String(), "--retry-wait", "20ms"}, args...)...)
}

// heldOf returns how many bytes of a file are on the disk.
func (f *fleetSite) heldOf(name string) (n int64) {
	parts, _ := filepath.Glob(f.path(f.hosts[0].name + "/" + name + ".part*"))
	for _, p := range parts {
		if info, err := os.Stat(p); err == nil {
			n = max(n, info.Sys().(*syscall.Stat_t).Blocks*512)
		}
	}
	return n
}

// killWorker kills a random worker, and returns its state directory.
func (f *fleetSite) killWorker() (state string) {
	i := f.rand.IntN(len(f.workers))
	w := f.workers[i]
	f.workers = slices.Delete(f.workers, i, i+1)
	w.kill()
	if code := w.cmd.ProcessState.ExitCode(); code != -1 {
		f.Errorf("%s has ended by itself with %d:\n%s", w.name, code, w.stderr.String())
	}
	return w.cmd.Args[slices.Index(w.cmd.Args, "--state")+1]
}

// wantAll checks that all files are whole, that there is nothing else, and that the report has each of them once.
func (f *fleetSite) wantAll() {
	f.Helper()
	wrong := 0
	for path, file := range f.paths {
		if !hasContent(f.path(path), file) {
			if wrong++; wrong < 5 {
				f.Errorf("%s does not have the served bytes", path)
			}
		}
	}
	if wrong > 0 {
		f.Errorf("%d of %d files are wrong", wrong, len(f.paths))
	}
	f.wantNothingElse()
	r := f.report("report")
	seen := make(map[string]bool)
	for _, file := range r.Files {
		if seen[file.Path] {
			f.Errorf("%s is in the report twice", file.Path)
		}
		if seen[file.Path] = true; file.Outcome == "failed" {
			f.Errorf("%s failed: %s", file.Path, file.Error)
		}
	}
	s := r.Summary
	if s.Files != len(f.paths) || s.Fetched+s.Current+s.Unchanged != s.Files || len(seen) != s.Files || s.Failed+s.Pending+s.Problems > 0 || s.Exit != 0 {
		f.Errorf("%d files, %d in the report, whose summary is %s", len(f.paths), len(seen), jsonText(s))
	}
}

// wantNothingElse checks that no file is left in out but those of the list.
func (f *fleetSite) wantNothingElse() {
	f.Helper()
	filepath.WalkDir(filepath.Join(f.dir, "out"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(d.Name(), ".pawl-target") && !strings.HasPrefix(d.Name(), ".pawl-fleet-") {
			rel, _ := filepath.Rel(filepath.Join(f.dir, "out"), path)
			if _, ok := f.paths[filepath.ToSlash(rel)]; !ok {
				f.Errorf("left over: %s", rel)
			}
		}
		return err
	})
}

// TestFleetKills kills workers again and again, and the broker once, while others join: each file is fetched and reported
// once, and no host ever has more connections or requests than it allows.
func TestFleetKills(t *testing.T) {
	t.Parallel()
	skipExpensive(t)
	workers, files, slow, lease, pause := 4, 80, 15, 4*time.Second, time.Second
	if isLongTest() {
		workers, files, slow, lease, pause = 8, 2000, 200, 6*time.Second, 3*time.Second
	}
	f := newFleetSite(t, lease)
	f.addHosts(5)
	var args []string
	for i, h := range f.hosts {
		n, limit := files, "8"
		if i == 4 {
			n, limit = slow, "8,5/s"
		}
		for j := range n {
			f.addFile(h, fmt.Sprintf("f%04d", j), 1+f.rand.Int64N(64<<10))
		}
		h.Set(faultserver.Delay(200 * time.Millisecond))
		args = append(args, "--host-limit", h.name+"="+limit)
	}
	submitter := f.submit(args...)
	for range workers {
		f.work("")
	}
	kills, joined, restarts := 0, 0, 0
	for n := 1; !submitter.hasExited(pause); n++ {
		switch {
		case n > 1 && n%5 == 2 && restarts < 3:
			f.nats.Kill()
			time.Sleep(time.Second)
			f.nats.Restart()
			restarts++
		case n == 3 || n == 4 && isLongTest() || n == 6 && isLongTest():
			f.work("")
			joined++
		}
		if n > 60 || !isLongTest() && n > 2 { // at last, let them end
			continue
		}
		for range 2 {
			state := f.killWorker()
			kills++
			if f.rand.IntN(2) == 0 {
				state = ""
			}
			f.work(state)
		}
	}
	submitter.wantExit(0)
	t.Logf("%d kills, %d restarts of the broker, %d joined\n%s", kills, restarts, joined, submitter.stderr.String())
	f.wantAll()
	for _, h := range f.hosts {
		requests := make(map[string]int)
		for _, r := range h.Requests() {
			requests[r.Path]++
		}
		total, most := len(h.Requests()), h.mostOpen()
		t.Logf("%s: %d requests for %d files, most of one file %d, at most %d connections", h.name, total, len(requests), slices.Max(slices.Collect(maps.Values(requests))), most)
		if most > 8 {
			t.Errorf("%s had %d connections, want at most 8", h.name, most)
		}
	}
	// A machine that is busy may delay the first request that is counted, so that only many requests have a rate.
	took, least := f.hosts[4].shortest(slow), time.Duration(slow-1)*time.Second/5-800*time.Millisecond
	t.Logf("%d requests came in %v, six in %v", slow, took, f.hosts[4].shortest(6))
	if took < least {
		t.Errorf("%d requests came in %v, want at least %v", slow, took, least)
	}
}

// fleetStatus returns what queue status prints.
func (f *fleetSite) fleetStatus(args ...string) string {
	f.Helper()
	out, err := pawlCommand(f.dir, append([]string{"queue", "status", "--queue", f.nats.URL()}, args...)...).CombinedOutput()
	if err != nil {
		f.Errorf("queue status: %v\n%s", err, out)
	}
	return string(out)
}

// runID returns the ID of the only run.
func (f *fleetSite) runID() string {
	f.Helper()
	for deadline := time.Now().Add(hangLimit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		out, _ := pawlCommand(f.dir, "queue", "status", "--json", "--queue", f.nats.URL()).Output()
		var row struct{ ID string }
		if json.Unmarshal(out, &row) == nil && row.ID != "" {
			return row.ID
		}
	}
	f.Fatal("there is no run")
	return ""
}

// TestFleetPoison: a file that ends each worker that asks for it ends three of them, and fails with a line in the report.
func TestFleetPoison(t *testing.T) {
	t.Parallel()
	skipExpensive(t)
	f := newFleetSite(t, 4*time.Second)
	f.addHosts(1)
	h := f.hosts[0]
	for j := range 40 {
		f.addFile(h, fmt.Sprintf("f%04d", j), 1000)
	}
	const poison = "/f0017"
	asked := make(chan struct{}, 100)
	h.Set(onSitePath(poison, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked <- struct{}{}
			<-r.Context().Done()
		})
	}))
	submitter := f.submit()
	deaths := 0
	for !submitter.hasExited(0) && deaths < 10 {
		w := f.work("", "-x", "1", "--jobs", "4")
		select {
		case <-asked:
			w.kill()
			f.workers = f.workers[:len(f.workers)-1]
			deaths++
		case <-submitter.exited:
		case <-time.After(fleetLimit()):
			t.Fatalf("nothing happens; a worker says\n%s\n%s", w.stderr.String(), f.fleetStatus())
		}
	}
	t.Logf("%d workers ended", deaths)
	submitter.wantExit(1)
	failed := 0
	for _, file := range f.report("report").Files {
		if file.Outcome == "failed" {
			failed++
			if !strings.HasSuffix(file.Path, poison) || !strings.Contains(file.Error, "workers ended while they had it") {
				t.Errorf("failed: %s", jsonText(file))
			}
		}
	}
	if s := f.report("report").Summary; failed != 1 || s.Failed != 1 || s.Fetched+s.Current+s.Unchanged != 39 || deaths > 5 {
		t.Errorf("%d workers ended, %d files failed, and the summary is %s", deaths, failed, jsonText(s))
	}
}

// TestFleetDiskFull: a full disk of one worker ends it with exit code 9, and others go on; a full disk of all pauses the
// run until somebody resumes it.
func TestFleetDiskFull(t *testing.T) {
	t.Parallel()
	skipExpensive(t)
	t.Run("local", func(t *testing.T) {
		f := newFleetSite(t, 4*time.Second)
		f.mount(filepath.Join(f.dir, "small"), "size=1m")
		f.addHosts(1)
		for j := range 40 {
			f.addFile(f.hosts[0], fmt.Sprintf("f%04d", j), 100<<10)
		}
		submitter := f.submit("--local")
		small := f.workOn("--local", "small", "small")
		small.wantExit(9)
		f.workOn("--local", "out", "large")
		submitter.wantExit(0)
		if s := f.report("report").Summary; s.Fetched != 40 || s.Failed > 0 {
			t.Errorf("the summary is %s", jsonText(s))
		}
		for path, file := range f.paths {
			if !hasContent(f.path(path), file) && !hasContent(filepath.Join(f.dir, "small", path), file) {
				t.Errorf("%s is nowhere whole", path)
			}
		}
	})
	t.Run("shared", func(t *testing.T) {
		f := newFleetSite(t, 4*time.Second)
		f.mount(filepath.Join(f.dir, "out"), "size=1m")
		f.addHosts(1)
		for j := range 40 {
			f.addFile(f.hosts[0], fmt.Sprintf("f%04d", j), 100<<10)
		}
		submitter := f.submit()
		a, b := f.work(""), f.work("")
		run := f.runID()
		for deadline := time.Now().Add(hangLimit); !strings.Contains(f.fleetStatus(), "paused"); time.Sleep(100 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("the run is not paused\n%s", f.fleetStatus())
			}
		}
		t.Log(f.fleetStatus())
		if a.hasExited(time.Second) || b.hasExited(0) || submitter.hasExited(0) {
			t.Errorf("somebody has ended:\n%s\n%s\n%s", a.stderr.String(), b.stderr.String(), submitter.stderr.String())
		}
		f.remount(filepath.Join(f.dir, "out"), 0, "size=32m")
		pawlOK(t, f.dir, "queue", "resume", run, "--queue", f.nats.URL())
		submitter.wantExit(0)
		f.wantAll()
	})
}

// TestFleetListChanges: a list that has changed since its submitter was killed adds its new files to the run, and those that
// are gone are not reported.
func TestFleetListChanges(t *testing.T) {
	t.Parallel()
	f := newFleetSite(t, 4*time.Second)
	f.addHosts(1)
	for j := range 30 {
		f.addFile(f.hosts[0], fmt.Sprintf("f%04d", j), 1000)
	}
	submitter := f.submit()
	run := f.runID()
	for deadline := time.Now().Add(hangLimit); !strings.Contains(f.fleetStatus(), "running") && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	submitter.kill()
	// Two files are gone and two are new. One has moved.
	f.list = slices.Delete(f.list, 0, 4)
	f.addFile(f.hosts[0], "new1", 2000)
	f.addFile(f.hosts[0], "new2", 2000)
	gone := slices.Sorted(maps.Keys(f.paths))[:2]
	submitter = f.submit()
	f.work("")
	submitter.wantExit(0)
	if id := f.runID(); id != run {
		t.Errorf("the run is %s, then %s", run, id)
	}
	r := f.report("report")
	got := make(map[string]int)
	for _, file := range r.Files {
		got[strings.TrimPrefix(file.Path, filepath.Join(f.dir, "out")+"/")]++
	}
	for path := range f.paths {
		want := 1
		if slices.Contains(gone, path) {
			want = 0
		}
		if got[path] != want {
			t.Errorf("%s is %d times in the report, want %d", path, got[path], want)
		}
	}
	if r.Summary.Files != 30 || r.Summary.Fetched != 30 {
		t.Errorf("the summary is %s", jsonText(r.Summary))
	}
}

// TestFleetNoNetwork: a worker that reaches none of the servers takes no more work, and its files are fetched by others
// without having used up their rounds.
func TestFleetNoNetwork(t *testing.T) {
	t.Parallel()
	skipExpensive(t)
	f := newFleetSite(t, 6*time.Second)
	f.addHosts(8)
	for _, h := range f.hosts {
		for j := range 10 {
			f.addFile(h, fmt.Sprintf("f%04d", j), 1000)
		}
	}
	// The way of the first worker leads to a proxy that is not there; the queue does not use a proxy.
	submitter := f.submit("--rounds", "3")
	a := f.work("", "--proxy", "http://127.0.0.1:1", "--no-proxy", "none.example", "--tries", "1", "-v")
	awaitText(t, &a.stderr, "pausing")
	for deadline := time.Now().Add(hangLimit); !strings.Contains(f.fleetStatus(), "could not be reached"); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the status does not say why a worker pauses:\n%s", f.fleetStatus())
		}
	}
	f.work("")
	submitter.wantExit(0)
	f.wantAll()
}

// TestFleetLargeFile kills the worker of a large file at random bytes. On a shared disk, others go on with it; on local ones,
// they begin anew, and say so.
func TestFleetLargeFile(t *testing.T) {
	t.Parallel()
	skipExpensive(t)
	size, rate, kills := int64(16<<20), int64(2<<20), 1
	if isLongTest() {
		size, rate, kills = 1<<30, 32<<20, 10
	}
	for _, place := range []string{"--shared", "--local"} {
		t.Run(place, func(t *testing.T) {
			f := newFleetSite(t, 8*time.Second)
			f.addHosts(1)
			h := f.hosts[0]
			size, kills := size, kills
			if place == "--local" {
				size, kills = min(size, 512<<20), 1
			}
			f.addFile(h, "large", size)
			h.Set(faultserver.Rate(rate))
			submitter := f.submit(place)
			for k := range kills {
				w := f.workOn(place, "out", fmt.Sprint("w", k))
				left := size - f.heldOf("large") // of which the others must have something to do
				n := h.Sent() + 1 + f.rand.Int64N(left/int64(kills-k+1))
				if k == 0 {
					n += 2 * rate // before the first checkpoint, nobody knows of the part file, which is left over
				}
				if place == "--local" {
					n = h.Sent() + left/2
				}
				if !h.HoldAt(n, w.exited) {
					t.Fatalf("%s has ended: %s", w.name, w.stderr.String())
				}
				w.kill()
				h.Open()
			}
			if place == "--local" { // another machine has another disk
				must(f.testRun, os.Rename(f.path(""), filepath.Join(f.dir, "other")))
			}
			w := f.workOn(place, "out", "last")
			submitter.wantExit(0)
			f.wantAll()
			t.Logf("%d bytes were sent of a file of %d, %d more for each kill, %.1f s", h.Sent(), size, (h.Sent()-size)/int64(kills), float64(h.Sent()-size)/float64(int64(kills)*rate))
			if place == "--local" {
				if !strings.Contains(w.stderr.String(), "begins anew") {
					t.Errorf("the last worker does not say that the file begins anew:\n%s", w.stderr.String())
				}
				return
			}
			if most := size + int64(kills)*(5*rate+4<<20); h.Sent() > most {
				t.Errorf("%d bytes were sent, want at most %d", h.Sent(), most)
			}
		})
	}
}
