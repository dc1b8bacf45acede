package downloader

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// maxDamages is how often the part file may prove to be damaged during one download. A
	// guess: a disk that loses written bytes for the fourth time is no use.
	maxDamages = 3
	// maxChanges is how often the remote file may change during a download before one stream
	// is used, which cannot mix versions. A guess.
	maxChanges = 3
	// maxReason limits the error text that a record keeps, in bytes: several lines of a
	// terminal. The text quotes URLs, and so could be as long as they are.
	maxReason = 1 << 10
)

// A job runs one download, from the lookup of its record to its end:
//
//	run       calls get, records how it ended, and reports it
//	get       looks up the record, then makes attempts until one succeeds, or fails for good
//	attempt   requests the missing bytes and transfers them (attempt.go)
//	restart   prepares the next attempt after a restartError
//
// A job must run once, in one goroutine.
type job struct{ sampler }

func newJob(e *engine, req Request) (*job, error) {
	d, err := newDownload(e, req)
	if err != nil {
		return nil, err
	}
	return &job{sampler{asker{d}}}, nil
}

// run downloads the file and reports how that ended. Whatever happens, the written bytes are
// committed and the part file is closed when it returns.
func (j *job) run(ctx context.Context) (Result, error) {
	begun := time.Now()
	current, err := j.get(ctx)
	path := j.knownPath()
	kept := j.file.part == nil && j.req.Existing.keeps(err) && path != ""
	if kept {
		if j.progress.snapshot().Target != path { // nothing is known but its name
			j.progress.show(store.Record{Target: path, Size: -1})
		}
		current, err = true, nil
	}
	// A trickle sends bytes all the time, so "without a byte" would be wrong for it.
	if n := j.budget.exhaustedAfter(); err != nil && n > 1 {
		words := "given up after %d tries without a byte"
		if errors.Is(err, failure.ErrTrickle) {
			words = "given up after %d tries"
		}
		err = fmt.Errorf("%w; "+words, err, n)
	}
	if j.file.part != nil {
		rec := j.file.record()
		if err = j.dropTooLarge(rec, j.end(ctx, err)); err != nil && rec.IsRepair() {
			err = errors.Join(err, j.engine.store.PutBack(rec.ID))
		}
	}
	// If the digest is wrong, the caller may download the file again from another source. Then this
	// job is not the end of the download, and reports none.
	repeated := false
	if j.goal.stream == nil {
		err, repeated = j.wrong.with(err)
	}
	r := j.result(begun, current)
	if err == nil && j.goal.listed != nil && !j.goal.named {
		j.engine.names.release(r.Target)
	}
	if err == nil && !kept {
		r.Proof = j.proof()
	}
	if !repeated {
		e := Event{Kind: Finished, Size: r.Size, Held: j.progress.held.Load(), Outcome: Outcome{Fetched: r.Fetched, Resumed: j.progress.resumed.Load(), Elapsed: r.Elapsed, Current: current, Kept: kept, Page: r.Page, Unframed: r.Unframed, Proof: r.Proof, Sum: r.Sum}}
		if err != nil {
			e.Kind, e.Err = Stopped, err
		}
		j.emit(e)
	}
	return r, err
}

// knownPath returns the path of the file, or "" if it is not known, because the server names the file.
func (j *job) knownPath() string {
	if shown := j.progress.snapshot().Target; shown != j.origin.recorded {
		return shown
	}
	target, err := absTarget(j.goal.dir, j.goal.output)
	if err != nil || j.goal.output == "" {
		return ""
	}
	return target
}

// result returns the outcome of the download, which began at begun.
func (j *job) result(begun time.Time, current bool) Result {
	p := j.progress.snapshot()
	r := Result{
		ID: p.ID, Target: p.Target, Size: p.Size, Current: current, Elapsed: time.Since(begun),
		Fetched: j.progress.received.Load(), Retries: int(j.progress.retries.Load()),
		Private: j.progress.private.Load() && !j.progress.public.Load(),
		Sum:     j.version.digest.Sum, CRC: j.file.crc, Unframed: j.version.unframed, Charset: j.origin.lastCharset(), Page: j.version.page,
	}
	if p.Target == j.origin.recorded { // the name of the file was never known
		r.Target = ""
	}
	if to, _ := j.origin.current(); r.Fetched > 0 {
		r.Final = weburl.WithoutUser(to.url.String())
	}
	return r
}

// get brings the file to its final name. It reports whether the file was current already.
func (j *job) get(ctx context.Context) (current bool, err error) {
	if j.goal.stream != nil {
		j.file.setStream(newStreamSink(j.goal.stream, j.goal.promise()))
		j.progress.show(store.Record{Target: "-", Size: -1})
	} else if current, err := (lookup{j.asker}).continueRecord(ctx); current || err != nil {
		return current, err
	}
	for changes := 0; ; {
		err := j.attempt(ctx)
		var begun begunError
		if errors.As(err, &begun) {
			if current, err := (lookup{j.asker}).open(ctx, begun.rec); current || err != nil {
				return current, err
			}
			continue
		}
		var again restartError
		if !errors.As(err, &again) {
			return false, err
		}
		// After `resume --url`, another file at the new URL is most likely a mistake of the user, or a
		// login page. No held byte is discarded for it.
		if j.file.moved {
			return false, failure.Wrap(failure.ErrChanged, fmt.Errorf("the new URL has another file: %w", err))
		}
		if err := j.restart(ctx, again); err != nil {
			return false, err
		}
		if !again.keep { // a file that changes all the time is fetched in one stream
			changes++
		}
		if again == errGrowing && !j.origin.oneStream {
			j.emit(Event{Kind: Warning, Err: fmt.Errorf("%s; pawl fetches it in one stream, as it is at one moment", again.why)})
		}
		if again == errDamaged {
			if j.file.damages++; j.file.damages > maxDamages {
				return false, fmt.Errorf("%s, again and again", again.why)
			}
		}
		j.origin.oneStream = j.origin.oneStream || again.single || changes > maxChanges
	}
}

// restart prepares another attempt, because of why. If one stream is used already, there is no
// simpler way to ask, so each attempt costs a try. With FailOnChange, and of a file that is repaired,
// held bytes are never discarded: the download ends instead.
func (j *job) restart(ctx context.Context, why restartError) error {
	if !why.keep {
		lost := j.progress.held.Load()
		if rec := j.file.record(); lost > 0 && (j.req.Existing.FailOnChange || rec.IsRepair()) {
			return why.final(failure.ErrChanged)
		}
		if lost > 0 {
			j.emit(Event{Kind: Restarted, Held: lost, Err: why})
		}
		if err := j.rewind(why); err != nil {
			return err
		}
	}
	if !j.origin.oneStream {
		return nil
	}
	wait, again := j.setback(why)
	if !again {
		return why.final(failure.ErrProtocol)
	}
	return sleep(ctx, wait)
}

// rewind discards the held bytes, because of why, and forgets the version that they are of. The bytes
// of a stream cannot be taken back, so a stream with written bytes fails.
func (j *job) rewind(why restartError) error {
	if s := j.file.stream; s != nil && s.off > 0 {
		return why.final(failure.ErrChanged)
	}
	j.version.evidence.Abandoned(j.version.Version)
	j.version.Version = response.Version{Size: -1, MediaType: j.version.MediaType}
	j.version.digest = j.goal.promise()
	j.progress.begin(chunk.Set{})
	if !j.origin.oneStream { // one stream must surpass the most bytes that there ever were
		j.progress.highWater.Store(0)
	}
	for _, m := range j.mirrors {
		m.mu.Lock()
		m.forget()
		m.mu.Unlock()
	}
	if j.file.part == nil {
		return nil
	}
	return j.forget(-1)
}

// end records how the download ended, and closes the part file. A cancelled download is paused, and a
// complete one whose rename failed stays Finishing, so that the next run only repeats the rename. If
// the record cannot be written, the committed bytes are safe all the same, so that is a warning.
func (j *job) end(ctx context.Context, err error) error {
	if err != nil {
		note := j.file.part.Update(func(r *store.Record) {
			switch {
			case r.State == store.Finishing: // complete; the next Resume finishes it
			case ctx.Err() != nil:
				r.State, r.Reason = store.Paused, ""
			default:
				r.State, r.Reason = store.Failed, limitedReason(err)
			}
		})
		if note != nil && !errors.Is(err, store.ErrState) {
			j.emit(Event{Kind: Warning, Err: note})
		}
	}
	return errors.Join(err, j.file.part.Close())
}

// limitedReason returns the text of err as a record keeps it.
func limitedReason(err error) string {
	text := err.Error()
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// dropTooLarge forgets the download of rec, and removes its part file, if err says that the file
// has more bytes than are allowed. The part file must be closed.
func (j *job) dropTooLarge(rec store.Record, err error) error {
	var large tooLargeError
	if !errors.As(err, &large) || !large.arrived || rec.ID == "" {
		return err
	}
	j.progress.setHeld(0)
	return errors.Join(err, j.engine.store.Remove(rec.ID, true))
}
