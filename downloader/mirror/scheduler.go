package mirror

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
)

const (
	// maxJobs is the default of Options.Jobs. A guess: enough for ten hosts with 16 requests
	// and 16 ready files each. With half of it, connections of lists over many hosts idle;
	// double needs twice as many open files.
	maxJobs = 320

	// maxPublishing is how many files may be fetched but not yet durable. They are made
	// durable in groups, and each has an open file until then. A guess: with half of it,
	// fetches wait for a slow disk sooner; double needs up to 512 more open files.
	maxPublishing = 512

	// maxItemBytes bounds the JSON of the running items. An honest item has about 500 bytes,
	// a hostile one up to 1 MiB, which takes several times as much memory once decoded.
	// Half of it is still plenty for maxJobs honest items; double lets a hostile list use
	// twice the memory.
	maxItemBytes = 8 << 20
)

// A job is an item that was taken from the queue and runs.
type job struct {
	host       string // the host in whose queue the item was; the fetch may ask other hosts, too
	item       *Item
	bytes      int64 // of the JSON of item
	publishing bool  // the file is fetched and waits to be made durable; guarded by mu of the scheduler
}

// A load is the amount of work that is running. The mu of its scheduler guards it.
type load struct {
	running    int   // files that have a connection or wait for one
	unprobed   int   // of these, files that started before their host had responded
	publishing int   // files that are fetched and wait to be made durable
	bytes      int64 // of the JSON of all these items

	// waitingUnprobed are hosts that have not responded and sleep in the queue because too
	// many unprobed files run. One of them must be woken for each unprobed file that ends.
	waitingUnprobed []string
}

// A scheduler decides which queued item runs next. Items come from the reader (push) and from
// failed fetches (retry); next hands them out as jobs, each of which must be ended by done.
//
// A host that has no room sleeps in the queue, so every method that makes room for a host must
// wake it there and signal changed. Otherwise its items would wait forever.
//
// A scheduler is safe for concurrent use.
type scheduler struct {
	maxJobs     int                   // immutable
	maxParallel func(host string) int // how many small files of a host can be requested at once; called with mu held; immutable

	// mu guards all fields below.
	mu      sync.Mutex
	changed *sync.Cond // on mu: next must look again
	queue   *queue     // items of this round
	retries *queue     // items for the next round
	hosts   hostTable
	load    load
	reading bool  // the reader may still push items
	stopped bool  // push must queue nothing more
	err     error // ends the run
}

func newScheduler(o Options, maxParallel func(host string) int) *scheduler {
	s := &scheduler{maxJobs: maxJobs, maxParallel: maxParallel, hosts: newHostTable(), reading: true}
	if o.Jobs > 0 {
		s.maxJobs = o.Jobs
	}
	s.changed = sync.NewCond(&s.mu)
	s.queue, s.retries = newQueue(o.Temp), newQueue(o.Temp)
	return s
}

// push queues an item for this round.
func (s *scheduler) push(it *Item) error {
	b, err := it.MarshalJSON()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return errUnread
	}
	s.changed.Signal()
	return s.queue.Push(it.host(), b)
}

// retry queues the item of a job for the next round.
func (s *scheduler) retry(j *job) error {
	b, err := j.item.MarshalJSON()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retries.Push(j.host, b)
}

// next waits for an item whose host has room and returns it as a running job. It returns nil if
// this round has no items left and nothing runs, if ctx ends, or if the run has failed. When
// ctx ends, wake must be called.
func (s *scheduler) next(ctx context.Context) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		if ctx.Err() != nil || s.err != nil {
			return nil
		}
		j, err := s.take()
		if err != nil {
			s.err = err
			continue
		}
		if j != nil {
			return j
		}
		if !s.reading && s.load.running == 0 && s.queue.Len() == 0 {
			return nil
		}
		if s.load.unprobed == 0 && len(s.load.waitingUnprobed) > 0 { // no unprobed file is left whose end would wake them
			s.wakeUnprobed()
			continue
		}
		s.changed.Wait()
	}
}

// take takes an item out of the queue and counts it as running. It returns nil if no host has
// room. mu must be held.
func (s *scheduler) take() (*job, error) {
	if s.load.running >= s.maxJobs || s.load.publishing >= maxPublishing || s.load.bytes >= maxItemBytes {
		return nil, nil
	}
	name, b, ok, err := s.queue.Next(s.hasRoom)
	if err != nil || !ok {
		return nil, err
	}
	h := s.host(name)
	s.load.running++
	s.load.bytes += int64(len(b))
	h.running++
	if !h.responded && h.rest == nil {
		h.unprobed++
		s.load.unprobed++
	}
	j := &job{host: name, item: &Item{}, bytes: int64(len(b))}
	return j, j.item.UnmarshalJSON(b)
}

// hasRoom reports whether another file of a host may start. mu must be held.
//
// A quarter of the jobs is reserved for hosts that have responded, so that any number of dead
// hosts cannot keep all jobs waiting for their timeouts.
func (s *scheduler) hasRoom(name string) bool {
	h := s.hosts.byName[name]
	if h == nil { // take adds it if it has room
		h = &host{}
	}
	if h.running >= h.maxRunning(s.maxParallel(name)) {
		return false
	}
	if !h.responded && h.rest == nil && s.load.unprobed >= max(1, s.maxJobs*3/4) {
		s.load.waitingUnprobed = append(s.load.waitingUnprobed, name)
		return false
	}
	return true
}

// publishing records that the file of a job needs no connection any more, which makes room for
// another file of its host. It may be called more than once.
func (s *scheduler) publishing(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !j.publishing {
		j.publishing = true
		s.load.publishing++
		s.leave(j.host)
	}
}

// done ends a job. It must be called once for each job, before retry.
func (s *scheduler) done(j *job) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.load.bytes -= j.bytes
	if j.publishing {
		s.load.publishing--
		s.changed.Signal()
	} else {
		s.leave(j.host)
	}
}

// leave makes room for another file of a host. mu must be held.
func (s *scheduler) leave(name string) {
	h := s.hosts.byName[name]
	s.load.running--
	h.running--
	if h.unprobed > 0 {
		h.unprobed--
		s.load.unprobed--
		if waiting := s.load.waitingUnprobed; len(waiting) > 0 {
			s.queue.Wake(waiting[0])
			s.load.waitingUnprobed = waiting[1:]
		}
	}
	s.queue.Wake(name)
	s.changed.Signal()
}

// host returns a host. mu must be held.
func (s *scheduler) host(name string) *host { return s.hosts.get(name, s.queue.LenHost) }

// resting returns the error because of which a host must not be asked in this round, or nil.
func (s *scheduler) resting(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest := s.host(name).rest; rest != nil {
		return rest
	}
	return nil
}

// noteResult records how a request to a host ended. If the host begins to rest because of err, noteResult
// returns the number of its queued files.
func (s *scheduler) noteResult(name string, err error) (rests bool, files int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rests, changed := s.host(name).noteResult(err)
	if rests {
		files = s.queue.LenHost(name)
	}
	if changed {
		s.queue.Wake(name)
		s.changed.Signal()
	}
	return rests, files
}

// wakeUnprobed wakes all hosts in waitingUnprobed. mu must be held.
func (s *scheduler) wakeUnprobed() {
	for _, name := range s.load.waitingUnprobed {
		s.queue.Wake(name)
	}
	s.load.waitingUnprobed = nil
}

// retryCount returns the number of items that wait for the next round.
func (s *scheduler) retryCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retries.Len()
}

// startRound starts the next round with the items of retries. The queue must be empty and no
// job may run.
func (s *scheduler) startRound() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue, s.retries = s.retries, s.queue
	for _, name := range s.hosts.startRound() {
		// Any of the files is as good a probe as the first one, unless the host refuses certain
		// files: then the first one would decide in each run.
		if n := s.queue.LenHost(name); n > 0 {
			s.queue.Promote(name, rand.IntN(n))
		}
	}
	s.load.waitingUnprobed = nil
}

// takeRest removes and returns an item that is still queued in either round, or nil. It must be
// called after stop. With an error it may return an item, too.
func (s *scheduler) takeRest() (*Item, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wakeUnprobed()
	for _, q := range []*queue{s.queue, s.retries} {
		_, b, ok, err := q.Next(func(string) bool { return true })
		if err != nil {
			return nil, err
		}
		if ok {
			var it Item
			return &it, it.UnmarshalJSON(b)
		}
	}
	return nil, nil
}

// fail ends the run because of err.
func (s *scheduler) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = errors.Join(s.err, err)
	s.changed.Broadcast()
}

// end ends the run in order because of err, unless it has ended already.
func (s *scheduler) end(err *EndedError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.changed.Broadcast()
	}
}

// failure returns the errors that have ended the run, or nil.
func (s *scheduler) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// wake makes next look at its context again.
func (s *scheduler) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed.Broadcast()
}

// readerEnded records that the reader pushes nothing more, so that next need not wait for it.
func (s *scheduler) readerEnded() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	s.changed.Broadcast()
}

// stop makes push refuse further items, in case the reader is still blocked on its input.
func (s *scheduler) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
}

// close removes the temporary files. stop must have been called.
func (s *scheduler) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue.Close()
	s.retries.Close()
}
