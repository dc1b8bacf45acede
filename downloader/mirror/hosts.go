package mirror

import (
	"errors"
	"fmt"
	"net/http"
	"time"

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
	// after which a host rests until the next round. It must be more than one, because
	// any host may fail once; each further one costs every dead host a timeout.
	maxHostFailures = 2

	// maxOutages is the number of such failures in a row after which a host rests that has
	// responded before. A guess: each of them has used up the tries of a file, which takes
	// minutes if the host is silent; with two, files that it cannot send would stop the others.
	maxOutages = 5

	// maxLogins is the number of refused credentials in a row after which a host rests. A
	// guess: it must allow for some directories with a password of their own, and many servers
	// lock an account after five to ten wrong passwords.
	maxLogins = 5

	// maxRefusals is the number of other refusals in a row after which a host rests. A guess:
	// with half of it, a directory of a dozen forbidden files would make a host rest; double
	// sends a host that has banned this client a hundred useless requests, two for each file.
	maxRefusals = 25

	// maxIdleHosts bounds the hosts without a file that are remembered, each about 150
	// bytes. It must be well above maxJobs, because running files also remember the hosts
	// of their mirrors: with half of it, the mirrors that a list has in common could be
	// forgotten between two files, and each file would try a dead mirror again.
	maxIdleHosts = 1000
)

// A host describes one origin during a round. The mu of its scheduler guards it.
//
// A host rests if it has failed or refused so many files in a row that it would probably do the
// same with the others. These are then not tried until the next round. A host that has refused
// files is then on probation: one file is tried first. If the host refuses it for a reason that
// does not pass by itself, the others fail, too.
type host struct {
	running   int        // files that have a connection or wait for one
	unprobed  int        // of these, files that started before the host had responded
	responded bool       // the host has responded in this round
	probation bool       // the host rested in the round before, and has sent no file since
	failures  int        // files in a row that failed for a reason that may be the host's
	allowed   int        // how many failures make it rest, judging by the last one; set if failures > 0
	rest      *restError // why the host rests until the next round; nil if it does not
}

// A restError is the failure of a file that was not tried, because its host rests.
type restError struct {
	err   error     // the last failure of the host
	final bool      // the file need not be tried in another round
	until time.Time // zero if the host rests until the next round
}

func (e *restError) Error() string {
	return fmt.Sprintf("not tried, because of other files: %v", e.err)
}

func (e *restError) Unwrap() error { return e.err }

// maxRunning returns how many files of the host may run at once, if the host accepts so many
// parallel requests. Files of a host that rests may run, because they fail at once. While a
// host refuses files, no more may run than it takes to make it rest.
func (h *host) maxRunning(parallel int) int {
	switch {
	case h.rest != nil:
		return parallel + maxReady
	case h.probation:
		return 1
	case !h.responded:
		return max(1, maxUnprobed-h.failures)
	case h.failures > 0:
		return min(parallel+maxReady, max(1, h.allowed-h.failures))
	}
	return parallel + maxReady
}

// noteFailure records a failure that may be the host's, and reports whether the host rests
// because of it.
func (h *host) noteFailure(err error) (rests bool) {
	h.failures++
	if h.allowed = h.maxFailures(err); h.failures < h.allowed {
		return false
	}
	h.rest = &restError{err: err, final: h.probation && !MayRecover(err)}
	return true
}

// noteResult records how a request ended. Any error that is neither isHostError nor isRefusal is a
// response. A host that rests goes on resting, whatever its last requests return. changed means
// that another number of files may run than before.
func (h *host) noteResult(err error) (rests, changed bool) {
	if h.rest != nil {
		return false, false
	}
	if isRefusal(err) {
		h.responded = true
	}
	if !isHostError(err) && !isRefusal(err) {
		h.noteResponse()
		return false, true
	}
	rests = h.noteFailure(err)
	return rests, rests || h.responded
}

// inNextRound returns the state of the host at the beginning of a new round: a host that has refused
// files is on probation, and nothing is known of others.
func (h *host) inNextRound() *host {
	return &host{probation: h.rest != nil && !isHostError(h.rest.err)}
}

// maxFailures returns how many failures in a row make the host rest, the last of which is err.
func (h *host) maxFailures(err error) int {
	var status *failure.StatusError
	switch {
	case h.probation:
		return 1
	case errors.Is(err, failure.ErrTLS), !h.responded:
		return maxHostFailures
	case errors.As(err, &status) && status.Code == http.StatusProxyAuthRequired:
		return maxHostFailures // the proxy would refuse any request, and may lock the account
	case isHostError(err):
		return maxOutages
	case errors.Is(err, failure.ErrAuth):
		return maxLogins
	}
	return maxRefusals
}

// noteResponse records a response that is neither a refusal nor a failure of the host.
func (h *host) noteResponse() {
	h.responded, h.probation, h.failures = true, false, 0
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

// startRound forgets all hosts, so that a new round tries dead hosts again, except that those
// that have refused files are now on probation. It returns their names. No file may run.
func (t *hostTable) startRound() (onProbation []string) {
	for name, h := range t.byName {
		if h = h.inNextRound(); !h.probation {
			delete(t.byName, name)
			continue
		}
		t.byName[name] = h
		onProbation = append(onProbation, name)
	}
	return onProbation
}

// isHostError reports whether err is a failure that all files of a host may have, and that may
// pass.
func isHostError(err error) bool {
	return errors.Is(err, failure.ErrNetwork) || errors.Is(err, failure.ErrThrottled)
}

// isRefusal reports whether err is a response that a host may give for any file: it does not like
// this client, it has a fault, or it shows a page to log in. HTTP errors 404, 410 and 416 are
// about one file.
func isRefusal(err error) bool {
	if errors.Is(err, failure.ErrTLS) || errors.Is(err, failure.ErrPage) {
		return !errors.Is(err, failure.ErrDowngrade)
	}
	var status *failure.StatusError
	return errors.As(err, &status) && status.Code >= 400 && !isHostError(err) && !failure.IsGone(err) && status.Code != http.StatusRequestedRangeNotSatisfiable
}
