package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"strings"
	"time"

	"pawl/chunk"
	"pawl/cmd/pawl/bytetext"
	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

// A listRow is the state of one download: a row of the table, or an object of --json.
type listRow struct {
	V       int         `json:"v"` // format version
	ID      store.ID    `json:"id"`
	State   string      `json:"state"` // running, interrupted, paused, failed or done; in the queue of a daemon also waiting
	URL     string      `json:"url"`
	Path    string      `json:"path"`
	Size    int64       `json:"size"`             // bytes; -1 if unknown
	Held    int64       `json:"held"`             // bytes that are recorded
	Rate    int64       `json:"rate,omitempty"`   // bytes per second, only while running
	Ranges  []jsonRange `json:"ranges,omitempty"` // of Held, only with --map
	Reason  string      `json:"reason,omitempty"`
	Created time.Time   `json:"created"`
	Updated time.Time   `json:"updated"`

	held  chunk.Set // for the map
	queue bool      // it is in the queue of a daemon
	list  bool      // it is the task of a list there
	owner store.ID  // task of the unfinished list in that queue that the file belongs to, "" if there is none
}

// newListRow returns the row of a download. A download that is recorded as active, but that
// no process is running, was interrupted.
func newListRow(st *store.Store, r store.Record) listRow {
	l := listRow{
		V: 1, ID: r.ID, State: string(r.State), URL: r.URL, Path: r.Target, Size: r.Size, Held: r.Held.Len(),
		Reason: r.Reason, Created: r.Created, Updated: r.Updated, held: r.Held,
	}
	switch {
	case r.State == store.Done: // finished files in the ledger have no ranges
		l.Held = r.Size
	case st.Running(r):
		l.State, l.Rate = "running", r.Rate
	case r.State == store.Active:
		l.State = "interrupted"
	}
	return l
}

// taskStates are the states of tasks as pawl list shows them.
var taskStates = map[queue.State]string{
	queue.Waiting: "waiting", queue.Active: "running", queue.Paused: string(store.Paused), queue.Failed: string(store.Failed), queue.Complete: string(store.Done),
}

// newTaskRow returns the row of a task of the queue that has no record.
func newTaskRow(t server.Task) listRow {
	l := listRow{V: 1, ID: t.ID, URL: t.URL, Path: t.FilePath(), Size: t.Size, Held: t.Held, Rate: t.Rate, Created: t.Created, Updated: t.Updated}
	return l.withTask(t)
}

// withTask returns l with the state, the rate and the reason of its task. A file that is downloaded now, or finished,
// keeps its state.
func (l listRow) withTask(t server.Task) listRow {
	l.queue, l.list = true, t.List
	if t.State == queue.Active {
		l.Rate = t.Rate // that on record is of the last bytes, however long ago they came
	}
	if l.State == "running" || l.isDone() || t.State == queue.Removed {
		return l
	}
	l.State, l.Reason = taskStates[t.State], t.Reason
	switch {
	case t.State == queue.Paused:
		l.Reason = "by the user"
	case t.Files != nil && t.State != queue.Failed && t.Files.Listed > 0:
		l.Reason = fmt.Sprintf("%d of %s here, %d failed", t.Files.Here, fileCountText(t.Files.Listed), t.Files.Failed)
	case t.State == queue.Failed && len(t.Lost) > 0:
		l.Reason += "; the restart of the daemon has lost: " + strings.Join(t.Lost, ", ")
	}
	return l
}

// allRows returns the rows of the downloads on record, and then of the downloads that are only in a queue. If
// finished is set, it includes finished ones.
func allRows(st state, tasks []server.Task, finished bool) iter.Seq2[listRow, error] {
	return func(yield func(listRow, error) bool) {
		byID := make(map[store.ID]server.Task, len(tasks))
		for _, t := range tasks {
			byID[t.ID] = t
		}
		owners := listOwners(st, tasks)
		for r, err := range st.downloads(finished) {
			if err != nil {
				yield(listRow{}, err)
				return
			}
			l := newListRow(st.Store, r)
			if t, ok := byID[r.ID]; ok {
				delete(byID, r.ID)
				l = l.withTask(t)
			}
			if t, ok := ownerOf(r, owners); ok {
				l.owner = t.ID
			}
			if !yield(l, nil) {
				return
			}
		}
		for _, t := range tasks {
			_, isLeft := byID[t.ID]
			isOver := t.State == queue.Removed || t.State == queue.Complete && (!finished || !t.List) // of a file, the record says more
			if isLeft && !isOver && !yield(newTaskRow(t), nil) {
				return
			}
		}
	}
}

// isDone reports whether the file is finished.
func (l listRow) isDone() bool { return l.State == string(store.Done) }

// doneText returns how much is here: the percentage, or of an unknown size the bytes.
func (l listRow) doneText() string {
	switch {
	case l.Size < 0:
		return size(l.Held)
	case l.Held >= l.Size:
		return "100.0%"
	}
	return fmt.Sprintf("%.1f%%", math.Floor(1000*float64(l.Held)/float64(l.Size))/10) // rounded down, so that 100 % means complete
}

func (l listRow) sizeText() string {
	if l.Size < 0 {
		return "?"
	}
	return size(l.Size)
}

func (l listRow) rateText() string {
	if l.Rate <= 0 {
		return "-"
	}
	return size(l.Rate) + "/s"
}

func (l listRow) etaText() string {
	if l.Rate <= 0 || l.Size <= l.Held {
		return "-"
	}
	return remaining(l.Size-l.Held, float64(l.Rate))
}

// reason returns why a download failed, for people.
func (l listRow) reason() string { return printable(weburl.RedactText(l.Reason)) }

// A listColumn is a column of the table.
type listColumn struct {
	title string
	width int
	right bool // aligned to the right
	text  func(listRow) string
}

// A listTable lays out the rows of pawl list. The widths of its columns do not depend on the rows, so
// rows can be printed as they come: there may be millions. The last column is the path.
type listTable struct {
	look    look
	columns int // of the terminal; 0 if the output is none, and rows have any length
	mapped  bool
	shown   []listColumn
}

const (
	// minPathColumns is how many columns the path has at least; if there is less room, other columns are
	// left out. A guess, as minNameColumns.
	minPathColumns = 6
	// shortID is how many digits of an ID a terminal shows, and longID all of them. Any four digits name
	// a download, if they are unique.
	shortID, longID = 8, 16
	// widePathColumns is how many columns the path must have beside a whole ID. A guess.
	widePathColumns = 48
)

// newListTable returns the table for an output of that look. columns is the width of a terminal.
func newListTable(l look, columns int, mapped bool) *listTable {
	t := &listTable{look: l, mapped: mapped}
	id := listColumn{"ID", longID, false, func(l listRow) string { return string(l.ID) }}
	state := listColumn{"STATE", len("interrupted"), false, func(l listRow) string { return l.State }}
	done := listColumn{"DONE", len("999.9 MiB"), true, listRow.doneText}
	total := listColumn{"SIZE", len("999.9 MiB"), true, listRow.sizeText}
	rate := listColumn{"RATE", len("999.9 MiB/s"), true, listRow.rateText}
	left := listColumn{"ETA", len("99h59m"), true, listRow.etaText}
	t.shown = []listColumn{id, state, done, total, rate}
	if !l.terminal {
		return t
	}
	t.columns = max(1, columns-1) // the last one stays free, because some terminals wrap there
	room := t.columns - minPathColumns
	id.width, id.text = shortID, func(l listRow) string { return string(l.ID[:min(shortID, len(l.ID))]) }
	chosen := make(map[string]bool)
	for _, c := range []listColumn{done, id, state, rate, total, left} { // the most important ones first
		least := 0
		if c.title == left.title { // it can be guessed from the others
			least = 3 * minPathColumns
		}
		if room-c.width-2 < least {
			break
		}
		room -= c.width + 2
		chosen[c.title] = true
	}
	if room+minPathColumns >= widePathColumns+longID-shortID {
		id.width, id.text = longID, t.shown[0].text
	}
	t.shown = nil
	for _, c := range []listColumn{id, state, done, total, rate, left} {
		if chosen[c.title] {
			t.shown = append(t.shown, c)
		}
	}
	return t
}

// line joins the cells of a row and its last text, which gets the rest of the width.
func (t *listTable) line(cell func(listColumn) string, last string) string {
	var b strings.Builder
	for _, c := range t.shown {
		width := c.width
		if !c.right {
			width = -width
		}
		fmt.Fprintf(&b, "%*s  ", width, cell(c))
	}
	if t.columns == 0 {
		return b.String() + last
	}
	return b.String() + t.look.shortenName(t.look.fold(last), t.columns-b.Len())
}

// header returns the titles of the columns.
func (t *listTable) header() string {
	return t.line(func(c listColumn) string { return c.title }, "PATH")
}

// lines returns the lines of a row: its cells and, as far as there is one, the reason of its failure and
// the map of its pieces. Without a terminal, the reason is on the first line, so that a program finds
// one download per line.
func (t *listTable) lines(l listRow) []string {
	lines := []string{t.colored(l, t.rowLine(l))}
	if t.columns > 0 && l.Reason != "" {
		lines = append(lines, t.look.shorten("  "+t.look.fold(l.reason()), t.columns))
	}
	if t.mapped && !l.isDone() {
		lines = append(lines, t.mapLine(l))
	}
	return lines
}

// rowLine returns the first line of a row without colors. Without a terminal, it has the whole path and
// the reason of a failure. On a terminal, the directories are left out if there is no room for them.
func (t *listTable) rowLine(l listRow) string {
	path, room := printable(relPath(l.Path)), t.columns
	for _, c := range t.shown {
		room -= c.width + 2
	}
	switch {
	case t.columns == 0 && l.Reason != "":
		path += " (" + l.reason() + ")"
	case t.columns > 0:
		path = t.look.shortenPath(t.look.fold(path), room)
	}
	return t.line(func(c listColumn) string { return c.text(l) }, path)
}

// plain returns the first line of a row without colors, in the whole width.
func (t *listTable) plain(l listRow) string {
	line := t.rowLine(l)
	return line + strings.Repeat(" ", max(0, t.columns-displayWidth(line)))
}

// colored colors the state in a line of the row.
func (t *listTable) colored(l listRow, line string) string {
	color := map[string]string{"running": green, "failed": red}[l.State]
	if before, after, ok := strings.Cut(line, " "+l.State+" "); ok && color != "" {
		return before + " " + t.look.paint(color, l.State) + " " + after
	}
	return line
}

// Widths of the map of a file, in pieces.
const (
	plainMapWidth = 64  // without a terminal
	maxMapWidth   = 128 // on a wide one: more pieces say no more. A guess
)

// mapLine returns the map of the pieces of a file.
func (t *listTable) mapLine(l listRow) string {
	width, line := plainMapWidth, "  size unknown"
	if t.columns > 0 {
		width = max(1, min(t.columns-4, maxMapWidth))
	}
	glyphs := [...]string{".", "+", "#"}
	if t.look.unicode {
		glyphs = [...]string{"·", "▒", "█"}
	}
	if l.Size >= 0 {
		var b strings.Builder
		for _, c := range pieceMap(l.held, l.Size, width) {
			b.WriteString(glyphs[c])
		}
		line = "  [" + b.String() + "]"
	}
	if t.columns > 0 {
		line = t.look.shorten(line, t.columns)
	}
	return line
}

// How much of a piece is here.
const (
	pieceMissing = iota
	piecePartly
	pieceHere
)

// pieceMap divides a file of size bytes into n pieces, or one per byte if that is less, and returns how
// much of each is held.
func pieceMap(held chunk.Set, size int64, n int) []int {
	n = int(min(int64(n), size))
	pieces := make([]int, n)
	border := func(i int) int64 { return size/int64(n)*int64(i) + size%int64(n)*int64(i)/int64(n) }
	for i := range pieces {
		piece := chunk.Range{Off: border(i), End: border(i + 1)}
		missing := int64(0)
		for gap := range held.Missing(piece) {
			missing += gap.Len()
		}
		switch missing {
		case 0:
			pieces[i] = pieceHere
		case piece.Len():
			pieces[i] = pieceMissing
		default:
			pieces[i] = piecePartly
		}
	}
	return pieces
}

// Validate refuses options that contradict each other.
func (c *ListCmd) Validate() error {
	if c.Watch && c.All {
		return errors.New("--watch shows unfinished downloads, and downloads that finish meanwhile; it excludes --all")
	}
	return nil
}

// Run prints the downloads, also while other processes run them. The records come one by one,
// because a ledger may have millions of finished files.
func (c *ListCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	if c.Watch {
		return c.watch(ctx, g, out)
	}
	st, err := g.openStore(out, store.Options{})
	if err != nil {
		return err
	}
	l, err := openQueue(ctx, st)
	if err != nil && !c.IDs {
		out.warn("the queue is not shown: %s", printable(err.Error()))
	}
	rows := allRows(st, l.tasks, c.All)
	if c.IDs {
		return printIDs(rows, out.stdout)
	}
	table := c.table(g, out.stdout)
	enc := newJSONEncoder(out.stdout)
	n := 0
	for l, err := range rows {
		if err != nil {
			return err
		}
		switch n++; {
		case g.JSON:
			err = enc.Encode(l.forJSON(c.Map))
		case n == 1:
			fmt.Fprintln(out.stdout, table.header())
			fallthrough
		default:
			err = printLines(out.stdout, table.lines(l))
		}
		if err != nil {
			return err
		}
	}
	if n == 0 && !g.JSON {
		out.note("no %sdownloads%s", map[bool]string{false: "unfinished "}[c.All], map[bool]string{false: "; see finished ones with: pawl list --all"}[c.All])
	}
	return nil
}

// table returns the table for w.
func (c *ListCmd) table(g *Globals, w io.Writer) *listTable {
	l, columns := lookOf(w, g.NoColor), 0
	if l.terminal {
		columns, _ = terminalSize(w.(*os.File))
	}
	return newListTable(l, columns, c.Map)
}

func printLines(w io.Writer, lines []string) error {
	for _, line := range lines {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// forJSON returns l with escaped texts, and with its ranges if they are wanted.
func (l listRow) forJSON(ranges bool) listRow {
	l.URL, l.Path, l.Reason = bytetext.Escape(l.URL), bytetext.Escape(l.Path), bytetext.Escape(l.Reason)
	if ranges && !l.isDone() {
		for r := range l.held.All() {
			l.Ranges = append(l.Ranges, jsonRange{r.Off, r.End})
		}
	}
	return l
}
