package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// TestOnlyLimitsChange checks that new limits do not restart a running download, and that they are stored.
func TestOnlyLimitsChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		r.start(Options{})
		id := r.add(Spec{URLs: []string{r.put("a.bin", 32<<20)}, Connections: 1})
		r.await(id, Active)
		time.Sleep(3 * time.Second)
		requests := len(r.srv.Requests())
		events := r.Listen(t.Context())
		err := r.Change(id, func(s *Spec) error {
			s.LimitRate = 100 << 20
			return nil
		})
		if err := errors.Join(err, r.Sync()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		if n := len(r.srv.Requests()); n != requests {
			t.Errorf("%d requests before, and %d after", requests, n)
		}
		if e := <-events; e.Kind != Changed || e.Task.State != Active || e.Task.LimitRate != 100<<20 {
			t.Errorf("event %s: %s, limit %d", e.Kind, e.Task.State, e.Task.LimitRate)
		}
		r.start(Options{})
		if task, _ := r.Task(id); task.LimitRate != 100<<20 || task.Connections != 1 {
			t.Errorf("after a restart: %d, %d", task.LimitRate, task.Connections)
		}
		r.await(id, Complete)
	})
}

// TestRefusedChange checks that a change that is refused changes nothing.
func TestRefusedChange(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		url := r.put("a.bin", 1<<20)
		id := r.add(Spec{URLs: []string{url}})
		mine := errors.New("mine")
		for name, change := range map[string]func(*Spec) error{
			"own error":              func(s *Spec) error { s.URLs[0] = "http://other/"; return mine },
			"no URL":                 func(s *Spec) error { s.URLs = nil; return nil },
			"bad URL":                func(s *Spec) error { s.URLs[0] = "ftp://x/"; return nil },
			"another directory":      func(s *Spec) error { s.Dir = "/elsewhere"; return nil },
			"parent directory":       func(s *Spec) error { s.Dir = "../x"; return nil },
			"name in a parent":       func(s *Spec) error { s.Name = "../x"; return nil },
			"a list without RunList": func(s *Spec) error { s.List = true; return nil },
		} {
			err := r.Change(id, change)
			if name == "own error" && !errors.Is(err, mine) || name != "own error" && !errors.Is(err, ErrSpec) {
				t.Errorf("%s: %v", name, err)
			}
			if task, _ := r.Task(id); !slices.Equal(task.URLs, []string{url}) || task.Dir != r.root || task.Name != "" || task.List {
				t.Errorf("%s: %+v", name, task.Spec)
			}
		}
	})
}

// TestResumeFailed checks that a failed task waits again at the end of the queue, without the old reason.
func TestResumeFailed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{Jobs: 1, ExitCode: func(error) int { return 8 }})
		id := r.add(Spec{URLs: []string{r.srv.URL + "/missing"}})
		failed := r.await(id, Failed)
		if failed.Exit != 8 || failed.Reason == "" || failed.Ended.IsZero() {
			t.Errorf("%+v", failed)
		}
		r.srv.Set(faultserver.Rate(1 << 20))
		for i := range 2 {
			r.add(Spec{URLs: []string{r.put(fmt.Sprintf("f%d", i), 4<<20)}})
		}
		r.put("missing", 1<<20)
		synctest.Wait()
		if err := r.Resume(id); err != nil {
			t.Fatal(err)
		}
		if got := r.names(); got != "f0 active, f1 waiting, missing waiting" {
			t.Errorf("order: %s", got)
		}
		if task, _ := r.Task(id); task.Exit != 0 || task.Reason != "" || !task.Ended.IsZero() {
			t.Errorf("%+v", task)
		}
		r.start(Options{Jobs: 1})
		r.await(id, Complete)
		if err := r.Resume(id); !errors.Is(err, ErrState) {
			t.Errorf("resume of a complete task: %v", err)
		}
		if err := r.Pause(id); !errors.Is(err, ErrState) {
			t.Errorf("pause of a complete task: %v", err)
		}
	})
}

// TestPauseAndResume checks that a task continues that is resumed while its pause is still going on.
func TestPauseAndResume(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		r.start(Options{})
		id := r.add(Spec{URLs: []string{r.put("a.bin", 8<<20)}})
		r.await(id, Active)
		time.Sleep(2 * time.Second)
		for range 3 {
			if err := errors.Join(r.Pause(id), r.Resume(id)); err != nil {
				t.Fatal(err)
			}
		}
		r.await(id, Complete)
	})
}

// TestAddRecord checks that a download that another command has begun continues as a task.
func TestAddRecord(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		url, other := r.put("a.bin", 8<<20), r.put("b.bin", 1<<20)
		d := r.open(Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		d.Get(ctx, downloader.Request{URL: url, Into: downloader.File{Dir: r.root, Output: "mine.bin"}, Access: downloader.Access{
			Credentials: func(string) downloader.Credentials {
				return downloader.Credentials{Header: http.Header{"X": {"1"}}, Options: []string{"-H 'X: …'"}}
			},
		}})
		finished, err := d.Get(t.Context(), downloader.Request{URL: other, Into: downloader.File{Dir: r.root}})
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := t.TempDir()
		ctx, cancel = context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		d.Get(ctx, downloader.Request{URL: r.put("c.bin", 8<<20), Into: downloader.File{Dir: elsewhere}})
		d.Close()
		st, _ := store.Open(r.state, store.Options{})
		mine, err := st.ByTarget(filepath.Join(r.root, "mine.bin"))
		if err != nil {
			t.Fatal(err)
		}
		outside, err := st.ByTarget(filepath.Join(elsewhere, "c.bin"))
		if err != nil {
			t.Fatal(err)
		}

		r.start(Options{})
		for id, want := range map[store.ID]error{finished.ID: ErrState, outside.ID: ErrSpec, "0123456789abcdef": store.ErrNotFound} {
			if _, err := r.AddRecord(id, false); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", id, err, want)
			}
		}
		sent := r.srv.Sent()
		task, err := r.AddRecord(mine.ID, true)
		if err != nil || task.ID != mine.ID || task.State != Paused || task.Name != "mine.bin" || task.Held != mine.Held.Len() || task.URL() != url || len(task.Lost) == 0 {
			t.Errorf("%+v, %v", task, err)
		}
		if again, err := r.AddRecord(mine.ID, false); err != nil || again.ID != mine.ID || again.State != Paused {
			t.Errorf("%+v, %v", again, err)
		}
		if err := r.Resume(mine.ID); err != nil {
			t.Fatal(err)
		}
		if task := r.await(mine.ID, Complete); task.Path != mine.Target {
			t.Errorf("%s", task.Path)
		}
		if got, most := r.srv.Sent()-sent, 8<<20-mine.Held.Len()+1<<20; got > most {
			t.Errorf("sent %d bytes, at most %d were missing", got, most)
		}
	})
}

// TestFullDisk checks that nothing starts for a while after the disk was full, that all tasks say why,
// and that none fails.
func TestFullDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.minFree = 1 << 60
		r.start(Options{Jobs: 2})
		var ids []store.ID
		for i := range 5 {
			ids = append(ids, r.add(Spec{URLs: []string{r.put(fmt.Sprintf("f%d", i), 1<<20)}}))
		}
		time.Sleep(spaceWait / 2)
		tasks, ended := r.Tasks()
		if len(ended) > 0 || len(tasks) != 5 {
			t.Fatalf("%d ended, %d wait", len(ended), len(tasks))
		}
		for _, task := range tasks {
			if task.State != Waiting || !strings.Contains(task.Reason, "must stay free") {
				t.Errorf("%s: %q", task.State, task.Reason)
			}
		}
		requests := len(r.srv.Requests())
		if requests == 0 || requests > 2 {
			t.Errorf("%d requests", requests)
		}
		time.Sleep(10 * spaceWait)
		if n := len(r.srv.Requests()) - requests; n < 5 || n > 20 {
			t.Errorf("%d more requests in ten times the wait", n)
		}
		r.minFree = 0
		r.start(Options{Jobs: 2})
		for _, id := range ids {
			if task := r.await(id, Complete); task.Reason != "" {
				t.Errorf("complete, but %s", task.Reason)
			}
		}
	})
}

// TestHoldsUp checks which failures of a task hold up all tasks.
func TestHoldsUp(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{store.ErrNoSpace, true},
		{fmt.Errorf("x: %w", store.ErrDoesNotFit), false},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, true},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.EROFS}, true},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.EACCES}, false},
		{fmt.Errorf("%w: %w", store.ErrState, fs.ErrPermission), true},
		{store.ErrForeign, false},
		{errors.New("x"), false},
	} {
		if got := holdsUp(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}

// TestBusyFile checks that a task waits while another process downloads its file, and that others run
// meanwhile.
func TestBusyFile(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		url := r.put("a.bin", 30<<20)
		d := r.open(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			_, err := d.Get(ctx, downloader.Request{URL: url, Into: downloader.File{Dir: r.root}})
			ended <- err
		}()
		time.Sleep(3 * time.Second)
		r.start(Options{Jobs: 1})
		id := r.add(Spec{URLs: []string{url}})
		events := r.Listen(t.Context())
		other := r.add(Spec{URLs: []string{r.put("b.bin", 1<<20)}})
		r.await(other, Complete)
		task := r.await(id, Waiting)
		if task.Reason == "" {
			t.Error("it does not say why it waits")
		}
		delayed := false
		for len(events) > 0 {
			e := <-events
			delayed = delayed || e.Kind == Delayed
		}
		if !delayed {
			t.Error("no event")
		}
		cancel()
		<-ended
		d.Close()
		r.await(id, Complete)
	})
}

// TestListenOverflow checks that a listener that does not read is dropped, and that others are not.
func TestListenOverflow(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		slow, fast := r.Listen(t.Context()), r.Listen(t.Context())
		ctx, cancel := context.WithCancel(t.Context())
		gone := r.Listen(ctx)
		cancel()
		synctest.Wait()
		if _, ok := <-gone; ok {
			t.Error("a listener whose context has ended gets events")
		}
		id := r.add(Spec{URLs: []string{r.srv.URL + "/a"}})
		got := 0
		for range maxEvents + 10 {
			if err := errors.Join(r.Pause(id), r.Resume(id)); err != nil {
				t.Fatal(err)
			}
			for len(fast) > 0 {
				<-fast
				got++
			}
		}
		if want := 1 + 2*(maxEvents+10); got != want {
			t.Errorf("the listener that reads got %d events of %d", got, want)
		}
		n := 0
		for range slow { // ends because the channel is closed
			n++
		}
		if n != maxEvents {
			t.Errorf("the listener that does not read has %d events, want %d", n, maxEvents)
		}
	})
}

// TestSyncFails checks that changes that cannot be stored are reported, start nothing, and are stored
// when that is possible again.
func TestSyncFails(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var warnings []string
		r.start(Options{Warn: func(s string) { warnings = append(warnings, s) }})
		first := r.add(Spec{URLs: []string{r.put("a.bin", 1<<20)}})
		r.await(first, Complete)
		requests := len(r.srv.Requests())

		away := r.state + ".away"
		if err := errors.Join(os.Rename(r.state, away), os.WriteFile(r.state, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		id := r.add(Spec{URLs: []string{r.put("b.bin", 1<<20)}})
		if err := r.Sync(); !errors.Is(err, store.ErrState) {
			t.Errorf("got %v, want an error of the state", err)
		}
		time.Sleep(time.Minute)
		if n := len(r.srv.Requests()); n != requests {
			t.Errorf("%d requests although the task is not durable", n-requests)
		}
		synctest.Wait()
		if len(warnings) != 1 {
			t.Errorf("%d warnings: %q", len(warnings), warnings)
		}
		if err := errors.Join(os.Remove(r.state), os.Rename(away, r.state)); err != nil {
			t.Fatal(err)
		}
		if err := r.Sync(); err != nil {
			t.Error(err)
		}
		r.await(id, Complete)
		r.start(Options{})
		if _, ended := r.Tasks(); len(ended) != 2 {
			t.Errorf("%d ended", len(ended))
		}
	})
}

// TestEntries checks that entries in the state file that this version cannot read are left alone.
func TestEntries(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		id := r.add(Spec{URLs: []string{r.put("a.bin", 1<<20)}})
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		st, _ := store.Open(r.state, store.Options{})
		stored, _ := st.Queue()
		task := string(stored[string(id)])
		foreign := map[string][]byte{
			"newer":    []byte(strings.Replace(task, `"v":1`, `"v":99`, 1)),
			"no json":  []byte("{"),
			"no state": []byte(`{"v":1,"id":"0123456789abcdef"}`),
			"unknown":  []byte(strings.NewReplacer(string(id), "0123456789abcdef", `"v":1`, `"v":1,"later":{"a":1}`).Replace(task)),
		}
		if err := st.ChangeQueue(foreign); err != nil {
			t.Fatal(err)
		}
		var warnings []string
		r.open(Options{Warn: func(s string) { warnings = append(warnings, s) }})
		tasks, _ := r.Tasks()
		var ids []string
		for _, task := range tasks {
			ids = append(ids, string(task.ID))
		}
		want := []string{string(id), "0123456789abcdef"}
		slices.Sort(ids)
		slices.Sort(want)
		if !slices.Equal(ids, want) || len(warnings) != 3 {
			t.Errorf("tasks %q, warnings %q", ids, warnings)
		}
		if after, _ := st.Queue(); len(after) != 5 {
			t.Errorf("%d entries are left, want all 5", len(after))
		}
	})
}

// TestTemplate checks that the template of the requests holds for all tasks, that Complete may add to a request, and
// that the settings of the task have priority.
func TestTemplate(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		for _, name := range []string{"a.bin", "b.bin"} {
			if err := os.WriteFile(filepath.Join(r.root, name), []byte("mine"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		credentials := func(string) downloader.Credentials {
			return downloader.Credentials{Header: http.Header{"X-Host": {"1"}}}
		}
		r.start(Options{
			Request: downloader.Request{
				Existing: downloader.Existing{InTheWay: downloader.Rename}, MaxSize: 2 << 20,
				Access: downloader.Access{Header: http.Header{"X-All": {"1"}, "X-Own": {"1"}}},
			},
			Complete: func(t Task, req *downloader.Request) { req.Access.Credentials = credentials },
		})
		first := r.add(Spec{URLs: []string{r.put("a.bin", 1<<20)}, Header: http.Header{"X-Own": {"2"}}})
		if task := r.await(first, Complete); filepath.Base(task.Path) != "a.1.bin" {
			t.Errorf("path %s", task.Path)
		}
		got := r.srv.Requests()[0].Header
		if got.Get("X-All") != "1" || got.Get("X-Own") != "2" || got.Get("X-Host") != "1" {
			t.Errorf("header %v", got)
		}
		second := r.add(Spec{URLs: []string{r.put("b.bin", 1<<20)}, Existing: downloader.Existing{InTheWay: downloader.Replace}})
		if task := r.await(second, Complete); filepath.Base(task.Path) != "b.bin" {
			t.Errorf("path %s", task.Path)
		}
		r.await(r.add(Spec{URLs: []string{r.put("large.bin", 3<<20)}}), Failed)
	})
}

// A countingContext counts the functions that wait for its end.
type countingContext struct {
	context.Context
	done    chan struct{}
	waiting int
}

func (c *countingContext) Done() <-chan struct{} { return c.done }

// AfterFunc is called by context.AfterFunc.
func (c *countingContext) AfterFunc(func()) (stop func() bool) {
	c.waiting++
	return func() bool {
		c.waiting--
		return true
	}
}

// TestListenOverflowFrees checks that a context does not keep a listener that was dropped.
func TestListenOverflowFrees(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		ctx := &countingContext{Context: t.Context(), done: make(chan struct{})}
		events := r.Listen(ctx)
		id := r.add(Spec{URLs: []string{r.srv.URL + "/a"}})
		for range maxEvents {
			if err := errors.Join(r.Pause(id), r.Resume(id)); err != nil {
				t.Fatal(err)
			}
		}
		for range events { // ends because the channel is closed
		}
		if ctx.waiting != 0 {
			t.Errorf("%d functions wait for the end of the context", ctx.waiting)
		}
	})
}

// TestMoveWhilePausing checks that a task moves as soon as it is paused, or waits for its next run, although its
// run has not stopped yet, and that all positions count it.
func TestMoveWhilePausing(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.srv.Set(faultserver.Rate(1 << 20))
		r.start(Options{Jobs: 2})
		var ids []store.ID
		for i := range 4 {
			ids = append(ids, r.add(Spec{URLs: []string{r.put(fmt.Sprintf("f%d", i), 64<<20)}}))
		}
		r.await(ids[0], Active)
		r.await(ids[1], Active)
		for _, c := range []struct {
			name   string
			change func() error
		}{
			{"paused", func() error { return r.Pause(ids[1]) }},
			{"resumed before it stopped", func() error { return errors.Join(r.Pause(ids[0]), r.Resume(ids[0])) }},
		} {
			id := ids[1]
			if c.name != "paused" {
				id = ids[0]
			}
			if err := c.change(); err != nil {
				t.Fatal(err)
			}
			if got, err := r.Move(id, Place{Start, 1}); got != 1 || err != nil {
				t.Errorf("%s: moved to %d: %v", c.name, got, err)
			}
			if got, ok := r.Position(id); got != 1 || !ok || r.Positions()[id] != 1 {
				t.Errorf("%s: position %d, %t, and in the list %d", c.name, got, ok, r.Positions()[id])
			}
		}
	})
}

// TestOtherRoot checks that a task of an earlier process with another Root writes nothing there, and waits for a
// process that has the old Root again.
func TestOtherRoot(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{RunList: func(context.Context, Task, *downloader.Handle, func(Files)) error { return nil }})
		file := r.add(Spec{URLs: []string{r.put("a.bin", 100)}, Dir: "sub"})
		list := r.add(Spec{List: true, Text: []byte(r.put("b.bin", 100))})
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		before := r.root
		r.root = t.TempDir()
		r.start(Options{RunList: func(context.Context, Task, *downloader.Handle, func(Files)) error {
			t.Error("the list runs")
			return nil
		}})
		inside := r.add(Spec{URLs: []string{r.put("c.bin", 100)}})
		r.await(inside, Complete)
		time.Sleep(time.Minute)
		for _, id := range []store.ID{file, list} {
			if task, err := r.Task(id); task.State != Waiting || !strings.Contains(task.Reason, "is not below") {
				t.Errorf("%s: %q, %v", task.State, task.Reason, err)
			}
		}
		if err := errors.Join(r.Pause(file), r.Resume(file)); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if left, _ := os.ReadDir(before); len(left) > 0 || len(r.srv.Requests()) > 1 {
			t.Errorf("%d files are below the old root, after %d requests", len(left), len(r.srv.Requests()))
		}
		r.root = before
		r.start(Options{})
		r.await(file, Complete)
		if task := r.await(list, Failed); !strings.Contains(task.Reason, "no lists") {
			t.Errorf("a list without RunList: %q", task.Reason)
		}
	})
}

// TestListDoesNotFit checks that a list waits whose files do not fit on the disk, and that other tasks run meanwhile.
func TestListDoesNotFit(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		runs := 0
		r.start(Options{RunList: func(context.Context, Task, *downloader.Handle, func(Files)) error {
			if runs++; runs < 3 {
				return fmt.Errorf("no further files: %w", store.ErrDoesNotFit)
			}
			return nil
		}})
		id := r.add(Spec{List: true, Text: []byte("x")})
		time.Sleep(spaceWait / 2)
		if task, _ := r.Task(id); task.State != Waiting || !strings.Contains(task.Reason, "no further files") {
			t.Errorf("%s: %q", task.State, task.Reason)
		}
		r.await(r.add(Spec{URLs: []string{r.put("a.bin", 100)}}), Complete)
		r.await(id, Complete)
		if runs != 3 {
			t.Errorf("%d runs", runs)
		}
	})
}

// TestAddBlock checks that tasks that are added at a place together follow each other there, that their number does not
// use up the ranks between their neighbours, and that the order survives.
func TestAddBlock(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		specs := func(prefix string, n int) (all []Spec) {
			for i := range n {
				all = append(all, Spec{URLs: []string{fmt.Sprintf("%s/%s%d", r.srv.URL, prefix, i)}})
			}
			return all
		}
		add := func(at Place, all []Spec) {
			t.Helper()
			if _, err := r.Add(all, at, true); err != nil {
				t.Fatal(err)
			}
		}
		add(Last, specs("a", 3))
		add(Place{N: 1}, specs("b", 100))
		add(Place{}, append(specs("c", 2), specs("b", 2)...)) // b0 and b1 are in the queue already
		add(Place{From: End, N: -1}, specs("d", 2))
		var want []string
		for _, s := range slices.Concat(specs("c", 2), specs("a", 1), specs("b", 100), specs("a", 2)[1:], specs("d", 2), specs("a", 3)[2:]) {
			want = append(want, filepath.Base(s.URLs[0])+" paused")
		}
		if got := r.names(); got != strings.Join(want, ", ") {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		stored := r.order[0].rank
		for range 20 {
			add(Place{N: 1}, specs("e", 200))
			for id := range r.byID {
				if strings.Contains(r.byID[id].URL(), "/e") {
					if err := r.Remove(false, id); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
		if r.order[0].rank != stored {
			t.Error("all tasks have new ranks")
		}
		for i, e := range r.order[1:] {
			if e.rank <= r.order[i].rank {
				t.Errorf("rank %d behind %d", e.rank, r.order[i].rank)
			}
		}
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		r.open(Options{})
		if got := r.names(); got != strings.Join(want, ", ") {
			t.Errorf("after a restart, got %s", got)
		}
	})
}
