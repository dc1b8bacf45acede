package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pawl/downloader/queue"
)

// TestDaemonHooks checks the commands that the daemon runs for tasks, for the files of lists, and when nothing is left
// to do; and that neither a config file nor a program that adds a download can set one.
func TestDaemonHooks(t *testing.T) {
	sampled(t, 8)
	if runtime.GOOS == "windows" {
		t.Skip("the hooks are for sh")
	}
	t.Parallel()
	r := newDaemonRig(t)
	config := filepath.Join(r.dir, "config", "pawl", "config")
	planted := filepath.Join(r.dir, "planted")
	os.MkdirAll(filepath.Dir(config), 0o700)
	os.WriteFile(config, []byte("on-complete = touch "+planted+"\non-end = touch "+planted+"\n"), 0o600)
	out := filepath.Join(r.dir, "out")
	said := func() string {
		text, _ := os.ReadFile(out)
		return string(text)
	}
	awaitLine := func(want string) {
		t.Helper()
		for end := time.Now().Add(hangLimit); !strings.HasSuffix(said(), want+"\n"); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("hooks have said\n%swant %q at the end", said(), want)
			}
		}
	}
	a, _ := r.put("a.bin", 1000, 1)
	r.start()
	r.await(r.addURI(a, map[string]string{"on-download-complete": "touch " + planted, "on-complete": "touch " + planted}), queue.Complete)
	r.want("daemon", "--stop")

	r.start("--jobs", "1", "--on-complete", `echo "done $(basename "$1") $PAWL_FILE_SIZE $PAWL_FILE_EXIT" >>`+out,
		"--on-error", `echo "failed $PAWL_FILE_EXIT $PAWL_FILE_URL" >>`+out, "--on-end", `echo "end $PAWL_END_EXIT" >>`+out)
	b, _ := r.put("b.bin", 2000, 2)
	c, _ := r.put("c.bin", 3000, 3)
	paused := r.want("add", "--paused", r.srv.URL+"/d.bin")
	ids := strings.Fields(r.want("add", b, r.srv.URL+"/gone", c))
	awaitLine("end 8")
	if want := "done b.bin 2000 0\nfailed 8 " + r.srv.URL + "/gone\ndone c.bin 3000 0\nend 8\n"; said() != want {
		t.Errorf("hooks have said\n%swant\n%s", said(), want)
	}
	r.want("remove", paused, ids[1])
	r.await(r.want("add", b), queue.Complete) // it is here already
	awaitLine("end 0")
	list := filepath.Join(r.dir, "list")
	os.WriteFile(list, []byte(c+"\n"+r.srv.URL+"/missing\n"), 0o600)
	os.Remove(out)
	r.await(r.want("add", "--list", list, "-d", "sub"), queue.Failed)
	awaitLine("end 8")
	if got := said(); strings.Count(got, "\n") != 3 || !strings.Contains(got, "done c.bin 3000 0\n") || !strings.Contains(got, "failed 8 "+r.srv.URL+"/missing ") {
		t.Errorf("hooks for a list have said\n%s", got)
	}
	if _, err := os.Stat(planted); err == nil {
		t.Error("a config file or a program has set a hook of the daemon")
	}
}

// TestDaemonHookEnds checks that a hook that does not end does not keep the daemon from stopping.
func TestDaemonHookEnds(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the hooks are for sh")
	}
	t.Parallel()
	r := newDaemonRig(t)
	begun := filepath.Join(r.dir, "begun")
	a, _ := r.put("a.bin", 1000, 1)
	r.start("--on-complete", "touch "+begun+"; sleep 600")
	r.await(r.want("add", a), queue.Complete)
	for end := time.Now().Add(hangLimit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(begun); err == nil {
			break
		}
	}
	r.want("daemon", "--stop")
	<-r.ended
	if !strings.Contains(r.log.String(), "interrupted") {
		t.Error("the log does not say that the hook was interrupted")
	}
}
