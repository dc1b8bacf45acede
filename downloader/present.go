package downloader

import (
	"context"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
	"pawl/store"
)

// This file decides whether a file that is at the target before the download is the wanted one:
//
//	on record, and touched                 the recorded checksums prove it
//	on record, from another URL            the wanted digest, or the server's, proves it; so does the
//	                                       version if only the host or the signature is another one
//	not on record, with a wanted digest    its own digest proves it
//	not on record, moved from elsewhere    the checksums of the record there prove it
//	not on record, with TakeSameSize       it has the size of the file on the server
//	not on record, with TakeSameVersion    it has the size and the time of the file on the server
//	not on record, with TakePartial        samples of it equal the file on the server (takeover.go)
//
// A proved file is recorded, and nothing is downloaded.

// castagnoli is the table of CRC-32C, which records keep of adopted files.
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// present reports whether the file at the target, which is not on record, is the wanted one. It
// records the file then.
func (l lookup) present(ctx context.Context) (bool, error) {
	name := l.goal.output
	if name == "" {
		name = response.FilenameFromURL(l.origin.recorded)
	}
	target, err := absTarget(l.goal.dir, name)
	if err != nil {
		return false, err
	}
	seen, ok := l.engine.store.Stamp(target)
	if !ok || l.goal.listed != nil && l.goal.listed.Size >= 0 && l.goal.listed.Size != seen.Size {
		return false, nil
	}
	rec := store.Record{ID: l.req.ID, URL: l.origin.recorded, Target: target, Named: l.goal.isNamed()}
	if l.goal.listed != nil { // it was not made by pawl, so no list may prune it
		rec.Lists = l.goal.listed.Lists.With(store.Nameless)
	}
	switch moved := l.movedRecord(); {
	case !l.goal.sum.IsZero():
		return l.presentByDigest(ctx, rec, seen)
	case moved.ID != "":
		return l.presentByRecord(ctx, moved, rec.Target, seen)
	case l.req.Existing.Taking == TakeSameSize, l.req.Existing.Taking == TakeSameVersion:
		return l.presentBySize(ctx, rec, seen)
	}
	return false, nil
}

// movedRecord returns the record at another path that may describe the file, zero for none.
func (l lookup) movedRecord() store.Record {
	if l.goal.listed == nil {
		return store.Record{}
	}
	return l.goal.listed.Moved
}

// presentByDigest reads the file and compares its digest with the wanted one.
func (l lookup) presentByDigest(ctx context.Context, rec store.Record, seen store.FileStamp) (bool, error) {
	f, err := l.engine.store.OpenDone(rec)
	if err != nil { // a file that cannot be read proves nothing
		return false, nil
	}
	defer f.Close()
	sum := l.goal.sum.NewHash()
	if rec.CRC, err = l.crcOf(ctx, f, seen.Size, sum); err != nil {
		return false, err
	}
	if !l.goal.sum.Matches(sum) {
		l.progress.setHeld(0)
		return false, nil
	}
	rec.Sum = l.goal.sum
	return l.adoptFile(rec, "", seen)
}

// presentByRecord compares the file with the checksums of the record moved, which is of another path.
func (l lookup) presentByRecord(ctx context.Context, moved store.Record, target string, seen store.FileStamp) (bool, error) {
	damaged, err := l.engine.store.Damaged(ctx, moved, target)
	if errors.Is(err, store.ErrNoSums) || err == nil && damaged.Len() > 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	lists := l.goal.listed.Lists // not the lists of the other path, which do not name this one
	if len(moved.Lists) == 0 || moved.Lists.Has(store.Nameless) {
		lists = lists.With(store.Nameless)
	}
	like := moved.ID
	moved.ID, moved.Created, moved.Target, moved.Lists = l.req.ID, time.Time{}, target, lists
	return l.adoptFile(moved, like, seen)
}

// crcOf returns the CRC-32C of the first size bytes of a file, and writes these to the hash also. It
// shows the progress.
func (l lookup) crcOf(ctx context.Context, file io.ReaderAt, size int64, also io.Writer) (uint32, error) {
	crc := crc32.New(castagnoli)
	l.progress.setHeld(0)
	body := heldCounter{l.download, contextReader{ctx, io.NewSectionReader(file, 0, size)}}
	_, err := io.CopyBuffer(io.MultiWriter(also, crc), body, make([]byte, compareBytes))
	return crc.Sum32(), err
}

// presentBySize asks the server for the size of the file and its validators.
func (l lookup) presentBySize(ctx context.Context, rec store.Record, seen store.FileStamp) (bool, error) {
	if err := l.acquireFirst(ctx, l.engine.host(l.origin.url)); err != nil {
		return false, err
	}
	defer l.first.release()
	rep, err := l.ask(ctx, nil, chunk.Range{End: 1})
	if errors.Is(err, errUnsatisfiable) {
		if rep.Version.Size > 0 || seen.Size > 0 || !l.hasWantedTime(rep, seen) {
			return false, nil
		}
		return l.adoptFile(rec, "", seen)
	}
	if err != nil {
		return false, err
	}
	rep.close()
	if rep.Version.Size != seen.Size || !l.hasWantedTime(rep, seen) {
		return false, nil
	}
	f, err := l.engine.store.OpenDone(rec)
	if err != nil {
		return false, err
	}
	defer f.Close()
	if rec.CRC, err = l.crcOf(ctx, f, seen.Size, io.Discard); err != nil {
		return false, err
	}
	rec.ETag, rec.LastModified, rec.Type = rep.Version.ETag, rep.Version.LastModified, rep.Version.MediaType
	return l.adoptFile(rec, "", seen)
}

// hasWantedTime reports whether a file has the modification time of the response, if it must have.
func (l lookup) hasWantedTime(rep *reply, seen store.FileStamp) bool {
	if l.req.Existing.Taking != TakeSameVersion {
		return true
	}
	t, err := http.ParseTime(rep.Version.LastModified)
	return err == nil && t.Equal(seen.ModTime.Truncate(time.Second))
}

// adoptFile records a proved file, which has the bytes of the finished file like.
func (l lookup) adoptFile(rec store.Record, like store.ID, seen store.FileStamp) (bool, error) {
	rec, err := l.engine.store.Adopt(rec, like, seen)
	if err != nil {
		return false, err
	}
	l.progress.show(rec)
	l.progress.setHeld(rec.Size)
	return true, nil
}

// reprove reports whether a finished file that is not as recorded has the recorded bytes all the
// same, or the wanted digest. It returns the record as it is then.
func (l lookup) reprove(ctx context.Context, rec store.Record) (store.Record, bool, error) {
	seen, ok := l.engine.store.Stamp(rec.Target)
	if !ok {
		return rec, false, nil
	}
	damaged, err := l.engine.store.Damaged(ctx, rec, rec.Target)
	if err == nil && damaged.Len() == 0 {
		rec, err = l.engine.store.Adopt(rec, "", seen)
		return rec, err == nil, err
	}
	if err != nil && !errors.Is(err, store.ErrNoSums) {
		return rec, false, err
	}
	if l.goal.sum.IsZero() {
		return rec, false, nil
	}
	found := store.Record{URL: l.origin.recorded, Target: rec.Target, Named: rec.Named, Lists: rec.Lists}
	same, err := l.presentByDigest(ctx, found, seen)
	if !same || err != nil {
		return rec, false, err
	}
	rec, err = l.engine.store.ByTarget(rec.Target)
	return rec, err == nil, err
}

// isSameFile reports whether the URL of the download has the file of rec, which came from another
// URL. The wanted digest says so, or the server's digest. Validators of two URLs prove nothing: a
// server may make them of time and size. But if only the host or a signature in the query differs,
// it is the same file if its version there is. The record gets the new URL then.
func (l lookup) isSameFile(ctx context.Context, rec store.Record) (bool, error) {
	if l.req.Existing.Restart || !l.fitsType(rec) {
		return false, nil
	}
	if !l.goal.sum.IsZero() {
		if err := l.verifySum(ctx, rec); errors.Is(err, failure.ErrChecksum) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		rec.Sum = l.goal.sum
	} else if same, err := l.hasVersion(ctx, rec); !same || err != nil {
		return false, err
	}
	rec.URL = l.origin.recorded
	if err := l.engine.store.Amend(rec); err != nil {
		return false, err
	}
	l.progress.setHeld(rec.Size)
	return true, nil
}

// hasVersion asks the server once whether its file has the version of rec.
func (l lookup) hasVersion(ctx context.Context, rec store.Record) (bool, error) {
	if err := l.acquireFirst(ctx, l.engine.host(l.origin.url)); err != nil {
		return false, err
	}
	defer l.first.release()
	rep, err := l.ask(ctx, nil, chunk.Range{End: 1})
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case failure.IsPermanent(err), errors.Is(err, errUnsatisfiable):
		return false, nil
	case err != nil:
		return false, err
	}
	rep.close()
	was := versionOf(rec)
	if was.SizeDiffers(rep.Version) {
		return false, nil
	}
	if sum := l.serverDigest(rep); !sum.IsZero() {
		return l.hasDigest(ctx, rec, sum)
	}
	return weburl.SamePath(rec.URL, l.origin.recorded) && was.Differs(rep.Version) == "" && was.SharesValidator(rep.Version), nil
}

// A contextReader ends with the cause of ctx when ctx does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(b []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(b)
}
