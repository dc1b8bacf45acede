package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"pawl/downloader"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// spaceWait is the time until the queue tries again after the disk was full. A guess: somebody must
	// delete files, and nobody watches.
	spaceWait = time.Minute
	// busyWait is the time until a task tries again whose file another process downloads. A guess.
	busyWait = 10 * time.Second
	// saveWait is the time until changes are saved again after the state file could not be written. A guess.
	saveWait = 2 * time.Second
)

// errStopped is the cause of the end of a run that Pause, Change or Remove has stopped.
var errStopped = errors.New("stopped by the user")

// errNoLists is the error of a list in a queue without Options.RunList.
var errNoLists = fmt.Errorf("%w: no lists here", ErrSpec)

// A run is a task that runs.
type run struct {
	handle downloader.Handle
	cancel context.CancelCauseFunc
}

// stop stops the run of e, if there is one. Its end comes later; see end.
func (e *entry) stop() {
	if e.run != nil {
		e.run.cancel(errStopped)
	}
}

// Run runs the tasks until ctx ends. Then it stops the running ones, keeps their bytes, and returns nil when all
// changes are durable. It must be called once.
func (q *Queue) Run(ctx context.Context) error {
	var running sync.WaitGroup
	warned := ""
	for ctx.Err() == nil {
		wait := time.Duration(-1)
		err := q.commitAndDelete()
		if err != nil {
			wait = saveWait
		}
		if text := errorText(err); text != warned { // once, and not every saveWait
			if warned = text; text != "" {
				q.options.Warn(text)
			}
		}
		if next := q.start(ctx, &running); wait < 0 || next >= 0 && next < wait {
			wait = next
		}
		q.sleep(ctx, wait)
	}
	running.Wait()
	return q.Sync()
}

// errorText returns the text of an error, "" for nil.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// sleep waits until something may start, for at most the time if it is not negative.
func (q *Queue) sleep(ctx context.Context, limit time.Duration) {
	var timer <-chan time.Time
	if limit >= 0 {
		timer = time.After(limit)
	}
	select {
	case <-ctx.Done():
	case <-q.kick:
	case <-timer:
	}
}

// start starts tasks as long as there is room. It returns after which time to call it again; negative if
// only after an event.
func (q *Queue) start(ctx context.Context, running *sync.WaitGroup) time.Duration {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if wait := q.hold.until.Sub(now); wait > 0 {
		return wait
	}
	q.hold = hold{}
	next := time.Duration(-1)
	for _, e := range q.order {
		if q.running >= q.jobs {
			break
		}
		if e.State != Waiting || e.run != nil || !e.saved || e.outside != nil || q.isRemovedAt(e.spot) {
			continue
		}
		if wait := e.notYet.Sub(now); wait > 0 {
			if next < 0 || wait < next {
				next = wait
			}
			continue
		}
		taskCtx, cancel := context.WithCancelCause(ctx)
		r := &run{cancel: cancel}
		r.handle.SetLimitRate(e.LimitRate)
		r.handle.SetConnections(e.Connections)
		e.run, e.Reason, e.changed = r, "", false
		q.running++
		q.send(Event{Kind: Started, Task: q.view(e)})
		t := e.Task
		running.Go(func() {
			defer cancel(nil)
			res, err := q.download(taskCtx, t, r)
			if t, ended := q.end(ctx, e, res, err); ended {
				q.options.OnEnd(t, res, err)
			}
			if q.release() {
				q.options.OnIdle()
			}
		})
	}
	return next
}

// download runs a task.
func (q *Queue) download(ctx context.Context, t Task, r *run) (downloader.Result, error) {
	if t.List && q.options.RunList == nil { // an earlier process had lists
		return downloader.Result{Size: -1}, errNoLists
	}
	if t.List {
		return downloader.Result{Size: -1}, q.options.RunList(ctx, t, &r.handle, func(f Files) {
			q.mu.Lock()
			defer q.mu.Unlock()
			if e := q.byID[t.ID]; e != nil && e.run == r {
				e.Files = f
			}
		})
	}
	return q.d.Get(ctx, q.request(t, &r.handle))
}

// request returns the request of a task.
func (q *Queue) request(t Task, h *downloader.Handle) downloader.Request {
	req := q.options.Request
	req.URL, req.Mirrors, req.Sum = t.URLs[0], t.URLs[1:], t.Sum
	req.Handle = h
	if t.Existing != (downloader.Existing{}) {
		req.Existing = t.Existing
	}
	req.ID, req.Into = t.ID, downloader.File{Dir: t.Dir, Output: t.Name}
	if q.options.Complete != nil {
		q.options.Complete(t, &req)
	}
	rec, err := q.store.Get(t.ID)
	begun := err == nil && rec.State != store.Done
	if begun {
		req.Into = downloader.Recorded{ID: t.ID}
	}
	header := req.Access.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	for name, values := range t.Header {
		header[name] = values
	}
	if t.UserAgent != "" {
		header.Set("User-Agent", t.UserAgent)
	}
	if t.Referer != "" {
		header.Set("Referer", t.Referer)
	}
	req.Access.Header = header
	if t.User != nil {
		var own []string
		for _, u := range t.URLs {
			own = append(own, downloader.Origin(u))
		}
		others := req.Access.Credentials
		req.Access.Credentials = func(origin string) (c downloader.Credentials) {
			if others != nil {
				c = others(origin)
			}
			if slices.Contains(own, origin) {
				c.User = t.User
			}
			return c
		}
	}
	if ext := strings.ToLower(path.Ext(strings.SplitN(t.URL(), "?", 2)[0])); len(t.Lost) > 0 && !begun && ext != ".html" && ext != ".htm" {
		req.Expect = append(slices.Clone(req.Expect), "!text/html")
	}
	if q.follows(&t.Spec) && !begun {
		req.Expect = withoutMetalinks(req.Expect)
	}
	return req
}

// release ends the place of a task among the running ones, and reports whether the queue is idle now.
func (q *Queue) release() (idle bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.wake()
	return q.running == 0 && !slices.ContainsFunc(q.order, func(e *entry) bool { return e.State == Waiting })
}

// end notes the end of the run of e, and returns its task, and whether it is complete or has failed. ctx is
// the context of Run.
func (q *Queue) end(ctx context.Context, e *entry, res downloader.Result, err error) (t Task, ended bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wake()
	e.run = nil
	if res.ID != "" {
		e.Record, e.Path, e.Size = res.ID, cmp.Or(res.Target, e.Path), res.Size
		if rec, err := q.store.Get(res.ID); err == nil {
			e.Held = rec.Held.Len()
		}
	} else if e.Record == "" && !e.List {
		e.Path, e.Size, e.Held = "", -1, 0 // the values that view has copied are not on record
	}
	switch {
	case e.State == Removed: // Run deletes its files, if the user wants that
	case err == nil:
		e.State, e.Reason, e.Exit = Complete, "", 0
		e.Size, e.Held, e.Proof = res.Size, res.Size, res.Proof
		q.archive(e, Finished)
	case errors.Is(err, errStopped), e.changed, ctx.Err() != nil:
		e.changed = false
	case isMetalink(err) && q.follows(&e.Spec):
		q.setSpec(e, asList(e.Spec))
		q.send(Event{Kind: Changed, Task: q.view(e)})
	case holdsUp(err):
		e.Reason = redacted(err)
		q.hold = hold{until: time.Now().Add(spaceWait), reason: e.Reason}
		q.send(Event{Kind: Delayed, Task: q.view(e)})
	case errors.Is(err, store.ErrBusy):
		q.delay(e, err, busyWait)
	case e.List && errors.Is(err, store.ErrDoesNotFit): // which is true of several of its files
		q.delay(e, err, spaceWait)
	default:
		e.State, e.Reason, e.Exit = Failed, redacted(err), q.options.ExitCode(err)
		q.archive(e, FailedNow)
	}
	q.dirty(e)
	q.trim()
	return e.Task, e.State == Complete || e.State == Failed
}

// delay makes e wait for a time because of err.
func (q *Queue) delay(e *entry, err error, wait time.Duration) {
	e.Reason, e.notYet = redacted(err), time.Now().Add(wait)
	q.send(Event{Kind: Delayed, Task: q.view(e)})
}

// holdsUp reports whether all tasks would fail like this one, because the disk is full or has become
// read-only, or the state directory cannot be used. A file that is too large for the disk fails alone.
func holdsUp(err error) bool {
	return errors.Is(err, store.ErrNoSpace) && !errors.Is(err, store.ErrDoesNotFit) || errors.Is(err, store.ErrState) ||
		errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EROFS)
}

// archive moves e to the history.
func (q *Queue) archive(e *entry, kind Kind) {
	e.Ended = time.Now()
	q.order = remove(q.order, e)
	q.history = append(q.history, e)
	q.send(Event{Kind: kind, Task: q.view(e)})
}

// redacted returns the text of an error without passwords in URLs.
func redacted(err error) string { return weburl.RedactText(err.Error()) }
