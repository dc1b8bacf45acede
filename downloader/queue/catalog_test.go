package queue

import (
	"testing"

	"pawl/store"
)

// TestSpots checks that a download which is added again is found by its present URL and place, also after changes,
// removals and a restart.
func TestSpots(t *testing.T) {
	inBubble(t, func(t *testing.T, r *rig) {
		r.open(Options{})
		add := func(url, name string) string {
			t.Helper()
			tasks, err := r.Add([]Spec{{URLs: []string{url}, Name: name}}, Last, true)
			if err != nil {
				t.Fatal(err)
			}
			return string(tasks[0].ID)
		}
		const a, b = "http://127.0.0.1/a", "http://127.0.0.1/b"
		first := add(a, "")
		if add(a, "") != first || add(a, "x") == first || add("http://me:pass@127.0.0.1/a", "") != first {
			t.Error("not found, or found at another place")
		}
		second := add(b, "")
		toA := func(s *Spec) error { s.URLs = []string{a}; return nil }
		if err := r.Change(store.ID(second), toA); err != nil {
			t.Fatal(err)
		}
		if third := add(b, ""); third == second {
			t.Error("found by its old URL")
		}
		if err := r.Remove(false, store.ID(first)); err != nil { // two tasks have the URL now
			t.Fatal(err)
		}
		if add(a, "") != second {
			t.Error("not found by its new URL")
		}
		if err := r.Sync(); err != nil {
			t.Fatal(err)
		}
		r.open(Options{})
		if add(a, "") != second {
			t.Error("not found after a restart")
		}
		if n := len(r.bySpot); n != 3 {
			t.Errorf("%d spots, want those of the three tasks", n)
		}
		ids, _ := r.IDs()
		if err := r.Remove(false, ids...); err != nil || len(r.bySpot)+len(r.byID) != 0 {
			t.Errorf("%v; %d spots and %d IDs are left", err, len(r.bySpot), len(r.byID))
		}
	})
}
