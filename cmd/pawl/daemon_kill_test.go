package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
	"pawl/store"
)

// TestDaemonKills kills the daemon at random moments with 20 downloads under way, while others are added and
// paused. After each kill, no task that was confirmed is lost, none is there twice, and every range on record is
// in its part file with the right bytes. It kills 5 times, and 100 times with PAWL_TEST_ALL=1.
//
//	go test ./cmd/pawl -run DaemonKills -v -count=1 -seed 7
func TestDaemonKills(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	kills := 5
	if allTests() {
		kills = 100
	}
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	k := &daemonKiller{
		daemonRig: newDaemonRig(t), rand: rand.New(rand.NewPCG(seed, 1)),
		expected: make(map[string]faultserver.File), confirmed: make(map[store.ID]string), paused: make(map[store.ID]bool),
	}
	for k.kills < kills && !t.Failed() {
		k.round()
	}
	k.finish()
	t.Logf("%d kills, %d tasks, %d held ranges checked; sent/size %.3f", k.kills, len(k.confirmed), k.ranges, float64(k.srv.Sent())/float64(k.size))
}

// underWay is how many downloads run when a daemon is killed.
const underWay = 20

// A daemonKiller kills daemons, and remembers the changes that they have confirmed.
type daemonKiller struct {
	*daemonRig
	rand     *rand.Rand
	expected map[string]faultserver.File // all files, by name

	confirmed map[store.ID]string // names of files, by the tasks that the daemon has confirmed
	paused    map[store.ID]bool   // tasks whose pause was confirmed

	kills, ranges int
	size          int64
}

// round starts a daemon, fills it up, and kills it.
func (k *daemonKiller) round() {
	k.srv.Set(faultserver.Rate(24 << 20))
	k.begin("--jobs", fmt.Sprint(underWay), "--quiet")
	sent := k.srv.Sent()
	kill := k.moment(sent)
	done := make(chan struct{})
	go func() {
		defer close(done)
		kill(k.ended)
		k.cmd.Process.Kill()
	}()
	if k.ready() {
		k.change()
	}
	<-done
	k.kill()
	k.kills++
	k.check()
}

// moment returns a function that waits for a random moment: of the start, of the changes, or of the downloads.
func (k *daemonKiller) moment(sent int64) func(exited <-chan struct{}) {
	after := time.Duration(k.rand.Int64N(int64(400 * time.Millisecond)))
	bytes := 1 + k.rand.Int64N(16<<20)
	if k.rand.IntN(2) == 0 {
		return func(<-chan struct{}) { time.Sleep(after) }
	}
	return func(exited <-chan struct{}) {
		limit := make(chan struct{})
		go func() { // ends soon
			defer close(limit)
			select {
			case <-exited:
			case <-time.After(10 * time.Second): // all are paused or complete
			}
		}()
		k.srv.WaitSent(sent+bytes, limit)
	}
}

// toggle pauses a task, or resumes it if it is paused. It returns false if the daemon does not answer.
func (k *daemonKiller) toggle(id store.ID) bool {
	if k.paused[id] {
		delete(k.paused, id) // from now on, both is possible
		_, err := k.client.Resume(k.Context(), id)
		return err == nil
	}
	if len(k.paused) < 5 {
		if _, err := k.client.Pause(k.Context(), id); err == nil {
			k.paused[id] = true
		}
	}
	return true
}

// change adds tasks until enough are under way, and pauses and resumes some, until the daemon is killed.
func (k *daemonKiller) change() {
	for {
		tasks, err := k.client.Tasks(k.Context())
		if err != nil {
			return
		}
		running := 0
		for _, t := range tasks {
			if t.State == queue.Active || t.State == queue.Waiting {
				running++
			}
		}
		var all []server.Addition
		for range max(0, underWay-running) {
			name := fmt.Sprintf("%d.bin", len(k.expected))
			url, f := k.put(name, 256<<10+k.rand.Int64N(4<<20), k.rand.Uint64N(1<<40))
			k.expected[name] = f
			k.size += f.Size
			all = append(all, server.Addition{URLs: []string{url}})
		}
		if len(all) > 0 {
			added, err := k.client.Add(k.Context(), all...)
			if err != nil {
				return // they may be there or not, but not twice
			}
			for _, t := range added {
				k.confirmed[t.ID] = filepath.Base(t.URL)
			}
		}
		// None may be confirmed, if each daemon was killed before it answered.
		if ids := slices.Sorted(maps.Keys(k.confirmed)); len(ids) > 0 && !k.toggle(ids[k.rand.IntN(len(ids))]) {
			return
		}
		time.Sleep(20 * time.Millisecond)
		select {
		case <-k.ended:
			return
		default:
		}
	}
}

// check compares the queue with the confirmed changes, and the records with the disk.
func (k *daemonKiller) check() {
	if !hasState(k.state()) {
		return // killed before the state file was there
	}
	st := k.openStore()
	tasks, err := queue.Read(st)
	if err != nil {
		k.Fatal(err)
	}
	seen, byID := make(map[string]store.ID), make(map[store.ID]queue.Task)
	for _, t := range tasks {
		byID[t.ID] = t
		if other, twice := seen[t.URL()]; twice {
			k.Errorf("after %d kills: %s and %s are the same task", k.kills, other, t.ID)
		}
		seen[t.URL()] = t.ID
		if t.State == queue.Failed || t.State == queue.Removed {
			k.Errorf("after %d kills: %s: %s (%s)", k.kills, t.ID, t.State, t.Reason)
		}
		if name := filepath.Base(t.URL()); t.State == queue.Complete && !hasContent(filepath.Join(k.files(), name), k.expected[name]) {
			k.Errorf("after %d kills: %s is complete, and %s has not the served bytes", k.kills, t.ID, name)
		}
	}
	for id, name := range k.confirmed {
		if _, ok := byID[id]; !ok {
			k.Errorf("after %d kills: the task %s of %s is lost", k.kills, id, name)
		}
		if t := byID[id]; k.paused[id] && t.State != queue.Paused && t.State != queue.Complete {
			k.Errorf("after %d kills: the task %s was paused, and is %s", k.kills, id, t.State)
		}
	}
	k.checkRecords(st, byID)
}

// checkRecords compares the records with the disk and with the tasks.
func (k *daemonKiller) checkRecords(st *store.Store, tasks map[store.ID]queue.Task) {
	records, err := st.Unfinished()
	if err != nil {
		k.Fatal(err)
	}
	for _, rec := range records {
		name := filepath.Base(rec.Target)
		f := k.expected[name]
		if _, ok := tasks[rec.ID]; !ok {
			k.Errorf("after %d kills: the record %s of %s has no task", k.kills, rec.ID, name)
		}
		if _, err := os.Lstat(rec.Target); err == nil || rec.State == store.Done {
			continue // see below
		}
		for r := range rec.Held.All() {
			k.ranges++
			if !hasRange(rec.Part(), f, r.Off, r.End) {
				k.Errorf("after %d kills: %s lacks bytes of %v, which is recorded as held", k.kills, rec.Part(), r)
			}
		}
	}
	for name, f := range k.expected {
		path := filepath.Join(k.files(), name)
		if _, err := os.Lstat(path); err == nil && !hasContent(path, f) {
			k.Errorf("after %d kills: %s does not have the served bytes", k.kills, path)
		}
	}
}

// finish lets a daemon complete all.
func (k *daemonKiller) finish() {
	k.srv.Set()
	k.start("--jobs", fmt.Sprint(underWay), "--quiet")
	if _, err := k.client.Resume(k.Context()); err != nil {
		k.Fatal(err)
	}
	for id := range k.confirmed {
		k.await(string(id), queue.Complete)
	}
	k.stop(os.Interrupt)
	k.check()
	for id, name := range k.confirmed {
		if !hasContent(filepath.Join(k.files(), name), k.expected[name]) {
			k.Errorf("%s: %s does not have the served bytes", id, name)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(k.files(), "*.part*")); len(left) > 0 {
		tasks, _ := queue.Read(k.openStore())
		if len(tasks) == len(k.confirmed) { // else an addition without an answer is there
			k.Errorf("left over: %q", left)
		}
	}
}

// TestRemovalKills kills the daemon while tasks are removed with their files. Afterwards, the next daemon has either
// a task and all its bytes, or neither the task nor a file of it. It kills 3 times, and 50 times with PAWL_TEST_ALL=1.
func TestRemovalKills(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	kills := 3
	if allTests() {
		kills = 50
	}
	r := newDaemonRig(t)
	removed, kept := 0, 0
	for round := range kills {
		r.start("--quiet", "--jobs", "20")
		files, names := make(map[store.ID]faultserver.File), make(map[store.ID]string)
		var all []server.Addition
		for i := range 20 {
			url, _ := r.put(fmt.Sprintf("%d-%d.bin", round, i), 20_000, uint64(i))
			all = append(all, server.Addition{URLs: []string{url}})
		}
		tasks, err := r.client.Add(t.Context(), all...)
		if err != nil {
			t.Fatal(err)
		}
		for i, task := range tasks {
			files[task.ID], names[task.ID] = faultserver.NewFile(20_000, uint64(i)), filepath.Base(task.URL)
			r.await(string(task.ID), queue.Complete)
		}
		cmd := r.cmd
		time.AfterFunc(time.Duration(rand.Int64N(int64(60*time.Millisecond))), func() { cmd.Process.Kill() })
		for id := range files {
			if r.client.Remove(t.Context(), id, true) != nil {
				break
			}
			delete(files, id) // this removal is confirmed
			if entries, _ := filepath.Glob(filepath.Join(r.files(), names[id]+"*")); len(entries) > 0 {
				t.Errorf("removed, but there: %q", entries)
			}
			removed++
		}
		r.kill()
		r.start("--quiet")
		for id, name := range names {
			_, err := r.client.Task(t.Context(), id)
			entries, _ := filepath.Glob(filepath.Join(r.files(), name+"*"))
			f, mayBeThere := files[id]
			switch {
			case err == nil && mayBeThere && len(entries) == 1 && hasContent(entries[0], f):
				kept++
			case err == nil || len(entries) > 0:
				t.Errorf("%s: the task is there: %t, removal confirmed: %t, files %q", name, err == nil, !mayBeThere, entries)
			}
		}
		r.want("daemon", "--stop")
		<-r.ended
		r.cmd = nil
	}
	t.Logf("%d confirmed removals, %d tasks kept", removed, kept)
}
