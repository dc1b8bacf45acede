package downloader

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
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

// A job is one download, from the lookup of its record to its end. One goroutine runs it.
// The connections of a transfer use it at the same time, but only its parts that are safe for
// concurrent use, and those that do not change while a transfer runs.
type job struct {
	d        *Downloader
	req      Request // immutable
	goal     goal
	origin   origin
	first    firstConn
	budget   *retryBudget
	progress *progress
	version  version
	file     file
	mirrors  []*mirror
	wrong    mismatches // earlier downloads of this request with a wrong digest
	transfer *transfer  // under way, or the last one of the attempt; nil before
}

// A goal is the file that a download must produce: its request, completed by its record.
type goal struct {
	output  string    // path, or name in Request.Dir; "" if the server or the URL names the file
	named   bool      // the user or a list chose output
	replace bool      // a file at the target may be replaced
	sum     chunk.Sum // digest that the file must have; zero for none
}

// The origin is the URL of a request, as the first source of its file.
type origin struct {
	*resolver
	url        *url.URL // without user and password; immutable
	recorded   string   // url as records have it; immutable
	basic      string   // Authorization field from user and password, for the origin of url alone; immutable
	oneStream  bool     // no more ranges are requested
	plainTried bool     // a request without Range was tried because one with Range failed
}

func newJob(d *Downloader, req Request) (*job, error) {
	if req.ID != "" && req.URL == "" {
		rec, err := d.store.Get(req.ID)
		if err != nil {
			return nil, err
		}
		req.URL = rec.URL
	}
	u, err := parseURL(req.URL)
	if err != nil {
		return nil, err
	}
	if req.ListEntry != nil {
		if err := d.opts.Follow.checkScheme(u.Scheme); err != nil {
			return nil, err
		}
	}
	j := &job{
		d:        d,
		req:      req,
		goal:     goal{output: req.Output, named: req.Output != "", replace: req.Overwrite, sum: req.Sum},
		budget:   newRetryBudget(d.opts),
		progress: &progress{},
		version:  version{Version: response.Version{Size: -1}, digest: req.Sum},
	}
	j.origin = origin{url: u, basic: basicAuth(u.User)}
	u.User = nil
	j.origin.recorded = u.String()
	j.origin.resolver = newResolver(destination{url: u, public: req.isPublic(u)})
	j.progress.show(store.Record{Target: j.origin.recorded, Size: -1})
	j.addMirrors(namer{given: true}, req.Mirrors...)
	return j, nil
}

// basicAuth returns the Authorization field for user and password of a URL, "" for none.
func basicAuth(user *url.Userinfo) string {
	if user == nil {
		return ""
	}
	password, _ := user.Password()
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

// isPublic reports whether a public list has named u.
func (r *Request) isPublic(u *url.URL) bool { return r.Public != nil && r.Public(originOf(u)) }

// run downloads the file and reports how that ended.
func (j *job) run(ctx context.Context) (Result, error) {
	begun := time.Now()
	current, err := j.get(ctx)
	if n := j.budget.exhaustedAfter(); err != nil && n > 1 {
		words := "given up after %d tries without a byte"
		if errors.Is(err, failure.ErrTrickle) {
			words = "given up after %d tries"
		}
		err = fmt.Errorf("%w; "+words, err, n)
	}
	if j.file.part != nil {
		err = j.dropTooLarge(j.file.record(), j.end(ctx, err))
	}
	repeated := false
	if j.req.Stream == nil {
		err, repeated = j.wrong.with(err)
	}
	r := j.result(begun, current)
	if !repeated {
		e := Event{Kind: Finished, Size: r.Size, Held: j.progress.held.Load(), Fetched: r.Fetched, Elapsed: r.Elapsed, Current: current, Unframed: r.Unframed}
		if err != nil {
			e.Kind, e.Err = Stopped, err
		}
		j.emit(e)
	}
	return r, err
}

// result returns the outcome of the download, which began at begun.
func (j *job) result(begun time.Time, current bool) Result {
	p := j.progress.snapshot()
	r := Result{
		ID: p.ID, Target: p.Target, Size: p.Size, Current: current, Elapsed: time.Since(begun),
		Fetched: j.progress.received.Load(), Retries: int(j.progress.retries.Load()),
		Private: j.progress.private.Load() && !j.progress.public.Load(),
		Sum:     j.version.digest, CRC: j.file.crc, Unframed: j.version.unframed,
	}
	if p.Target == j.origin.recorded { // the name of the file was never known
		r.Target = ""
	}
	if to, _ := j.origin.current(); r.Fetched > 0 {
		r.Final = WithoutUser(to.url.String())
	}
	return r
}

// get brings the file to its final name. It reports whether the file was current already.
func (j *job) get(ctx context.Context) (current bool, err error) {
	if j.req.Stream != nil {
		j.file.setStream(newStreamSink(j.req.Stream, j.req.Sum))
		j.progress.show(store.Record{Target: "-", Size: -1})
	} else if current, err := (lookup{j}).continueRecord(ctx); current || err != nil {
		return current, err
	}
	for changes := 0; ; {
		err := j.attempt(ctx)
		var begun begunError
		if errors.As(err, &begun) {
			if current, err := (lookup{j}).open(ctx, begun.rec); current || err != nil {
				return current, err
			}
			continue
		}
		var again restartError
		if !errors.As(err, &again) {
			return false, err
		}
		if j.file.moved { // it may be a login page, for which no held byte is given up
			return false, failure.Wrap(failure.ErrChanged, fmt.Errorf("the new URL has another file: %w", err))
		}
		if err := j.restart(ctx, again); err != nil {
			return false, err
		}
		if !again.keep {
			changes++
		}
		if again == errDamaged {
			if j.file.damages++; j.file.damages > maxDamages {
				return false, fmt.Errorf("%s, again and again", again.why)
			}
		}
		j.origin.oneStream = j.origin.oneStream || again.single || changes > maxChanges
	}
}

// restart prepares another attempt, because of why. If one stream is used already, each
// attempt costs a try.
func (j *job) restart(ctx context.Context, why restartError) error {
	if !why.keep {
		lost := j.progress.held.Load()
		if lost > 0 && j.req.FailOnChange {
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

// rewind prepares a download from byte 0, because of why.
func (j *job) rewind(why restartError) error {
	if s := j.file.stream; s != nil && s.off > 0 {
		return why.final(failure.ErrChanged)
	}
	j.version.evidence.Abandoned(j.version.Version)
	j.version.Version = response.Version{Size: -1, MediaType: j.version.MediaType}
	j.version.digest = j.goal.sum
	j.progress.held.Store(0)
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

// forget empties the part file, and deletes from its record all that the server said. The
// record gets this size.
func (j *job) forget(size int64) error {
	j.file.setEarlierRun(contribution{})
	return j.file.part.Restart(func(r *store.Record) {
		r.URL, r.Public = j.origin.recorded, j.origin.start.public
		r.Sum, r.Replace = j.goal.sum, r.Replace || j.goal.replace
		r.Size, r.ETag, r.LastModified, r.Type, r.Coding, r.NoRanges, r.Unframed, r.Mixed = size, "", "", "", "", false, false, false
	})
}

// end records how the download ended, and closes the part file.
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

// written notes that n bytes of the file are written. New ones refill the retry budget.
func (j *job) written(n int64) {
	if gained := j.progress.written(n); gained > 0 {
		j.budget.received(gained)
	}
}

// emit reports a transition of this download.
func (j *job) emit(e Event) {
	p := j.progress.snapshot()
	e.ID, e.URL, e.Target = p.ID, j.origin.recorded, p.Target
	j.d.emit(e)
}
