package store

// This file opens the state file and runs transactions on it. It is the only file of the
// program that imports bbolt.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	// FileName is the name of the state file in the state directory.
	FileName    = "pawl.db"
	lockName    = "pawl.lock"
	lockTimeout = 30 * time.Second // how long to wait for transactions of other processes; a guess, many times maxReleaseTime

	schemaVersion = 1

	// maxKey is the largest number of bytes in a key that bbolt accepts.
	maxKey = bolt.MaxKeySize
)

var (
	metaBucket    = []byte("meta")      // "version" -> schemaVersion
	recordBucket  = []byte("downloads") // ID -> encoded Record of an unfinished download
	targetBucket  = []byte("targets")   // Target -> ID of an unfinished download
	urlBucket     = []byte("asked")     // urlKey -> ID, or Target of a finished file
	hostBucket    = []byte("hosts")     // origin -> HostNote; created at the first use
	pieceBucket   = []byte("pieces")    // pageKey -> page of piece checksums; created at the first use
	hashBucket    = []byte("hashes")    // ID of an unfinished download -> piece hashes; created at the first use
	queueBucket   = []byte("queue")     // key of package queue -> its value; created at the first use
	ledgerBucket  = []byte("files")     // Target of a finished file -> ledger entry; created at the first use
	versionKey    = []byte("version")
	schemaBuckets = [][]byte{metaBucket, recordBucket, targetBucket, urlBucket}
)

// A stateFile is the bbolt file with all records. It is open only during a transaction. It is
// safe for concurrent use, also by several processes.
type stateFile struct {
	dir    string       // immutable
	warn   func(string) // immutable; see Options
	bootID string       // immutable; "" if unknown
	// tolerate returns nil if the error means a limitation of the file system. Immutable.
	tolerate func(limitation, error) error

	checked atomic.Value // string: the checkmark of the last transaction

	// transactions is held during each transaction: the goroutines of this process wait for it,
	// because waiting for the lock of the file means to try again every 50 ms.
	transactions sync.RWMutex
}

func newStateFile(dir string, fs *tolerantFS) *stateFile {
	return &stateFile{dir: dir, warn: fs.warn, bootID: bootID(), tolerate: fs.tolerate}
}

func (s *stateFile) path() string { return filepath.Join(s.dir, FileName) }

// CreateState creates the state file if there is none. The first transaction would do so, too.
func (s *stateFile) CreateState() error { return s.read(func(tx) error { return nil }) }

// transact opens the state file, runs do and closes the file. It creates a missing file.
// If the file is damaged, transact replaces it and runs do again: the first time only if
// reading the whole file confirms the damage, the second time in any case.
func (s *stateFile) transact(readOnly bool, do func(*bolt.DB) error) error {
	err := s.withState(readOnly, do)
	for _, certain := range []bool{false, true} {
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errDamaged) {
			return err
		}
		damaged, _ := os.Stat(s.path())
		if err := s.replaceDamaged(damaged, certain); err != nil {
			return err
		}
		err = s.withState(readOnly, do)
	}
	return err
}

// withState opens the state file, runs do and closes it. An empty file counts as damaged,
// because createState never leaves one.
func (s *stateFile) withState(readOnly bool, do func(*bolt.DB) error) error {
	if readOnly {
		s.transactions.RLock()
		defer s.transactions.RUnlock()
	} else {
		s.transactions.Lock()
		defer s.transactions.Unlock()
	}
	if info, err := os.Stat(s.path()); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return fmt.Errorf("%w %q: %w: file is empty", ErrState, s.path(), errDamaged)
	}
	if err := s.checkIfInDoubt(); err != nil {
		return err
	}
	return withDB(s.path(), readOnly, do)
}

// errDamaged reports that the state file is not a valid bbolt file.
var errDamaged = errors.New("damaged")

// A callerError wraps the error of a transaction's own function, to separate it from
// bbolt's errors.
type callerError struct{ error }

// withDB opens the existing bbolt file at path, runs do and closes the file. bbolt panics
// or faults on some damaged files. In that case withDB returns errDamaged and releases
// the file and its lock; only the address space of the mapping leaks.
func withDB(path string, readOnly bool, do func(*bolt.DB) error) (err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // an access beyond the end of the file faults
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w %q: %w: %v", ErrState, path, errDamaged, p)
			unlock(file) // closing does not release the lock while the file is mapped
			file.Close()
		}
	}()
	db, err := bolt.Open(path, 0o600, &bolt.Options{
		Timeout:  lockTimeout,
		ReadOnly: readOnly,
		OpenFile: func(name string, flag int, perm os.FileMode) (_ *os.File, err error) {
			file, err = openRegular(name, flag&^os.O_CREATE, perm)
			return file, err
		},
	})
	if err != nil {
		return stateError(path, err)
	}
	err = do(db)
	if closeErr := db.Close(); err == nil {
		err = closeErr
	}
	return stateError(path, err)
}

// stateError adds ErrState and the path to an error of bbolt. It unwraps a callerError.
func stateError(path string, err error) error {
	var user callerError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &user):
		return user.error
	case errors.Is(err, bolterrors.ErrTimeout):
		return fmt.Errorf("%w %q: locked by another process for %v", ErrState, path, lockTimeout)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w %q: %w", ErrState, path, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrChecksum),
		errors.Is(err, bolterrors.ErrVersionMismatch), isTruncated(path):
		return fmt.Errorf("%w %q: %w: %w", ErrState, path, errDamaged, err)
	}
	return fmt.Errorf("%w: %w", ErrState, err)
}

// isTruncated reports whether the file is shorter than bbolt's smallest file, four pages.
// bbolt has no error value for this.
func isTruncated(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() < int64(4*os.Getpagesize())
}

// replaceDamaged creates a new state file if there is none, and renames a damaged one
// first. Several processes may call it at once; one of them does the work. was is the
// file that failed, nil if unknown. If certain is set, that file counts as damaged even
// if it can be read.
func (s *stateFile) replaceDamaged(was fs.FileInfo, certain bool) error {
	lock := flock.New(filepath.Join(s.dir, lockName))
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("%w: lock %q: %w", ErrState, lock.Path(), err)
	}
	defer lock.Unlock()
	s.clearChecked()
	// Not read-only: then bbolt would not read the list of free pages.
	err := s.withState(false, func(db *bolt.DB) error { return db.View(readAll) })
	if now, statErr := os.Stat(s.path()); err == nil && certain && statErr == nil && os.SameFile(was, now) {
		err = errDamaged
	}
	switch {
	case errors.Is(err, errDamaged):
		aside := s.path() + ".damaged-" + time.Now().UTC().Format("20060102T150405.000000000")
		if err := os.Rename(s.path(), aside); err != nil {
			return fmt.Errorf("%w: %w", ErrState, err)
		}
		s.warn(fmt.Sprintf("the state file was damaged; it was renamed to %q and a new one was created", aside))
	case !errors.Is(err, fs.ErrNotExist):
		return err // nil if another process was faster
	}
	return s.createState()
}

// readAll reads every key and value, so that any damage becomes an error.
func readAll(t *bolt.Tx) error {
	maxKeys := t.Size() / 8 // a file cannot have more; only pages that form a cycle yield more
	count := func(_, _ []byte) error {
		if maxKeys--; maxKeys < 0 {
			return callerError{errDamaged}
		}
		return nil
	}
	if err := checkSchema(t); err != nil {
		return callerError{err}
	}
	return t.ForEach(func(_ []byte, b *bolt.Bucket) error { return b.ForEach(count) })
}

// createState creates the state file under another name and renames it. A crash leaves a
// complete file or none.
func (s *stateFile) createState() error {
	tmp := s.path() + ".new"
	err := os.WriteFile(tmp, nil, 0o600) // also truncates a file that a crash has left
	if err == nil {
		err = withDB(tmp, false, func(db *bolt.DB) error { return db.Update(createSchema) })
	}
	if err == nil {
		err = os.Rename(tmp, s.path())
	}
	if err == nil {
		err = s.tolerate(noDirSync, osFS{}.SyncDir(s.dir))
	}
	if err != nil && !errors.Is(err, ErrState) {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	return err
}

func createSchema(tx *bolt.Tx) error {
	for _, name := range schemaBuckets {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return tx.Bucket(metaBucket).Put(versionKey, []byte(strconv.Itoa(schemaVersion)))
}

// A tx is a transaction on the current schema. The results of its methods do not share
// memory with the file, so they stay valid after the transaction.
type tx struct{ *bolt.Tx }

// read runs fn in a read-only transaction. fn may run more than once, and must not open
// another transaction.
func (s *stateFile) read(fn func(tx) error) error {
	return s.transact(true, func(db *bolt.DB) error { return db.View(s.withSchema(fn)) })
}

// write runs fn in a transaction. When write returns nil, the changes are durable. If fn
// returns an error, nothing is changed. fn may run more than once, and must not open
// another transaction.
func (s *stateFile) write(fn func(tx) error) error {
	return s.transact(false, func(db *bolt.DB) error {
		err := db.Update(s.withSchema(fn))
		if err == nil {
			s.setChecked()
		}
		return err
	})
}

// withSchema returns fn with the check of the schema before it. The errors of both become
// a callerError.
func (s *stateFile) withSchema(fn func(tx) error) func(*bolt.Tx) error {
	return func(t *bolt.Tx) error {
		err := s.requireSchema(t)
		if err == nil {
			err = fn(tx{t})
		}
		if err != nil {
			return callerError{err}
		}
		return nil
	}
}

// requireSchema is checkSchema with the path in its error.
func (s *stateFile) requireSchema(t *bolt.Tx) error {
	if err := checkSchema(t); err != nil {
		return fmt.Errorf("%w %q: %w", ErrState, s.path(), err)
	}
	return nil
}

// checkSchema returns ErrNewer if a newer pawl wrote the state file, and errDamaged if
// the version or a bucket is missing.
func checkSchema(t *bolt.Tx) error {
	meta := t.Bucket(metaBucket)
	if meta == nil {
		return fmt.Errorf("%w: missing bucket %q", errDamaged, metaBucket)
	}
	v, err := strconv.Atoi(string(meta.Get(versionKey)))
	switch {
	case err != nil:
		return fmt.Errorf("%w: missing version", errDamaged)
	case v > schemaVersion:
		return ErrNewer
	}
	for _, name := range schemaBuckets {
		if t.Bucket(name) == nil {
			return fmt.Errorf("%w: missing bucket %q", errDamaged, name)
		}
	}
	return nil
}
