package main

// This file downloads the lists that are tasks of the queue of the daemon.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pawl/cmd/pawl/bytetext"
	server "pawl/cmd/pawl/daemon"
	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// maxShownFailures is how many failed files and how many problems a task of a list has in its Files.
	// A guess: as many as a person looks at. They are stored with the task, so 1,000 failed tasks with ten
	// times as many would make the state file larger by 300 MB.
	maxShownFailures = 50
	// maxShownReason limits a text of them, in bytes.
	maxShownReason = 400
)

// listTasks downloads the files of lists as tasks of a queue. It is safe for concurrent use.
type listTasks struct {
	options *Transfer
	limit   ListLimit
	keyring string // keys of which one must have signed each list; "" for no signatures
	store   state
	d       *downloader.Downloader
	hooks   *hooks
	out     *printer // for messages of the list opener
	log     *slog.Logger
}

// run downloads the files of the list of t that are not here. It is queue.Options.RunList.
func (l *listTasks) run(ctx context.Context, t queue.Task, h *downloader.Handle, report func(queue.Files)) error {
	headers := taskHeaders(l.options, t)
	opener := l.limit.newListOpener(l.d, l.store.dir, downloader.Request{Sum: t.Sum, Access: taskAccess(headers, t)})
	opener.signature.Keyring = l.keyring
	name, remove, err := l.nameOf(t)
	if err != nil {
		return err
	}
	defer remove()
	// The command has the names of the lists in the ledger, so that pawl mirror of the same list into the
	// same directory knows these files.
	c := &MirrorCmd{Lists: []string{name}, Dir: t.Dir, ListLimit: l.limit, Transfer: *l.options}
	lock, err := c.lock(l.store.Store)
	if errors.As(err, new(lockedError)) {
		return fmt.Errorf("%w: %w", store.ErrBusy, err)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	tally := &listTally{task: t, hooks: l.hooks, log: l.log, report: report, codes: make(map[int]int)}
	o := mirror.Options{Dir: t.Dir, Temp: l.store.dir, OnOutcome: tally.outcome, OnProblem: tally.problem, OnRound: tally.round, OnRest: tally.rest}
	l.options.applyTo(&o.Request)
	if t.Existing != (downloader.Existing{}) {
		o.Request.Existing = t.Existing
	}
	o.Request.Access.Header = taskAccess(headers, t).Header
	o.ForList = func(list string, req *downloader.Request) {
		req.Handle = h.Part()
		public := opener.isPublic(list)
		req.Access.Credentials = func(origin string) downloader.Credentials { return headers.forList(list, origin) }
		req.Access.Public = func(string) bool { return public }
	}
	tally.run = mirror.NewRun(l.d, l.store.Store, o)
	err = tally.run.Do(ctx, c.lists(ctx, opener, l.out))
	tally.send()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return tally.result(err)
}

// nameOf returns the name of the list of t for a listOpener: its URL, or the path of a file with its
// text, which remove removes.
func (l *listTasks) nameOf(t queue.Task) (name string, remove func(), err error) {
	if len(t.Text) == 0 {
		return t.URLs[0], func() {}, nil
	}
	path := textListPath(l.store, t.ID)
	if err := makePrivateDir(filepath.Dir(path)); err != nil {
		return "", nil, err
	}
	if err := os.WriteFile(path, t.Text, 0o600); err != nil {
		return "", nil, err
	}
	return path, func() { os.Remove(path) }, nil
}

// textListPath returns the path of the file with the text of a list.
func textListPath(st state, id store.ID) string {
	return filepath.Join(st.dir, "lists", "text-"+string(id))
}

// removeTextLists removes the files of textListPath that a daemon has left that was killed. None may be in use.
func removeTextLists(st state) {
	left, _ := filepath.Glob(textListPath(st, "*"))
	for _, path := range left {
		os.Remove(path)
	}
}

// listOwners returns the unfinished tasks of lists by the keys that the records of their files have in Lists.
func listOwners(st state, tasks []server.Task) map[string]server.Task {
	owners := make(map[string]server.Task)
	for _, t := range tasks {
		if !t.List || t.State.Ended() {
			continue
		}
		c := &MirrorCmd{Dir: t.Dir}
		owners[c.listKey(cmp.Or(t.URL, textListPath(st, t.ID)), false)] = t
	}
	return owners
}

// ownerOf returns the task of a list that a file belongs to.
func ownerOf(r store.Record, owners map[string]server.Task) (server.Task, bool) {
	for _, key := range r.Lists {
		if t, ok := owners[key]; ok {
			return t, true
		}
	}
	return server.Task{}, false
}

// taskHeaders returns the header fields and credentials for the URLs of a task: its own, and the ones that
// the user has stored for their hosts.
func taskHeaders(options *Transfer, t queue.Task) originHeaders {
	o := options.originHeaders(t.URLs...)
	for name, values := range t.Header {
		o.fields = withoutField(o.fields, name)
		for _, v := range values {
			o.fields = append(o.fields, headerField{name: name, value: v})
		}
	}
	if t.Referer != "" {
		o.fields = append(withoutField(o.fields, "Referer"), headerField{name: "Referer", value: t.Referer})
	}
	if t.User != nil {
		set := *o.set
		set.user = t.User
		o.set = &set
	}
	return o
}

// withoutField returns fields without the general ones of a name.
func withoutField(fields []headerField, name string) (others []headerField) {
	for _, f := range fields {
		if f.host != "" || !strings.EqualFold(f.name, name) {
			others = append(others, f)
		}
	}
	return others
}

// taskAccess returns how a task asks the hosts of its own URLs.
func taskAccess(headers originHeaders, t queue.Task) downloader.Access {
	a := downloader.Access{Credentials: headers.forTyped}
	if t.UserAgent != "" {
		a.Header = map[string][]string{"User-Agent": {t.UserAgent}}
	}
	return a
}

// A listTally counts the outcomes of the files of a list. The mirror.Run calls its methods one at a time,
// so it needs a lock for send only, which is also called at the end.
type listTally struct {
	task   queue.Task
	hooks  *hooks
	log    *slog.Logger
	report func(queue.Files)
	run    *mirror.Run // source of all counts

	mu      sync.Mutex
	codes   map[int]int    // failed files and problems, by exit code; guarded by mu
	first   error          // of them; guarded by mu
	trouble queue.Trouble  // guarded by mu
	shown   *queue.Trouble // copy of it for others, nil if there is none; guarded by mu
}

// outcome counts the outcome of a file, and runs its hook.
func (y *listTally) outcome(x mirror.Outcome) {
	if x.State == mirror.Failed {
		y.log.Warn("file of a list failed", "list", y.task.ID, "url", shortText(weburl.Redact(x.URL)), "path", x.Path, "error", printable(x.Err.Error()))
		y.failed(x)
	}
	y.send()
	switch x.State {
	case mirror.Failed:
		y.hooks.push(hookFile{x.Path, x.URL, -1, x.Record.ID, x.Err})
	case mirror.Fetched:
		y.hooks.push(hookFile{x.Path, x.URL, x.Result.Size, x.Result.ID, nil})
	}
}

// failed notes a failed file.
func (y *listTally) failed(x mirror.Outcome) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.codes[exitCode(x.Err)]++
	if y.first == nil {
		y.first = fmt.Errorf("%q: %w", filepath.Base(x.Path), x.Err)
	}
	if len(y.trouble.Failures) < maxShownFailures {
		y.trouble.Failures = append(y.trouble.Failures, queue.FailedFile{URL: weburl.WithoutUser(x.URL), Path: x.Path, Reason: shownReason(x.Err)})
		y.show()
	}
}

// problem notes an unusable line, or a list that cannot be read. Warnings are only logged.
func (y *listTally) problem(err error) {
	var p *list.Problem
	if errors.As(err, &p) && p.Warning {
		y.log.Info("list", "list", y.task.ID, "warning", printable(err.Error()))
		return
	}
	y.log.Warn("problem of a list", "list", y.task.ID, "error", printable(weburl.RedactText(err.Error())))
	y.mu.Lock()
	defer y.mu.Unlock()
	code := exitCode(err)
	if p != nil { // the list is that of the task
		code, err = 2, fmt.Errorf("line %d: %w", p.Line, p.Err)
	}
	y.codes[code]++
	if y.first == nil {
		y.first = err
	}
	if len(y.trouble.Problems) < maxShownFailures {
		y.trouble.Problems = append(y.trouble.Problems, shownReason(err))
		y.show()
	}
}

// show makes a copy of the trouble. mu must be held.
func (y *listTally) show() {
	y.shown = &queue.Trouble{Failures: slices.Clone(y.trouble.Failures), Problems: slices.Clone(y.trouble.Problems)}
}

// rest logs that a host rests.
func (y *listTally) rest(x mirror.Rest) {
	if x.Files > 0 {
		y.log.Warn("host of a list rests", "list", y.task.ID, "host", x.Host, "files", x.Files, "error", printable(x.Err.Error()))
	}
}

// round logs that failed files are tried again.
func (y *listTally) round(n, files int, wait time.Duration) {
	y.log.Info("files of a list are tried again", "list", y.task.ID, "files", files, "round", n, "in", wait)
}

// shownReason returns the text of an error for people and programs, without secrets.
func shownReason(err error) string { return shortText(bytetext.Escape(weburl.RedactText(err.Error()))) }

// shortText returns the beginning of a text.
func shortText(text string) string {
	if len(text) > maxShownReason {
		text = strings.ToValidUTF8(text[:maxShownReason], "") + "…"
	}
	return text
}

// send reports the counts.
func (y *listTally) send() {
	c := y.run.Counts()
	y.mu.Lock()
	defer y.mu.Unlock()
	y.report(queue.Files{
		Listed: c.Listed, Here: c.Fetched + c.Current + c.Unchanged, Failed: c.Failed, Problem: c.Problems, Read: c.Read,
		Trouble: y.shown,
	})
}

// result returns the error of the task: why the run has ended early, or else how many files failed.
func (y *listTally) result(err error) error {
	c := y.run.Counts()
	y.mu.Lock()
	defer y.mu.Unlock()
	switch {
	case err != nil:
		return err
	case len(y.codes) == 0:
		return nil
	case c.Listed == 0 && c.Problems <= 1: // the list itself
		return y.first
	}
	return &listTaskError{failed: c.Failed, files: c.Listed, problems: c.Problems, code: worstCode(y.codes), first: y.first}
}

// A listTaskError says how many files of a list are not here.
type listTaskError struct {
	failed, files int
	problems      int   // unusable lines
	code          int   // worst exit code
	first         error // of all failures and problems
}

func (e *listTaskError) Error() string {
	var parts []string
	if e.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s failed", e.failed, fileCountText(e.files)))
	}
	if e.problems > 0 {
		parts = append(parts, "unusable lines in the list: "+strconv.Itoa(e.problems))
	}
	return strings.Join(parts, ", ") + "; the first: " + e.first.Error()
}

// Unwrap returns the exit code.
func (e *listTaskError) Unwrap() error { return exitCodeError(e.code) }
