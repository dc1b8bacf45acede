package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
)

// TestDaemonCommands adds, lists, pauses, resumes and removes downloads by commands, and stops the daemon.
func TestDaemonCommands(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	r := newDaemonRig(t)
	r.srv.Set(faultserver.Rate(1 << 20))
	slow, slowFile := r.put("slow.bin", 30<<20, 1)
	other, _ := r.put("other.bin", 1<<20, 2)
	r.start("--jobs", "1")
	id := r.want("add", slow, "--limit-rate", "700K", "-x", "2", "--header", "X-A: b, c", "--user-agent", "me/1", "--referer", "http://r/")
	if !regexpID.MatchString(id) {
		t.Fatalf("add prints %q", id)
	}
	r.await(id, queue.Active)
	task, _ := r.client.Task(t.Context(), idOf(id))
	if task.LimitRate != 700<<10 || task.Connections != 2 {
		t.Errorf("limits %d, %d", task.LimitRate, task.Connections)
	}
	if again := r.want("add", slow); again != id {
		t.Errorf("the same download is added twice: %s", again)
	}
	second := r.want("add", other, "--dir", "sub", "-o", "name.bin", "--checksum", "sha256:"+strings.Repeat("0", 64), "--paused")
	third := r.want("add", "--first", r.srv.URL+"/f[1-2].bin")
	if ids := strings.Fields(third); len(ids) != 2 {
		t.Errorf("a pattern for two files adds %q", third)
	}
	r.srv.WaitSent(1<<20, r.ended)

	states := make(map[string]string)
	for _, line := range strings.Split(r.want("list", "--json"), "\n") {
		var l listRow
		if err := json.Unmarshal([]byte(line), &l); err != nil || l.V != 1 || l.Path == "" {
			t.Errorf("%q: %v", line, err)
		}
		states[filepath.Base(l.Path)] = l.State + " " + l.Reason
	}
	for name, want := range map[string]string{"slow.bin": "running ", "name.bin": "paused by the user", "f1.bin": "waiting ", "f2.bin": "waiting "} {
		if states[name] != want {
			t.Errorf("list --json: %s is %q, want %q", name, states[name], want)
		}
	}
	if table := r.want("list"); strings.Count(table, "\n") != 4 || !strings.Contains(table, "waiting") {
		t.Errorf("list:\n%s", table)
	}
	if ids := r.want("list", "--ids"); !strings.Contains(ids, second+"\tname.bin") {
		t.Errorf("list --ids: %q", ids)
	}

	// Pause one by the beginning of its ID, one by its path, and all.
	f1 := strings.Fields(third)[0]
	r.want("pause", f1[:8])
	r.want("pause", filepath.Join(r.files(), "f2.bin"))
	r.want("pause")
	r.await(id, queue.Paused)
	r.want("resume", id)
	r.await(id, queue.Active)
	if got := r.want("remove", second); got != "" {
		t.Errorf("remove prints %q", got)
	}
	if _, err := r.client.Task(t.Context(), idOf(second)); err == nil {
		t.Error("the removed task is still there")
	}
	if code, took := r.stop(syscall.SIGTERM); code != 143 && runtime.GOOS != "windows" || took > 10*time.Second {
		t.Errorf("exit code %d after %v", code, took)
	}

	// Without the daemon, the queue is still shown, and a paused task can be removed.
	out := r.want("list")
	if strings.Count(out, "(by the user)") != 2 {
		t.Errorf("list without a daemon:\n%s", out)
	}
	r.want("remove", f1)
	r.refused(1, []string{"no daemon is running", "pawl daemon"}, "add", slow)
	r.refused(1, []string{"no daemon is running", "pawl daemon"}, "pause")

	r.srv.Set()
	r.start("--jobs", "1")
	if task := r.await(id, queue.Complete); task.Path != filepath.Join(r.files(), "slow.bin") || !hasContent(task.Path, slowFile) {
		t.Errorf("%s", task.Path)
	}
	if _, err := r.client.Task(t.Context(), idOf(f1)); err == nil {
		t.Error("what was removed without the daemon is there again")
	}
	if len(r.srv.Requests()) == 0 || r.srv.Requests()[0].Header.Get("X-A") != "b, c" || r.srv.Requests()[0].Header.Get("User-Agent") != "me/1" || r.srv.Requests()[0].Header.Get("Referer") != "http://r/" {
		t.Errorf("the header of the first request is %v", r.srv.Requests()[0].Header)
	}
	for range 2 { // the second time, none runs
		if got := r.want("daemon", "--stop"); got != "" {
			t.Errorf("--stop prints %q", got)
		}
	}
	<-r.ended
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d after a request to stop", code)
	}
	r.start() // the address and the state directory are free
	r.want("daemon", "--stop")
	r.refused(2, []string{"--open", "--stop"}, "daemon", "--open", "--stop")
}

// TestAddRefuses checks the refusals of pawl add, its own and the ones of the daemon.
func TestAddRefuses(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.start()
	url, _ := r.put("a.bin", 1000, 1)
	for _, tt := range []struct {
		code int
		text string
		args []string
	}{
		{2, "ftp", []string{"ftp://x/a"}},
		{2, "one URL", []string{"-o", "x", url, url + "b"}},
		{2, "below the directory", []string{"-o", "../x", url}},
		{2, "is not below", []string{"-d", "/elsewhere", url}},
		{2, "is not below", []string{"-d", "../elsewhere", url}},
		{2, "config file", []string{"-H", "example.org=A: b", url}},
		{3, "no such file", []string{"--list", filepath.Join(r.dir, "missing")}},
		{2, "names no files", []string{"--list", os.DevNull}},
	} {
		code, _, stderr := r.pawl(append([]string{"add"}, tt.args...)...)
		if code != tt.code || !strings.Contains(stderr, tt.text) {
			t.Errorf("add %q: exit code %d, %q", tt.args, code, stderr)
		}
		if strings.Contains(stderr, "--allow-empty") { // which add does not have
			t.Errorf("add %q: %q", tt.args, stderr)
		}
	}
	if tasks, err := r.client.Tasks(t.Context()); err != nil || len(tasks) != 0 {
		t.Errorf("%d tasks, %v", len(tasks), err)
	}
	// Options of all downloads in a config file are not those of an added one.
	config := filepath.Join(r.dir, "config", "pawl", "config")
	os.MkdirAll(filepath.Dir(config), 0o700)
	os.WriteFile(config, []byte("limit-rate = 1M\nconnections = 3\nheader = X-A: b\nuser = me:secret\n"), 0o600)
	task, err := r.client.Task(t.Context(), idOf(r.want("add", url)))
	if err != nil || task.LimitRate != 0 || task.Connections != 0 || len(task.Lost) > 0 {
		t.Errorf("%+v, %v", task, err)
	}
}

// TestDaemonRefuses checks the reasons and messages of a daemon that does not start.
func TestDaemonRefuses(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.start()
	_, port, _ := strings.Cut(strings.TrimPrefix(r.client.Address, "http://"), ":")
	cert := filepath.Join(r.dir, "bad.pem")
	os.WriteFile(cert, []byte("nothing"), 0o600)
	short := filepath.Join(r.dir, "short")
	os.WriteFile(short, []byte("hunter2\n"), 0o600)
	other := filepath.Join(r.dir, "other")
	for _, tt := range []struct {
		code  int
		texts []string
		args  []string
	}{
		{3, []string{"a daemon runs", fmt.Sprint("process ", r.cmd.Process.Pid), r.client.Address, "pawl add"}, nil},
		{2, []string{"another program listens", port}, []string{"--state", other, "--listen", "127.0.0.1:" + port}},
		{2, []string{"other machines", "--tls-cert", "ssh"}, []string{"--state", other, "--listen", ":0"}},
		{2, []string{"other machines", "--tls-cert"}, []string{"--state", other, "--listen", "0.0.0.0:0"}},
		{2, []string{"other machines", "--tls-cert"}, []string{"--state", other, "--listen", "[::]:0"}},
		{2, []string{"--tls-cert"}, []string{"--state", other, "--tls-key", cert}},
		{2, []string{"--tls-cert"}, []string{"--state", other, "--tls-cert", cert}},
		{2, []string{"HOST:PORT"}, []string{"--state", other, "--listen", "6800"}},
		{2, []string{"unix:"}, []string{"--state", other, "--listen", "unix:"}},
		{2, []string{"origin"}, []string{"--state", other, "--allow-origin", "example.org"}},
		{2, []string{"origin"}, []string{"--state", other, "--allow-origin", "https://example.org/path"}},
		{2, []string{"mounted", "--root"}, []string{"--state", other, "--root", filepath.Join(r.dir, "unmounted", "disk")}},
		{2, []string{"--root"}, []string{"--state", other, "--root", cert}},
		{2, []string{"16"}, []string{"--state", other, "--listen", "127.0.0.1:0", "--secret-file", short}},
	} {
		r.refused(tt.code, tt.texts, append([]string{"daemon", "--root", r.files()}, tt.args...)...)
	}
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Errorf("the first daemon: %v", err)
	}
	if link := r.want("daemon", "--open"); !strings.HasPrefix(link, r.client.Address+"/open?token=") {
		t.Errorf("--open with a daemon that runs prints %q", link)
	}
}

// TestDaemonDefaults checks where the files go without --root.
func TestDaemonDefaults(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", filepath.Join(home, "config"))
	want := func(dir string) {
		t.Helper()
		if got := downloadDir(); runtime.GOOS == "linux" && got != dir {
			t.Errorf("got %q, want %q", got, dir)
		}
	}
	want("")
	os.Mkdir(filepath.Join(home, "Downloads"), 0o755)
	want(filepath.Join(home, "Downloads"))
	os.Mkdir(filepath.Join(home, "config"), 0o755)
	os.Mkdir(filepath.Join(home, "Téléchargements"), 0o755)
	for text, dir := range map[string]string{
		`XDG_DOWNLOAD_DIR="$HOME/Téléchargements"`:                        "Téléchargements",
		"# x\nXDG_DESKTOP_DIR=\"$HOME/x\"\nXDG_DOWNLOAD_DIR=\"$HOME/\"\n": "Downloads",
		`XDG_DOWNLOAD_DIR="relative"`:                                     "Downloads",
	} {
		os.WriteFile(filepath.Join(home, "config", "user-dirs.dirs"), []byte(text), 0o644)
		want(filepath.Join(home, dir))
	}
}

// TestDaemonLists checks lists as tasks: of a URL and of a text, with problems, digests, a pause and a kill.
func TestDaemonLists(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	r := newDaemonRig(t)
	var text strings.Builder
	sums := make(map[string]faultserver.File)
	for i := range 12 {
		name := fmt.Sprintf("f%02d.bin", i)
		_, f := r.put(name, 1<<20, uint64(i))
		sums[name] = f
		fmt.Fprintf(&text, "%s/%s\n", r.srv.URL, name)
	}
	published := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(text.String())) })
	serveList := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path == "/list.txt" {
				published(w, q)
				return
			}
			next.ServeHTTP(w, q)
		})
	}
	r.srv.Set(faultserver.Rate(3<<20), serveList)
	r.start()
	id := r.want("add", "--list", r.srv.URL+"/list.txt", "-d", "all")
	r.srv.WaitSent(2<<20, r.ended)
	r.want("pause", id)
	r.await(id, queue.Paused)
	r.want("resume", id)
	r.srv.WaitSent(5<<20, r.ended)
	r.kill()
	if row := r.want("list"); !strings.Contains(row, "waiting") {
		t.Errorf("list after the kill:\n%s", row)
	}
	r.srv.Set(serveList)
	r.start()
	task := r.await(id, queue.Complete)
	if want := (queue.Files{Listed: 12, Here: 12, Read: true}); task.Files == nil || *task.Files != want {
		t.Errorf("files %+v, want %+v", task.Files, want)
	}
	for name, f := range sums {
		if !hasContent(filepath.Join(r.files(), "all", name), f) {
			t.Errorf("%s does not have the served bytes", name)
		}
	}
	if ratio := float64(r.srv.Sent()) / (12 << 20); ratio > 1.5 {
		t.Errorf("sent %.2f times the size of the files", ratio)
	}

	// A list that the user sends, with a wrong digest, a missing file, and a line without a URL.
	bad := fmt.Sprintf("%s/f00.bin\n  checksum=sha-256=%064d\n%s/missing\n%s/f01.bin\n  out=../escape\nhttp://:x/\n", r.srv.URL, 0, r.srv.URL, r.srv.URL)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	z.Write([]byte(bad))
	z.Close()
	for name, content := range map[string][]byte{"bad.txt": []byte(bad), "bad.txt.gz": zipped.Bytes()} {
		path := filepath.Join(r.dir, name)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		id := r.want("add", "--list", path, "-d", strings.ReplaceAll(name, ".", "-"))
		task := r.await(id, queue.Failed)
		f := task.Files
		if f == nil || f.Trouble == nil || f.Failed != len(f.Failures) || f.Problem != len(f.Problems) || f.Failed == 0 || f.Problem == 0 || task.Exit != 32 {
			t.Errorf("%s: exit %d, %+v", name, task.Exit, f)
			continue
		}
		if !slices.ContainsFunc(f.Failures, func(x queue.FailedFile) bool {
			return strings.HasSuffix(x.URL, "/missing") && strings.Contains(x.Reason, "404")
		}) {
			t.Errorf("%s: failures %+v", name, f.Failures)
		}
		if !strings.Contains(task.Reason, "failed") || !strings.Contains(task.Reason, fmt.Sprint(f.Failed)) {
			t.Errorf("%s: %q", name, task.Reason)
		}
	}
	if _, err := os.Stat(filepath.Join(r.files(), "escape")); err == nil {
		t.Error("a list has left its directory")
	}
	if left, _ := filepath.Glob(filepath.Join(r.state(), "lists", "text-*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	if !strings.Contains(r.log.String(), "file of a list failed") {
		t.Error("the log does not have the failed files")
	}
}

// TestDaemonResumesOthers checks that resume and remove leave the tasks of the queue to the daemon, and do the rest
// themselves.
func TestDaemonResumesOthers(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	r := newDaemonRig(t)
	r.srv.Set(faultserver.Rate(1 << 20))
	mine, f := r.put("mine.bin", 3<<20, 1)
	theirs, _ := r.put("theirs.bin", 40<<20, 2)
	expired, _ := r.put("expired.bin", 2<<20, 3)
	r.start()
	id := r.want("add", theirs)
	r.await(id, queue.Active)
	bad := r.want("add", r.srv.URL+"/gone.bin")
	r.await(bad, queue.Failed)
	cmd := pawlCommand(r.dir, append([]string{mine}, testWaits...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.srv.WaitSent(2<<20, r.ended)
	waitForRecord(r, "mine.bin")
	cmd.Process.Kill()
	cmd.Wait()
	r.want("pause", id)
	r.srv.Set()
	r.want("resume") // continues mine.bin here, and theirs.bin there
	if !hasContent(filepath.Join(r.dir, "mine.bin"), f) {
		t.Error("mine.bin does not have the served bytes")
	}
	r.await(id, queue.Complete)
	r.want("resume", bad, "--url", expired)
	if task := r.await(bad, queue.Complete); task.Size != 2<<20 {
		t.Errorf("%+v", task)
	}
}

// waitForRecord waits until some bytes of a file are on record.
func waitForRecord(r *daemonRig, name string) {
	for end := time.Now().Add(hangLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if rec, err := r.openStore().ByTarget(filepath.Join(r.dir, name)); err == nil && rec.Held.Len() > 0 {
			return
		}
	}
	r.Fatalf("nothing of %s is on record", name)
}

// TestDaemonSecret checks that --secret-file is the secret, also of the other commands, and that it stays so.
func TestDaemonSecret(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	r := newDaemonRig(t)
	path := filepath.Join(r.dir, "secret")
	const secret = "correct-horse-battery"
	os.WriteFile(path, []byte(secret+"\n"), 0o600)
	r.start("--secret-file", path)
	r.want("pause")
	client := &server.Client{Address: r.client.Address, Secret: secret}
	if _, err := client.Status(t.Context()); err != nil {
		t.Error(err)
	}
	r.stop(os.Interrupt)
	r.start()
	client = &server.Client{Address: r.client.Address, Secret: secret}
	if _, err := client.Status(t.Context()); err != nil {
		t.Errorf("without --secret-file, later: %v", err)
	}
	if strings.Contains(r.log.String(), secret) {
		t.Error("the secret is in the log")
	}
	id := r.want("add", r.srv.URL+"/members", "-u", "me:pass", "-H", "Cookie: a=b", "--paused")
	r.want("daemon", "--stop")
	r.start()
	r.want("resume", id)
	r.await(id, queue.Failed)
	if rows := r.want("list"); !strings.Contains(rows, "404") || !strings.Contains(rows, "lost: Cookie, user") {
		t.Errorf("list does not say what is missing:\n%s", rows)
	}
	stored := filepath.Join(r.state(), "daemon-secret")
	if err := os.WriteFile(stored, []byte("another-secret-of-someone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"pause"}, {"add", r.srv.URL + "/a"}, {"daemon", "--stop"}} {
		r.refused(1, []string{r.client.Address, "refuses the secret", "restart the daemon"}, args...)
	}
}

// TestDaemonListeners checks Unix sockets and several addresses, and that the socket of a killed daemon is no obstacle.
func TestDaemonListeners(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no mode of sockets")
	}
	t.Parallel()
	r := newDaemonRig(t)
	socket := filepath.Join(r.dir, "s")
	for range 2 {
		r.cmd = nil
		r.beginAt([]string{"--listen", "unix:" + socket, "--listen", "127.0.0.1:0"})
		if !r.ready() {
			t.Fatal("the daemon has ended")
		}
		if r.client.Address != "unix:"+socket {
			t.Errorf("address %s", r.client.Address)
		}
		info, err := os.Stat(socket)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
		r.want("pause")
		r.kill()
	}
	r.beginAt([]string{"--listen", "unix:" + socket})
	r.ready()
	if code, _ := r.stop(os.Interrupt); code != 130 {
		t.Errorf("exit code %d", code)
	}
	if _, err := os.Lstat(socket); err == nil {
		t.Error("the socket is left")
	}
}

// TestDaemonLog checks the forms of the log.
func TestDaemonLog(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.start("--json")
	url, _ := r.put("a.bin", 1000, 1)
	r.await(r.want("add", strings.Replace(url, "://", "://me:pass@", 1)+"?token=hidden"), queue.Complete)
	r.stop(os.Interrupt)
	log := r.log.String()
	for line := range strings.Lines(log) {
		var entry struct{ Time, Level, Msg string }
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Level == "" || entry.Msg == "" {
			t.Errorf("%q: %v", line, err)
		}
	}
	if !strings.Contains(log, `"msg":"complete"`) || strings.Contains(log, "pass") || strings.Contains(log, "hidden") {
		t.Errorf("log:\n%s", log)
	}
}

// TestDaemonSettings checks that a section of a config file and a netrc file hold for the downloads of the daemon,
// that a header field which may be secret goes to no host without being for it, and that a list obeys its limit.
func TestDaemonSettings(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	r := newDaemonRig(t)
	config := filepath.Join(r.dir, "config", "pawl", "config")
	os.MkdirAll(filepath.Dir(config), 0o700)
	os.WriteFile(config, []byte("header = X-Everywhere: 1\nheader = X-Api-Key: hidden\nlimit-rate = 50M\n[host 127.0.0.1]\nheader = X-Section: 2\nlimit-rate = 40M\n"), 0o600)
	os.WriteFile(filepath.Join(r.dir, "netrc"), []byte("machine 127.0.0.1 login me password pass\n"), 0o600)
	r.start("--netrc-file", filepath.Join(r.dir, "netrc"))
	url, _ := r.put("a.bin", 1000, 1)
	r.await(r.want("add", url), queue.Complete)
	got := r.srv.Requests()[0].Header
	if got.Get("X-Everywhere") != "1" || got.Get("X-Section") != "2" || got.Get("X-Api-Key") != "" {
		t.Errorf("header %v", got)
	}
	if !strings.Contains(r.log.String(), "X-Api-Key") || strings.Contains(r.log.String(), "hidden") {
		t.Error("the log does not say that the field is not sent, or has its value")
	}
	if status, err := r.client.Status(t.Context()); err != nil || status.LimitRate != 50<<20 {
		t.Errorf("%+v, %v", status, err)
	}

	var list strings.Builder
	for i := range 4 {
		u, _ := r.put(fmt.Sprintf("l%d", i), 512<<10, uint64(i))
		list.WriteString(u + "\n")
	}
	path := filepath.Join(r.dir, "list")
	os.WriteFile(path, []byte(list.String()), 0o600)
	begun := time.Now()
	id := r.want("add", "--list", path, "--limit-rate", "1M")
	for task := r.await(id, queue.Active); task.Rate == 0; { // the rate of all its files
		var err error
		if task, err = r.client.Task(t.Context(), idOf(id)); err != nil || task.State.Ended() {
			t.Fatalf("no rate is shown: %s, %v", task.State, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	r.await(id, queue.Complete)
	if took := time.Since(begun); took < 1200*time.Millisecond {
		t.Errorf("2 MiB at 1 MiB/s took %v", took)
	}
}

// TestResumeLeavesLists checks that resume leaves the files of a list in the queue to the daemon, and that a file can
// still be resumed by its name.
func TestResumeLeavesLists(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for _, kind := range []string{"URL", "text"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			r := newDaemonRig(t)
			r.srv.Set(faultserver.Rate(1 << 20))
			first, f := r.put("first.bin", 8<<20, 1)
			second, _ := r.put("second.bin", 8<<20, 2)
			list := filepath.Join(r.dir, "list.txt")
			if err := os.WriteFile(list, []byte(first+"\n"+second+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			if kind == "URL" {
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, first+"\n"+second) }))
				t.Cleanup(srv.Close)
				list = srv.URL + "/list.txt"
			}
			r.start()
			id := r.want("add", "--list", list, "-d", "all")
			r.srv.WaitSent(4<<20, r.ended)
			r.want("pause", id)
			r.await(id, queue.Paused)
			waitForRecord(r, "files/all/first.bin")
			waitForRecord(r, "files/all/second.bin")
			_, _, said := r.pawl("resume")
			if strings.Contains(said, "resuming at") || !strings.Contains(said, "the daemon continues it") {
				t.Errorf("resume said:\n%s", said)
			}
			r.want("pause", id)
			r.await(id, queue.Paused)
			r.srv.Set()
			r.want("resume", "files/all/first.bin")
			if !hasContent(filepath.Join(r.files(), "all", "first.bin"), f) {
				t.Error("first.bin does not have the served bytes")
			}
			r.want("resume")
			r.await(id, queue.Complete)
		})
	}
}

// TestResumeWithoutDaemon checks what resume says about a task of the queue that has no record, while no daemon runs.
func TestResumeWithoutDaemon(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	url, _ := r.put("a.bin", 1000, 1)
	r.start()
	id := r.want("add", "--paused", url)
	r.kill()
	for _, word := range []string{id, id[:6], "a.bin", url} {
		r.refused(1, []string{"is in the queue", "no daemon is running", "pawl daemon"}, "resume", word)
	}
	r.refused(2, []string{"no such download"}, "resume", "b.bin")
}

// TestLeftTextList checks that a daemon removes the text of a list that a killed one has left, also if its task is gone.
func TestLeftTextList(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.srv.Set(faultserver.Rate(1 << 20))
	url, _ := r.put("a.bin", 8<<20, 1)
	list := filepath.Join(r.dir, "list.txt")
	if err := os.WriteFile(list, []byte(url+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.start()
	id := r.want("add", "--list", list, "-d", "all")
	r.srv.WaitSent(1<<20, r.ended)
	r.kill()
	left := func() []string {
		paths, _ := filepath.Glob(filepath.Join(r.state(), "lists", "text-*"))
		return paths
	}
	if len(left()) != 1 {
		t.Fatalf("left by the kill: %q", left())
	}
	if _, _, said := r.pawl("remove", "--files", id); !strings.Contains(said, "files of the list are kept") {
		t.Errorf("remove said %q", said)
	}
	r.start()
	if len(left()) != 0 {
		t.Errorf("left: %q", left())
	}
}

// TestAddTooMuch checks what add says if the request would be too large for the daemon.
func TestAddTooMuch(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.start()
	r.refused(2, []string{"too many downloads at a time", "--list"}, "add", "--paused", "-H", "Cookie: "+strings.Repeat("x", 400), r.srv.URL+"/f[1-9999]")
}
