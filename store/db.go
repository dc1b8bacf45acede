package store

// This file is the state file: the only one that knows bbolt.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

const (
	fileName    = "pawl.db"
	lockName    = "pawl.lock"
	lockTimeout = 30 * time.Second // longest wait for other processes' transactions

	schemaVersion = 1

	// maxKey is how many bytes a key may have. bbolt refuses longer ones.
	maxKey = bolt.MaxKeySize
)

var (
	metaBucket    = []byte("meta")      // "version" -> schemaVersion
	recordBucket  = []byte("downloads") // ID -> encoded Record of what is not finished
	targetBucket  = []byte("targets")   // Target -> ID
	urlBucket     = []byte("asked")     // askedKey -> ID, or Target of a finished file
	hostBucket    = []byte("hosts")     // origin -> HostNote; made when first needed
	pieceBucket   = []byte("pieces")    // ID, number of the page -> sealed sums of pieces; made when first needed
	ledgerBucket  = []byte("files")     // Target of a finished file -> entry; made when first needed
	versionKey    = []byte("version")
	schemaBuckets = [][]byte{metaBucket, recordBucket, targetBucket, urlBucket}
)

func (s *Store) path() string { return filepath.Join(s.dir, fileName) }

// transact runs do on the opened state file. A missing file is created and a
// damaged one replaced: if it proves to be so when all of it is read, or if it
// still fails then.
func (s *Store) transact(readOnly bool, do func(*bolt.DB) error) error {
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

// open is withDB on the state file. An empty one is damaged, as it is made whole
// under another name.
func (s *Store) withState(readOnly bool, do func(*bolt.DB) error) error {
	if info, err := os.Stat(s.path()); err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return fmt.Errorf("%w %q: %w: it is empty", ErrState, s.path(), errDamaged)
	}
	if err := s.checkStructureOnce(); err != nil {
		return err
	}
	return withDB(s.path(), readOnly, do)
}

// inspect checks the structure of the state file, once for each Store, under the
// lock that bbolt takes as well. On Windows the two locks are not the same, and so
// nothing is checked.
func (s *Store) checkStructureOnce() error {
	if s.structureChecked.Load() || runtime.GOOS == "windows" {
		return nil
	}
	f, err := openRegular(s.path(), os.O_RDONLY, 0)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	defer f.Close()
	lock := flock.New(s.path(), flock.SetFlag(os.O_RDONLY))
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	if _, err := lock.TryRLockContext(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("%w: lock %q: %w", ErrState, s.path(), err)
	}
	defer lock.Close()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrState, err)
	}
	err = checkStructure(f, info.Size())
	if errors.Is(err, errStructure) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %w", errDamaged, err)
	}
	if err != nil {
		return fmt.Errorf("%w %q: %w", ErrState, s.path(), err)
	}
	s.structureChecked.Store(true)
	return nil
}

// errDamaged says that the state file is no sound bbolt file.
var errDamaged = errors.New("damaged")

// errUser wraps what a transaction's own function returned, to tell it from
// bbolt's errors.
type callerError struct{ error }

// withDB opens the state file, which must exist, calls do and closes it. Where
// bbolt panics or faults on a damaged file, it returns errDamaged and lets go of
// the file and so of its lock; only the address space of the mapping stays.
func withDB(path string, readOnly bool, do func(*bolt.DB) error) (err error) {
	var file *os.File
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true)) // a mapping beyond the end of the file faults
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w %q: %w: %v", ErrState, path, errDamaged, p)
			unlock(file) // closing alone leaves it locked, while it is mapped
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

// stateError says of bbolt's errors which file they are about, and passes on
// those of the transaction's own function.
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

// isShort reports whether the file is too short for what its header promises;
// bbolt has no error value for it.
func isTruncated(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() < int64(4*os.Getpagesize())
}

// renew makes a new state file where there is none or a damaged one, which is
// kept under another name. Of several processes that come here at once, one does
// it. certain says that was, which may be nil, is damaged though it can be read.
func (s *Store) replaceDamaged(was fs.FileInfo, certain bool) error {
	lock := flock.New(filepath.Join(s.dir, lockName))
	ctx, cancel := context.WithTimeout(context.Background(), lockTimeout)
	defer cancel()
	if _, err := lock.TryLockContext(ctx, 10*time.Millisecond); err != nil {
		return fmt.Errorf("%w: lock %q: %w", ErrState, lock.Path(), err)
	}
	defer lock.Unlock()
	s.structureChecked.Store(false)
	// Not read-only, which would leave the list of free pages unread.
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
		s.warn(fmt.Sprintf("the state file was damaged; it was kept as %q and a new one begun", aside))
	case !errors.Is(err, fs.ErrNotExist):
		return err // nil: another process was faster
	}
	return s.createState()
}

// readAll reads everything in the state file: damage shows when it is met.
func readAll(t *bolt.Tx) error {
	left := t.Size() / 8 // keys; more there cannot be, but for pages that lead in a circle
	count := func(_, _ []byte) error {
		if left--; left < 0 {
			return callerError{errDamaged}
		}
		return nil
	}
	if err := checkSchema(t); err != nil {
		return callerError{err}
	}
	return t.ForEach(func(_ []byte, b *bolt.Bucket) error { return b.ForEach(count) })
}

// create makes the state file under another name first, so that a crash leaves
// a whole one or none.
func (s *Store) createState() error {
	tmp := s.path() + ".new"
	err := os.WriteFile(tmp, nil, 0o600) // also empties what an earlier crash left
	if err == nil {
		err = withDB(tmp, false, func(db *bolt.DB) error { return db.Update(createSchema) })
	}
	if err == nil {
		err = os.Rename(tmp, s.path())
	}
	if err == nil {
		err = s.fs.tolerate(noDirSync, osFS{}.SyncDir(s.dir))
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

// tx is a transaction on the current schema. Its methods' results do not share
// memory with the file.
type tx struct{ *bolt.Tx }

// read runs fn in a read-only transaction.
func (s *Store) read(fn func(tx) error) error {
	return s.transact(true, func(db *bolt.DB) error { return db.View(s.withSchema(fn)) })
}

// write runs fn in a transaction that is durable when write returns nil.
func (s *Store) write(fn func(tx) error) error {
	return s.transact(false, func(db *bolt.DB) error { return db.Update(s.withSchema(fn)) })
}

// guarded is fn behind the check of the schema, its errors told from bbolt's.
func (s *Store) withSchema(fn func(tx) error) func(*bolt.Tx) error {
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

// checkSchema refuses a state file of another layout.
func (s *Store) requireSchema(t *bolt.Tx) error {
	if err := checkSchema(t); err != nil {
		return fmt.Errorf("%w %q: %w", ErrState, s.path(), err)
	}
	return nil
}

// schemaOf returns errDamaged or ErrNewer where the layout is not ours.
func checkSchema(t *bolt.Tx) error {
	meta := t.Bucket(metaBucket)
	if meta == nil {
		return fmt.Errorf("%w: it has no bucket %q", errDamaged, metaBucket)
	}
	v, err := strconv.Atoi(string(meta.Get(versionKey)))
	switch {
	case err != nil:
		return fmt.Errorf("%w: it has no version", errDamaged)
	case v > schemaVersion:
		return ErrNewer
	}
	for _, name := range schemaBuckets {
		if t.Bucket(name) == nil {
			return fmt.Errorf("%w: it has no bucket %q", errDamaged, name)
		}
	}
	return nil
}
