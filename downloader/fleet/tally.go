package fleet

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"pawl/downloader/mirror"
)

// This file keeps the tally of a run: what a Status needs of the log, in about a fortieth of its bytes.
//
// A tally consists of segments, which are keys "tally.<n>" of the bucket of the run, where n is the number of the last
// log entry before the segment. A segment has the IDs and counts of the entries up to its Last, and the next segment
// follows. Where a segment ends follows from the log alone, so two processes that write the same segment write the same
// bytes, and whoever reads the log may write it: the submitter while it collects, and otherwise the status
// command. Each segment is one write, so a process that is killed leaves none half written. Entries behind the
// last segment are read from the log.

const (
	tallyPrefix = "tally."
	// segmentFiles is how many IDs end a segment. A segment has 150 KiB then, and at most 225 KiB. Reading so many outcomes
	// from the log takes 0.2 s (measured). At half, a status of two million files reads 500 keys and is no
	// faster; double would come near the limit of a message.
	segmentFiles = 16 << 10
	// retryFiles is how many IDs have the size of a Retry.
	retryFiles = 16
	// maxRecent is how many entries of the log count for the rates, if there are more in a minute: at 40 batches per second, 25
	// seconds.
	maxRecent = 1000
)

// An itemID is the ID of an Item in 8 bytes. As a key of a map, it needs less than half of the memory of the text.
type itemID [8]byte

// parseID returns the ID as a number, which it is unless a process of another version has made it.
func parseID(text string) (id itemID) {
	if len(text) == 2*len(id) {
		if _, err := hex.Decode(id[:], []byte(text)); err == nil {
			return id
		}
	}
	sum := sha256.Sum256([]byte(text))
	return itemID(sum[:])
}

func compareIDs(a, b itemID) int {
	return cmp.Compare(binary.BigEndian.Uint64(a[:]), binary.BigEndian.Uint64(b[:]))
}

// A segment is what some entries of the log say, one after another. The IDs follow the JSON.
type segment struct {
	Version  int            `json:"v"`
	After    uint64         `json:"after"` // number of the last entry before
	Last     uint64         `json:"last"`  // number of the last entry
	Check    []byte         `json:"check"` // hash of the last entry
	Sent     int            `json:"sent"`  // files that were queued
	Ended    int            `json:"ended"` // final outcomes
	States   []mirror.State `json:"states,omitempty"`
	Bytes    int64          `json:"bytes"`
	Problems int            `json:"problems,omitempty"`
	Retries  []Retry        `json:"retries,omitempty"`
	Recent   []endedAt      `json:"recent,omitempty"`

	sent  []itemID
	ended []endedID
}

// An endedID is the ID of a file that has ended, and the index of its state in segment.States.
type endedID [len(itemID{}) + 1]byte

// endedAt are files that ended at a time.
type endedAt struct {
	Time  time.Time `json:"t"`
	Files int       `json:"n"`
}

func segmentKey(after uint64) string { return tallyPrefix + strconv.FormatUint(after, 10) }

// hashEntry returns the Check of a segment whose last entry has this data.
func hashEntry(data []byte) []byte {
	sum := sha256.Sum256(data)
	return sum[:8]
}

// isFull reports whether the segment ends with its last entry.
func (s *segment) isFull() bool {
	return len(s.sent)+len(s.ended)+retryFiles*len(s.Retries) >= segmentFiles
}

// add adds the next entry of the log.
func (s *segment) add(e LogEntry, r *entryNote) {
	s.Last = e.Seq
	s.Problems += len(r.Problems)
	for _, id := range r.Sent {
		s.sent = append(s.sent, parseID(id))
	}
	if r.Retry != nil {
		s.Retries = append(s.Retries, *r.Retry)
	}
	before := len(s.ended)
	for _, e := range r.Ended {
		s.Bytes += e.Result.Fetched
		if e.isFinal() {
			s.ended = append(s.ended, s.endedID(e.ID, e.State))
		}
	}
	if n := len(s.ended) - before; n > 0 {
		s.Recent = append(s.Recent, endedAt{r.Time, n})
		s.Recent = s.Recent[max(0, len(s.Recent)-maxRecent):]
	}
}

func (s *segment) endedID(text string, state mirror.State) (e endedID) {
	i := slices.Index(s.States, state)
	if i < 0 {
		i = len(s.States)
		s.States = append(s.States, state)
	}
	id := parseID(text)
	copy(e[:], id[:])
	e[len(id)] = byte(i)
	return e
}

// encode returns the segment as the value of its key.
func (s *segment) encode() []byte {
	s.Version, s.Sent, s.Ended = version, len(s.sent), len(s.ended)
	b := append(encode(s), '\n')
	for _, id := range s.sent {
		b = append(b, id[:]...)
	}
	for _, e := range s.ended {
		b = append(b, e[:]...)
	}
	return b
}

// errSegment reports a segment that this version cannot read.
var errSegment = errors.New("not a segment of a tally")

// decodeSegment decodes the value of a key.
func decodeSegment(data []byte) (s *segment, err error) {
	head, ids, ok := bytes.Cut(data, []byte("\n"))
	s = new(segment)
	if !ok || json.Unmarshal(head, s) != nil || s.Version != version || s.Last <= s.After {
		return nil, errSegment
	}
	const sentSize, endedSize = len(itemID{}), len(endedID{})
	if s.Sent < 0 || s.Ended < 0 || s.Sent > len(ids) || s.Ended > len(ids) || len(ids) != s.Sent*sentSize+s.Ended*endedSize {
		return nil, errSegment
	}
	for range s.Sent {
		s.sent = append(s.sent, itemID(ids))
		ids = ids[sentSize:]
	}
	for range s.Ended {
		e := endedID(ids)
		if int(e[endedSize-1]) >= len(s.States) {
			return nil, errSegment
		}
		s.ended = append(s.ended, e)
		ids = ids[endedSize:]
	}
	return s, nil
}

// A tally is what the log of a run says, as far as a Status needs it.
type tally struct {
	ids      map[itemID]bool // all queued files, and whether they have ended
	ended    map[mirror.State]int
	bytes    int64
	problems int
	retries  []Retry
	recent   []endedAt // the last ones
}

// add adds a segment. Of several outcomes of a file, the first one counts.
func (t *tally) add(s *segment) {
	for _, id := range s.sent {
		if _, known := t.ids[id]; !known {
			t.ids[id] = false
		}
	}
	for _, e := range s.ended {
		id := itemID(e[:])
		if !t.ids[id] {
			t.ids[id] = true
			t.ended[s.States[e[len(id)]]]++
		}
	}
	t.bytes += s.Bytes
	t.problems += s.Problems
	t.retries = append(t.retries, s.Retries...)
	t.recent = append(t.recent, s.Recent...)
	t.recent = t.recent[max(0, len(t.recent)-maxRecent):]
}

// sortedIDs returns the queued files. It needs a third of the memory of the map.
func (t *tally) sortedIDs() []itemID {
	ids := slices.AppendSeq(make([]itemID, 0, len(t.ids)), maps.Keys(t.ids))
	slices.SortFunc(ids, compareIDs)
	return ids
}

// readTally reads the tally of a run up to the end of its log, and writes the segments that are missing. The tallier goes on
// from there.
func readTally(ctx context.Context, b Broker, run string) (*tally, *tallier, error) {
	segments, w, err := readSegments(ctx, b, run)
	if err != nil {
		return nil, nil, err
	}
	sent := 0
	for _, s := range segments {
		sent += len(s.sent)
	}
	t := &tally{ids: make(map[itemID]bool, sent), ended: make(map[mirror.State]int)}
	for _, s := range segments {
		t.add(s)
	}
	for e, err := range b.Log(ctx, run, w.open.After) {
		if err != nil {
			return nil, nil, err
		}
		if e.Data == nil {
			t.add(&w.open)
			return t, w, nil
		}
		var r entryNote
		if err := decodeReport(e.Data, &r); err != nil {
			return nil, nil, err
		}
		if r.Version > version {
			return nil, nil, fmt.Errorf("an entry of the log of the run: %w", ErrNewer)
		}
		if full := w.add(ctx, e, &r); full != nil {
			t.add(full)
		}
	}
	return nil, nil, context.Cause(ctx)
}

// readSegments returns the segments of a run, and a tallier for what follows.
func readSegments(ctx context.Context, b Broker, run string) (segments []*segment, w *tallier, err error) {
	w = new(tallier)
	if w.bucket, err = b.Bucket(ctx, runBucketPrefix+run, 0); errors.Is(err, ErrNoRun) {
		return nil, w, nil // and Log returns the error if there is no such run at all
	}
	if err != nil {
		return nil, nil, err
	}
	values, err := w.bucket.List(ctx, tallyPrefix)
	if err != nil {
		return nil, nil, err
	}
	bucket, last := w.bucket, uint64(0)
	for {
		v, ok := values[segmentKey(last)]
		if !ok {
			break
		}
		s, err := decodeSegment(v.Data)
		if err != nil || s.After != last { // of another version
			w.bucket = nil
			break
		}
		segments, last = append(segments, s), s.Last
	}
	for len(segments) > 0 {
		s := segments[len(segments)-1]
		same, err := isLast(ctx, b, run, s)
		if err != nil {
			return nil, nil, err
		}
		if same {
			w.open.After = s.Last
			return segments, w, nil
		}
		// The broker has lost the end of the log, and perhaps has other entries there by now.
		bucket.Delete(ctx, segmentKey(s.After), values[segmentKey(s.After)].Revision)
		segments = segments[:len(segments)-1]
	}
	return nil, w, nil
}

// isLast reports whether the last entry of a segment is still in the log.
func isLast(ctx context.Context, b Broker, run string, s *segment) (bool, error) {
	for e, err := range b.Log(ctx, run, s.Last-1) {
		return e.Seq == s.Last && bytes.Equal(s.Check, hashEntry(e.Data)), err
	}
	return false, context.Cause(ctx)
}

// A tallier writes the segments of a tally. Its zero value begins with the first entry, and writes nothing.
type tallier struct {
	bucket Bucket // nil: write nothing
	open   segment
	read   uint64 // number of the last entry
}

// restart notes that the log is read from its first entry again.
func (w *tallier) restart() { w.read = 0 }

// add adds an entry of the log. Entries before those that the tallier has are ignored. It returns the segment that has
// become full with it.
func (w *tallier) add(ctx context.Context, e LogEntry, r *entryNote) (full *segment) {
	if e.Seq <= w.read { // the broker has lost entries, and others have their numbers
		w.bucket = nil
	}
	w.read = e.Seq
	if e.Seq <= max(w.open.After, w.open.Last) {
		return nil
	}
	w.open.add(e, r)
	if !w.open.isFull() {
		return nil
	}
	s := w.open
	s.Check = hashEntry(e.Data)
	w.open = segment{After: s.Last}
	if w.bucket != nil {
		// A conflict means that another process has written the same. After another error, for example
		// because this user may only read, the others must do it.
		if _, err := w.bucket.Create(ctx, segmentKey(s.After), s.encode()); err != nil && !errors.Is(err, ErrConflict) {
			w.bucket = nil
		}
	}
	return &s
}

// An entryNote is what a tally needs of a Report. Decoding all of it would take several times as long.
type entryNote struct {
	Version  int         `json:"v"`
	Time     time.Time   `json:"t"`
	Sent     []string    `json:"sent"`
	Problems []struct{}  `json:"problems"`
	Retry    *Retry      `json:"retry"`
	Ended    []endedNote `json:"ended"`
}

// An endedNote is what a tally needs of an Ended.
type endedNote struct {
	ID     string       `json:"n"`
	State  mirror.State `json:"o"`
	Again  bool         `json:"again"`
	Result struct {
		Fetched int64 `json:"f"`
	} `json:"res"`
}

func (e endedNote) isFinal() bool { return isFinal(Ended{State: e.State, Again: e.Again}) }

// note returns what a tally needs of r.
func (r *Report) note() *entryNote {
	n := &entryNote{Version: r.Version, Time: r.Time, Sent: r.Sent, Problems: make([]struct{}, len(r.Problems)), Retry: r.Retry}
	for _, e := range r.Ended {
		note := endedNote{ID: e.ID, State: e.State, Again: e.Again}
		note.Result.Fetched = e.Result.Fetched
		n.Ended = append(n.Ended, note)
	}
	return n
}
