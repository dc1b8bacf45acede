package main

// This file is the command verify: it finds the files, has them compared, and has the wrong ones
// repaired. verifier.go reads them.

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"pawl/chunk"
	"pawl/cmd/pawl/bytetext"
	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// Validate refuses impossible options. kong calls it after parsing.
func (c *VerifyCmd) Validate() error {
	if err := cmp.Or(c.SignatureOptions.validate(), checkChecksumFile(c.Checksums)); err != nil {
		return err
	}
	if c.Adopt || c.URL != "" {
		switch {
		case !c.Adopt || c.URL == "" || len(c.Files) != 1 || c.All || c.Checksums != "":
			return errors.New("--adopt takes one file, and needs its URL: pawl verify --adopt PATH --url URL")
		case isURL(c.Files[0]):
			return fmt.Errorf("%q is a URL, and not the path of a file", weburl.Redact(c.Files[0]))
		}
		return weburl.Check(c.URL)
	}
	switch {
	case c.All && (len(c.Files) > 0 || c.Checksums != ""):
		return errors.New("--all verifies everything, so it takes no files")
	case !c.All && len(c.Files) == 0 && c.Checksums == "":
		return errors.New("nothing to verify: name an ID, a PATH or a LIST, or give --checksums FILE, or --all")
	case c.Signature != "" && c.Checksums == "" && len(c.Files) != 1:
		return errors.New("--signature is for one list, or for --checksums")
	case !c.Checksum.IsZero() && (len(c.Files) != 1 || c.Checksums != ""):
		return errors.New("--checksum needs exactly one file; use --checksums for several")
	}
	return nil
}

// A wanted is a file to verify.
type wanted struct {
	rec   store.Record // has only a Target if the file is not on record
	sum   chunk.Sum    // digest that it must have; zero for the digest of the record
	named bool         // the user has named the file itself
}

// errUnknownFile means that there is nothing to compare a file with.
var errUnknownFile = failure.New(failure.ErrUsage, "pawl has not downloaded it, and no digest of it is given")

// A missingError reports that a file that must be verified is not there. It is a
// failure.ErrChecksum, because the bytes are not as they must be.
type missingError struct{ path string }

func (e missingError) Error() string { return fmt.Sprintf("%q is missing", relPath(e.path)) }

func (e missingError) Is(kind error) bool { return kind == failure.ErrChecksum }

// Run verifies the files, and repairs the wrong ones.
func (c *VerifyCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	st, err := g.openStore(out, store.Options{MinFree: int64(c.MinFree)})
	if err != nil {
		return err
	}
	opts, err := c.downloaderOptions()
	if err != nil {
		return err
	}
	named := append([]string{c.Checksums, c.Signature, c.URL}, c.Files...)
	headers := c.originHeaders(named...)
	if c.Repair || slices.ContainsFunc(named, isURL) { // else nothing is requested
		if headers, err = c.openHeaders(ctx, out, named...); err != nil {
			return err
		}
	}
	opts.TLS.Certificate = headers.certificate
	opts.OnEvent = func(e downloader.Event) { printListEvent(out, e) }
	d := downloader.New(st.Store, opts)
	defer d.Close()
	t := verifyTargets{cmd: c, store: st, out: out, d: d}
	t.lists = c.newListOpener(d, st.dir, downloader.Request{Access: downloader.Access{Credentials: headers.forTyped}})
	t.lists.signature = c.SignatureOptions
	if c.Checksums != "" && len(c.Files) > 0 {
		if t.sums, _, err = t.lists.readSums(ctx, c.Checksums, out); err != nil {
			return err
		}
		t.lists.signature = SignatureOptions{} // it is that of the checksum file
	}
	v := newVerification(c, g, out, st.Store)
	if c.Adopt {
		return v.adopt(ctx, st, d, headers)
	}
	err = v.run(ctx, t.all(ctx))
	out.printRepeats()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return err
	}
	if c.Repair && len(v.damaged) > 0 {
		return v.repair(ctx, st)
	}
	return v.finish()
}

// verifyTargets finds the files to verify.
type verifyTargets struct {
	cmd   *VerifyCmd
	store state
	out   *printer
	lists listOpener
	sums  *list.Sums             // of --checksums, for the named files; nil for none
	d     *downloader.Downloader // of the lists
}

// all yields the files to verify. An error concerns one argument, and the others follow.
func (t *verifyTargets) all(ctx context.Context) iter.Seq2[wanted, error] {
	return func(yield func(wanted, error) bool) {
		if t.cmd.All {
			t.recordsBelow("", yield)
			return
		}
		if len(t.cmd.Files) == 0 {
			t.listed(ctx, t.cmd.Checksums, yield)
			return
		}
		for _, word := range t.cmd.Files {
			if !t.word(ctx, word, yield) {
				return
			}
		}
	}
}

// word yields the files that an argument names. A recorded download comes before a directory, a
// list and any other file. If its file is a list with digests, such as SHA256SUMS, and is not named by
// its ID, the files that it names follow. It returns false if no more files are wanted.
func (t *verifyTargets) word(ctx context.Context, word string, yield func(wanted, error) bool) bool {
	rec, err := t.record(word)
	switch {
	case err == nil && rec.State != store.Done && t.store.Running(rec):
		return yield(wanted{}, fmt.Errorf("%q: %w", relPath(rec.Target), store.ErrBusy))
	case err == nil:
		sum, err := t.digest(rec.Target)
		isNamedList := word != string(rec.ID) && rec.State == store.Done && t.sums == nil && sum.IsZero() && hasDigests(rec.Target)
		return yield(wanted{rec, sum, true}, err) && (!isNamedList || t.listed(ctx, rec.Target, yield))
	case !errors.Is(err, store.ErrNotFound):
		return yield(wanted{}, err)
	case isURL(word):
		return t.listed(ctx, word, yield)
	}
	path, absErr := filepath.Abs(word)
	if absErr != nil {
		return yield(wanted{}, absErr)
	}
	info, statErr := os.Stat(path)
	if statErr == nil && info.IsDir() {
		return t.recordsBelow(path, yield)
	}
	sum, sumErr := t.digest(path)
	switch {
	case sumErr != nil:
		return yield(wanted{}, sumErr)
	case !sum.IsZero():
		return yield(wanted{store.Record{Target: path}, sum, true}, nil)
	case word == "-" || statErr == nil && t.sums == nil && isList(word):
		return t.listed(ctx, word, yield)
	case errors.Is(statErr, fs.ErrNotExist):
		return yield(wanted{}, err)
	}
	return yield(wanted{}, fmt.Errorf("%q: %w", word, errUnknownFile))
}

// record returns the record that an argument names, also by the URL of a download into --dir.
func (t *verifyTargets) record(word string) (store.Record, error) {
	if !isURL(word) {
		return resolveMoved(t.store.Store, word, t.out)
	}
	dir, err := filepath.Abs(t.cmd.Dir)
	if err != nil {
		return store.Record{}, err
	}
	return t.store.ByURL(dir, weburl.WithoutUser(word))
}

// digest returns the digest of the command line for a path, zero for none.
func (t *verifyTargets) digest(path string) (chunk.Sum, error) {
	if t.sums == nil {
		return t.cmd.Checksum.Sum, nil
	}
	if dir, err := filepath.Abs(t.cmd.Dir); err == nil {
		if rel, err := filepath.Rel(dir, path); err == nil && filepath.IsLocal(rel) {
			path = rel
		}
	}
	sum, err := t.sums.Find(filepath.ToSlash(path))
	if err == nil && sum.IsZero() {
		err = usageErr{fmt.Errorf("%q has no digest for %q", t.cmd.Checksums, path)}
	}
	return sum, err
}

// recordsBelow yields all recorded files below the directory dir, "" for all. Running downloads are left
// out, because their bytes change.
func (t *verifyTargets) recordsBelow(dir string, yield func(wanted, error) bool) bool {
	prefix := dir
	if dir != "" && !strings.HasSuffix(dir, string(filepath.Separator)) {
		prefix += string(filepath.Separator)
	}
	again := make(map[string]bool) // finished files that are being downloaded again, or repaired
	records, err := t.store.Unfinished()
	if err != nil {
		return yield(wanted{}, err)
	}
	n := 0
	for _, r := range records {
		switch again[r.Target] = true; {
		case dir == "" && t.store.isKeptList(r):
		case !strings.HasPrefix(r.Target, prefix):
		case t.store.Running(r):
			n++
			t.out.note("%q is being downloaded, and not verified", relPath(r.Target))
		default:
			if n++; !yield(wanted{rec: r}, nil) {
				return false
			}
		}
	}
	for r, err := range t.store.Finished(prefix) {
		if err == nil && (again[r.Target] && !t.store.Exists(r) || dir == "" && t.store.isKeptList(r)) {
			continue
		}
		if n++; !yield(wanted{rec: r}, err) {
			return false
		}
	}
	if n == 0 && dir != "" {
		return yield(wanted{}, fmt.Errorf("%q: nothing was downloaded to it: %w", dir, store.ErrNotFound))
	}
	return true
}

// checksumBase is the URL of the files of a checksum file without one: their names must become
// entries, and nothing is requested.
const checksumBase = "http://base.invalid/"

// listed yields the files that a list names, below --dir and with the names that mirror gives them,
// because a dry run of mirror finds them.
func (t *verifyTargets) listed(ctx context.Context, name string, yield func(wanted, error) bool) bool {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	dir, err := filepath.Abs(t.cmd.Dir)
	if err != nil {
		return yield(wanted{}, err)
	}
	m := MirrorCmd{Lists: []string{name}, Dir: dir, ListLimit: t.cmd.ListLimit}
	if !isURL(name) {
		m.Base = checksumBase
	}
	lists := t.lists
	lists.options = list.Options{Base: m.Base}
	more := true
	pass := func(w wanted, err error) { // the run calls it once at a time
		if more {
			if more = yield(w, err); !more {
				cancel()
			}
		}
	}
	run := mirror.NewRun(t.d, t.store.Store, mirror.Options{
		Dir: dir, Temp: t.store.dir, DryRun: true,
		OnOutcome: func(x mirror.Outcome) {
			w := wanted{rec: x.Record, sum: x.Entry.Sum}
			if w.rec.ID == "" {
				w.rec = store.Record{Target: x.Path}
			}
			if x.State != mirror.Pending {
				pass(w, nil)
			}
		},
		OnProblem: func(err error) {
			var p *list.Problem
			switch isWarning := errors.As(err, &p) && p.Warning; {
			case errors.Is(err, list.ErrSigned):
				t.out.warn("%v; verify it with --keyring FILE", err)
			case !isWarning:
				pass(wanted{}, err)
			}
		},
	})
	if err := run.Do(ctx, m.lists(ctx, lists, t.out)); err != nil && more {
		return yield(wanted{}, err)
	}
	return more
}

// A verifiedRow is an object of verify --json.
type verifiedRow struct {
	V       int         `json:"v"`                 // format version
	Event   string      `json:"event"`             // verified
	Path    string      `json:"path"`              // absolute; of an unfinished file the path that it will have
	ID      store.ID    `json:"id,omitempty"`      // of the download
	Outcome string      `json:"outcome"`           // see outcomeOf
	Size    int64       `json:"size"`              // bytes on the disk; -1 if the file is missing
	Read    int64       `json:"read"`              // bytes that were compared
	Proof   string      `json:"proof,omitempty"`   // pieces, or the algorithm of the digest
	Wrong   []jsonRange `json:"wrong,omitempty"`   // ranges
	Error   string      `json:"error,omitempty"`   // if the file could not be verified
	Partial bool        `json:"partial,omitempty"` // the file is unfinished, and its held bytes were compared
}

// A jsonRange is a range of bytes in JSON.
type jsonRange struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"` // exclusive
}

// printRow prints the outcome of a file for programs.
func (v *verification) printRow(w wanted, c downloader.Checked, err error) {
	row := verifiedRow{V: 1, Event: "verified", Path: bytetext.Escape(w.rec.Target), ID: w.rec.ID, Outcome: outcomeOf(c, err), Size: c.Size, Read: c.Read, Proof: c.Proof, Partial: isUnfinished(w.rec)}
	for r := range c.Wrong.All() {
		row.Wrong = append(row.Wrong, jsonRange{r.Off, r.End})
	}
	if err != nil {
		row.Error = bytetext.Escape(err.Error())
	}
	newJSONEncoder(v.out.stdout).Encode(row) // if stdout is closed, the exit code still reports the outcome
}

// isUnfinished reports whether rec is of an unfinished download.
func isUnfinished(rec store.Record) bool { return rec.ID != "" && rec.State != store.Done }

// outcomeOf returns the outcome of a file as verify --json names it.
func outcomeOf(c downloader.Checked, err error) string {
	switch {
	case errors.Is(err, errUnknownFile):
		return "unknown"
	case err != nil:
		return "failed"
	case c.Missing:
		return "missing"
	case c.Wrong.Len() > 0:
		return "wrong"
	}
	return "ok"
}
