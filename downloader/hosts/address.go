package hosts

import "math"

// An Address is the network address that the connections to a host lead to: the address of the
// host or of its proxy. Other processes may have connections to it, so this process has a share
// of them. Methods must not wait, because they are called with a lock held.
type Address interface {
	// Share returns how many connections this process may have at most.
	Share() int
	// MustRelease reports whether the caller must close a connection, because another process
	// needs it. The only connection of a download (last) is closed later than others. Each
	// true counts as a connection that the caller closes.
	MustRelease(last bool) bool
	// IsQueued reports whether a connection waits because other processes have all of them.
	IsQueued() bool
	// Forget makes the next connection look up the name again.
	Forget()
	// HasResolved reports whether the name has had an address in this run.
	HasResolved() bool
}

// unshared is the Address of a host that no other process uses.
type unshared struct{}

func (unshared) Share() int            { return math.MaxInt }
func (unshared) MustRelease(bool) bool { return false }
func (unshared) IsQueued() bool        { return false }
func (unshared) Forget()               {}
func (unshared) HasResolved() bool     { return false }
