package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"pawl/chunk"
)

// versions are the files that crash tests download, with their sizes in bytes. No size is
// a multiple of memPage.
var versions = map[string]int{"v1": 2900, "v2": 2300, "empty": 0}

// version returns the content of a version. No byte is zero, so that a hole never
// matches.
func version(etag string) []byte {
	rng := rand.New(rand.NewPCG(uint64(versions[etag]), 0))
	b := make([]byte, versions[etag])
	for i := range b {
		b[i] = byte(1 + rng.IntN(255))
	}
	return b
}

// modified returns the modification time of a version.
func modified(etag string) time.Time {
	return time.Date(2019, 3, 4, 5, 6, versions[etag]%60, 0, time.UTC)
}

// A world is a file system that can crash, a state file that cannot, and the promises
// about the one download in them.
type world struct {
	t      *testing.T
	fs     *crashFS
	store  *Store
	tmp    string // directory for state directories
	state  string // directory of the state file
	target string
	etag   string // version that the download must end with
	old    []byte // content of a file at the target that is to be replaced; nil for none
	lacks  map[string]error
	warned []string // messages passed to Warn
	story  string   // events so far, for failure messages

	promised chunk.Set // ranges for which Commit has returned nil since the last start
	finished bool      // Finish has returned nil
}

// memDir returns a temporary directory in memory, if the system has such a file system. The tests
// create thousands of small state files, and hardly any of these depends on a disk.
func memDir(t testing.TB) string {
	dir, err := os.MkdirTemp("/dev/shm", "pawl-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// newWorld returns a world for a scenario. seed determines all random choices. The state
// file exists and has no records.
func newWorld(t *testing.T, sc scenario, seed uint64) *world {
	t.Helper()
	target, err := filepath.Abs("/dl/deep/file.bin") // exists in memory only
	must(t, err)
	w := &world{t: t, tmp: memDir(t), target: target, etag: sc.etag, lacks: sc.lacks}
	if sc.old {
		w.old = []byte("another file")
	}
	w.open(newCrashFS(seed), filepath.Join(w.tmp, "first"))
	_, err = w.store.Records()
	must(t, err)
	return w.anew(seed)
}

// anew returns a new world for the same scenario.
func (w *world) anew(seed uint64) *world {
	w.t.Helper()
	next := &world{t: w.t, tmp: w.tmp, target: w.target, etag: w.etag, old: w.old, lacks: w.lacks, story: fmt.Sprintf("seed %d", seed)}
	fs := newCrashFS(seed)
	fs.lacks = w.lacks
	if w.old != nil {
		fs.plant(w.target, w.old)
	}
	next.open(fs, w.copyState())
	return next
}

func (w *world) open(fs *crashFS, state string) {
	w.t.Helper()
	var err error
	w.store, err = Open(state, Options{FS: fs, Warn: func(msg string) { w.warned = append(w.warned, msg) }})
	must(w.t, err)
	w.fs, w.state = fs, state
}

func (w *world) copyState() string {
	w.t.Helper()
	db, err := os.ReadFile(filepath.Join(w.state, FileName))
	must(w.t, err)
	state, err := os.MkdirTemp(w.tmp, "")
	must(w.t, err, os.WriteFile(filepath.Join(state, FileName), db, 0o600))
	return state
}

// reboot returns the world after a power failure; see crashFS.reboot.
func (w *world) reboot(names, data float64) *world {
	w.t.Helper()
	next := *w
	next.open(w.fs.reboot(names, data), w.copyState())
	next.promised = w.promised.Clone()
	next.story += fmt.Sprintf(", %s, keep %v of names and %v of data", &w.fs.trap, names, data)
	return &next
}

// forget deletes the state file of a world that is no longer needed.
func (w *world) forget() { os.RemoveAll(w.state) }

func (w *world) errorf(format string, args ...any) {
	w.t.Helper()
	w.t.Errorf("%s: %s", w.story, fmt.Sprintf(format, args...))
}

// check checks the conditions that must hold whenever the download is not running.
func (w *world) check() {
	w.t.Helper()
	rec, err := w.store.ByTarget(w.target)
	target, hasTarget := w.fs.peek(w.target)
	isOld := w.old != nil && bytes.Equal(target.data, w.old)
	if errors.Is(err, ErrNotFound) {
		if hasTarget && !isOld {
			w.errorf("a file is at the target without a record")
		}
		rec.State = "none"
	} else if err != nil {
		w.errorf("ByTarget: %v", err)
		return
	}
	if w.finished && rec.State != Done {
		w.errorf("state after Finish: got %s, want %s", rec.State, Done)
	}
	for lost := range w.promised.All() {
		if !rec.Held.Contains(lost) {
			w.errorf("held: got %s, want the committed ranges %s", rec.Held, w.promised)
		}
	}
	isNew := bytes.Equal(target.data, version(rec.ETag)) && (target.mtime.Equal(modified(rec.ETag)) || w.lacks["settime"] != nil)
	if hasTarget && !isOld && !isNew {
		w.errorf("%d bytes of %v at the target: not the whole file of %v", len(target.data), target.mtime, modified(rec.ETag))
	}
	w.checkFiles(rec, hasTarget && isNew)
}

// checkFiles checks that the bytes that rec lists as held are on disk.
func (w *world) checkFiles(rec Record, complete bool) {
	w.t.Helper()
	part, hasPart := w.fs.peek(rec.Part())
	switch {
	case rec.State == Done && (hasPart || !complete):
		w.errorf("done: got complete %t, part file %t", complete, hasPart)
	case rec.State == Finishing && !hasPart && !complete:
		w.errorf("finishing: neither the part file nor the whole file is there")
	}
	if complete {
		return
	}
	src := version(rec.ETag)
	for r := range rec.Held.All() {
		if got := int64(len(part.data)); got < r.End {
			w.errorf("part file: got %d bytes, want all of %s", got, r)
		} else if !bytes.Equal(part.data[r.Off:r.End], src[r.Off:r.End]) {
			w.errorf("part file: wrong bytes in %s, which is held", r)
		}
	}
}

// complete drives the download to its end, from whatever state it has, and checks the
// file. It does not catch a crash.
func (w *world) complete() {
	w.t.Helper()
	s := &session{w: w}
	s.runToEnd()
	if s.err != nil {
		w.errorf("continuing: %v", s.err)
	}
	w.check()
	if info, err := w.fs.Lstat(w.target); err != nil || info.Size() != int64(versions[w.etag]) {
		w.errorf("at the end, the target: got %v, %v, want the whole file", info, err)
	}
	rec, err := w.store.ByTarget(w.target)
	if err != nil || rec.State != Done || rec.ETag != w.etag || !w.store.Intact(rec) {
		w.errorf("at the end: got %s, %s, %v, intact %t, want done and intact", rec.ETag, rec.State, err, w.store.Intact(rec))
	}
	if _, err := w.fs.Lstat(rec.Part()); !errors.Is(err, fs.ErrNotExist) {
		w.errorf("at the end, the part file: got %v, want it gone", err)
	}
}
