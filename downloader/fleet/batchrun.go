package fleet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"pawl/downloader"
	"pawl/downloader/mirror"
	"pawl/store"
)

const (
	// checkpointAfter is how old a batch is when its first checkpoint is written, and the time between two, to which up to a second is
	// added, so that a worker that is killed loses 5 s. Half doubles the writes of large files; double doubles what is lost.
	checkpointAfter = 4 * time.Second
	// roundWaitFactor: each wait between rounds is three times as long as the one before, as in package mirror.
	roundWaitFactor = 3
	// untriedWait is how long a batch that this worker has tried is left to others, and untriedFor how long in all. At
	// half, the others have less time to notice it; double makes its last files wait longer.
	untriedWait, untriedFor = 5 * time.Second, time.Minute
	// longestBack limits the wait of a batch that is not due, so that a clock that is wrong does not matter for long.
	longestBack = 10 * time.Minute
	// maxReport limits the files, and maxReportBytes the JSON, of an entry of the log.
	maxReport, maxReportBytes = 256, 192 << 10
	// tellWait is how long an outcome waits for others of its batch, so that one entry of the log has several. At half, the
	// broker syncs twice as many; with double, a worker that is killed loses more than a second of small files.
	tellWait = 500 * time.Millisecond
	// saveTime limits one write of a checkpoint. It is tried again.
	saveTime = 10 * time.Second
)

// errTaken means that another worker has the batch.
var errTaken = errors.New("another worker has taken the batch over")

// A batchRun is the work on one batch.
type batchRun struct {
	m      *membership
	r      *workerRun
	lane   string
	batch  Batch
	begun  time.Time
	ctx    context.Context // ends with cancel, and with that of the membership
	cancel context.CancelCauseFunc

	checks    checkpoints // used by one goroutine at a time
	later     bool        // a worker may have begun it before
	marks     bool        // each file is marked when it begins
	solo      bool        // its files are fetched alone
	opened    bool        // checks is ready
	telling   sync.Mutex  // held while something is appended to the log
	told      int         // entries of the log
	noting    sync.Mutex
	note      partsNote // part files on a local disk; guarded by noting
	records   []store.Record
	rounds    int           // of the run
	roundWait time.Duration // before the second one

	mu      sync.Mutex
	msg     Message          // guarded by mu, as all fields below
	stopped bool             // begin no further file
	started bool             // no further file will begin
	wait    time.Duration    // how long the batch must go back; 0 unless a file could not begin
	cp      checkpoint       // as it is now; Parts as last saved
	running map[int]*fileRun // files in work
	marked  map[int]bool     // Now of the saved checkpoint
	begins  map[int]bool     // files in work that wait for a checkpoint that names their part files
	untold  []*toldFile      // outcomes that are not in the log yet
	retries map[int]Item     // files for the next round
	wake    chan struct{}    // capacity 1: there is something to tell
}

// A fileRun is a file in work.
type fileRun struct {
	path   string
	saved  store.Handoff // the last one in a saved checkpoint, with all pages; Seq is 0 if there is none
	paged  bool          // its pages have keys of their own
	passed *pass
}

// A toldFile is an outcome for the log.
type toldFile struct {
	i       int
	outcome mirror.Outcome // without the Record of a finished file
	part    *store.Handoff // of a failed file; nil for none
	entry   []byte         // JSON of the Ended; nil until the record is known
	record  store.Record   // of the finished file
}

func newBatchRun(m *membership, r *workerRun, lane string, batch Batch, msg Message) *batchRun {
	b := &batchRun{
		m: m, r: r, lane: lane, batch: batch, msg: msg, begun: time.Now(), rounds: max(1, r.run.Settings.Rounds), roundWait: r.run.Settings.RoundWait,
		running: make(map[int]*fileRun), marked: make(map[int]bool), begins: make(map[int]bool), retries: make(map[int]Item), wake: make(chan struct{}, 1),
	}
	b.ctx, b.cancel = context.WithCancelCause(m.ctx)
	return b
}

// setMessage replaces the message, of which the broker has begun another delivery.
func (b *batchRun) setMessage(msg Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.msg = msg
	b.cp.Backs++ // nobody has died
}

func (b *batchRun) message() Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.msg
}

// stopStarting makes the batch go back when the files in work have ended.
func (b *batchRun) stopStarting() {
	b.mu.Lock()
	b.stopped = true
	b.mu.Unlock()
	b.m.gate.wake()
}

// isStopped reports whether no further file must begin.
func (b *batchRun) isStopped() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopped || b.wait > 0 || b.ctx.Err() != nil
}

// isStarted reports whether no further file will begin.
func (b *batchRun) isStarted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.started
}

// run works on the batch until it is done or goes back.
func (b *batchRun) run() {
	defer b.cancel(nil)
	defer context.AfterFunc(b.ctx, b.m.gate.wake)()
	keep, stopKeeping := context.WithCancel(context.WithoutCancel(b.ctx))
	var keeping sync.WaitGroup
	keeping.Go(func() { b.extend(keep) })
	defer keeping.Wait()
	defer stopKeeping()
	wait, ok := b.open()
	if !ok {
		b.giveBack(wait)
		return
	}
	var helpers sync.WaitGroup
	helping, stopHelping := context.WithCancel(b.ctx)
	helpers.Go(func() { b.saveOften(helping) })
	helpers.Go(func() { b.tellSoon(helping) })
	b.fetchAll()
	stopHelping()
	helpers.Wait()
	b.finish()
}

// extend keeps the message for this worker until ctx ends.
func (b *batchRun) extend(ctx context.Context) {
	tick := time.NewTicker(b.m.o.MessageLease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			// An error means that the broker is away, or was for too long. Then the next checkpoint
			// tells whether another worker has the batch.
			b.message().Extend()
		case <-ctx.Done():
			return
		}
	}
}

// open prepares the batch. If ok is false, the batch must go back for a time.
func (b *batchRun) open() (wait time.Duration, ok bool) {
	bucket, err := b.m.o.Broker.Bucket(b.ctx, runBucketPrefix+b.batch.Run, 0)
	if err != nil {
		if b.ctx.Err() == nil {
			b.m.complain(b.batch.Run, err.Error())
		}
		return time.Second, false
	}
	b.checks = checkpoints{bucket: bucket, batch: b.batch.ID, owner: fmt.Sprint(b.m.session.ID(), "-", b.m.taken.Add(1))}
	delivery := b.message().Delivery()
	cp, deaths, err := b.checks.takeOver(b.ctx, delivery, b.m.o.Name)
	if err != nil {
		if errors.Is(err, ErrNewer) {
			b.m.complain(b.batch.Run, err.Error())
			return b.m.o.MessageLease, false
		}
		b.m.o.OnWarning(fmt.Sprintf("run %s: %v", b.batch.Run, err))
		return untriedWait, false
	}
	b.mu.Lock()
	b.cp, b.opened = cp, true
	b.mu.Unlock()
	b.later = delivery > 1 || b.checks.begun || b.batch.Round > 1
	b.marks, b.solo = deaths >= markedDeaths, deaths >= soloDeaths
	now := time.Now()
	switch due := b.batch.NotBefore; {
	case now.Before(due):
		return min(due.Sub(now), longestBack), false
	case now.Before(due.Add(untriedFor)) && b.m.hasUntried(b.batch.Tried):
		b.m.leave(b.lane, 3*untriedWait) // so that this worker is not always the first that sees it again
		return untriedWait, false
	}
	for i := range b.batch.Items {
		if err := b.m.o.Sealer.Open(b.batch.Run, &Item{ID: b.batch.Items[i].ID, File: b.batch.Items[i].File, Sealed: b.batch.Items[i].Sealed}); err != nil {
			b.m.complain(b.batch.Run, "some of its entries have secrets; give this worker the key with --queue-key-file")
			return untriedWait, false
		}
	}
	for _, i := range cp.givenUp() {
		b.tellFailed(i, fmt.Errorf("%d workers ended while they had it", cp.Strikes[i]+markedDeaths))
	}
	if deaths > 0 {
		b.m.o.OnNote(fmt.Sprintf("going on with a batch of %d files, of which %d had ended, after the end of %s", len(b.batch.Items), cp.Done.count(), workerText(deaths)))
	}
	return 0, true
}

func workerText(n int) string {
	if n == 1 {
		return "a worker"
	}
	return fmt.Sprint(n, " workers")
}

// fetchAll fetches the files that have not ended.
func (b *batchRun) fetchAll() {
	var files sync.WaitGroup
	defer files.Wait()
	for i, file := range b.toFetch() {
		origin := downloader.Origin(firstURL(&b.batch.Items[i]))
		var p *pass
		if b.solo {
			p = b.m.gate.enterAlone(b.ctx, origin, b.isStopped)
		} else {
			p = b.m.gate.enter(origin, b.m.d.MaxParallel(origin), b.isStopped)
		}
		if p == nil {
			if b.solo { // the other files take too long; another worker may have none
				b.m.leave(b.lane, 3*untriedWait)
				b.delay(b.m.o.MessageLease / 2)
			}
			break
		}
		run := &fileRun{path: file.Path, passed: p}
		b.mu.Lock()
		b.running[i] = run
		b.mu.Unlock()
		files.Go(func() {
			if b.marks && !b.mark(i) {
				b.stopStarting()
				b.ended(i, false)
				return
			}
			b.fetch(i, file, run)
		})
		if b.solo { // the next one waits until this one has ended
			files.Wait()
		}
	}
	b.mu.Lock()
	b.started = true
	b.mu.Unlock()
	notify(b.m.kick)
}

// toFetch yields the files that have not ended, by their index. It looks them up together, because each
// transaction opens the state file; what a later delivery has to import comes first, see prepare.
func (b *batchRun) toFetch() iter.Seq2[int, *mirror.Item] {
	return func(yield func(int, *mirror.Item) bool) {
		for first := 0; first < len(b.batch.Items); first += maxBatchItems {
			var indexes []int
			var files []*mirror.Item
			for i := first; i < min(first+maxBatchItems, len(b.batch.Items)); i++ {
				b.mu.Lock()
				skip := b.cp.Done.has(i) || b.cp.Strikes[i] >= maxStrikes
				b.mu.Unlock()
				if skip {
					continue
				}
				it := b.batch.Items[i]
				file, err := b.file(&it)
				if err != nil {
					b.tellFailed(i, err)
					continue
				}
				indexes, files = append(indexes, i), append(files, file)
			}
			if !b.later {
				if err := mirror.LookUp(b.m.o.Store, files...); err != nil {
					b.m.o.OnWarning(err.Error())
					b.delay(b.m.o.MessageLease / 2)
					return
				}
			}
			for n, i := range indexes {
				if !yield(i, files[n]) {
					return
				}
			}
		}
	}
}

func firstURL(it *Item) string {
	if len(it.File.Entry.URLs) == 0 {
		return ""
	}
	return it.File.Entry.URLs[0]
}

// file returns the file of an item as package mirror wants it. The item comes from the queue, so it is trusted no more than a
// list.
func (b *batchRun) file(it *Item) (*mirror.Item, error) {
	file := it.File
	rel := filepath.FromSlash(file.Path)
	if rel == "." || !filepath.IsLocal(rel) || filepath.Clean(rel) != rel || strings.ContainsRune(rel, 0) || runtime.GOOS == "windows" && !utf8.ValidString(rel) {
		return nil, fmt.Errorf("%q is not in the directory of the worker", file.Path)
	}
	if len(file.Entry.URLs) == 0 || it.ID == "" {
		return nil, errors.New("the entry has no URL")
	}
	if err := b.m.o.Sealer.Open(b.batch.Run, it); err != nil {
		return nil, err
	}
	file = it.File
	file.Path = filepath.Join(b.m.o.Dir, rel)
	return &file, nil
}

// mark records that a file is fetched from now on, so that the end of the worker is a strike for it. Files that begin at the same time
// are recorded together.
func (b *batchRun) mark(i int) bool {
	b.mu.Lock()
	if part, ok := b.cp.Parts[i]; ok && part.Handoff == nil { // this worker begins anew, or has a part file of its own
		part.Held = 0
		if rec, err := b.m.o.Store.ByTarget(b.running[i].path); err == nil && rec.State != store.Done {
			part.Held = rec.Held.Len()
		}
		b.cp.Parts[i] = part
	}
	if b.cp.Now == nil {
		b.cp.Now = make(map[int]int64)
	}
	b.cp.Now[i] = b.cp.Parts[i].Held
	b.mu.Unlock()
	return b.saveIf(b.ctx, func() bool { return !b.marked[i] }, func(int) bool { return false }) == nil
}

// delay makes the batch go back for a time, and begin no further file.
func (b *batchRun) delay(wait time.Duration) {
	b.mu.Lock()
	b.wait = wait
	b.mu.Unlock()
	b.m.gate.wake()
}

// ended notes that a file is not in work any more. What an interrupted one has is in the last checkpoint.
func (b *batchRun) ended(i int, done bool) {
	b.mu.Lock()
	run := b.running[i]
	delete(b.cp.Now, i)
	if done {
		delete(b.running, i)
	}
	b.mu.Unlock()
	b.m.gate.leave(run.passed)
}

// fetch fetches a file.
func (b *batchRun) fetch(i int, file *mirror.Item, run *fileRun) {
	worker, err := b.prepare(i, file)
	if err == nil {
		steps := mirror.Steps{
			Begin:    func(rec store.Record) error { return b.begin(i, rec) },
			Released: func() { b.m.gate.release(run.passed) },
		}
		o := worker.Fetch(b.ctx, file, steps)
		if errors.Is(o.Err, store.ErrForeign) && b.m.o.Shared && !b.isAsQueued(i, file.Path) {
			if worker = b.m.fetchers(b.r, b.batch.Items[i].Private).same; mirror.LookUp(b.m.o.Store, file) == nil {
				o = worker.Fetch(b.ctx, file, steps)
			}
		}
		if ended := worker.Ended(); ended != nil && o.State == mirror.Pending && b.ctx.Err() == nil {
			b.m.noteEnded(b.r, ended)
		}
		err = b.outcome(i, o)
	}
	if errors.Is(err, store.ErrBusy) || errors.Is(err, store.ErrState) {
		b.delay(b.m.o.MessageLease / 2)
	}
	b.ended(i, err == nil)
}

// isAsQueued reports whether there is the same file at a path as when it was queued, or none as then. Any other may be that of
// a worker whose delivery and checkpoint a killed broker has forgotten.
func (b *batchRun) isAsQueued(i int, path string) bool {
	there := b.batch.Items[i].There
	stamp, _ := b.m.o.Store.Stamp(path)
	return stamp.Size == there.Size && stamp.ModTime.Equal(there.ModTime)
}

// outcome takes the outcome of a file. An error means that the file has not ended.
func (b *batchRun) outcome(i int, o mirror.Outcome) error {
	b.m.noteReach(&o)
	it := b.batch.Items[i]
	switch {
	case o.State == mirror.Pending:
		return context.Canceled
	case b.m.o.Shared && errors.Is(o.Err, store.ErrBusy):
		return o.Err
	case o.State == mirror.Failed && mirror.MayRecover(o.Err) && o.Rounds < b.maxRounds(o.Err):
		it.File.Rounds, it.File.LastError = o.Rounds, o.Err.Error()
		b.mu.Lock()
		b.retries[i] = it
		b.mu.Unlock()
		return nil
	}
	b.m.o.OnOutcome(o)
	var part *store.Handoff
	if o.State == mirror.Failed {
		part = b.partOfFailed(i, o.Path)
	}
	b.tell(i, o, part)
	return nil
}

// maxRounds returns how often a file is tried that fails with err, as in package mirror: one whose path is the part file of
// another one waits until that is finished.
func (b *batchRun) maxRounds(err error) int {
	if errors.Is(err, store.ErrPartFile) {
		return b.rounds + 1
	}
	return b.rounds
}

// tell makes sure that an outcome gets into the log. part is the part file of a failed file, nil for none.
func (b *batchRun) tell(i int, o mirror.Outcome, part *store.Handoff) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.untold = append(b.untold, &toldFile{i: i, outcome: o, part: part})
	notify(b.wake)
}

// tellFailed makes sure that the failure of a file that was not fetched gets into the log.
func (b *batchRun) tellFailed(i int, err error) {
	it := b.batch.Items[i]
	o := mirror.Outcome{Entry: it.File.Entry, State: mirror.Failed, URL: firstURL(&it), Rounds: it.File.Rounds + 1, Err: err}
	path := filepath.Join(b.m.o.Dir, filepath.FromSlash(it.File.Path))
	b.tell(i, o, b.partOfFailed(i, path))
	o.Path = path // not in the log, which has the path as it was queued, although it may be none
	b.m.o.OnOutcome(o)
}

// tellSoon appends outcomes to the log until ctx ends.
func (b *batchRun) tellSoon(ctx context.Context) {
	for {
		select {
		case <-b.wake:
			timer := time.NewTimer(tellWait)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			if err := b.tellAll(b.ctx); err != nil && ctx.Err() == nil { // finish tries it again
				b.m.sleep(time.Second)
				notify(b.wake)
			}
		case <-ctx.Done():
			return
		}
	}
}

// tellAll appends all outcomes to the log.
func (b *batchRun) tellAll(ctx context.Context) error {
	b.telling.Lock()
	defer b.telling.Unlock()
	for {
		group, err := b.nextGroup()
		if err != nil || len(group) == 0 {
			return err
		}
		// The same outcomes have the same ID until the broker has confirmed them. A later report has more.
		id := fmt.Sprint(b.checks.owner, ".", b.told, ".", len(group))
		r := Report{Version: version, Time: time.Now().UTC(), Worker: b.m.o.Name, Batch: b.batch.ID}
		if err := b.append(ctx, id, encodeEnded(r, group)); err != nil {
			return err
		}
		b.told++
		b.mu.Lock()
		b.untold = b.untold[len(group):]
		for _, t := range group {
			b.doneLocked(t.i)
			if t.record.ID != "" {
				b.records = append(b.records, t.record)
			}
		}
		b.mu.Unlock()
	}
}

// nextGroup returns the outcomes for the next entry of the log, with their JSON. The caller must hold telling.
func (b *batchRun) nextGroup() ([]*toldFile, error) {
	b.mu.Lock()
	group := b.untold[:min(maxReport, len(b.untold))]
	b.mu.Unlock()
	var outcomes []*mirror.Outcome
	for _, t := range group {
		if t.entry == nil {
			outcomes = append(outcomes, &t.outcome)
		}
	}
	if err := mirror.Complete(b.m.o.Store, outcomes); err != nil {
		return nil, err
	}
	size := 0
	for n, t := range group {
		if t.entry == nil {
			if t.outcome.State != mirror.Failed {
				t.record = t.outcome.Record
			}
			e := endedOf(b.m.o.Dir, b.batch.Items[t.i], t.outcome)
			e.Part = t.part
			t.entry = encode(&e) // Item.MarshalJSON needs a pointer
		}
		if size += len(t.entry) + 1; n > 0 && size > maxReportBytes {
			return group[:n], nil
		}
	}
	return group, nil
}

// encodeEnded returns the JSON of a report with outcomes.
func encodeEnded(r Report, group []*toldFile) []byte {
	data := bytes.TrimSuffix(encode(r), []byte("}"))
	data = append(data, `,"ended":[`...)
	for n, t := range group {
		if n > 0 {
			data = append(data, ',')
		}
		data = append(data, t.entry...)
	}
	return append(data, "]}"...)
}

// append appends an entry to the log.
func (b *batchRun) append(ctx context.Context, id string, data []byte) error {
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	return b.m.o.Broker.Append(ctx, b.batch.Run, id, data)
}

// doneLocked notes that a file has ended for this batch. The caller must hold mu.
func (b *batchRun) doneLocked(i int) {
	b.cp.Done.add(i)
	delete(b.cp.Now, i)
	delete(b.cp.Parts, i)
}

// saveOften writes checkpoints until ctx ends.
func (b *batchRun) saveOften(ctx context.Context) {
	every := time.Second
	if b.marks {
		every /= 10
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	next := b.begun.Add(checkpointAfter)
	for {
		select {
		case now := <-tick.C:
			if now.Before(next) && !b.hasNewPart() && !b.hasAdvanced() {
				continue
			}
			if b.save(ctx) == nil {
				next = time.Now().Add(checkpointAfter)
			}
		case <-ctx.Done():
			return
		}
	}
}

// hasAdvanced reports whether bytes have arrived of a marked file, and no checkpoint says so. Then the end of this worker
// is not a strike for it.
func (b *batchRun) hasAdvanced() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, held := range b.cp.Now {
		run := b.running[i]
		if run == nil || b.cp.Parts[i].Held > held {
			continue
		}
		if rec, err := b.m.o.Store.ByTarget(run.path); err == nil && rec.State != store.Done && rec.Held.Len() > held {
			return true
		}
	}
	return false
}

// save writes a checkpoint. If another worker has the batch, it interrupts everything.
func (b *batchRun) save(ctx context.Context) error {
	return b.saveIf(ctx, func() bool { return true }, func(int) bool { return true })
}

// saveIf is save if it is still needed when earlier checkpoints are written. Of the files in work, it looks for the part files of those
// that isNew selects; what the last checkpoint says of the others stays. It calls both functions with mu held.
func (b *batchRun) saveIf(ctx context.Context, needed func() bool, isNew func(i int) bool) error {
	b.telling.Lock() // not while Done changes with the log, and not twice at a time
	defer b.telling.Unlock()
	ctx, cancel := context.WithTimeout(ctx, saveTime)
	defer cancel()
	b.mu.Lock()
	if !needed() {
		b.mu.Unlock()
		return nil
	}
	cp := b.cp.clone()
	running := maps.Clone(b.running)
	maps.DeleteFunc(running, func(i int, _ *fileRun) bool { return !isNew(i) })
	b.mu.Unlock()
	handoffs, err := b.addParts(ctx, &cp, running)
	if err == nil {
		err = b.checks.write(ctx, cp)
	}
	switch {
	case errors.Is(err, ErrConflict):
		b.cancel(errTaken)
		return err
	case errors.Is(err, ErrNoRun):
		b.cancel(errGone)
		return err
	case err != nil:
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.marked)
	for i := range cp.Now {
		b.marked[i] = true
	}
	for i, h := range handoffs {
		running[i].saved, running[i].paged = h, len(cp.Parts[i].Pages) > 0
	}
	for i := range running {
		if part, ok := cp.Parts[i]; ok && !b.cp.Done.has(i) {
			b.cp.setPart(i, part)
		}
	}
	return nil
}

// finish ends the batch: it is done, or goes back. If it is interrupted meanwhile, it has a little more time.
func (b *batchRun) finish() {
	if b.ctx.Err() == nil && b.complete(b.ctx) {
		return
	}
	cause := context.Cause(b.ctx)
	if cause != nil && !errors.Is(cause, errTaken) && !errors.Is(cause, errGone) {
		ctx, cancel := b.m.last()
		defer cancel()
		if b.complete(ctx) {
			return
		}
	}
	b.mu.Lock()
	wait := b.wait
	b.mu.Unlock()
	b.giveBack(wait)
}

// complete tells what has not been told, and ends the message if all files have ended. It reports whether there is nothing more
// to do.
func (b *batchRun) complete(ctx context.Context) bool {
	if err := b.tellAll(ctx); err == nil {
		b.publishRetries(ctx) // what is not queued has not ended
	}
	if !b.isDone() {
		return false
	}
	switch err := b.message().Done(ctx); {
	case err == nil:
		b.checks.delete(ctx) // best effort
		b.forgetLocal()
		b.forget()
	case ctx.Err() != nil:
		return false
	case !errors.Is(err, ErrNoRun): // the message comes again
		b.save(ctx)
	}
	return true
}

// isDone reports whether all files have ended, and others know.
func (b *batchRun) isDone() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cp.Done.count() == len(b.batch.Items)
}

// publishRetries queues the files that are tried again.
func (b *batchRun) publishRetries(ctx context.Context) error {
	b.mu.Lock()
	retries := maps.Clone(b.retries)
	b.mu.Unlock()
	if len(retries) == 0 {
		return nil
	}
	wait := b.roundWait
	for range b.batch.Round - 1 {
		wait = min(longestBack, wait*roundWaitFactor)
	}
	next := Batch{Version: version, Run: b.batch.Run, Round: b.batch.Round + 1, NotBefore: time.Now().Add(wait).UTC(), Tried: b.batch.Tried}
	if !slices.Contains(next.Tried, b.m.o.Name) {
		next.Tried = append(slices.Clone(next.Tried), b.m.o.Name)
	}
	sum := sha256.New()
	json.NewEncoder(sum).Encode([]any{b.batch.Run, b.batch.ID, next.Round})
	for _, i := range slices.Sorted(maps.Keys(retries)) {
		next.Items = append(next.Items, retries[i])
		json.NewEncoder(sum).Encode([]any{retries[i].ID, retries[i].File.Rounds})
	}
	next.ID = hex.EncodeToString(sum.Sum(nil)[:8]) // the same if it is queued twice
	if err := b.passParts(ctx, next.ID, slices.Sorted(maps.Keys(retries))); err != nil {
		return err
	}
	if err := b.m.o.Broker.Publish(ctx, next.Run, b.lane, next.ID, encode(next)); err != nil {
		return err
	}
	r := Report{Version: version, Time: time.Now().UTC(), Worker: b.m.o.Name, Batch: b.batch.ID, Retry: &Retry{Batch: next.ID, Round: next.Round, Files: len(next.Items), NotBefore: next.NotBefore}}
	if err := b.append(ctx, "retry-"+next.ID, encode(r)); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range retries {
		b.doneLocked(i)
		delete(b.retries, i)
	}
	b.m.o.OnNote(fmt.Sprintf("%d files are tried again in round %d", len(next.Items), next.Round))
	return nil
}

// giveBack gives the batch to others, after a time. What it cannot tell the broker costs a lease.
func (b *batchRun) giveBack(wait time.Duration) {
	if cause := context.Cause(b.ctx); errors.Is(cause, errTaken) || errors.Is(cause, errGone) {
		b.drop()
		return
	}
	ctx, cancel := b.m.last()
	defer cancel()
	b.mu.Lock()
	b.cp.Now = nil
	b.cp.Backs++
	b.cp.Version, b.cp.Owner, b.cp.Worker = version, b.checks.owner, b.m.o.Name
	b.mu.Unlock()
	if !b.opened || b.save(ctx) == nil {
		b.m.noteBack(b.lane, wait)
		b.message().Back(wait)
	}
}

// drop forgets the batch, which others have or nobody wants.
func (b *batchRun) drop() {
	cause := context.Cause(b.ctx)
	b.m.o.OnNote(fmt.Sprintf("a batch of %d files was dropped: %v", len(b.batch.Items), cause))
	// On a shared disk, the part file is that of the next worker, if there is one.
	files := !b.m.o.Shared || errors.Is(cause, errGone)
	for _, run := range b.running { // nothing is in work any more
		rec, err := b.m.o.Store.ByTarget(run.path)
		if err == nil && rec.State != store.Done {
			b.m.o.Store.Remove(rec.ID, files) // best effort
		}
	}
}

// forget removes the files of the batch from the state of this worker, which would grow with each run. With
// local disks, it is all that tells which files there are pawl's own.
func (b *batchRun) forget() {
	if !b.m.o.Shared || len(b.records) == 0 {
		return
	}
	if err := b.m.o.Store.FlushPublished(); err == nil {
		b.m.o.Store.Forget(b.records) // best effort
	}
}
