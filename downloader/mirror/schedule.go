package mirror

// This file is about when an entry is fetched.

import (
	"context"
	"errors"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/store"
)

const (
	unprobedMax     = 2       // files at once of a host that has not answered yet
	prefetch        = 16      // more files at once of a host than it has room for, so that none is idle
	maxJobs         = 320     // files at once of all hosts
	maxPublishing   = 512     // files that have been fetched, and wait to be made durable
	maxHostFailures = 2       // failures in a row after which a host is left alone until the next round
	maxItemBytes    = 8 << 20 // of the items of these: honest ones have 500 bytes, hostile ones 1 MiB, and several times that in memory
	roundWaitFactor = 3       // each wait between rounds is so many times the one before
)

// A host is what a run knows of one. The mu of its Run guards it.
type host struct {
	running int
	doubted int   // of these, begun before it had answered
	works   bool  // it has answered in this round
	failed  int   // files in a row that failed for a reason that may be the host's
	down    error // the last of them, once there are enough
}

// schedule fetches what is queued, round by round, until all is done, or ctx or
// stopped ends. It returns when nothing runs any more.
func (m *Run) schedule(ctx, stopped context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for {
		host, it, ok := m.next(stopped)
		if ok {
			jobs.Go(func() { m.job(ctx, host, it) })
			continue
		}
		jobs.Wait()
		if stopped.Err() != nil || !m.nextRound(stopped) {
			return
		}
	}
}

// next waits for an entry whose host has room. Without any left in this round, or
// when ctx ends, it returns false.
func (m *Run) next(ctx context.Context) (string, *item, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for {
		if ctx.Err() != nil || m.fatal != nil {
			return "", nil, false
		}
		var it item
		host, b, ok, err := m.take()
		if ok {
			err = it.decode(b)
			it.size = int64(len(b))
		}
		if err != nil {
			m.fatal = err
			continue
		}
		if ok {
			return host, &it, true
		}
		if !m.reading && m.running == 0 && m.queue.Len() == 0 {
			return "", nil, false
		}
		if m.doubted == 0 && len(m.shy) > 0 { // nobody is left to wake them
			m.wakeShy()
			continue
		}
		m.changed.Wait()
	}
}

// wakeShy lets all those hosts have another look, with mu held, that waited for
// room among the hosts that have not answered.
func (m *Run) wakeShy() {
	for _, host := range m.shy {
		m.queue.Wake(host)
	}
	m.shy = nil
}

// take takes an entry out of the queue, with mu held, and counts it as running.
func (m *Run) take() (host string, b []byte, ok bool, err error) {
	if m.running >= m.jobs() || m.placing >= maxPublishing || m.bytes >= maxItemBytes {
		return "", nil, false, nil
	}
	host, b, ok, err = m.queue.Next(m.hasRoom)
	if ok {
		h := m.host(host)
		m.running++
		m.bytes += int64(len(b))
		h.running++
		if !h.works && h.down == nil {
			h.doubted++
			m.doubted++
		}
	}
	return host, b, ok, err
}

func (m *Run) jobs() int {
	if m.opts.Jobs > 0 {
		return m.opts.Jobs
	}
	return maxJobs
}

// hasRoom reports whether another file of a host may begin.
func (m *Run) hasRoom(name string) bool {
	h := m.hosts[name]
	if h == nil { // which is remembered once it runs
		h = &host{}
	}
	if h.works || h.down != nil { // those of a host that is down are put off at once
		return h.running < m.d.MaxParallel(name)+prefetch
	}
	if h.running >= max(1, unprobedMax-h.failed) {
		return false
	}
	if m.doubted >= max(1, m.jobs()*3/4) { // the rest is for hosts that work
		m.shy = append(m.shy, name)
		return false
	}
	return true
}

// job fetches one file, and tells how that ended, or queues it for the next round.
func (m *Run) job(ctx context.Context, name string, it *item) {
	released := false // guarded by mu
	o := m.fetch(ctx, it, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if !released {
			released = true
			m.placing++
			m.leave(name)
		}
	})
	o.Rounds = it.Rounds + 1
	again := o.State == Failed && mayRecover(o.Err) && o.Rounds < m.rounds(o.Err)
	m.mu.Lock()
	m.bytes -= it.size
	if released {
		m.placing--
		m.changed.Signal()
	} else {
		m.leave(name)
	}
	m.mu.Unlock()
	switch {
	case o.State == Failed && ctx.Err() != nil:
		o.State = Pending
	case again:
		it.Rounds, it.LastError = o.Rounds, o.Err.Error()
		if err := m.putOff(name, it); err != nil {
			m.fail(err)
		} else {
			return
		}
	}
	m.tell(o)
}

// mostHosts is how many hosts without a file to fetch are remembered, of 150 bytes each. 320
// files are fetched at once, so that half may forget what a list's mirrors have in common.
const minHostSweep = 1000

// forgetHosts forgets the hosts without a file, with mu held, if there are many. It looks at
// all of them, and so not again before there are twice as many.
func (m *Run) forgetHosts() {
	if len(m.hosts) < m.sweep {
		return
	}
	for name, h := range m.hosts {
		if h.running == 0 && m.queue.LenHost(name) == 0 {
			delete(m.hosts, name)
		}
	}
	m.sweep = 2 * max(minHostSweep, len(m.hosts))
}

// host returns what is known of one, with mu held.
func (m *Run) host(name string) *host {
	h := m.hosts[name]
	if h == nil {
		m.forgetHosts()
		h = &host{}
		m.hosts[name] = h
	}
	return h
}

// down returns why a host is left alone in this round, nil if it is not.
func (m *Run) down(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.host(name).down
}

// asked notes what the end of a file tells about the host that was asked for it.
func (m *Run) asked(name string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.host(name)
	switch {
	case h.down != nil:
	case isHostError(err):
		if h.failed++; h.failed >= maxHostFailures && !h.works {
			h.down = err
			m.queue.Wake(name)
			m.changed.Signal()
		}
	default:
		h.works, h.failed = true, 0
		m.queue.Wake(name)
		m.changed.Signal()
	}
}

// leave makes room for another file of a host, with mu held.
func (m *Run) leave(name string) {
	h := m.hosts[name]
	m.running--
	h.running--
	if h.doubted > 0 {
		h.doubted--
		m.doubted--
		if len(m.shy) > 0 {
			m.queue.Wake(m.shy[0])
			m.shy = m.shy[1:]
		}
	}
	m.queue.Wake(name)
	m.changed.Signal()
}

// mayBeHost reports whether err is one that all files of a host may end with.
func isHostError(err error) bool {
	return errors.Is(err, downloader.ErrNetwork) || errors.Is(err, downloader.ErrThrottled)
}

// rounds returns how often a file is tried that fails with err. A file whose path is the
// part file of another one waits for that, which costs a round.
func (m *Run) rounds(err error) int {
	if errors.Is(err, store.ErrPartFile) {
		return m.opts.Rounds + 1
	}
	return m.opts.Rounds
}

// mayMend reports whether another round may end otherwise.
func mayRecover(err error) bool {
	var status *downloader.StatusError
	return isHostError(err) || errors.Is(err, store.ErrPartFile) || errors.As(err, &status) && status.Code >= 500 || errors.Is(err, downloader.ErrPage)
}

// putOff queues it for the next round.
func (m *Run) putOff(name string, it *item) error {
	b, err := it.encode()
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.again.Push(name, b)
}

// nextRound makes what failed the queue, after a wait, and reports whether there
// was any.
func (m *Run) nextRound(ctx context.Context) bool {
	m.mu.Lock()
	n, fatal := m.again.Len(), m.fatal
	m.mu.Unlock()
	if n == 0 || fatal != nil {
		return false
	}
	wait := m.opts.RoundWait
	for range m.round - 1 {
		wait *= roundWaitFactor
	}
	m.telling.Lock()
	m.opts.OnRound(m.round+1, n, wait)
	m.telling.Unlock()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.queue, m.again = m.again, m.queue
	m.round++
	clear(m.hosts)
	m.shy = nil
	return true
}

// rest tells of what is still queued that the run ended before it.
func (m *Run) rest() {
	for {
		it, err := m.left()
		if err != nil {
			m.fail(err)
		}
		if it == nil {
			return
		}
		m.pending([]*item{it})
	}
}

// left takes what is still queued, nil if that is nothing.
func (m *Run) left() (*item, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wakeShy()
	for _, q := range []*queue{m.queue, m.again} {
		_, b, ok, err := q.Next(func(string) bool { return true })
		if err != nil {
			return nil, err
		}
		if ok {
			var it item
			return &it, it.decode(b)
		}
	}
	return nil, nil
}
