package list

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"pawl/chunk"
	"pawl/downloader/aria2"
	"pawl/downloader/credentials"
)

// maxHeaderBytes limits the header options of one entry. Without it an entry could grow
// without end before maxEntry is checked, line by line.
const maxHeaderBytes = maxLine

// An aria2Reader parses the input file of aria2(1). A line that does not begin with a
// blank holds the URLs of one file, separated by tabs; the indented lines after it are
// options of the form name=value:
//
//	http://a/x.iso	http://b/x.iso
//	  out=x.iso
//	  checksum=sha-256=1ed1d1...
//
// An entry is complete only when the next one begins, so it is yielded then.
//
// The same files are written for other programs, so a line may also have digests and sizes
// after its URLs, or call a program for downloads; see parseSources.
type aria2Reader struct {
	c       *collector
	entry   Entry    // the current entry, if started
	sums    []string // digests of the files of entry, if there are several of both
	oneFile bool     // all URLs of entry are of one file
	started bool     // a line with URLs has been read
	failed  bool     // a line of the current entry is faulty; it must not be yielded
	command string   // a command that goes on in the next line, "" for none

	headerBytes int // length of the header options of the current entry
	// Values of the options of these names. They become header fields in finish, since
	// a later header option takes precedence over them.
	referer, userAgent, user, password string
}

// start begins a new entry and discards the current one.
func (r *aria2Reader) start(line int) {
	*r = aria2Reader{c: r.c, started: true, entry: Entry{Size: -1, Line: line}}
}

// fail reports a problem and drops the current entry.
func (r *aria2Reader) fail(line int, err error) {
	r.failed = true
	r.c.problem(line, err)
}

func (r *aria2Reader) parseLine(text []byte, n int) {
	if option := strings.Trim(string(text), blanks); r.command == "" && isBlank(text[0]) && !isIndentedURL(option) {
		r.parseOption(option, n)
		return
	}
	line := r.command + string(text)
	r.command = ""
	r.finish()
	r.start(n)
	r.parseSources(line)
}

func (r *aria2Reader) skipLongLine(begin []byte) {
	if !isBlank(begin[0]) {
		r.finish()
		r.start(0)
	}
	r.failed = true // the line was either the URLs or an option of this entry
}

func (r *aria2Reader) end() error {
	if r.command != "" {
		line := r.command
		r.start(r.entry.Line)
		r.parseSources(line)
	}
	r.finish()
	return nil
}

// finish yields the files of the current entry, unless it has failed or there is none.
func (r *aria2Reader) finish() {
	if !r.started || r.failed {
		return
	}
	r.setDefaultHeader("Referer", r.referer)
	r.setDefaultHeader("User-Agent", r.userAgent)
	if r.user != "" {
		r.setDefaultHeader("Authorization", credentials.Basic(r.user, r.password))
	}
	if len(r.entry.URLs) < 2 || r.isOneFile() {
		if !r.failed {
			r.c.addExpanded(r.entry)
		}
		return
	}
	for _, e := range r.files() {
		r.c.addExpanded(e)
	}
}

// setDefaultHeader sets a header field, unless the value is empty or a header option has
// set the field already.
func (r *aria2Reader) setDefaultHeader(name, value string) {
	if value != "" && r.entry.Header.Get(name) == "" {
		r.addHeader(name, value)
	}
}

func (r *aria2Reader) addHeader(name, value string) {
	if r.entry.Header == nil {
		r.entry.Header = make(http.Header)
	}
	r.entry.Header.Add(name, value)
}

// isIndentedURL reports whether an indented line is a URL and no option. Lists of URLs are often
// pasted with their indentation.
func isIndentedURL(text string) bool {
	scheme, _, ok := strings.Cut(text, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
}

// parseOption parses an indented line. An indented URL of another scheme has a message of its own;
// the entry above it stays valid.
func (r *aria2Reader) parseOption(text string, n int) {
	name, value, ok := strings.Cut(text, "=")
	name, value = strings.Trim(name, blanks), strings.Trim(value, blanks)
	switch {
	case !r.started:
		r.c.problem(n, errors.New("indented line is an option, but there is no URL above it"))
		return
	case strings.Contains(name, "://"):
		r.c.problem(n, fmt.Errorf("%q is indented, but only options may be", redactURL(text)))
		return
	case !ok:
		r.fail(n, errors.New("indented line is not of the form name=value"))
		return
	}
	if err := r.setOption(name, value, n); err != nil {
		r.fail(n, err)
	}
}

func setOf(words string) map[string]bool {
	set := make(map[string]bool)
	for w := range strings.FieldsSeq(words) {
		set[w] = true
	}
	return set
}

// setOption applies an option to the current entry. As in aria2, the last of several
// wins, except for header, which adds. An empty value resets the option. The error is
// about the value; it must not contain a secret.
func (r *aria2Reader) setOption(name, value string, line int) (err error) {
	switch name {
	case "out":
		r.oneFile = true
		if r.entry.Out = ""; value != "" {
			r.entry.Out, err = localPath(value)
		}
	case "dir":
		r.entry.Dir, err = value, checkDir(value)
	case "checksum":
		if r.entry.Sum = (chunk.Sum{}); value != "" {
			r.entry.Sum, err = r.parseChecksum(value, line)
		}
	case "size":
		if r.entry.Size = -1; value != "" {
			r.entry.Size, err = parseSize(value)
		}
	default:
		return r.setRequestOption(name, value, line)
	}
	return err
}

// parseChecksum parses the option checksum, ALGORITHM=HEX. It warns of an unknown algorithm.
func (r *aria2Reader) parseChecksum(value string, line int) (chunk.Sum, error) {
	sum, err := chunk.ParseSum(value)
	i := strings.IndexAny(value, ":=")
	if err == nil || i < 0 {
		return sum, err
	}
	named, namedErr := parseNamedSum(value[:i], value[i+1:])
	var unknown unknownKindError
	switch {
	case errors.As(namedErr, &unknown):
		r.c.warnUnverified(line, namedErr)
		return chunk.Sum{}, nil
	case namedErr == nil:
		return named, nil
	}
	return sum, err
}

// setRequestOption applies an option of the request. It warns if it does not know or not
// support the option.
func (r *aria2Reader) setRequestOption(name, value string, line int) error {
	switch name {
	case "header":
		return r.parseHeader(value)
	case "referer":
		r.referer = value
		return checkHeaderField(name, value)
	case "user-agent":
		r.userAgent = value
		return checkHeaderField(name, value)
	case "http-user":
		// A colon would move the border between user and password in Basic credentials.
		if r.user = value; strings.Contains(value, ":") {
			return errors.New("http-user contains a colon (RFC 7617 section 2)")
		}
		return checkHeaderField(name, value)
	case "http-passwd":
		r.password = value
		return checkHeaderField(name, value)
	}
	switch option, _ := aria2.Lookup(name); option.Entry {
	case aria2.EntryUnsupported:
		r.c.warnOnce(line, fmt.Errorf("unsupported option %q ignored", name))
	case aria2.EntryUnknown:
		r.c.warnOnce(line, fmt.Errorf("unknown option %q ignored", truncate(name)))
	}
	return nil
}

// parseHeader adds a header field of the form "Name: value".
func (r *aria2Reader) parseHeader(text string) error {
	name, value, ok := strings.Cut(text, ":")
	value = strings.Trim(value, blanks)
	if !ok {
		name = ""
	}
	if err := checkHeaderField(name, value); err != nil {
		return err
	}
	if r.headerBytes += len(text); r.headerBytes > maxHeaderBytes {
		return fmt.Errorf("header fields of the entry are longer than %d bytes", maxHeaderBytes)
	}
	r.addHeader(name, value)
	return nil
}
