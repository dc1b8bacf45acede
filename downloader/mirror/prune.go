package mirror

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"pawl/store"
)

// maxReleaseBatch is how many records Release gets at once, which bounds the memory. A guess: the
// files of a batch are deleted within one transaction of the state file, and other processes wait
// for it. Half of it needs twice as many transactions; double makes others wait twice as long.
const maxReleaseBatch = 256

var (
	// ErrNotPruned reports that nothing was deleted, because some files or lists failed, or
	// because the lists name no files and List.MayBeEmpty is not set. Such a run does not
	// know which files to keep. Files that are gone from their server (Counts.Gone) do not
	// count here, because one dead URL would otherwise prevent all pruning; the list still
	// names them, so their local files stay.
	ErrNotPruned = errors.New("nothing is pruned, because the run was incomplete or had errors")
	// ErrUndeleted reports that the file system refused to delete files.
	ErrUndeleted = errors.New("cannot delete files that no list names")
)

// A pruning releases the claims of this run's lists on files that the lists no longer name. A
// file that then has no claim is deleted, unless it was altered since an earlier run fetched
// it. A pruning has three steps: count checks the limit before anything is deleted, files
// releases finished files, and parts releases unfinished downloads.
type pruning struct {
	ctx    context.Context
	store  *store.Store
	opts   Options
	report *reporter
	names  *naming
	keys   []string // the lists whose claims are released

	drop     bool                  // set by count: some finished files of this shard lose claims
	limit    int                   // set by count: files that may be deleted
	shared   map[store.FileID]bool // set by count: files that the lists name by another path
	failed   int                   // files that could not be deleted
	firstErr error                 // why the first of them could not
}

// prune deletes the files that the lists no longer name, within the limit. It must be called
// after all files have ended.
func (m *Run) prune(ctx context.Context) error {
	p := &pruning{ctx: ctx, store: m.store, opts: m.opts, report: m.report, names: m.names, keys: m.names.pruningKeys()}
	if c := m.report.snapshot(); c.Failed-c.Gone+c.Pending+c.Problems > 0 || !c.Read || m.names.paths.Len() == 0 && len(p.keys) == 0 {
		return ErrNotPruned
	}
	if len(p.keys) == 0 {
		return nil
	}
	return p.run()
}

// run runs the steps. It returns the first error of a step, or ErrUndeleted if some files could
// not be deleted.
func (p *pruning) run() error {
	for _, step := range []func() error{p.count, p.files, p.parts} {
		if err := step(); err != nil {
			return err
		}
	}
	if p.failed > 0 {
		return fmt.Errorf("%w: %d failed, the first with: %w", ErrUndeleted, p.failed, p.firstErr)
	}
	return nil
}

// A claimStatus is the relation of the lists of this run to a file on record.
type claimStatus int

const (
	unnamed claimStatus = iota
	named               // the lists name it, for whatever shard
	leftOut             // the lists do not cover it: see List.Covers
)

// status returns the status of a file by its path below Dir.
func (p *pruning) status(rel string, claims store.Lists) claimStatus {
	switch {
	case p.names.has(rel):
		return named
	case !p.names.isCovered(rel, claims):
		return leftOut
	}
	return unnamed
}

// each calls fn for each finished file below Dir that a list has made, until fn returns an error
// or ctx ends.
func (p *pruning) each(fn func(rec store.Record, is claimStatus) error) error {
	prefix := strings.TrimSuffix(p.opts.Dir, string(filepath.Separator)) + string(filepath.Separator)
	for rec, err := range p.store.Finished(prefix) {
		if err == nil {
			err = context.Cause(p.ctx)
		}
		if err == nil && len(rec.Lists) > 0 {
			err = fn(rec, p.status(strings.TrimPrefix(rec.Target, prefix), rec.Lists))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drops reports whether a file loses claims: lists of keys claim it and cover it, and no list names it.
func (p *pruning) drops(rec store.Record, is claimStatus) bool {
	return is == unnamed && rec.Lists.Has(p.keys...)
}

// owns reports whether a file that no list names belongs to the shard of this run. All shards share
// the keys of the lists, so that a file finds its owner in whatever number of shards it was fetched.
func (p *pruning) owns(rec store.Record) bool {
	if !p.opts.Shard.IsSet() {
		return true
	}
	rel, err := filepath.Rel(p.opts.Dir, rec.Target)
	return err == nil && p.opts.Shard.owns(rel, rec.URL)
}

// frees reports whether no list claims a file once the claims of keys are released.
func (p *pruning) frees(rec store.Record) bool { return len(rec.Lists.Without(p.keys...)) == 0 }

// A tally counts files by their shard.
type tally struct {
	all int // files of all shards whose records are in the state file
	own int // files of this run's shard; the same number without shards
}

// plus returns t with one more file.
func (t tally) plus(own bool) tally {
	t.all++
	if own {
		t.own++
	}
	return t
}

// minus returns t without some files.
func (t tally) minus(all, own int) tally { return tally{max(0, t.all-all), max(0, t.own-own)} }

// count counts the files that would be deleted, and returns a LimitError if they are too many. The
// limit may be a share of the files that earlier runs made for these lists, so count also
// counts these: the files that are named, or claimed and covered, without the new files of this run.
func (p *pruning) count() error {
	var made, deletions tally
	ids := make(map[store.FileID]tally) // number of paths of each file that would be deleted
	err := p.each(func(rec store.Record, is claimStatus) error {
		own := p.owns(rec)
		switch {
		case is == leftOut:
			if own {
				p.report.update(func(c *Counts) { c.LeftOut++ })
			}
		case is == named || rec.Lists.Has(p.keys...):
			made = made.plus(own)
		}
		if !p.drops(rec, is) {
			return nil
		}
		if p.drop = p.drop || own; !p.frees(rec) {
			return nil
		}
		intact, err := p.store.Reconcile(rec) // not Intact: a crash may have left the file without its final name
		if intact {
			deletions = deletions.plus(own)
			if id, ok := p.store.FileID(rec); ok {
				ids[id] = ids[id].plus(own)
			}
		}
		return err
	})
	if err == nil {
		err = p.share(ids)
	}
	if err != nil {
		return err
	}
	for id := range p.shared {
		deletions = deletions.minus(ids[id].all, ids[id].own)
	}
	return p.setLimit(made.minus(p.names.newFiles, p.names.newFiles), deletions)
}

// setLimit sets p.limit, and returns a LimitError if there are more deletions than it allows.
//
// The limit is for all shards together, as far as this state file knows their files, because a
// single shard may have too few files for a share of them. New files of other shards count as
// made, and raise such a limit, so it must hold for this shard alone as well.
func (p *pruning) setLimit(made, deletions tally) error {
	all := p.opts.MaxDelete.of(made.all)
	own := max(minDefaultLimit, p.opts.MaxDelete.of(made.own))
	if deletions.all > all {
		return &LimitError{Delete: deletions.all, Made: made.all, Max: all}
	}
	if p.limit = min(all, own); deletions.own > p.limit {
		return &LimitError{Delete: deletions.own, Made: made.own, Max: p.limit}
	}
	return nil
}

// share sets p.shared: the files in ids that the lists also name by another path, for example
// through a symbolic link to a directory. These files must not be deleted, and they keep
// their claims.
func (p *pruning) share(ids map[store.FileID]tally) error {
	p.shared = make(map[store.FileID]bool)
	if len(ids) == 0 {
		return nil
	}
	return p.each(func(rec store.Record, is claimStatus) error {
		if is != named {
			return nil
		}
		if id, ok := p.store.FileID(rec); ok && ids[id].all > 0 {
			p.shared[id] = true
		}
		return nil
	})
}

// files releases the claims on finished files, and deletes files. It checks the limit again,
// because other processes may have released claims since count, so that more files would be
// deleted.
func (p *pruning) files() error {
	if !p.drop {
		return nil
	}
	var batch []store.Record
	left := p.limit
	err := p.each(func(rec store.Record, is claimStatus) error {
		if !p.drops(rec, is) || !p.owns(rec) {
			return nil
		}
		if p.frees(rec) && p.store.Intact(rec) {
			if id, _ := p.store.FileID(rec); left == 0 || p.shared[id] {
				return nil // keeps its claims, so that the next run can release them
			}
			left--
			p.reportDryRun(rec.Target, rec)
		}
		if batch = append(batch, rec); len(batch) < maxReleaseBatch {
			return nil
		}
		err := p.release(batch)
		batch = batch[:0]
		return err
	})
	if err != nil {
		return err
	}
	return p.release(batch)
}

// release releases the claims on a batch of finished files, and then removes the directories that
// have become empty. Store.Release may process only the first part of a batch at a time.
func (p *pruning) release(batch []store.Record) error {
	for len(batch) > 0 && !p.opts.DryRun {
		results, err := p.store.Release(batch, p.keys)
		if err != nil {
			return err
		}
		for _, res := range results {
			if res.Err != nil {
				p.addFailure(res.Err)
			} else if res.Deleted {
				p.reportPruned(res.Record.Target, res.Record)
			}
		}
		for _, res := range results {
			if res.Deleted {
				p.store.RemoveEmpty(p.opts.Dir, filepath.Dir(res.Record.Target))
			}
		}
		batch = batch[len(results):]
	}
	return nil
}

// parts abandons the unfinished downloads that lose claims. A download that is running in another
// process stays.
func (p *pruning) parts() error {
	records, err := p.store.Unfinished()
	if err != nil {
		return err
	}
	for _, rec := range records {
		rel, err := filepath.Rel(p.opts.Dir, rec.Target)
		if err != nil || !filepath.IsLocal(rel) || !p.drops(rec, p.status(rel, rec.Lists)) || !p.owns(rec) {
			continue
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		if p.opts.DryRun {
			if p.frees(rec) && !p.store.Running(rec) {
				p.reportDryRun(rec.Part(), store.Record{Size: -1})
			}
			continue
		}
		p.part(rec)
	}
	return nil
}

// part abandons one download. If all of its bytes were verified and only the final name is missing,
// part completes it instead; the next run prunes the finished file.
func (p *pruning) part(rec store.Record) {
	if rec.State == store.Finishing {
		if part, err := p.store.Resume(rec.ID); err == nil {
			part.Close()
			return
		}
	}
	switch removed, err := p.store.Abandon(rec.ID, p.keys); {
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrNotFound):
	case err != nil:
		p.addFailure(err)
	case removed:
		p.reportPruned(rec.Part(), store.Record{Size: -1})
		p.store.RemoveEmpty(p.opts.Dir, filepath.Dir(rec.Target))
	}
}

// reportDryRun reports, in a dry run, a file that would be deleted.
func (p *pruning) reportDryRun(path string, rec store.Record) {
	if p.opts.DryRun {
		p.reportPruned(path, rec)
	}
}

// reportPruned reports a deleted file.
func (p *pruning) reportPruned(path string, rec store.Record) {
	p.report.outcome(Outcome{Path: path, State: Pruned, URL: rec.URL, Record: rec})
}

// addFailure records that a file cannot be deleted. Pruning continues with the next file.
func (p *pruning) addFailure(err error) {
	if p.failed++; p.firstErr == nil {
		p.firstErr = err
	}
}
