package mirror

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/downloader/list"
	"pawl/store"
)

// newWorker returns a worker of r.
func (r *rig) newWorker(o Options) *Worker {
	d := downloader.New(r.store, r.opts)
	r.t.Cleanup(d.Close)
	o.Dir = r.dir
	return NewWorker(d, r.store, o)
}

// item returns the item of a file of the server.
func (r *rig) item(name string) *Item {
	return &Item{Entry: list.Entry{URLs: []string{r.srv.URL + "/" + name}, Size: -1}, List: listA, Path: filepath.Join(r.dir, name)}
}

// TestWorkerRests: a host that refuses or fails every file rests for a minute, and then one file is asked
// for. What it does not send meanwhile may be tried again, and by others.
func TestWorkerRests(t *testing.T) {
	for name, tt := range map[string]struct {
		fault       faultserver.Fault
		first, then int // files that are asked for until the host rests, first and after a minute
	}{
		"403":    {faultserver.Status(403, -1), maxRefusals, 1},
		"503":    {faultserver.Status(503, -1), maxHostFailures, maxHostFailures},
		"broken": {faultserver.ResetFirst, maxHostFailures, maxHostFailures},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.put(100)
				r.srv.Set(tt.fault)
				var rests []Rest
				w := r.newWorker(Options{OnRest: func(x Rest) { rests = append(rests, x) }})
				n := 0
				fetch := func(files int) (tried int) {
					t.Helper()
					r.srv.Reset()
					for range files {
						o := r.fetchOne(t.Context(), w, r.item(fmt.Sprintf("f%04d", n)), func() {})
						n++
						if o.State != Failed || o.Err == nil || WasNotTried(o.Err) && !MayRecover(o.Err) {
							t.Errorf("got %+v", o)
						}
						if !WasNotTried(o.Err) {
							tried++
						}
					}
					if r.asked() != tried {
						t.Errorf("%d files were requested, and %d tried", r.asked(), tried)
					}
					return tried
				}
				if got := fetch(30); got != tt.first || len(rests) != 1 || rests[0].Host != r.srv.URL || rests[0].Err == nil {
					t.Errorf("first: %d files were tried, want %d; rests %+v", got, tt.first, rests)
				}
				time.Sleep(restTime - time.Second)
				if got := fetch(5); got != 0 {
					t.Errorf("before the minute has passed: %d files were tried", got)
				}
				time.Sleep(time.Second)
				if got := fetch(5); got != tt.then || len(rests) != 2 {
					t.Errorf("after a minute: %d files were tried, want %d; rests %+v", got, tt.then, rests)
				}
				time.Sleep(restTime)
				r.srv.Set()
				for range 5 {
					if o := r.fetchOne(t.Context(), w, r.item(fmt.Sprintf("f%04d", n)), func() {}); o.State != Fetched {
						t.Errorf("the host is back: got %+v", o)
					}
					n++
				}
			})
		})
	}
}

// fetchOne fetches a file, with its record before and after.
func (r *rig) fetchOne(ctx context.Context, w *Worker, it *Item, released func()) Outcome {
	r.t.Helper()
	own := *it
	if err := LookUp(r.store, &own); err != nil {
		r.t.Fatal(err)
	}
	o := w.Fetch(ctx, &own, Steps{Released: released})
	if err := Complete(r.store, []*Outcome{&o}); err != nil {
		r.t.Fatal(err)
	}
	return o
}

// TestWorkerOutcomes: the outcome of a finished file has its record, and an interrupted file is Pending.
func TestWorkerOutcomes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.put(3)
		w := r.newWorker(Options{})
		var released atomic.Int32
		it := r.item("f0002")
		it.Rounds = 1
		o := r.fetchOne(t.Context(), w, it, func() { released.Add(1) })
		rec := o.Record
		if o.State != Fetched || o.Rounds != 2 || rec.ID != o.Result.ID || rec.State != store.Done || rec.Target != it.Path || rec.Size != 174 || rec.Publishing || !rec.Lists.Has(listA) || rec.CRC != o.Result.CRC || released.Load() == 0 {
			t.Errorf("got %+v, released %d times", o, released.Load())
		}
		if it.Record.ID != "" {
			t.Errorf("the item was changed: %+v", it)
		}
		it = r.item("f0002")
		it.Entry.Sum = chunk.Sum{}
		it.Record = store.Record{ID: store.NewID(), State: store.Active, Target: it.Path, Held: chunk.NewSet(chunk.Range{End: 5})} // of the submitter
		if o = r.fetchOne(t.Context(), w, it, func() {}); o.State != Fetched && o.State != Unchanged && o.State != Current || o.Record.ID != rec.ID {
			t.Errorf("again: got %+v", o)
		}
		r.srv.Set(faultserver.NoResponse)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if o := r.fetchOne(ctx, w, r.item("f0001"), func() {}); o.State != Pending || w.Ended() != nil {
			t.Errorf("interrupted: got %+v, %v", o, w.Ended())
		}
	})
}

// TestWorkerEnds: a failure that every other file would have, too, ends the worker, and the file is one for another
// worker. A failure of one file does not.
func TestWorkerEnds(t *testing.T) {
	r := newRig(t)
	w := r.newWorker(Options{})
	if w.note(&os.PathError{Op: "write", Path: filepath.Join(r.dir, "x"), Err: syscall.EIO}) || w.Ended() != nil {
		t.Errorf("one file: got %v", w.Ended())
	}
	if !w.note(fmt.Errorf("x: %w", store.ErrNoSpace)) || !errors.Is(w.Ended(), store.ErrNoSpace) {
		t.Errorf("no space: got %v", w.Ended())
	}
	var end *EndedError
	if w.note(nil); !errors.As(w.Ended(), &end) {
		t.Errorf("got %v, want an EndedError for good", w.Ended())
	}
}

// TestKey: the key of an item is that of the path and the wanted file. It must never change.
func TestKey(t *testing.T) {
	sum, err := chunk.ParseSum("sha-256=" + strings.Repeat("ab", 32))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	for _, tt := range []struct {
		want string
		e    list.Entry
	}{
		{"06cb9d42384f2dda", list.Entry{URLs: []string{"https://example.org/a/f"}, Size: -1}},
		{"6bbe1c43c94e5f69", list.Entry{URLs: []string{"https://example.org/a/f"}, Size: 5}},
		{"d1f678ee2c88f656", list.Entry{URLs: []string{"https://example.org/a/f", "https://example.net/f"}, Size: -1}},
		{"f887ac184c39e664", list.Entry{URLs: []string{"https://example.org/a/f"}, Size: -1, Sum: sum}},
		{"0c686b40aef0576c", list.Entry{URLs: []string{"https://example.org/a/f"}, Size: -1, Dir: "d", Out: "\xff"}},
	} {
		it := &Item{Entry: tt.e}
		got := it.Key()
		if got != tt.want {
			t.Errorf("%+v: got %s, want %s", tt.e, got, tt.want)
		}
		if other, twice := seen[got]; twice {
			t.Errorf("%+v has the key of %s", tt.e, other)
		}
		seen[got] = fmt.Sprint(tt.e)
		same := copied(it)
		same.Path, same.Rounds, same.Entry.Line, same.Entry.List = "/x", 2, 7, "other"
		same.Entry.Header = map[string][]string{"Authorization": {"x"}}
		same.Entry.URLs[0] = strings.Replace(same.Entry.URLs[0], "://", "://user:password@", 1)
		if same.Key() != got {
			t.Errorf("%+v: the key depends on what does not make another file", tt.e)
		}
	}
	named, unnamed := &Item{Entry: list.Entry{URLs: []string{"https://example.org/a/f"}, Dir: "x/../d", Out: "f"}}, &Item{Entry: list.Entry{URLs: []string{"https://example.org/a/f"}, Dir: "d"}}
	if named.Key() != unnamed.Key() {
		t.Error("the same path has two keys")
	}
}
