package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"pawl/downloader/weburl"
)

// The rules for all messages of pawl:
//
//   - Results (paths, tables, JSON, -o -) go to stdout. Everything else goes to stderr
//     and begins with "pawl:".
//   - A message begins in lower case and has no full stop. Text that the user typed or a
//     server sent is quoted with %q.
//   - Names of files may have any bytes. Callers need not care, because each line is made printable.
//   - A secret in a URL is shown as "…". Callers need not care, because print redacts
//     every line.
//   - An error names the file and the event. A hint is the next command to type.

// A printer writes messages. It is safe for concurrent use.
type printer struct {
	stdout, stderr io.Writer
	quiet          bool // print only warnings and errors; set before the first message
	timestamps     bool // begin each line on stderr with the time; see addTimestamps
	look           look // of stderr; set before the first message

	repeats *repeats // hides messages of the same kind; nil if all are printed

	mu   sync.Mutex
	post func(line string) // receives the lines while a display owns stderr, else nil; guarded by mu
}

// line prints a line to stderr, or passes it to the display that owns stderr. All methods
// below use it. format must begin with "pawl: ".
func (p *printer) line(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := printable(fmt.Sprintf(format, args...))
	if p.post != nil {
		p.post(text)
		return
	}
	p.print(text)
}

// print writes a printable line to stderr at once. Only the owner of stderr may call it: line, or
// the display that receives the lines. Everybody else must use line, or the text ends up
// in the middle of the progress bar.
func (p *printer) print(text string) {
	if p.timestamps {
		text = time.Now().Format("2006-01-02 15:04:05 ") + text
	}
	fmt.Fprintln(p.stderr, p.look.decorate(p.look.fold(weburl.RedactText(text))))
}

// decorate colors the word of a line that says how bad it is. A hint needs none.
func (l look) decorate(line string) string {
	for word, color := range map[string]string{"error:": red, "warning:": magenta} {
		if rest, ok := strings.CutPrefix(line, "pawl: "+word); ok {
			return "pawl: " + l.paint(color, word) + rest
		}
	}
	return line
}

// addTimestamps makes each later line begin with the local time, for example "2026-03-31
// 02:00:05 pawl: …", if stderr is a log file. A terminal needs no times, and the journal
// of systemd has its own. It must be called before another goroutine uses p.
func (p *printer) addTimestamps() {
	_, journal := os.LookupEnv("JOURNAL_STREAM")
	p.timestamps = !journal && !isTerminal(p.stderr)
}

// divert passes all later lines to post instead of stderr, or to stderr again if post is
// nil. It calls first before any of these lines; first may call print, but must not call
// line, because divert holds the lock.
func (p *printer) divert(post func(string), first func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	first()
	p.post = post
}

// note prints information. --quiet suppresses it.
func (p *printer) note(format string, args ...any) {
	if !p.quiet {
		p.line("pawl: "+format, args...)
	}
}

// warn prints a problem that did not stop pawl, but may need an action by the user.
func (p *printer) warn(format string, args ...any) {
	p.line("pawl: warning: "+format, args...)
}

// admits reports whether a message must be printed, and is not hidden because many of its kind
// were printed before. printRepeats must be called later.
func (p *printer) admits(m message) bool { return p.repeats == nil || p.repeats.admit(m) }

// printRepeats prints how many messages were hidden.
func (p *printer) printRepeats() {
	if p.repeats == nil {
		return
	}
	for _, line := range p.repeats.rest() {
		p.line("%s", line)
	}
}

// report prints an error and, if it is not empty, the hint.
func (p *printer) report(err error, hint string) {
	p.line("pawl: error: %s", printable(err.Error()))
	if hint != "" {
		p.line("pawl: hint: %s", hint)
	}
}

// reportExit prints the error that ends the program, with its hint, unless it has been
// reported before. It returns the exit code; a nil error is 0.
func (p *printer) reportExit(err error) int {
	var reported reportedError
	if err != nil && !errors.As(err, &reported) {
		p.report(err, hint(err, ""))
	}
	return exitCode(err)
}

// A reportedError has been printed already. Only its exit code is still needed.
type reportedError struct{ error }

func (e reportedError) Unwrap() error { return e.error }
