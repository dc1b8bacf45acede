package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"pawl/chunk"
)

// elsewhere returns the fixture of another machine that sees the same files.
func (l *fixture) elsewhere() *fixture {
	l.t.Helper()
	other := *l
	other.state, other.warned = filepath.Join(memDir(l.t), "state"), nil
	other.open()
	return &other
}

// handoff returns a Handoff after its way through JSON.
func (l *fixture) handoff(id ID, since uint64) (h Handoff) {
	l.t.Helper()
	made, err := l.store.Handoff(id, since)
	must(l.t, err)
	text, err := json.Marshal(struct{ H Handoff }{made})
	must(l.t, err)
	var read struct{ H Handoff }
	must(l.t, json.Unmarshal(text, &read))
	return read.H
}

// importAndResume imports h at the target of the fixture, and resumes it.
func (l *fixture) importAndResume(h Handoff) *Part {
	l.t.Helper()
	id, err := l.store.Import(h, l.target)
	if err != nil {
		l.t.Fatalf("Import: %v", err)
	}
	return l.opened(l.store.Resume(id))
}

// Another machine continues a download whose process was killed, and fetches only the bytes again that were
// not handed over. A claimed byte is not fetched again.
func TestHandoff(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 25_000)
	h := a.handoff(p.Record().ID, 0)
	a.write(p, 60_000, 71_000)
	if !h.Merge(a.handoff(p.Record().ID, h.Seq)) {
		t.Error("Merge of the next handoff: got false")
	}
	a.write(p, 30_000, 33_000) // not handed over
	b := a.elsewhere()
	for range 2 {
		_, err := b.store.Import(h, b.target)
		a.wantErr("Import while another process works", err, ErrBusy)
	}
	if _, err := b.store.ByTarget(b.target); !errors.Is(err, ErrNotFound) {
		t.Errorf("after ErrBusy: got a record, %v", err)
	}
	p.Close() // as the end of the process does
	q := b.importAndResume(h)
	if !q.Dirty() || q.Lost() != 0 {
		t.Errorf("after Resume: got dirty %t, %d bytes lost, want dirty, because the file has changed since", q.Dirty(), q.Lost())
	}
	b.wantHeld(q, "0+25000,60000+11000")
	if _, err := a.store.Resume(p.Record().ID); !errors.Is(err, ErrBusy) {
		t.Errorf("Resume on the first machine: got %v, want ErrBusy", err)
	}
	b.complete(q)
	a.wantNo(a.target + ".part")
}

// handoffEnv makes the test binary the child process of TestHandoffKilled. Its value is the directory to work in.
const handoffEnv = "PAWL_STORE_TEST_HANDOFF"

// handOverUntilKilled downloads into the directory files below dir, with a state directory of its own, and prints what changes
// after each commit.
func handOverUntilKilled(dir string) int {
	s, err := Open(filepath.Join(dir, "first"), Options{})
	if err != nil {
		return 1
	}
	data := fixtureData()
	p, err := s.Create(Record{URL: "https://example.com/file.bin", Target: filepath.Join(dir, "files", "file.bin"), Size: int64(len(data))})
	if err != nil || smallPieces(p, 10_000) != nil {
		return 1
	}
	out := json.NewEncoder(os.Stdout)
	var seq uint64
	for off := 0; off < len(data); off += 1000 {
		_, err := p.WriteAt(data[off:off+1000], int64(off))
		h, handoffErr := Handoff{}, p.Commit(0)
		if handoffErr == nil {
			h, handoffErr = s.Handoff(p.Record().ID, seq)
		}
		if errors.Join(err, handoffErr, out.Encode(h)) != nil {
			return 1
		}
		seq = h.Seq
	}
	time.Sleep(time.Minute) // the test kills it before
	return 1
}

// A process is killed while it downloads, and a process with another state directory continues.
func TestHandoffKilled(t *testing.T) {
	l := newFixture(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), handoffEnv+"="+filepath.Dir(l.state))
	out, err := cmd.StdoutPipe()
	must(t, err)
	cmd.Stderr = os.Stderr
	must(t, cmd.Start())
	defer cmd.Process.Kill()
	in := json.NewDecoder(out)
	var h Handoff
	for n, end := 0, 5+rand.IntN(60); n < end; n++ {
		var next Handoff
		if err := in.Decode(&next); err != nil || !h.Merge(next) {
			t.Fatalf("handoff %d: %v, since %d after %d", n, err, next.Since, h.Seq)
		}
	}
	_, err = l.store.Import(h, l.target)
	l.wantErr("Import while the process works", err, ErrBusy)
	cmd.Process.Kill()
	cmd.Wait()
	p := l.importAndResume(h)
	if got := p.Record().Held; p.Lost() > 0 || !got.Equal(h.Record.Held) {
		t.Errorf("got %s, %d bytes lost, want %s as handed over", got, p.Lost(), h.Record.Held)
	}
	l.complete(p)
}

// Nothing has changed since the handoff, so nothing needs to be verified.
func TestHandoffUnchanged(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 25_000)
	p.Close()
	b := a.elsewhere()
	q := b.importAndResume(a.handoff(p.Record().ID, 0))
	if q.Dirty() {
		t.Error("after Resume: got dirty")
	}
	b.complete(q)
}

// The lock of a part file is on the file, where other machines see it, too.
func TestPartIsLockedItself(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 1000)
	other := flock.New(p.name + lockSuffix)
	if ok, err := other.TryLock(); ok || err != nil {
		t.Errorf("lock of a part file that is being written: got %t, %v", ok, err)
	}
	h := a.handoff(p.Record().ID, 0)
	p.Close()
	b := a.elsewhere()
	id, err := b.store.Import(h, b.target)
	must(t, err)
	if ok, err := other.TryLock(); !ok || err != nil {
		t.Fatalf("lock after Import: got %t, %v", ok, err)
	}
	_, err = b.store.Resume(id)
	b.wantErr("Resume of a locked file", err, ErrBusy)
	_, err = b.store.Import(h, b.target)
	b.wantErr("Import of a locked file", err, ErrBusy)
	must(t, other.Close())
	b.complete(b.opened(b.store.Resume(id)))
}

// A Handoff since an earlier one has only the pages that have changed, and Merge adds them. A piece
// that lost its bytes and has them again comes again.
func TestHandoffSince(t *testing.T) {
	a := newFixture(t)
	p := a.opened(a.store.Create(a.record()))
	must(t, smallPieces(p, 10)) // 10,000 pieces, 40 pages
	id := p.Record().ID
	numbers := func(h Handoff) (n []int) {
		for _, pg := range h.Pages {
			n = append(n, pg.Number)
		}
		return n
	}
	want := func(what string, h Handoff, pages ...int) {
		t.Helper()
		if got := numbers(h); !slices.Equal(got, pages) {
			t.Errorf("%s: got the pages %v, want %v", what, got, pages)
		}
	}
	empty := a.handoff(id, 0)
	want("empty", empty)
	a.write(p, 0, 5200)
	h := a.handoff(id, 0)
	want("all", h, 0, 1, 2)
	same := a.handoff(id, h.Seq)
	want("nothing has changed", same)
	a.write(p, 5300, 5310)
	a.write(p, 99_990, 100_000)
	next := a.handoff(id, h.Seq)
	want("changes", next, 2, 39)
	if old := h; next.Since != h.Seq || !old.Merge(next) {
		t.Errorf("Merge over a handoff that was lost: got false")
	}
	if h.Merge(Handoff{Since: h.Seq + 100}) || h.Merge(a.handoff(id, next.Seq)) {
		t.Error("Merge of a handoff that does not follow: got true")
	}
	h.Merge(next)
	want("merged", h, 0, 1, 2, 39)

	must(t, p.DiscardFrom(2560))
	a.handoff(id, h.Seq) // lost on its way
	a.write(p, 2560, 5120)
	next = a.handoff(id, h.Seq)
	h.Merge(next)
	want("pages that are held again", h, 0, 1)

	for what, since := range map[string]uint64{"an unknown handoff": 7, "one of another process": a.elsewhere().store.handoffs.startForTest()} {
		if got := a.handoff(id, since); got.Since != 0 {
			t.Errorf("since %s: got only changes", what)
		}
		want("since "+what, a.handoff(id, since), 0, 1)
	}
	must(t, p.Restart(func(r *Record) { r.ETag = "v2" }), smallPieces(p, 20))
	a.write(p, 0, 100)
	next = a.handoff(id, h.Seq)
	if next.Since == 0 || !h.Merge(next) {
		t.Error("Merge of a new version: got false")
	}
	want("new version", h, 0)
	if h.Record.ETag != "v2" || h.Record.Held.String() != "0+100" {
		t.Errorf("new version: got %s of %s", h.Record.Held, h.Record.ETag)
	}
	p.Close()
	b := a.elsewhere()
	b.complete(b.importAndResume(h))
	_, err := b.store.Handoff(b.onRecord().ID, 0)
	b.wantErr("Handoff of a finished download", err, ErrNotFound)
	must(t, a.store.Remove(id, false))
	_, err = a.store.Handoff(id, 0)
	a.wantErr("Handoff of a removed download", err, ErrNotFound)
}

// startForTest returns a Seq of a process.
func (all *handoffs) startForTest() uint64 {
	h := Handoff{Record: Record{ID: NewID()}}
	all.onlySince(&h, 0)
	return h.Seq
}

// The handoffs of more downloads than are remembered are complete.
func TestHandoffsForget(t *testing.T) {
	var all handoffs
	first := Handoff{Record: Record{ID: NewID()}}
	all.onlySince(&first, 0)
	for range 2 * maxHandoffs {
		all.startForTest()
	}
	if n := len(all.byID); n > maxHandoffs {
		t.Errorf("got %d downloads remembered, want at most %d", n, maxHandoffs)
	}
}

// Every byte of a record survives JSON, and what concerns only this machine does not leave it.
func TestHandoffJSON(t *testing.T) {
	full := fullRecord(t)
	full.State, full.Repairs = Failed, FileStamp{}
	full.URL, full.ETag, full.Coding = "http://h/\xff<>", "\"\xfe\"", "\xc3("
	must(t, full.makePortable())
	h := Handoff{Record: full, Seq: 1<<64 - 1, Since: 1<<63 + 1, Pages: []SumPage{{3, []byte{0, 255}}}}
	text, err := json.Marshal([]any{h, &h, struct{ H Handoff }{h}})
	must(t, err)
	var got []json.RawMessage
	must(t, json.Unmarshal(text, &got))
	var in struct{ H Handoff }
	var read [2]Handoff
	must(t, json.Unmarshal(got[0], &read[0]), json.Unmarshal(got[1], &read[1]), json.Unmarshal(got[2], &in))
	for _, r := range append(read[:], in.H) {
		if !sameRecord(r.Record, full) || r.Seq != h.Seq || r.Since != h.Since || len(r.Pages) != 1 || !bytes.Equal(r.Pages[0].Data, h.Pages[0].Data) {
			t.Errorf("got %+v, want %+v", r, h)
		}
	}
	for _, secret := range []string{"aria2", "b.example", "downloads", "boot/1", "it broke", "-u"} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("%s has %q", text, secret)
		}
	}
	newer := bytes.Replace(got[0], []byte(`"v":1`), []byte(`"v":2`), 1)
	if err := json.Unmarshal(newer, &Handoff{}); !errors.Is(err, ErrNewer) {
		t.Errorf("newer version: got %v", err)
	}
}

// The largest Handoff fits into MaxHandoff bytes, and what is beyond the limits is left out.
func TestHandoffIsBounded(t *testing.T) {
	a := newFixture(t)
	rec := a.record()
	rec.Size = -1
	rec.URL += strings.Repeat("\xff", maxHandoffText-300) // the worst that a text can be
	p := a.opened(a.store.Create(rec))
	id := p.Record().ID
	p.rec.PieceLength = 4 << 40
	w := newWrittenBytes(p.rec.PieceLength)
	for i := range 2 * maxHandoffRanges {
		off := 1<<60 + int64(i)<<20
		w.set.Add(chunk.Range{Off: off, End: off + 1<<19})
	}
	w.set.Add(chunk.Range{End: 1 << 60})
	w.sums.SetSum((maxHandoffPages+100)*sumsPerPage, 1)
	p.rec.Held = w.set
	must(t, a.store.write(func(t tx) error { return errors.Join(t.put(&p.rec), t.putPages(id, w.takeUnsaved(true))) }))
	h, err := a.store.Handoff(id, 0)
	must(t, err)
	text, err := json.Marshal(h)
	must(t, err)
	if len(text) > MaxHandoff || len(h.Pages) == 0 {
		t.Errorf("got %d bytes and %d pages, want at most %d bytes", len(text), len(h.Pages), MaxHandoff)
	}
	var read Handoff
	must(t, json.Unmarshal(text, &read))
	if read.Record.URL != rec.URL || !read.Record.Held.Equal(h.Record.Held) || !h.Record.holdsAll(&chunk.Set{}) {
		t.Error("the largest handoff does not survive JSON")
	}
	p.rec.PieceLength = 4 << 20
	p.rec.Held = chunk.NewSet(chunk.Range{End: 1 << 40})
	must(t, a.store.write(func(t tx) error { return t.put(&p.rec) }))
	h, err = a.store.Handoff(id, 0)
	must(t, err)
	if text, _ = json.Marshal(h); len(text) > MaxHandoff || len(h.Pages) != maxHandoffPages || h.Record.Held.Len() != 512<<30 {
		t.Errorf("1 TiB: got %d bytes, %d pages, %s", len(text), len(h.Pages), h.Record.Held)
	}
	must(t, h.check())
	t.Logf("%d bytes for 512 GiB", len(text))
	for _, tt := range []struct {
		n, least int // bytes of JSON, and of these what is used
		held     int64
		ok       bool
	}{{MaxHandoff, 0, 512 << 30, true}, {400 << 10, 380 << 10, 200 << 30, true}, {130 << 10, 100 << 10, 0, true}, {50 << 10, 0, 0, false}} {
		short := h
		ok := short.Shorten(tt.n)
		text, err := json.Marshal(short)
		must(t, err)
		if ok != tt.ok || ok && (len(text) > tt.n || len(text) < tt.least || short.Record.Held.Len() < tt.held) {
			t.Errorf("%d bytes: got %v, %d bytes with %s", tt.n, ok, len(text), short.Record.Held)
		}
		must(t, short.check())
	}
	if len(h.Pages) != maxHandoffPages {
		t.Error("Shorten has changed another handoff")
	}
	p.rec.URL = "http://h/" + strings.Repeat("x", maxHandoffText)
	must(t, a.store.write(func(t tx) error { return t.put(&p.rec) }))
	_, err = a.store.Handoff(id, 0)
	a.wantErr("a long URL", err, ErrHandoff)
}

// Import refuses what no honest machine hands over. The file beside stays as it is.
func TestImportHostile(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 25_000)
	p.Close()
	good := a.handoff(p.Record().ID, 0)
	root := filepath.Dir(a.target)
	b := a.elsewhere()
	var err error
	b.store, err = Open(b.state, Options{Root: root})
	must(t, err)
	outside := filepath.Join(filepath.Dir(root), "outside")
	b.put(outside+".part", "valuable")
	for _, target := range []string{outside, root, filepath.Dir(root), "file.bin", "", root + "/../outside", root + "/x/../file.bin", a.target + "/", root + "/a\x00b", root + "/" + strings.Repeat("x/", maxKey/2) + "y"} {
		if _, err := b.store.Import(good, target); !errors.Is(err, ErrHandoff) {
			t.Errorf("target %.40q: got %v, want ErrHandoff", target, err)
		}
	}
	b.symlink(filepath.Dir(root), filepath.Join(root, "link"))
	if _, err := b.store.Import(good, filepath.Join(root, "link", "outside")); !errors.Is(err, ErrLink) {
		t.Errorf("through a link: got %v, want ErrLink", err)
	}
	for what, spoil := range map[string]func(*Handoff){
		"changes only":     func(h *Handoff) { h.Since = h.Seq },
		"size below -1":    func(h *Handoff) { h.Record.Size = -2 },
		"held beyond size": func(h *Handoff) { h.Record.Size = 24_999 },
		"no pieces":        func(h *Handoff) { h.Record.PieceLength = 0 },
		"negative pieces":  func(h *Handoff) { h.Record.PieceLength = -1 },
		"tiny pieces": func(h *Handoff) {
			h.Record.PieceLength, h.Record.Size, h.Record.Held = 1, 1<<40, chunk.NewSet(chunk.Range{End: 1 << 40})
			h.Pages = nil
		},
		"huge pieces":        func(h *Handoff) { h.Record.PieceLength = 1 << 62 },
		"end of unknown":     func(h *Handoff) { h.Record.Size, h.Record.Held = -1, chunk.NewSet(chunk.Range{End: chunk.Unbounded}) },
		"part number":        func(h *Handoff) { h.Record.PartNumber = maxPartNames },
		"negative number":    func(h *Handoff) { h.Record.PartNumber = -1 },
		"finished":           func(h *Handoff) { h.Record.State = Done },
		"unknown state":      func(h *Handoff) { h.Record.State = "x" },
		"repair":             func(h *Handoff) { h.Record.Repairs = FileStamp{Size: 8} },
		"password":           func(h *Handoff) { h.Record.URL = "http://u:p@h/" },
		"user":               func(h *Handoff) { h.Record.URL = "http://u@h?x" },
		"no URL":             func(h *Handoff) { h.Record.URL = "" },
		"long text":          func(h *Handoff) { h.Record.ETag = strings.Repeat("x", maxHandoffText) },
		"key of a list":      func(h *Handoff) { h.Record.Lists = Lists{"../x"} },
		"page twice":         func(h *Handoff) { h.Pages = append(h.Pages, h.Pages[0]) },
		"page of no bytes":   func(h *Handoff) { h.Pages = append(h.Pages, SumPage{1, h.Pages[0].Data}) },
		"page below 0":       func(h *Handoff) { h.Pages[0].Number = -1 },
		"damaged page":       func(h *Handoff) { h.Pages[0].Data = append(slices.Clone(h.Pages[0].Data), 0) },
		"empty page":         func(h *Handoff) { h.Pages[0].Data = addChecksum([]byte{0, 0, 0, 0}) },
		"page of another":    func(h *Handoff) { h.Pages[0].Data = addChecksum([]byte{0, 0, 0, 1, 0, 0, 0, 0}) },
		"page with too many": func(h *Handoff) { h.Pages[0].Data = addChecksum(make([]byte, 8+4*sumsPerPage)) },
		"part of a checksum": func(h *Handoff) { h.Pages[0].Data = addChecksum(make([]byte, 4+6)) },
		"many ranges": func(h *Handoff) {
			for i := range int64(maxHandoffRanges) + 1 {
				h.Record.Held.Remove(chunk.Range{Off: 2 * i, End: 2*i + 1})
			}
		},
	} {
		h := good
		h.Record.Held, h.Pages = good.Record.Held.Clone(), slices.Clone(good.Pages)
		spoil(&h)
		if _, err := b.store.Import(h, b.target); !errors.Is(err, ErrHandoff) {
			t.Errorf("%s: got %v, want ErrHandoff", what, err)
		}
	}
	if records, err := b.store.Records(); err != nil || len(records) > 0 {
		t.Errorf("got %d records, %v, want none", len(records), err)
	}
	b.wantFile(outside+".part", "valuable")

	h := good
	h.Record.URL = "http://h/@x?a@b" // no user
	h.Record.Replace, h.Record.Control, h.Record.Mirrors, h.Record.Root, h.Record.State = true, outside+".part", []string{"http://127.0.0.1/"}, "/", Finishing
	h.Record.Process, h.Record.Target, h.Record.ID, h.Record.ModTime = thisProcess(), outside, "../../x", time.Unix(1e9, 0)
	id, err := b.store.Import(h, b.target)
	must(t, err)
	got, err := b.store.Get(id)
	if err != nil || !got.ID.IsValid() || got.Replace || got.Control != "" || got.Mirrors != nil || got.Root != root || got.State != Active || got.Process != (Process{}) || got.Target != b.target {
		t.Errorf("got %+v, %v: it believes too much", got, err)
	}
	b.complete(b.opened(b.store.Resume(id)))
}

// Claims without the right bytes are found out before the download ends.
func TestImportWrongClaims(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 50_000)
	old := a.handoff(p.Record().ID, 0)
	lacking := old
	lacking.Pages = nil
	b := a.elsewhere()
	a.data = bytes.Repeat([]byte{7}, len(a.data)) // a new version
	must(t, p.Restart(func(r *Record) { r.ETag = "v2" }), smallPieces(p, 10_000))
	a.write(p, 0, 20_000)
	p.Close()
	q := b.importAndResume(old)
	if lost := b.verifyAllOf(q); q.Lost() != 30_000 || lost != 20_000 {
		t.Errorf("an old version: got %d and %d bytes lost, want those beyond the end of the part file, and all the others", q.Lost(), lost)
	}
	q.Close()
	c := a.elsewhere()
	if q := c.importAndResume(lacking); q.Lost() != 50_000 {
		t.Errorf("without checksums: got %d bytes lost, want all", q.Lost())
	}
}

func (l *fixture) verifyAllOf(p *Part) int64 {
	l.t.Helper()
	if !p.Dirty() {
		l.t.Error("got a part file that nobody has changed")
	}
	return l.verifyAll(p)
}

// Import without the part file, or beside the files of other downloads.
func TestImportPartFile(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 25_000)
	p.Close()
	h := a.handoff(p.Record().ID, 0)
	b := a.elsewhere()
	part := a.target + ".part"
	must(t, os.Rename(part, a.target+".kept"))
	_, err := b.store.Import(h, b.target)
	b.wantErr("no part file", err, fs.ErrNotExist)
	_, err = b.store.Import(h, filepath.Join(filepath.Dir(b.target), "none", "x"))
	b.wantErr("no directory", err, ErrNoDirectory)
	b.symlink(a.target+".kept", part)
	if _, err = b.store.Import(h, b.target); err == nil {
		t.Error("a link in place of the part file: got no error")
	}
	must(t, os.Remove(part), os.Link(a.target+".kept", part))
	_, err = b.store.Import(h, b.target)
	b.wantErr("a second name of the part file", err, ErrNotOurs)
	must(t, os.Remove(part), os.Rename(a.target+".kept", part))

	other := b.record()
	other.Target = part
	must(t, b.store.write(func(t tx) error { r := other; r.ID, r.State = NewID(), Done; return t.put(&r) }))
	_, err = b.store.Import(h, b.target)
	b.wantErr("the part file is a finished file", err, ErrForeign)
	done, err := b.store.ByTarget(part)
	must(t, err, b.store.Forget([]Record{done}))

	must(t, os.Truncate(part, 12_000))
	q := b.importAndResume(h)
	if q.Lost() != 15_000 {
		t.Errorf("a shorter part file: got %d bytes lost, want those of the two pieces that are cut", q.Lost())
	}
	b.complete(q)
}

// A record of this machine that is newer than the handoff stays, and an older one is replaced.
func TestImportOwnRecord(t *testing.T) {
	a := newFixture(t)
	p := a.create()
	a.write(p, 0, 20_000)
	early := a.handoff(p.Record().ID, 0)
	a.write(p, 20_000, 40_000)
	p.Close()
	id, err := a.store.Import(early, a.target)
	if err != nil || id != p.Record().ID {
		t.Errorf("an earlier handoff of this machine: got %s, %v, want its own %s", id, err, p.Record().ID)
	}
	b := a.elsewhere()
	q := b.importAndResume(a.handoff(p.Record().ID, 0))
	b.write(q, 40_000, 60_000)
	late := b.handoff(q.Record().ID, 0)
	late.Record.Updated = time.Now().Add(-time.Hour) // its clock is slow
	q.Close()
	must(t, a.store.Claim([]Claim{{a.target, "0123456789abcdef"}}))
	p = a.importAndResume(late)
	a.wantHeld(p, "0+60000")
	if records, err := a.store.Unfinished(); err != nil || len(records) != 1 {
		t.Errorf("got %d records, %v, want one", len(records), err)
	}
	must(t, p.Restart(func(r *Record) { r.ETag = "v2" }), smallPieces(p, 10_000))
	a.write(p, 0, 10_000)
	newer := a.handoff(p.Record().ID, 0)
	p.Close()
	q = b.importAndResume(newer)
	b.wantHeld(q, "0+10000")
	q.Close()
	q = b.importAndResume(late) // of a version that this machine has left
	b.wantHeld(q, "0+10000")
	b.complete(q)
}

// Where files cannot be locked, another machine may still write to the part file.
func TestImportWithoutLocks(t *testing.T) {
	w := newWorld(t, scenario{etag: "v1"}, 0)
	w.fs.lacks = map[string]error{"lock": errors.ErrUnsupported}
	s := &session{w: w}
	s.create("v1", 2900)
	s.write(0, 1000)
	s.commit()
	s.close()
	must(t, s.err)
	h, err := w.store.Handoff(s.part.Record().ID, 0)
	must(t, err)
	b := w.elsewhere()
	if _, err := b.store.Import(h, w.target); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("got %v, want ErrUnsupported", err)
	}
}

// elsewhere returns another machine that sees the same files.
func (w *world) elsewhere() *world {
	w.t.Helper()
	next := *w
	next.promised = chunk.Set{}
	state, err := os.MkdirTemp(w.tmp, "")
	must(w.t, err)
	next.open(w.fs, state)
	return &next
}

// A relay is a download that machines hand over to each other.
type relay struct {
	handoff Handoff // the last one that was saved
	claimed chunk.Set
}

// save saves a Handoff as a worker does after some commits.
func (r *relay) save(s *session) {
	s.do("Handoff", func() error {
		next, err := s.w.store.Handoff(s.part.Record().ID, r.handoff.Seq)
		if err == nil && !r.handoff.Merge(next) {
			err = errors.New("it does not follow the last one")
		}
		r.claimed = r.handoff.Record.Held
		return err
	})
}

// run is the work of one machine: it saves a Handoff after each second commit.
func (r *relay) run(s *session) {
	for _, gap := range missingOf(s, 2900) {
		for off := gap.Off; off < gap.End && s.err == nil; off += 400 {
			s.write(off, min(off+400, gap.End))
			s.commit()
			if off%800 == 0 {
				r.save(s)
			}
		}
	}
}

func missingOf(s *session, size int64) []chunk.Range {
	if s.err != nil {
		return nil
	}
	held := s.part.Record().Held
	return slices.Collect(held.Missing(chunk.Range{End: size}))
}

// continueElsewhere continues on another machine. Every byte that was handed over must be there.
func (r *relay) continueElsewhere(w *world) *session {
	w.t.Helper()
	s := &session{w: w}
	s.do("Import", func() error {
		id, err := w.store.Import(r.handoff, w.target)
		if err == nil {
			s.part, err = w.store.Resume(id)
		}
		return err
	})
	if s.err != nil {
		return s
	}
	s.verifyAll() // reports each lost byte
	if got := s.part.Record().Held; s.part.Lost() != 0 || !got.Equal(r.claimed) {
		w.errorf("after Import: got %s, %d bytes lost, want %s as handed over", got, s.part.Lost(), r.claimed)
	}
	part, _ := w.fs.peek(s.part.name)
	for held := range r.claimed.All() {
		if !bytes.Equal(part.data[held.Off:held.End], version("v1")[held.Off:held.End]) {
			w.errorf("wrong bytes in %s, which was handed over", held)
		}
	}
	return s
}

// The first machine, or the file server, loses its power at any step, and the second one continues. What
// was handed over is never fetched again, and the file is right in the end.
func TestHandoffCrashEverywhere(t *testing.T) {
	t.Parallel()
	fresh := newWorld(t, scenario{etag: "v1"}, 0)
	n, step := sampled(6)
	n++
	again := 0
	for crashed := true; crashed; n += step {
		w := fresh.anew(uint64(n))
		w.fs.trap = trap{n: n, does: "before"}
		var r relay
		wrote := chunk.Set{}
		crashed = crashes(func() {
			s := &session{w: w}
			s.create("v1", 2900)
			r.save(s)
			r.run(s)
			if s.err == nil {
				s.finish()
				s.close()
			}
			if s.err != nil {
				w.errorf("%v", s.err)
			}
		})
		if w.finished || r.handoff.Seq == 0 {
			continue
		}
		if part, ok := w.fs.peek(w.target + ".part"); ok {
			wrote = chunk.NewSet(chunk.Range{End: int64(len(part.data))})
		}
		for _, k := range w.fs.powerFailures() {
			b := w.elsewhere()
			b.open(w.fs.reboot(k[0], k[1]), b.state)
			if _, ok := b.fs.peek(b.target); ok { // it was finished, and the record was lost
				_, err := b.store.Import(r.handoff, b.target)
				if !errors.Is(err, fs.ErrNotExist) {
					b.errorf("Import of a finished file: got %v, want fs.ErrNotExist", err)
				}
				continue
			}
			if _, ok := b.fs.peek(b.target + partSuffix); !ok {
				if r.claimed.Len() > 0 {
					b.errorf("the part file is gone")
				}
				continue
			}
			s := r.continueElsewhere(b)
			again = max(again, int(wrote.Len()-r.claimed.Len()))
			r2 := relay{}
			if s.err == nil {
				r2.save(s)
				r2.run(s)
				s.finish()
				s.close()
			}
			if s.err != nil {
				b.errorf("on the second machine: %v", s.err)
			}
			if got, _ := b.fs.peek(b.target); !bytes.Equal(got.data, version("v1")) {
				b.errorf("the file has %d bytes, or wrong ones", len(got.data))
			}
			b.forget()
		}
		w.forget()
		if t.Failed() {
			return
		}
	}
	if again > 2*400 {
		t.Errorf("got %d bytes fetched again, want at most those of the two commits after a handoff", again)
	}
	t.Logf("at most %d bytes are fetched again", again)
}

// next is the work of the next machine that gets the download: it continues, or begins anew if nothing was
// handed over. It returns true once the file is finished.
func (r *relay) next(w *world) bool {
	w.t.Helper()
	s := &session{w: w}
	_, err := w.fs.Lstat(w.target + partSuffix)
	switch got, isDone := w.fs.peek(w.target); {
	case isDone:
		if !bytes.Equal(got.data, version("v1")) {
			w.errorf("the target has %d bytes, or wrong ones", len(got.data))
		}
		return true
	case err != nil && r.claimed.Len() > 0:
		w.errorf("the part file is gone, but for %s: %v", r.claimed, err)
		return true
	case err != nil || r.handoff.Seq == 0:
		s.create("v1", 2900)
	default:
		s.do("Import", func() error {
			id, err := w.store.Import(r.handoff, w.target)
			if err == nil {
				s.part, err = w.store.Resume(id)
			}
			return err
		})
		if s.err == nil && s.part.Record().State == Done { // by its own record, only the rename was missing
			s.close()
			return false
		}
		s.verifyAll()
		if s.err == nil && (s.part.Lost() > 0 || !s.part.rec.holdsAll(&r.claimed)) {
			w.errorf("got %s, %d bytes lost, want %s as handed over", s.part.rec.Held, s.part.Lost(), r.claimed)
		}
	}
	r.handoff.Seq = 0 // of another process
	r.save(s)
	r.run(s)
	if s.err == nil {
		s.finish()
		s.close()
	}
	if s.err != nil {
		w.errorf("%v", s.err)
		return true
	}
	return false
}

// FuzzRelay gives a download to one machine after the other, each of which ends at a random step, in half of
// the cases together with the file server. An earlier machine may get it again. The seed determines everything.
func FuzzRelay(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		rng := rand.New(rand.NewPCG(seed, 2))
		w := newWorld(t, scenario{etag: "v1"}, seed)
		machines := []*world{w, w.elsewhere(), w.elsewhere()}
		var r relay
		fs := w.fs
		for turn := range 12 {
			m := machines[rng.IntN(len(machines))]
			m.open(fs, m.state)
			m.story = fmt.Sprintf("seed %d, turn %d", seed, turn)
			if turn < 10 {
				fs.trap = trap{n: 1 + rng.IntN(40), does: []string{"before", "after"}[rng.IntN(2)]}
			}
			done := false
			crashes(func() { done = r.next(m) })
			if done || t.Failed() {
				return
			}
			if names, data := rng.Float64(), rng.Float64(); rng.IntN(2) == 0 {
				fs = fs.reboot(names, data)
			} else {
				fs = fs.reboot(killed[0], killed[1])
			}
		}
		t.Errorf("seed %d: the file was never finished", seed)
	})
}

// FuzzHandoff imports what a hostile queue sends.
func FuzzHandoff(f *testing.F) {
	state, dir := filepath.Join(memDir(f), "state"), memDir(f)
	s, err := Open(state, Options{Root: dir})
	if err != nil {
		f.Fatal(err)
	}
	target := filepath.Join(dir, "file")
	p, err := s.Create(Record{URL: "http://h/file", Target: target, Size: 10_000})
	if err != nil {
		f.Fatal(err)
	}
	p.WriteAt(make([]byte, 5000), 0)
	if err := p.Commit(0); err != nil {
		f.Fatal(err)
	}
	p.Close()
	h, err := s.Handoff(p.Record().ID, 0)
	if err != nil || s.Remove(p.Record().ID, false) != nil {
		f.Fatal(err)
	}
	text, err := json.Marshal(h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(bytes.Replace(text, []byte(`"held":"0+5000"`), []byte(`"held":"0+10000"`), 1))
	for _, more := range []string{`"size":-1`, `"piece":1`, `"piece":9223372036854775807`, `"part":99`, `"url":"\ufffd"`, `"touched":"9999-12-31T23:59:59-23:59"`, `"updated":"9999-12-31T23:59:59Z"`, `"list":"-"`} {
		f.Add(fmt.Appendf(nil, `{"v":1,"seq":1,"record":{"url":"http://h/","state":"active","size":10000,"held":"0+10000",%s},"raw":["YQ==","/w=="]}`, more))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var h Handoff
		if json.Unmarshal(data, &h) != nil {
			return
		}
		again, err := json.Marshal(h)
		if err != nil {
			t.Fatalf("%q is read, but not written: %v", data, err)
		}
		var same Handoff
		if err := json.Unmarshal(again, &same); err == nil && (!sameRecord(same.Record, h.Record) || same.Seq != h.Seq || same.Since != h.Since) {
			t.Errorf("%q becomes %q", data, again)
		}
		merged := h
		merged.Merge(same)
		id, err := s.Import(merged, target)
		if err != nil {
			return
		}
		defer s.Remove(id, false)
		q, err := s.Resume(id)
		if errors.Is(err, ErrNoSpace) {
			return
		}
		if err != nil {
			t.Fatalf("%q is imported, but not resumed: %v", data, err)
		}
		defer q.Close()
		if got := q.Record().Held; !h.Record.holdsAll(&got) {
			t.Errorf("%q: got %s, more than was handed over", data, got)
		}
		for i, more := 0, q.Dirty(); more; i++ {
			if _, more, err = q.VerifyNext(i); err != nil {
				t.Fatal(err)
			}
		}
	})
}
