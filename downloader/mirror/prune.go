package mirror

// This file is about files that the lists of a run no longer name.

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"pawl/store"
)

// releaseMost is how many records a prune has in memory.
const maxReleaseBatch = 256

var (
	// ErrNotPruned says that nothing was deleted, because not all went well.
	ErrNotPruned = errors.New("nothing is pruned, as not all went well")
	// ErrUndeleted says that the file system did not let files be deleted.
	ErrUndeleted = errors.New("files that no list names cannot be deleted")
)

// A pruning takes the claims of this run's lists from the files that none of them
// names. It deletes those that no other list claims, and that are as earlier runs left
// them.
type pruning struct {
	*Run
	ctx    context.Context
	keys   []string // of the lists that may prune
	drop   bool     // there are claims to take
	limit  int      // files that may be deleted
	failed int      // files that cannot be deleted
	first  error    // why the first of them cannot

	shared map[store.FileID]bool // files that the lists name by another path
}

// prune deletes what the lists no longer name, unless that is too much.
func (m *Run) prune(ctx context.Context) error {
	p := &pruning{Run: m, ctx: ctx, keys: m.named.pruning(m.opts.LegacyKey)}
	if c := m.Counts(); c.Failed+c.Pending+c.Problems > 0 || !c.Read || m.named.seen.Len() == 0 {
		return ErrNotPruned
	}
	if len(p.keys) == 0 {
		return nil
	}
	for _, step := range []func() error{p.count, p.files, p.parts} {
		if err := step(); err != nil {
			return err
		}
	}
	if p.failed > 0 {
		return fmt.Errorf("%w: %d of them, the first because of: %w", ErrUndeleted, p.failed, p.first)
	}
	return nil
}

// each calls fn for the finished files of lists below Dir, until ctx ends, and says
// whether this run has named each of them.
func (p *pruning) each(fn func(rec store.Record, named bool) error) error {
	prefix := strings.TrimSuffix(p.opts.Dir, string(filepath.Separator)) + string(filepath.Separator)
	for rec, err := range p.st.Finished(prefix) {
		if err == nil {
			err = context.Cause(p.ctx)
		}
		if err == nil && len(rec.Lists) > 0 {
			err = fn(rec, p.named.seen.Has(strings.TrimPrefix(rec.Target, prefix)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// drops reports whether the lists of this run claim a file that they no longer name.
func (p *pruning) drops(rec store.Record, named bool) bool {
	return !named && rec.Lists.Has(p.keys...)
}

// frees reports whether no other list claims a file.
func (p *pruning) frees(rec store.Record) bool { return len(rec.Lists.Without(p.keys...)) == 0 }

// count returns a LimitError if too many files would be deleted. Of the files that
// this run has named, those count that were there before it.
func (p *pruning) count() error {
	made, going := 0, 0
	ids := make(map[store.FileID]int) // of what would be deleted, and how many paths lead there
	err := p.each(func(rec store.Record, named bool) error {
		if named || rec.Lists.Has(p.keys...) {
			made++
		}
		if !p.drops(rec, named) {
			return nil
		}
		if p.drop = true; !p.frees(rec) {
			return nil
		}
		intact, err := p.st.Reconcile(rec) // a crash may have left it without its name
		if intact {
			going++
			if id, ok := p.st.FileID(rec); ok {
				ids[id]++
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
		going -= ids[id]
	}
	made = max(0, made-p.named.fresh)
	if p.limit = p.opts.MaxDelete.of(made); going > p.limit {
		return &LimitError{Delete: going, Made: made, Max: p.limit}
	}
	return nil
}

// share finds out which of the files are also those of paths that the lists name. They
// stay, with their claims.
func (p *pruning) share(ids map[store.FileID]int) error {
	p.shared = make(map[store.FileID]bool)
	if len(ids) == 0 {
		return nil
	}
	return p.each(func(rec store.Record, named bool) error {
		if !named {
			return nil
		}
		if id, ok := p.st.FileID(rec); ok && ids[id] > 0 {
			p.shared[id] = true
		}
		return nil
	})
}

// files releases finished files. It keeps to the limit even if other processes have
// released more of them since they were counted.
func (p *pruning) files() error {
	if !p.drop {
		return nil
	}
	var batch []store.Record
	left := p.limit
	err := p.each(func(rec store.Record, named bool) error {
		if !p.drops(rec, named) {
			return nil
		}
		if p.frees(rec) && p.st.Intact(rec) {
			if id, _ := p.st.FileID(rec); left == 0 || p.shared[id] {
				return nil
			}
			left--
			p.would(rec.Target, rec)
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

// release takes the claims from a batch of finished files, and then removes the
// directories that this has emptied.
func (p *pruning) release(batch []store.Record) error {
	for len(batch) > 0 && !p.opts.DryRun {
		ends, err := p.st.Release(batch, p.keys)
		if err != nil {
			return err
		}
		for _, end := range ends {
			if end.Err != nil {
				p.fails(end.Err)
			} else if end.Deleted {
				p.deleted(end.Record.Target, end.Record)
			}
		}
		for _, end := range ends {
			if end.Deleted {
				p.st.RemoveEmpty(p.opts.Dir, filepath.Dir(end.Record.Target))
			}
		}
		batch = batch[len(ends):]
	}
	return nil
}

// parts abandons unfinished downloads. A running one stays.
func (p *pruning) parts() error {
	records, err := p.st.Unfinished()
	if err != nil {
		return err
	}
	for _, rec := range records {
		rel, err := filepath.Rel(p.opts.Dir, rec.Target)
		if err != nil || !filepath.IsLocal(rel) || !p.drops(rec, p.named.seen.Has(rel)) {
			continue
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		if p.opts.DryRun {
			if p.frees(rec) && !p.st.Running(rec) {
				p.would(rec.Part(), store.Record{Size: -1})
			}
			continue
		}
		p.part(rec)
	}
	return nil
}

// part abandons one download. One that is complete, but for its name, gets that, and
// the next run prunes it.
func (p *pruning) part(rec store.Record) {
	if rec.State == store.Finishing {
		if part, err := p.st.Resume(rec.ID); err == nil {
			part.Close()
			return
		}
	}
	switch removed, err := p.st.Abandon(rec.ID, p.keys); {
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrNotFound):
	case err != nil:
		p.fails(err)
	case removed:
		p.deleted(rec.Part(), store.Record{Size: -1})
		p.st.RemoveEmpty(p.opts.Dir, filepath.Dir(rec.Target))
	}
}

// would tells of a file that a dry run would delete.
func (p *pruning) would(path string, rec store.Record) {
	if p.opts.DryRun {
		p.deleted(path, rec)
	}
}

// deleted tells of a file that is gone.
func (p *pruning) deleted(path string, rec store.Record) {
	p.tell(Outcome{Path: path, State: Pruned, URL: rec.URL, Record: rec})
}

// fails notes that a file cannot be deleted.
func (p *pruning) fails(err error) {
	if p.failed++; p.first == nil {
		p.first = err
	}
}
