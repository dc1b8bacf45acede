package hosts

import "sync"

// RangeUse is how a host responds to requests with a Range field.
type RangeUse int

const (
	RangesUntried RangeUse = iota // no request for a range has succeeded yet
	RangesDoubted                 // one failed, perhaps by chance, and succeeded without the field
	RangesRefused                 // the host refuses files with the field that it sends without it
	RangesWork                    // the host has sent a range, so that a later error has another cause
)

// Ranges is the experience with the Range field at one host. Safe for concurrent use.
type Ranges struct {
	mu            sync.Mutex
	use           RangeUse // guarded by mu
	unconditional bool     // requests have no If-Range field; guarded by mu
}

// AreUnconditional reports whether requests for ranges must have no If-Range field.
func (r *Ranges) AreUnconditional() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unconditional
}

// DropCondition makes requests for ranges go without the If-Range field, because the host may refuse
// it. It reports whether that is new.
func (r *Ranges) DropCondition() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	isNew := !r.unconditional
	r.unconditional = true
	return isNew
}

// Use returns how the host responds to the field.
func (r *Ranges) Use() RangeUse {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.use
}

// Served reports that the host has sent a range.
func (r *Ranges) Served() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.use = RangesWork
}

// Failed reports that a request with the field has failed, and has succeeded without it. If the
// first failure may have passed in the meantime, it must be reported twice.
func (r *Ranges) Failed(mayPass bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.use == RangesWork:
	case mayPass && r.use == RangesUntried:
		r.use = RangesDoubted
	default:
		r.use = RangesRefused
	}
}
