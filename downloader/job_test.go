package downloader

import (
	"errors"
	"path/filepath"
	"testing"

	"pawl/store"
)

// TestPrivateNotAsked: a file of which nothing was asked in this run is not known to be from
// a private address.
func TestPrivateNotAsked(t *testing.T) {
	r := newRig(t)
	target := filepath.Join(r.dir, "list")
	p, err := r.store.Create(store.Record{URL: "http://203.0.113.1/list", Target: target, Size: 4, ETag: `"a"`})
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.WriteAt([]byte("list"), 0)
	if err := errors.Join(err, p.Commit(0), p.Close()); err != nil {
		t.Fatal(err)
	}
	res, err := r.get(t.Context(), "", func(req *Request) { req.URL, req.Output = "http://203.0.113.1/list", "list" })
	if err != nil || res.Private {
		t.Errorf("got %+v, %v, want it not to be private", res, err)
	}
}
