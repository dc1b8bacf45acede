package downloader

import (
	"errors"
	"fmt"

	"pawl/downloader/failure"
)

// A restartError says why the held bytes do not fit the bytes of the server, or
// why the transfer must begin again. The job starts another attempt.
type restartError struct {
	why    string
	single bool  // use one stream from now on
	keep   bool  // the held bytes are right
	cause  error // the failure behind it, or nil
}

func (e restartError) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s (%v)", e.why, e.cause)
	}
	return e.why
}

// final returns the error of the download if there is no other attempt: of the kind of its
// cause, or else of this kind.
func (e restartError) final(kind error) error {
	if e.cause != nil {
		return failure.Wrap(e.cause, errors.New(e.why))
	}
	if kind == failure.ErrChanged {
		return failure.Wrap(kind, fmt.Errorf("%w: %s", kind, e.why))
	}
	return failure.New(kind, e.why)
}

// errGrowing means that each response has a longer version of the file. Only a stream has one of
// them as a whole.
var errGrowing = restartError{why: "the remote file is growing", single: true, keep: true}

// errDamaged means that some held bytes proved to be damaged. They are not held any more.
var errDamaged = restartError{why: "some of the held bytes are damaged", keep: true}
