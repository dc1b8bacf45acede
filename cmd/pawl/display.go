package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"time"

	"pawl/cmd/pawl/bytetext"
	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/weburl"
)

// Intervals of the display. All of them are choices for the eye or for log files, not
// measured.
const (
	drawInterval = 200 * time.Millisecond // between drawings of the bar; a second looks stuck, and half would make the numbers flicker
	jsonInterval = time.Second            // between progress objects of --json, about one line per download and second in a log

	// Without a terminal, progress lines are printed after 10 s, and then after intervals
	// that grow by half, up to 5 minutes. A short download has no such line, and a night in a
	// log file has some 100 of them.
	minPlainInterval = 10 * time.Second
	maxPlainInterval = 5 * time.Minute

	// The displayed rate is the mean of the last 3 s. Half of that jumps with every stall of
	// a connection; twice that still shows the old rate when the network has long changed.
	rateWindow = 3 * time.Second

	// Files of lists below 1 MiB are reported without a rate, because their time is mostly
	// waiting for the response.
	minRatedSize = 1 << 20
)

// displayOptions select the form and the details of a display.
type displayOptions struct {
	json    bool   // print events on stdout
	verbose bool   // print every retry
	bar     bool   // show progress on stderr: a bar on a terminal, else lines
	paths   bool   // print the path of each finished file on stdout
	files   int    // expected number of files; setFiles changes it
	dir     string // show names relative to this directory; "" shows base names

	// counts returns how many files of the lists have had which outcome. If it is nil, the
	// display counts events itself. With it, the bar measures files rather than bytes, and
	// names the last small files above itself instead of printing a line for each. It is called at
	// each drawing, so it must not block.
	counts func() fileCounts
}

// fileCounts are numbers of files by outcome.
type fileCounts struct {
	fetched   int
	current   int // complete before this run; no request was sent
	unchanged int // complete before this run; the server confirmed it
	failed    int // for good: no further round tries them
}

// A source has the counters that a display shows, as a downloader.Downloader. It must not block.
type source interface {
	Snapshot() []downloader.Progress // of the running downloads
	Received() int64                 // bytes of all downloads
}

// A display shows the progress of downloads: a bar on a terminal, progress lines elsewhere,
// or JSON objects. Between start and stop, its goroutine owns stdout and stderr. Everybody
// else hands it functions with enqueue, so that no download waits for a slow terminal.
//
// Locks: stop and line hold the lock of the printer while they take mu, so nobody may take
// them in the opposite order. Hence a queued function must use the display's own note,
// warning and println. If it called a method of the printer that locks, such as note, stop
// would deadlock.
type display struct {
	displayOptions
	out    *printer
	source source // set by start
	bar    *bar   // nil without a terminal

	suspends chan os.Signal // the user stops the program for a while; nil without a terminal

	mu    sync.Mutex
	queue []func() // to be called by the goroutine, in order; guarded by mu
	more  bool     // the number of files still grows; guarded by mu, like files

	quit, done chan struct{} // stop closes quit, the goroutine closes done

	// The following fields are owned by the goroutine.
	totals
	plainLines
	lastRetry
	rates    rates
	lastJSON time.Time // of progress objects
}

// totals are sums over all downloads of a display.
type totals struct {
	finished int64 // bytes of finished files
	ended    fileCounts
}

// rates are the meters of a display.
type rates struct {
	all   rateMeter
	files map[int64]*rateMeter // of the running files, by Progress.Number
}

// update takes a sample of each running file, and forgets the others. It returns the views of the files
// that were running at the last sample, too, so that the lines of small files do not flicker.
func (r *rates) update(now time.Time, running []downloader.Progress, name func(string) string) (views []fileView) {
	files := make(map[int64]*rateMeter, len(running))
	for _, p := range running {
		m, known := r.files[p.Number]
		if !known {
			m = &rateMeter{}
		}
		files[p.Number] = m
		rate := m.sample(now, p.Received)
		if known {
			views = append(views, fileView{name: name(p.Target), have: p.Have, size: p.Size, rate: rate, conns: p.Conns, retries: p.Retries})
		}
	}
	r.files = files
	return views
}

// plainLines is the timing of progress lines without a terminal.
type plainLines struct {
	plainWait time.Duration // until the next line; grows
	lastPlain time.Time
}

// lastRetry is the last retry that was printed, and whether a web page was reported.
type lastRetry struct {
	retryReason string
	retryShown  time.Time
	pageShown   bool
}

// newDisplay returns a display. To use it, call start and later stop.
func newDisplay(out *printer, o displayOptions) *display {
	s := &display{displayOptions: o, out: out, quit: make(chan struct{}), done: make(chan struct{})}
	if f, ok := out.stderr.(*os.File); ok && o.bar && !o.json && out.look.terminal {
		s.bar, s.suspends = newBar(f, out.look), make(chan os.Signal, 1)
	}
	return s
}

// setFiles sets the expected number of files. more reports that it will grow, because a
// list has not been read to its end.
func (s *display) setFiles(n int, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files, s.more = n, more
}

// start begins to show the downloads of from. From now on, all lines of the
// printer go through the display. stop must be called once afterwards.
func (s *display) start(from source) {
	s.source = from
	s.lastPlain, s.lastJSON = time.Now(), time.Now()
	s.plainWait = minPlainInterval
	s.out.divert(func(line string) { s.enqueue(func() { s.out.print(line) }) }, func() {})
	go s.loop()
}

// stop prints the remaining messages, removes the bar, and gives stderr back to the
// printer. Lines that arrive while the goroutine ends are printed here, before any later
// line.
func (s *display) stop() {
	close(s.quit)
	<-s.done
	s.out.divert(nil, s.flush)
}

// enqueue hands print to the goroutine. It never blocks on the terminal.
func (s *display) enqueue(print func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queue = append(s.queue, print)
}

// loop is the goroutine of the display.
func (s *display) loop() {
	defer close(s.done)
	catchSuspend(s.suspends)
	defer func() { signal.Stop(s.suspends) }()
	tick := time.NewTicker(drawInterval)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.flush()
			s.showProgress(now)
		case sig := <-s.suspends: // the shell prints where the bar was
			s.bar.clear()
			raise(sig, false)
			catchSuspend(s.suspends)
		case <-s.quit:
			s.flush()
			s.bar.clear()
			return
		}
	}
}

// flush calls the queued functions. The bar is cleared first, so that their lines stay
// above it.
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

// view returns the progress of all downloads, given the running ones.
func (s *display) view(running []downloader.Progress) progressView {
	c := s.ended
	if s.counts != nil { // before mu, because counts calls setFiles
		c = s.counts()
	}
	v := progressView{have: s.finished, total: s.finished, before: c.current + c.unchanged, failed: c.failed, byFiles: s.counts != nil}
	v.done = c.fetched + v.before
	s.mu.Lock()
	v.files, v.more = s.files, s.more
	s.mu.Unlock()
	// The total is only known if the size of every file is. Otherwise v.total becomes -1, and the
	// bar measures files.
	for _, p := range running {
		v.have += p.Have
		v.conns += p.Conns
		v.retries += p.Retries
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
		v.total = -1 // some files have not begun, and their sizes are unknown
	}
	return v
}

// showProgress shows the progress of the downloads in the form that the options ask for, if it is time.
func (s *display) showProgress(now time.Time) {
	rate := s.rates.all.sample(now, s.source.Received())
	object := s.json && now.Sub(s.lastJSON) >= jsonInterval
	line := s.displayOptions.bar && !s.json && now.Sub(s.lastPlain) >= s.plainWait
	if s.bar == nil && !object && !line {
		return
	}
	running := s.source.Snapshot()
	v := s.view(running)
	v.rate = rate
	if f, ok := s.source.(interface{ adjust(*progressView) }); ok {
		f.adjust(&v)
	}
	switch {
	case len(running) == 0 && !v.several(): // nothing to show between two downloads
	case object:
		s.lastJSON = now
		for _, p := range running {
			s.writeJSON(map[string]any{"event": "progress", "time": now, "id": p.ID, "path": p.Target, "size": p.Size, "have": p.Have, "connections": p.Conns, "retries": p.Retries})
		}
	case s.bar != nil:
		if views := s.rates.update(now, running, s.name); v.several() && v.conns >= 0 {
			v.running = views
		}
		s.bar.draw(v)
	case line:
		s.lastPlain = now
		s.plainWait = min(s.plainWait*3/2, maxPlainInterval)
		s.println("pawl: %s: %s", v.title(), v.text())
	}
}

// println prints a line at once. Only the goroutine may call it.
func (s *display) println(format string, args ...any) {
	s.out.print(fmt.Sprintf(format, args...))
}

// writeJSON prints an object of --json. Only the goroutine may call it.
func (s *display) writeJSON(fields map[string]any) {
	fields["v"] = 1
	for name, value := range fields {
		if text, ok := value.(string); ok {
			fields[name] = bytetext.Escape(text)
		}
	}
	newJSONEncoder(s.out.stdout).Encode(fields) // if stdout is closed, the downloads continue
}

// onEvent receives the events of the downloader. It may be called by any goroutine.
func (s *display) onEvent(e downloader.Event) {
	s.enqueue(func() {
		if s.json {
			s.writeJSON(eventFields(e))
		}
		s.printEvent(e)
	})
}

// name returns the name of a file for messages. target is a path or, as long as the name
// is unknown, a URL.
func (s *display) name(target string) string {
	if isURL(target) {
		target = weburl.Redact(target)
	}
	if s.dir != "" {
		if rel, err := filepath.Rel(s.dir, target); err == nil && filepath.IsLocal(rel) {
			return printable(rel)
		}
	}
	return printable(filepath.Base(target))
}

// showsRetry reports whether a retry is worth a line. A first retry after a short wait is
// not. If many files of a list fail for the same reason, one line is printed every few
// seconds, because the failure of each file is reported in the end anyway.
func (s *display) showsRetry(e downloader.Event, reason string) bool {
	if s.verbose {
		return true
	}
	if e.Retry.Attempt <= 1 && e.Retry.Wait <= 5*time.Second {
		return false
	}
	if s.counts != nil && reason == s.retryReason && time.Since(s.retryShown) < minPlainInterval {
		return false
	}
	s.retryReason, s.retryShown = reason, time.Now()
	return true
}

// showsWarning reports whether a warning is worth a line. Of the web pages of a list only the first
// one is, as an example, because the summary has their number.
func (s *display) showsWarning(err error) bool {
	var page *downloader.PageWarning
	if s.counts == nil || !errors.As(err, &page) {
		return true
	}
	first := !s.pageShown
	s.pageShown = true
	return first || s.verbose
}

// warningHint returns the hint at the end of the line of a warning, or "".
func warningHint(e downloader.Event) string {
	if page := (*downloader.PageWarning)(nil); errors.As(e.Err, &page) {
		return "; --expect '!text/html' makes that an error"
	}
	if left := (*downloader.LeftoverWarning)(nil); errors.As(e.Err, &left) {
		return "; to continue that instead, stop this download, then: pawl remove --files " + shellQuote(relPath(e.Target)) + "; pawl -c " + shellQuote(left.URL)
	}
	return ""
}

// wishText says how long the server asked to wait if pawl waits for less, because nobody wants to
// wait for a day without knowing it. It is "" otherwise.
func wishText(e downloader.Event) string {
	var status *failure.StatusError
	if !errors.As(e.Err, &status) {
		return ""
	}
	wish := time.Duration(status.Wish) * time.Second
	if wish < 2*e.Retry.Wait || wish < time.Second {
		return ""
	}
	return "; the server asks to wait " + longSpan(wish)
}

// printEvent updates the totals and prints e for people.
func (s *display) printEvent(e downloader.Event) {
	reason := ""
	if e.Err != nil {
		reason = printable(e.Err.Error())
	}
	switch e.Kind {
	case downloader.Started:
		if e.Held > 0 {
			s.note("%s: resuming at %s of %s", s.name(e.Target), size(e.Held), sizeText(e.Size))
		}
	case downloader.Lost:
		s.fileWarning(e, fmt.Sprintf("%s are missing from the part file and will be downloaded again", size(e.Held)))
	case downloader.Restarted:
		s.fileWarning(e, "starting over: "+reason)
	case downloader.Renamed:
		s.note("%s: %s", s.name(e.Target), reason)
	case downloader.Warning:
		if s.showsWarning(e.Err) {
			s.fileWarning(e, reason+warningHint(e))
		}
	case downloader.Retrying:
		if s.showsRetry(e, reason) {
			s.note("%s: %s%s; retrying %s (%d%s)", s.name(e.Target), reason, wishText(e), delayText(e.Retry.Wait), e.Retry.Attempt, triesText(e.Retry.Tries))
		}
	case downloader.Waiting:
		if wish := wishText(e); wish != "" {
			s.note("%s: %s%s; pawl waits %s", s.name(e.Target), reason, wish, span(e.Retry.Wait))
			return
		}
		s.note("%s: %s; the server asks to wait %s", s.name(e.Target), reason, span(e.Retry.Wait))
	case downloader.Offline:
		s.note("no network (%s); waiting for it, which does not count as a try", reason)
	case downloader.Limited:
		if s.verbose && e.Conns > 0 {
			s.note("%s: %s; continuing with %s", s.name(e.Target), reason, connections(e.Conns))
		} else if s.verbose {
			s.note("%s: %s; waiting for a free connection", s.name(e.Target), reason)
		}
	case downloader.Finished:
		s.printFinished(e)
	case downloader.Stopped:
		s.ended.failed++ // the caller of the download reports the error
	}
}

// printFinished reports a finished file: its path on stdout for scripts, and a line on
// stderr for people.
func (s *display) printFinished(e downloader.Event) {
	s.finished += e.Size
	if e.Outcome.Current {
		s.ended.unchanged++
	} else {
		s.ended.fetched++
	}
	if s.paths && e.Target != "-" && !isTerminal(s.out.stdout) {
		fmt.Fprintln(s.out.stdout, relPath(e.Target))
	}
	small := s.counts != nil && (e.Outcome.Current || e.Outcome.Fetched < minRatedSize)
	switch {
	case small && !s.verbose && s.bar != nil && e.Outcome.Current:
		s.bar.add(s.name(e.Target) + "  unchanged")
	case small && !s.verbose && s.bar != nil:
		s.bar.add(s.name(e.Target) + "  " + sizeText(e.Size))
	case small && !s.verbose && e.Outcome.Current: // no line: these may be most files of a list
	case s.out.quiet: // note would format a line for each file, and print none
	case e.Target == "-":
		s.note("%s in %s (%s/s)%s", size(e.Outcome.Fetched), span(e.Outcome.Elapsed), meanRate(e.Outcome), knownDigest(e.Outcome))
	case e.Outcome.Kept:
		s.note("%s: exists, and is kept as it is", s.path(e.Target))
	case e.Outcome.Current:
		s.note("%s: already downloaded, and unchanged%s", s.path(e.Target), knownDigest(e.Outcome))
	default:
		s.note("%s: %s, %s", s.path(e.Target), s.out.look.paint(green, "done"), s.doneText(e))
	}
}

// path returns the path of a finished file for messages, as the user would type it.
func (s *display) path(target string) string {
	if s.counts != nil {
		return s.name(target)
	}
	return printable(relPath(target))
}

// doneText returns the size of a finished file, the time and the rate of its download, the size of the
// resumed part, and how the file was verified. The report has all of that for the files of a list, so the
// text has only the size for small ones.
func (s *display) doneText(e downloader.Event) string {
	o := e.Outcome
	text := size(e.Size)
	switch {
	case o.Fetched == 0 && e.Size > 0:
		text += ", all of it downloaded before"
	case e.Size > 0 && (s.counts == nil || o.Fetched >= minRatedSize):
		text += fmt.Sprintf(" in %s (%s/s)", span(o.Elapsed), meanRate(o))
	}
	if o.Resumed > 0 && o.Fetched > 0 {
		text += fmt.Sprintf(", %s of it downloaded before", size(o.Resumed))
	}
	if s.counts == nil {
		text += proofText(o)
	}
	return text
}

// proofText continues the line of a finished file with how it was verified, for example
// ", your sha256 verified".
func proofText(o downloader.Outcome) string {
	if text := knownDigest(o); text != "" {
		return text
	}
	return ", no digest known"
}

// knownDigest is proofText, but empty if no digest was verified.
func knownDigest(o downloader.Outcome) string {
	whose := map[downloader.Proof]string{
		downloader.ProofSignature: "the signed list's", downloader.ProofYours: "your",
		downloader.ProofList: "the list's", downloader.ProofServer: "the server's",
	}[o.Proof]
	if whose == "" {
		return ""
	}
	return fmt.Sprintf(", %s %s verified", whose, o.Sum.Algorithm())
}

// meanRate returns the received bytes per second. A download of 0 s counts as 1 ms.
func meanRate(o downloader.Outcome) string {
	return size(int64(float64(o.Fetched) / max(o.Elapsed.Seconds(), 0.001)))
}

// note prints information. Only the goroutine may call it.
func (s *display) note(format string, args ...any) {
	if !s.out.quiet {
		s.println("pawl: "+format, args...)
	}
}

// warning prints a warning. Only the goroutine may call it.
func (s *display) warning(format string, args ...any) {
	s.println("pawl: warning: "+format, args...)
}

// fileWarning prints a warning about the file of an event, unless many such were printed before.
// Only the goroutine may call it.
func (s *display) fileWarning(e downloader.Event, text string) {
	line := s.name(e.Target) + ": " + text
	if s.out.admits(message{level: "warning", host: downloader.Origin(e.URL), text: text, line: line, most: maxAlike}) {
		s.warning("%s", line)
	}
}

// triesText continues the number of a try, for example " of 10". It is empty if there is
// no limit.
func triesText(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" of %d", n)
}

// eventFields returns the fields of an event for --json. The names are an interface for
// other programs: they must not change. Each kind has its own fields, because otherwise a
// program could take a field without meaning for a real 0.
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
		f["size"], f["fetched"], f["seconds"], f["current"] = e.Size, e.Outcome.Fetched, e.Outcome.Elapsed.Seconds(), e.Outcome.Current
		optional("resumed", e.Outcome.Resumed, e.Outcome.Resumed > 0)
		optional("complete", "unknown", e.Outcome.Unframed)
		optional("kept", true, e.Outcome.Kept)
		optional("page", true, e.Outcome.Page)
		optional("proof", e.Outcome.Proof, true)
		optional("sum", e.Outcome.Sum, !e.Outcome.Sum.IsZero())
	case downloader.Stopped, downloader.Lost, downloader.Restarted:
		f["held"] = e.Held
	case downloader.Retrying:
		f["attempt"], f["tries"], f["wait"] = e.Retry.Attempt, e.Retry.Tries, e.Retry.Wait.Seconds()
	case downloader.Waiting:
		f["wait"] = e.Retry.Wait.Seconds()
	case downloader.Limited:
		f["connections"] = e.Conns
	}
	if e.Err != nil {
		f["error"] = e.Err.Error()
	}
	if e.Kind == downloader.Stopped && !errors.Is(e.Err, errDeadline) { // --deadline only pauses a download, so there is no exit code of its own
		f["exit"] = exitCode(e.Err)
	}
	return f
}
