package downloader

import (
	"bytes"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"pawl/store"
)

// Bytes that the server sends a second time, because it sends the whole file, do not count
// twice towards Request.MaxSize.
func TestTooLargeCountsOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		body := bytes.Repeat([]byte("0123456789abcdef"), 7<<16)
		srv := r.net.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"a"`)
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body)
		}))
		defer srv.Close()
		p, err := r.store.Create(store.Record{URL: srv.URL + "/f", Target: filepath.Join(r.dir, "f"), Size: 7 << 20, ETag: `"a"`})
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.WriteAt(body[:1<<20], 0)
		_, err2 := p.WriteAt(body[2<<20:], 2<<20)
		if err := errors.Join(err, err2, p.Commit(0), p.Close()); err != nil {
			t.Fatal(err)
		}
		_, err = r.get(t.Context(), "", func(req *Request) { req.URL, req.MaxSize = srv.URL+"/f", 8<<20 })
		if got, readErr := os.ReadFile(filepath.Join(r.dir, "f")); err != nil || readErr != nil || !bytes.Equal(got, body) {
			t.Errorf("got errors %v and %v, or other bytes than the server sent", err, readErr)
		}
	})
}
