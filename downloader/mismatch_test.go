package downloader

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

// sumNumber returns a digest that stands for the number.
func sumNumber(t *testing.T, n int) chunk.Sum {
	t.Helper()
	sum, err := chunk.ParseSum(fmt.Sprintf("crc32c:%08x", n))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// TestMismatches: the same wrong digest three times is the end, and so are six that
// differ. A coding that belongs to the file is removed once, which is another file.
func TestMismatches(t *testing.T) {
	const kept, removed = 100, 200
	tests := []struct {
		got    []int // digests; more than kept or removed for a coding
		decode bool
		end    bool
	}{
		{nil, false, false},
		{[]int{1}, false, false},
		{[]int{1, 1}, false, false},
		{[]int{1, 1, 1}, false, true},
		{[]int{1, 2, 1}, false, false},
		{[]int{1, 2, 1, 1}, false, true},
		{[]int{1, 2, 3, 4, 5}, false, false},
		{[]int{1, 2, 3, 4, 5, 6}, false, true},
		{[]int{kept + 1}, true, false},
		{[]int{kept + 1, removed + 1}, false, false},
		{[]int{kept + 1, removed + 2, kept + 1}, false, false},
		{[]int{kept + 1, removed + 2, kept + 1, kept + 1}, false, true},
	}
	for _, tt := range tests {
		var all mismatches
		for _, n := range tt.got {
			all = append(all, &mismatch{got: sumNumber(t, n%100), coded: n > kept && n < removed, decoded: n > removed})
		}
		if got := all.decode(); got != tt.decode {
			t.Errorf("%v: decode: got %v, want %v", tt.got, got, tt.decode)
		}
		if len(all) == 0 {
			continue
		}
		err, again := all[:len(all)-1].with(all[len(all)-1])
		if again == tt.end || errors.Is(err, failure.ErrOtherFile) != tt.end || !errors.Is(err, failure.ErrChecksum) {
			t.Errorf("%v: got %v, again %v, want the end: %v", tt.got, err, again, tt.end)
		}
	}
}

// TestNextSource: the next complete download comes from a source that has sent nothing
// that was wrong, else from the one that has spoilt the fewest downloads.
func TestNextSource(t *testing.T) {
	sources := []string{"http://a/f", "http://b/f", "http://c/f"}
	tests := []struct {
		sent []string // sources of each download, by their letters
		want string
	}{
		{[]string{"a"}, "http://b/f"},
		{[]string{"ab"}, "http://c/f"},
		{[]string{"abc"}, "http://a/f"},
		{[]string{"abc", "a"}, "http://b/f"},
		{[]string{"abc", "a", "b"}, "http://c/f"},
		{[]string{"a", "b", "c"}, "http://a/f"},
	}
	for _, tt := range tests {
		var all mismatches
		for _, letters := range tt.sent {
			m := &mismatch{}
			for _, letter := range letters {
				m.sources = append(m.sources, contribution{source: "http://" + string(letter) + "/f"})
			}
			all = append(all, m)
		}
		if got := all.next(sources); got != tt.want {
			t.Errorf("after %v: got %s, want %s", tt.sent, got, tt.want)
		}
	}
}

// TestMismatchSameMirror: a mirror that is the URL itself is no other source.
func TestMismatchSameMirror(t *testing.T) {
	r := newRig(t)
	asked := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; asked > 1 {
			http.Error(w, "gone", http.StatusNotFound)
			return
		}
		io.WriteString(w, "wrong")
	}))
	defer srv.Close()
	sum, err := chunk.ParseSum("sha256:" + strings.Repeat("0", 64))
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.get(t.Context(), "f", func(req *Request) {
		req.URL, req.Sum = srv.URL+"/f", sum
		req.Mirrors = []string{req.URL}
	})
	if !errors.Is(err, failure.ErrRefused) {
		t.Errorf("got %v, want ErrRefused", err)
	}
}

// TestSum: three complete downloads with the same wrong digest are the end. Their bytes
// are not held, the file never gets its name, and the right digest fetches it anew.
func TestSum(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(12<<20, 1)
	r.srv.Put("f", f)
	sum := digestOf(t, "sha256", f)
	wrong := digestOf(t, "sha256", faultserver.NewFile(1, 2))
	_, err := r.get(t.Context(), "f", func(q *Request) { q.Sum = wrong })
	if !errors.Is(err, failure.ErrChecksum) {
		t.Errorf("got error %v, want ErrChecksum", err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, "f")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file has got its name: %v", err)
	}
	if !errors.Is(err, failure.ErrOtherFile) || r.srv.Sent() < 3*f.Size || r.srv.Sent() > 4*f.Size {
		t.Errorf("got error %v after %d bytes, want ErrOtherFile after three times %d", err, r.srv.Sent(), f.Size)
	}
	if rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("record: got %+v, %v, want none", rec, err)
	}
	if _, err := os.Lstat(filepath.Join(r.dir, "f.part")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the part file: %v", err)
	}
	r.mustGet("f", f, func(q *Request) { q.Sum = sum })
	if _, err := r.get(t.Context(), "f", func(q *Request) { q.Sum = wrong }); !errors.Is(err, failure.ErrOtherFile) {
		t.Errorf("a finished file: got error %v, want ErrOtherFile", err)
	}
	r.checkFile(filepath.Join(r.dir, "f"), f)
}

// TestSumHeals: wrong bytes that come once cost one more download, in the same run.
func TestSumHeals(t *testing.T) {
	for _, validators := range []bool{true, false} {
		r := newRig(t)
		f := faultserver.NewFile(12<<20, 1)
		r.srv.Put("f", f)
		faults := []faultserver.Fault{faultserver.CorruptOnce(5 << 20)}
		if !validators {
			f.Modified = time.Time{}
			faults = append(faults, faultserver.NoValidators)
		}
		r.srv.Set(faults...)
		r.mustGet("f", f, func(q *Request) { q.Sum = digestOf(t, "sha256", f) })
		if r.srv.Sent() > 3*f.Size {
			t.Errorf("%d bytes were sent", r.srv.Sent())
		}
		if r.countEvents(Restarted) != 1 {
			t.Errorf("it was not told: %v", r.events)
		}
	}
}
