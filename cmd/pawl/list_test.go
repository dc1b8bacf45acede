package main

import (
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pawl/chunk"
	"pawl/cmd/pawl/daemon"
	"pawl/downloader/faultserver"
	"pawl/downloader/queue"
	"pawl/store"
)

// testRows are the rows of the tests of tables.
func testRows() []listRow {
	return []listRow{
		{ID: "0123456789abcdef", State: "running", Path: "/d/model-00001-of-00050.safetensors", Size: 4 << 30, Held: 1 << 30, Rate: 60 << 20, held: chunk.NewSet(chunk.Range{End: 1 << 30})},
		{ID: "89abcdef01234567", State: "failed", Path: "/d/größe\x1b[31m.bin", Size: -1, Held: 5 << 20, Reason: "HTTP error 404 Not Found\x07", held: chunk.NewSet(chunk.Range{End: 5 << 20})},
		{ID: "fedcba9876543210", State: "done", Path: "/d/a", Size: 100, Held: 100},
	}
}

// TestListTable shows the table on terminals of several widths, and in a file.
func TestListTable(t *testing.T) {
	for _, tt := range []struct {
		columns int
		look    look
		want    string
	}{
		{0, look{}, `
ID                STATE             DONE       SIZE         RATE  PATH
0123456789abcdef  running          25.0%    4.0 GiB   60.0 MiB/s  /d/model-00001-of-00050.safetensors
  [################................................]
89abcdef01234567  failed         5.0 MiB          ?            -  /d/größe [31m.bin (HTTP error 404 Not Found )
  size unknown
fedcba9876543210  done            100.0%      100 B            -  /d/a`},
		{20, look{terminal: true}, `
     DONE  PATH
    25.0%  mod...rs
  [###+...........]
  5.0 MiB  gr?...in
  HTTP error 404...
  size unknown
   100.0%  /d/a`},
		{30, look{terminal: true}, `
ID             DONE  PATH
01234567      25.0%  mod...rs
  [######+..................]
89abcdef    5.0 MiB  gr?...in
  HTTP error 404 Not Found
  size unknown
fedcba98     100.0%  /d/a`},
		{80, look{terminal: true, unicode: true}, `
ID        STATE             DONE       SIZE         RATE  PATH
01234567  running          25.0%    4.0 GiB   60.0 MiB/s  model-00001-o…tensors
  [██████████████████▒························································]
89abcdef  failed         5.0 MiB          ?            -  /d/größe [31m.bin
  HTTP error 404 Not Found
  size unknown
fedcba98  done            100.0%      100 B            -  /d/a`},
		{200, look{terminal: true}, `
ID                STATE             DONE       SIZE         RATE     ETA  PATH
0123456789abcdef  running          25.0%    4.0 GiB   60.0 MiB/s     51s  /d/model-00001-of-00050.safetensors
  [################................................................................................................]
89abcdef01234567  failed         5.0 MiB          ?            -       -  /d/gr??e [31m.bin
  HTTP error 404 Not Found
  size unknown
fedcba9876543210  done            100.0%      100 B            -       -  /d/a`},
	} {
		table := newListTable(tt.look, tt.columns, true)
		lines := []string{table.header()}
		for _, l := range testRows() {
			lines = append(lines, table.lines(l)...)
		}
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		want := strings.Split(strings.TrimPrefix(tt.want, "\n"), "\n")
		if tt.columns == 0 || tt.columns == 200 {
			want[2] = lines[2] // its exact width is not of interest here
		}
		if !slices.Equal(lines, want) {
			t.Errorf("%d columns: got\n%s\nwant\n%s", tt.columns, strings.Join(lines, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestListTableFits checks that no line is wider than the terminal, and that colors take no room.
func TestListTableFits(t *testing.T) {
	for columns := 1; columns < 300; columns++ {
		plain, colored := newListTable(look{terminal: true}, columns, true), newListTable(look{terminal: true, color: true}, columns, true)
		for _, l := range testRows() {
			for i, line := range plain.lines(l) {
				if n := displayWidth(line); n > columns {
					t.Fatalf("%d columns: got %d in %q", columns, n, line)
				}
				text := colored.lines(l)[i]
				for _, code := range []string{red, green, "0"} {
					text = strings.ReplaceAll(text, "\x1b["+code+"m", "")
				}
				if text != line {
					t.Fatalf("%d columns: got %q with colors, and %q without", columns, text, line)
				}
			}
		}
	}
}

func TestPieceMap(t *testing.T) {
	held := func(ranges ...chunk.Range) chunk.Set { return chunk.NewSet(ranges...) }
	const huge = 1<<63 - 1
	for _, tt := range []struct {
		held chunk.Set
		size int64
		n    int
		want []int
	}{
		{held(), 10, 4, []int{pieceMissing, pieceMissing, pieceMissing, pieceMissing}},
		{held(chunk.Range{End: 10}), 10, 4, []int{pieceHere, pieceHere, pieceHere, pieceHere}},
		{held(chunk.Range{End: 1}, chunk.Range{Off: 5, End: 8}), 8, 4, []int{piecePartly, pieceMissing, piecePartly, pieceHere}},
		{held(chunk.Range{Off: 1, End: 2}), 3, 9, []int{pieceMissing, pieceHere, pieceMissing}},
		{held(), 0, 4, []int{}},
		{held(chunk.Range{Off: huge - 1, End: huge}), huge, 3, []int{pieceMissing, pieceMissing, piecePartly}},
	} {
		if got := pieceMap(tt.held, tt.size, tt.n); !slices.Equal(got, tt.want) {
			t.Errorf("%v of %d: got %v, want %v", tt.held, tt.size, got, tt.want)
		}
	}
}

// TestRowOfTask checks that the rate of a task that runs is the daemon's, and that another one keeps that on record.
func TestRowOfTask(t *testing.T) {
	l := listRow{State: "running", Rate: 1000}
	for state, want := range map[queue.State]int64{queue.Active: 5, queue.Removed: 1000} {
		if got := l.withTask(daemon.Task{State: state, Rate: 5}).Rate; got != want {
			t.Errorf("%s: rate %d, want %d", state, got, want)
		}
	}
}

// newTestWatch returns a watch of these rows, without a screen.
func newTestWatch(rows ...listRow) *watch {
	w := &watch{look: look{terminal: true}, rows: rows}
	if len(rows) > 0 {
		w.selected = rows[0].ID
	}
	return w
}

// TestWatchFrame shows the screen, and what scrolls.
func TestWatchFrame(t *testing.T) {
	w := newTestWatch(testRows()...)
	check := func(columns, rows int, want string) {
		t.Helper()
		lines := w.frame(columns, rows)
		for i := range lines {
			lines[i] = strings.TrimRight(lines[i], " ")
		}
		if got := strings.Join(lines, "\n"); got != strings.TrimPrefix(want, "\n") {
			t.Errorf("got\n%s\nwant%s", got, want)
		}
	}
	check(60, 9, `
pawl: 3 downloads, 1 running, 60.0 MiB/s
  ID        STATE             DONE         RATE  PATH
> 01234567  running          25.0%   60.0 MiB/s  mode...ors
  89abcdef  failed         5.0 MiB            -  gr??...bin
    HTTP error 404 Not Found
  fedcba98  done            100.0%            -  /d/a


q quit  p pause  r resume  x remove  m map  up/down or k...`)
	w.press("j")
	w.press("j")
	w.press("j")
	check(60, 6, `
pawl: 3 downloads, 1 running, 60.0 MiB/s
  ID        STATE             DONE         RATE  PATH
> fedcba98  done            100.0%            -  /d/a


q quit  p pause  r resume  x remove  m map  up/down or k...`)
	w = newTestWatch()
	check(30, 5, `
pawl: no unfinished downloads
  ID             DONE  PATH


q quit  p pause  r resume ...`)
	for columns := 1; columns < 100; columns += 7 {
		for rows := 1; rows < 12; rows++ {
			if lines := newTestWatch(testRows()...).frame(columns, rows); len(lines) > rows {
				t.Errorf("%d rows: got %d lines", rows, len(lines))
			}
		}
	}
}

// TestWatchKeys checks what the keys say about rows that they do not fit, and that only y means yes.
func TestWatchKeys(t *testing.T) {
	rows := testRows()
	for _, tt := range []struct {
		row  int
		keys []key
		want string // part of the message
		quit bool
	}{
		{1, []key{"p"}, "is not running", false},
		{0, []key{"r"}, "is running already", false},
		{0, []key{"x"}, "pause it first", false},
		{2, []key{"r"}, "is finished", false},
		{2, []key{keyDelete}, "its file is kept; y/n", false},
		{1, []key{"x"}, `[31m.bin" and delete its part file (5.0 MiB)? y/n`, false},
		{1, []key{"x", "n"}, "", false},
		{1, []key{"x", keyUp}, "", false},
		{1, []key{"x", "q"}, "", false}, // the answer is no; it does not quit
		{1, []key{"x", keyInterrupt}, "", true},
		{1, []key{"q"}, "", true},
		{1, []key{keyInterrupt}, "", true},
		{1, []key{keyEnd}, "", true},
		{1, []key{"z", keyOther}, "", false},
		{1, []key{"p", "m"}, "", false},
	} {
		w := newTestWatch(rows...)
		w.selected = rows[tt.row].ID
		quit := false
		for _, k := range tt.keys {
			quit = w.press(k)
		}
		if got := w.message(); quit != tt.quit || !strings.Contains(got, tt.want) || tt.want == "" && got != "" {
			t.Errorf("%v: got %v and %q, want %v and %q", tt.keys, quit, got, tt.quit, tt.want)
		}
	}
}

func TestParseKeys(t *testing.T) {
	for _, tt := range []struct {
		text string
		want []key
		rest string
	}{
		{"jk", []key{"j", "k"}, ""},
		{"\x1b[A\x1bOB\x1b[3~q", []key{keyUp, keyDown, keyDelete, "q"}, ""},
		{"\x03\x04\x1a\x0c\x01", []key{keyInterrupt, keyEnd, keySuspend, keyRedraw, keyOther}, ""},
		{"p\x1b", []key{"p"}, "\x1b"},
		{"\x1b[", nil, "\x1b["},
		{"\x1b[1;5", nil, "\x1b[1;5"},
		{"\x1b[1;5Cq", []key{keyOther, "q"}, ""},
		{"\x1bO", nil, "\x1bO"},
		{"\x1bxq", []key{keyOther, "q"}, ""},
		{"\x1b\x1b[A", []key{keyOther, keyUp}, ""},
		{"ä", []key{keyOther, keyOther}, ""},
		{"", nil, ""},
	} {
		if got, rest := parseKeys(tt.text); !slices.Equal(got, tt.want) || rest != tt.rest {
			t.Errorf("%q: got %q and %q, want %q and %q", tt.text, got, rest, tt.want, tt.rest)
		}
	}
}

// TestPauseOfMirrorIsAsked checks that the user must agree before a run over lists is stopped.
func TestPauseOfMirrorIsAsked(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := st.Create(store.Record{URL: "http://h/f", Target: t.TempDir() + "/f", Size: 10, Lists: store.Lists{store.Nameless}})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	if _, ok := st.Holder(part.Record()); !ok {
		t.Skip("the system does not say when a process started")
	}
	w := newTestWatch(newListRow(st, part.Record()))
	w.store = state{Store: st}
	w.press("p") // yes would stop the test
	if got := w.message(); !strings.Contains(got, "mirrors lists; stop all of it? y/n") {
		t.Errorf("got %q, want a question", got)
	}
	if w.press("n"); w.message() != "" {
		t.Errorf("after no: got %q", w.message())
	}
}

// TestForeignProcessIsNotStopped checks that no process is asked to stop if only its number is that of
// the one on record.
func TestForeignProcessIsNotStopped(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	part, err := st.Create(store.Record{URL: "http://h/f", Target: t.TempDir() + "/f", Size: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer part.Close()
	for _, process := range []store.Process{{PID: 1, Start: "another boot/1"}, {PID: 1}, {}} {
		if err := part.Update(func(r *store.Record) { r.Process = process }); err != nil {
			t.Fatal(err)
		}
		rec := part.Record()
		w := newTestWatch(newListRow(st, rec))
		w.store = state{Store: st}
		w.press("p")
		if got := w.message(); !strings.Contains(got, "not known which process") {
			t.Errorf("%+v: got %q, want a refusal", process, got)
		}
		if got := w.pause(rec, process); !strings.Contains(got, "ended meanwhile") && !strings.Contains(got, "cannot be stopped") {
			t.Errorf("%+v: got %q, want a refusal", process, got)
		}
	}
}

// TestSameKeys checks that the first keys of a task of the daemon are those of list --json.
func TestSameKeys(t *testing.T) {
	keys := func(v any) (all []string) {
		for field := range reflect.TypeOf(v).Fields() {
			if name := field.Tag.Get("json"); name != "" && !strings.HasPrefix(name, "ranges") { // these are in "detail"
				all = append(all, name)
			}
		}
		return all
	}
	if row, task := keys(listRow{}), keys(daemon.Task{}); len(row) < 11 || !slices.Equal(row, task[:len(row)]) {
		t.Errorf("list --json has %q, and the daemon %q", row, task)
	}
}

// TestKeptLists checks that lists and checksum files that pawl keeps in the state directory are no downloads: they
// are not listed, verified with --all, completed, or resumed.
func TestKeptLists(t *testing.T) {
	s := newSite(t)
	s.add("f", 10)
	s.add("g", 10)
	texts := map[string]string{"list": s.srv.URL + "/f\n", "SUMS": strings.TrimPrefix(checksumOf(s.testRun, s.files["g"]), "sha256:") + "  g\n", "pub/": indexPage("h")}
	s.add("pub/h", 10)
	s.srv.Set(serveTexts(texts))
	s.runMirror("-q", s.srv.URL+"/list", s.srv.URL+"/pub/").wantExit(0)
	s.runPawl("-q", "--checksums", s.srv.URL+"/SUMS", s.srv.URL+"/g").wantExit(0)
	for _, args := range [][]string{{"list", "--all"}, {"list", "--all", "--json"}, {"list", "--all", "--ids"}, {"verify", "--all", "--json"}} {
		out := s.runPawl(args...).stdout
		if n := strings.Count(out, "\n"); strings.Contains(out, "lists") || n < 2 || strings.Contains(out, "SUMS") {
			t.Errorf("pawl %q: got\n%s", args, out)
		}
	}

	// A list whose download was interrupted.
	s.srv.Set(faultserver.CutAt(1<<20, func() { s.srv.Set(faultserver.Status(http.StatusInternalServerError, 0)) }), serveTexts(map[string]string{"long": strings.Repeat(s.srv.URL+"/f\n", 100_000)}))
	s.runMirror("-q", "--tries", "1", s.srv.URL+"/long").wantExit(75)
	if parts, _ := filepath.Glob(filepath.Join(s.dir, "state", "pawl", "lists", "*.part")); len(parts) != 1 {
		t.Fatalf("got part files %q, want one", parts)
	}
	for _, args := range [][]string{{"list"}, {"list", "--json"}, {"list", "--ids"}} {
		if out := s.runPawl(args...).stdout; strings.Contains(out, "long") || strings.Contains(out, "lists") {
			t.Errorf("pawl %q: got\n%s", args, out)
		}
	}
	s.runPawl("resume").wantExit(0).wantStderr("nothing to resume")
}
