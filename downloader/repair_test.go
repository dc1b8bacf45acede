package downloader

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/faultserver"
	"pawl/store"
)

const repairSize = 6 << 20 // of the files of these tests, in pieces of 1 MiB

// A repairCase is a damaged finished file, and a server from which it is repaired.
type repairCase struct {
	name    string
	plain   []faultserver.Fault // while the file is downloaded at first, and later
	faults  []faultserver.Fault // while it is repaired
	damage  []int64             // offsets of flipped bytes; nil for a file that is missing
	changed bool                // the server has another file
	most    int64               // bytes that the server may send for the repair
	err     error               // nil if the file must be right in the end, else it must be as before
}

var repairCases = []repairCase{
	{name: "one byte", damage: []int64{2_500_000}, most: 1<<20 + 1},
	{name: "three pieces", damage: []int64{0, 2_500_000, repairSize - 1}, most: 3<<20 + 1},
	{name: "every piece", damage: []int64{0, 1 << 20, 2 << 20, 3 << 20, 4 << 20, 5 << 20}, most: repairSize + 1},
	{name: "missing", most: repairSize + 1},
	{name: "no validators", plain: []faultserver.Fault{faultserver.NoValidators}, damage: []int64{2_500_000}, most: 1<<20 + 12*sampleSize},
	{name: "no ranges", faults: []faultserver.Fault{faultserver.NoRanges}, damage: []int64{2_500_000}, most: 3 * repairSize},
	{name: "another file", changed: true, damage: []int64{2_500_000}, most: maxStateRequests, err: failure.ErrChanged},
	{name: "another file without validators", plain: []faultserver.Fault{faultserver.NoValidators}, changed: true, damage: []int64{2_500_000}, most: 1<<20 + 12*sampleSize, err: failure.ErrChanged},
	{name: "another file in all bytes that are here", changed: true, damage: []int64{0, 1 << 20, 2 << 20, 3 << 20, 4 << 20, 5 << 20}, most: maxStateRequests, err: failure.ErrChanged},
	{name: "other bytes with the same validators", faults: []faultserver.Fault{faultserver.CorruptTimes(100, 2_500_000)}, damage: []int64{2_500_000}, most: 1<<20 + 1, err: failure.ErrChanged},
	{name: "gone", faults: []faultserver.Fault{faultserver.Status(404, -1)}, damage: []int64{2_500_000}, most: 1000, err: failure.ErrRefused},
	{name: "gone in the meantime", faults: []faultserver.Fault{faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(404, -1))}, damage: []int64{2_500_000}, most: 1 << 20, err: failure.ErrRefused},
}

// A repair fetches the wrong pieces only, and ends with the right file. If that cannot be, the file
// here stays as it was, and no download of it is left.
func TestRepair(t *testing.T) {
	for _, c := range repairCases {
		t.Run(c.name, func(t *testing.T) { inBubble(t, c.test) })
	}
}

func (c repairCase) test(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(repairSize, 1)
	if c.plain != nil { // without Last-Modified, the file has the time of the download
		f.Modified = time.Time{}
	}
	r.srv.Put("f", f)
	r.srv.Set(c.plain...)
	res := r.mustGet("f", f)
	before := c.damageFile(t, res.Target)
	rec, err := r.store.Get(res.ID)
	if err != nil {
		t.Fatal(err)
	}
	checker := Checker{Store: r.store}
	checked, err := checker.Check(t.Context(), rec, chunk.Sum{})
	if err != nil || checked.OK() {
		t.Fatalf("Check: got %+v, %v", checked, err)
	}
	if c.changed {
		f = faultserver.NewFile(repairSize, 2)
		r.srv.Put("f", f)
	}
	r.srv.Set(append(c.plain, c.faults...)...)
	r.srv.Reset()
	_, err = r.get(t.Context(), "f", func(req *Request) { req.Into = Damaged{ID: res.ID, Wrong: checked.Wrong} })
	if !errors.Is(err, c.err) {
		t.Fatalf("got %v, want %v", err, c.err)
	}
	if sent := r.srv.Sent(); sent > c.most {
		t.Errorf("the server sent %d bytes, want at most %d", sent, c.most)
	}
	if _, err := os.Lstat(res.Target + ".part"); err == nil {
		t.Error("a part file is left")
	}
	if left, err := r.store.Unfinished(); err != nil || len(left) > 0 {
		t.Errorf("unfinished downloads: %v, %v", left, err)
	}
	if c.err == nil {
		r.checkFile(res.Target, f)
		return
	}
	after, err := os.ReadFile(res.Target)
	if err != nil || len(after) != len(before) || !c.sameButWrong(before, after, checked.Wrong) {
		t.Errorf("the file is not as before: %v", err)
	}
	if now, err := r.store.ByTarget(res.Target); err != nil || now.ID != res.ID || now.State != store.Done {
		t.Errorf("the record: %+v, %v", now, err)
	}
}

// damageFile flips bytes of the file, or removes it, and returns its bytes.
func (c repairCase) damageFile(t *testing.T, path string) []byte {
	t.Helper()
	if c.damage == nil {
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, off := range c.damage {
		data[off] ^= 1
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return data
}

// sameButWrong reports whether two files are equal outside of the wrong ranges.
func (c repairCase) sameButWrong(a, b []byte, wrong chunk.Set) bool {
	for r := range wrong.All() {
		copy(a[r.Off:r.End], b[r.Off:r.End])
	}
	return bytes.Equal(a, b)
}
