package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/term"

	"pawl/downloader"
)

const (
	drawInterval     = 200 * time.Millisecond // the bar
	jsonInterval     = time.Second            // progress objects
	minPlainInterval = 10 * time.Second       // progress lines where there is no terminal, at first
	maxPlainInterval = 5 * time.Minute        // and in the end
	rateWindow       = 3 * time.Second        // the shown rate is the mean of this long
	minRatedSize     = 1 << 20                // bytes of a file of a list that make a rate; smaller ones mostly wait
)

// displayOptions say what is shown.
type displayOptions struct {
	json    bool   // events on stdout
	verbose bool   // retries, too
	bar     bool   // progress on stderr
	paths   bool   // the path of each finished file on stdout
	files   int    // how many are asked for; setFiles changes it
	recent  bool   // under a bar the last finished files, in place of a line for each
	dir     string // names are paths below it, or base names if it is empty

	// counts, where it is set, says how many files have come to which end, in
	// place of what the events say, and the bar then measures files rather than
	// bytes; it is called often, and must not wait.
	counts func() fileCounts
}

// fileCounts are how many files have come to which end.
type fileCounts struct {
	fetched   int
	current   int // here before, and nobody was asked
	unchanged int // here before, and the same on the server
	failed    int // and not to be tried again
}

// A display shows downloads. Its one goroutine owns stdout and stderr from start
// to stop; everybody else only leaves messages, and waits for no terminal.
type display struct {
	displayOptions
	out      *printer
	snapshot func() []downloader.Progress
	bar      *bar // nil where there is no terminal

	mu    sync.Mutex
	queue []func() // what the goroutine is to print next; guarded by mu
	more  bool     // files will grow; both guarded by mu

	quit, done chan struct{}

	// of the goroutine alone
	finished    int64 // bytes of the files that are done
	before      int64 // bytes that were here before, and are no part of the rate
	ended       fileCounts
	plainWait   time.Duration // until the next progress line, growing
	rate        rateMeter
	lastJSON    time.Time
	lastPlain   time.Time
	retryReason string    // the reason of the last retry that was told
	retryShown  time.Time // when that was
}

func newDisplay(say *printer, o displayOptions) *display {
	s := &display{displayOptions: o, out: say, quit: make(chan struct{}), done: make(chan struct{})}
	if f, ok := say.stderr.(*os.File); ok && o.bar && !o.json && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		s.bar = newBar(f)
	}
	return s
}

// setFiles says that n files are asked for; more, that there will be further
// ones, as a list is not read to its end.
func (s *display) setFiles(n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.more = n, more
}

// start shows what snapshot tells, until stop.
func (s *display) start(snapshot func() []downloader.Progress) {
	s.snapshot = snapshot
	s.lastPlain, s.lastJSON = time.Now(), time.Now()
	s.plainWait = minPlainInterval
	s.out.divert(func(line string) { s.enqueue(func() { s.out.print(line) }) }, func() {})
	go s.loop()
}

// stop shows what is left to show, and returns the streams to their owner.
func (s *display) stop() {
	close(s.quit)
	<-s.done
	s.out.divert(nil, s.flush)
}

func (s *display) enqueue(print func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, print)
}

func (s *display) loop() {
	defer close(s.done)
	tick := time.NewTicker(drawInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.flush()
			s.showProgress(now)
		case <-s.quit:
			s.flush()
			s.bar.clear()
			return
		}
	}
}

// flush prints what was left, above the bar.
func (s *display) flush() {
	s.mu.Lock()
	queue := s.queue
	s.queue = nil
	s.mu.Unlock()
	if len(queue) > 0 {
		s.bar.clear()
	}
	for _, print := range queue {
		print()
	}
}

// view is what there is to tell of the downloads that run, and of all others.
func (s *display) view(running []downloader.Progress) progressView {
	c := s.ended
	if s.counts != nil {
		c = s.counts()
	}
	v := progressView{have: s.finished, total: s.finished, before: c.current + c.unchanged, failed: c.failed, byFiles: s.counts != nil}
	v.done = c.fetched + v.before
	s.mu.Lock()
	v.files, v.more = s.files, s.more
	s.mu.Unlock()
	for _, p := range running {
		v.have += p.Have
		v.conns += p.Conns
		if p.Size > 0 {
			v.begun += float64(p.Have) / float64(p.Size)
		}
		if p.Size < 0 || v.total < 0 {
			v.total = -1
		} else {
			v.total += p.Size
		}
		v.name = s.name(p.Target)
	}
	if v.more || v.files-v.done-v.failed > len(running) {
		v.total = -1 // some have not begun, and nobody knows how large they are
	}
	return v
}

// progress shows how far the downloads are.
func (s *display) showProgress(now time.Time) {
	all := s.snapshot()
	v := s.view(all)
	v.rate = s.rate.sample(now, v.have-s.before)
	switch {
	case len(all) == 0 && !v.several():
	case s.json && now.Sub(s.lastJSON) >= jsonInterval:
		s.lastJSON = now
		for _, p := range all {
			s.writeJSON(map[string]any{"event": "progress", "time": now, "id": p.ID, "path": p.Target, "size": p.Size, "have": p.Have, "connections": p.Conns})
		}
	case s.bar != nil:
		s.bar.draw(v)
	case s.displayOptions.bar && !s.json && now.Sub(s.lastPlain) >= s.plainWait:
		s.lastPlain = now
		s.plainWait = min(s.plainWait*3/2, maxPlainInterval)
		s.println("pawl: %s: %s", v.title(), v.text())
	}
}

func (s *display) println(format string, args ...any) {
	s.out.print(fmt.Sprintf(format, args...))
}

func (s *display) writeJSON(fields map[string]any) {
	fields["v"] = 1
	for name, value := range fields {
		if text, ok := value.(string); ok {
			fields[name] = escaped(text)
		}
	}
	enc := json.NewEncoder(s.out.stdout)
	enc.SetEscapeHTML(false)
	enc.Encode(fields) // a closed stdout is no reason to stop a download
}

// event takes a transition of the engine's.
func (s *display) onEvent(e downloader.Event) {
	s.enqueue(func() {
		if s.json {
			s.writeJSON(eventFields(e))
		}
		s.printEvent(e)
	})
}

// name is how messages call a file.
func (s *display) name(target string) string {
	if isURL(target) { // the name of the file is not known
		target = downloader.RedactURL(target)
	}
	if s.dir != "" {
		if rel, err := filepath.Rel(s.dir, target); err == nil && filepath.IsLocal(rel) {
			return printable(rel)
		}
	}
	return printable(filepath.Base(target))
}

// tellsRetry reports whether a retry is worth a line. Of the many files of lists
// that fail for one reason it is one every few seconds, as the end of each is told.
func (s *display) showsRetry(e downloader.Event, reason string) bool {
	if s.verbose {
		return true
	}
	if e.Attempt <= 1 && e.Wait <= 5*time.Second {
		return false
	}
	if s.counts != nil && reason == s.retryReason && time.Since(s.retryShown) < minPlainInterval {
		return false
	}
	s.retryReason, s.retryShown = reason, time.Now()
	return true
}

// tell says in words what e says.
func (s *display) printEvent(e downloader.Event) {
	name := s.name(e.Target)
	reason := ""
	if e.Err != nil {
		reason = printable(e.Err.Error())
	}
	switch e.Kind {
	case downloader.Started:
		s.before += e.Held
		if e.Held > 0 {
			s.note("%s: going on from %s of %s", name, size(e.Held), sizeText(e.Size))
		}
	case downloader.Lost:
		s.warning("%s: %s of it are no longer in the part file, and are fetched again", name, size(e.Held))
	case downloader.Restarted:
		s.warning("%s: starting over, as %s", name, reason)
	case downloader.Warning:
		s.warning("%s: %s", name, reason)
	case downloader.Retrying:
		if s.showsRetry(e, reason) {
			s.note("%s: %s; trying again %s (%d%s)", name, reason, delayText(e.Wait), e.Attempt, triesText(e.Tries))
		}
	case downloader.Waiting:
		s.note("%s: %s, and wants to be asked again in %s", name, reason, span(e.Wait))
	case downloader.Offline:
		s.note("no network (%s); waiting for it, which costs no tries", reason)
	case downloader.Limited:
		if s.verbose && e.Conns > 0 {
			s.note("%s: %s; going on with %s", name, reason, connections(e.Conns))
		} else if s.verbose {
			s.note("%s: %s; waiting for one", name, reason)
		}
	case downloader.Finished:
		s.printFinished(e, name)
	case downloader.Stopped:
		s.ended.failed++ // told by whoever asked for it
	}
}

// finish tells that a file is there, on stdout for scripts and on stderr for
// people.
func (s *display) printFinished(e downloader.Event, name string) {
	s.finished += e.Size
	if e.Current {
		s.ended.unchanged++
		s.before += e.Size
	} else {
		s.ended.fetched++
	}
	if s.paths && !isTerminal(s.out.stdout) {
		fmt.Fprintln(s.out.stdout, relPath(e.Target))
	}
	switch {
	case s.bar != nil && s.recent && e.Current:
		s.bar.add(name + "  unchanged")
	case s.bar != nil && s.recent:
		s.bar.add(name + "  " + sizeText(e.Size))
	case e.Current && s.counts != nil && !s.verbose: // which may be most of a list
	case e.Current:
		s.note("%s: already there, and unchanged", name)
	case e.Target == "-":
		s.note("%s in %s", size(e.Fetched), span(e.Elapsed))
	case e.Fetched == 0 && e.Size > 0:
		s.note("%s: done, %s, all of it had arrived before", name, size(e.Size))
	case e.Size == 0, s.counts != nil && e.Fetched < minRatedSize:
		s.note("%s: done, %s", name, size(e.Size))
	default:
		s.note("%s: done, %s in %s (%s/s)", name, size(e.Size), span(e.Elapsed), size(int64(float64(e.Fetched)/max(e.Elapsed.Seconds(), 0.001))))
	}
}

func (s *display) note(format string, args ...any) {
	if !s.out.quiet {
		s.println("pawl: "+format, args...)
	}
}

func (s *display) warning(format string, args ...any) {
	s.println("pawl: warning: "+format, args...)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func sizeText(n int64) string {
	if n < 0 {
		return "unknown size"
	}
	return size(n)
}

// in says when something will be.
func delayText(d time.Duration) string {
	if d < 100*time.Millisecond {
		return "at once"
	}
	return "in " + span(d)
}

func triesText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", n)
}

// eventFields is the JSON form of an event.
func eventFields(e downloader.Event) map[string]any {
	f := map[string]any{"event": e.Kind, "time": e.Time, "url": e.URL}
	optional := func(name string, value any, known bool) {
		if known {
			f[name] = value
		}
	}
	optional("id", e.ID, e.ID != "")
	optional("path", e.Target, e.Target != e.URL)
	switch e.Kind {
	case downloader.Started:
		f["size"], f["held"] = e.Size, e.Held
	case downloader.Finished:
		f["size"], f["fetched"], f["seconds"], f["current"] = e.Size, e.Fetched, e.Elapsed.Seconds(), e.Current
		optional("complete", "unknown", e.Unframed)
	case downloader.Stopped, downloader.Lost, downloader.Restarted:
		f["held"] = e.Held
	case downloader.Retrying:
		f["attempt"], f["tries"], f["wait"] = e.Attempt, e.Tries, e.Wait.Seconds()
	case downloader.Waiting:
		f["wait"] = e.Wait.Seconds()
	case downloader.Limited:
		f["connections"] = e.Conns
	}
	if e.Err != nil {
		f["error"] = e.Err.Error()
	}
	if e.Kind == downloader.Stopped && !errors.Is(e.Err, errDeadline) {
		f["exit"] = exitCode(e.Err)
	}
	return f
}
