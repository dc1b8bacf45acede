package fleet

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// endedOf returns the log entry of an outcome of an item whose entry is as it is in the queue, without secrets. dir is the
// directory of this process, in which the file is.
func endedOf(dir string, it Item, o mirror.Outcome) Ended {
	e := Ended{ID: it.ID, State: o.State, URL: weburl.WithoutUser(o.URL), Result: Result(o.Result), Rounds: o.Rounds, Kind: errorName(o.Err)}
	if o.Err != nil {
		e.Error = o.Err.Error()
	}
	e.File = mirror.Item{Entry: it.File.Entry, List: it.File.List, Path: relative(dir, o.Path, it.File.Path), SumBy: it.File.SumBy}
	if o.State == mirror.Fetched || o.State == mirror.Current || o.State == mirror.Unchanged {
		e.File.Record = o.Record
		e.File.Record.Target, e.File.Record.Root, e.File.Record.Lists = "", "", nil
		e.File.Entry = list.Entry{List: it.File.Entry.List, Line: it.File.Entry.Line, Sum: it.File.Entry.Sum, Size: -1}
	}
	e.Raw = store.RawTexts(e.texts())
	return e
}

// relative returns path relative to dir with slashes; or otherwise, if it is not in dir or not known.
func relative(dir, path, otherwise string) string {
	rel, err := filepath.Rel(dir, path)
	if err != nil || path == "" || !filepath.IsLocal(rel) {
		return otherwise
	}
	return filepath.ToSlash(rel)
}

// failedOf returns the log entry of an item that no worker has an outcome of.
func failedOf(it Item, err error) Ended {
	return endedOf("", it, mirror.Outcome{State: mirror.Failed, URL: it.File.Entry.URLs[0], Rounds: max(1, it.File.Rounds), Err: err})
}

// texts returns pointers to the strings outside of File that may have any bytes.
func (e *Ended) texts() []*string {
	return []*string{&e.URL, &e.Error, &e.Result.Final, &e.Result.Charset}
}

// outcome returns the outcome of e for a process whose directory is dir.
func (e *Ended) outcome(dir string) mirror.Outcome {
	store.RestoreTexts(e.texts(), e.Raw)
	path := filepath.Join(dir, filepath.FromSlash(e.File.Path))
	o := mirror.Outcome{Entry: e.File.Entry, Path: path, SumBy: e.File.SumBy, State: e.State, URL: e.URL, Result: downloader.Result(e.Result), Record: e.File.Record, Rounds: e.Rounds, Key: e.ID}
	if o.Record.ID != "" {
		o.Record.Target = path
	}
	if o.Result.ID != "" {
		o.Result.Target = path
	}
	if e.Error != "" || e.Kind != "" {
		o.Err = namedError(e.Kind, e.Error)
	}
	return o
}

// storeNames are the names of errors of package store, in addition to the names of failure.Name. They are stored, so they must not
// change.
var storeNames = []struct {
	name string
	kind error
}{
	{"store.not-found", store.ErrNotFound}, {"store.busy", store.ErrBusy}, {"store.foreign", store.ErrForeign}, {"store.gone", store.ErrGone},
	{"store.cannot-truncate", store.ErrCannotTruncate}, {"store.no-directory", store.ErrNoDirectory}, {"store.newer", store.ErrNewer},
	{"store.no-space", store.ErrNoSpace}, {"store.does-not-fit", store.ErrDoesNotFit}, {"store.state", store.ErrState},
	{"store.not-ours", store.ErrNotOurs}, {"store.link", store.ErrLink}, {"store.irregular", store.ErrIrregular}, {"store.part-file", store.ErrPartFile},
	{"store.cannot-repair", store.ErrCannotRepair}, {"store.id-taken", store.ErrIDTaken},
}

const (
	notTriedName = "not-tried" // see mirror.WasNotTried
	linkName     = "rename"    // an os.LinkError
)

// errorName returns the names of the kinds of an error, from which namedError makes one of the same kinds. It is "" for nil.
func errorName(err error) string {
	if err == nil {
		return ""
	}
	var names []string
	if name := failure.Name(err); name != "" {
		names = append(names, name)
	}
	for _, k := range storeNames {
		if errors.Is(err, k.kind) {
			names = append(names, k.name)
		}
	}
	if link := (*os.LinkError)(nil); errors.As(err, &link) {
		names = append(names, linkName)
	}
	if mirror.WasNotTried(err) {
		names = append(names, notTriedName)
	}
	return strings.Join(names, " ")
}

// namedError returns an error of another process, with its text. It has the kinds that errorName has named, so that exit codes, hints
// and decisions are the same here.
func namedError(names, text string) error {
	e := &remoteError{failure.Named(names, text), nil}
	notTried := false
	for name := range strings.FieldsSeq(names) {
		for _, k := range storeNames {
			if k.name == name {
				e.kinds = append(e.kinds, k.kind)
			}
		}
		if name == linkName {
			e.kinds = append(e.kinds, &os.LinkError{Err: errors.New("an error of another process")})
		}
		notTried = notTried || name == notTriedName
	}
	if notTried {
		return mirror.NotTried(e)
	}
	return e
}

// A remoteError is an error of another process, with kinds of package store in addition to the kinds of failure.
type remoteError struct {
	error
	kinds []error
}

func (e *remoteError) Unwrap() []error { return append([]error{e.error}, e.kinds...) }
