package mirror

import (
	"context"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/store"
)

// restTime is how long a host rests for a Worker. A run waits 10 seconds before the second
// round, and 30 before the third. A guess: at half, a dead host costs twice the timeouts; at double, the
// files of a host that was restarted may use up their rounds.
const restTime = time.Minute

// A Worker fetches single files as a Run does, for a run of another process (see Elsewhere). It reads
// no lists and has no rounds: its caller decides with MayRecover whether, and where, a file is
// tried again. It does not limit how many files it fetches at once. It is safe for concurrent use.
//
// Store.FlushPublished should be called after the last file.
type Worker struct {
	fetch fetcher
	judge endJudge

	mu    sync.Mutex
	ended *EndedError // guarded by mu
}

// NewWorker returns a Worker. Of o it uses Dir, Update, Request, ForList and OnRest, which is called by
// one goroutine at a time; Rest.Files is always 0. st must be open as long as the worker is used.
func NewWorker(d *downloader.Downloader, st *store.Store, o Options) *Worker {
	o = o.withDefaults()
	o.Elsewhere, o.DryRun = nil, false
	names := newNaming()
	report := &reporter{onRest: o.OnRest}
	return &Worker{
		fetch: fetcher{d: d, opts: o, ledger: newLedger(st, names, o), moves: &moveFinder{store: st, dir: o.Dir}, names: names, hosts: &restingHosts{table: newHostTable()}, onRest: report.rest},
		judge: endJudge{store: st, dir: o.Dir},
	}
}

// LookUp prepares items, whose Paths must be absolute, for Workers with this store, in one transaction. The record of an item
// comes from the process that has queued it. If the store has a record of the path, that one replaces it. The record of
// an unfinished download that is not in the store is dropped: a caller that wants to resume it must import it before.
func LookUp(st *store.Store, items ...*Item) error {
	targets := make([]string, len(items))
	for i, it := range items {
		targets[i] = it.Path
	}
	records, err := st.LookupTargets(targets)
	if err != nil {
		return err
	}
	for i, it := range items {
		told := it.Record
		it.Record = records[i]
		if it.Record.ID == "" && told.State == store.Done {
			it.Record = told
			it.Record.Target = it.Path
		}
	}
	return nil
}

// Fetch fetches one file, for whose item LookUp must have been called, and returns its outcome. It does not change the item.
//
// The state of the outcome is
//
//   - Fetched, Current or Unchanged; the file is durable, and Complete sets its Record;
//   - Failed;
//   - Pending if ctx has ended, or if this process can write no more files (see Ended). Another
//     worker must then fetch the file.
//
// Rounds is 1 more than Rounds of the item.
//
// A host that has failed or refused many files in a row rests for a minute. Meanwhile its files fail
// without a request; for their errors, WasNotTried and MayRecover are true.
func (w *Worker) Fetch(ctx context.Context, it *Item, steps Steps) Outcome {
	own := *it
	o := w.fetch.fetch(ctx, &own, steps)
	o.Rounds = it.Rounds + 1
	ended := ctx.Err() == nil && w.note(o.Err)
	if o.State == Failed && (ended || ctx.Err() != nil) {
		o.State = Pending
	}
	return o
}

// Complete sets the Records of the outcomes of finished files that Workers with this store have fetched, in one transaction.
func Complete(st *store.Store, outcomes []*Outcome) error {
	var finished []*Outcome
	var targets []string
	for _, o := range outcomes {
		if isFinished(o.State) {
			finished, targets = append(finished, o), append(targets, o.Path)
		}
	}
	if len(finished) == 0 {
		return nil
	}
	records, err := st.LookupTargets(targets)
	if err != nil {
		return err
	}
	for i, o := range finished {
		if records[i].ID != "" { // otherwise nothing had to be fetched, and the file is as the item says
			o.Record = records[i]
		}
		if o.State != Fetched && !o.Entry.Sum.IsZero() { // the file was compared with it
			o.Record.Sum = o.Entry.Sum
		}
		o.Record.Publishing, o.Record.Replaces = false, store.FileStamp{} // for this process only
	}
	return nil
}

// note records the error of a file, which may be nil, and reports whether it ends the worker.
func (w *Worker) note(err error) bool {
	end := w.judge.judge(err)
	if end == nil {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		w.ended = end
	}
	return true
}

// Ended returns an EndedError if this process can write no more files, for example because the disk is
// full; nil while it can.
func (w *Worker) Ended() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended == nil {
		return nil
	}
	return w.ended
}

// restingHosts are the hosts of a Worker, which has no rounds: a host rests for restTime.
type restingHosts struct {
	mu    sync.Mutex
	table hostTable // guarded by mu
}

func (t *restingHosts) resting(name string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if rest := t.host(name).rest; rest != nil {
		return rest
	}
	return nil
}

func (t *restingHosts) noteResult(name string, err error) (rests bool, files int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.host(name)
	rests, _ = h.noteResult(err)
	if rests { // never final, because another worker may reach the host
		h.rest = &restError{err: err, until: time.Now().Add(restTime)}
	}
	return rests, 0
}

// host returns a host, whose rest may have ended. mu must be held.
func (t *restingHosts) host(name string) *host {
	h := t.table.get(name, func(string) int { return 0 })
	if h.rest != nil && !time.Now().Before(h.rest.until) {
		h = h.inNextRound()
		t.table.byName[name] = h
	}
	return h
}
