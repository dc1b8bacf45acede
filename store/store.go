package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

var (
	// ErrNotFound says that there is no such record.
	ErrNotFound = errors.New("no such download")
	// ErrBusy says that another process, or another download of this one,
	// works on the same target.
	ErrBusy = errors.New("another pawl is downloading to it")
	// ErrForeign says that a file is in the way that this download did not make.
	ErrForeign = errors.New("a file that this download did not make is in the way")
	// ErrIrregular is an ErrForeign that cannot be replaced.
	ErrIrregular error = irregularError{}
	// ErrGone says that somebody else took away the part file, or some of it.
	ErrGone = errors.New("it was moved, deleted or cut while it was being written")
	// ErrUncut says that a part file is longer than the file and cannot be cut.
	ErrCannotTruncate = errors.New("it is longer than the file, and this file system cannot cut it")
	// ErrNoDirectory says that a directory with an unfinished download is gone,
	// perhaps with its disk.
	ErrNoDirectory = errors.New("the directory of the download is gone")
	// ErrNewer says that a newer version of pawl wrote the state.
	ErrNewer = errors.New("written by a newer pawl")
	// ErrNoSpace says that the disk has no room for the file.
	ErrNoSpace = errors.New("not enough disk space")
	// ErrState says that the state file cannot be read or written.
	ErrState = errors.New("state file")
)

// irregular is the type of ErrIrregular.
type irregularError struct{}

func (irregularError) Error() string        { return "what is in the way cannot be replaced" }
func (irregularError) Is(target error) bool { return target == ErrForeign }

// Options are a Store's settings; the zero value is good.
type Options struct {
	// FS is the file system of the part files; nil means the real one.
	// The state file is always a real file.
	FS FS
	// Root is the absolute directory of lists, below which no symbolic link is followed: a
	// path through one is an ErrLink. A download that was begun so goes on so. It is for the
	// real file system. Default none.
	Root string
	// MinFree is how many bytes of the disk a download must leave free, or it fails with
	// ErrNoSpace: before it begins if its size is known, and else while it runs. What has
	// arrived is kept. Default none.
	MinFree int64
	// Warn is told what the user should know though it is no error, such as a
	// damaged state file that was set aside; nil drops it.
	Warn func(string)
}

// A Store keeps the records of downloads in a state directory and makes their
// part files. It holds no file open between calls. Safe for concurrent use, and
// shared with other processes.
type Store struct {
	dir      string
	fs       *tolerantFS
	warn     func(string)
	fileMode fs.FileMode // of finished files

	root    string // see Options
	minFree int64  // see Options

	structureChecked atomic.Bool // the structure of the state file has been checked

	commits   *batcher[commitRequest] // shared by the Stores that below returns
	publishes *batcher[*TempFile]

	publishMu sync.Mutex // taken before a transaction
	published []Record   // that are in their place and recorded as "placing"; guarded by placing
}

// Open returns the store in dir, which is created, for the user alone, when missing. If
// other users may have made or changed it, the error is ErrNotOurs.
func Open(dir string, opts Options) (*Store, error) {
	if err := checkState(dir); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	if opts.FS == nil {
		opts.FS = osFS{}
		if opts.Root != "" {
			opts.FS = newRootedFS(opts.Root)
		}
	}
	if opts.Warn == nil {
		opts.Warn = func(string) {}
	}
	fsys := &tolerantFS{FS: opts.FS, lockDir: filepath.Join(dir, locksName), warn: opts.Warn}
	s := &Store{dir: dir, fs: fsys, warn: opts.Warn, fileMode: newFileMode(), root: opts.Root, minFree: opts.MinFree}
	s.commits = newBatcher(false, s.commitAll) // without a rest: every caller has rested already
	s.publishes = newBatcher(true, s.publishAll)
	return s, nil
}

// below returns the store by which rec goes on: it follows no link if the one that has
// begun rec did not.
func (s *Store) forRecord(rec *Record) *Store {
	if rec.Root == "" || s.root != "" {
		return s
	}
	if _, isReal := s.fs.FS.(osFS); !isReal {
		return s
	}
	fsys := &tolerantFS{FS: newRootedFS(rec.Root), lockDir: s.fs.lockDir, warn: s.warn}
	return &Store{
		dir: s.dir, fs: fsys, warn: s.warn, fileMode: s.fileMode, root: rec.Root, minFree: s.minFree,
		commits: s.commits, publishes: s.publishes,
	}
}

// Get returns the record of id, or ErrNotFound.
func (s *Store) Get(id ID) (Record, error) {
	return s.find(func(t tx) (Record, error) { return t.get(id) })
}

// ByTarget returns the record whose finished file is at the absolute path
// target, or ErrNotFound.
func (s *Store) ByTarget(target string) (Record, error) {
	return s.find(func(t tx) (Record, error) { return t.byTarget(target) })
}

// ByURL returns the record of what was last asked of url into the absolute
// directory dir, or ErrNotFound.
func (s *Store) ByURL(dir, url string) (Record, error) {
	return s.find(func(t tx) (Record, error) { return t.byURL(dir, url) })
}

func (s *Store) find(by func(tx) (Record, error)) (r Record, err error) {
	err = s.read(func(t tx) error {
		r, err = by(t)
		return err
	})
	var bad damagedRecordError
	if errors.As(err, &bad) {
		s.forgetDamaged(bad)
		err = ErrNotFound
	}
	return r, err
}

// forget tells that a record is damaged, and deletes it. Its part file is
// left, as one that no record knows.
func (s *Store) forgetDamaged(bad damagedRecordError) {
	s.warn(bad.Error() + "; it is forgotten")
	err := s.write(func(t tx) error { return t.dropDamaged(bad) })
	if err != nil {
		s.warn(err.Error())
	}
}

// Unfinished returns the records of downloads that are not finished, oldest first.
// One that is damaged is told to Warn and forgotten; one of a newer pawl is told
// and left out.
func (s *Store) Unfinished() ([]Record, error) {
	var records []Record
	var failures []error
	err := s.read(func(t tx) error {
		records, failures = nil, nil // it may be called again, on a new file
		return t.unfinished(func(r Record, err error) {
			if err != nil {
				failures = append(failures, err)
				return
			}
			records = append(records, r)
		})
	})
	for _, failure := range failures { // not inside the transaction
		var bad damagedRecordError
		if errors.As(failure, &bad) {
			s.forgetDamaged(bad)
			continue
		}
		s.warn(failure.Error())
	}
	slices.SortStableFunc(records, func(a, b Record) int { return a.Created.Compare(b.Created) })
	return records, err
}
