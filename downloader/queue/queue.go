package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/weburl"
	"pawl/store"
)

// Errors of the methods of Queue.
var (
	ErrNotFound = errors.New("no such download in the queue")
	ErrState    = errors.New("not possible in this state")
	ErrSpec     = errors.New("cannot be downloaded")
	ErrFull     = errors.New("the queue is full")
	ErrIDTaken  = errors.New("another download has this ID")
)

const (
	// defaultJobs is how many tasks run at the same time, as in pawl get.
	defaultJobs = 4
	// defaultHistory is how many ended tasks are kept, as aria2 keeps them.
	defaultHistory = 1000
	// defaultTasks is the most unfinished tasks. A guess: a task takes about a kilobyte of memory.
	defaultTasks = 100_000
)

// Options are the settings of a Queue. Root must be set.
type Options struct {
	Root    string // absolute; the files of all tasks are below it
	Jobs    int    // tasks that run at the same time; default 4
	History int    // ended tasks that are kept; default 1000
	Tasks   int    // unfinished tasks that are accepted; default 100,000
	// Request is the template of the requests. A task with a Spec.Existing of its own does not use
	// Request.Existing.
	Request downloader.Request
	// Complete adds settings that depend on the task to its request, such as the credentials that the user has
	// stored for its hosts. Header fields and users of the task have priority. It may be nil.
	Complete func(t Task, req *downloader.Request)
	// RunList downloads the files of a list; nil if the queue has no lists. It calls report from time to
	// time, and returns nil if all files are here.
	RunList func(ctx context.Context, t Task, h *downloader.Handle, report func(Files)) error
	// OnEnd is called when a task is complete or has failed. The task counts as running until OnEnd returns.
	// OnIdle is called when no task runs or waits any more, after the last OnEnd. Any goroutine may call them.
	// They may be nil.
	OnEnd  func(t Task, res downloader.Result, err error)
	OnIdle func()
	// ExitCode classifies failures, for Task.Exit. Default: always 1.
	ExitCode func(error) int
	// Warn is called with messages for the user, by any goroutine. Default: they are dropped.
	Warn func(string)
}

// A Queue is the queue of a state directory. Its methods are safe for concurrent use. Their changes are
// visible at once, and durable when Sync returns.
type Queue struct {
	options Options
	store   *store.Store
	d       *downloader.Downloader
	kick    chan struct{} // capacity 1; has a value if something may start

	mu sync.Mutex
	catalog
	order   []*entry // that have not ended, by rank
	history []*entry // that have ended, oldest first
	jobs    int
	running int
	hold    hold // why nothing starts

	saver
	deleter
	listeners
}

// A hold stops all starts until a time.
type hold struct {
	until  time.Time
	reason string
}

// An entry is a task of a Queue. All fields are guarded by Queue.mu.
type entry struct {
	Task
	rank      int64
	saved     bool      // the task is in the state file; a removed one with its mark
	removal   removal   // whether the task is removed with its files, which may still be here
	run       *run      // nil if it does not run; after Pause and Remove it runs for a moment still
	notYet    time.Time // it does not start before
	spot      spot      // of Spec, as the catalog has it
	changed   bool      // it must be started again when run has stopped
	undeleted error     // why the files of a removed one are still here; nil if they are not
	outside   error     // it does not start, because its directory is not below this Root; nil if it is
}

// A removal says whether a task is removed with its files, and what becomes of the task when they are deleted.
type removal int

const (
	notRemoved removal = iota
	thenForget         // the task is forgotten
	thenKeep           // the task, which ran, becomes history
)

// Open returns the queue in the state file of st, whose files d downloads. Only one process may have the
// queue open: the caller must hold a lock, for example from store.Store.LockRun.
func Open(st *store.Store, d *downloader.Downloader, o Options) (*Queue, error) {
	o.Jobs, o.History, o.Tasks = cmp.Or(o.Jobs, defaultJobs), cmp.Or(o.History, defaultHistory), cmp.Or(o.Tasks, defaultTasks)
	if o.ExitCode == nil {
		o.ExitCode = func(error) int { return 1 }
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.OnEnd == nil {
		o.OnEnd = func(Task, downloader.Result, error) {}
	}
	if o.OnIdle == nil {
		o.OnIdle = func() {}
	}
	entries, err := readEntries(st, o.Warn)
	if err != nil {
		return nil, err
	}
	q := &Queue{options: o, store: st, d: d, jobs: o.Jobs, kick: make(chan struct{}, 1)}
	for _, e := range entries {
		q.include(e)
		_, e.outside = q.dirBelowRoot(e.Dir) // an earlier process may have had another Root
		if e.State.Ended() {
			q.history = append(q.history, e)
		} else {
			q.order = append(q.order, e)
		}
	}
	q.deleteFiles()
	return q, nil
}

// readEntries returns the entries in the state file: the unfinished ones by rank, then the ended ones by their end.
func readEntries(st *store.Store, warn func(string)) ([]*entry, error) {
	stored, err := st.Queue()
	if err != nil {
		return nil, err
	}
	var entries []*entry
	for key, value := range stored {
		e, err := decodeEntry(value)
		if err != nil {
			warn(fmt.Sprintf("the entry %q of the queue cannot be read, and is left alone: %v", key, err))
			continue
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b *entry) int {
		return cmp.Or(a.Ended.Compare(b.Ended), cmp.Compare(a.rank, b.rank), cmp.Compare(a.ID, b.ID))
	})
	return entries, nil
}

// Read returns the tasks in the state file: the unfinished ones in order, then the ended ones. It may be called
// while another process has the queue open; then an active task is shown as waiting.
func Read(st *store.Store) ([]Task, error) {
	entries, err := readEntries(st, func(string) {})
	tasks := make([]Task, len(entries))
	for i, e := range entries {
		tasks[i] = e.Task
	}
	return tasks, err
}

// Add appends tasks, in their order, at a place, and returns them. paused says that they wait for
// Resume. A download that is in the queue already is not added twice: its task gets the spec, and is
// returned. An unfinished download on record continues in its task. If it is added again without
// header fields and users, it keeps its present ones, because a caller that copies a Task does not see them. Without
// a digest, it keeps that as long as it is unfinished.
func (q *Queue) Add(specs []Spec, at Place, paused bool) ([]Task, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	entries := make([]*entry, len(specs))
	same := make(map[spot]store.ID)
	for i := range specs {
		e, err := q.newEntry(specs[i])
		if err != nil {
			return nil, err
		}
		entries[i] = e
		if e.List {
			continue
		}
		at := e.Spec.spot()
		if id, ok := same[at]; ok {
			e.ID = id
		}
		same[at] = e.ID
	}
	if len(q.order)+len(entries) > q.options.Tasks {
		return nil, fmt.Errorf("%w: it has %d downloads", ErrFull, len(q.order))
	}
	tasks := make([]Task, len(entries))
	var added []*entry
	for i, e := range entries {
		if paused {
			e.State = Paused
		}
		if known := q.byID[e.ID]; known != nil {
			if !known.State.Ended() {
				if e.Sum.IsZero() { // somebody who does not know the digest must not take it away
					e.Sum = known.Sum
				}
				q.update(known, e.Spec)
				tasks[i] = q.view(known)
				continue
			}
			q.history = remove(q.history, known)
			q.exclude(known)
			e.saved = known.saved
		}
		q.include(e)
		added = append(added, e)
		q.dirty(e)
		q.send(Event{Kind: Added, Task: q.view(e)})
		tasks[i] = q.view(e)
	}
	q.insert(at, added...)
	q.wake()
	return tasks, nil
}

// Root returns the directory that the files of all tasks are below.
func (q *Queue) Root() string { return q.options.Root }

// Check returns the error that Add would return for a spec, unless the queue is full.
func (q *Queue) Check(s Spec) error {
	_, err := q.check(s)
	return err
}

// check returns s with an absolute directory.
func (q *Queue) check(s Spec) (Spec, error) {
	var err error
	if s.Dir, err = q.dirBelowRoot(s.Dir); err != nil {
		return s, err
	}
	switch {
	case s.List && q.options.RunList == nil:
		return s, errNoLists
	case s.List && (len(s.URLs) > 1 || len(s.URLs) > 0 == (len(s.Text) > 0)):
		return s, fmt.Errorf("%w: a list has one URL or a text", ErrSpec)
	case !s.List && len(s.URLs) == 0:
		return s, fmt.Errorf("%w: no URL", ErrSpec)
	}
	for _, u := range s.URLs {
		if err := weburl.Check(u); err != nil {
			return s, fmt.Errorf("%w: %w", ErrSpec, err)
		}
	}
	if s.Name != "" && (!filepath.IsLocal(s.Name) || filepath.Clean(s.Name) == ".") || strings.ContainsRune(s.Name, 0) {
		return s, fmt.Errorf("%w: %q is not a name below the directory", ErrSpec, s.Name)
	}
	if s.ChosenID != "" && !s.ChosenID.IsValid() {
		return s, fmt.Errorf("%w: the ID %q is not 16 hex digits in lower case", ErrSpec, s.ChosenID)
	}
	return s, nil
}

// newEntry checks a spec and returns an entry for it, which is not yet in the queue.
func (q *Queue) newEntry(s Spec) (*entry, error) {
	s, err := q.check(s)
	if err != nil {
		return nil, err
	}
	if q.follows(&s) && list.HasMetalinkName(s.URL()) {
		s = asList(s)
	}
	id, known := q.idFor(&s)
	if old := q.byID[id]; old != nil && old.removal != notRemoved {
		known = false // the download begins anew, when the old bytes are deleted
	}
	e := &entry{Task: Task{ID: id, State: Waiting, Spec: s, Added: time.Now(), Size: -1}}
	switch {
	case known:
		if rec, err := q.store.Get(id); err == nil {
			e.Record, e.Path, e.Size, e.Held = rec.ID, rec.Target, rec.Size, rec.Held.Len()
		}
	case s.ChosenID == "":
		e.ID = store.NewID()
	default:
		e.ID = s.ChosenID
		if _, err := q.store.Get(e.ID); err == nil || q.byID[e.ID] != nil {
			return nil, fmt.Errorf("%q: %w", e.ID, ErrIDTaken)
		}
	}
	e.ChosenID = ""
	if old := q.earlier(e); old != nil && len(e.secrets()) == 0 {
		e.Header, e.User, e.Lost = old.Header, old.User, old.Lost
		e.URLs = append([]string{old.URLs[0]}, e.URLs[1:]...) // the same one, perhaps with a user
	}
	return e, nil
}

// earlier returns the last task that has the URL and the place of e; nil if there is none.
func (q *Queue) earlier(e *entry) *entry {
	if e.List {
		return nil
	}
	if known := q.byID[e.ID]; known != nil && known.URL() == e.URL() {
		return known
	}
	return q.endedAt(e.Spec.spot())
}

// dirBelowRoot returns an absolute directory, which must be the root or below it.
func (q *Queue) dirBelowRoot(dir string) (string, error) {
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(q.options.Root, dir)
	}
	if rel, err := filepath.Rel(q.options.Root, dir); err != nil || !filepath.IsLocal(rel) || strings.ContainsRune(dir, 0) {
		return "", fmt.Errorf("%w: %q is not below %q", ErrSpec, dir, q.options.Root)
	}
	return filepath.Clean(dir), nil
}

// idFor returns the ID of the unfinished task, or of the unfinished download on record, that has the
// URL and the place of s, if there is one.
func (q *Queue) idFor(s *Spec) (id store.ID, known bool) {
	if s.List {
		return "", false
	}
	if e := q.unfinishedAt(s.spot()); e != nil {
		return e.ID, true
	}
	url := s.URL()
	var rec store.Record
	var err error
	if s.Name == "" {
		rec, err = q.store.ByURL(s.Dir, url)
	} else {
		rec, err = q.store.ByTarget(filepath.Join(s.Dir, s.Name))
	}
	if err == nil && rec.State != store.Done && rec.URL == url {
		return rec.ID, true
	}
	return "", false
}

// CheckRecord returns the error that AddRecord would return.
func (q *Queue) CheckRecord(id store.ID) error {
	_, err := q.record(id)
	return err
}

// record returns an unfinished download of the state file that may be added.
func (q *Queue) record(id store.ID) (store.Record, error) {
	rec, err := q.store.Get(id)
	if err == nil && rec.State == store.Done {
		err = fmt.Errorf("%w: the file is finished", ErrState)
	}
	if err == nil {
		_, err = q.dirBelowRoot(filepath.Dir(rec.Target))
	}
	return rec, err
}

// AddRecord adds the unfinished download id of the state file, with the URLs, path and digest on record.
func (q *Queue) AddRecord(id store.ID, paused bool) (Task, error) {
	rec, err := q.record(id)
	if err != nil {
		return Task{}, err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e := q.byID[id]; e != nil && !e.State.Ended() {
		return q.view(e), nil
	} else if e != nil && e.removal != notRemoved {
		return Task{}, fmt.Errorf("%w: its files are being deleted", ErrState)
	} else if len(q.order) >= q.options.Tasks {
		return Task{}, fmt.Errorf("%w: it has %d downloads", ErrFull, len(q.order))
	} else if e != nil {
		q.history = remove(q.history, e)
		q.exclude(e)
	}
	e := &entry{Task: Task{
		ID: id, State: Waiting, Added: time.Now(), Record: id, Path: rec.Target, Size: rec.Size, Held: rec.Held.Len(), Lost: rec.Credentials,
		Spec: Spec{URLs: append([]string{rec.URL}, rec.Mirrors...), Dir: filepath.Dir(rec.Target), Sum: rec.Sum},
	}}
	if rec.Named {
		e.Name = filepath.Base(rec.Target)
	}
	if paused {
		e.State = Paused
	}
	q.include(e)
	q.insert(Last, e)
	q.dirty(e)
	q.send(Event{Kind: Added, Task: q.view(e)})
	q.wake()
	return q.view(e), nil
}

// find returns the entry of an ID.
func (q *Queue) find(id store.ID) (*entry, error) {
	if e := q.byID[id]; e != nil {
		return e, nil
	}
	return nil, fmt.Errorf("%q: %w", id, ErrNotFound)
}

// Resolve returns the ID that begins with prefix, if exactly one does.
func (q *Queue) Resolve(prefix string) (store.ID, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.byID[store.ID(prefix)] != nil {
		return store.ID(prefix), nil
	}
	var found store.ID
	for id := range q.byID {
		if strings.HasPrefix(string(id), prefix) {
			if found != "" {
				return "", fmt.Errorf("%q: several downloads begin with it", prefix)
			}
			found = id
		}
	}
	if found == "" {
		return "", fmt.Errorf("%q: %w", prefix, ErrNotFound)
	}
	return found, nil
}

// Task returns one task.
func (q *Queue) Task(id store.ID) (Task, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	e, err := q.find(id)
	if err != nil {
		return Task{}, err
	}
	return q.view(e), nil
}

// Tasks returns the unfinished tasks in their order, and the ended ones, oldest first.
func (q *Queue) Tasks() (unfinished, ended []Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range q.order {
		unfinished = append(unfinished, q.view(e))
	}
	for _, e := range q.history {
		ended = append(ended, q.view(e))
	}
	return unfinished, ended
}

// Detail returns the details of the running download of a task. If it does not run, ok is false, and d has only
// the held bytes on record.
func (q *Queue) Detail(id store.ID) (d downloader.Detail, ok bool) {
	q.mu.Lock()
	e := q.byID[id]
	if e == nil {
		q.mu.Unlock()
		return d, false
	}
	r, record := e.run, cmp.Or(e.Record, e.ID)
	q.mu.Unlock()
	if r != nil {
		return r.handle.Detail(), true
	}
	if rec, err := q.store.Get(record); err == nil {
		d.Held = rec.Held
	}
	return d, false
}

// view returns e as callers see it. It copies the progress of the running download to e, so that e still has it while
// the task waits for another run.
func (q *Queue) view(e *entry) Task {
	var p downloader.Progress
	if e.run != nil {
		var ok bool
		if p, ok = e.run.handle.Progress(); ok {
			e.Path, e.Size, e.Held = cmp.Or(p.Target, e.Path), p.Size, p.Have
		}
	}
	t := e.Task
	if e.isActive() {
		t.State, t.Progress = Active, p
	}
	if t.State == Waiting && e.outside != nil {
		t.Reason = e.outside.Error()
	} else if t.State == Waiting && t.Reason == "" {
		t.Reason = q.hold.reason
	}
	return t
}

// isActive reports whether e runs, and is not about to stop.
func (e *entry) isActive() bool { return e.State == Waiting && e.run != nil && !e.changed }

// Pause stops tasks until Resume. A running one keeps its bytes. Tasks that are paused already stay so.
func (q *Queue) Pause(ids ...store.ID) error {
	return q.each(ids, func(e *entry) error {
		switch {
		case e.State == Paused:
			return nil
		case e.State.Ended():
			return ErrState
		}
		e.State, e.Reason = Paused, ""
		e.stop()
		q.dirty(e)
		q.send(Event{Kind: PausedByUser, Task: q.view(e)})
		return nil
	})
}

// Resume lets paused and failed tasks run again. A failed one goes to the end of the queue.
func (q *Queue) Resume(ids ...store.ID) error {
	return q.each(ids, func(e *entry) error {
		switch e.State {
		case Waiting:
			e.notYet = time.Time{} // the user knows better
		case Paused:
			e.changed = e.run != nil // it has not stopped yet
		case Failed:
			q.history = remove(q.history, e)
			e.Ended = time.Time{}
			e.State = Waiting
			q.insert(Last, e)
		default:
			return ErrState
		}
		e.State, e.Reason, e.Exit = Waiting, "", 0
		q.dirty(e)
		q.send(Event{Kind: Resumed, Task: q.view(e)})
		return nil
	})
}

// each calls do for the entries of the IDs, until one fails.
func (q *Queue) each(ids []store.ID, do func(*entry) error) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.wake()
	for _, id := range ids {
		e, err := q.find(id)
		if err == nil {
			err = do(e)
		}
		if err != nil {
			return fmt.Errorf("%q: %w", id, err)
		}
	}
	return nil
}

// Change calls change with the Spec of a task that has not ended, or has failed. New limits hold at once;
// for other changes, a running download starts again with the bytes that it has.
func (q *Queue) Change(id store.ID, change func(*Spec) error) error {
	return q.each([]store.ID{id}, func(e *entry) error {
		if e.State == Complete || e.State == Removed {
			return ErrState
		}
		s := e.Spec
		s.URLs, s.Header = slices.Clone(s.URLs), s.Header.Clone()
		if err := change(&s); err != nil {
			return err
		}
		s, err := q.check(s)
		if err != nil {
			return err
		}
		if s.Dir != e.Dir || s.Name != e.Name {
			if _, err := q.store.Get(e.ID); err == nil || e.run != nil {
				return fmt.Errorf("%w: the download has begun, and keeps its directory and name", ErrState)
			}
		}
		q.update(e, s)
		return nil
	})
}

// update gives e another spec.
func (q *Queue) update(e *entry, s Spec) {
	before := e.Spec
	q.setSpec(e, s)
	given := s.memoryOnly()
	e.Lost = slices.DeleteFunc(slices.Clone(e.Lost), func(name string) bool { return slices.Contains(given, name) })
	if e.run != nil {
		e.run.handle.SetLimitRate(s.LimitRate)
		e.run.handle.SetConnections(s.Connections)
		before.LimitRate, before.Connections = s.LimitRate, s.Connections
		if !reflect.DeepEqual(before, s) {
			e.changed = true
			e.stop()
		}
	}
	q.dirty(e)
	q.send(Event{Kind: Changed, Task: q.view(e)})
}

// Remove removes tasks. A task that runs becomes history; any other vanishes. files says that its files are
// deleted, too: the part file and, if it is unchanged, the finished file. Remove then returns when they are
// deleted; a running task deletes them when it has stopped. Without files, the downloaded bytes stay, and the
// download continues if the URL is added again. If a file cannot be deleted, the tasks are removed all the same,
// and the error says why: for example store.ErrForeign if somebody has changed the file. The files of a list always
// stay.
func (q *Queue) Remove(files bool, ids ...store.ID) error {
	var removed []*entry
	err := q.each(ids, func(e *entry) error {
		removed = append(removed, e)
		if e.removal != notRemoved {
			return nil // its removal is under way
		}
		ended, running := e.State.Ended(), e.run != nil
		if !ended {
			q.order = remove(q.order, e)
			e.State, e.Ended, e.Reason = Removed, time.Now(), ""
			q.history = append(q.history, e)
			q.send(Event{Kind: Stopped, Task: q.view(e)})
		}
		e.stop()
		if !files && (ended || !running) {
			q.forget(e)
			return nil
		}
		if files {
			e.State, e.removal, e.saved = Removed, thenForget, false
			if running {
				e.removal = thenKeep
			}
		}
		q.dirty(e)
		q.trim()
		return nil
	})
	if files && err == nil {
		err = q.commitAndDelete()
	}
	if files && err == nil {
		err = q.undeleted(removed)
	}
	return err
}

// Forget removes all ended tasks from the history. Their files stay.
func (q *Queue) Forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, e := range slices.Clone(q.history) {
		if e.run == nil && e.removal == notRemoved {
			q.forget(e)
		}
	}
}

// forget removes an ended entry.
func (q *Queue) forget(e *entry) {
	q.history = remove(q.history, e)
	q.exclude(e)
	q.dirty(e)
	q.send(Event{Kind: Forgotten, Task: e.Task})
}

// trim bounds the history.
func (q *Queue) trim() {
	for _, e := range slices.Clone(q.history[:max(0, len(q.history)-q.options.History)]) {
		if e.run == nil && e.removal == notRemoved {
			q.forget(e)
		}
	}
}

// remove returns entries without e.
func remove(entries []*entry, e *entry) []*entry {
	if i := slices.Index(entries, e); i >= 0 {
		return slices.Delete(entries, i, i+1)
	}
	return entries
}

// Jobs returns how many tasks may run at the same time.
func (q *Queue) Jobs() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.jobs
}

// SetJobs changes how many tasks may run at the same time. Running ones are not stopped.
func (q *Queue) SetJobs(n int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.jobs = max(1, n)
	q.wake()
}

// wake makes Run look for tasks that can start.
func (q *Queue) wake() {
	select {
	case q.kick <- struct{}{}:
	default:
	}
}
