package queue

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// A rig is a server, a state directory, and the queue of the present process.
type rig struct {
	t     *testing.T
	net   *faultserver.Network
	srv   *faultserver.Server
	state string
	root  string
	*Queue

	minFree int64  // bytes that later processes leave free
	stop    func() // of the present process
}

// inBubble runs a test with a fake clock.
func inBubble(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Minute) }) // what was closed or cancelled just now ends
		r := &rig{t: t, net: faultserver.NewNetwork(), state: t.TempDir(), root: t.TempDir(), stop: func() {}}
		r.srv = r.net.New()
		t.Cleanup(r.srv.Close)
		t.Cleanup(func() { r.stop() })
		test(t, r)
	})
}

// open opens the queue in a new process, which does not run it yet.
func (r *rig) open(o Options) *downloader.Downloader {
	r.t.Helper()
	st, err := store.Open(r.state, store.Options{Root: r.root, MinFree: r.minFree, Warn: func(s string) { r.t.Log(s) }})
	if err != nil {
		r.t.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{Dial: r.net.Dial, Retry: downloader.RetryPolicy{Tries: 2, Wait: time.Millisecond}})
	o.Root = r.root
	if r.Queue, err = Open(st, d, o); err != nil {
		r.t.Fatal(err)
	}
	return d
}

// start opens the queue in a new process and runs it.
func (r *rig) start(o Options) {
	r.t.Helper()
	r.stop()
	d := r.open(o)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	r.stop = func() {
		r.stop = func() {}
		cancel()
		if err := <-ended; err != nil {
			r.t.Error(err)
		}
		d.Close()
	}
}

// put puts a file on the server and returns its URL.
func (r *rig) put(name string, size int64) string {
	r.srv.Put(name, faultserver.NewFile(size, 1))
	return r.srv.URL + "/" + name
}

// add adds a download and returns its ID.
func (r *rig) add(s Spec) store.ID {
	r.t.Helper()
	tasks, err := r.Add([]Spec{s}, Last, false)
	if err != nil {
		r.t.Fatal(err)
	}
	return tasks[0].ID
}

// await waits until a task has a state.
func (r *rig) await(id store.ID, want State) Task {
	r.t.Helper()
	for range 1000 {
		synctest.Wait()
		if task, err := r.Task(id); err != nil || task.State == want {
			return task
		}
		time.Sleep(100 * time.Millisecond)
	}
	task, _ := r.Task(id)
	r.t.Fatalf("%s: %s (%s), want %s", id, task.State, task.Reason, want)
	return task
}

// names returns the base names of the unfinished tasks' URLs, with their states.
func (r *rig) names() string {
	tasks, _ := r.Tasks()
	var all []string
	for _, t := range tasks {
		all = append(all, filepath.Base(t.URL())+" "+string(t.State))
	}
	return strings.Join(all, ", ")
}

func TestComplete(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		url := r.put("a.bin", 3<<20)
		r.start(Options{})
		id := r.add(Spec{URLs: []string{url}, Dir: "sub"})
		task := r.await(id, Complete)
		if task.Path != filepath.Join(r.root, "sub", "a.bin") || task.Size != 3<<20 || task.Record != id {
			t.Errorf("%+v", task)
		}
		if info, err := os.Stat(task.Path); err != nil || info.Size() != 3<<20 {
			t.Error(err)
		}
	})
}

// TestOrder checks that tasks run in their order, so many at a time, and that they move.
func TestOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		r.start(Options{Jobs: 1})
		var ids []store.ID
		for i := range 5 {
			ids = append(ids, r.add(Spec{URLs: []string{r.put(fmt.Sprintf("f%d", i), 4<<20)}}))
		}
		r.await(ids[0], Active)
		check := func(want string) {
			t.Helper()
			if got := r.names(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		}
		check("f0 active, f1 waiting, f2 waiting, f3 waiting, f4 waiting")
		for _, c := range []struct {
			id       store.ID
			to       Place
			position int
			want     string
		}{
			{ids[4], Place{Start, 0}, 0, "f0 active, f4 waiting, f1 waiting, f2 waiting, f3 waiting"},
			{ids[4], Place{Current, 1}, 1, "f0 active, f1 waiting, f4 waiting, f2 waiting, f3 waiting"},
			{ids[1], Place{End, 0}, 3, "f0 active, f4 waiting, f2 waiting, f3 waiting, f1 waiting"},
			{ids[1], Place{Current, -9}, 0, "f0 active, f1 waiting, f4 waiting, f2 waiting, f3 waiting"},
			{ids[3], Place{End, -1}, 2, "f0 active, f1 waiting, f4 waiting, f3 waiting, f2 waiting"},
		} {
			got, err := r.Move(c.id, c.to)
			if err != nil || got != c.position {
				t.Errorf("%v: position %d, %v; want %d", c.to, got, err, c.position)
			}
			check(c.want)
		}
		r.stop()
		r.start(Options{Jobs: 1})
		r.await(ids[0], Active)
		check("f0 active, f1 waiting, f4 waiting, f3 waiting, f2 waiting")
		var order []string
		for e := range r.Listen(t.Context()) {
			if e.Kind == Finished {
				if order = append(order, filepath.Base(e.Task.Path)); len(order) == 5 {
					break
				}
			}
		}
		if got := strings.Join(order, " "); got != "f0 f1 f4 f3 f2" {
			t.Errorf("order %s", got)
		}
	})
}

// TestRanks checks that the order survives however often tasks move between the same two.
func TestRanks(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		var ids []store.ID
		for i := range 4 {
			ids = append(ids, r.add(Spec{URLs: []string{r.srv.URL + "/" + fmt.Sprintf("f%d", i)}}))
		}
		for i := range 200 {
			if _, err := r.Move(ids[2+i%2], Place{Start, 1}); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		want := r.names()
		r.open(Options{})
		if got := r.names(); got != want || !strings.HasPrefix(got, "f0 waiting, f3") {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

// TestPause checks that a pause keeps the bytes, outlives the process, and ends with Resume.
func TestPause(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		url := r.put("a.bin", 64<<20)
		r.start(Options{})
		id := r.add(Spec{URLs: []string{url}})
		r.await(id, Active)
		time.Sleep(5 * time.Second)
		if err := errors.Join(r.Pause(id), r.Pause(id)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		sent := r.srv.Sent()
		r.start(Options{})
		time.Sleep(time.Minute)
		task := r.await(id, Paused)
		if r.srv.Sent() != sent || task.Held < 1<<20 || task.Held > sent {
			t.Errorf("paused: %d bytes sent, then %d; task %+v", sent, r.srv.Sent(), task)
		}
		if err := r.Resume(id); err != nil {
			t.Fatal(err)
		}
		r.await(id, Active)
		time.Sleep(5 * time.Second)
		if err := errors.Join(r.Pause(id), r.Resume(id)); err != nil { // before it has stopped
			t.Fatal(err)
		}
		if task, _ := r.Task(id); task.State != Waiting || r.Summary().Waiting != 1 {
			t.Errorf("%s, while it stops", task.State)
		}
		r.await(id, Complete)
		if more := r.srv.Sent() - 64<<20; more > 4<<20 {
			t.Errorf("%d bytes were sent twice", more)
		}
	})
}

// TestTwice checks that a download that is in the queue, or that was begun without it, is not added twice.
func TestTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		url := r.put("a.bin", 1<<20)
		id := r.add(Spec{URLs: []string{url}})
		if again := r.add(Spec{URLs: []string{url}, Referer: "http://x/"}); again != id {
			t.Errorf("%s and %s", id, again)
		}
		if task, _ := r.Task(id); task.Referer == "" {
			t.Error("the spec of the second one is lost")
		}
		if other := r.add(Spec{URLs: []string{url}, Dir: "other"}); other == id {
			t.Error("another directory is another download")
		}
	})
}

// TestSecrets checks that secrets are not in the state file, and that tasks run without them.
func TestSecrets(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var cookies []string
		r.srv.Set(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				cookies = append(cookies, req.Header.Get("Cookie"))
				if _, pass, _ := req.BasicAuth(); pass != "hidden2" || req.Header.Get("Cookie") == "" {
					w.Header().Set("Content-Type", "text/html")
					w.Write([]byte("<html>log in</html>"))
					return
				}
				next.ServeHTTP(w, req)
			})
		})
		url := strings.Replace(r.put("a.bin", 1<<20), "://", "://me:hidden2@", 1)
		r.open(Options{})
		id := r.add(Spec{URLs: []string{url}, Header: http.Header{"Cookie": {"hidden1"}}, Referer: "http://h/hidden3"})
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		state, _ := os.ReadFile(filepath.Join(r.state, store.FileName))
		if strings.Contains(string(state), "hidden") || !strings.Contains(string(state), "Cookie") {
			t.Error("a secret, or no name of it, is in the state file")
		}
		r.start(Options{})
		task := r.await(id, Failed)
		if !slices.Equal(task.Lost, []string{"Cookie", "user", "Referer"}) {
			t.Errorf("lost %q", task.Lost)
		}
		if _, err := os.Stat(filepath.Join(r.root, "a.bin")); err == nil {
			t.Error("the login page is stored as the file")
		}
		err := r.Change(id, func(s *Spec) error {
			s.URLs = []string{url}
			s.Header, s.Referer = http.Header{"Cookie": {"hidden1"}}, "http://h/hidden3"
			return nil
		})
		if err := errors.Join(err, r.Resume(id)); err != nil {
			t.Fatal(err)
		}
		if task := r.await(id, Complete); len(task.Lost) > 0 {
			t.Errorf("lost %q", task.Lost)
		}
	})
}

// TestRemove checks which files and entries of removed tasks are left.
func TestRemove(t *testing.T) {
	for _, files := range []bool{false, true} {
		t.Run(fmt.Sprint("files=", files), func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *rig) {
				r.start(Options{Jobs: 1})
				done := r.add(Spec{URLs: []string{r.put("done", 1<<20)}})
				r.await(done, Complete)
				r.srv.Set(faultserver.Rate(1 << 20))
				active := r.add(Spec{URLs: []string{r.put("active", 64<<20)}})
				waiting := r.add(Spec{URLs: []string{r.put("waiting", 1<<20)}})
				r.await(active, Active)
				time.Sleep(3 * time.Second)
				if err := r.Remove(files, done, active, waiting); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				if _, ended := r.Tasks(); len(ended) != 1 || ended[0].State != Removed {
					t.Errorf("history %v", ended)
				}
				var left []string
				entries, _ := os.ReadDir(r.root)
				for _, e := range entries {
					left = append(left, e.Name())
				}
				want := "active.part done"
				if files {
					want = ""
				}
				if got := strings.Join(left, " "); got != want {
					t.Errorf("left: %s; want: %s", got, want)
				}
				if got := r.names(); got != "" {
					t.Errorf("unfinished: %s", got)
				}
			})
		})
	}
}

// TestLimitsChange checks that a new limit and a new URL hold for a running download.
func TestLimitsChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		url := r.put("a.bin", 64<<20)
		r.put("b.bin", 64<<20) // the same bytes
		r.start(Options{})
		id := r.add(Spec{URLs: []string{url}, Connections: 1})
		time.Sleep(3 * time.Second)
		err := r.Change(id, func(s *Spec) error {
			s.URLs[0] = r.srv.URL + "/" + "b.bin"
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = r.Change(id, func(s *Spec) error {
			s.Dir = "elsewhere"
			return nil
		})
		if !errors.Is(err, ErrState) {
			t.Errorf("a download that has begun moves: %v", err)
		}
		r.await(id, Complete)
		if more := r.srv.Sent() - 64<<20; more > 2<<20 {
			t.Errorf("%d bytes were sent twice", more)
		}
	})
}

// TestHistory checks that the history is bounded.
func TestHistory(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{History: 3})
		var last store.ID
		for i := range 6 {
			last = r.add(Spec{URLs: []string{r.put(fmt.Sprintf("f%d", i), 100)}})
			r.await(last, Complete)
		}
		r.start(Options{History: 3})
		_, ended := r.Tasks()
		if len(ended) != 3 || ended[2].ID != last {
			t.Errorf("%d ended", len(ended))
		}
		r.Forget()
		r.start(Options{})
		if _, ended := r.Tasks(); len(ended) != 0 {
			t.Errorf("%d ended", len(ended))
		}
	})
}

// TestSummary checks that the counts, IDs and positions are those of the tasks, and that an unfinished
// download shows its bytes while it does not run.
func TestSummary(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		r.start(Options{Jobs: 1})
		first := r.add(Spec{URLs: []string{r.put("a.bin", 8<<20)}})
		second, third := r.add(Spec{URLs: []string{r.put("b.bin", 8<<20)}}), r.add(Spec{URLs: []string{r.put("c.bin", 8<<20)}})
		r.await(first, Active)
		if err := r.Pause(second); err != nil {
			t.Fatal(err)
		}
		if got, want := r.Summary(), (Summary{Active: 1, Waiting: 1, Paused: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		if ids, ended := r.IDs(); !slices.Equal(ids, []store.ID{first, second, third}) || len(ended) != 0 {
			t.Errorf("got %v and %v", ids, ended)
		}
		if running := r.Running(); len(running) != 1 || running[0].ID != first {
			t.Errorf("got %v", running)
		}
		for id, want := range map[store.ID]int{second: 0, third: 1} {
			if n, ok := r.Position(id); n != want || !ok {
				t.Errorf("got %d, %t, want %d", n, ok, want)
			}
		}
		if _, ok := r.Position(first); ok {
			t.Error("a running task has a position")
		}
		time.Sleep(3 * time.Second)
		before, _ := r.Task(first)
		if err := r.Pause(first); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Second)
		task, _ := r.Task(first)
		if d, running := r.Detail(first); running || d.Held.Len() == 0 || d.Held.Len() != task.Held {
			t.Errorf("got %v of %d bytes, running %t", d.Held, task.Held, running)
		}
		if !task.Updated.After(before.Updated) {
			t.Errorf("updated at %v, and before the pause at %v", task.Updated, before.Updated)
		}
	})
}

// TestCheck checks that Check refuses the same specs as Add.
func TestCheck(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{RunList: func(context.Context, Task, *downloader.Handle, func(Files)) error { return nil }})
		const u = "http://127.0.0.1/f"
		for _, s := range []Spec{
			{}, {URLs: []string{"ftp://h/f"}}, {URLs: []string{u}, Dir: "/elsewhere"}, {URLs: []string{u}, Dir: ".."}, {URLs: []string{u}, Dir: "a\x00b"},
			{URLs: []string{u}, Name: "../f"}, {URLs: []string{u}, Name: "/f"}, {URLs: []string{u}, Name: "f\x00"},
			{List: true}, {List: true, URLs: []string{u}, Text: []byte("x")}, {List: true, URLs: []string{u, u}},
		} {
			if err := r.Check(s); !errors.Is(err, ErrSpec) {
				t.Errorf("%+v: Check returns %v", s, err)
			}
			if _, err := r.Add([]Spec{s}, Last, false); !errors.Is(err, ErrSpec) {
				t.Errorf("%+v: Add returns %v", s, err)
			}
		}
		if err := r.Check(Spec{URLs: []string{u}, Dir: "sub", Name: "a/b"}); err != nil {
			t.Error(err)
		}
	})
}

// TestChosenID checks that a new task has the ID that was chosen for it, and that no two tasks have the same.
func TestChosenID(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{})
		const id = "00000000000000ab"
		url := r.put("a.bin", 1<<20)
		if got := r.add(Spec{URLs: []string{url}, ChosenID: id}); got != id {
			t.Fatalf("got %s", got)
		}
		if got := r.add(Spec{URLs: []string{url}, ChosenID: "00000000000000ac"}); got != id {
			t.Errorf("a download that is there already has the ID %s", got)
		}
		other := r.put("b.bin", 1<<20)
		if _, err := r.Add([]Spec{{URLs: []string{other}, ChosenID: id}}, Last, false); !errors.Is(err, ErrIDTaken) {
			t.Errorf("got %v", err)
		}
		if _, err := r.Add([]Spec{{URLs: []string{other}, ChosenID: "00AB"}}, Last, false); !errors.Is(err, ErrSpec) {
			t.Errorf("got %v", err)
		}
		if task := r.await(id, Complete); task.Record != id {
			t.Errorf("the record is %s", task.Record)
		}
	})
}

// TestAddTwice checks that a download which is twice in one call has one task, with the last settings.
func TestAddTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		const u = "http://127.0.0.1/f"
		tasks, err := r.Add([]Spec{{URLs: []string{u}}, {URLs: []string{"http://me:secret@127.0.0.1/f"}, LimitRate: 5}, {URLs: []string{u}, Name: "g"}}, Last, true)
		if err != nil {
			t.Fatal(err)
		}
		unfinished, _ := r.Tasks()
		if len(unfinished) != 2 || tasks[0].ID != tasks[1].ID || unfinished[0].LimitRate != 5 || unfinished[1].Name != "g" {
			t.Errorf("got %+v", unfinished)
		}
	})
}

// TestAddAgain checks that a download which is added again, as it was shown, keeps its hidden settings.
func TestAddAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{})
		url := r.srv.URL + "/missing"
		withUser := strings.Replace(url, "://", "://me:secret@", 1)
		header := http.Header{"Cookie": {"a=b"}}
		first := r.add(Spec{URLs: []string{withUser}, Header: header, Name: "x"})
		r.await(first, Failed)
		for _, c := range []struct {
			spec   Spec
			cookie string
			url    string
		}{
			{Spec{URLs: []string{url}, Name: "x"}, "a=b", withUser},
			{Spec{URLs: []string{url}, Name: "x", Header: http.Header{"Cookie": {"c=d"}}}, "c=d", url},
			{Spec{URLs: []string{url}, Name: "y"}, "", url},
		} {
			id := r.add(c.spec)
			if task, _ := r.Task(id); task.Header.Get("Cookie") != c.cookie || task.URLs[0] != c.url {
				t.Errorf("%+v: got %v and %s", c.spec, task.Header, task.URLs[0])
			}
			r.await(id, Failed)
		}
		sum, err := chunk.ParseSum("sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709")
		if err != nil {
			t.Fatal(err)
		}
		again := Spec{URLs: []string{r.put("a.bin", 64<<20)}, Header: header, Sum: sum}
		r.srv.Set(faultserver.Rate(1 << 20))
		id := r.add(again)
		r.await(id, Active)
		again.Header, again.Sum = nil, chunk.Sum{}
		if got := r.add(again); got != id {
			t.Errorf("%s and %s", got, id)
		}
		if task, _ := r.Task(id); task.Header == nil || task.State != Active || task.Sum != sum {
			t.Errorf("%s, header %v, digest %s", task.State, task.Header, task.Sum)
		}
	})
}
