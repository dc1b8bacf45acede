package response

import (
	"fmt"
	"slices"
	"sync"

	"pawl/chunk"
)

// A Decision is the next step after a response, given the held bytes.
type Decision int

const (
	Use        Decision = iota // its bytes may be used together with the held ones
	AskAgain                   // it is of another version: ask again, because machines that share a load may disagree
	OneStream                  // several versions come by turns: keep the held bytes, and use one stream, whose bytes are compared
	StartOver                  // the remote file has changed
	Reject                     // it lies about ranges
	Page                       // it is a web page instead of the file
	Substitute                 // it is something else instead of the file, without a validator
)

const (
	// maxConflicts is how many consecutive responses of one other version mean that the file
	// has changed. A guess: two machines behind a load balancer that are updated one after the
	// other agree again soon. With one, a single machine that is late would cost all held
	// bytes; with six, a changed file is noticed two round trips later.
	maxConflicts = 3
	// maxConflictsAlternating is maxConflicts if the wanted version came again after another
	// one. With ten of twenty machines updated, twenty responses in a row of the same half are
	// one in a million.
	maxConflictsAlternating = 20
)

// A Request has the properties of a request that Judge needs.
type Request struct {
	Range       chunk.Range // empty for the whole file
	Conditional bool        // it had an If-Range field
	Placed      bool        // its connection is one of a running transfer, and needs the bytes of Range
}

// Evidence collects the versions of the file that the responses of one download had. The
// zero Evidence is ready. Safe for concurrent use.
type Evidence struct {
	mu          sync.Mutex
	conflicts   int       // consecutive responses of other versions; guarded by mu
	last        Version   // of the last conflict; guarded by mu
	several     bool      // the conflicts are of several versions; guarded by mu
	alternating bool      // the wanted version came again after another one; guarded by mu
	abandoned   []Version // versions that the download gave up; guarded by mu
	missingETag bool      // a response lacked the strong ETag of the wanted version; guarded by mu
}

// Uncertain reports whether responses of other versions are to be expected. An If-Range field
// must not be sent then: it would turn each of them into a whole file.
func (e *Evidence) Uncertain() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.conflicts > 0 || e.alternating
}

// MissingETag reports whether some response lacked the strong ETag of the wanted version, so
// that its bytes may be of another version.
func (e *Evidence) MissingETag() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.missingETag
}

// Abandoned notes that the download gave up version v and starts over.
func (e *Evidence) Abandoned(v Version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.abandoned = append(e.abandoned, v)
	e.conflicts, e.several, e.alternating = 0, false, false
}

// Judge decides whether response r to request q is of version want, whose bytes are held, and
// has its bytes at the requested place. It returns the reason of a decision other than Use.
//
// A whole file from byte 0 may be of any version of the same size, because its bytes are
// compared with the held ones.
func (e *Evidence) Judge(want Version, r Content, q Request) (d Decision, reason string) {
	if d := want.Unexpected(r.Version); d != Use {
		return d, ""
	}
	if r.Whole && (q.Range.Empty() || !q.Placed && !q.Conditional) {
		if want.SizeDiffers(r.Version) {
			return e.conflict(r.Version, want.Differs(r.Version))
		}
		return Use, ""
	}
	if reason := want.Differs(r.Version); reason != "" {
		return e.conflict(r.Version, reason)
	}
	if want.OtherCoding(r) {
		return Reject, fmt.Sprintf("the server sent %s of a body in another content coding", FormatRange(q.Range))
	}
	e.matched(want.StrongETag() != "" && !want.Proves(r.Version))
	if r.Whole && q.Placed && q.Range.Off > 0 {
		return Reject, fmt.Sprintf("%s were requested, and the server sent the whole file", FormatRange(q.Range))
	}
	return Use, ""
}

// JudgeUnsatisfiable judges a response that denies bytes which version want has: the file has
// another size now, or the server lies.
func (e *Evidence) JudgeUnsatisfiable(want Version, r Content, q Request) (d Decision, reason string) {
	if want.SizeDiffers(r.Version) {
		return e.conflict(r.Version, want.Differs(r.Version))
	}
	return Reject, fmt.Sprintf("the server denies that there are %s", FormatRange(q.Range))
}

// matched notes a response of the wanted version.
func (e *Evidence) matched(missingETag bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.alternating = e.alternating || e.conflicts > 0
	e.conflicts = 0
	e.missingETag = e.missingETag || missingETag
}

// conflict notes a response of version v, which differs from the wanted one as reason says.
func (e *Evidence) conflict(v Version, reason string) (Decision, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.several = e.conflicts > 0 && (e.several || v.Differs(e.last) != "")
	e.conflicts, e.last = e.conflicts+1, v
	limit := maxConflicts
	if e.alternating {
		limit = maxConflictsAlternating
	}
	switch {
	case e.conflicts < limit:
		return AskAgain, reason
	case e.several || slices.Contains(e.abandoned, v): // otherwise the wanted version is gone for good
		return OneStream, "the server has several versions of it, by turns"
	}
	return StartOver, reason
}
