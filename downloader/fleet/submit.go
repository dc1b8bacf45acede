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
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

const (
	// maxBatchItems, maxBatchText and maxBatchBytes limit a batch. 256 items of 100 bytes are one message of
	// 80 KiB, of which a broker that syncs each takes more than 700 per second. With half of it, many small files
	// cost twice the writes; double loses twice the work with a worker.
	maxBatchItems = 256
	maxBatchText  = 64 << 10  // bytes of the entries
	maxBatchBytes = 200 << 10 // bytes of JSON; a message must stay below 256 KiB
	// largeFile is the size in bytes from which a file is a batch of its own, because others should not
	// wait for it.
	largeFile = 64 << 20

	// maxPublishing is how many batches are on the way to the broker. One after the other is limited by its
	// syncs: a quarter of the rate. Double costs 2 MiB more and is no faster.
	maxPublishing = 16
	// maxSentGroup is how many IDs of queued items one entry of the log has: 80 KiB. When a submitter dies, its
	// successor may queue so many items twice. With half of it the log has twice the entries; double
	// would come near the limit of a message.
	maxSentGroup = 4096

	// maxProblems and maxProblemText limit the problems of one entry of the log.
	maxProblems    = 256
	maxProblemText = 512 // bytes of one error

	// maxLanesKnown limits the origins whose lanes are remembered. A list has few hosts, or one for each line.
	maxLanesKnown = 4096
	// workSignal begins the signal that a submitter has queued batches, and signalInterval is the least time between two of them. At
	// half, 200 workers ask for the new batches 400 times per second; double would be as slow as no signal.
	workSignal     = "work."
	signalInterval = time.Second
	// lastWords is how long Close tries to log what is queued.
	lastWords = 2 * time.Second
)

// SubmitterOptions are the options of OpenSubmitter. Run and Dir must be set.
type SubmitterOptions struct {
	Run    Run
	Dir    string                                         // absolute directory of the files
	Sealer *Sealer                                        // nil: entries with secrets fail, see WithoutSecrets
	Stamp  func(path string) (s store.FileStamp, ok bool) // of the file at a path, if there is one; nil if the files are elsewhere
	// Private reports whether the file of an entry may be at a private address. nil: none may.
	Private func(list.Entry) bool
	// Store is where unfinished downloads are on record, if the files are in a shared directory: workers go on with those of
	// this process, and what they leave of a failed file is recorded here. nil: part files are elsewhere.
	Store *store.Store
	// Hold keeps other processes away from the run, until the caller closes it after Submitter.Close. If it is lost, the run ends
	// for this process. nil: the caller knows that there is none.
	Hold *Hold
	// Detach makes Outcomes end once everything is queued, without any outcome.
	Detach bool
	// Unreported says that files which have not ended when the submitter does need not be reported one by one, which
	// takes 10 seconds for a million of them.
	Unreported bool
}

// A Submitter queues the files of a run, and returns what its workers tell: it is the mirror.Elsewhere of
// the run. Several processes may be the submitter of a run one after another. What an earlier one
// has queued is not queued again.
//
// Files of one lane wait until they are enough for a batch. Up to maxPublishing batches are on their way at the
// same time. Then the IDs of their items go into the log, in groups: if the submitter ends between, its
// successor queues these items again, and their first outcome counts.
type Submitter struct {
	b     Broker
	o     SubmitterOptions
	lanes laneFinder

	// Owned by the goroutine that calls Send, Flush and AllSent.
	known []itemID              // items that earlier processes have queued, sorted
	open  map[string]*openBatch // by lane

	tally *tallier // owned by Outcomes

	room     chan struct{}  // has a value for each batch that is on its way
	sending  sync.WaitGroup // these batches
	queued   chan struct{}  // closed by AllSent
	watching sync.WaitGroup

	mu       sync.Mutex // guards the following fields
	err      error      // of a batch
	sent     []string   // queued, but not in the log
	problems []Problem  // not in the log
	run      Run        // as it is now
	signaled time.Time  // when the workers were told of work
}

// OpenSubmitter returns the submitter of a run. It reads the tally up to the end of the log. Close must be called.
func OpenSubmitter(ctx context.Context, b Broker, o SubmitterOptions) (*Submitter, error) {
	limits, err := ReadLimits(ctx, b)
	if err != nil {
		return nil, err
	}
	s := &Submitter{
		b: b, o: o, lanes: laneFinder{limits: limits, known: make(map[string]string)},
		open: make(map[string]*openBatch), room: make(chan struct{}, maxPublishing), queued: make(chan struct{}), run: o.Run,
	}
	t, w, err := readTally(ctx, b, o.Run.ID)
	if err != nil {
		return nil, err
	}
	s.known, s.tally = t.sortedIDs(), w
	return s, nil
}

// decodeReport decodes an entry of a log, or a part of it, into v. The error is ErrNewer for a newer version.
func decodeReport(data []byte, v any) error {
	if err := json.Unmarshal(data, v); err != nil {
		var r struct {
			Version int `json:"v"`
		}
		if json.Unmarshal(data, &r) == nil && r.Version > version {
			return fmt.Errorf("an entry of the log of the run: %w", ErrNewer)
		}
		return fmt.Errorf("an entry of the log of the run: %w", err)
	}
	return nil
}

// Sees implements mirror.Elsewhere.
func (s *Submitter) Sees() bool { return s.o.Run.Target != "" }

// Run returns the run as it is now.
func (s *Submitter) Run() Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.run
}

// An openBatch is a batch that waits for further items.
type openBatch struct {
	lane  string
	items []queuedItem
	text  int64 // bytes of the entries
	bytes int64 // of JSON
}

// A queuedItem is an Item whose File is JSON already.
type queuedItem struct {
	id        string
	path      string // absolute
	file      []byte // JSON
	sealed    []byte
	isPrivate bool
	part      store.ID // of the unfinished download that a worker continues; "" for none
}

// Send implements mirror.Elsewhere.
func (s *Submitter) Send(ctx context.Context, it *mirror.Item) error {
	if err := s.failure(); err != nil {
		return err
	}
	id := it.Key()
	if _, sent := slices.BinarySearchFunc(s.known, parseID(id), compareIDs); sent {
		return nil
	}
	item, err := s.item(id, it)
	if err != nil {
		return s.refuse(ctx, item, err)
	}
	file, err := item.File.MarshalJSON()
	if err != nil {
		return err
	}
	q := queuedItem{id: id, path: it.Path, file: file, sealed: item.Sealed, isPrivate: item.Private}
	if r := it.Record; s.o.Store != nil && r.State != store.Done {
		q.part = r.ID
	}
	if len(file)+len(q.sealed)*2 > maxBatchBytes {
		return s.refuse(ctx, item, fmt.Errorf("the entry has %d bytes, which is too much for a queue; fetch this file without one", len(file)))
	}
	return s.add(ctx, s.lanes.find(it.Entry.URLs[0]), q, it.Entry)
}

// item returns the item as it is queued: with a relative path, without secrets, and with the record of a finished file only,
// because the part files of this process mean nothing to others.
func (s *Submitter) item(id string, it *mirror.Item) (Item, error) {
	item := Item{ID: id, File: *it, Private: s.o.Private != nil && s.o.Private(it.Entry)}
	rel, err := filepath.Rel(s.o.Dir, it.Path)
	if err != nil {
		return item, err
	}
	item.File.Path = filepath.ToSlash(rel)
	if item.File.Record.State != store.Done {
		item.File.Record = store.Record{}
	}
	item.File.Record.Target, item.File.Record.Root = "", ""
	return item, s.o.Sealer.Seal(s.o.Run.ID, &item)
}

// add adds an item to the batch of its lane, which is published when it is full.
func (s *Submitter) add(ctx context.Context, lane string, q queuedItem, e list.Entry) error {
	text, size := int64(e.Len()), int64(len(q.file)+len(q.sealed)*2)+itemOverhead
	if e.Size >= largeFile {
		return s.publish(ctx, &openBatch{lane: lane, items: []queuedItem{q}})
	}
	b := s.open[lane]
	if b != nil && (b.text+text > maxBatchText || b.bytes+size > maxBatchBytes) {
		delete(s.open, lane)
		if err := s.publish(ctx, b); err != nil {
			return err
		}
		b = nil
	}
	if b == nil {
		b = &openBatch{lane: lane, items: make([]queuedItem, 0, maxBatchItems)}
		s.open[lane] = b
	}
	b.items, b.text, b.bytes = append(b.items, q), b.text+text, b.bytes+size
	if len(b.items) < maxBatchItems {
		return nil
	}
	delete(s.open, lane)
	return s.publish(ctx, b)
}

// itemOverhead is more than the bytes of an item beside File and Sealed.
const itemOverhead = 128

// publish puts a batch on its way, as soon as there is room.
func (s *Submitter) publish(ctx context.Context, b *openBatch) error {
	select {
	case s.room <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	s.sending.Go(func() {
		defer func() { <-s.room }()
		id, data := s.message(b)
		err := s.passParts(ctx, id, b)
		if err == nil {
			err = s.b.Publish(ctx, s.o.Run.ID, b.lane, id, data)
		}
		if err == nil {
			s.signalWork(ctx)
			err = s.logSent(ctx, s.noteSent(b))
		}
		if err != nil {
			s.fail(err)
		}
	})
	return nil
}

// passParts leaves the part files that this process knows to the workers: it writes the first checkpoint of a batch.
func (s *Submitter) passParts(ctx context.Context, id string, b *openBatch) error {
	checks := checkpoints{batch: id, owner: "submitter"}
	var cp checkpoint
	room := maxCheckpoint
	for i, q := range b.items {
		if q.part == "" {
			continue
		}
		h, err := s.o.Store.Handoff(q.part, 0)
		if err != nil { // for example finished meanwhile
			continue
		}
		if checks.bucket == nil {
			if checks.bucket, err = s.b.Bucket(ctx, runBucketPrefix+s.o.Run.ID, 0); err != nil {
				return err
			}
		}
		if err := checks.addPart(ctx, &cp, i, h, h.Pages, false, &room); err != nil {
			return err
		}
	}
	return checks.begin(ctx, cp)
}

// takePart records the part file of a failed file, so that the next run, here or with workers, goes on with it. It may be gone
// meanwhile, or that of another download; then there is nothing to record.
func (s *Submitter) takePart(e *Ended) {
	path := filepath.Join(s.o.Dir, filepath.FromSlash(e.File.Path))
	if s.o.Store == nil || e.Part == nil || !filepath.IsLocal(filepath.FromSlash(e.File.Path)) {
		return
	}
	if id, err := s.o.Store.Import(*e.Part, path); err == nil && e.Part.Record.Replace {
		s.o.Store.AllowReplace(id)
	}
}

// signalWork tells the workers that there is more work. If they miss it, they find it later.
func (s *Submitter) signalWork(ctx context.Context) {
	s.mu.Lock()
	now := time.Now()
	due := now.Sub(s.signaled) >= signalInterval
	if due {
		s.signaled = now
	}
	s.mu.Unlock()
	if due {
		s.b.Signal(ctx, workSignal+s.o.Run.ID)
	}
}

// message returns the ID of a batch, which is a hash of its content, and its message. It looks what is at the paths of its items.
func (s *Submitter) message(b *openBatch) (id string, data []byte) {
	hash := sha256.New()
	var items bytes.Buffer
	items.Grow(int(b.bytes) + len(b.items)*itemOverhead)
	for i, q := range b.items {
		if i > 0 {
			items.WriteByte(',')
		}
		items.WriteString(`{"n":"` + q.id + `","i":`)
		items.Write(q.file)
		if s.o.Stamp != nil {
			if stamp, ok := s.o.Stamp(q.path); ok {
				items.WriteString(`,"there":`)
				items.Write(encode(stamp))
			}
		}
		if len(q.sealed) > 0 {
			items.WriteString(`,"h":`)
			items.Write(encode(q.sealed))
		}
		if q.isPrivate {
			items.WriteString(`,"pr":true`)
		}
		items.WriteByte('}')
		hash.Write([]byte(q.id))
		hash.Write(q.file)
	}
	id = hex.EncodeToString(hash.Sum(nil)[:8])
	head := encode(Batch{Version: version, Run: s.o.Run.ID, ID: id, Round: 1, Items: []Item{}})
	head = bytes.TrimSuffix(head, []byte("]}"))
	return id, append(append(head, items.Bytes()...), "]}"...)
}

// noteSent notes that a batch is queued. It returns a group of IDs for the log once there are enough.
func (s *Submitter) noteSent(b *openBatch) (group []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, q := range b.items {
		s.sent = append(s.sent, q.id)
	}
	if len(s.sent) < maxSentGroup-maxBatchItems {
		return nil
	}
	group, s.sent = s.sent, nil
	return group
}

// logSent writes IDs of queued items into the log.
func (s *Submitter) logSent(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	return s.log(ctx, Report{Sent: ids})
}

// log appends a report to the log. Its ID is a hash of its content without the time.
func (s *Submitter) log(ctx context.Context, r Report) error {
	r.Version = version
	sum := sha256.Sum256(encode(r))
	r.Time = time.Now()
	return s.b.Append(ctx, s.o.Run.ID, hex.EncodeToString(sum[:8]), encode(r))
}

// refuse reports that an item cannot be queued: it fails at once.
func (s *Submitter) refuse(ctx context.Context, it Item, err error) error {
	it.File.Entry.Header, it.File.Entry.Pieces = nil, list.Entry{}.Pieces
	it.File.Entry.URLs = []string{weburl.WithoutUser(it.File.Entry.URLs[0])}
	return s.log(ctx, Report{Ended: []Ended{failedOf(it, err)}})
}

// Flush implements mirror.Elsewhere.
func (s *Submitter) Flush(ctx context.Context) error {
	for lane, b := range s.open {
		delete(s.open, lane)
		if err := s.publish(ctx, b); err != nil {
			return err
		}
	}
	s.sending.Wait()
	if err := s.failure(); err != nil {
		return err
	}
	return s.logRest(ctx)
}

// logRest writes what is not in the log yet.
func (s *Submitter) logRest(ctx context.Context) error {
	s.mu.Lock()
	sent, problems := s.sent, s.problems
	s.sent, s.problems = nil, nil
	s.mu.Unlock()
	if err := s.logSent(ctx, sent); err != nil {
		return err
	}
	for len(problems) > 0 {
		n := min(len(problems), maxProblems)
		if err := s.log(ctx, Report{Problems: problems[:n]}); err != nil {
			return err
		}
		problems = problems[n:]
	}
	return nil
}

// Problem notes an unusable line or list for the log. It may be called at any time.
func (s *Submitter) Problem(err error) {
	p := Problem{Kind: errorName(err), Error: err.Error()}
	var line *list.Problem
	if errors.As(err, &line) {
		if line.Warning {
			return
		}
		p = Problem{List: line.List, Line: line.Line, Error: line.Err.Error()}
	}
	p.Error = p.Error[:min(len(p.Error), maxProblemText)]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.problems = append(s.problems, p)
}

func (s *Submitter) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

func (s *Submitter) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// AllSent records that all files of the lists are queued. It must be called after the last Flush, at most once.
func (s *Submitter) AllSent(ctx context.Context) error {
	err := s.logRest(ctx)
	if err == nil {
		err = setSubmitted(ctx, s.b, s.o.Run.ID)
	}
	if err != nil {
		s.fail(err)
		return err
	}
	s.known = nil // megabytes
	close(s.queued)
	return nil
}

// Close waits for batches that are on their way, which ends soon if the context of Send has ended, and logs which items are queued.
func (s *Submitter) Close(ctx context.Context) {
	s.sending.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	s.logRest(ctx) // if it fails, a later submitter queues these items again
	s.watching.Wait()
}

// Outcomes implements mirror.Elsewhere. The error is a CancelledError if the run is cancelled, and ErrNoRun if it is deleted.
func (s *Submitter) Outcomes(ctx context.Context) iter.Seq2[mirror.Outcome, error] {
	return func(yield func(mirror.Outcome, error) bool) {
		ended, end := context.WithCancelCause(ctx)
		defer end(nil)
		if err := s.watch(ended, end); err != nil {
			yield(mirror.Outcome{}, err)
			return
		}
		if s.o.Detach {
			select {
			case <-s.queued:
				yield(mirror.Outcome{}, mirror.ErrDetached)
				return
			case <-ended.Done():
			}
		} else if !s.yieldOutcomes(ended, yield) {
			return
		}
		switch {
		case ctx.Err() == nil:
			yield(mirror.Outcome{}, context.Cause(ended))
		case s.o.Unreported:
			yield(mirror.Outcome{}, mirror.ErrDetached)
		}
	}
}

// yieldOutcomes yields the outcomes in the log until ctx ends. It returns false if nothing more must be yielded.
func (s *Submitter) yieldOutcomes(ctx context.Context, yield func(mirror.Outcome, error) bool) bool {
	s.tally.restart()
	for e, err := range s.b.Log(ctx, s.o.Run.ID, 0) {
		if ctx.Err() != nil {
			break
		}
		var r Report
		if err == nil && e.Data != nil {
			if err = decodeReport(e.Data, &r); err == nil && r.Version > version {
				err = fmt.Errorf("an entry of the log of the run: %w", ErrNewer)
			}
		}
		if err != nil {
			yield(mirror.Outcome{}, err)
			return false
		}
		if e.Data != nil {
			s.tally.add(ctx, e, r.note())
		}
		for i := range r.Ended {
			if !isFinal(r.Ended[i]) {
				continue
			}
			s.takePart(&r.Ended[i])
			if !yield(r.Ended[i].outcome(s.o.Dir), nil) {
				return false
			}
		}
	}
	return true
}

// isFinal reports whether the file of e has ended for this run.
func isFinal(e Ended) bool { return !e.Again && e.State != mirror.Pending && e.State != "" }

// watch keeps s.run as it is, and calls end with the error that ends the run.
func (s *Submitter) watch(ctx context.Context, end context.CancelCauseFunc) error {
	changes, err := WatchRuns(ctx, s.b, s.o.Run.ID)
	if err != nil {
		return err
	}
	if s.o.Hold != nil {
		s.watching.Go(func() {
			select {
			case <-s.o.Hold.Lost():
				s.fail(s.o.Hold.Err())
				end(s.o.Hold.Err())
			case <-ctx.Done():
			}
		})
	}
	s.watching.Go(func() {
		for c := range changes {
			switch {
			case c.Err != nil:
				end(c.Err)
			case c.Deleted:
				end(ErrNoRun)
			case c.Run.Control == Cancelled:
				end(&CancelledError{c.Run.Reason})
			default:
				s.mu.Lock()
				s.run = c.Run
				s.mu.Unlock()
			}
		}
	})
	return nil
}

// A laneFinder finds the lanes of URLs.
type laneFinder struct {
	limits Limits
	known  map[string]string // by the URL up to its path
}

// find returns the lane of the host of a URL.
func (f *laneFinder) find(u string) string {
	origin := u
	if i := strings.Index(u, "://"); i >= 0 {
		if end := strings.IndexAny(u[i+3:], "/?#"); end >= 0 {
			origin = u[:i+3+end]
		}
	}
	if lane, ok := f.known[origin]; ok {
		return lane
	}
	lane := f.limits.Lane("")
	if parsed, err := url.Parse(origin); err == nil {
		lane = f.limits.Lane(HostPort(parsed))
	}
	if len(f.known) >= maxLanesKnown {
		clear(f.known)
	}
	f.known[strings.Clone(origin)] = lane
	return lane
}

// WithoutSecrets returns lists in which an entry with secrets is a problem of its line, for a submitter without a Sealer.
func WithoutSecrets(lists iter.Seq2[mirror.List, error]) iter.Seq2[mirror.List, error] {
	return func(yield func(mirror.List, error) bool) {
		for l, err := range lists {
			l.Entries = openEntries(l.Entries)
			if !yield(l, err) {
				return
			}
		}
	}
}

func openEntries(entries iter.Seq2[list.Entry, error]) iter.Seq2[list.Entry, error] {
	return func(yield func(list.Entry, error) bool) {
		var none *Sealer
		for e, err := range entries {
			if err == nil {
				if err = none.Seal("", &Item{File: mirror.Item{Entry: e}}); err != nil {
					e, err = list.Entry{}, &list.Problem{List: e.List, Line: e.Line, Err: err}
				}
			}
			if !yield(e, err) {
				return
			}
		}
	}
}
