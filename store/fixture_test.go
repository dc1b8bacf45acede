package store

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"pawl/chunk"
)

// A fixture is a Store on the real file system with one download.
type fixture struct {
	t      *testing.T
	store  *Store
	state  string // directory of the state file
	target string
	data   []byte   // content of the file to download
	warned []string // messages passed to Warn
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureIn(t, memDir(t))
}

// newFixtureIn is newFixture in a directory that is not in memory, for tests of a disk.
func newFixtureIn(t *testing.T, dir string) *fixture {
	t.Helper()
	l := &fixture{t: t, state: filepath.Join(dir, "state"), target: filepath.Join(dir, "files", "file.bin"), data: bytes.Clone(fixtureData())}
	l.open()
	return l
}

// fixtureData returns the content of the file to download. No byte of it is zero.
var fixtureData = sync.OnceValue(func() []byte {
	data := make([]byte, 100_000)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range data {
		data[i] = byte(1 + rng.IntN(255))
	}
	return data
})

// open opens the Store as another process would.
func (l *fixture) open() {
	l.t.Helper()
	s, err := Open(l.state, Options{Warn: func(msg string) { l.warned = append(l.warned, msg) }})
	if err != nil {
		l.t.Fatal(err)
	}
	l.store = s
}

func (l *fixture) record() Record {
	return Record{URL: "https://example.com/file.bin", Target: l.target, Size: int64(len(l.data))}
}

// create creates the download with pieces of 10,000 bytes. The Part is closed at the end
// of the test.
func (l *fixture) create() *Part {
	l.t.Helper()
	p := l.opened(l.store.Create(l.record()))
	must(l.t, smallPieces(p, 10_000))
	return p
}

// smallPieces sets the piece length of a Part that holds nothing.
func smallPieces(p *Part, length int64) error {
	p.written = newWrittenBytes(length)
	return p.Update(func(r *Record) { r.PieceLength = length })
}

// resume resumes the download.
func (l *fixture) resume() *Part {
	l.t.Helper()
	return l.opened(l.store.Resume(l.onRecord().ID))
}

func (l *fixture) opened(p *Part, err error) *Part {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { p.Close() })
	return p
}

// onRecord returns the record of the target.
func (l *fixture) onRecord() Record {
	l.t.Helper()
	rec, err := l.store.ByTarget(l.target)
	if err != nil {
		l.t.Fatalf("record: %v", err)
	}
	return rec
}

// write writes and commits a range of the file.
func (l *fixture) write(p *Part, off, end int64) {
	l.t.Helper()
	if n, err := p.WriteAt(l.data[off:end], off); err != nil || n != int(end-off) {
		l.t.Fatalf("WriteAt: got %d, %v", n, err)
	}
	if err := p.Commit(1); err != nil {
		l.t.Fatalf("Commit: %v", err)
	}
}

// verifyAll verifies all pieces and returns how many bytes are lost.
func (l *fixture) verifyAll(p *Part) (lost int64) {
	l.t.Helper()
	for i, more := 0, true; more; i++ {
		n, again, err := p.VerifyNext(i)
		if err != nil {
			l.t.Fatalf("VerifyNext of piece %d: %v", i, err)
		}
		lost, more = lost+n, again
	}
	if p.Dirty() {
		l.t.Errorf("Dirty after all pieces were verified: got true")
	}
	return lost
}

// wantHeld checks the held ranges of the Part and on record.
func (l *fixture) wantHeld(p *Part, want string) {
	l.t.Helper()
	if got := p.Record().Held; got.String() != want {
		l.t.Errorf("held: got %s, want %s", got, want)
	}
	if got := l.onRecord().Held; got.String() != want {
		l.t.Errorf("held on record: got %s, want %s", got, want)
	}
}

// complete downloads the missing ranges, finishes and closes. All held bytes must match
// their checksums.
func (l *fixture) complete(p *Part) {
	l.t.Helper()
	if p.Dirty() {
		if lost := l.verifyAll(p); lost != 0 {
			l.t.Errorf("VerifyNext: got %d bytes lost, want 0", lost)
		}
	}
	held := p.Record().Held
	for r := range held.Missing(chunk.Range{End: int64(len(l.data))}) {
		l.write(p, r.Off, r.End)
	}
	if err := p.Finish(time.Time{}); err != nil {
		l.t.Fatalf("Finish: %v", err)
	}
	if err := p.Close(); err != nil {
		l.t.Fatalf("Close: %v", err)
	}
	l.wantDone()
}

// wantDone checks that the download is finished and the file complete.
func (l *fixture) wantDone() {
	l.t.Helper()
	got, err := os.ReadFile(l.target)
	if err != nil || !bytes.Equal(got, l.data) {
		l.t.Errorf("finished file: got %d bytes, %v, want the %d of the source", len(got), err, len(l.data))
	}
	if rec := l.onRecord(); rec.State != Done || !l.store.Intact(rec) {
		l.t.Errorf("record: got %s, intact %t, want %s and intact", rec.State, l.store.Intact(rec), Done)
	}
	l.wantNo(l.target + ".part")
}

// wantNo checks that nothing is at the path name.
func (l *fixture) wantNo(name string) {
	l.t.Helper()
	if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
		l.t.Errorf("%s: got %v, want it not there", filepath.Base(name), err)
	}
}

// wantFile checks the content of a file.
func (l *fixture) wantFile(name, content string) {
	l.t.Helper()
	if got, err := os.ReadFile(name); err != nil || string(got) != content {
		l.t.Errorf("%s: got %.40q, %v, want %q", filepath.Base(name), got, err, content)
	}
}

// wantWarnings checks the number of warnings.
func (l *fixture) wantWarnings(n int) {
	l.t.Helper()
	if len(l.warned) != n {
		l.t.Errorf("warnings: got %q, want %d", l.warned, n)
	}
}

func (l *fixture) wantErr(what string, err, want error) {
	l.t.Helper()
	if !errors.Is(err, want) {
		l.t.Errorf("%s: got error %v, want %v", what, err, want)
	}
}

// put writes a foreign file.
func (l *fixture) put(name, content string) {
	l.t.Helper()
	must(l.t, os.MkdirAll(filepath.Dir(name), 0o777), os.WriteFile(name, []byte(content), 0o666))
}

// symlink creates a symbolic link, or skips the test if the system does not allow it.
func (l *fixture) symlink(to, name string) {
	l.t.Helper()
	must(l.t, os.MkdirAll(filepath.Dir(name), 0o777))
	if err := os.Symlink(to, name); err != nil {
		l.t.Skip(err)
	}
}

func (l *fixture) dbPath() string { return filepath.Join(l.state, FileName) }

// Records returns the records of all downloads and finished files.
func (s *Store) Records() ([]Record, error) {
	all, err := s.Unfinished()
	for r, ferr := range s.Finished("") {
		if ferr != nil {
			return all, ferr
		}
		all = append(all, r)
	}
	return all, err
}
