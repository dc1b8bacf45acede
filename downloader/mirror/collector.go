package mirror

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"pawl/store"
)

const (
	// maxAdoptions is how many finished files are recorded in one transaction. Measured: groups of
	// this size record more than 40,000 files per second. With half of it the transactions cost
	// more than the records; double needs twice the memory for the outcomes that wait meanwhile.
	maxAdoptions = 4096

	// recordWait is how long an outcome waits for others, so that one transaction records them. The reader
	// cannot look up files meanwhile, so without the wait, each of two million files may have a transaction
	// of its own. At half, there are twice as many; double is a delay that people notice.
	recordWait = 500 * time.Millisecond

	// maxEarly is how many outcomes are kept whose files have not been sent yet. There are such
	// outcomes only if an earlier process of the run has sent the files. Each takes about 1 KiB. A
	// guess: with half of it, outcomes wait sooner until the lists are read; double takes 4 MiB more.
	maxEarly = 4 << 10

	// flushInterval is how long a file that was sent may wait for others of its batch. A guess:
	// with half of it, lists that come slowly make twice as many small batches; double delays the
	// first files of a list.
	flushInterval = time.Second
)

// maxPathBytes is the length of the longest key of the state file (bbolt). Linux opens paths of up to 4 KiB, and
// Windows of up to 32,767 characters.
const maxPathBytes = 32 << 10

// errKey means that an Elsewhere does not say which file an outcome is of.
var errKey = errors.New("an outcome from elsewhere has no valid key")

// A collector sends the files of a run to an Elsewhere, and records and reports their outcomes. It
// has the place of the scheduler and the fetches of a run that fetches its files itself. The reader
// calls send, flush and readerEnded; Run.Do calls collect, and then stop, takeRest and close.
//
// The items wait in a spool until their outcomes come, so memory grows by about 40 bytes for each file that was
// sent and has no outcome. A collector is safe for concurrent use.
type collector struct {
	to     Elsewhere
	dir    string // Options.Dir
	store  *store.Store
	names  *naming
	report *reporter
	fail   func(error) // ends the run
	failed func() error

	unflushed bool // something was sent since the last flush; owned by the reader

	// mu guards all fields below.
	mu       sync.Mutex
	changed  *sync.Cond         // on mu
	items    *spool             // the items of awaited and arrived
	awaited  map[uint64]int64   // offsets in items of the files that were sent and have no outcome, by key
	early    map[uint64]Outcome // of files that were not sent yet, by key
	arrived  []arrival          // outcomes that must be recorded and reported
	due      time.Time          // when they must be, however few they are
	reading  bool               // the reader may still send files
	pulled   bool               // no further outcomes come
	stopped  bool               // nothing more may be sent
	detached bool               // the files without an outcome are left to other processes
}

// An arrival is an outcome, and the item of its file.
type arrival struct {
	outcome Outcome
	off     int64  // of the item in the spool; -1 if the lists do not name the file any more
	item    []byte // JSON; nil if off is -1
}

func newCollector(m *Run) *collector {
	c := &collector{
		to: m.opts.Elsewhere, dir: m.opts.Dir, store: m.store, names: m.names, report: m.report, fail: m.fail, failed: m.sched.failure,
		items: newSpool(m.opts.Temp), awaited: make(map[uint64]int64), early: make(map[uint64]Outcome), reading: true,
	}
	c.changed = sync.NewCond(&c.mu)
	return c
}

// send sends an item, unless it has an outcome already. After an error the caller must report the item.
func (c *collector) send(ctx context.Context, it *Item) error {
	b, err := it.MarshalJSON()
	if err != nil {
		return err
	}
	it.key = it.Key()
	key, err := parseKey(it.key)
	if err != nil {
		return err
	}
	if isAwaited, err := c.markAwaited(key, b); !isAwaited {
		return err
	}
	c.unflushed = true
	if err := c.to.Send(ctx, it); err != nil && c.forget(key) {
		return err
	}
	return nil
}

// markAwaited records that a file has no outcome. It returns false if it has one, which collect reports, or
// after an error.
func (c *collector) markAwaited(key uint64, item []byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false, errUnread
	}
	off, err := c.items.append(item)
	if err != nil {
		return false, err
	}
	if o, ok := c.early[key]; ok {
		if len(c.early) == maxEarly {
			c.changed.Broadcast() // takeOutcome waits for room
		}
		delete(c.early, key)
		c.arriveLocked(arrival{outcome: o, off: off})
		return false, nil
	}
	c.awaited[key] = off
	return true, nil
}

// forget records that a file was not sent after all. It returns false if somebody has reported the
// file meanwhile.
func (c *collector) forget(key uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.awaited[key]
	delete(c.awaited, key)
	return ok
}

// flush makes the sent files durable.
func (c *collector) flush(ctx context.Context) error {
	if !c.unflushed {
		return nil
	}
	c.unflushed = false
	return c.to.Flush(ctx)
}

// readerEnded records that nothing more is sent, so that the run ends with the last outcome, and that the
// outcomes that are left belong to no list any more.
func (c *collector) readerEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	for _, o := range c.early {
		c.arriveLocked(arrival{outcome: o, off: -1})
	}
	clear(c.early)
	c.changed.Broadcast()
}

// arriveLocked makes collect take an outcome soon. The caller must hold mu.
func (c *collector) arriveLocked(a arrival) {
	if len(c.arrived) == 0 {
		c.due = time.Now().Add(recordWait)
		time.AfterFunc(recordWait, c.wake)
	}
	if c.arrived = append(c.arrived, a); len(c.arrived) >= maxAdoptions || len(c.awaited) == 0 {
		c.changed.Broadcast()
	}
}

// collect records and reports the outcomes of the files that are sent. It returns when the reader has
// ended and each file has an outcome, when ctx ends, or when the run has failed.
func (c *collector) collect(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	defer context.AfterFunc(ctx, c.wake)()
	var puller sync.WaitGroup
	puller.Go(func() { c.pull(ctx) })
	defer puller.Wait()
	defer cancel()
	var recorder sync.WaitGroup
	defer recorder.Wait()
	completed := make(chan completedGroup) // while one is recorded, which waits for the disk, the next one is completed
	defer close(completed)
	recorder.Go(func() {
		for group := range completed {
			c.record(group)
		}
	})
	for {
		group, err := c.next(ctx)
		if err != nil {
			c.fail(err)
		}
		if len(group) == 0 {
			return
		}
		completed <- c.complete(group)
	}
}

// pull receives the outcomes until ctx ends.
func (c *collector) pull(ctx context.Context) {
	for o, err := range c.to.Outcomes(ctx) {
		if errors.Is(err, ErrDetached) {
			c.mu.Lock()
			c.detached = true
			c.mu.Unlock()
			break
		}
		if err == nil {
			err = c.takeOutcome(ctx, o)
		}
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			c.fail(err)
			break
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pulled = true
	c.changed.Broadcast()
}

// takeOutcome takes an outcome. It waits while there are many that are not reported yet.
func (c *collector) takeOutcome(ctx context.Context, o Outcome) error {
	key, err := parseKey(o.Key)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for ctx.Err() == nil && (len(c.arrived) >= maxAdoptions || c.reading && len(c.early) >= maxEarly) {
		c.changed.Wait()
	}
	off, sent := c.awaited[key]
	switch {
	case sent:
		delete(c.awaited, key)
		c.arriveLocked(arrival{outcome: o, off: off})
	case !c.reading:
		c.arriveLocked(arrival{outcome: o, off: -1})
	default:
		if _, twice := c.early[key]; !twice {
			c.early[key] = o
		}
	}
	return nil
}

// next waits for outcomes, and returns at most maxAdoptions of them with their items. It returns none if
// no further ones must be waited for. If it also returns an error, the items behind those it
// returns cannot be read.
func (c *collector) next(ctx context.Context) (group []arrival, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.arrived) < maxAdoptions {
		last := c.pulled || ctx.Err() != nil || c.failed() != nil || !c.reading && len(c.awaited) == 0
		if last && len(c.arrived) == 0 {
			return nil, nil
		}
		if last || len(c.arrived) > 0 && !time.Now().Before(c.due) {
			break
		}
		c.changed.Wait()
	}
	n := min(maxAdoptions, len(c.arrived))
	group, c.arrived = c.arrived[:n:n], c.arrived[n:]
	for i, a := range group {
		if a.off < 0 {
			continue
		}
		if group[i].item, err = c.items.read(a.off); err != nil {
			c.arrived = append(group[i:], c.arrived...)
			return group[:i], err
		}
	}
	if len(c.arrived) == 0 && len(c.awaited) == 0 {
		c.items.reset()
	}
	c.changed.Broadcast() // there is room for others
	return group, nil
}

// record records the finished files of a group, and then reports its outcomes: a file that was
// reported is never missing in the state file.
func (c *collector) record(group completedGroup) {
	outcomes := group.outcomes
	var finished []*Outcome
	var records []store.Record
	for i := range outcomes {
		if o := &outcomes[i]; isFinished(o.State) {
			finished, records = append(finished, o), append(records, o.Record)
		}
	}
	missing, err := c.unrecorded(group.unlisted)
	records = append(records, missing...)
	if err == nil && len(records) > 0 {
		err = c.store.AdoptAll(records)
	}
	for i, o := range finished {
		if err != nil { // of some of them, or of the state file
			c.recordAlone(o)
		} else {
			o.recorded(records[i])
		}
	}
	for _, o := range outcomes {
		c.report.outcome(o)
	}
}

// recorded sets the record of a finished file, which may have another ID in this state file.
func (o *Outcome) recorded(r store.Record) { o.Record, o.Result.ID = r, r.ID }

// recordAlone records a finished file after its group could not be recorded as a whole. A file that
// cannot be recorded has failed. If the state file cannot be written, the run ends, and the file is
// Pending, because the next process of the run will record it.
func (c *collector) recordAlone(o *Outcome) {
	if c.failed() != nil {
		o.State = Pending
		return
	}
	record := []store.Record{o.Record}
	err := c.store.AdoptAll(record)
	switch {
	case err == nil:
		o.recorded(record[0])
	case errors.Is(err, store.ErrState):
		c.fail(err)
		o.State = Pending
	default:
		o.State, o.Err = Failed, err
	}
}

// isFinished reports whether a file with this outcome is on record as finished.
func isFinished(s State) bool { return s == Fetched || s == Current || s == Unchanged }

// A completedGroup has outcomes that must be recorded and reported.
type completedGroup struct {
	outcomes []Outcome
	unlisted []store.Record // of finished files that the lists do not name any more
}

// complete returns the outcomes of a group with all that the run knows about their files.
func (c *collector) complete(group []arrival) (done completedGroup) {
	done.outcomes = make([]Outcome, 0, len(group))
	for _, a := range group {
		o := a.outcome
		if a.off < 0 {
			o.Path = cmp.Or(o.Path, o.Record.Target)
			if c.completeRecord(&o, o.Record.Lists) == nil && isFinished(o.State) {
				done.unlisted = append(done.unlisted, o.Record)
			}
			continue
		}
		var it Item
		err := it.UnmarshalJSON(a.item)
		o.Entry, o.SumBy, o.Path = it.Entry, it.SumBy, cmp.Or(o.Path, it.Path)
		if err == nil {
			err = c.completeRecord(&o, it.claims())
		}
		if err != nil {
			o.State, o.Path, o.Err = Failed, it.Path, err
		}
		if o.Path != it.Path { // the server has named it
			c.names.keep(c.dir, o.Path)
		}
		done.outcomes = append(done.outcomes, o)
	}
	return done
}

// completeRecord completes the record of a finished file, which these lists claim. The path must be in
// the directory of the run, whatever a worker says.
func (c *collector) completeRecord(o *Outcome, lists store.Lists) error {
	if !isFinished(o.State) {
		return nil
	}
	if rel, err := filepath.Rel(c.dir, o.Path); err != nil || !filepath.IsLocal(rel) || len(o.Path) > maxPathBytes {
		return fmt.Errorf("a worker reports the file %q, which cannot be one of the directory %q", o.Path, c.dir)
	}
	r := &o.Record
	r.Target, r.State, r.Lists, r.CRC = o.Path, store.Done, lists, cmp.Or(r.CRC, o.Result.CRC)
	return nil
}

// unrecorded returns the records that the state file does not have in the same or a later version.
func (c *collector) unrecorded(records []store.Record) (missing []store.Record, err error) {
	for batch := range slices.Chunk(records, maxLookupBatch) {
		targets := make([]string, len(batch))
		for i, r := range batch {
			targets[i] = r.Target
		}
		known, err := c.store.LookupTargets(targets)
		if err != nil {
			return nil, err
		}
		for i, r := range batch {
			if known[i].ID == "" || known[i].Updated.Before(r.Updated) {
				missing = append(missing, r)
			}
		}
	}
	return missing, nil
}

// wake makes all waits look again whether the run has ended.
func (c *collector) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

// stop makes send refuse further files, in case the reader is still blocked on its input.
func (c *collector) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
}

// reportRest reports the files without an outcome as Pending, in the order of the lists. stop must
// have been called.
func (c *collector) reportRest() {
	c.mu.Lock()
	offsets := slices.Sorted(maps.Values(c.awaited))
	for _, a := range c.arrived {
		if a.off >= 0 {
			offsets = append(offsets, a.off)
		}
	}
	c.awaited, c.arrived = make(map[uint64]int64), nil
	detached := c.detached
	c.mu.Unlock()
	if detached {
		c.report.update(func(n *Counts) { n.Pending += len(offsets) }) // without outcomes: other processes fetch them
		return
	}
	for _, off := range offsets {
		it, err := c.item(off)
		if err != nil {
			c.fail(err)
			return
		}
		c.report.pending(it)
	}
}

// item returns the item at an offset of the spool.
func (c *collector) item(off int64) (*Item, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	b, err := c.items.read(off)
	if err != nil {
		return nil, err
	}
	var it Item
	return &it, it.UnmarshalJSON(b)
}

// close removes the temporary file. stop must have been called.
func (c *collector) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items.close()
}

// parseKey returns an Item.Key as a number, which needs less memory.
func parseKey(key string) (uint64, error) {
	n, err := strconv.ParseUint(key, 16, 64)
	if err != nil || len(key) != 16 {
		return 0, errKey
	}
	return n, nil
}
