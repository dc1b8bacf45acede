package main

// This file has the commands that talk to the daemon: add and pause, and the parts of resume and remove that
// are about its queue.

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// maxSentList limits the text of a list that is sent to the daemon, in bytes. The daemon accepts requests
	// of 2 MiB, and JSON needs more bytes than the text.
	maxSentList = 1 << 20
	// releaseTime is how long a removed download may take to end.
	releaseTime = 5 * time.Second
)

// Validate refuses impossible options, and expands the patterns in URLs. kong calls it after parsing.
func (c *AddCmd) Validate() error {
	if !c.List {
		get := GetCmd{URLs: c.URLs, Mirror: c.Mirror, Glob: true}
		if err := get.Validate(); err != nil {
			return err
		}
		c.URLs = get.URLs
	}
	if (len(c.URLs) > 1 || c.List) && (c.Output != "" || len(c.Mirror) > 0) || len(c.URLs) > 1 && !c.Checksum.IsZero() {
		return errors.New("--output, --checksum and --mirror need exactly one URL of a file")
	}
	if c.Output != "" && !filepath.IsLocal(c.Output) {
		return fmt.Errorf("--output: %q is not a name below the directory; choose the directory with --dir", c.Output)
	}
	if c.Connections < 0 {
		return errors.New("--connections must be at least 1")
	}
	for _, h := range c.Header {
		for _, f := range h.fields {
			if f.host != "" {
				return fmt.Errorf("--header: a field for one host, such as %s, belongs into the config file, where the daemon reads it", f.host)
			}
		}
	}
	return nil
}

// Run adds the downloads, all or none, and prints their IDs.
func (c *AddCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	client, err := g.findDaemon(out)
	if err != nil {
		return err
	}
	for _, h := range c.Header {
		if h.exposed != "" {
			warnExposed(out, h.exposed)
		}
	}
	user, err := c.login(ctx)
	if err != nil {
		return err
	}
	var all []server.Addition
	for i, u := range c.URLs {
		a := server.Addition{
			Dir: c.Dir, Name: filepath.ToSlash(c.Output), LimitRate: int64(c.LimitRate), Connections: c.Connections, List: c.List,
			UserAgent: c.UserAgent, Referer: c.Referer, User: user, Header: c.headerLines(), Overwrite: c.Overwrite, Paused: c.Paused,
		}
		if !c.Checksum.IsZero() {
			a.Checksum = c.Checksum.String()
		}
		if c.First {
			a.Position = &i
		}
		if a.URLs = append([]string{u}, c.Mirror...); c.List && !isURL(u) {
			a.URLs = nil
			if a.Text, err = readListText(u); err != nil {
				return listError{err}
			}
		}
		all = append(all, a)
	}
	tasks, err := client.Add(ctx, all...)
	if err != nil {
		return daemonFailure(err)
	}
	for i, t := range tasks {
		if err := printAdded(g, out, t, c.URLs[i]); err != nil {
			return err
		}
	}
	return nil
}

// printAdded prints the ID of an added task, or all of it as JSON.
func printAdded(g *Globals, out *printer, t server.Task, name string) error {
	what := map[queue.State]string{queue.Paused: "added, and paused", queue.Active: "runs already", queue.Waiting: "added"}[t.State]
	out.note("%q: %s; its place is %q", weburl.Redact(name), cmp.Or(what, string(t.State)), t.FilePath())
	if g.JSON {
		return newJSONEncoder(out.stdout).Encode(t)
	}
	_, err := fmt.Fprintln(out.stdout, t.ID)
	return err
}

// login returns the user and the password of --user, "" for none.
func (c *AddCmd) login(ctx context.Context) (string, error) {
	if !c.User.given {
		return "", nil
	}
	password := c.User.password
	if !c.User.hasPassword {
		var err error
		if password, err = askPassword(ctx, c.User.name); err != nil {
			return "", err
		}
	}
	return c.User.name + ":" + password, nil
}

// headerLines returns the header fields as "Name: value".
func (c *AddCmd) headerLines() (lines []string) {
	for _, h := range c.Header {
		for _, f := range h.fields {
			lines = append(lines, f.name+": "+f.value)
		}
	}
	return lines
}

// readListText returns the text of a list that is a file, or standard input. The daemon must not read the files of
// the user, whoever asks it.
func readListText(name string) (string, error) {
	in := os.Stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return "", err
		}
		defer f.Close()
		in = f
	}
	text, err := io.ReadAll(io.LimitReader(in, maxSentList+1))
	if err == nil && bytes.HasPrefix(text, []byte("\x1f\x8b")) {
		var z *gzip.Reader
		if z, err = gzip.NewReader(io.MultiReader(bytes.NewReader(text), in)); err == nil {
			text, err = io.ReadAll(io.LimitReader(z, maxSentList+1))
		}
	}
	switch {
	case err != nil:
		return "", err
	case len(text) > maxSentList:
		return "", fmt.Errorf("list %q is larger than %s; give the daemon its URL, or use: pawl mirror", name, size(maxSentList))
	case !utf8.Valid(text):
		return "", fmt.Errorf("list %q is not text in UTF-8; use: pawl mirror", name)
	case len(bytes.TrimSpace(text)) == 0:
		return "", usageErr{fmt.Errorf("list %q%s", name, namesNoFiles)}
	}
	return string(text), nil
}

// daemonFailure returns the error of a request to the daemon with the exit code that it has elsewhere.
func daemonFailure(err error) error {
	var answer *server.Error
	if !errors.As(err, &answer) {
		return err
	}
	switch answer.Code {
	case "spec":
		return usageErr{err}
	case "not_found":
		return kindError{err, store.ErrNotFound}
	case "too_large":
		return usageErr{fmt.Errorf("too many downloads at a time: %w; add fewer, or a list of them with --list", err)}
	}
	return err
}

// A kindError is an error that is also of another kind.
type kindError struct {
	error
	kind error
}

func (e kindError) Unwrap() []error { return []error{e.error, e.kind} }

// Run pauses downloads of the daemon.
func (c *PauseCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	if err := refuseRuns("pause", c.Downloads); err != nil {
		return err
	}
	client, err := g.findDaemon(out)
	if err != nil {
		return err
	}
	ids, err := findTasks(ctx, client, c.Downloads)
	if err != nil {
		return err
	}
	tasks, err := client.Pause(ctx, ids...)
	if err != nil {
		return daemonFailure(err)
	}
	for _, t := range tasks {
		out.note("%q is paused; continue it with: pawl resume %s", relPath(t.FilePath()), t.ID)
	}
	if len(tasks) == 0 {
		out.note("the daemon has nothing to pause")
	}
	return nil
}

// findTasks returns the IDs of the tasks that words name. It returns none for no words.
func findTasks(ctx context.Context, client *server.Client, words []string) (ids []store.ID, err error) {
	if len(words) == 0 {
		return nil, nil
	}
	tasks, err := client.Tasks(ctx)
	if err != nil {
		return nil, err
	}
	for _, word := range words {
		t, ok := findTask(tasks, word, true)
		if !ok {
			return nil, fmt.Errorf("%q: %w in the queue of the daemon", word, store.ErrNotFound)
		}
		ids = append(ids, t.ID)
	}
	return ids, nil
}

// findTask returns the task that a word names: by its ID or the path of its file or part file, or else, if loose is
// set and no other has the same, by at least four digits of the beginning of its ID, by its URL, or by the name of
// its file. Unfinished tasks have priority.
func findTask(tasks []server.Task, word string, loose bool) (server.Task, bool) {
	path, _ := filepath.Abs(word)
	isAt := func(t server.Task) bool { return t.FilePath() == path || t.FilePath()+".part" == path }
	isCalled := func(t server.Task) bool { return t.URL == word || filepath.Base(t.FilePath()) == word }
	matches := []func(t server.Task) bool{
		func(t server.Task) bool { return string(t.ID) == word },
		func(t server.Task) bool { return !t.State.Ended() && isAt(t) },
		isAt,
	}
	exact := len(matches)
	if loose {
		matches = append(matches,
			func(t server.Task) bool { return len(word) >= 4 && strings.HasPrefix(string(t.ID), word) },
			func(t server.Task) bool { return !t.State.Ended() && isCalled(t) },
			isCalled)
	}
	for i, match := range matches {
		var found []server.Task
		for _, t := range tasks {
			if match(t) {
				found = append(found, t)
			}
		}
		if len(found) == 1 || len(found) > 1 && i < exact { // the first ended one is the newest
			return found[0], true
		}
	}
	return server.Task{}, false
}

// find returns the task that a word names. A download on record that the word names exactly has priority over a
// task that it only resembles.
func (l taskList) find(st *store.Store, word string) (server.Task, bool) {
	if t, ok := findTask(l.tasks, word, false); ok {
		return t, true
	}
	if rec, err := resolveDownload(st, word); err == nil {
		return findTask(l.tasks, string(rec.ID), false)
	}
	return findTask(l.tasks, word, true)
}

// checkRecords returns an error if a word names the task of a file that has no record, so that only the daemon can
// continue it.
func (l taskList) checkRecords(st *store.Store, words []string) error {
	for _, word := range words {
		t, ok := findTask(l.tasks, word, true)
		if !ok || t.List || t.State == queue.Complete || t.State == queue.Removed {
			continue
		}
		_, named := resolveDownload(st, word)
		if _, err := st.Get(t.ID); errors.Is(named, store.ErrNotFound) && errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%q is in the queue, and has not begun: %w", word, server.ErrNotRunning)
		}
	}
	return nil
}

// A taskList is the queue as a command finds it: the queue of the daemon or, if none runs, of the state file.
type taskList struct {
	client *server.Client // nil if no daemon runs
	tasks  []server.Task
}

// openQueue returns the queue of a state directory. A daemon that does not answer is an error.
func openQueue(ctx context.Context, st state) (taskList, error) {
	client, err := server.Find(st.dir)
	if errors.Is(err, server.ErrNotRunning) {
		stored, err := queue.Read(st.Store)
		var l taskList
		for _, t := range stored {
			l.tasks = append(l.tasks, *server.NewTask(t))
		}
		return l, err
	}
	if err != nil {
		return taskList{}, err
	}
	tasks, err := client.Tasks(ctx)
	return taskList{client, tasks}, err
}

// resumeTasks resumes the named downloads that are in the queue of a running daemon; without names, all
// paused ones. It returns the names of the others, and all tasks that the daemon takes care of.
func (c *ResumeCmd) resumeTasks(ctx context.Context, st state, out *printer) (others []string, inQueue []server.Task, err error) {
	l, err := openQueue(ctx, st)
	if err == nil && l.client == nil {
		err = l.checkRecords(st.Store, c.Downloads)
	}
	if err != nil || l.client == nil {
		return c.Downloads, nil, err
	}
	var ids []store.ID
	for _, t := range l.tasks {
		if !t.State.Ended() {
			inQueue = append(inQueue, t)
			if len(c.Downloads) == 0 && t.State == queue.Paused {
				ids = append(ids, t.ID)
			}
		}
	}
	for _, word := range c.Downloads {
		t, ok := l.find(st.Store, word)
		if !ok || t.State == queue.Complete || t.State == queue.Removed {
			others = append(others, word)
			continue
		}
		ids = append(ids, t.ID)
	}
	if len(ids) == 0 {
		return others, inQueue, nil
	}
	if change, changes := c.change(); changes {
		if _, err := l.client.Change(ctx, ids[0], change); err != nil {
			return others, inQueue, daemonFailure(err)
		}
	}
	tasks, err := l.client.Resume(ctx, ids...)
	for _, t := range tasks {
		out.note("%q: the daemon continues it", relPath(t.FilePath()))
	}
	return others, inQueue, daemonFailure(err)
}

// change returns the changes that the options make to the only task that is resumed.
func (c *ResumeCmd) change() (change server.Change, changes bool) {
	if c.URL == "" {
		return change, false
	}
	change.URLs = []string{c.URL}
	for _, h := range c.Header {
		for _, f := range h.fields {
			if f.host == "" {
				change.Header = append(change.Header, f.name+": "+f.value)
			}
		}
	}
	if c.UserAgent != "" {
		change.UserAgent = &c.UserAgent
	}
	if c.Referer != "" {
		change.Referer = &c.Referer
	}
	if c.User.given && c.User.hasPassword {
		login := c.User.name + ":" + c.User.password
		change.User = &login
	}
	return change, true
}

// removeTask removes a download from the queue. ok is false if the queue does not have it. The record and, with
// --files, the part file are removed afterwards, as for any download.
func (c *RemoveCmd) removeTask(ctx context.Context, st state, l taskList, word string) (t server.Task, ok bool, err error) {
	if t, ok = l.find(st.Store, word); !ok {
		return t, false, nil
	}
	if l.client != nil {
		return t, true, daemonFailure(l.client.Remove(ctx, t.ID, false))
	}
	lock, err := lockDaemon(st) // no daemon may have the task in memory
	if err != nil {
		return t, true, err
	}
	defer lock.Close()
	return t, true, st.ChangeQueue(map[string][]byte{string(t.ID): nil})
}

// removeRecord removes the record of a download that may be about to end.
func (c *RemoveCmd) removeRecord(st state, id store.ID) error {
	err := st.Remove(id, c.Files)
	for end := time.Now().Add(releaseTime); errors.Is(err, store.ErrBusy) && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		err = st.Remove(id, c.Files)
	}
	return err
}

// withoutTasks returns the records that belong neither to tasks nor to files of their lists.
func withoutTasks(st state, records []store.Record, tasks []server.Task) []store.Record {
	owners := listOwners(st, tasks)
	return slices.DeleteFunc(records, func(r store.Record) bool {
		_, ofList := ownerOf(r, owners)
		return ofList || slices.ContainsFunc(tasks, func(t server.Task) bool { return t.ID == r.ID })
	})
}
