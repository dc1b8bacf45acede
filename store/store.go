package store

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"sync"
)

var (
	// ErrNotFound reports that no record exists for the ID, path or URL.
	ErrNotFound = errors.New("no such download")
	// ErrBusy reports that another process, or another download of this process, has
	// locked the same target.
	ErrBusy = errors.New("another pawl is downloading to it")
	// ErrForeign reports that something at the target path was not downloaded by
	// pawl, and that the record does not allow to replace it.
	ErrForeign = errors.New("file exists and was not downloaded by pawl")
	// ErrIrregular is an ErrForeign that cannot be replaced even if the user allows
	// it, for example a directory or a device. errors.Is(ErrIrregular, ErrForeign)
	// holds.
	ErrIrregular error = irregularError{}
	// ErrGone reports that somebody moved, deleted or truncated the part file while
	// it was being written.
	ErrGone = errors.New("file was moved, deleted or truncated during the download")
	// ErrCannotTruncate reports that a part file is longer than the file, and that
	// its file system cannot truncate files.
	ErrCannotTruncate = errors.New("part file is longer than the file, and this file system cannot truncate it")
	// ErrNoDirectory reports that the directory of an unfinished download no longer
	// exists, perhaps because its disk is not mounted. The download must not start
	// over in a new directory.
	ErrNoDirectory = errors.New("directory of the download no longer exists")
	// ErrNewer reports that a newer version of pawl wrote the state file or the
	// record.
	ErrNewer = errors.New("written by a newer version of pawl")
	// ErrNoSpace reports that the disk has no room for the file, or would have less
	// free space than Options.MinFree.
	ErrNoSpace = errors.New("not enough disk space")
	// ErrDoesNotFit is the ErrNoSpace of a file that is larger than the free space, while
	// the disk is not full: a smaller file may still fit.
	ErrDoesNotFit = fmt.Errorf("%w", ErrNoSpace)
	// ErrState reports that the state file or the state directory cannot be read,
	// written or trusted.
	ErrState = errors.New("state file")
)

// irregularError is the type of ErrIrregular.
type irregularError struct{}

func (irregularError) Error() string        { return "path exists and cannot be replaced" }
func (irregularError) Is(target error) bool { return target == ErrForeign }

// Options are the settings of a Store. The zero value is valid.
type Options struct {
	// FS is the file system of the part files; default the real one. The state file
	// is always on the real file system.
	FS FS
	// Root is the absolute directory of the lists. Below it no symbolic link is
	// followed, and a path through one fails with ErrLink. A download that was
	// created with a Root keeps this rule when another Store resumes it. Root has an
	// effect only on the real file system. Default none.
	Root string
	// MinFree is the number of bytes on the disk that a download must leave free. A
	// download that would leave less fails with ErrNoSpace: before it starts if its
	// size is known, else while it runs. The received bytes stay. Default 0.
	MinFree int64
	// Warn is called with a message that the user should read although no call has
	// failed, for example that a damaged state file was renamed. It must not call the
	// Store, and may be called from several goroutines at once. Default: messages are
	// dropped.
	Warn func(string)
}

// A Store keeps the records of downloads in a state directory and manages their part
// files. It keeps no file open between two calls. It is safe for concurrent use, and any
// number of processes may use the same directory.
type Store struct {
	*stateFile
	fs       *tolerantFS
	fileMode fs.FileMode // of finished files; see newFileMode

	root    string // immutable; see Options
	minFree int64  // immutable; see Options

	// All are shared with the Stores that forRecord returns, as is the state file, so that
	// their downloads join the same groups.
	commits   *batcher[commitRequest]
	publishes *batcher[*TempFile]
	adoptions *batcher[adoption]

	swept    sweptDirs // directories without leftovers of killed processes
	handoffs handoffs

	publishMu sync.Mutex // must be locked before a transaction begins, never within one
	// published lists the files that are in place while their entries still have the
	// mark "publishing". The next group clears the marks. Guarded by publishMu.
	published []Record
}

// Open returns the Store in the directory dir. It creates dir with mode 0700 if it does
// not exist. If another user owns dir or may write to it, the error is ErrNotOurs.
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
	s := &Store{stateFile: newStateFile(dir, fsys), fs: fsys, fileMode: newFileMode(), root: opts.Root, minFree: opts.MinFree}
	s.commits = newBatcher(false, s.commitAll) // no rest: each committer of the downloader rests between its commits
	s.publishes = newBatcher(true, s.publishAll)
	s.adoptions = newBatcher(false, s.recordAdopted) // reading the files before takes longer
	return s, nil
}

// forRecord returns the Store to continue rec with: one that follows no symbolic link
// below rec.Root if the Store that created rec did not.
func (s *Store) forRecord(rec *Record) *Store {
	if rec.Root == "" || s.root != "" {
		return s
	}
	if _, isReal := s.fs.FS.(osFS); !isReal {
		return s
	}
	fsys := &tolerantFS{FS: newRootedFS(rec.Root), lockDir: s.fs.lockDir, warn: s.warn}
	return &Store{
		stateFile: s.stateFile, fs: fsys, fileMode: s.fileMode, root: rec.Root, minFree: s.minFree,
		commits: s.commits, publishes: s.publishes, adoptions: s.adoptions,
	}
}

// Get returns the record of id, or ErrNotFound.
func (s *Store) Get(id ID) (Record, error) {
	return s.find(func(t tx) (Record, error) { return t.get(id) })
}

// ByTarget returns the record whose finished file is, or will be, at the absolute path
// target, or ErrNotFound.
func (s *Store) ByTarget(target string) (Record, error) {
	return s.find(func(t tx) (Record, error) { return t.byTarget(target) })
}

// ByURL returns the record of the latest download of url into the absolute directory dir
// whose name the user did not choose, or ErrNotFound.
func (s *Store) ByURL(dir, url string) (Record, error) {
	return s.find(func(t tx) (Record, error) { return t.byURL(dir, url) })
}

// ByURLBelow returns the records below the absolute directory dir, finished or not, that ByURL
// finds.
func (s *Store) ByURLBelow(dir string) (found []Record, err error) {
	err = s.read(func(t tx) error {
		found = nil // the function runs again if the state file had to be replaced
		t.byURLBelow(dir, func(r Record) { found = append(found, r) })
		return nil
	})
	return found, err
}

// find runs by in a read-only transaction. If the record is damaged, find deletes it and
// returns ErrNotFound.
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

// forgetDamaged warns of a damaged record and deletes it. Its part file stays; the next
// download of the same target moves it aside.
func (s *Store) forgetDamaged(bad damagedRecordError) {
	s.warn(bad.Error() + "; deleting it")
	err := s.write(func(t tx) error { return t.dropDamaged(bad) })
	if err != nil {
		s.warn(err.Error())
	}
}

// Unfinished returns the records of all unfinished downloads, oldest first. A damaged
// record is reported to Options.Warn and deleted. A record of a newer pawl is reported
// and left out.
func (s *Store) Unfinished() ([]Record, error) {
	var records []Record
	var failures []error
	err := s.read(func(t tx) error {
		records, failures = nil, nil // the function runs again if the state file had to be replaced
		return t.unfinished(func(r Record, err error) {
			if err != nil {
				failures = append(failures, err)
				return
			}
			records = append(records, r)
		})
	})
	for _, failure := range failures { // after the transaction, because forgetDamaged opens another one
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
