package store

// This file hands an unfinished download over to another machine that sees the same part file.
// See "Downloads that move to another machine" in the package comment.

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync"

	"pawl/chunk"
)

// A Handoff is an unfinished download, as another machine needs it to continue: its record, and
// the checksums of the pieces of its part file. It claims only bytes that are durable. Its JSON
// form keeps every byte of its texts, and is at most MaxHandoff bytes long.
type Handoff struct {
	// Record lacks everything that only the machine of the download can use: Target, Root,
	// Mirrors, Control, Process, Credentials and Reason.
	Record Record `json:"record"`
	// Seq numbers the Handoffs of one download and one process. It starts at random and is never 0.
	Seq uint64 `json:"seq"`
	// Since is 0 if Pages has the checksums of all held pieces. Otherwise Pages has the pages
	// that have changed since the Handoff with this Seq.
	Since uint64    `json:"since,omitempty"`
	Pages []SumPage `json:"pages,omitempty"` // by Number
}

// A SumPage has the checksums of 256 consecutive pieces, and a checksum of its own.
type SumPage struct {
	Number int    `json:"n"` // 0 for the page of the first pieces
	Data   []byte `json:"data"`
}

// The limits of a Handoff. A download that exceeds them is handed over in part: its first
// ranges and pages.
const (
	// MaxHandoff is the largest number of bytes that the JSON form of a Handoff may have.
	// It follows from the other limits, and is the default limit of a message of NATS.
	MaxHandoff = 1 << 20
	// maxHandoffPages is twice the number of pages that a file of known size can have. Without a
	// known size, they are enough for 512 GiB.
	maxHandoffPages = 512
	// maxHandoffRanges limits the held ranges. A guess: a download has about as many gaps as
	// connections.
	maxHandoffRanges = 4096
	// maxHandoffText limits the bytes of all texts of the record. Each may take seven in JSON.
	maxHandoffText = 16 << 10
)

// ErrHandoff reports that a Handoff is not valid, or that its target is not.
var ErrHandoff = errors.New("invalid handoff of a download")

// handoffVersion is the version of the JSON form of a Handoff.
const handoffVersion = 1

// plainHandoff is a Handoff without methods, so that encoding/json does not call them again.
type plainHandoff Handoff

// A storedHandoff is the JSON form of a Handoff.
type storedHandoff struct {
	V int `json:"v"`
	*plainHandoff
	Raw [][]byte `json:"raw,omitempty"` // RawTexts of the record
}

// MarshalJSON implements json.Marshaler.
func (h Handoff) MarshalJSON() ([]byte, error) {
	return json.Marshal(storedHandoff{handoffVersion, (*plainHandoff)(&h), RawTexts(h.Record.Texts())})
}

// UnmarshalJSON implements json.Unmarshaler. It returns ErrNewer if a newer pawl has made the
// Handoff. Import checks whether the content is valid.
func (h *Handoff) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		return nil
	}
	if len(b) > MaxHandoff {
		return fmt.Errorf("%w: it has %d bytes", ErrHandoff, len(b))
	}
	var read Handoff
	stored := storedHandoff{plainHandoff: (*plainHandoff)(&read)}
	if err := json.Unmarshal(b, &stored); err != nil {
		return fmt.Errorf("%w: %w", ErrHandoff, err)
	}
	switch {
	case stored.V > handoffVersion:
		return fmt.Errorf("handoff of version %d: %w", stored.V, ErrNewer)
	case stored.V < 1:
		return fmt.Errorf("%w: missing version", ErrHandoff)
	}
	RestoreTexts(read.Record.Texts(), stored.Raw)
	*h = read
	return nil
}

// Handoff returns the unfinished download id as the state file has it, whether this process, another one or
// none works on it. The result has the pages of checksums that have changed since the Handoff
// with the Seq since, or all pages if since is 0, or if this process does not remember it.
//
// The errors are ErrNotFound if there is no such unfinished download, errors.ErrUnsupported if it
// is the repair of a finished file, and ErrHandoff if its URL is too long.
func (s *Store) Handoff(id ID, since uint64) (Handoff, error) {
	var rec Record
	var pages []sumPage
	err := s.read(func(t tx) (err error) {
		if t.Bucket(recordBucket).Get([]byte(id)) == nil {
			return ErrNotFound
		}
		if rec, err = t.get(id); err == nil {
			pages = t.pages(id)
		}
		return err
	})
	if err != nil {
		s.handoffs.forget(id)
		return Handoff{}, err
	}
	if rec.IsRepair() {
		return Handoff{}, fmt.Errorf("%q is being repaired, which no other machine can continue: %w", rec.Target, errors.ErrUnsupported)
	}
	if err := rec.makePortable(); err != nil {
		return Handoff{}, err
	}
	h := Handoff{Record: rec}
	for _, pg := range pages {
		if rec.holdsOfPage(pg.n) && checkPage(pg) == nil {
			h.Pages = append(h.Pages, SumPage{pg.n, pg.data})
		}
	}
	s.handoffs.onlySince(&h, since)
	return h, nil
}

// makePortable removes the parts of r that only its machine can use, or that exceed the limits of a Handoff.
func (r *Record) makePortable() error {
	r.Target, r.Root, r.Mirrors, r.Control, r.Process, r.Credentials, r.Reason = "", "", nil, "", Process{}, nil, ""
	if n := r.textBytes(); n > maxHandoffText {
		return fmt.Errorf("%w: its URL and validators have %d bytes", ErrHandoff, n)
	}
	if r.PieceLength <= 0 { // no checksums, so Resume would not believe the ranges
		r.Held = chunk.Set{}
	}
	r.Held = r.portableHeld()
	return nil
}

// portableHeld returns the held ranges that are within the limits of a Handoff.
func (r *Record) portableHeld() chunk.Set {
	held := clip(r.Held, pageStart(maxHandoffPages, r.PieceLength))
	n := 0
	for next := range held.All() {
		if n++; n > maxHandoffRanges {
			return clip(held, next.Off)
		}
	}
	return held
}

// textBytes returns how many bytes the texts of r have.
func (r *Record) textBytes() (n int) {
	for _, text := range r.Texts() {
		n += len(*text)
	}
	return n
}

// pageStart returns the offset of the first byte of the pieces of page n, chunk.Unbounded if it is
// beyond any file. length is the length of a piece.
func pageStart(n int, length int64) int64 {
	if n > 0 && length > chunk.Unbounded/sumsPerPage/int64(n) {
		return chunk.Unbounded
	}
	return int64(n) * sumsPerPage * length
}

// holdsOfPage reports whether any held byte of r is in a piece of page n.
func (r *Record) holdsOfPage(n int) bool {
	if n < 0 || n >= maxHandoffPages || r.PieceLength <= 0 {
		return false
	}
	w := writtenBytes{set: r.Held}
	return w.overlaps(chunk.Range{Off: pageStart(n, r.PieceLength), End: pageStart(n+1, r.PieceLength)})
}

// Shorten leaves out the last pages of checksums, and the held ranges that they are of, until the JSON form of h has at
// most n bytes. It returns false if that is not possible. h must be complete.
func (h *Handoff) Shorten(n int) bool {
	for {
		b, err := json.Marshal(h)
		switch {
		case err != nil:
			return false
		case len(b) <= n:
			return true
		case len(h.Pages) > 0:
			keep := min(len(h.Pages)-1, len(h.Pages)*n/len(b))
			h.Record.Held = clip(h.Record.Held, pageStart(h.Pages[keep].Number, h.Record.PieceLength))
			h.Pages = slices.Clone(h.Pages[:keep])
		case h.Record.Held.Len() > 0:
			h.Record.Held = chunk.Set{}
		default:
			return false
		}
	}
}

// checkPage returns an error unless pg is a page of takeUnsaved.
func checkPage(pg sumPage) error {
	b, err := checkChecksum(pg.data)
	switch {
	case err != nil:
		return err
	case len(b) <= 4 || len(b)%4 != 0 || len(b) > 4+4*sumsPerPage || binary.BigEndian.Uint32(b) != uint32(pg.n):
		return fmt.Errorf("%d bytes are not page %d of checksums", len(b), pg.n)
	}
	return nil
}

// Merge brings h up to date with next, a later Handoff of the same download. next must be
// complete, or have been made since the Seq of h. Otherwise Merge returns false, and h is as it was.
func (h *Handoff) Merge(next Handoff) bool {
	if next.Since == 0 {
		*h = next
		return true
	}
	if next.Since != h.Seq {
		return false
	}
	pages := make(map[int]SumPage)
	if h.Record.PieceLength == next.Record.PieceLength { // else a new version has begun, with other pieces
		for _, pg := range h.Pages {
			pages[pg.Number] = pg
		}
	}
	for _, pg := range next.Pages {
		pages[pg.Number] = pg
	}
	merged := make([]SumPage, 0, len(pages))
	for _, pg := range pages {
		if next.Record.holdsOfPage(pg.Number) { // an unchanged page comes again if bytes of it are held again
			merged = append(merged, pg)
		}
	}
	slices.SortFunc(merged, func(a, b SumPage) int { return a.Number - b.Number })
	h.Record, h.Seq, h.Pages = next.Record, next.Seq, merged
	return true
}

// maxHandoffs is how many downloads handoffs remembers. A guess: more than a process works on at once. With
// more, some Handoffs are complete in vain.
const maxHandoffs = 256

// handoffs remembers which pages the Handoffs of this process had, so that a later one has only
// the changed pages. It is safe for concurrent use. The zero value is ready to use.
type handoffs struct {
	mu   sync.Mutex
	seed maphash.Seed
	byID map[ID]*pageHistory // guarded by mu
}

// A pageHistory says when the pages of a download have changed.
type pageHistory struct {
	first, last uint64 // Seq of the first and of the last Handoff
	length      int64  // of a piece
	pages       map[int]pageVersion
}

// A pageVersion is a hash of a page, and the Seq of the first Handoff that had the page like that.
type pageVersion struct{ hash, seq uint64 }

// onlySince sets the Seq of h, which has all pages, and leaves out the pages that have not
// changed since the Handoff since, if that is known.
func (all *handoffs) onlySince(h *Handoff, since uint64) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.byID == nil {
		all.seed, all.byID = maphash.MakeSeed(), make(map[ID]*pageHistory)
	}
	past := all.byID[h.Record.ID]
	if past == nil {
		for id := range all.byID {
			if len(all.byID) < maxHandoffs {
				break
			}
			delete(all.byID, id)
		}
		start := 1 + rand.Uint64()>>1 // so that nobody takes the Seq of another process for one of this
		past = &pageHistory{first: start, last: start}
		all.byID[h.Record.ID] = past
	}
	past.add(h, all.seed)
	h.Seq = past.last
	if since >= past.first && since <= past.last {
		h.Since = since
		h.Pages = slices.DeleteFunc(h.Pages, func(pg SumPage) bool { return past.pages[pg.Number].seq <= since })
	}
}

// add takes the pages of h. It forgets a page without a held byte: if bytes of it are held again, the
// page counts as changed, because the receiver has forgotten it, too.
func (past *pageHistory) add(h *Handoff, seed maphash.Seed) {
	before := past.pages
	if past.length != h.Record.PieceLength {
		before = nil
	}
	next := past.last
	if past.pages != nil {
		next++
	}
	past.length, past.pages = h.Record.PieceLength, make(map[int]pageVersion, len(h.Pages))
	for _, pg := range h.Pages {
		v := pageVersion{maphash.Bytes(seed, pg.Data), next}
		if old, ok := before[pg.Number]; ok && old.hash == v.hash {
			v = old
		}
		past.pages[pg.Number] = v
	}
	past.last = next
}

// forget forgets a download that has ended.
func (all *handoffs) forget(id ID) {
	all.mu.Lock()
	defer all.mu.Unlock()
	delete(all.byID, id)
}
