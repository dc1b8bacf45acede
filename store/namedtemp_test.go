package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// A namedFS is the real file system without files that have no name.
type namedFS struct{ osFS }

func (namedFS) CreateTemp(string) (File, error) { return nil, syscall.EOPNOTSUPP }

// openNamed opens the state directory of l as another process would, on a namedFS.
func (l *fixture) openNamed(state string, fs FS) *Store {
	l.t.Helper()
	s, err := Open(state, Options{FS: fs})
	must(l.t, err)
	return s
}

// smallFile creates a TempFile with its name as its content.
func (l *fixture) smallFile(s *Store, name string) *TempFile {
	l.t.Helper()
	tmp, err := s.CreateTemp(Record{URL: "https://example.com/" + name, Target: l.path(name), Named: true, ModTime: time.Unix(1e9, 0)})
	must(l.t, err)
	_, err = tmp.Write([]byte(name))
	must(l.t, err)
	return tmp
}

// temps returns the temporary files in the directory of l.
func (l *fixture) temps() []string {
	l.t.Helper()
	all, err := filepath.Glob(l.path(tempPrefix + "*"))
	must(l.t, err)
	return all
}

// kill ends a TempFile as the end of its process would.
func kill(tmp *TempFile) string {
	named := tmp.file.(*namedTemp)
	named.File.Close()
	named.lock.Close()
	return named.name
}

// Named temporary files become files as others do, with the mode of the umask.
func TestNamedTempOnRealFS(t *testing.T) {
	if lockSuffix != "" {
		t.Skip("small files have part files here")
	}
	l := newFixture(t)
	s := l.openNamed(l.state, namedFS{})
	var group []*TempFile
	for i := range 10 {
		group = append(group, l.smallFile(s, fmt.Sprint(i%5)))
	}
	if got := len(l.temps()); got != 10 {
		t.Errorf("got %d temporary files, want 10", got)
	}
	for i, err := range s.publishAll(group) {
		if want := i >= 5; errors.Is(err, ErrForeign) != want || !want && err != nil {
			t.Errorf("file %d: got %v, want an error: %v", i, err, want)
		}
	}
	for i := range 5 {
		l.wantFile(l.path(fmt.Sprint(i)), fmt.Sprint(i))
		rec, err := s.ByTarget(l.path(fmt.Sprint(i)))
		if err != nil || !s.Intact(rec) || !rec.ModTime.Equal(time.Unix(1e9, 0)) {
			t.Errorf("file %d: got %+v, %v", i, rec, err)
		}
	}
	if info, err := os.Stat(l.path("0")); err != nil || info.Mode() != newFileMode() {
		t.Errorf("mode: got %v, %v, want %v", info.Mode(), err, newFileMode())
	}
	if left := l.temps(); len(left) > 0 {
		t.Errorf("left over: %q", left)
	}
}

// The temporary file of a killed process is removed, whatever its state directory; the
// one of a living process, a file with a similar name and a file on record stay.
func TestNamedTempLeftovers(t *testing.T) {
	if lockSuffix != "" {
		t.Skip("small files have part files here")
	}
	l := newFixture(t)
	first := l.openNamed(l.state, namedFS{})
	dead, alive := kill(l.smallFile(first, "dead")), l.smallFile(first, "alive")
	recorded := tempPrefix + "00112233-0011223344556677" + tempSuffix
	must(t, first.publishAll([]*TempFile{l.smallFile(first, recorded)})[0])
	similar := []string{tempPrefix + "0123456789abcdef" + tempSuffix, tempPrefix + "0011223g-0011223344556677" + tempSuffix, tempPrefix + "queue-1", "x" + recorded}
	for _, name := range similar {
		l.put(l.path(name), "mine")
	}
	other := l.openNamed(l.path("other-state"), namedFS{})
	for _, s := range []*Store{l.openNamed(l.state, namedFS{}), other} {
		if s == other {
			must(t, os.Remove(l.path(recorded))) // that state directory has no record of it
			dead = kill(l.smallFile(first, "dead"))
		}
		must(t, l.smallFile(s, "next").Close())
		l.wantNo(dead)
	}
	for _, name := range similar {
		l.wantFile(l.path(name), "mine")
	}
	must(t, first.publishAll([]*TempFile{alive})[0])
	l.wantFile(l.path("alive"), "alive")
}

// A lockless is a namedFS that cannot lock.
type lockless struct{ namedFS }

func (f lockless) Lock(part string, create bool) (lock io.Closer, err error) {
	if lock, err = f.namedFS.Lock(part, create); err == nil {
		lock.Close()
		err = syscall.ENOLCK
	}
	return nil, err
}

// Without locks, only the own state directory can know that a process has been killed.
func TestNamedTempWithoutLocks(t *testing.T) {
	if lockSuffix != "" {
		t.Skip("small files have part files here")
	}
	l := newFixture(t)
	first := l.openNamed(l.state, lockless{})
	dead, alive := kill(l.smallFile(first, "dead")), l.smallFile(first, "alive")
	must(t, l.smallFile(l.openNamed(l.path("other-state"), lockless{}), "next").Close())
	if got := len(l.temps()); got != 2 {
		t.Errorf("another state directory: got %d temporary files, want 2", got)
	}
	must(t, l.smallFile(l.openNamed(l.state, lockless{}), "next").Close())
	l.wantNo(dead)
	must(t, first.publishAll([]*TempFile{alive})[0])
	l.wantFile(l.path("alive"), "alive")
}

// A sweptDirs forgets, so that it stays small.
func TestSweptDirs(t *testing.T) {
	var s sweptDirs
	for i := range 3 * maxSwept {
		dir := fmt.Sprint(i)
		if !s.add(dir) || s.add(dir) || len(s.dirs) > maxSwept {
			t.Fatalf("directory %d: added wrongly, or %d members", i, len(s.dirs))
		}
	}
}
