package downloader

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/store"
)

// maxDamages is how often the part file may be damaged; a disk that does not keep
// what is written is no use.
const maxDamages = 3

// A job is one download, from finding its record to its end.
type job struct {
	d        *Downloader
	req      Request
	asked    *url.URL // immutable
	recorded string   // asked, as it is recorded: without user and password; immutable
	basic    string   // Authorization by these, for the origin of asked alone; immutable
	patience *patience

	part     *store.Part // nil before the name is known, and for a stream
	sink     io.WriterAt // where bytes go; nil like part
	id       identity    // of the version that the bytes are of; size -1 before any
	host     *host       // that is asked
	entered  bool        // the first connection is counted at host
	pool     *pool       // of the transfer under way; nil before
	single   bool        // no ranges are asked for any more
	named    bool        // the user chose the name
	moved    bool        // to go on from another URL than the recorded one
	started  bool        // which is told once
	gaveUp   bool        // some of what was held was given up for another version
	brokeOff bool        // a small file's body did; it gets a part file
	decoding bool        // a content coding is removed from the body
	unframed bool        // the server does not mark the end of the body
	wrong    mismatches  // earlier downloads of this request
	sum      chunk.Sum   // to verify at the end: the one asked for, or else the server's; zero for none
	damages  int         // how often what was held proved to be damaged
	crc      uint32      // of a small file
	gaveWay  int         // times that it handed back its first connection, in a row
	plain    bool        // a request without Range was tried because one with it failed

	fetched  atomic.Int64 // bytes received by this run
	have     atomic.Int64 // bytes that are there
	most     atomic.Int64 // bytes that ever were: what is fetched again is no progress
	surplus  atomic.Bool  // more bytes came than were asked for; told once
	answers  atomic.Int64 // that were of use
	public   atomic.Bool  // some answer came from a public address
	private  atomic.Bool  // some answer came from a private one
	retries  atomic.Int64 // failures that are followed by another try
	doubts   doubts
	untagged atomic.Bool // some answers came without the strong ETag that others had

	mirrors []*mirror

	resolving chan struct{} // holds a token while one connection asks where asked leads

	mu        sync.Mutex
	final     destination  // where asked led; guarded by mu
	redirects bool         // asked led elsewhere; guarded by mu
	before    contribution // what an earlier run has held, as far as all of it still is; guarded by mu
	seen      Progress     // what a front end sees; guarded by mu
}

func newJob(d *Downloader, req Request) (*job, error) {
	j := &job{d: d, req: req, sum: req.Sum, named: req.Output != "", id: identity{size: -1}, resolving: make(chan struct{}, 1)}
	j.patience = &patience{tries: d.opts.Tries, min: d.opts.RetryWait, max: d.opts.RetryMaxWait, timeout: d.opts.StallTimeout}
	if req.ID != "" && req.URL == "" {
		rec, err := d.store.Get(req.ID)
		if err != nil {
			return nil, err
		}
		j.req.URL = rec.URL
	}
	var err error
	if j.asked, err = parseURL(j.req.URL); err != nil {
		return nil, err
	}
	if req.ListEntry != nil {
		if err := d.opts.Follow.CheckScheme(j.asked.Scheme); err != nil {
			return nil, err
		}
	}
	j.takeUser()
	j.addMirrors(namer{given: true}, j.req.Mirrors...)
	j.recorded = j.asked.String()
	j.seen = Progress{Target: j.recorded, Size: -1}
	return j, nil
}

// takeUser turns user and password of the URL into a header, which goes to its
// origin only, wherever that redirects to.
func (j *job) takeUser() {
	user := j.asked.User
	if user == nil {
		return
	}
	j.asked.User = nil
	password, _ := user.Password()
	j.basic = "Basic " + base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password))
}

// run does the download and tells how it ended.
func (j *job) run(ctx context.Context) (Result, error) {
	begun := time.Now()
	current, err := j.get(ctx)
	if n := j.patience.exhausted(); err != nil && n > 1 {
		words := "given up after %d tries without a byte"
		if errors.Is(err, failure.ErrTrickle) {
			words = "given up after %d tries"
		}
		err = fmt.Errorf("%w; "+words, err, n)
	}
	if j.part != nil {
		err = j.dropTooLarge(j.part.Record(), j.end(ctx, err))
	}
	repeated := false
	if j.req.Stream == nil {
		err, repeated = j.wrong.with(err)
	}
	p := j.progress()
	e := Event{Kind: Finished, Size: p.Size, Held: p.Have, Fetched: j.fetched.Load(), Elapsed: time.Since(begun), Current: current, Unframed: j.unframed}
	if err != nil {
		e.Kind, e.Err = Stopped, err
	}
	if !repeated {
		j.emit(e)
	}
	r := Result{ID: p.ID, Target: p.Target, Size: p.Size, Fetched: e.Fetched, Elapsed: e.Elapsed, Current: current}
	if p.Target == j.recorded { // it was never known
		r.Target = ""
	}
	r.Private = j.private.Load() && !j.public.Load()
	r.Retries, r.Sum, r.CRC, r.Unframed = int(j.retries.Load()), j.sum, j.crc, j.unframed
	if to, _ := j.target(); r.Fetched > 0 {
		r.Final = WithoutUser(to.url.String())
	}
	return r, err
}

// get brings the file to its final name. current says that it was there.
func (j *job) get(ctx context.Context) (current bool, err error) {
	if j.req.Stream != nil {
		j.sink = newStreamSink(j.req.Stream, j.req.Sum)
		j.show(store.Record{Target: "-", Size: -1})
	} else {
		rec, err := j.find()
		if err != nil && (j.req.ID != "" || !errors.Is(err, store.ErrNotFound)) {
			return false, err
		}
		if err == nil {
			if current, err := j.open(ctx, rec); current || err != nil {
				return current, err
			}
		}
	}
	for changes := 0; ; {
		err := j.attempt(ctx)
		var begun begunError
		if errors.As(err, &begun) {
			if current, err := j.open(ctx, begun.rec); current || err != nil {
				return current, err
			}
			continue
		}
		var again restartError
		if !errors.As(err, &again) {
			return false, err
		}
		if j.moved { // a login page, perhaps; nothing is given up for it
			return false, failure.Wrap(failure.ErrChanged, fmt.Errorf("the new address has another file: %w", err))
		}
		if err := j.restart(ctx, again); err != nil {
			return false, err
		}
		if !again.keep {
			changes++
		}
		if again == errDamaged {
			if j.damages++; j.damages > maxDamages {
				return false, fmt.Errorf("%s, again and again", again.why)
			}
		}
		j.single = j.single || again.single || changes > maxChanges
	}
}

// restart makes ready for another attempt, because of why. A server that is
// already asked for one stream only gets as many as there is patience.
func (j *job) restart(ctx context.Context, why restartError) error {
	if !why.keep {
		lost := j.have.Load()
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
	if !j.single {
		return nil
	}
	wait, again := j.setback(why)
	if !again {
		return why.final(failure.ErrProtocol)
	}
	return sleep(ctx, wait)
}

// rewind makes ready to fetch from byte 0, because of why.
func (j *job) rewind(why restartError) error {
	if s, ok := j.sink.(*streamSink); ok && s.off > 0 {
		return why.final(failure.ErrChanged)
	}
	j.doubts.left(j.id)
	j.id = identity{size: -1, media: j.id.media}
	j.sum = j.req.Sum
	j.have.Store(0)
	if !j.single { // else the most that ever was is what has to be surpassed
		j.most.Store(0)
	}
	for _, m := range j.mirrors {
		m.mu.Lock()
		m.forget()
		m.mu.Unlock()
	}
	if j.part == nil {
		return nil
	}
	return j.forget(-1)
}

// forget empties the part file, and its record of all that the server said, but for the
// size if that stays.
func (j *job) forget(size int64) error {
	j.setEarlier(contribution{})
	return j.part.Restart(func(r *store.Record) {
		r.URL, r.Public = j.recorded, j.req.isPublic(j.asked)
		r.Sum, r.Replace = j.req.Sum, r.Replace || j.req.Overwrite
		r.Size, r.ETag, r.LastModified, r.Type, r.Coding, r.NoRanges, r.Unframed, r.Mixed = size, "", "", "", "", false, false, false
	})
}

// end records how the download ended and lets go of the part file.
func (j *job) end(ctx context.Context, err error) error {
	if err != nil {
		note := j.part.Update(func(r *store.Record) {
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
	return errors.Join(err, j.part.Close())
}

// maxReason is how many bytes of an error a record keeps: several lines of a terminal. It
// quotes URLs, and so may be as long as they are.
const maxReason = 1 << 10

// limitedReason returns the text of err as a record keeps it.
func limitedReason(err error) string {
	text := err.Error()
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "") + "…"
	}
	return text
}

// advanced notes how many bytes of the file are written; more than ever before
// is progress, which refills the retry budget.
func (j *job) advanced(have int64) {
	for {
		most := j.most.Load()
		if have <= most {
			return
		}
		if j.most.CompareAndSwap(most, have) {
			j.patience.received(have - most)
			return
		}
	}
}

func (j *job) setPool(p *pool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.pool = p
}

// earlier returns what an earlier run has held.
func (j *job) earlier() contribution {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.before
	c.bytes = c.bytes.Clone()
	return c
}

// isResumed reports whether an earlier run has held some of the file.
func (j *job) isResumed() bool {
	c := j.earlier()
	return c.bytes.Len() > 0
}

func (j *job) setEarlier(c contribution) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before = c
}

// show makes what is known of the download visible.
func (j *job) show(r store.Record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.seen.ID, j.seen.Target, j.seen.Size = r.ID, r.Target, r.Size
}

// progress is for front ends.
func (j *job) progress() Progress {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.seen
	p.Have = j.have.Load()
	if j.pool != nil {
		p.Conns = j.pool.conns()
	}
	return p
}

func (j *job) emit(e Event) {
	p := j.progress()
	e.ID, e.URL, e.Target = p.ID, j.recorded, p.Target
	j.d.emit(e)
}
