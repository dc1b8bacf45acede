package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/downloader/fleet"
	"pawl/downloader/fleet/natstest"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

// The runs of a queueRig: one that is being fetched, one whose lists are being read, and one that has ended.
const (
	runGoing   = "93e96d49ef6c0a11-1"
	runReading = "93e97000ef6c0a11-3"
	runEnded   = "0000000000000001-2"
)

// A queueRig is a NATS server with the example configuration, and some runs in it.
type queueRig struct {
	*testing.T
	nats   *natstest.Server
	broker fleet.Broker
	runs   fleet.Bucket
}

func newQueueRig(t *testing.T) *queueRig {
	t.Helper()
	sampled(t, 3) // each starts a NATS server
	s := natstest.Start(t, natstest.Options{Roles: true})
	b, err := fleet.ConnectNATS(t.Context(), fleet.NATSOptions{URLs: []string{s.URL()}, CA: s.CA(), Creds: s.Creds("submit")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	r := &queueRig{T: t, nats: s, broker: b}
	if r.runs, err = b.Bucket(t.Context(), "PAWL_RUNS", 0); err != nil {
		t.Fatal(err)
	}
	for id, state := range map[string]fleet.RunState{runGoing: fleet.Submitted, runReading: fleet.Submitting, runEnded: fleet.Complete} {
		if err := b.CreateQueue(t.Context(), id, []string{"h00"}); err != nil {
			t.Fatal(err)
		}
		if state == fleet.Submitted {
			r.log(id, "0", fleet.Report{Sent: []string{"0"}})
		}
		r.put(id, fleet.Run{Version: 1, Lists: []string{"/lists/" + string(state) + ".txt"}, Dir: "/data", Created: time.Now(), State: state, Control: fleet.Running})
	}
	return r
}

func (r *queueRig) put(id string, run fleet.Run) {
	r.Helper()
	text, err := json.Marshal(run)
	if err == nil {
		_, err = r.runs.Put(r.Context(), id, text)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// log adds an entry to the log of a run.
func (r *queueRig) log(run, id string, entry fleet.Report) {
	r.Helper()
	entry.Version = 1
	text, err := json.Marshal(entry)
	if err == nil {
		err = r.broker.Append(r.Context(), run, id, text)
	}
	if err != nil {
		r.Fatal(err)
	}
}

// get returns a run, and whether there is one.
func (r *queueRig) get(id string) (run fleet.Run, ok bool) {
	r.Helper()
	v, err := r.runs.Get(r.Context(), id)
	if err != nil {
		return run, false
	}
	if err := json.Unmarshal(v.Data, &run); err != nil {
		r.Fatal(err)
	}
	return run, true
}

// pawl runs "pawl queue" with the credentials of a role.
func (r *queueRig) pawl(role string, args ...string) commandResult {
	r.Helper()
	return runQueue(append([]string{"--queue", r.nats.URL(), "--queue-ca", r.nats.CA(), "--queue-creds", r.nats.Creds(role)}, args...)...)
}

// A commandResult is how a command ended.
type commandResult struct {
	exit           int
	stdout, stderr string
}

func runQueue(args ...string) commandResult {
	var out, errs bytes.Buffer
	code := run(append([]string{"queue"}, args...), &out, &errs)
	return commandResult{code, out.String(), errs.String()}
}

// wantExit checks the exit code, and that the texts are in the messages.
func (c commandResult) wantExit(t *testing.T, exit int, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(c.stderr, text) {
			t.Errorf("stderr is %q, want %q in it", c.stderr, text)
		}
	}
	if c.exit != exit {
		t.Errorf("exit code %d, want %d\n%s%s", c.exit, exit, c.stdout, c.stderr)
	}
}

// TestQueueOptions checks the options of the connection: each mistake is a usage error that says what to type, and
// no message shows a secret.
func TestQueueOptions(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	for _, tt := range []struct {
		args string
		want []string
	}{
		{"status", []string{"--queue is missing", "PAWL_QUEUE"}},
		{"status --queue tls://bob:secret@q.example.org", []string{"in ps", "--queue-creds FILE"}},
		{"status --queue tls://secret@q.example.org", []string{"--queue-creds FILE"}},
		{"status --queue a.example.org,bob:secret@b.example.org", []string{"--queue-creds FILE"}},
		{"status --queue https://q.example.org", []string{"must begin with tls://"}},
		{"status --queue tls://q.example.org/path", []string{"not the URL of a server"}},
		{"status --queue tls://", []string{"not the URL of a server"}},
		{"status --queue a,,b", []string{"not the URL of a server"}},
		{"status --queue tls://q.example.org:x", []string{"not the URL of a server"}},
		{"status --queue nats://q.example.org", []string{`"nats://q.example.org:4222" is not encrypted`, "tls://q.example.org:4222", "--queue-insecure"}},
		{"status --queue tls://a.example.org,nats://192.0.2.1:42", []string{"not encrypted", "tls://192.0.2.1:42"}},
		{"status --queue tls://q.example.org --queue-key K", []string{"--queue-cert FILE"}},
		{"status --queue tls://q.example.org --queue-replicas 2", []string{"1, 3 or 5"}},
		{"status --queue tls://q.example.org --queue-ca " + missing, []string{"--queue-ca", missing}},
		{"status --queue tls://q.example.org --queue-creds " + missing, []string{"--queue-creds", missing}},
		{"status --queue tls://q.example.org --queue-cert " + missing, []string{missing}},
		{"pause --queue tls://q.example.org", []string{"run"}},
		{"limit --queue tls://q.example.org example.org", []string{"not a limit"}},
		{"limit --queue tls://q.example.org a/b=off", []string{"not a host"}},
		{"", []string{"status", "pause"}},
	} {
		c := runQueue(strings.Fields(tt.args)...)
		c.wantExit(t, 2, tt.want...)
		if strings.Contains(c.stdout+c.stderr, "secret") {
			t.Errorf("%s: the secret is shown:\n%s", tt.args, c.stderr)
		}
	}
}

// TestQueueOfDaemon checks that the commands of the other queue know what a run is.
func TestQueueOfDaemon(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, command := range []string{"pause", "resume"} {
		var out, errs bytes.Buffer
		code := run([]string{command, "--state", t.TempDir(), runGoing}, &out, &errs)
		commandResult{code, out.String(), errs.String()}.wantExit(t, 2, "is a run of a fleet", "pawl queue "+command+" "+runGoing)
	}
}

// TestQueueServers checks how servers are named.
func TestQueueServers(t *testing.T) {
	for text, want := range map[string]string{
		"q.example.org":                    "tls://q.example.org:4222",
		"tls://q1,q2:1, q3/":               "tls://q1:4222,tls://q2:1,tls://q3:4222",
		"nats://localhost,[::1]:9":         "nats://localhost:4222,nats://[::1]:9",
		"nats://127.0.0.1:4222,tls://q,q2": "nats://127.0.0.1:4222,tls://q:4222,tls://q2:4222",
		"":                                 "",
	} {
		var q queueServers
		if err := q.UnmarshalText([]byte(text)); err != nil || q.String() != want {
			t.Errorf("%q: got %q, %v, want %q", text, q.String(), err, want)
		}
		if err := (QueueOptions{Queue: q, QueueReplicas: 3}).check(); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	insecure := QueueOptions{Queue: queueServers{[]string{"nats://q:4222"}}, QueueInsecure: true, QueueReplicas: 1}
	if err := insecure.check(); err != nil {
		t.Errorf("--queue-insecure: %v", err)
	}
}

// TestQueueKeyFile checks the key for secrets of entries.
func TestQueueKeyFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	var out printer
	out.stdout, out.stderr = new(bytes.Buffer), new(bytes.Buffer)
	o := QueueSecretOptions{}
	if key, err := o.queueKey(&out); key != nil || err != nil {
		t.Errorf("without --queue-key-file: %v, %v", key, err)
	}
	o.QueueKeyFile = secretFile(file)
	for text, good := range map[string]bool{strings.Repeat("0f", 32) + "\n": true, strings.Repeat("0f", 31): false, "": false, strings.Repeat("xy", 32): false} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		key, err := o.queueKey(&out)
		if (err == nil) != good || good && (len(key) != 32 || key[0] != 15) {
			t.Errorf("%q: got %v, %v", text, key, err)
		}
		if err != nil && (exitCode(err) != 2 || text != "" && strings.Contains(err.Error(), text) || !strings.Contains(hint(err, ""), "openssl rand -hex 32")) {
			t.Errorf("%q: error %v, hint %q", text, err, hint(err, ""))
		}
	}
}

// TestQueueConnect checks how a queue that cannot be used ends a command.
func TestQueueConnect(t *testing.T) {
	r := newQueueRig(t)
	runQueue("status", "--queue", "tls://127.0.0.1:1").wantExit(t, 4, "no NATS server answers at tls://127.0.0.1:1", "hint: check --queue")
	runQueue("status", "--queue", r.nats.URL()).wantExit(t, 5, "does not prove its identity", "--queue-ca FILE")
	runQueue("status", "--queue", r.nats.URL(), "--queue-ca", r.nats.CA()).wantExit(t, 6, "refuses the credentials", "--queue-creds FILE")
	r.pawl("watch", "pause", runGoing).wantExit(t, 6, "does not permit", "pawl help fleet")
	if run, _ := r.get(runGoing); run.Control != fleet.Running {
		t.Errorf("a watcher has paused the run: %+v", run)
	}
	r.pawl("submit", "check", "--queue-monitor", "http://127.0.0.1:1").wantExit(t, 1, "monitoring port")
}

// TestQueueEnvironment checks that the connection can be set in the environment, by the real program, and that it
// warns of credentials that others can read.
func TestQueueEnvironment(t *testing.T) {
	r := newQueueRig(t)
	cmd := pawlCommand(t.TempDir(), "queue", "status")
	cmd.Env = append(cmd.Env, "PAWL_QUEUE="+r.nats.URL(), "PAWL_QUEUE_CA="+r.nats.CA(), "PAWL_QUEUE_CREDS="+r.nats.Creds("watch"))
	if err := os.Chmod(r.nats.Creds("watch"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), runGoing) || !strings.Contains(string(out), "chmod 600") {
		t.Errorf("pawl queue status: %v\n%s", err, out)
	}
}

// TestQueueControl pauses, resumes, cancels and deletes runs.
func TestQueueControl(t *testing.T) {
	r := newQueueRig(t)
	wantControl := func(control fleet.Control, now bool) {
		t.Helper()
		run, ok := r.get(runGoing)
		if !ok || run.Control != control || run.Now != now || (run.Reason != "") != (control != fleet.Running) {
			t.Errorf("the run is %+v, want %s, now: %v", run, control, now)
		}
	}
	r.pawl("submit", "pause", runGoing).wantExit(t, 0, "files that are being fetched will end", "pawl queue resume "+runGoing)
	wantControl(fleet.Paused, false)
	if c := r.pawl("watch", "status"); !strings.Contains(c.stdout, "paused by ") {
		t.Errorf("pawl queue status: %s%s", c.stdout, c.stderr)
	}
	r.pawl("submit", "pause", runGoing, "--now").wantExit(t, 0, "at once")
	wantControl(fleet.Paused, true)
	r.pawl("submit", "resume", runGoing[:8]).wantExit(t, 0, "goes on")
	wantControl(fleet.Running, false)
	r.pawl("submit", "resume", "93e9").wantExit(t, 2, "could be 2 runs")
	r.pawl("submit", "pause", "ffff").wantExit(t, 2, `run "ffff" is not in the queue`, "pawl queue status")
	r.pawl("submit", "cancel", runEnded).wantExit(t, 2, "has ended", "pawl queue report "+runEnded)
	r.pawl("submit", "delete", runGoing).wantExit(t, 2, "has not ended", "pawl queue cancel "+runGoing)
	r.pawl("submit", "cancel", runGoing).wantExit(t, 0, "pawl queue delete "+runGoing)
	wantControl(fleet.Cancelled, true)
	for _, id := range []string{runGoing, runEnded} {
		r.pawl("submit", "delete", id).wantExit(t, 0, "is deleted")
		if _, ok := r.get(id); ok {
			t.Errorf("%s is still there", id)
		}
	}
	if _, ok := r.get(runReading); !ok {
		t.Error("another run was deleted")
	}
}

// TestQueueLimits changes the limits of hosts.
func TestQueueLimits(t *testing.T) {
	r := newQueueRig(t)
	limits := func() string {
		t.Helper()
		c := r.pawl("watch", "limit", "--json")
		c.wantExit(t, 0)
		return strings.NewReplacer(`{"v":1,`, "", `"hosts":`, "", `"limit":`, "", `"`, "", "}\n", ";").Replace(c.stdout)
	}
	r.pawl("submit", "limit").wantExit(t, 0, "there are no limits")
	r.pawl("submit", "limit", "Example.org=8,5/s", "*.example.org=4", "*=32").wantExit(t, 0)
	r.pawl("submit", "limit", "--run", runGoing[:5], "example.org=2").wantExit(t, 0)
	if got, want := limits(), "example.org,8,5/s;*.example.org,4;*,32;example.org,2,run:"+runGoing+";"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.pawl("submit", "limit", "EXAMPLE.org=off", "*=5/s", "other.example=off").wantExit(t, 0, `"other.example" had no limit`)
	r.pawl("submit", "limit", "--run", runGoing, "example.org=off").wantExit(t, 0)
	if got, want := limits(), "*.example.org,4;*,5/s;"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if c := r.pawl("watch", "limit"); c.stdout != "HOST           LIMIT  OF\n*.example.org  4      all runs\n*              5/s    all runs\n" {
		t.Errorf("pawl queue limit: %s%s", c.stdout, c.stderr)
	}
	r.pawl("watch", "limit", "x.example=1").wantExit(t, 6, "does not permit")
	r.pawl("submit", "limit", "--run", "ffff").wantExit(t, 2, "not in the queue")
}

// TestQueueCheck checks a good server, with and without its monitor.
func TestQueueCheck(t *testing.T) {
	r := newQueueRig(t)
	c := r.pawl("submit", "check", "--queue-monitor", r.nats.Monitor())
	c.wantExit(t, 0, "can be the queue of a fleet")
	if c.stdout != "" {
		t.Errorf("problems of a good server:\n%s", c.stdout)
	}
	c = r.pawl("submit", "check")
	c.wantExit(t, 1, "--queue-monitor http://HOST:8222")
	if strings.Count(c.stdout, "\n") != 1 || !strings.Contains(c.stdout, "sync_interval: always") {
		t.Errorf("without the monitor, the problems are\n%s", c.stdout)
	}
	var row checkRow
	if c = r.pawl("submit", "check", "--json"); json.Unmarshal([]byte(c.stdout), &row) != nil || row.V != 1 || row.Problem == "" {
		t.Errorf("--json: %s%s", c.stdout, c.stderr)
	}
}

// TestQueueStatus checks the rows of status: those of runs that have ended have counts only if they are named.
func TestQueueStatus(t *testing.T) {
	r := newQueueRig(t)
	c := r.pawl("watch", "status")
	c.wantExit(t, 0)
	for _, row := range []string{
		`RUN +STATE +HERE +FAILED +OF +RATE +ETA +LISTS`,
		runGoing + ` +running +0 +0 +1 +- +- +submitted.txt`,
		runReading + ` +reading lists +0 +0 +0\+ +- +- +submitting.txt`,
		runEnded + ` +ended +- +- +- +- +- +complete.txt`,
	} {
		if !regexp.MustCompile(`(?m)^` + row + `$`).MatchString(c.stdout) {
			t.Errorf("pawl queue status prints\n%swant %s", c.stdout, row)
		}
	}
	var row struct {
		V    int
		ID   string
		Run  struct{ State string }
		Sent *int
	}
	for id, args := range map[string][]string{runEnded: {"status", runEnded, "--json"}, runGoing: {"status", runGoing[:6], "--json"}} {
		c := r.pawl("watch", args...)
		if err := json.Unmarshal([]byte(c.stdout), &row); err != nil || row.V != 1 || row.ID != id || row.Run.State == "" || row.Sent == nil {
			t.Errorf("%q: %v, got %s%s", args, err, c.stdout, c.stderr)
		}
	}
	if c := r.pawl("watch", "status", "--json"); strings.Count(c.stdout, "\n") != 3 || strings.Count(c.stdout, `"sent"`) != 2 {
		t.Errorf("all runs as JSON: %s%s", c.stdout, c.stderr)
	}
	r.pawl("watch", "status", "nonsense").wantExit(t, 2, "not in the queue")
}

// TestQueueStatusText checks what status prints of a busy fleet.
func TestQueueStatusText(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	row := func(id string, run fleet.Run, s *fleet.Status) runRow {
		return runRow{V: 1, ID: id, run: run, Status: s}
	}
	s := fleetStatus{now: now,
		runs: []runRow{
			row(runEnded, fleet.Run{Lists: []string{"/a/old.txt"}, State: fleet.Complete}, nil),
			row(runGoing, fleet.Run{Lists: []string{"/a/files.txt", "https://h/pub/?sig=SECRET"}, State: fleet.Submitting, Control: fleet.Running}, &fleet.Status{
				Sent: 5000, Ended: map[mirror.State]int{mirror.Fetched: 1200, mirror.Unchanged: 34, mirror.Failed: 3}, Rate: 75 << 20, FileRate: 12.4, ETA: 5*time.Minute + 3300*time.Millisecond,
				Full:    []fleet.FullLane{{Lane: "r-1", Hosts: "*.example.org", Places: 8, Waiting: 17}, {Lane: "h07", Places: 16, Waiting: 2}},
				Retries: []fleet.Retry{{Round: 2, Files: 30, NotBefore: now.Add(time.Minute)}, {Round: 3, Files: 1, NotBefore: now.Add(-time.Second)}, {Round: 2, Files: 5, NotBefore: now.Add(9 * time.Second)}},
			}),
			row(runReading, fleet.Run{Lists: []string{"x"}, State: fleet.Submitted, Control: fleet.Paused, Reason: "disk full\x1b[31m"}, &fleet.Status{}),
		},
		workers: []fleet.SessionInfo{
			{ID: "1", Host: "node1", Worker: "a", Since: now.Add(-3 * time.Hour), Busy: 16, Rate: 40 << 20},
			{ID: "0123456789abcdef", Host: "node2", Since: now.Add(-5 * time.Second), Paused: "no way out"},
		},
	}
	var b bytes.Buffer
	if err := s.print(&b); err != nil {
		t.Fatal(err)
	}
	want := `RUN                 STATE                   HERE  FAILED  OF     RATE                    ETA   LISTS
0000000000000001-2  ended                   -     -       -      -                       -     old.txt
93e96d49ef6c0a11-1  reading lists           1234  3       5000+  75.0 MiB/s, 12 files/s  5m3s  files.txt pub
93e97000ef6c0a11-3  paused: disk full [31m  0     0       0      -                       -     x

WORKER            MACHINE  FOR      FILES  RATE        PAUSES BECAUSE
a                 node1    3 hours  16     40.0 MiB/s  -
0123456789abcdef  node2    5.0s     0      -           no way out

HOSTS AT THEIR LIMIT  PLACES  BATCHES WAITING  RUN
*.example.org         8       17               93e96d49ef6c0a11-1
lane h07              16      2                93e96d49ef6c0a11-1

TRIED AGAIN  ROUND  NEXT                   RUN
35 files     2      in 9.0s                93e96d49ef6c0a11-1
1 file       3      when a worker is free  93e96d49ef6c0a11-1
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// TestQueueReport reports a run from its log, before and after its end.
func TestQueueReport(t *testing.T) {
	r := newQueueRig(t)
	dir := t.TempDir()
	report, failed := filepath.Join(dir, "R.json"), filepath.Join(dir, "failed")
	file := func(name string) mirror.Item {
		return mirror.Item{Path: name, Entry: list.Entry{URLs: []string{"https://example.org/" + name}, Size: -1, List: "/lists/submitted.txt", Line: 1}}
	}
	r.log(runGoing, "1", fleet.Report{Sent: []string{"a", "b"}, Ended: []fleet.Ended{{ID: "0", File: file("0.bin"), State: mirror.Unchanged, Rounds: 1}}})
	r.log(runGoing, "2", fleet.Report{Ended: []fleet.Ended{{ID: "a", File: file("a.bin"), State: mirror.Fetched, Rounds: 1, Result: fleet.Result{Size: 10, Fetched: 10}}}})
	r.pawl("watch", "report", runGoing, "--report", report).wantExit(t, 75, "1 fetched", "1 is left")
	r.pawl("submit", "delete", runGoing).wantExit(t, 2, "has not ended")
	r.log(runGoing, "3", fleet.Report{Ended: []fleet.Ended{{ID: "b", File: file("b.bin"), State: mirror.Failed, Rounds: 3, Kind: "refused", Error: "HTTP error 404"}}})
	c := r.pawl("watch", "report", runGoing[:6], "--report", report, "--failed", failed, "--wait")
	if c.exit == 0 || c.exit == 75 || !strings.Contains(c.stderr, "1 failed") {
		t.Errorf("exit code %d, want one for a failed file\n%s", c.exit, c.stderr)
	}
	if text := readFile(t, report); !strings.Contains(text, "b.bin") || !strings.Contains(text, `"fetched":1`) {
		t.Errorf("the report is %s", text)
	}
	if text := readFile(t, failed); !strings.Contains(text, "https://example.org/b.bin") || strings.Contains(text, "a.bin") {
		t.Errorf("the failed files are %s", text)
	}
	r.pawl("watch", "report", "nonsense").wantExit(t, 2, "not in the queue")
	if c := r.pawl("watch", "status", runGoing); !regexp.MustCompile(runGoing + ` +ended +2 +1 +3 `).MatchString(c.stdout) {
		t.Errorf("pawl queue status: %s%s", c.stdout, c.stderr)
	}
	r.pawl("submit", "delete", runGoing).wantExit(t, 0, "is deleted")
}

// TestQueueWholeRun submits a list, works, and asks for the run in between and afterwards.
func TestQueueWholeRun(t *testing.T) {
	skipUnderRace(t)
	r := newQueueRig(t)
	srv := faultserver.New()
	defer srv.Close()
	home := t.TempDir()
	dir := filepath.Join(home, "data")
	var lines strings.Builder
	for i := range 12 {
		name := fmt.Sprintf("f%d.bin", i)
		srv.Put(name, faultserver.NewFile(5000, uint64(i)))
		fmt.Fprintln(&lines, srv.URL+"/"+name)
	}
	fmt.Fprintln(&lines, srv.URL+"/missing.bin")
	if err := os.WriteFile(filepath.Join(home, "files.txt"), []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	start := func(role string, args ...string) (string, int) {
		cmd := pawlCommand(home, args...)
		cmd.Env = append(cmd.Env, "PAWL_QUEUE="+r.nats.URL(), "PAWL_QUEUE_CA="+r.nats.CA(), "PAWL_QUEUE_CREDS="+r.nats.Creds(role))
		cmd.Stderr = r.Output()
		out, _ := cmd.Output()
		return strings.TrimSpace(string(out)), cmd.ProcessState.ExitCode()
	}
	id, code := start("submit", "mirror", "-q", "files.txt", "-d", dir, "--shared", "--detach")
	if code != 0 || !runID.MatchString(id) {
		t.Fatalf("--detach: exit code %d, printed %q", code, id)
	}
	if c := r.pawl("watch", "status", id); !regexp.MustCompile(id + ` +running +0 +0 +13 .* files\.txt`).MatchString(c.stdout) {
		t.Errorf("before: %s%s", c.stdout, c.stderr)
	}
	r.pawl("watch", "report", id).wantExit(t, 75, "13 are left")
	if _, code := start("work", "work", "--deadline", "60s", "-q", "-d", dir, "--shared", "--once", "--run", id, "--state", filepath.Join(home, "worker")); code != 0 {
		t.Errorf("the worker: exit code %d", code)
	}
	if c := r.pawl("watch", "status", id); !regexp.MustCompile(id + ` +ended +12 +1 +13 `).MatchString(c.stdout) {
		t.Errorf("after: %s%s", c.stdout, c.stderr)
	}
	r.pawl("watch", "report", id, "--wait").wantExit(t, 8, "12 fetched", "1 failed")
	for i := range 12 {
		if info, err := os.Stat(filepath.Join(dir, fmt.Sprintf("f%d.bin", i))); err != nil || info.Size() != 5000 {
			t.Errorf("a file: %v", err)
		}
	}
}
