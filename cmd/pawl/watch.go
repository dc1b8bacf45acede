package main

// This file is pawl list --watch: the live table of the downloads, and its keys.

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"pawl/store"
)

// watchInterval is the time between two looks at the state. Every commit of a download changes it, about
// once per second. With double, a key seems to have no effect; with half, the numbers flicker.
const watchInterval = 500 * time.Millisecond

// watchKeys is the last line of the screen.
const watchKeys = "q quit  p pause  r resume  x remove  m map  up/down or k/j select"

// A watch is the live table. Its fields belong to the goroutine of run.
type watch struct {
	globals *Globals
	store   state
	queue   queueWatch
	screen  *screen
	look    look
	mapped  bool // show the maps of pieces

	rows     []listRow
	selected store.ID // "" if there is no row
	status   string   // last message
	question question

	warnings chan string // of the store
	ended    chan string // messages of downloads that this watch has resumed
}

// A question waits for the key y; any other key means no. The zero question is none.
type question struct {
	text string
	yes  func() string // returns the next message
}

// watch runs the live table until the user quits or ctx ends.
func (c *ListCmd) watch(ctx context.Context, g *Globals, out *printer) (err error) {
	l := lookOf(out.stdout, g.NoColor)
	switch {
	case g.JSON:
		return usageErr{errors.New("--watch is for people; print --json again and again instead")}
	case !l.terminal:
		return usageErr{errors.New("--watch needs a terminal as standard output that can move its cursor; without one, print pawl list again and again")}
	}
	w := &watch{globals: g, look: l, mapped: c.Map, warnings: make(chan string, 16), ended: make(chan string, 16)}
	if w.store, err = g.openStore(out, store.Options{}); err != nil {
		return err
	}
	// From here on the terminal belongs to the screen. Nobody else may print to it.
	var kept []string // only the last ones matter
	out.divert(func(line string) {
		select {
		case w.warnings <- line:
		default: // the user cannot read so many
		}
	}, func() {})
	defer func() {
		out.divert(nil, func() {
			for _, line := range kept {
				out.print(line)
			}
		})
	}()
	if w.screen, err = openScreen(os.Stdin, out.stdout.(*os.File)); err != nil {
		return err
	}
	defer w.screen.close()
	ctx, cancel := context.WithCancelCause(ctx)
	w.queue.store, w.queue.changed = w.store, make(chan struct{}, 1)
	followed := make(chan struct{})
	go func() { // ends with ctx
		defer close(followed)
		defer w.screen.closeOnPanic()
		w.queue.follow(ctx)
	}()
	defer func() {
		cancel(nil)
		<-followed
	}()
	return w.run(ctx, func(line string) { kept = append(kept[max(0, len(kept)-9):], line) })
}

// run draws the table, and handles the keys, until the user quits or ctx ends. keep gets the warnings.
func (w *watch) run(ctx context.Context, keep func(string)) error {
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	if err := w.refresh(); err != nil {
		return err
	}
	for {
		w.draw()
		select {
		case k, ok := <-w.screen.keys:
			if !ok || w.press(k) { // the terminal is gone, or the user quits
				return nil
			}
			if err := w.refresh(); err != nil {
				return err
			}
		case s := <-w.screen.signals:
			w.screen.pass(s, false)
		case <-tick.C:
			if err := w.refresh(); err != nil {
				return err
			}
		case <-w.queue.changed:
			if err := w.refresh(); err != nil {
				return err
			}
		case line := <-w.warnings:
			w.status = printable(line)
			keep(line)
		case w.status = <-w.ended:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// refresh reads the state and the queue: the unfinished downloads, and the downloads that have been finished
// since the watch has begun.
func (w *watch) refresh() error {
	_, tasks := w.queue.snapshot()
	found := make(map[store.ID]listRow)
	var order []store.ID
	for l, err := range allRows(w.store, tasks, false) {
		if err != nil {
			return err
		}
		found[l.ID] = l
		order = append(order, l.ID)
	}
	var rows []listRow
	for _, old := range w.rows { // in their order, so that no row jumps
		if l, ok := found[old.ID]; ok {
			rows = append(rows, l)
			delete(found, old.ID)
		} else if r, err := w.store.Get(old.ID); err == nil && r.State == store.Done {
			rows = append(rows, newListRow(w.store.Store, r))
		}
	}
	for _, id := range order {
		if l, ok := found[id]; ok {
			rows = append(rows, l)
		}
	}
	at := w.index()
	w.rows = rows
	if w.index() < 0 && len(rows) > 0 { // the selected row is gone: its neighbour comes in its place
		w.selected = rows[min(max(at, 0), len(rows)-1)].ID
	}
	return nil
}

// index returns the position of the selected row, -1 if it does not exist.
func (w *watch) index() int {
	return slices.IndexFunc(w.rows, func(l listRow) bool { return l.ID == w.selected })
}

// move selects another row.
func (w *watch) move(by int) {
	if len(w.rows) > 0 {
		w.selected = w.rows[min(max(w.index()+by, 0), len(w.rows)-1)].ID
	}
}

// press handles a key. It reports whether the user wants to quit.
func (w *watch) press(k key) (quit bool) {
	if q := w.question; q.yes != nil {
		w.question, w.status = question{}, ""
		if k == "y" || k == "Y" {
			w.status = q.yes()
		}
		return k == keyInterrupt
	}
	w.status = ""
	switch k {
	case "q", "Q", keyInterrupt, keyEnd:
		return true
	case "j", keyDown:
		w.move(1)
	case "k", keyUp:
		w.move(-1)
	case "m":
		w.mapped = !w.mapped
	case keySuspend:
		w.screen.pass(suspendSignal, true)
	case keyRedraw:
		w.screen.forget()
	case "p", "r", "x", keyDelete:
		w.actOnSelected(k)
	}
	return false
}

// actOnSelected pauses, resumes or removes the selected row, by a key.
func (w *watch) actOnSelected(k key) {
	i := w.index()
	if i < 0 {
		w.status = "there is no download"
		return
	}
	l := w.rows[i]
	client, _ := w.queue.snapshot()
	ofDaemon := l.queue && client != nil
	switch {
	case (k == "p" || k == "r") && l.owner != "" && client != nil:
		w.askOwner(k, l)
	case k == "p" && ofDaemon:
		w.status = w.queue.pause(l)
	case k == "p":
		w.askPause(l)
	case k == "r" && ofDaemon:
		w.status = w.queue.resume(l)
	case k == "r":
		w.status = w.resume(l)
	case ofDaemon:
		w.question = question{removalText(l), func() string { return w.queue.remove(l) }}
	default:
		w.askRemove(l)
	}
}

// removalText returns the question whether a task is to be removed from the queue of the daemon.
func removalText(l listRow) string {
	switch {
	case l.list:
		return fmt.Sprintf("remove the list %q from the queue? its files are kept; y/n", pathOf(l))
	case l.isDone():
		return fmt.Sprintf("remove %q from the queue? its file is kept; y/n", pathOf(l))
	}
	return fmt.Sprintf("remove %q from the queue, and delete its part file (%s)? y/n", pathOf(l), size(l.Held))
}

// askOwner asks whether to pause or to resume the list that a file belongs to. Only the whole list can be.
func (w *watch) askOwner(k key, l listRow) {
	list := listRow{ID: l.owner}
	if i := slices.IndexFunc(w.rows, func(o listRow) bool { return o.ID == l.owner }); i >= 0 {
		list = w.rows[i]
	}
	verb, do := "pause", w.queue.pause
	if k == "r" {
		verb, do = "resume", w.queue.resume
	}
	w.question = question{fmt.Sprintf("it belongs to the list %q of the daemon; %s all of the list? y/n", pathOf(list), verb), func() string { return do(list) }}
}

// pathOf returns the path of a row for messages.
func pathOf(l listRow) string { return printable(relPath(l.Path)) }

// askPause stops the process that downloads a file. If that process does more, the user must agree.
func (w *watch) askPause(l listRow) {
	if l.State != "running" {
		w.status = fmt.Sprintf("%q is not running", pathOf(l))
		return
	}
	rec, err := w.store.Get(l.ID)
	holder, ok := w.store.Holder(rec)
	if err != nil || !ok {
		w.status = fmt.Sprintf("it is not known which process downloads %q, so none is stopped; press Ctrl-C where it runs", pathOf(l))
		return
	}
	others := 0
	for _, other := range w.rows {
		r, err := w.store.Get(other.ID)
		if p, ok := w.store.Holder(r); err == nil && ok && p == holder && r.ID != rec.ID {
			others++
		}
	}
	stop := func() string { return w.pause(rec, holder) }
	switch {
	case len(rec.Lists) > 0:
		w.question = question{fmt.Sprintf("process %d mirrors lists; stop all of it? y/n", holder.PID), stop}
	case others > 0:
		w.question = question{fmt.Sprintf("process %d downloads %s more; pause all? y/n", holder.PID, fileCountText(others)), stop}
	default:
		w.status = stop()
	}
}

// pause asks the holder of rec to stop, as Ctrl-C in its terminal does: it commits its bytes and ends.
// The process is looked up before its identity is checked again: on Linux the handle keeps its number
// from being given to another process, so the signal reaches the checked one or none.
func (w *watch) pause(rec store.Record, holder store.Process) string {
	process, err := os.FindProcess(holder.PID)
	if err == nil {
		defer process.Release()
		if now, ok := w.store.Holder(rec); !ok || now != holder {
			return "it has ended meanwhile"
		}
		err = process.Signal(syscall.SIGTERM) // and not SIGINT, which background jobs ignore
	}
	if err != nil {
		return fmt.Sprintf("process %d cannot be stopped: %v", holder.PID, err)
	}
	return fmt.Sprintf("process %d stops and keeps what it has", holder.PID)
}

// resume starts a process of its own that goes on with a download, and does not end with the watch. Its
// outcome is on record.
func (w *watch) resume(l listRow) string {
	switch l.State {
	case "running":
		return fmt.Sprintf("%q is running already", pathOf(l))
	case string(store.Done):
		return fmt.Sprintf("%q is finished", pathOf(l))
	}
	program, err := os.Executable()
	if err != nil {
		return err.Error()
	}
	args := []string{"resume", string(l.ID), "--quiet", "--state", w.store.dir}
	if w.globals.NoConfig {
		args = append(args, "--no-config")
	}
	if w.globals.Config != "" {
		args = append(args, "--config", w.globals.Config)
	}
	cmd := exec.Command(program, args...)
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return err.Error()
	}
	go func() { // ends with the process, or with this one
		defer w.screen.closeOnPanic()
		if err := cmd.Wait(); err != nil {
			select {
			case w.ended <- fmt.Sprintf("%q: %v; see why with: pawl resume %s", pathOf(l), err, l.ID):
			default:
			}
		}
	}()
	return fmt.Sprintf("process %d resumes it", cmd.Process.Pid)
}

// askRemove asks whether a download is to be forgotten.
func (w *watch) askRemove(l listRow) {
	text := fmt.Sprintf("forget %q and delete its part file (%s)? y/n", pathOf(l), size(l.Held))
	if l.isDone() {
		text = fmt.Sprintf("forget %q? its file is kept; y/n", pathOf(l))
	}
	if l.State == "running" {
		w.status = fmt.Sprintf("%q is running; pause it first", pathOf(l))
		return
	}
	w.question = question{text, func() string {
		if err := w.store.Remove(l.ID, true); err != nil {
			return printable(err.Error())
		}
		w.rows = slices.DeleteFunc(w.rows, func(o listRow) bool { return o.ID == l.ID })
		return fmt.Sprintf("%q is forgotten", pathOf(l))
	}}
}

// draw shows the frame. The size is asked for each time, because the window may have changed.
func (w *watch) draw() {
	columns, rows := terminalSize(w.screen.out)
	w.screen.show(w.frame(columns, rows))
}

// markWidth is the width of the mark before the selected row.
const markWidth = 2

// frame returns the lines of the screen, at most rows of them: a title, the table as far as there is
// room around the selected row, and the message and the keys.
func (w *watch) frame(columns, rows int) []string {
	table := newListTable(w.look, columns-markWidth, w.mapped)
	var blocks [][]string // the lines of each row
	for _, l := range w.rows {
		lines := table.lines(l)
		mark := "  "
		if l.ID == w.selected {
			mark = "> "
			if w.look.color {
				lines[0] = w.look.paint(reverse, table.plain(l))
			}
		}
		for i := range lines {
			lines[i] = map[bool]string{true: mark, false: "  "}[i == 0] + lines[i]
		}
		blocks = append(blocks, lines)
	}
	fit := func(text string) string { return w.look.shorten(w.look.fold(text), max(1, columns-1)) }
	head := []string{fit(w.title()), fit(strings.Repeat(" ", markWidth) + table.header())}
	foot := []string{fit(w.message()), fit(watchKeys)}
	room := max(1, rows-len(head)-len(foot))
	lines := append(head, visibleLines(blocks, max(0, w.index()), room)...)
	for len(lines) < len(head)+room {
		lines = append(lines, "")
	}
	return append(lines, foot...)[:max(0, min(rows, len(lines)+len(foot)))]
}

// visibleLines returns the lines of as many blocks as fit into room lines, the selected one among them.
func visibleLines(blocks [][]string, selected, room int) (lines []string) {
	first, used := selected, 0
	for ; first >= 0 && first < len(blocks); first-- {
		if used += len(blocks[first]); used > room && first < selected {
			break
		}
	}
	for _, b := range blocks[min(len(blocks), first+1):] {
		lines = append(lines, b...)
	}
	return lines[:min(len(lines), room)]
}

// title returns the first line of the screen.
func (w *watch) title() string {
	running, rate := 0, int64(0)
	for _, l := range w.rows {
		if l.State == "running" {
			running++
			if l.owner == "" { // or the rate of its list contains it
				rate += l.Rate
			}
		}
	}
	switch {
	case len(w.rows) == 0:
		return "pawl: no unfinished downloads"
	case running == 0:
		return fmt.Sprintf("pawl: %s, none running", downloads(len(w.rows)))
	}
	return fmt.Sprintf("pawl: %s, %d running, %s/s", downloads(len(w.rows)), running, size(rate))
}

func downloads(n int) string {
	if n == 1 {
		return "1 download"
	}
	return fmt.Sprintf("%d downloads", n)
}

// message returns the question, if there is one, or the last message.
func (w *watch) message() string {
	if w.question.yes != nil {
		return w.question.text
	}
	return w.status
}
