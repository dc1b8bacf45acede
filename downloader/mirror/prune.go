package mirror

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"pawl/store"
)

// forgetMost is how many files are forgotten in one transaction.
const forgetMost = 256

// ErrNotPruned says that nothing was deleted, because not all went well.
var ErrNotPruned = errors.New("nothing is pruned, as not all went well")

// prune deletes the files that an earlier run of the same lists made, that are as
// it left them, and that the lists no longer name. A crash in it leaves files
// deleted that the ledger still has; the next run forgets them.
func (m *Run) prune(ctx context.Context) error {
	if c := m.Counts(); c.Failed+c.Pending+c.Problems > 0 || !c.Read || m.seen.Len() == 0 {
		return ErrNotPruned
	}
	prefix := strings.TrimSuffix(m.opts.Dir, string(filepath.Separator)) + string(filepath.Separator)
	var gone []store.Record
	for rec, err := range m.st.Finished(prefix) {
		if err != nil {
			return err
		}
		if rel := strings.TrimPrefix(rec.Target, prefix); rec.List != m.opts.List || m.seen.Has(rel) {
			continue
		}
		if ctx.Err() != nil {
			break
		}
		if !m.opts.DryRun {
			deleted, err := m.st.Delete(rec)
			if err != nil {
				m.problem(err)
				continue
			}
			gone = append(gone, rec)
			if !deleted { // it is not what we left
				continue
			}
		}
		m.tell(Outcome{Path: rec.Target, State: Pruned, URL: rec.URL, Record: rec})
		if len(gone) == forgetMost {
			if err := m.st.Forget(gone); err != nil {
				return err
			}
			gone = gone[:0]
		}
	}
	if err := m.st.Forget(gone); err != nil {
		return err
	}
	return context.Cause(ctx)
}
