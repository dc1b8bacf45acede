package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	server "pawl/cmd/pawl/daemon"
	"pawl/cmd/pawl/dropin"
	"pawl/downloader"
	"pawl/store"
)

// resolveDownload returns the record that an argument names: by the ID, by at least four
// digits of its beginning if they are unique, or by the path of the file or its part file.
func resolveDownload(st *store.Store, word string) (store.Record, error) {
	// Any error other than ErrNotFound, such as a damaged state file, ends the search.
	if rec, err := st.Get(store.ID(word)); err == nil || !errors.Is(err, store.ErrNotFound) {
		return rec, err
	}
	path, err := filepath.Abs(word)
	if err != nil {
		return store.Record{}, err
	}
	// A path has priority over the beginning of an ID, because a file may be called "abcd".
	if rec, err := st.ByPath(path); err == nil || !errors.Is(err, store.ErrNotFound) {
		return rec, err
	}
	var found []store.Record
	for r, err := range allRecords(st, true) {
		if err != nil {
			return store.Record{}, err
		}
		if len(word) >= 4 && strings.HasPrefix(string(r.ID), word) {
			found = append(found, r)
		}
	}
	if len(found) != 1 {
		return store.Record{}, fmt.Errorf("%q: %w", word, store.ErrNotFound)
	}
	return found[0], nil
}

// allRecords returns the records of the unfinished downloads, oldest first. If finished is
// set, the records of the finished files follow, sorted by path.
func allRecords(st *store.Store, finished bool) iter.Seq2[store.Record, error] {
	return func(yield func(store.Record, error) bool) {
		records, err := st.Unfinished()
		if err != nil {
			yield(store.Record{}, err)
			return
		}
		for _, r := range records {
			if (finished || r.State != store.Done) && !yield(r, nil) {
				return
			}
		}
		if !finished {
			return
		}
		for r, err := range st.Finished("") {
			if !yield(r, err) {
				return
			}
		}
	}
}

// Run resumes the named downloads, or all unfinished ones.
func (c *ResumeCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	if err := refuseRuns("resume", c.Downloads); err != nil {
		return err
	}
	return c.thenOnEnd(ctx, out, func() error { return c.run(ctx, g, out) })
}

func (c *ResumeCmd) run(ctx context.Context, g *Globals, out *printer) error {
	if err := c.readCurl(out); err != nil {
		return usageErr{err}
	}
	if c.URL != "" && len(c.Downloads) != 1 {
		return usageErr{errors.New("--url and --as-curl need exactly one download")}
	}
	st, err := g.openStore(out, store.Options{MinFree: int64(c.MinFree)})
	if err != nil {
		return err
	}
	// A running daemon resumes the downloads of its queue itself.
	words, inQueue, err := c.resumeTasks(ctx, st, out)
	if err != nil || len(c.Downloads) > 0 && len(words) == 0 {
		return err
	}
	resumed := len(words) < len(c.Downloads) || len(inQueue) > 0
	c.Downloads = words
	records, err := c.records(st, inQueue, out)
	if err != nil {
		return err
	}
	if len(records) == 0 && resumed {
		return nil
	}
	if c.URL != "" && len(records) > 1 {
		return usageErr{errors.New("--url needs exactly one download")}
	}
	if len(records) == 0 {
		out.note("nothing to resume")
		return nil
	}
	headers, err := c.openHeaders(ctx, out, c.typedURLs(records)...)
	if err != nil {
		return err
	}
	requests := make([]downloader.Request, len(records))
	for i, r := range records {
		requests[i] = downloader.Request{Into: downloader.Recorded{ID: r.ID}, URL: headers.requestURL(cmp.Or(c.URL, r.URL)), Sum: r.Sum, Access: downloader.Access{Credentials: headers.forTyped}}
		// A URL from a public list must still not lead to a private address. A new URL of --url may,
		// because the user has typed it.
		requests[i].Access.Public = func(string) bool { return r.Public && c.URL == "" }
	}
	return (&batch{options: &c.Transfer, globals: g, out: out, store: st, requests: requests, headers: headers}).run(ctx)
}

// readCurl takes the URL and the headers from --as-curl. They replace the settings of config files, and
// options that are typed beside --as-curl replace them.
func (c *ResumeCmd) readCurl(out *printer) error {
	switch {
	case c.AsCurl == "":
		return nil
	case c.URL != "":
		return errors.New("--url and --as-curl both give the URL")
	case c.AsCurl == "-":
		text, err := readConfigFile("-")
		if err != nil {
			return err
		}
		c.AsCurl = string(text)
	}
	r, err := dropin.ReadCurl(c.AsCurl, dropinEnv())
	if err != nil {
		return err
	}
	for _, w := range r.Warnings {
		out.warn("%s", printable(w))
	}
	typed := c.headerFields()
	if c.hosts.aboveHeader { // they are of a config file
		typed = nil
	}
	var pasted header
	for _, text := range r.Header {
		f, err := parseField(text)
		if err != nil {
			return err
		}
		hasLogin := strings.EqualFold(f.name, "Authorization") && (c.hosts.typedUser || c.hosts.typedBearer)
		if !hasLogin && !slices.ContainsFunc(typed, func(t headerField) bool { return t.host == "" && strings.EqualFold(t.name, f.name) }) {
			pasted.fields = append(pasted.fields, f)
		}
	}
	for i, h := range c.Header {
		c.Header[i].fields = slices.DeleteFunc(slices.Clone(h.fields), func(old headerField) bool {
			return old.host == "" && slices.ContainsFunc(pasted.fields, func(f headerField) bool { return strings.EqualFold(f.name, old.name) })
		})
	}
	c.hosts.aboveHeader = false
	c.URL, c.Insecure = r.URL, c.Insecure || r.Insecure
	c.Header = append(c.Header, pasted)
	c.UserAgent, c.Referer = cmp.Or(c.UserAgent, r.UserAgent), cmp.Or(c.Referer, r.Referer)
	return nil
}

// typedURLs returns the URLs that the user typed, now or when the downloads began. The URL
// of a download that a list began counts only if the user named the download now, and not only its
// directory. Only the origins of typed URLs get the headers of the command line: a list could
// otherwise name a host, and receive a secret with the next pawl resume.
func (c *ResumeCmd) typedURLs(records []store.Record) []string {
	urls := []string{c.URL}
	isDir := func(word string) bool {
		info, err := os.Stat(word)
		return err == nil && info.IsDir()
	}
	named := len(c.Downloads) > 0 && !slices.ContainsFunc(c.Downloads, isDir)
	for _, r := range records {
		if len(r.Lists) == 0 || named {
			urls = append(urls, r.URL)
		}
		if len(r.Lists) == 0 {
			urls = append(urls, r.Mirrors...)
		}
	}
	return urls
}

// resolveMoved is resolveDownload for an argument that may also be the path of an unfinished download
// that was moved. It is recorded at its new place.
func resolveMoved(st *store.Store, word string, out *printer) (store.Record, error) {
	rec, err := resolveDownload(st, word)
	path, absErr := filepath.Abs(word)
	if err == nil || absErr != nil || !errors.Is(err, store.ErrNotFound) {
		return rec, errors.Join(err, absErr)
	}
	moved, movedErr := st.FindMoved(path)
	if errors.Is(movedErr, store.ErrNotFound) {
		return rec, err
	}
	if movedErr != nil {
		return rec, movedErr
	}
	return recordMoved(st, moved.ID, filepath.Join(filepath.Dir(path), filepath.Base(moved.Target)), out)
}

// recordMoved records that the download id was moved to target, and returns its record.
func recordMoved(st *store.Store, id store.ID, target string, out *printer) (store.Record, error) {
	if err := st.Move(id, target); err != nil {
		return store.Record{}, err
	}
	out.note("%q has been moved here, and is continued", relPath(target))
	return st.Get(id)
}

// resolveAll returns the downloads of an argument of resume: those below a directory, including those
// that were moved there, or else one.
func resolveAll(st *store.Store, word string, out *printer) ([]store.Record, error) {
	rec, err := resolveMoved(st, word, out)
	path, absErr := filepath.Abs(word)
	info, statErr := os.Stat(path)
	if !errors.Is(err, store.ErrNotFound) || absErr != nil || statErr != nil || !info.IsDir() {
		return []store.Record{rec}, err
	}
	moved, err := st.FindMovedBelow(path)
	if err != nil {
		return nil, err
	}
	for id, target := range moved {
		if _, err := recordMoved(st, id, target, out); err != nil {
			return nil, err
		}
	}
	all, err := st.Unfinished()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(r store.Record) bool {
		return !strings.HasPrefix(r.Target, path+string(filepath.Separator)) || st.Running(r)
	})
	if len(all) == 0 {
		err = fmt.Errorf("%q: %w", word, store.ErrNotFound)
	}
	return all, err
}

// records returns the downloads to resume: the named ones or, without names, all unfinished
// downloads that no other process is running. The tasks of inQueue are left out, unless the user has named the file.
func (c *ResumeCmd) records(st state, inQueue []server.Task, out *printer) ([]store.Record, error) {
	var records []store.Record
	for _, word := range c.Downloads {
		found, err := resolveAll(st.Store, word, out)
		if err != nil {
			return nil, err
		}
		if isDirectory(word) {
			found = withoutTasks(st, found, inQueue)
		}
		records = append(records, found...)
	}
	if len(c.Downloads) > 0 {
		return records, nil
	}
	all, err := st.Unfinished()
	for _, r := range all {
		if r.State != store.Done && !st.Running(r) && !st.isKeptList(r) {
			records = append(records, r)
		}
	}
	return withoutTasks(st, records, inQueue), err
}

// Run removes the records of the named downloads, also from the queue of the daemon. A failure does not stop
// the others.
func (c *RemoveCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	st, err := g.openStore(out, store.Options{})
	if err != nil {
		return err
	}
	l, err := openQueue(ctx, st)
	if err != nil {
		return err
	}
	var failures []error
	for _, word := range c.Downloads {
		task, inQueue, err := c.removeTask(ctx, st, l, word)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if inQueue {
			word = string(task.ID)
		}
		rec, err := resolveDownload(st.Store, word)
		if inQueue && errors.Is(err, store.ErrNotFound) { // it had not begun
			out.note("%q is removed from the queue%s", relPath(task.FilePath()), map[bool]string{true: "; the files of the list are kept"}[task.List])
			continue
		}
		if err == nil {
			err = c.removeRecord(st, rec.ID)
		}
		if err != nil {
			failures = append(failures, err)
			continue
		}
		if rec.State == store.Done || c.Files {
			out.note("%q is forgotten", relPath(rec.Target))
		} else {
			out.note("%q is forgotten; its part file is kept", relPath(rec.Target))
		}
	}
	return errors.Join(failures...)
}
