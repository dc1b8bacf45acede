package downloader

import (
	"errors"
	"path/filepath"
	"testing"

	"pawl/store"
)

// If no request was sent in this run, Result.Private is false.
func TestPrivateWithoutRequest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
		res, err := r.get(t.Context(), "", func(req *Request) { req.URL, req.Into = "http://203.0.113.1/list", File{Dir: r.dir, Output: "list"} })
		if err != nil || res.Private {
			t.Errorf("got %+v, error %v, want Private to be false", res, err)
		}
	})
}
