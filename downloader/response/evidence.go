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
	OneStream                  // the server has more than one other version, or an abandoned one again: keep the held bytes, and use one stream, whose bytes are compared
	StartOver                  // the remote file has changed
	Growing                    // the remote file is growing: keep the held bytes, and use one stream, which has the file as it is at one moment
	Reject                     // its bytes are not the requested ones
	Page                       // it is a web page instead of the file
	Substitute                 // it is something else instead of the file, without a validator
)

const (
	// maxConflicts is how many consecutive responses of one other version mean that the file
	// has changed. A guess: two machines behind a load balancer that are updated one after the
	// other agree again soon. With one, a single machine that is late would cost all held
	// bytes; with six, a changed file is noticed three round trips later.
	maxConflicts = 3
	// maxConflictsAfterReturn is maxConflicts if the wanted version came again after another one.
	// If half of the machines are updated, and each response may come from any of them, twenty
	// responses in a row without the wanted version are one in a million.
	maxConflictsAfterReturn = 20
)

// A Request has the properties of a request that Judge needs.
type Request struct {
	Range       chunk.Range // empty for the whole file
	Conditional bool        // it had an If-Range field; Range is not empty then
	InTransfer  bool        // the attempt has a transfer, which may have ended: its requests need the bytes of Range, and no others
}

// Evidence collects the versions of the file that the responses of one download had. The
// zero Evidence is ready. Safe for concurrent use.
type Evidence struct {
	mu          sync.Mutex
	conflicts   []Version // of the consecutive responses of other versions; guarded by mu
	cameBack    bool      // the wanted version came after a conflict; it stays set until Abandoned; guarded by mu
	growing     bool      // the file is growing; guarded by mu
	abandoned   []Version // versions that the download gave up; guarded by mu
	missingETag bool      // a response lacked the strong ETag of the wanted version; guarded by mu
}

// Uncertain reports whether responses of other versions are to be expected. An If-Range field
// must not be sent then: it would turn each of them into a whole file.
func (e *Evidence) Uncertain() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.conflicts) > 0 || e.cameBack
}

// MissingETag reports whether some response lacked the strong ETag of the wanted version, so
// that its bytes may be of another version.
func (e *Evidence) MissingETag() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.missingETag
}

// Abandoned notes that the download gave up version v and starts over. It does not forget a missing
// ETag: a server that has left it out once may do so again.
func (e *Evidence) Abandoned(v Version) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.abandoned = append(e.abandoned, v)
	e.conflicts, e.cameBack = nil, false
}

// grows reports whether the file is growing, and o is a later version of it than v.
func (e *Evidence) grows(v, o Version) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.growing && v.Size >= 0 && o.Size > v.Size
}

// Judge decides whether the body of got, the response to request q, may be used together with the
// held bytes, which are of version want. It also notes the version of got. The reason is
// a text for the user; it is "" for Use, Page and Substitute.
//
// A whole file needs only the right size if the caller compares its bytes with the held ones before
// it uses them: callers do so outside of a transfer, and for a request for the whole file. Such a
// response is no evidence for or against a version. A whole file in response to If-Range, however,
// means that the version is another one, or that ranges are not served; then the validators decide.
func (e *Evidence) Judge(want Version, got Content, q Request) (d Decision, reason string) {
	if unexpected := want.Unexpected(got.Version); unexpected != Use {
		return unexpected, ""
	}
	comparesBytes := q.Range.Empty() || !q.InTransfer && !q.Conditional // the caller does
	if got.Whole && comparesBytes {
		if want.SizeDiffers(got.Version) && (q.InTransfer || !e.grows(want, got.Version)) {
			return e.conflict(want, got.Version)
		}
		return Use, ""
	}
	if want.Differs(got.Version) != "" {
		return e.conflict(want, got.Version)
	}
	if want.OtherCoding(got) { // its validators match, but they may describe other bytes
		return Reject, fmt.Sprintf("the server sent %s of a body in another content coding", FormatRange(q.Range))
	}
	// The version matches, even if the bytes turn out to be the wrong ones below.
	lacksETag := want.StrongETag() != "" && !want.Proves(got.Version) // nothing differs, so the strong tag is missing or weak
	e.matched(lacksETag)
	if got.Whole && q.InTransfer && q.Range.Off > 0 {
		return Reject, fmt.Sprintf("%s were requested, and the server sent the whole file", FormatRange(q.Range))
	}
	return Use, ""
}

// JudgeUnsatisfiable judges a response that denies bytes which version want has: the file has
// another size now, or the server lies.
func (e *Evidence) JudgeUnsatisfiable(want Version, r Content, q Request) (d Decision, reason string) {
	if want.SizeDiffers(r.Version) {
		return e.conflict(want, r.Version)
	}
	return Reject, fmt.Sprintf("the server denies that there are %s", FormatRange(q.Range))
}

// matched notes a response of the wanted version.
func (e *Evidence) matched(missingETag bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cameBack = e.cameBack || len(e.conflicts) > 0
	e.conflicts = nil
	e.missingETag = e.missingETag || missingETag
}

// conflict notes a response of version v, which differs from the wanted one.
func (e *Evidence) conflict(want, v Version) (Decision, string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.conflicts = append(e.conflicts, v)
	longer := want.Size >= 0 && !slices.ContainsFunc(e.conflicts, func(c Version) bool { return c.Size <= want.Size })
	if longer && e.growing {
		e.conflicts = nil
		return Growing, ""
	}
	limit := maxConflicts
	if e.cameBack {
		limit = maxConflictsAfterReturn
	}
	if len(e.conflicts) < limit {
		return AskAgain, want.Differs(v)
	}
	several := slices.ContainsFunc(e.conflicts, func(c Version) bool { return c.Differs(v) != "" })
	grew := slices.ContainsFunc(e.abandoned, func(a Version) bool { return a.Size >= 0 && a.Size < want.Size })
	switch {
	case longer && (several || grew):
		e.growing, e.conflicts = true, nil
		return Growing, ""
	case several || slices.Contains(e.abandoned, v):
		return OneStream, "the server has several versions of it, by turns"
	}
	return StartOver, want.Differs(v) // one other version since the last match: the wanted one is gone for good
}
