package downloader

import (
	"context"
	"errors"
	"hash"
	"io"
	"sync"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

// maxSmallFile is how many bytes a small file may have: it is not worth several connections, and
// a crash loses all of it. A guess; at 10 Mbit/s, 256 KiB take 0.2 s.
const maxSmallFile = 256 << 10

// manyBytes is how many bytes a file may have that more connections than usual are of use for: most of its
// time is round trips. A guess: at half, files of 40 KiB are fetched over fewer connections; at double, slow links
// are shared by connections that bring nothing.
const manyBytes = 64 << 10

// smallBuffers hold 32 KiB each, two frames of HTTP/2 or records of TLS, so that the buffers of many files stay in
// the cache of the processor. Half costs more system calls for files that are larger; with double, the
// buffers of a hundred streams are most of the allocated memory, because each collection frees the unused ones.
var smallBuffers = sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}

// A smallFile is a small file among many: one response, written to a temporary file, which is
// made durable together with others. A crash leaves nothing of it, and it cannot be resumed: to ask
// again costs less than to record it.
type smallFile struct {
	*download
	temp *store.TempFile
}

// newSmallFile returns a small file for the response rep, nil if rep has no small file, or if
// the system has no temporary files for them; then the download goes on as a large one. The size must be
// known and the body must be the whole file, because a small file is never resumed, and its content
// coding must not change its size.
func (j *job) newSmallFile(rep *reply) (s *smallFile, err error) {
	size := rep.Version.Size
	if j.goal.released == nil || j.file.brokenOff || j.file.part != nil || rep.Gzip || size < 0 || size > maxSmallFile || rep.Range != (chunk.Range{End: size}) {
		return nil, nil
	}
	if err := j.fits(rep.Version); err != nil {
		return nil, err
	}
	err = j.underFreeName(rep, func(target string, rep *reply) error {
		s, err = j.smallFileAt(target, rep)
		return err
	})
	if errors.Is(err, errors.ErrUnsupported) {
		return nil, nil
	}
	return s, err
}

// smallFileAt creates a temporary file for a target. It returns a takenError as claim does.
func (j *job) smallFileAt(target string, rep *reply) (*smallFile, error) {
	if j.goal.listed == nil || !j.goal.named {
		if err := j.claim(target, rep); err != nil {
			return nil, err
		}
		if err := j.engine.store.CheckTarget(target, j.goal.replace); err != nil {
			return nil, j.inTheWay(err, target, rep.Version.Size)
		}
	}
	rec := store.Record{
		ID: j.req.ID, URL: j.origin.recorded, Target: target, Named: j.goal.isNamed(), NoRanges: rep.Whole,
		ETag: rep.Version.ETag, LastModified: rep.Version.LastModified, Type: rep.Version.MediaType,
		Credentials: j.credentials(j.origin.url).Options,
		Public:      j.origin.start.public, Sum: j.goal.sum, Replace: j.goal.replace, ModTime: j.modTime(rep.Version),
	}
	if j.goal.listed != nil {
		rec.Lists = j.goal.listed.Lists
	}
	temp, err := j.engine.store.CreateTemp(rec)
	if err != nil {
		return nil, err
	}
	j.version.Size = rep.Version.Size
	j.progress.show(store.Record{Target: target, Size: rep.Version.Size})
	return &smallFile{j.download, temp}, nil
}

// fetch reads the body of rep and publishes the file. If the body breaks off, the next attempt
// uses a part file, because the server may break off each time.
func (s *smallFile) fetch(ctx context.Context, rep *reply) error {
	err := s.read(ctx, rep)
	rep.close()
	if err == nil && s.version.Size <= manyBytes {
		s.first.host.ServedSmall()
	}
	s.first.release()
	if err != nil {
		s.temp.Close()
		return s.failed(ctx, err)
	}
	s.goal.released()
	if err := s.engine.store.Publish(s.temp); err != nil {
		return err
	}
	rec := s.temp.Record()
	s.progress.show(rec)
	s.file.crc = rec.CRC
	return blamer{s.download}.blame()
}

// failed returns the error of the attempt after the body could not be read: a restartError if
// there is another try.
func (s *smallFile) failed(ctx context.Context, err error) error {
	if failure.IsPermanent(err) || ctx.Err() != nil || errors.Is(err, failure.ErrChecksum) {
		return errors.Join(context.Cause(ctx), err)
	}
	s.progress.setHeld(0)
	s.file.brokenOff = true
	wait, again := s.setback(err)
	if !again {
		return err
	}
	if err := sleep(ctx, wait); err != nil {
		return err
	}
	return restartError{why: "its body broke off", keep: true}
}

// read reads and verifies the body of rep.
func (s *smallFile) read(ctx context.Context, rep *reply) error {
	var sum hash.Hash
	to := io.Writer(localWriter{s.temp})
	if !s.version.digest.IsZero() {
		sum = s.version.digest.NewHash()
		to = io.MultiWriter(to, sum)
	}
	pieces := pieceHasher{check: &s.pieces, size: rep.Version.Size}
	if sum == nil && s.pieces.use(pieces.size) {
		to = io.MultiWriter(to, &pieces)
	}
	buf := smallBuffers.Get().(*[]byte)
	defer smallBuffers.Put(buf)
	n, err := io.CopyBuffer(to, heldCounter{s.download, io.LimitReader(s.paced(ctx, rep), rep.Version.Size)}, *buf)
	if err == nil && n < rep.Version.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return failure.ExplainBody(err)
	}
	if sum != nil && !s.version.digest.Matches(sum) {
		if err := (blamer{s.download}).mismatched(s.version.digest, s.version.digest.Of(sum)); err != nil {
			return err
		}
	}
	if w := pieces.wrong; w != nil {
		return blamer{s.download}.mismatched(w.want, w.got)
	}
	io.Copy(io.Discard, io.LimitReader(rep.Body, 1)) // meets the end, so that the connection can be used again
	return nil
}

// A localWriter makes the errors of its file permanent.
type localWriter struct{ temp *store.TempFile }

func (w localWriter) Write(b []byte) (int, error) {
	n, err := w.temp.Write(b)
	if err != nil {
		err = failure.Permanent(err)
	}
	return n, err
}

// A heldCounter counts the read bytes as held.
type heldCounter struct {
	j *download
	r io.Reader
}

func (c heldCounter) Read(b []byte) (int, error) {
	n, err := c.r.Read(b)
	c.j.progress.held.Add(int64(n))
	return n, err
}
