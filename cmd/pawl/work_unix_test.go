//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

// A workSite is a site whose files workers fetch into one directory.
type workSite struct {
	*site
	nats   *natstest.Server
	broker fleet.Broker
	lease  time.Duration
	run    fleet.Run
}

// newWorkSite returns a site with a run in a queue whose leases are short enough for a test.
func newWorkSite(t *testing.T, lease time.Duration) *workSite {
	t.Helper()
	sampled(t, 3) // each starts a NATS server
	t.Parallel()
	w := &workSite{site: newSite(t), nats: natstest.Start(t, natstest.Options{}), lease: lease}
	var err error
	if w.broker, err = fleet.ConnectNATS(t.Context(), fleet.NATSOptions{URLs: []string{w.nats.URL()}, Lease: lease / 2}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.broker.Close() })
	target, err := fleet.PrepareTarget(filepath.Join(w.dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	w.run, err = fleet.OpenRun(t.Context(), w.broker, "k", fleet.Run{Target: target, Settings: fleet.Settings{Rounds: 3, RoundWait: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// submit queues all files as one batch.
func (w *workSite) submit() {
	w.Helper()
	b := fleet.Batch{Version: 1, Run: w.run.ID, ID: "b1", Round: 1}
	for name := range w.files {
		it := fleet.Item{File: mirror.Item{Entry: list.Entry{URLs: []string{w.srv.URL + "/" + name}, Size: -1, List: "list"}, List: "aaaaaaaaaaaaaaaa", Path: name}, Private: true}
		it.ID = it.File.Key()
		b.Items = append(b.Items, it)
	}
	u, err := url.Parse(w.srv.URL)
	if err != nil {
		w.Fatal(err)
	}
	data, err := json.Marshal(b)
	if err == nil {
		err = w.broker.Publish(w.Context(), w.run.ID, new(fleet.Limits).Lane(fleet.HostPort(u)), b.ID, data)
	}
	if err != nil {
		w.Fatal(err)
	}
	w.setSubmitted()
}

// setSubmitted says that everything is queued, as a submitter does.
func (w *workSite) setSubmitted() {
	w.Helper()
	bucket, err := w.broker.Bucket(w.Context(), "PAWL_RUNS", 0)
	if err != nil {
		w.Fatal(err)
	}
	w.run.State = fleet.Submitted
	data, _ := json.Marshal(w.run)
	if _, err := bucket.Put(w.Context(), w.run.ID, data); err != nil {
		w.Fatal(err)
	}
}

// startWorker starts a worker with a state directory of its own.
func (w *workSite) startWorker(name string, args ...string) *pawlProcess {
	w.Helper()
	args = append([]string{"work", "--queue", w.nats.URL(), "-d", "out", "--shared", "--once", "--state", "state-" + name, "--name", name, "--lease", w.lease.String(), "--retry-wait", "20ms"}, args...)
	return w.startCommand(pawlCommand(w.dir, args...))
}

// ended returns the outcomes of the log.
func (w *workSite) ended() (all []fleet.Ended) {
	w.Helper()
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	for e, err := range w.broker.Log(ctx, w.run.ID) {
		if err != nil {
			w.Fatal(err)
		}
		if e.Data == nil {
			return all
		}
		var r fleet.Report
		if err := json.Unmarshal(e.Data, &r); err != nil {
			w.Fatal(err)
		}
		all = append(all, r.Ended...)
	}
	return all
}

// wantAll checks that all files are there and reported, and that nothing is left.
func (w *workSite) wantAll() {
	w.Helper()
	w.wantFiles()
	fetched := make(map[string]bool)
	for _, e := range w.ended() {
		if e.State == mirror.Failed {
			w.Errorf("%s failed: %s", e.File.Path, e.Error)
		}
		fetched[e.File.Path] = true
	}
	if len(fetched) != len(w.files) {
		w.Errorf("the log has %d files, want %d", len(fetched), len(w.files))
	}
	waiting, err := w.broker.Waiting(w.Context(), w.run.ID)
	if err != nil || len(waiting) > 0 {
		w.Errorf("waiting: %v, %v", waiting, err)
	}
	entries, err := os.ReadDir(filepath.Join(w.dir, "out"))
	if err != nil {
		w.Error(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name(), ".part") {
			w.Errorf("%s is left", e.Name())
		}
	}
}

// TestWorkKills kills workers with SIGKILL in the middle of a large file. Others go on with what the last checkpoint says.
func TestWorkKills(t *testing.T) {
	skipExpensive(t)
	const size, rate = 64 << 20, 8 << 20
	w := newWorkSite(t, 8*time.Second)
	w.add("large", size)
	w.submit()
	w.srv.Set(faultserver.Rate(rate))
	for i, n := range []int64{size / 4, size * 3 / 4} {
		r := w.startWorker(fmt.Sprint("w", i))
		w.srv.HoldAt(n, r.exited)
		w.srv.Open()
		r.cmd.Process.Kill()
		if o := r.wait(); o.code != -1 {
			t.Fatalf("exit %d: %s", o.code, o.stderr)
		}
	}
	o := w.startWorker("w9").wait().wantExit(0)
	t.Logf("%s", o.stderr)
	w.wantAll()
	t.Logf("%d of %d bytes were sent", w.srv.Sent(), size)
	if most := int64(size + 2*5*rate + 4<<20); w.srv.Sent() > most {
		t.Errorf("%d bytes were sent, want at most %d", w.srv.Sent(), most)
	}
}

// TestWorkTerminated: after SIGTERM, everything is given back at once, so that another worker goes on although all leases are long.
func TestWorkTerminated(t *testing.T) {
	const size = 16 << 20
	w := newWorkSite(t, time.Hour)
	w.add("large", size)
	w.addMany(20, sameSize(1000))
	w.submit()
	w.srv.Set(faultserver.Rate(8 << 20))
	r := w.startWorker("a")
	w.srv.HoldAt(size/2, r.exited)
	began := time.Now()
	r.cmd.Process.Signal(syscall.SIGTERM)
	o := r.wait().wantExit(143)
	t.Logf("%v: %s", time.Since(began), o.stderr)
	w.srv.Open()
	w.srv.Set()
	w.startWorker("b").wait().wantExit(0)
	w.wantAll()
	if w.srv.Sent() > size*5/4 {
		t.Errorf("%d bytes were sent for %d", w.srv.Sent(), size)
	}
}

// TestWorkFrozen: a worker that was stopped for longer than its leases drops what others have taken over.
func TestWorkFrozen(t *testing.T) {
	w := newWorkSite(t, 6*time.Second)
	w.add("large", 16<<20)
	w.addMany(20, sameSize(1000))
	w.submit()
	w.srv.Set(faultserver.Rate(4 << 20))
	a := w.startWorker("a")
	w.srv.HoldAt(8<<20, a.exited)
	a.cmd.Process.Signal(syscall.SIGSTOP)
	w.srv.Open()
	b := w.startWorker("b")
	time.Sleep(w.lease + 2*time.Second)
	a.cmd.Process.Signal(syscall.SIGCONT)
	o := a.wait().wantExit(0)
	if !strings.Contains(o.stderr, "new session") {
		t.Errorf("got %s", o.stderr)
	}
	b.wait().wantExit(0)
	w.wantAll()
}

// TestWorkRefuses checks the errors of a worker before it works.
func TestWorkRefuses(t *testing.T) {
	w := newWorkSite(t, time.Minute)
	w.setSubmitted()
	for _, tt := range []struct {
		name string
		args []string
		code int
		text string
	}{
		{"nothing is left", []string{"-d", "out", "--shared"}, 0, "0 files fetched"},
		{"no place", []string{"-d", "out"}, 2, "--shared"},
		{"not mounted", []string{"-d", "other", "--shared"}, 2, "is the file system mounted?"},
		{"no queue", []string{"-d", "out", "--shared", "--queue", ""}, 2, "--queue"},
		{"other run", []string{"-d", "out", "--shared", "--run", "x-1"}, 2, "no such run"},
		{"key", []string{"-d", "out", "--shared", "--queue-key-file", "out/.pawl-target"}, 2, "64 hex digits"},
		{"other lease", []string{"-d", "out", "--shared", "--lease", "2m"}, 1, "lease of this fleet"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"work", "--queue", w.nats.URL(), "--once", "--state", t.TempDir()}, tt.args...)
			cmd := pawlCommand(w.dir, args...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != tt.code || !strings.Contains(string(out), tt.text) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
