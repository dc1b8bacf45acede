package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"pawl/store"
)

// TestCheckpointStrikes: only a file that was marked when its worker ended, and that has made no progress, gets a strike.
func TestCheckpointStrikes(t *testing.T) {
	for name, tt := range map[string]struct {
		cp       checkpoint
		delivery int
		deaths   int
		strikes  int // of file 3
		givenUp  bool
	}{
		"first":          {checkpoint{}, 1, 0, 0, false},
		"one death":      {checkpoint{}, 2, 1, 0, false},
		"given back":     {checkpoint{Backs: 2}, 3, 0, 0, false},
		"broker forgot":  {checkpoint{Backs: 2}, 1, 0, 0, false},
		"alone":          {checkpoint{Now: map[int]int64{3: 0}}, 4, 3, 1, false},
		"alone, parts":   {checkpoint{Now: map[int]int64{3: 5}, Parts: map[int]partOnDisk{3: {Held: 5}}}, 4, 3, 1, false},
		"alone, bytes":   {checkpoint{Now: map[int]int64{3: 5}, Parts: map[int]partOnDisk{3: {Held: 6}}}, 4, 3, 0, false},
		"last":           {checkpoint{Now: map[int]int64{3: 0}, Strikes: map[int]int{3: 1}}, 6, 5, 2, true},
		"last, but done": {checkpoint{Strikes: map[int]int{3: 2}, Done: bitset{8}}, 6, 5, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			deaths := tt.cp.takeOver(tt.delivery, "me", "w")
			if deaths != tt.deaths || tt.cp.Strikes[3] != tt.strikes || slices.Contains(tt.cp.givenUp(), 3) != tt.givenUp || tt.cp.Now != nil || tt.cp.Owner != "me" {
				t.Errorf("%d deaths, %+v", deaths, tt.cp)
			}
		})
	}
}

// TestCheckpointFence: whoever takes a batch over keeps all earlier ones from writing, also if answers of the broker are lost.
func TestCheckpointFence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		open := func(owner string) *checkpoints {
			bucket, err := w.link().Bucket(t.Context(), "B", 0)
			if err != nil {
				t.Fatal(err)
			}
			return &checkpoints{bucket: bucket, batch: "b", owner: owner}
		}
		a, b, c := open("a"), open("b"), open("c")
		if cp, deaths, err := a.takeOver(t.Context(), 1, "wa"); err != nil || deaths != 0 || a.begun || a.revision == 0 {
			t.Fatal(cp, deaths, err)
		}
		cp := checkpoint{Version: version, Owner: "a"}
		cp.Done.add(9)
		if err := a.write(t.Context(), cp); err != nil {
			t.Fatal(err)
		}
		a.revision-- // as if the answer had been lost
		if err := a.write(t.Context(), cp); err != nil {
			t.Fatal(err)
		}
		got, deaths, err := b.takeOver(t.Context(), 2, "wb")
		if err != nil || deaths != 1 || !got.Done.has(9) || got.Done.has(8) || got.Done.count() != 1 {
			t.Fatal(got, deaths, err)
		}
		if err := a.write(t.Context(), cp); !errors.Is(err, ErrConflict) {
			t.Errorf("the first one writes: %v", err)
		}
		if err := a.delete(t.Context()); !errors.Is(err, ErrConflict) {
			t.Errorf("the first one deletes: %v", err)
		}
		if _, _, err := c.takeOver(t.Context(), 1, "wc"); err != nil || !c.begun { // the broker counts anew after a crash
			t.Fatal(c.begun, err)
		}
		if err := b.write(t.Context(), got); !errors.Is(err, ErrConflict) {
			t.Errorf("the second one writes: %v", err)
		}
		d := open("d") // took the first delivery, and has never written
		if err := d.write(t.Context(), cp); !errors.Is(err, ErrConflict) {
			t.Errorf("one that has never written: %v", err)
		}
	})
}

// TestCheckpointPages: pages of checksums have keys of their own by owner, and go with the checkpoint.
func TestCheckpointPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		bucket, err := w.link().Bucket(t.Context(), "B", 0)
		if err != nil {
			t.Fatal(err)
		}
		a := &checkpoints{bucket: bucket, batch: "b", owner: "a"}
		pages := []store.SumPage{{Number: 0, Data: []byte("zero")}, {Number: 7, Data: []byte("seven")}}
		cp := checkpoint{Version: version, Owner: "a", Parts: map[int]partOnDisk{4: {Handoff: &store.Handoff{Seq: 5}, Owner: "a", Pages: []int{0, 7, 8}}}}
		if err := errors.Join(a.putPages(t.Context(), 4, pages), a.write(t.Context(), cp)); err != nil {
			t.Fatal(err)
		}
		b := &checkpoints{bucket: bucket, batch: "b", owner: "b"}
		got, _, err := b.takeOver(t.Context(), 2, "wb")
		if err != nil {
			t.Fatal(err)
		}
		if err := a.putPages(t.Context(), 4, []store.SumPage{{Number: 7, Data: []byte("later")}}); err != nil {
			t.Fatal(err)
		}
		if err := b.putPages(t.Context(), 4, []store.SumPage{{Number: 7, Data: []byte("mine")}}); err != nil {
			t.Fatal(err)
		}
		h, err := b.handoff(t.Context(), 4, got.Parts[4])
		if err != nil || len(h.Pages) != 2 || h.Seq != 5 || !bytes.Equal(h.Pages[0].Data, []byte("zero")) { // page 8 is missing
			t.Fatalf("%+v, %v", h, err)
		}
		if err := b.delete(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left, err := bucket.List(t.Context(), ""); err != nil || len(left) > 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}

// TestCheckpointNewer: a checkpoint of a newer version, or one that is no JSON, is not overwritten.
func TestCheckpointNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, err := newWorld(t, 1).link().Bucket(t.Context(), "B", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{`{"v":2,"done":{"other":"form"}}`, `{"v":`} {
			c := &checkpoints{bucket: bucket, batch: "b", owner: "a"}
			if _, err := bucket.Put(t.Context(), c.key(), []byte(text)); err != nil {
				t.Fatal(err)
			}
			_, _, err := c.takeOver(t.Context(), 2, "w")
			if err == nil || json.Valid([]byte(text)) != errors.Is(err, ErrNewer) {
				t.Errorf("%s: %v", text, err)
			}
			if v, err := bucket.Get(t.Context(), c.key()); err != nil || string(v.Data) != text {
				t.Errorf("%s: overwritten by %s, %v", text, v.Data, err)
			}
		}
	})
}

// TestCheckpointRoom: a checkpoint fits into a message although each of its part files was added by a checkpoint of its own.
func TestCheckpointRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bucket, err := newWorld(t, 1).link().Bucket(t.Context(), "B", 0)
		if err != nil {
			t.Fatal(err)
		}
		checks := &checkpoints{bucket: bucket, batch: "b", owner: "a"}
		var cp checkpoint
		for round := range 2 {
			for i := range 60 {
				h := store.Handoff{Seq: 1, Pages: []store.SumPage{{Data: make([]byte, 5000)}}}
				room := cp.room(func(other int) bool { return other == i })
				if err := checks.addPart(t.Context(), &cp, i, h, h.Pages, len(cp.Parts[i].Pages) > 0, &room); err != nil {
					t.Fatal(err)
				}
			}
			inline := 0
			for _, part := range cp.Parts {
				if len(part.Handoff.Pages) > 0 {
					inline++
				}
			}
			if n := len(encode(cp)); n > maxCheckpoint+maxCheckpoint/10 || inline < 20 {
				t.Errorf("round %d: %d bytes, with the pages of %d files", round+1, n, inline)
			}
		}
	})
}
