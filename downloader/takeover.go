package downloader

// This file continues a partial file that another program has left; see TakePartial.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/leftover"
	"pawl/downloader/response"
	"pawl/store"
)

const (
	// maxProvenRuns is how many rows of zeros, and how many runs of bytes between them, are compared:
	// the longest ones. A guess: a program with more connections leaves more holes, of which the
	// shorter are fetched again.
	maxProvenRuns = 8
	// maxTakenRuns is how many runs of bytes are taken from a file with holes. With double, the
	// record of the download is twice as long; with half, more bytes are fetched again.
	maxTakenRuns = 64
	// edgeSize is the length of a sample at the edge of a run, in bytes: a block of most disks.
	edgeSize = 4 << 10
)

// A PartialError means that another program has left the file in the way, and perhaps a part of the wanted
// file: the file is smaller than the wanted one, or there is another file beside it. It is a
// store.ErrForeign.
type PartialError struct {
	Target     string
	Here, Size int64  // bytes of the file in the way, and of the wanted one; if Beside is "", Size is known
	Beside     string // path of the partial file, if Target is only a placeholder, or of a control file; else ""
}

func (e *PartialError) Error() string {
	switch {
	case e.Beside == "":
		return fmt.Sprintf("%q: %v; it has %d of %d bytes", e.Target, store.ErrForeign, e.Here, e.Size)
	case e.Here == 0:
		return fmt.Sprintf("%q: %v; it is empty, and %q may be a part of the wanted file", e.Target, store.ErrForeign, e.Beside)
	}
	return fmt.Sprintf("%q: %v; %q says which parts of it are here", e.Target, store.ErrForeign, e.Beside)
}

// Is is for errors.Is.
func (e *PartialError) Is(kind error) bool { return kind == store.ErrForeign }

// explainTarget returns a PartialError in place of err if that says that a foreign file is at target, and
// another program has perhaps left a part of the wanted file, which has size bytes, -1 if unknown.
func (d *download) explainTarget(err error, target string, size int64) error {
	isForeign := errors.Is(err, store.ErrForeign) && !errors.Is(err, store.ErrIrregular) && !errors.Is(err, failure.ErrClaimed)
	if !isForeign || d.req.Existing.Taking == TakePartial {
		return err
	}
	seen, ok := d.engine.store.Stamp(target)
	if _, onRecord := d.engine.store.ByTarget(target); !ok || !errors.Is(onRecord, store.ErrNotFound) {
		return err
	}
	explained := &PartialError{target, seen.Size, size, ""}
	if control := target + leftover.ControlSuffix; seen.Size == 0 {
		explained.Beside = lookup{asker{d}}.leftoverBeside(target, size)
	} else if noted, ok := d.engine.store.Stamp(control); ok && noted.Size > 0 {
		explained.Beside = control
	}
	if explained.Beside == "" && (seen.Size == 0 || seen.Size >= size) {
		return err
	}
	return explained
}

// A LeftoverWarning says that a download begins anew, although another program may have left a part of its
// file.
type LeftoverWarning struct {
	Path string // of the part
	URL  string // of the download, without user and password
}

func (w *LeftoverWarning) Error() string {
	return fmt.Sprintf("%q may be a part of it, which another program has left", w.Path)
}

// leftoverBeside returns the path of a file beside target whose name says that another program has left it
// there of a file of size bytes, -1 if unknown, or "". Nothing is requested.
func (l lookup) leftoverBeside(target string, size int64) string {
	st := l.engine.store
	for _, path := range l.partialNames(target) {
		seen, isFile := st.Stamp(path)
		if !isFile || seen.Size == 0 || size >= 0 && seen.Size >= size || path == target || leftover.IsUnconfirmed(filepath.Base(path)) {
			continue
		}
		if _, err := st.ByPath(path); errors.Is(err, store.ErrNotFound) {
			return path
		}
	}
	return ""
}

// maxExplaining is how long pawl waits for the size of a file that cannot be stored, to say why. A
// guess; a user who has mistyped a name should not wait for longer.
const maxExplaining = 5 * time.Second

// explainForeign is explainTarget for the target of the request. It asks the server for the size,
// once, if no list says it.
func (l lookup) explainForeign(ctx context.Context, err error) error {
	target, pathErr := absTarget(l.goal.dir, l.goal.output)
	if pathErr != nil || l.req.Existing.keeps(err) {
		return err
	}
	explained := l.explainTarget(err, target, chunk.Unbounded)
	if partial, ok := explained.(*PartialError); !ok || partial.Beside != "" {
		return explained
	}
	if l.goal.listed != nil {
		return l.explainTarget(err, target, l.goal.listed.Size)
	}
	ctx, cancel := context.WithTimeout(ctx, maxExplaining)
	defer cancel()
	if l.acquireFirst(ctx, l.engine.host(l.origin.url)) != nil {
		return err
	}
	defer l.first.release()
	dest, release, resolveErr := l.origin.resolve(ctx)
	if resolveErr != nil {
		return err
	}
	defer release()
	to := l.target(dest)
	to.judge = noRetry
	rep, askErr := send(ctx, l.download, to, nil, chunk.Range{End: 1})
	if askErr != nil {
		return err
	}
	rep.close()
	return l.explainTarget(err, target, rep.Version.Size)
}

// A partialFile is a partial file of another program.
type partialFile struct {
	path, target string
	stamp        store.FileStamp
	control      string           // path of its control file; "" for none
	noted        leftover.Control // content of that
}

// takeOver looks for a part of the file that another program has left, compares it with the bytes of
// the server, and makes it the part file of the download. It reports whether there was one.
func (l lookup) takeOver(ctx context.Context) (taken bool, err error) {
	if l.req.Existing.Taking != TakePartial {
		return false, nil
	}
	target, err := l.likelyTarget()
	if err != nil {
		return false, err
	}
	if len(l.partialsOf(target)) == 0 && l.goal.named { // no request is needed
		l.engine.store.RemovePlaceholder(target)
		return false, nil
	}
	if err := l.acquireFirst(ctx, l.engine.host(l.origin.url)); err != nil {
		return false, err
	}
	defer l.first.release()
	rep, err := l.askEdge(ctx)
	if errors.Is(err, errUnsatisfiable) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if !l.goal.named {
		if target, err = l.wantedPath(rep); err != nil {
			return false, err
		}
	}
	found := l.partialsOf(target)
	if len(found) > 0 && !l.claimName(target) {
		return false, nil
	}
	for _, f := range found {
		part, err := l.takeOverFile(ctx, f, rep)
		if isOther := errors.Is(err, store.ErrForeign) || errors.Is(err, store.ErrNotOurs); isOther && f.path != target {
			l.warn("%w; it is not continued", err) // it is not in the way
			continue
		}
		if err != nil {
			return false, err
		}
		l.progress.show(part.Record())
		return true, l.resume(part)
	}
	l.engine.store.RemovePlaceholder(target)
	return false, nil
}

// likelyTarget returns the path of the file, as far as it is known without a response.
func (l lookup) likelyTarget() (string, error) {
	name := l.goal.output
	if name == "" {
		name = response.FilenameFromURL(l.origin.recorded)
	}
	return absTarget(l.goal.dir, name)
}

// continueMoved continues an unfinished download of the URL whose part file was moved to the place of the
// part file of this download. It reports whether there is one.
func (l lookup) continueMoved() (bool, error) {
	target, err := l.likelyTarget()
	if err != nil {
		return false, err
	}
	st := l.engine.store
	if _, isThere := st.Stamp((&store.Record{Target: target}).Part()); !isThere {
		return false, nil
	}
	rec, err := st.FindMoved(target)
	if err != nil || rec.URL != l.origin.recorded {
		return false, nil
	}
	if err := st.Move(rec.ID, target); err != nil {
		return false, err
	}
	part, err := st.Resume(rec.ID)
	if err != nil {
		return false, err
	}
	l.progress.show(part.Record())
	return true, l.resume(part)
}

// askEdge asks for the first bytes of the file, for the header of the response. The body is closed.
func (l lookup) askEdge(ctx context.Context) (*reply, error) {
	rep, err := l.askWith(ctx, http.Header{"Want-Repr-Digest": {response.WantReprDigest}}, nil, chunk.Range{End: edgeSize})
	if err == nil {
		rep.close()
	}
	return rep, err
}

// TakeOver records the file at path, which another program or machine has left, as a download of
// req.URL, as TakePartial does. The target is the path without the suffix of a partial file, if it has
// one. If the name of the partial file does not contain the name of the file, the name in the URL is used.
// Get then fetches the missing bytes and verifies the digest. Of req, URL, Mirrors, Access, Sum, MaxSize,
// ID and OnEvent are used. If the file is no part of the file of the server, the error is a
// store.ErrForeign and a failure.ErrChecksum, and the file is not touched.
func (d *Downloader) TakeOver(ctx context.Context, req Request, path string) (store.Record, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return store.Record{}, err
	}
	target := leftover.Target(path)
	if leftover.IsUnconfirmed(filepath.Base(path)) {
		target = filepath.Join(filepath.Dir(path), response.FilenameFromURL(req.URL))
	}
	req.Into, req.Existing = File{Output: target}, Existing{Taking: TakePartial}
	dl, err := newDownload(d.engine, req)
	if err != nil {
		return store.Record{}, err
	}
	l := lookup{asker{dl}}
	seen, ok := d.store.Stamp(path)
	if !ok {
		return store.Record{}, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if err := l.acquireFirst(ctx, l.engine.host(l.origin.url)); err != nil {
		return store.Record{}, err
	}
	defer l.first.release()
	rep, err := l.askEdge(ctx)
	if errors.Is(err, errUnsatisfiable) {
		err = failure.Wrap(failure.ErrChecksum, fmt.Errorf("%q has %d bytes, and the file of the server is empty", path, seen.Size))
	}
	if err != nil {
		return store.Record{}, err
	}
	part, err := l.takeOverFile(ctx, partialFile{path: path, target: target, stamp: seen}, rep)
	var other *notPartError
	if errors.As(err, &other) {
		err = failure.Wrap(failure.ErrChecksum, err)
	}
	if err != nil {
		return store.Record{}, err
	}
	return part.Record(), part.Close()
}

// partialsOf returns the partial files of target that are not on record, the likeliest first. A finished
// file on record that has wrong bytes must be repaired, and not taken for right.
func (l lookup) partialsOf(target string) (found []partialFile) {
	st := l.engine.store
	for _, path := range l.partialNames(target) {
		if seen, isFile := st.Stamp(path); isFile && seen.Size > 0 {
			found = append(found, partialFile{path: path, target: target, stamp: seen})
		}
	}
	if len(found) == 0 {
		return nil
	}
	if rec, err := st.ByTarget(target); err == nil {
		if seen, isThere := st.Stamp(target); rec.State != store.Done || isThere && seen.Size >= rec.Size {
			return nil
		}
	}
	return slices.DeleteFunc(found, func(f partialFile) bool {
		_, err := st.ByPath(f.path)
		return f.path != target && err == nil
	})
}

// partialNames returns the paths at which a partial file of target may be. For a file of a list, the
// directory is not read, because it may have as many files as the list.
func (l lookup) partialNames(target string) []string {
	names := leftover.Names(target)
	if l.goal.listed != nil {
		return names
	}
	dir, base := filepath.Split(target)
	for _, prefix := range []string{leftover.SaltPrefix(base), leftover.Unconfirmed} {
		found, _ := l.engine.store.NamesWith(dir, prefix) // without the directory there are none
		for _, n := range slices.Sorted(slices.Values(found)) {
			if leftover.IsSalted(n, base) || leftover.IsUnconfirmed(n) {
				names = append(names, filepath.Join(dir, n))
			}
		}
	}
	return names
}

// takeOverFile compares a partial file with the file of the server, which has the version of rep, and
// makes it the part file of this download. If it is no part of that file, the error is a store.ErrForeign.
func (l lookup) takeOverFile(ctx context.Context, f partialFile, rep *reply) (*store.Part, error) {
	switch now := rep.Version; {
	case now.Size < 0:
		return nil, f.refused("the server does not say how long the file is")
	case f.stamp.Size > now.Size:
		return nil, f.refused("it has %d bytes, and the file of the server has %d", f.stamp.Size, now.Size)
	}
	if err := l.fits(rep.Version); err != nil {
		return nil, err
	}
	if err := checkSize(rep.Version.Size, l.req.MaxSize); err != nil {
		return nil, err
	}
	l.version.Version = l.version.Merge(rep.Version)
	if err := f.readControl(l.engine.store, rep.Version.Size); err != nil {
		return nil, err
	}
	rec := l.newRecord(f.target)
	l.note(&rec, false)
	want := l.goal.promise()
	if sum := l.serverDigest(rep); want.IsZero() && !sum.IsZero() {
		rec.ServerSum = sum
		want = promise{Sum: sum, by: ProofServer, field: "digest"}
	}
	held, err := l.provenBytes(ctx, f, rep, want)
	if err != nil {
		return nil, err
	}
	return l.engine.store.TakeOver(rec, store.Leftover{Path: f.path, Stamp: f.stamp, Held: held, Control: f.control})
}

// provenBytes returns the bytes of a partial file that equal the file of the server: all of them if
// they have the wanted digest, else as heldOf. If the file seems complete, and has another digest, that
// is an error, because the file would have to be replaced, which the user has not asked for.
func (l lookup) provenBytes(ctx context.Context, f partialFile, rep *reply, want promise) (held chunk.Set, err error) {
	mayBeComplete := f.stamp.Size == l.version.Size && !want.IsZero()
	if mayBeComplete {
		same, err := l.hasDigestAt(ctx, f.path, want.Sum)
		if err != nil || same {
			return chunk.NewSet(chunk.Range{End: f.stamp.Size}), err
		}
	}
	if rep.Whole || rep.Gzip {
		return held, f.refused("the server serves no ranges, so it can neither be compared nor continued")
	}
	if held, err = l.heldOf(ctx, f); err != nil {
		return held, err
	}
	if mayBeComplete && held.Len() == l.version.Size {
		return held, f.refused("it has the size of the file of the server, and another digest than %v", want)
	}
	return held, nil
}

// hasDigestAt reports whether the file at path, which has the size of the wanted one, has this digest.
func (l lookup) hasDigestAt(ctx context.Context, path string, sum chunk.Sum) (bool, error) {
	file, err := l.engine.store.OpenAt(path)
	if err != nil {
		return false, err
	}
	defer file.Close()
	err = newVerifier(sum, file).verdict(ctx, l.version.Size)
	if errors.Is(err, failure.ErrChecksum) {
		return false, nil
	}
	return err == nil, err
}

// refused returns the error of a file that is no part of the wanted one.
func (f partialFile) refused(format string, args ...any) error {
	return failure.Wrap(store.ErrForeign, &notPartError{fmt.Errorf("%q: "+format, append([]any{f.path}, args...)...)})
}

// A notPartError means that a file is no part of the wanted one.
type notPartError struct{ error }

func (e *notPartError) Unwrap() error { return e.error }

// readControl reads the control file of aria2 beside a file, if there is one.
func (f *partialFile) readControl(st *store.Store, size int64) error {
	path := f.path + leftover.ControlSuffix
	seen, ok := st.Stamp(path)
	if !ok {
		return nil
	}
	file, err := st.OpenAt(path)
	if err != nil {
		return err
	}
	defer file.Close()
	b, err := io.ReadAll(io.NewSectionReader(file, 0, min(seen.Size, leftover.MaxControl)))
	if err != nil {
		return err
	}
	f.control = path
	if f.noted, err = leftover.ParseControl(b); err != nil {
		return f.refused("%q says which bytes of it are there, and cannot be read: %w", path, err)
	}
	if f.noted.Size != size {
		return f.refused("%q is of a file of %d bytes, and the file of the server has %d", path, f.noted.Size, size)
	}
	f.noted.Finished.Remove(chunk.Range{Off: f.stamp.Size, End: chunk.Unbounded})
	return nil
}

// heldOf returns the bytes of a partial file that equal the file of the server, as far as samples show:
//
//   - the ranges that its control file calls finished;
//   - beyond these, the bytes that are not zero. The program has not noted them before it was killed;
//   - without a control file, rows of zeros too, if all that were compared are zeros on the server.
//     Otherwise they are holes, which a program with several connections has not filled.
func (l lookup) heldOf(ctx context.Context, f partialFile) (held chunk.Set, err error) {
	file, err := l.engine.store.OpenAt(f.path)
	if err != nil {
		return held, err
	}
	defer file.Close()
	zeros, err := leftover.Zeros(contextReader{ctx, io.NewSectionReader(file, 0, f.stamp.Size)}, f.stamp.Size)
	if err != nil {
		return held, err
	}
	whole := chunk.NewSet(chunk.Range{End: f.stamp.Size})
	hasHoles := f.control != ""
	if !hasHoles {
		if hasHoles, err = l.areHoles(ctx, zeros, file); err != nil {
			return held, err
		}
	}
	if !hasHoles {
		return whole, l.requireSamples(ctx, f, whole, file)
	}
	held = f.noted.Finished.Clone()
	if held.Len() > 0 {
		if err := l.requireSamples(ctx, f, held, file); err != nil {
			return held, err
		}
	}
	for r := range held.All() {
		whole.Remove(r)
	}
	for i, r := range longestRanges(zeros, len(zeros)) {
		if i >= maxTakenRuns && r.Len() < edgeSize { // most likely data: the rows of holes are longer
			break
		}
		whole.Remove(r)
	}
	runs := longestRanges(slices.Collect(whole.All()), maxTakenRuns)
	for i, r := range runs {
		if i < maxProvenRuns {
			same, err := l.hasEdges(ctx, r, file)
			if err != nil {
				return held, err
			}
			if !same && f.control == "" {
				return held, f.refused("it has other bytes than the file of the server, for example in %s", response.FormatRange(r))
			}
			if !same {
				continue
			}
		} else if f.control != "" {
			break // nobody says that they are of the file
		}
		held.Add(r)
	}
	if held.Len() == 0 && len(runs) > 0 { // a file of zeros holds nothing, and nothing is lost with it
		return held, f.refused("it has other bytes than the file of the server")
	}
	return held, nil
}

// requireSamples compares samples of held with the server, and returns a store.ErrForeign if they
// differ.
func (l lookup) requireSamples(ctx context.Context, f partialFile, held chunk.Set, file io.ReaderAt) error {
	for _, r := range samples(held) {
		same, err := l.hasSample(ctx, r, file)
		if err != nil {
			return err
		}
		if !same {
			return f.refused("it has other bytes than the file of the server, for example in %s", response.FormatRange(r))
		}
	}
	return nil
}

// hasSample reports whether the server has the bytes of the range r of file.
func (l lookup) hasSample(ctx context.Context, r chunk.Range, file io.ReaderAt) (bool, error) {
	err := sampler(l).proveSample(ctx, r, file)
	var again restartError
	if errors.As(err, &again) {
		return false, nil
	}
	return err == nil, err
}

// areHoles reports whether some of the longest rows of zeros are not zero on the server.
func (l lookup) areHoles(ctx context.Context, zeros []chunk.Range, file io.ReaderAt) (bool, error) {
	for _, r := range longestRanges(zeros, maxProvenRuns) {
		same, err := l.hasEdges(ctx, r, file)
		if err != nil || !same {
			return !same, err
		}
		if r.Len() <= edgeSize {
			continue
		}
		middle := (r.Off + r.End) / 2
		same, err = l.hasSample(ctx, chunk.Range{Off: middle, End: min(middle+edgeSize, r.End)}, file)
		if err != nil || !same {
			return !same, err
		}
	}
	return false, nil
}

// hasEdges reports whether the server has the first and the last bytes of the range r of file.
func (l lookup) hasEdges(ctx context.Context, r chunk.Range, file io.ReaderAt) (bool, error) {
	same, err := l.hasSample(ctx, chunk.Range{Off: r.Off, End: min(r.Off+edgeSize, r.End)}, file)
	if err != nil || !same || r.Len() <= edgeSize {
		return same, err
	}
	return l.hasSample(ctx, chunk.Range{Off: r.End - edgeSize, End: r.End}, file)
}

// longestRanges returns the n longest of ranges, the longest first.
func longestRanges(ranges []chunk.Range, n int) []chunk.Range {
	all := slices.Clone(ranges)
	slices.SortStableFunc(all, func(a, b chunk.Range) int { return int(min(1, max(-1, b.Len()-a.Len()))) })
	return all[:min(n, len(all))]
}
