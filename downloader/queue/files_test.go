package queue

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// files returns the names below the root of the queue.
func (r *rig) files() string {
	entries, _ := os.ReadDir(r.root)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// begin adds a download, lets it receive some bytes, and pauses it.
func (r *rig) begin(name string) store.ID {
	r.t.Helper()
	r.srv.Set(faultserver.Rate(1 << 20))
	id := r.add(Spec{URLs: []string{r.put(name, 64<<20)}})
	r.await(id, Active)
	time.Sleep(3 * time.Second)
	if err := r.Pause(id); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	return id
}

// TestRemoveMarksFirst checks that no file is deleted before the removal is durable, and that it is continued.
func TestRemoveMarksFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{})
		begun := r.begin("begun")
		done := r.add(Spec{URLs: []string{r.put("done", 100)}})
		r.await(done, Complete)
		away := r.state + ".away"
		if err := errors.Join(os.Rename(r.state, away), os.WriteFile(r.state, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := r.Remove(true, begun, done); !errors.Is(err, store.ErrState) {
			t.Errorf("got %v, want an error of the state", err)
		}
		if got := r.files(); got != "begun.part done" {
			t.Errorf("files %q", got)
		}
		if err := r.Resume(begun); !errors.Is(err, ErrState) {
			t.Errorf("resumed: %v", err)
		}
		if err := errors.Join(os.Remove(r.state), os.Rename(away, r.state)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * saveWait)
		synctest.Wait()
		unfinished, ended := r.Tasks()
		if got := r.files(); got != "" || len(unfinished)+len(ended) != 0 {
			t.Errorf("files %q, tasks %v and %v", got, unfinished, ended)
		}
	})
}

// TestRemoveContinues checks that a process deletes the files of the tasks that the process before it, which was
// killed, has only marked.
func TestRemoveContinues(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{})
		begun := r.begin("begun")
		done := r.add(Spec{URLs: []string{r.put("done", 100)}})
		r.await(done, Complete)
		stays := r.begin("stays")
		r.stop()
		r.mu.Lock()
		for _, id := range []store.ID{begun, done} {
			e := r.byID[id]
			e.State, e.removal = Removed, thenForget
			r.dirty(e)
		}
		r.mu.Unlock()
		if err := r.Sync(); err != nil { // and then the kill
			t.Fatal(err)
		}
		r.start(Options{})
		r.start(Options{}) // it has nothing to do any more
		unfinished, ended := r.Tasks()
		if len(unfinished) != 1 || unfinished[0].ID != stays || len(ended) != 0 {
			t.Errorf("tasks %v and %v", unfinished, ended)
		}
		if got := r.files(); got != "stays.part" {
			t.Errorf("files %q", got)
		}
	})
}

// TestRemoveWithoutLock checks that the queue can be used while files are deleted, and that a file that somebody has
// changed stays.
func TestRemoveWithoutLock(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		var seen [][]Task
		r.start(Options{Warn: func(string) {
			_, ended := r.Tasks()
			seen = append(seen, ended)
		}})
		id := r.add(Spec{URLs: []string{r.put("done", 100)}})
		r.await(id, Complete)
		if err := os.WriteFile(filepath.Join(r.root, "done"), []byte("of the user"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Remove(true, id); !errors.Is(err, store.ErrForeign) {
			t.Fatalf("got %v", err)
		}
		if len(seen) != 1 || len(seen[0]) != 1 || seen[0][0].State != Removed {
			t.Errorf("seen during the removal: %v", seen)
		}
		if _, ended := r.Tasks(); len(ended) != 0 || r.files() != "done" {
			t.Errorf("tasks %v, files %q", ended, r.files())
		}
	})
}

// TestAddWhileRemoving checks that a download which is added again while its files are deleted begins anew.
func TestAddWhileRemoving(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{})
		r.srv.Set(faultserver.Rate(1 << 20))
		spec := Spec{URLs: []string{r.put("f", 4<<20)}}
		old := r.add(spec)
		r.await(old, Active)
		time.Sleep(time.Second)
		if err := r.Remove(true, old); err != nil {
			t.Fatal(err)
		}
		again := r.add(spec) // the old download may not have stopped yet
		if again == old {
			t.Error("the new task has the ID of the one that is removed")
		}
		task := r.await(again, Complete)
		if got := r.files(); task.State != Complete || got != "f" {
			t.Errorf("%s (%s), files %q", task.State, task.Reason, got)
		}
	})
}

// TestRemoveChanged checks that Remove reports the files that it does not delete, and removes their tasks.
func TestRemoveChanged(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.start(Options{})
		changed := r.add(Spec{URLs: []string{r.put("changed", 100)}})
		path := r.await(changed, Complete).Path
		other := r.add(Spec{URLs: []string{r.put("other", 100)}})
		r.await(other, Complete)
		if err := os.WriteFile(path, []byte("of the user"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := r.Remove(true, other, changed); !errors.Is(err, store.ErrForeign) || !strings.Contains(err.Error(), string(changed)) || strings.Contains(err.Error(), string(other)) {
			t.Errorf("got %v", err)
		}
		if got := r.files(); got != "changed" {
			t.Errorf("left: %s", got)
		}
		if _, ended := r.Tasks(); len(ended) != 0 {
			t.Errorf("history: %v", ended)
		}
	})
}
