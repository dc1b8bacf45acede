package downloader

import (
	"errors"
	"fmt"
	"io"
	"net/http"
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

// numberedSum returns a different digest for each n.
func numberedSum(t *testing.T, n int) chunk.Sum {
	t.Helper()
	sum, err := chunk.ParseSum(fmt.Sprintf("crc32c:%08x", n))
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// The request fails after three downloads with the same wrong digest, or after six with
// different ones. If the content coding was kept, the next download removes it once, because
// that gives other bytes.
func TestMismatches(t *testing.T) {
	const kept, removed = 100, 200
	tests := []struct {
		got    []int // numbers of digests, plus kept or removed if there was a content coding
		decode bool  // the next download must remove the coding
		final  bool  // the request has failed
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
			all = append(all, &mismatch{got: numberedSum(t, n%100), coded: n > kept && n < removed, decoded: n > removed})
		}
		if got := all.decode(); got != tt.decode {
			t.Errorf("%v: decode: got %v, want %v", tt.got, got, tt.decode)
		}
		if len(all) == 0 {
			continue
		}
		err, again := all[:len(all)-1].with(all[len(all)-1])
		if again == tt.final || errors.Is(err, failure.ErrOtherFile) != tt.final || !errors.Is(err, failure.ErrChecksum) {
			t.Errorf("%v: got error %v, again %v, want again %v", tt.got, err, again, !tt.final)
		}
	}
}

// Two equal downloads outweigh the digest of the server. One is enough against the digest of the
// user, if the only source says itself that it has another file.
func TestMismatchesOfServer(t *testing.T) {
	server, you := promise{Sum: numberedSum(t, 9), by: ProofServer, field: "Digest"}, promise{Sum: numberedSum(t, 9), by: ProofYours}
	tests := []struct {
		want     promise
		got      []int
		admitted bool
		final    bool
	}{
		{server, []int{1}, false, false},
		{server, []int{1, 1}, false, true},
		{server, []int{1, 2}, false, false},
		{server, []int{1, 2, 1}, false, true},
		{you, []int{1, 1}, false, false},
		{you, []int{1}, true, true},
	}
	for _, tt := range tests {
		var all mismatches
		for _, n := range tt.got {
			all = append(all, &mismatch{want: tt.want, got: numberedSum(t, n), admitted: tt.admitted})
		}
		err := all.final()
		if (err != nil) != tt.final || tt.final && errors.Is(err, failure.ErrServerDigest) != (tt.want == server) {
			t.Errorf("%v, %v: got error %v, want one: %v", tt.want, tt.got, err, tt.final)
		}
	}
}

// The next download comes from a source that took no part in a wrong download, or else from the
// source that took part in the fewest.
func TestNextSource(t *testing.T) {
	sources := []string{"http://a/f", "http://b/f", "http://c/f"}
	tests := []struct {
		downloads []string // the letters of the sources of each wrong download
		want      string
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
		for _, letters := range tt.downloads {
			m := &mismatch{}
			for _, letter := range letters {
				m.sources = append(m.sources, contribution{source: "http://" + string(letter) + "/f"})
			}
			all = append(all, m)
		}
		if got := all.next(sources); got != tt.want {
			t.Errorf("after %v: got %s, want %s", tt.downloads, got, tt.want)
		}
	}
}

// A mirror with the same URL as the origin does not count as another source.
func TestMismatchSameMirror(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		requests := 0
		srv := r.net.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if requests++; requests > 1 {
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
			t.Errorf("got error %v, want ErrRefused", err)
		}
	})
}

// After three complete downloads with the same wrong digest, the download fails: its part file
// and its record are gone, and the file never gets its name. The right digest downloads the
// file anew. A finished file with another digest stays.
func TestWrongDigest(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
			t.Errorf("the file exists: Lstat returned %v", err)
		}
		if !errors.Is(err, failure.ErrOtherFile) || r.srv.Sent() < 3*f.Size || r.srv.Sent() > 4*f.Size {
			t.Errorf("got error %v after %d bytes, want ErrOtherFile after three times %d", err, r.srv.Sent(), f.Size)
		}
		if rec, err := r.store.ByURL(r.dir, r.srv.URL+"/f"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("record: got %+v, error %v, want ErrNotFound", rec, err)
		}
		if _, err := os.Lstat(filepath.Join(r.dir, "f.part")); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the part file exists: Lstat returned %v", err)
		}
		r.mustGet("f", f, func(q *Request) { q.Sum = sum })
		if _, err := r.get(t.Context(), "f", func(q *Request) { q.Sum = wrong }); !errors.Is(err, failure.ErrOtherFile) {
			t.Errorf("finished file: got error %v, want ErrOtherFile", err)
		}
		r.checkFile(filepath.Join(r.dir, "f"), f)
	})
}

// If the bytes are wrong only once, a second download in the same run succeeds.
func TestWrongDigestOnce(t *testing.T) {
	inBubble(t, func(t *testing.T) {
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
				t.Errorf("the server sent %d bytes, want at most %d", r.srv.Sent(), 3*f.Size)
			}
			if r.countEvents(Restarted) != 1 {
				t.Errorf("got events %v, want one Restarted", r.events)
			}
		}
	})
}

// If the disk has other bytes than were received, only the pieces that they are in are fetched
// again, and named. The digest decides, whoever named it.
func TestDiskDiffers(t *testing.T) {
	const mib = 1 << 20
	for _, tt := range []struct {
		name  string
		at    []int64 // offsets of the wrong bytes
		named string
	}{
		{"one piece", []int64{3*mib + 5}, "bytes 3145728-4194303;"},
		{"two pieces", []int64{100, 3 * mib}, "bytes 0-1048575, bytes 3145728-4194303;"},
		{"four pieces", []int64{0, mib, 2 * mib, 4 * mib}, "bytes 0-3145727, bytes 4194304-5242879;"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				f := faultserver.NewFile(8*mib+1000, 1)
				r := newInterruptedRig(t, f, 6*mib)
				r.srv.Set(faultserver.At(1, func() { // the part file was verified when it was opened
					for _, off := range tt.at {
						flipByte(t, filepath.Join(r.dir, "f.part"), off)
					}
				}))
				rec := r.record()
				held := rec.Held.Len()
				d := New(r.store, r.opts)
				defer d.Close()
				res, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/f", Into: File{Dir: r.dir}, Sum: digestOf(t, "sha256", f)})
				if err != nil {
					t.Fatal(err)
				}
				r.checkFile(res.Target, f)
				if !r.warned("the disk has other bytes than were received, in " + tt.named) {
					t.Errorf("got events %v, want a warning of %s", r.events, tt.named)
				}
				if most := f.Size - held + int64(len(tt.at))*mib + 300_000; r.srv.Sent() > most {
					t.Errorf("the server sent %d bytes, want at most %d", r.srv.Sent(), most)
				}
			})
		})
	}
}

// A digest that only the first response has is verified after an interruption, too, unless the
// remote file has changed since.
func TestServerDigestSurvives(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := faultserver.NewFile(8<<20, 1)
		digest := faultserver.SetHeader("X-Checksum-Sha256", strings.TrimPrefix(digestOf(t, "sha256", f).String(), "sha256:"))
		r := newInterruptedRig(t, f, 6<<20, digest, faultserver.CorruptOnce(1<<20))
		if res := r.mustGet("f", f); res.Proof != ProofServer || r.countEvents(Restarted) != 1 {
			t.Errorf("got proof %q and events %v, want the wrong byte found", res.Proof, r.events)
		}
		r = newInterruptedRig(t, f, 6<<20, digest)
		other := faultserver.NewFile(8<<20, 2)
		r.srv.Put("f", other)
		if res := r.mustGet("f", other); res.Proof != ProofChecksums {
			t.Errorf("after a change: got proof %q", res.Proof)
		}
	})
}

// flipByte changes one byte of the file at path.
func flipByte(t *testing.T, path string, off int64) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := []byte{0}
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1
	if _, err := f.WriteAt(b, off); err != nil {
		t.Fatal(err)
	}
}
