package main

import (
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
)

// A queueSite is a site with a NATS server.
type queueSite struct {
	*site
	nats   *natstest.Server
	broker fleet.Broker
}

func newQueueSite(t *testing.T, o natstest.Options) *queueSite {
	t.Helper()
	sampled(t, 3) // each starts a NATS server
	s := &queueSite{site: newSite(t), nats: natstest.Start(t, o)}
	s.broker = s.connect("submit")
	return s
}

// connect returns a connection with a role.
func (s *queueSite) connect(role string) fleet.Broker {
	s.Helper()
	b, err := fleet.ConnectNATS(s.Context(), fleet.NATSOptions{URLs: []string{s.nats.URL()}, CA: s.nats.CA(), Creds: s.nats.Creds(role)})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { b.Close() })
	return b
}

// queueArgs returns the arguments that name the queue, for a role.
func (s *queueSite) queueArgs(role string, args ...string) []string {
	all := []string{"--shared", "--queue", s.nats.URL()}
	if s.nats.CA() != "" {
		all = append(all, "--queue-ca", s.nats.CA(), "--queue-creds", s.nats.Creds(role))
	}
	return append(all, args...)
}

// withQueue returns the arguments of a submitter.
func (s *queueSite) withQueue(args ...string) []string { return s.queueArgs("submit", args...) }

// run waits for a run that has not ended, and returns it.
func (s *queueSite) run() fleet.Run {
	s.Helper()
	for begun := time.Now(); ; {
		if time.Since(begun) > hangLimit {
			s.Fatal("there is no run")
		}
		runs, err := fleet.ListRuns(s.Context(), s.broker)
		if err != nil {
			s.Fatal(err)
		}
		for _, r := range runs {
			if r.State != fleet.Complete && r.Control != fleet.Cancelled {
				return r
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// startWorker starts a worker with a state directory of its own. The result ends it.
func (s *queueSite) startWorker() (stop func()) {
	s.Helper()
	args := append([]string{"work"}, s.queueArgs("work", "-d", "out", "--state", "state-worker", "--name", "w", "--retry-wait", "20ms", "--tries", "1", "--lease", "10s")...)
	p := s.startCommand(pawlCommand(s.dir, args...))
	stop = sync.OnceFunc(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.wait().wantExit(143)
	})
	s.Cleanup(stop)
	return stop
}

// withoutTimes returns a report without what differs between two runs of the same list.
func withoutTimes(r readReport) readReport {
	r.Started, r.Ended, r.Summary.Seconds = time.Time{}, time.Time{}, 0
	files := make(map[string]reportFile)
	for _, f := range r.Files {
		f.Seconds, f.Retries = 0, 0
		files[f.Path] = f
	}
	for i, path := range slices.Sorted(maps.Keys(files)) {
		r.Files[i] = files[path]
	}
	return r
}

// putMixed serves files that end in different ways, and writes a list of them.
func (s *site) putMixed() {
	s.addMany(3, sameSize(1000))
	s.add("busy", 500)
	s.add("wrong", 700)
	busy := faultserver.Status(503, -1)
	s.srv.Set(onSitePath("/busy", busy))
	u := s.srv.URL
	s.writeList("list", u+"/f0000", u+"/f0001", "  out=sub/one", u+"/f0002", "nonsense", u+"/none1", "  out=late1", u+"/f0000", u+"/busy",
		u+"/wrong", "  checksum=sha-256="+strings.Repeat("0", 64), u+"/none2", "  dir=deep", "  size=2000")
}

// TestMirrorQueue checks, with users of their own for each role, that a run through a queue has the report, the list of --failed and the exit code of one machine, that
// queue report has the same from the log alone, and that the next run finds all files here.
func TestMirrorQueue(t *testing.T) {
	t.Parallel()
	s := newQueueSite(t, natstest.Options{Roles: true})
	s.putMixed()
	rounds := []string{"--rounds", "2", "--round-wait", "10ms", "--tries", "1"}
	s.runPawl(append([]string{"mirror", "-d", "out", "--report", "want", "--failed", "want-failed", "list"}, rounds...)...).wantExit(32)
	want := s.report("want")
	must(s.testRun, os.RemoveAll(filepath.Join(s.dir, "out")))
	must(s.testRun, os.RemoveAll(filepath.Join(s.dir, "state")))
	p := s.startMirror(s.withQueue(append([]string{"--report", "got", "--failed", "got-failed", "list"}, rounds...)...)...)
	s.run()
	stop := s.startWorker()
	p.wait().wantExit(32).wantStderr("3 of 7 files are here: 3 fetched", "4 failed: ", "1 line of the lists cannot be used")
	if got := s.report("got"); jsonText(withoutTimes(got)) != jsonText(withoutTimes(want)) {
		t.Errorf("report:\ngot  %s\nwant %s", jsonText(withoutTimes(got)), jsonText(withoutTimes(want)))
	}
	if got, want := sorted(s.lines("got-failed")), sorted(s.lines("want-failed")); got != want {
		t.Errorf("--failed:\ngot  %s\nwant %s", got, want)
	}
	s.wantFiles("f0000", "f0002")
	stop()
	runs, err := fleet.ListRuns(t.Context(), s.broker)
	if err != nil || len(runs) != 1 || runs[0].State != fleet.Complete {
		t.Fatalf("got runs %+v, %v", runs, err)
	}
	s.wantReportOfLog(runs[0].ID, want)
	s.runMirror(s.withQueue("--detach", "list")...).wantExit(2).wantStderr("4 files queued, 3 already here")
}

// wantReportOfLog checks the report that is made from the log alone.
func (s *queueSite) wantReportOfLog(id string, want readReport) {
	s.Helper()
	out := &printer{stdout: new(strings.Builder), stderr: new(strings.Builder)}
	path := filepath.Join(s.dir, "log")
	err := runReport{Report: path, Failed: path + "-failed", Wait: true}.run(s.Context(), &Globals{}, out, s.connect("watch"), id)
	if code := exitCode(err); code != want.Summary.Exit {
		s.Errorf("report of the log: got exit code %d, %v, want %d", code, err, want.Summary.Exit)
	}
	if got := s.report("log"); jsonText(withoutTimes(got)) != jsonText(withoutTimes(want)) {
		s.Errorf("report of the log:\ngot  %s\nwant %s", jsonText(withoutTimes(got)), jsonText(withoutTimes(want)))
	}
	if got, want := sorted(s.lines("log-failed")), sorted(s.lines("want-failed")); got != want {
		s.Errorf("--failed of the log:\ngot  %s\nwant %s", got, want)
	}
}

// TestMirrorQueueDetach checks that --detach prints only the ID of the run, and that the same command comes back to the run, sends
// nothing again, and ends it.
func TestMirrorQueueDetach(t *testing.T) {
	t.Parallel()
	s := newQueueSite(t, natstest.Options{})
	s.addMany(300, sameSize(100))
	s.writeListOfAll("list")
	o := s.runMirror(s.withQueue("--detach", "list")...).wantExit(0)
	run := s.run()
	if o.stdout != run.ID+"\n" || run.State != fleet.Submitted || len(s.srv.Requests()) > 0 {
		t.Errorf("--detach: got output %q, run %+v, %d requests", o.stdout, run, len(s.srv.Requests()))
	}
	p := s.startMirror(s.withQueue("--report", "report", "list")...)
	s.startWorker()
	p.wait().wantExit(0).wantStderr("all 300 files are here: 300 fetched")
	s.wantFiles()
	for name, n := range s.requestCounts() {
		if n != 1 {
			t.Errorf("%s was requested %d times", name, n)
		}
	}
	if r, err := fleet.ReadRun(t.Context(), s.broker, run.ID); err != nil || r.State != fleet.Complete {
		t.Errorf("got run %+v, %v", r, err)
	}
}

// TestMirrorQueueEnds checks how a run ends for the submitter that is interrupted, cancelled, or out of time.
func TestMirrorQueueEnds(t *testing.T) {
	t.Parallel()
	s := newQueueSite(t, natstest.Options{})
	s.addMany(2, sameSize(100))
	s.writeListOfAll("list")
	p := s.startMirror(s.withQueue("list")...)
	run := s.run()
	waitFor(t, func() bool { return s.run().State == fleet.Submitted })
	time.Sleep(100 * time.Millisecond)
	p.cmd.Process.Signal(syscall.SIGINT)
	p.wait().wantExit(130).wantStderr("interrupted", "come back with the same command", "pawl queue status "+run.ID, "pawl queue cancel "+run.ID)
	if r := s.run(); r.ID != run.ID || r.Control != fleet.Running {
		t.Errorf("after the interruption: got %+v", r)
	}

	must(s.testRun, fleet.PauseFor(t.Context(), s.broker, run.ID, failure.Named("no-space", "the shared disk is full")))
	var o runResult
	for _, limit := range []string{"1s", "5s", "25s"} { // the first one may pass before the submitter has seen the run
		if o = s.runMirror(s.withQueue("--deadline", limit, "list")...); o.code != 75 {
			break
		}
	}
	o.wantExit(9).wantStderr("the run is paused: the shared disk is full")

	p = s.startMirror(s.withQueue("--rounds", "7", "list")...)
	waitFor(t, func() bool { r := s.run(); return r.State == fleet.Submitted && r.Settings.Rounds == 7 })
	must(s.testRun, fleet.SetControl(t.Context(), s.broker, run.ID, fleet.Cancelled, true, "not needed"))
	p.wait().wantExit(75).wantStderr("the run was cancelled: not needed", "begins another run")
	s.runMirror(s.withQueue("--detach", "list")...).wantExit(0)
	if r := s.run(); r.ID == run.ID {
		t.Error("a cancelled run goes on")
	}
	if n := len(s.srv.Requests()); n > 0 {
		t.Errorf("the submitter has sent %d requests", n)
	}
}

// TestMirrorQueueSilent checks that --deadline ends a run whose queue never answers.
func TestMirrorQueueSilent(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.writeList("list", s.srv.URL+"/a")
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.testRun, err)
	defer silent.Close()
	s.runMirror("--shared", "--queue", "nats://"+silent.Addr().String(), "--deadline", "300ms", "list").wantExit(75).wantStderr("the deadline has passed")
}

// TestMirrorQueueUsage checks that what workers cannot do is refused with the next step.
func TestMirrorQueueUsage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.writeList("list", s.srv.URL+"/a")
	for _, tt := range []struct {
		args string
		want string
	}{
		{"--shared", "--queue URL"},
		{"--local", "--queue URL"},
		{"--detach", "--queue URL"},
		{"--host-limit h=1", "--queue URL"},
		{"--queue nats://127.0.0.1:1", "--shared"},
		{"--queue nats://127.0.0.1:1 --shared --local", "--shared"},
		{"--queue nats://127.0.0.1:1 --shared --prune", "without --queue"},
		{"--queue nats://127.0.0.1:1 --shared --every 1h", "cron"},
		{"--queue nats://127.0.0.1:1 --shared --shard 1/2", "leave --shard out"},
		{"--queue nats://127.0.0.1:1 --shared --server-names", "--tree"},
		{"--queue nats://127.0.0.1:1 --shared --restart", "pawl remove"},
		{"--queue nats://127.0.0.1:1 --shared --headers-everywhere", "pawl work"},
		{"--queue nats://127.0.0.1:1 --shared --detach --report r", "pawl queue report"},
		{"--queue nats://127.0.0.1:1 --local --detach --failed r", "pawl queue report"},
		{"--queue nats://127.0.0.1:1 --shared --host-limit h=0", "at least 1"},
	} {
		s.runMirror(append(strings.Fields(tt.args), "list")...).wantExit(2).wantStderr("pawl: error: ", tt.want)
	}
	// A dry run needs no queue.
	s.runMirror("--queue", "nats://127.0.0.1:1", "--shared", "--dry-run", "list").wantExit(0).wantStderr("a: would be fetched")
	if n := len(s.srv.Requests()); n > 0 {
		t.Errorf("got %d requests", n)
	}
}

// onSitePath is a fault of one path.
func onSitePath(path string, f faultserver.Fault) faultserver.Fault {
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

func jsonText(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// sorted returns lines in their order of bytes.
func sorted(lines []string) string { return strings.Join(slices.Sorted(slices.Values(lines)), "\n") }
