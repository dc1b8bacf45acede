package main

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
)

// TestDaemonSystemd starts the daemon as systemd does: with a socket, a place to notify, and a watchdog.
func TestDaemonSystemd(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	path := filepath.Join(r.dir, "notify")
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer notify.Close()
	await := func(want string) {
		t.Helper()
		notify.SetReadDeadline(time.Now().Add(hangLimit))
		for b := make([]byte, 1000); ; {
			n, err := notify.Read(b)
			if err != nil {
				t.Fatalf("%s: %v", want, err)
			}
			if strings.Contains(string(b[:n]), want) {
				return
			}
		}
	}
	pawl := pawlCommand(r.dir)
	r.cmd = pawlCommand(r.dir)
	r.cmd.Path = "/bin/sh"
	r.cmd.Args = []string{"sh", "-c", `LISTEN_PID=$$ exec "$0" daemon --root files --listen 127.0.0.1:1`, pawl.Path}
	r.cmd.Env = append(r.cmd.Env, "LISTEN_FDS=1", "NOTIFY_SOCKET="+path, "WATCHDOG_USEC=200000")
	r.cmd.ExtraFiles = []*os.File{socket}
	r.cmd.Stderr = &r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.ended = make(chan struct{})
	go func() {
		r.cmd.Wait()
		close(r.ended)
	}()
	await("READY=1")
	if !r.ready() || r.client.Address != "http://"+l.Addr().String() {
		t.Fatalf("the daemon does not use the socket %s: %+v", l.Addr(), r.client)
	}
	await("WATCHDOG=1")
	await("WATCHDOG=1")
	if err := r.client.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	await("STOPPING=1")
	<-r.ended
}

// TestDaemonHosts checks --host and --allow-origin: which others may use the daemon.
func TestDaemonHosts(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.start("--host", "nas.lan", "--host", "media.example.org", "--allow-origin", "https://ariang.example.org")
	for _, tt := range []struct {
		host, origin string
		want         bool
	}{
		{"", "", true},
		{"nas.lan:6800", "", true},
		{"media.example.org", "", true},
		{"evil.example.org", "", false},
		{"", "https://ariang.example.org", true},
		{"", "https://evil.example.org", false},
		{"", "null", false},
	} {
		req, err := http.NewRequest(http.MethodGet, r.client.Address+"/api/v1/status", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = tt.host
		req.Header.Set("Authorization", "Bearer "+r.client.Secret)
		if tt.origin != "" {
			req.Header.Set("Origin", tt.origin)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.StatusCode == http.StatusOK; got != tt.want {
			t.Errorf("host %q, origin %q: status %d", tt.host, tt.origin, res.StatusCode)
		}
	}
}

// TestThousandTasks measures the memory and the idle CPU time of a daemon with 1,000 tasks.
func TestThousandTasks(t *testing.T) {
	skipExpensive(t)
	skipUnderRace(t)
	r := newDaemonRig(t)
	r.start()
	all := make([]server.Addition, 1000)
	for i := range all {
		all[i] = server.Addition{URLs: []string{fmt.Sprintf("%s/path/to/some/file-number-%d.tar.zst", r.srv.URL, i)}, Paused: true}
	}
	begun := time.Now()
	tasks, err := r.client.Add(t.Context(), all...)
	took := time.Since(begun)
	if err != nil || len(tasks) != len(all) {
		t.Fatalf("%d tasks, %v", len(tasks), err)
	}
	time.Sleep(time.Second) // what the addition has begun ends
	pid := r.cmd.Process.Pid
	const idle = 10 * time.Second
	before := cpuTime(t, pid)
	time.Sleep(idle)
	used := cpuTime(t, pid) - before
	memory := peakOf(t, pid)
	t.Logf("added in %v; peak memory %.1f MiB; %v of CPU time in %v idle", took, float64(memory)/(1<<20), used, idle)
	if memory > 80<<20 {
		t.Errorf("peak memory %d bytes", memory)
	}
	if used > idle/200 {
		t.Errorf("%v of CPU time in %v idle", used, idle)
	}
}

// cpuTime returns the CPU time of a process so far, by proc(5).
func cpuTime(t *testing.T, pid int) time.Duration {
	t.Helper()
	_, stat, _ := strings.Cut(readFile(t, fmt.Sprintf("/proc/%d/stat", pid)), ") ")
	fields := strings.Fields(stat)
	var ticks int
	for _, f := range fields[11:13] { // utime and stime
		n, err := strconv.Atoi(f)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}

// peakOf returns the peak memory of a process in bytes.
func peakOf(t *testing.T, pid int) int64 {
	t.Helper()
	for line := range strings.Lines(readFile(t, fmt.Sprintf("/proc/%d/status", pid))) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Fatal("no VmHWM")
	return 0
}

// TestDaemonStateDisk checks a disk of the state directory that is full, or has become read-only: an
// addition fails and says why, nothing that was confirmed is lost, and all goes on when there is room.
func TestDaemonStateDisk(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	disk := filepath.Join(r.dir, "state")
	mount := func(flags uintptr, options string) error {
		return syscall.Mount("pawl-test", disk, "tmpfs", flags, options)
	}
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mount(0, "size=1m,mode=0700"); err != nil {
		if errors.Is(err, syscall.EPERM) {
			t.Skip("mounting needs root")
		}
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(disk, syscall.MNT_DETACH) })
	r.start()
	add := func(n int) string { return fmt.Sprintf("%s/%d", r.srv.URL, n) }
	var ids []string
	for i := range 3 {
		ids = append(ids, r.want("add", "--paused", add(i)))
	}

	// Full.
	fill := filepath.Join(disk, "fill")
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{64 << 10, 1} { // until there is no room for a byte
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
	}
	f.Close()
	long := "/" + strings.Repeat("x", 7000) // so that the state file must grow
	code := 0
	for i := 0; i < 200 && code == 0; i++ {
		var stderr, id string
		code, id, stderr = r.pawl("add", "--paused", fmt.Sprint(add(100+i), long))
		if code == 0 {
			ids = append(ids, strings.TrimSpace(id))
		} else if !strings.Contains(stderr, "no space left") {
			t.Errorf("a full disk: exit code %d, %q", code, stderr)
		}
	}
	if code == 0 {
		t.Error("200 additions to a full disk")
	}
	if _, err := r.client.Status(t.Context()); err != nil {
		t.Error(err)
	}
	r.kill()
	os.Remove(fill)
	r.start()
	wantTasks(r, ids)

	// Read-only.
	r.kill()
	if err := mount(syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := r.pawl("daemon", "--root", r.files(), "--listen", "127.0.0.1:0"); code != 3 || !strings.Contains(stderr, "read-only") {
		t.Errorf("a daemon on a read-only disk: exit code %d, %q", code, stderr)
	}
	if err := mount(syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	r.start()
	wantTasks(r, ids)
	r.want("resume")
	for _, id := range ids {
		r.await(id, queue.Failed) // the server has none of them
	}
}

// wantTasks checks that the daemon has these tasks, and no others.
func wantTasks(r *daemonRig, ids []string) {
	r.Helper()
	tasks, err := r.client.Tasks(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	var got []string
	for _, t := range tasks {
		got = append(got, string(t.ID))
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(ids))
	if !slices.Equal(got, want) {
		r.Errorf("%d tasks %q, want %d: %q", len(got), got, len(want), want)
	}
}

// TestWatchOfDaemon checks that the live table shows the queue of the daemon, and that its keys ask the daemon.
func TestWatchOfDaemon(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	r.srv.Set(faultserver.Rate(1 << 20))
	url, _ := r.put("f.bin", 60<<20, 1)
	r.start("--jobs", "1")
	p := openTTY(t, 110, 20)
	p.start(r.dir, nil, "list", "--watch")
	p.shows(`no unfinished downloads`)
	id := r.want("add", url)
	p.shows(`^> .*running .*/f\.bin$`)
	waiting := r.want("add", url+"2")
	p.shows(`^  .*waiting .*/f\.bin2$`)
	p.press("p")
	r.await(id, queue.Paused)
	p.shows(`^> .*paused .*/f\.bin$`)
	p.shows(`by the user`)
	p.press("r")
	r.await(id, queue.Active)
	p.press("j")
	p.shows(`^> .*/f\.bin2$`)
	p.press("x")
	p.shows(`remove .*f\.bin2" from the queue, and delete its part file .* y/n`)
	p.press("y")
	p.shows(`^> .*/f\.bin$`)
	if _, err := r.client.Task(t.Context(), idOf(waiting)); err == nil {
		t.Error("the removed task is still there")
	}
	p.press("x")
	p.shows(`y/n`)
	p.press("y")
	p.shows(`no unfinished downloads`)
	if left, _ := filepath.Glob(filepath.Join(r.files(), "*")); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
	r.kill()
	p.press("q")
	p.wait(0)
}

// TestWatchOfList checks that the keys of a file of a list of the daemon are about the list, and never about the
// process, and that the rate in the title counts no byte twice.
func TestWatchOfList(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	r := newDaemonRig(t)
	r.srv.Set(faultserver.Rate(1 << 20))
	url, _ := r.put("f.bin", 60<<20, 1)
	list := filepath.Join(r.dir, "list.txt")
	if err := os.WriteFile(list, []byte(url+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r.start()
	id := r.want("add", "--list", list, "-d", "all")
	r.await(id, queue.Active)
	waitForRecord(r, "files/all/f.bin")
	p := openTTY(t, 160, 20)
	p.start(r.dir, nil, "list", "--watch")
	p.shows(`^> .*running .*/f\.bin$`)
	p.shows(`^  .*running .*/all$`)
	p.press("p")
	p.shows(`it belongs to the list .*all" of the daemon; pause all of the list\? y/n`)
	p.press("y")
	r.await(id, queue.Paused)
	p.shows(`^> .*paused .*/f\.bin$`)
	p.press("r")
	p.shows(`resume all of the list\? y/n`)
	p.press("y")
	r.await(id, queue.Active)
	p.press("j")
	p.press("x")
	p.shows(`remove the list .*all" from the queue\? its files are kept; y/n`)
	p.press("y")
	p.shows(`^> .*paused .*/f\.bin$`)
	if _, err := os.Stat(filepath.Join(r.files(), "all", "f.bin.part")); err != nil {
		t.Error(err)
	}
	p.press("q")
	p.wait(0)

	if text := removalText(listRow{State: "done", queue: true}); !strings.Contains(text, "its file is kept") {
		t.Errorf("%q", text)
	}
	w := newTestWatch(
		listRow{ID: "0000000000000001", State: "running", Rate: 3 << 20, queue: true},
		listRow{ID: "0000000000000002", State: "running", Rate: 2 << 20, owner: "0000000000000001"},
		listRow{ID: "0000000000000003", State: "running", Rate: 1 << 20},
	)
	if got, want := w.title(), "pawl: 3 downloads, 3 running, 4.0 MiB/s"; got != want {
		t.Errorf("title %q, want %q", got, want)
	}
}
