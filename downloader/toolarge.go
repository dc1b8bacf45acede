package downloader

import (
	"fmt"

	"pawl/downloader/failure"
)

// A tooLargeError means that the file is larger than allowed. It is a failure.ErrTooLarge.
type tooLargeError struct {
	text    string
	arrived bool // the bytes beyond the limit are in the part file; otherwise the server announced them
}

func (e tooLargeError) Error() string { return e.text }

// Is is for errors.Is.
func (e tooLargeError) Is(kind error) bool {
	return kind == failure.ErrTooLarge || kind == failure.ErrProtocol
}

// checkSize returns an error if a file of size bytes is larger than limit. size is -1 if
// unknown, limit is 0 for none.
func checkSize(size, limit int64) error {
	if limit > 0 && size > limit {
		return failure.Permanent(tooLargeError{text: fmt.Sprintf("it has %d bytes, and %d are allowed", size, limit)})
	}
	return nil
}

// checkArrived returns an error if more bytes of a file of unknown size have arrived than limit
// allows. It must not be used for a known size: some bytes of such a file may arrive twice.
func checkArrived(arrived, limit int64) error {
	if limit > 0 && arrived > limit {
		return failure.Permanent(tooLargeError{text: fmt.Sprintf("it has more than the %d bytes that are allowed", limit), arrived: true})
	}
	return nil
}
