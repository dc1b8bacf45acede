package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/store"
)

// This file is how pawl speaks. The rules:
//
//   - Results go to stdout; everything else goes to stderr, behind "pawl:".
//   - No capital at the beginning, no full stop at the end; what the user
//     typed, and what a server sent, is quoted.
//   - What may be a secret in a URL is shown as "…": print sees to it, whatever a message quotes.
//   - An error says what happened to which file; a hint says what to type next.

// A speaker writes the messages. Safe for concurrent use.
type speaker struct {
	stdout, stderr io.Writer
	quiet          bool // errors only
	times          bool // each line on stderr begins with the time; see keepTimes

	mu   sync.Mutex
	post func(line string) // takes the lines while a display owns stderr; guarded by mu
}

func (s *speaker) line(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := fmt.Sprintf(format, args...)
	if s.post != nil {
		s.post(text)
		return
	}
	s.print(text)
}

// print writes a line to stderr. It is for whoever owns that: line, or the
// display that lines are diverted to.
func (s *speaker) print(text string) {
	if s.times {
		text = time.Now().Format("2006-01-02 15:04:05 ") + text
	}
	fmt.Fprintln(s.stderr, downloader.Redact(text))
}

// keepTimes has each further line begin with the local time, if stderr is a log:
// no terminal, and not the journal, which has times of its own. It comes before
// anybody else knows s.
func (s *speaker) keepTimes() {
	_, journal := os.LookupEnv("JOURNAL_STREAM")
	s.times = !journal && !isTerminal(s.stderr)
}

// divert gives all further lines to post, or to stderr again if that is nil. Before
// any of them it calls first, which may print.
func (s *speaker) divert(post func(string), first func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first()
	s.post = post
}

// note tells what is worth knowing and no problem.
func (s *speaker) note(format string, args ...any) {
	if !s.quiet {
		s.line("pawl: "+format, args...)
	}
}

// warn tells of something that the user may want to do something about.
func (s *speaker) warn(format string, args ...any) {
	s.line("pawl: warning: "+format, args...)
}

// failure tells err, with a hint where there is one, and returns the exit code.
func (s *speaker) failure(err error) int {
	var told toldError
	if err != nil && !errors.As(err, &told) {
		s.tell(err, hint(err, ""))
	}
	return exitCode(err)
}

func (s *speaker) tell(err error, hint string) {
	s.line("pawl: error: %s", printable(err.Error()))
	if hint != "" {
		s.line("pawl: hint: %s", hint)
	}
}

// A toldError has been told to the user; only its exit code is left to use.
type toldError struct{ error }

func (e toldError) Unwrap() error { return e.error }

// errDeadline is the cause of a context that --deadline ended.
var errDeadline = errors.New("the deadline has passed")

// exitKinds maps kinds of errors to exit codes. Of several failures the first
// one here is the exit code; of several kinds that one error is, too.
var exitKinds = []struct {
	kind error
	code int
}{
	{failure.ErrUsage, 2},
	{store.ErrNotFound, 2},
	{failure.ErrChecksum, 32},
	{store.ErrNoSpace, 9},
	{syscall.ENOSPC, 9},
	{syscall.EDQUOT, 9},
	{store.ErrBusy, 3},
	{store.ErrGone, 3},
	{store.ErrNoDirectory, 3},
	{store.ErrState, 3},
	{failure.ErrChanged, 17},
	{store.ErrForeign, 13},
	{failure.ErrClaimed, 13},
	{store.ErrNotOurs, 3},
	{failure.ErrAuth, 6},
	{failure.ErrRefused, 8},
	{failure.ErrProtocol, 7},
	{failure.ErrTLS, 5},
	{failure.ErrNetwork, 4},
	{failure.ErrThrottled, 75},
	{errDeadline, 75},
	{lockedError{}, 75},
	{listError{}, 2},
}

// exitOrder ranks exit codes: of several failures the first here is the exit code.
var exitOrder = []int{143, 130, 129, 32, 9, 3, 17, 13, 6, 8, 7, 5, 4, 2, 1, 75}

// worstCode returns the exit code of failures that have codes, 0 without any.
func worstCode(codes map[int]int) int {
	for _, code := range exitOrder {
		if codes[code] > 0 {
			return code
		}
	}
	return 0
}

// exitCode returns the exit code of err: a signal's, else that of the worst
// of the failures in it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if s, ok := isInterrupt(err); ok {
		return 128 + int(s.Signal)
	}
	var code codeError
	if errors.As(err, &code) {
		return int(code)
	}
	for _, k := range exitKinds {
		if errors.Is(err, k.kind) {
			return k.code
		}
		if k.kind == store.ErrState && isLocal(err) {
			return k.code
		}
	}
	return 1
}

// isLocal reports whether err is of the file system.
func isLocal(err error) bool {
	var path *fs.PathError
	var link *os.LinkError
	return errors.As(err, &path) || errors.As(err, &link)
}

// hint says what to type next. id is the download that err is about, if
// something of it is kept.
func hint(err error, id store.ID) string {
	var claimed *downloader.ClaimedError
	var output *outputError
	var locked lockedError
	var unread listError
	var setting *settingError
	var much *mirror.LimitError
	switch {
	case errors.As(err, &setting):
		return setting.hint
	case errors.As(err, &much):
		return fmt.Sprintf("if the lists are right, allow it with: --max-delete %d", much.Delete)
	case errors.Is(err, mirror.ErrUndeleted):
		return "see to their directories, then run the same command again"
	case errors.As(err, new(largeListError)), errors.Is(err, list.ErrTooLong):
		return "allow it with --max-list-size N"
	case hintAllow(err) != "":
		return hintAllow(err)
	case errors.As(err, &unread):
		return "a list is a file, the address of one, or - for standard input"
	case errors.As(err, &output) && exitCode(err) == 9:
		return "free some space, or name a file on another disk"
	case errors.As(err, &output):
		return "name another file"
	case errors.Is(err, failure.ErrUsage):
		return "see: pawl --help"
	case errors.Is(err, store.ErrNotFound):
		return "see what there is with: pawl list --all"
	case errors.As(err, &locked):
		return "wait for it to end, or stop it"
	case errors.Is(err, store.ErrBusy):
		return "see it with: pawl list"
	case errors.Is(err, store.ErrNewer):
		return "use that pawl, or another state directory with --state DIR"
	case errors.Is(err, store.ErrNoDirectory):
		return "is its disk mounted? make the directory to begin again there, or forget the download with: pawl remove " + string(id)
	case errors.Is(err, store.ErrGone):
		return "run the same command again"
	case errors.Is(err, store.ErrCannotTruncate):
		return "delete that file, then run the same command again"
	case errors.Is(err, store.ErrState) && errors.Is(err, store.ErrNotOurs):
		return "give another state directory with --state DIR or, if nobody has tampered with this one, make it yours with chown and chmod go-w"
	case errors.Is(err, store.ErrNotOurs):
		return "if nobody has tampered with it, make it yours alone; else give another name with -o FILE, or another directory with -d DIR"
	case errors.Is(err, store.ErrState) && exitCode(err) == 9:
		return "free some space, or give another state directory with --state DIR"
	case errors.Is(err, store.ErrState):
		return "give another state directory with --state DIR"
	case errors.Is(err, store.ErrIrregular):
		return "give another name with -o FILE, or another directory with -d DIR"
	case errors.Is(err, store.ErrForeign):
		return "give another name with -o FILE, or replace the file with --overwrite"
	case errors.As(err, &claimed):
		return fmt.Sprintf("give another name with -o FILE or -d DIR; if it is the same file at a new address: pawl resume --url URL %s", claimed.Record.ID)
	case errors.Is(err, failure.ErrOtherFile):
		return "check the digest; nothing was kept of what the server sent"
	case errors.Is(err, failure.ErrChecksum):
		return ""
	case errors.Is(err, failure.ErrChanged) && id != "":
		return fmt.Sprintf("what has arrived is kept; begin again with --restart, or give another address with: pawl resume --url URL %s", id)
	case errors.Is(err, failure.ErrAuth) && isProxy(err):
		return "give user and password of the proxy in http_proxy, as http://USER:PASSWORD@HOST"
	case errors.Is(err, failure.ErrAuth):
		return "give credentials with -H 'Authorization: …'"
	case errors.Is(err, http.ErrSchemeMismatch):
		return "try it with http:// in place of https://"
	case errors.Is(err, failure.ErrDowngrade):
		return "follow it all the same with --insecure"
	case errors.Is(err, failure.ErrTLS):
		return "trust a certificate with --cacert FILE, or do without proof with --insecure"
	case errors.Is(err, syscall.EFBIG):
		return "raise the limit of file sizes (ulimit -f), or give another directory with -d DIR"
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS), errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ENOTDIR):
		return "give another directory with -d DIR, or another name with -o FILE"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "allow more open files (ulimit -n), or use fewer connections with -x"
	case exitCode(err) == 9 && id != "":
		return "free some space, then: pawl resume " + string(id)
	case exitCode(err) == 9:
		return "free some space, or give another directory with -d DIR"
	case isLocal(err) && id == "":
		return "run the same command again, or give another directory with -d DIR"
	}
	return hintServer(err, id)
}

// isProxy reports whether it is a proxy that wants credentials.
func isProxy(err error) bool {
	var status *failure.StatusError
	return errors.As(err, &status) && status.Code == http.StatusProxyAuthRequired
}

// hintAllow is hint for what an option allows.
func hintAllow(err error) string {
	switch {
	case errors.Is(err, failure.ErrTooLarge):
		return "allow it with --max-size N"
	case errors.Is(err, store.ErrLink):
		return "remove the link or, if it is meant, follow it with: pawl mirror --follow-links"
	case errors.Is(err, failure.ErrPrivate):
		return "if you trust who names it, allow it with --allow-private"
	case errors.Is(err, failure.ErrScheme):
		return "allow it with --proto http,https"
	}
	return ""
}

// hintServer is hint for what a server or the way to it did.
func hintServer(err error, id store.ID) string {
	var status *failure.StatusError
	server := errors.As(err, &status) && status.Code >= 500
	then := "run the same command again"
	if id != "" {
		then = "what has arrived is kept; go on with: pawl resume " + string(id)
	}
	switch {
	case errors.Is(err, failure.ErrPage) && id != "":
		return "what has arrived is kept; log in, or give -H 'Cookie: …', then: pawl resume " + string(id)
	case errors.Is(err, failure.ErrPage):
		return "log in, or give -H 'Cookie: …'; what was downloaded before is left as it was"
	case (errors.Is(err, failure.ErrThrottled) || server) && id != "":
		return "what has arrived is kept; later: pawl resume " + string(id)
	case errors.Is(err, failure.ErrThrottled), server:
		return "run the same command again later"
	case errors.Is(err, failure.ErrRefused) && id != "":
		return fmt.Sprintf("%s; or from another address, with --url URL", then)
	case errors.Is(err, failure.ErrRefused), errors.Is(err, failure.ErrProtocol) && id == "":
		return "check the address"
	case errors.Is(err, failure.ErrTrickle):
		return then + "; accept a lower rate with --min-rate RATE:D"
	case errors.Is(err, failure.ErrSilent):
		return then + "; if the server is only slow, give it more time with --stall-timeout 5m"
	case errors.Is(err, failure.ErrNetwork), id != "":
		return then
	}
	return ""
}

// printable makes of text from elsewhere one line without control characters, and
// without those that turn the direction of the text. Bytes that are not UTF-8 are
// escaped.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, escaped(text))
}

// escaped returns text with each byte that is not UTF-8 as \xNN, for example "caf\xe9".
// It is for messages, and for JSON, which has no such bytes.
func escaped(text string) string {
	if utf8.ValidString(text) {
		return text
	}
	var b strings.Builder
	for i, r := range text {
		if _, size := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, text[i])
			continue
		}
		b.WriteRune(r)
	}
	return b.String()
}

// nearby returns path as the user would type it.
func nearby(path string) string {
	wd, err := os.Getwd()
	if err != nil {
		return path
	}
	rel, err := filepath.Rel(wd, path)
	if err != nil || !filepath.IsLocal(rel) {
		return path
	}
	return rel
}
