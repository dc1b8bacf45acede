package mirror

import (
	"errors"

	"pawl/downloader/failure"
)

const (
	// maxUnprobed is how many files of one host may run before the host has responded. A
	// guess: with one, a single file that hangs blocks the host; with four, a dead host
	// costs four timeouts in place of two.
	maxUnprobed = 2

	// maxReady is how many files of a host may run beyond its parallel requests. They wait
	// for a connection, so that a connection that becomes free has work at once. A guess:
	// with half, connections may idle when several small files end at the same time;
	// double takes more of maxJobs from other hosts.
	maxReady = 16

	// maxHostFailures is the number of failures in a row, before any response in the round,
	// after which a host is down until the next round. It must be more than one, because
	// any host may fail once; each further one costs every dead host a timeout.
	maxHostFailures = 2

	// maxIdleHosts bounds the hosts without a file that are remembered, each about 150
	// bytes. It must be well above maxJobs, because running files also remember the hosts
	// of their mirrors: with half of it, the mirrors that a list has in common could be
	// forgotten between two files, and each file would try a dead mirror again.
	maxIdleHosts = 1000
)

// A host describes one origin during a round. The mu of its scheduler guards it.
type host struct {
	running   int   // files that have a connection or wait for one
	unprobed  int   // of these, files that started before the host had responded
	responded bool  // the host has responded in this round
	failures  int   // files in a row that failed for a reason that may be the host's
	downErr   error // the last of these failures, if the host is down until the next round; else nil
}

// maxRunning returns how many files of the host may run at once, if the host accepts so many
// parallel requests. Files of a host that is down may run, because they fail at once.
func (h *host) maxRunning(parallel int) int {
	if h.responded || h.downErr != nil {
		return parallel + maxReady
	}
	return max(1, maxUnprobed-h.failures)
}

// noteFailure records a failure that may be the host's, and reports whether the host is down
// because of it.
func (h *host) noteFailure(err error) (down bool) {
	h.failures++
	if h.failures < maxHostFailures || h.responded {
		return false
	}
	h.downErr = err
	return true
}

// noteResponse records that the host has responded.
func (h *host) noteResponse() {
	h.responded, h.failures = true, 0
}

// A hostTable holds the hosts of a round. The mu of its scheduler guards it.
type hostTable struct {
	byName  map[string]*host
	sweepAt int // number of hosts at which the next sweep is due
}

func newHostTable() hostTable {
	return hostTable{byName: make(map[string]*host), sweepAt: 2 * maxIdleHosts}
}

// get returns a host, which it adds if it is not known. waiting returns the number of queued
// items of a host; get keeps hosts that have any.
func (t *hostTable) get(name string, waiting func(name string) int) *host {
	h := t.byName[name]
	if h == nil {
		t.sweep(waiting)
		h = &host{}
		t.byName[name] = h
	}
	return h
}

// sweep removes the hosts without files, if there are many hosts. A sweep visits every host, so
// the next one is due only when their number has doubled.
func (t *hostTable) sweep(waiting func(name string) int) {
	if len(t.byName) < t.sweepAt {
		return
	}
	for name, h := range t.byName {
		if h.running == 0 && waiting(name) == 0 {
			delete(t.byName, name)
		}
	}
	t.sweepAt = 2 * max(maxIdleHosts, len(t.byName))
}

// clear forgets all hosts, so that a new round tries dead hosts again. No file may run.
func (t *hostTable) clear() { clear(t.byName) }

// isHostError reports whether err is a failure that all files of a host may have.
func isHostError(err error) bool {
	return errors.Is(err, failure.ErrNetwork) || errors.Is(err, failure.ErrThrottled)
}
