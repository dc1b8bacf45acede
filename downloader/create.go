package downloader

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/weburl"
	"pawl/store"
)

// maxNumber is the largest number that is added to a name. It is a guess, as large as the number
// of URLs on a command line may be; double would only look for a free name for longer.
const maxNumber = 10_000

// A takenError means that another file has the name, and that the download may take another name.
type takenError struct{ error }

// mayAvoid reports whether a file that is in the way, as err says, is avoided by another name.
func (e Existing) mayAvoid(err error) bool {
	return e.InTheWay == Rename && (errors.Is(err, store.ErrForeign) || errors.Is(err, store.ErrIrregular) || errors.Is(err, failure.ErrClaimed))
}

// create creates the part file, with the requested name or the name in the response. Only now the
// name is certain, so another download may have the target already: of the same URL (begunError),
// or of another one. Two URLs often give the same name, for example get.php?id=1 and get.php?id=2.
// If nobody has chosen the name, the file then gets a number, as browsers and wget do it. A later
// run finds the file by its URL, so that it gets the number only once.
func (j *job) create(rep *reply) error { return j.underFreeName(rep, j.createAt) }

// underFreeName calls do with the wanted path of the file, and then with further ones while do returns a
// takenError. It reports another name.
func (j *job) underFreeName(rep *reply, do func(target string, rep *reply) error) error {
	wanted, err := j.wantedPath(rep)
	if err != nil {
		return err
	}
	target := wanted
	for n := 1; ; n++ {
		err = do(target, rep)
		var taken takenError
		if n > maxNumber || !errors.As(err, &taken) {
			break
		}
		target = response.Numbered(wanted, n)
	}
	if err == nil && target != wanted {
		j.emit(Event{Kind: Renamed, Err: fmt.Errorf("named so because another file is called %q", filepath.Base(wanted))})
	}
	return err
}

// wantedPath returns the path that the file has if no other file is there.
func (d *download) wantedPath(rep *reply) (string, error) {
	disposition, name := rep.Header.Get("Content-Disposition"), d.goal.output
	switch {
	case name == "":
		name = response.Filename(disposition, d.origin.url)
	case !d.goal.named:
		if own := response.ServerName(disposition); own != "" {
			name = filepath.Join(filepath.Dir(name), own)
		}
	}
	return absTarget(d.goal.dir, name)
}

// claimName reports whether no other download of the process has the name of a target that nobody
// has chosen.
func (d *download) claimName(target string) bool {
	claims := d.engine.names.claim
	if d.goal.listed != nil { // others of the list may get the same name at the same moment
		claims = d.engine.names.reserve
	}
	return d.goal.named || claims(target, d.origin.recorded)
}

// newRecord returns the record of a new download to target, without a version.
func (d *download) newRecord(target string) store.Record {
	rec := store.Record{ID: d.req.ID, Target: target, Named: d.goal.isNamed(), Sum: d.goal.sum, Replace: d.goal.replace, Mirrors: d.givenMirrors()}
	if d.goal.listed != nil {
		rec.Lists = d.goal.listed.Lists
	}
	return rec
}

// claim claims the name of a target for the download. It returns a takenError if another file has the
// target, and the download may get another name.
func (j *job) claim(target string, rep *reply) error {
	if !j.claimName(target) {
		return takenError{failure.Wrap(store.ErrForeign, fmt.Errorf("%q: file exists", target))}
	}
	if old, err := j.engine.store.ByTarget(target); err == nil {
		return j.conflict(old, rep.Version, j.goal.named)
	}
	return nil
}

// createAt creates the part file for a target. It returns a takenError as claim does.
func (j *job) createAt(target string, rep *reply) error {
	if err := j.claim(target, rep); err != nil {
		return err
	}
	rec := j.newRecord(target)
	j.note(&rec, rep.Whole)
	part, err := j.engine.store.Create(rec)
	if errors.Is(err, store.ErrForeign) || errors.Is(err, store.ErrBusy) { // perhaps another process was faster
		if old, oldErr := j.engine.store.ByTarget(target); oldErr == nil {
			err = cmp.Or(j.conflict(old, rep.Version, j.goal.named), err)
		}
	}
	if err != nil {
		return j.inTheWay(err, target, rep.Version.Size)
	}
	j.file.setPart(part)
	j.progress.show(part.Record())
	if beside := (lookup{j.asker}).leftoverBeside(target, rep.Version.Size); beside != "" && j.req.Existing.Taking != TakePartial {
		j.emit(Event{Kind: Warning, Err: &LeftoverWarning{beside, j.origin.recorded}})
	}
	if j.pieces.hashes.IsZero() {
		return nil
	}
	return j.engine.store.KeepHashes(part.Record().ID, j.pieces.hashes) // so that a later run has them, too
}

// inTheWay returns the error of a target that cannot be used because of err: a takenError if another name
// may be used. size is the size of the wanted file, -1 if unknown.
func (d *download) inTheWay(err error, target string, size int64) error {
	switch {
	case d.req.Existing.mayAvoid(err):
		return takenError{err}
	case d.req.Existing.keeps(err):
		d.progress.show(store.Record{Target: target, Size: size})
		return err
	}
	return d.explainTarget(err, target, size)
}

// conflict returns the error if the download old has the target of the file of version v: a
// begunError, a ClaimedError or a takenError. It returns nil if the file may be created, as far as
// old is concerned. chosen reports whether the user or a list chose the target.
func (j *job) conflict(old store.Record, v response.Version, chosen bool) error {
	restart := j.goal.replace || j.req.Existing.Restart
	there := old.State != store.Done || j.engine.store.Exists(old)
	switch {
	case !there:
		return nil
	case old.URL == j.origin.recorded && restart:
		return nil
	case old.URL == j.origin.recorded, !restart && old.State == store.Done && j.isResigned(old, v):
		return begunError{old}
	case !chosen && !j.goal.replace && !j.mayHaveMoved(old, v), j.req.Existing.InTheWay == Rename && !restart:
		return takenError{claimed(old)}
	case restart || chosen && old.State == store.Done: // then Create decides
		return nil
	}
	return claimed(old)
}

// mayHaveMoved reports whether old seems to be an unfinished download of the same file from another
// URL. Its bytes are too precious to begin a second file.
func (j *job) mayHaveMoved(old store.Record, v response.Version) bool {
	return old.State != store.Done && j.sharesVersion(old, v) && !j.engine.store.Running(old)
}

// isResigned reports whether old is the same file, from a URL with another signature. Validators of
// two other URLs prove nothing.
func (j *job) isResigned(old store.Record, v response.Version) bool {
	return j.sharesVersion(old, v) && weburl.WithoutSignature(old.URL) == weburl.WithoutSignature(j.origin.recorded)
}

// sharesVersion reports whether old may have the version v, by a validator that both have.
func (j *job) sharesVersion(old store.Record, v response.Version) bool {
	was := versionOf(old)
	return was.Differs(v) == "" && was.SharesValidator(v)
}

// isNamed reports whether the user or a list chose the path of the file, so that a later run does not
// look for it by its URL.
func (g *goal) isNamed() bool { return g.named && !(g.listed != nil && g.listed.ByURL) }

// ReserveNames makes the files of several requests get their names in the order of the requests,
// however fast their servers are: if the URLs of two of them end in the same name, the second one
// gets a number. It must be called before the first Get, with the requests of all files.
func (d *Downloader) ReserveNames(requests []Request) {
	next := make(map[string]int) // the first number, 0 for none, that may be free, by the wanted path
	for _, r := range requests {
		to, ok := r.Into.(File)
		u, err := parseURL(r.URL)
		if !ok || to.Output != "" || err != nil {
			continue
		}
		u.User = nil
		wanted, err := absTarget(to.Dir, response.Filename("", u))
		for reserved := err != nil; !reserved && next[wanted] <= maxNumber; next[wanted]++ {
			target := wanted
			if n := next[wanted]; n > 0 {
				target = response.Numbered(wanted, n)
			}
			reserved = d.names.reserve(target, u.String())
		}
	}
}

// nameClaims are the targets of several downloads of a process whose names nobody has chosen, so
// that no two of them take the same name at the same moment, and none replaces another. A single
// download has no claims, so that each of its sources may bring its file. The zero value is empty.
// It is safe for concurrent use.
type nameClaims struct {
	mu   sync.Mutex
	urls map[string]string // by target; guarded by mu
}

// claim gives target to the download of url, unless the download of another URL has it.
func (c *nameClaims) claim(target, url string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.urls == nil || c.add(target, url)
}

// reserve is claim, also for the first download.
func (c *nameClaims) reserve(target, url string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.urls == nil {
		c.urls = make(map[string]string)
	}
	return c.add(target, url)
}

// release ends the claim of a target whose file is on record.
func (c *nameClaims) release(target string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.urls, target)
}

// add is claim with mu held.
func (c *nameClaims) add(target, url string) bool {
	if owner, ok := c.urls[target]; ok {
		return owner == url
	}
	c.urls[target] = url
	return true
}
