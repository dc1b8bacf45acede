package downloader

import (
	"path/filepath"
	"testing"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// TestBegin: Listed.Begin is called before bytes of a version are written, with the record that names it, and its error ends the
// download before any byte is there.
func TestBegin(t *testing.T) {
	for name, fault := range map[string]faultserver.Fault{"ranges": nil, "whole": faultserver.NoRanges, "no length": faultserver.NoLength} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				old, new := faultserver.NewFile(4<<20, 1), faultserver.NewFile(4<<20, 2)
				var faults []faultserver.Fault
				if fault != nil {
					faults = append(faults, fault)
				}
				r := newInterruptedRig(t, old, 2<<20, faults...)
				r.srv.Put("f", new)
				r.srv.Set(faults...)
				before := r.record()
				var got []store.Record
				listed := func(begin func(store.Record) error) func(*Request) {
					return func(req *Request) {
						req.Into = Listed{Path: filepath.Join(r.dir, "f"), Record: r.record(), Size: -1, Begin: begin}
					}
				}
				r.mustGet("f", new, listed(func(rec store.Record) error {
					if now := r.record(); now.ID != rec.ID || !now.Held.Equal(rec.Held) || now.ETag != rec.ETag {
						t.Errorf("begin with %+v, and on record is %+v", rec, now)
					}
					got = append(got, rec)
					return nil
				}))
				if last := len(got) - 1; last < 0 || got[last].ETag == before.ETag || got[last].Held.Len() > 0 {
					t.Errorf("%d calls: %+v", len(got), got)
				}

				r.srv.Put("g", new)
				_, err := r.get(t.Context(), "g", func(req *Request) {
					req.Into = Listed{Path: filepath.Join(r.dir, "g"), Size: -1, Begin: func(store.Record) error { return errTestCancel }}
				})
				rec, recErr := r.store.ByTarget(filepath.Join(r.dir, "g"))
				if err == nil || recErr != nil || rec.Held.Len() > 0 {
					t.Errorf("got %v, and a record of %d bytes, %v", err, rec.Held.Len(), recErr)
				}
			})
		})
	}
}
