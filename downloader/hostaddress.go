package downloader

import "math"

// A hostAddress is the hosts.Address of a host.
type hostAddress struct {
	hostPort string
	dialer   *dialer
	group    *group // nil if no other process counts
}

func (a hostAddress) Share() int {
	if a.group == nil {
		return math.MaxInt
	}
	return a.group.share()
}

func (a hostAddress) MustRelease(last bool) bool { return a.group.owes(last) }
func (a hostAddress) IsQueued() bool             { return a.group.queued() }
func (a hostAddress) Forget()                    { a.dialer.forget(a.hostPort) }
func (a hostAddress) HasResolved() bool          { return a.dialer.hasResolved(a.hostPort) }
