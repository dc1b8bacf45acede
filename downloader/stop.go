package downloader

import (
	"context"
	"slices"

	"pawl/downloader/failure"
	"pawl/downloader/sched"
)

// A stopError is the cause of a request that the scheduler has stopped. A Reason is a number, because
// package sched knows no errors; here it becomes the cause of the context of the request, so that
// each read of the body returns at once.
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
	errReplaced:  "much slower than other connections",
	errOverdue:   "no response, while other requests have one",
	errTrickling: "almost no byte arrives",
	errYielded:   "the connection is needed elsewhere",
	errDisabled:  "the mirror is no longer used",
}

func (e stopError) Error() string { return stopTexts[e] }

// Is makes stops that are failures of the server network errors. The others are decisions of
// the scheduler, and not failures.
func (e stopError) Is(kind error) bool {
	return kind == failure.ErrNetwork && slices.Contains([]stopError{errOverdue, errTrickling}, e)
}

// stopCause returns the stopError that ended a request, if one did. ctx must be the context of the
// request: the context of the transfer has the error of the whole transfer as its cause.
func stopCause(ctx context.Context) (stopError, bool) {
	e, ok := context.Cause(ctx).(stopError)
	return e, ok
}
