package downloader

import (
	"pawl/downloader/failure"
	"pawl/downloader/sched"
)

// A stopError is the cause of a request that the scheduler has stopped.
type stopError sched.Reason

const (
	errStolen    = stopError(sched.Stolen)
	errReplaced  = stopError(sched.Replaced)
	errOverdue   = stopError(sched.Overdue)
	errTrickling = stopError(sched.Trickling)
	errYielded   = stopError(sched.Yielded)
	errDisabled  = stopError(sched.Disabled)
)

var stopTexts = map[stopError]string{
	errStolen:    "another connection took over",
	errReplaced:  "much slower than others",
	errOverdue:   "no answer, while others have one",
	errTrickling: "next to nothing arrives",
	errYielded:   "the connection is given back",
	errDisabled:  "the mirror is put aside",
}

func (e stopError) Error() string { return stopTexts[e] }

// Is makes stops that are failures of the server network errors. The others are decisions of
// the scheduler, and no failures.
func (e stopError) Is(kind error) bool {
	return kind == failure.ErrNetwork && (e == errOverdue || e == errTrickling)
}
