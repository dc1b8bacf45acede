package downloader

import (
	"errors"
	"testing"

	"pawl/downloader/failure"
)

// A destination that is incomplete, or a pointer, is an error and not a file in the working
// directory.
func TestIncompleteDestination(t *testing.T) {
	d := New(newRig(t).store, Options{})
	defer d.Close()
	for _, to := range []Destination{Recorded{}, Stream{}, Listed{}, &File{Dir: t.TempDir()}} {
		_, err := d.Get(t.Context(), Request{URL: "http://127.0.0.1:1/f", Into: to})
		if !errors.Is(err, failure.ErrUsage) {
			t.Errorf("%T%+v: got %v, want %v", to, to, err, failure.ErrUsage)
		}
	}
}
