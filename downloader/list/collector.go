package list

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

	"pawl/downloader/weburl"
)

const (
	// maxProblems limits how many distinct warnings a collector remembers in order not to
	// repeat them, and how many problems ReadSums collects. It is a guess: nobody reads
	// a thousand messages, and a hostile list must not make pawl hold more.
	maxProblems = 1000
	// maxEntry limits the bytes of one entry: its URLs, header fields and names together.
	// So a file may have 1000 mirrors of 1 KiB each. Every entry that is being downloaded
	// is in memory several times; double the limit would let a hostile list take some
	// hundred MiB more.
	maxEntry = 1 << 20
	// maxMirrors limits the URLs of one file; further ones are ignored. It is a guess:
	// large distributions have some hundred mirrors.
	maxMirrors = 1000
	// maxRepeated limits the warnings about invalid URLs of one entry, and about digests of
	// unknown kinds; one more warning counts the rest. It is a guess, to keep the other
	// messages visible.
	maxRepeated = 10
)

// errEntryTooLong is the problem of an entry if none of its URLs fits into maxEntry.
var errEntryTooLong = fmt.Errorf("entry is longer than %d bytes", maxEntry)

// A collector passes the entries and problems of one list to the consumer. The parsers of
// all formats use it, so all formats have the same checks and limits.
type collector struct {
	name    string // of the list, for messages
	options Options
	base    *url.URL                // Options.Base parsed; nil if it is empty
	yield   func(Entry, error) bool // must not be called once stopped is set
	stopped bool                    // the consumer wants no more values
	// warnedTexts holds the texts that warnOnce has given, at most maxProblems.
	warnedTexts map[string]bool
	unverified  int // digests of unknown kinds so far; see warnUnverified
	// unclear counts the entries without a digest that have a key which looks like one, by the
	// key, at most maxRepeated.
	unclear map[string]int
	lineEnd string // a comma or semicolon after each line of URLs, which is no part of them; "" for none
}

// emit yields a value, unless the consumer has stopped. Everything a parser finds must
// go through it, because calling yield after the consumer has stopped panics.
func (c *collector) emit(e Entry, err error) {
	c.stopped = c.stopped || !c.yield(e, err)
}

// problem reports an error that costs the entry of the line.
func (c *collector) problem(line int, err error) {
	c.emit(Entry{}, &Problem{List: c.name, Line: line, Err: err})
}

// warn reports a problem in spite of which the entry of the line is yielded.
func (c *collector) warn(line int, err error) {
	c.emit(Entry{}, &Problem{List: c.name, Line: line, Err: err, Warning: true})
}

// warnOnce warns, unless it has given the same text for an earlier line of this list. A
// list of a million lines usually has the same option on each.
func (c *collector) warnOnce(line int, err error) {
	text := err.Error()
	if c.warnedTexts[text] {
		return
	}
	if c.warnedTexts == nil {
		c.warnedTexts = make(map[string]bool)
	}
	if len(c.warnedTexts) < maxProblems {
		c.warnedTexts[text] = true
	}
	c.warn(line, err)
}

// warnUnverified warns that a file is not verified, because pawl does not know the kind of
// its digest. A whole list may be so; after the first maxRepeated lines only the rest is
// counted, by warnMoreUnverified.
func (c *collector) warnUnverified(line int, err error) {
	if c.unverified++; c.unverified <= maxRepeated {
		c.warn(line, err)
	}
}

// countUnclear counts keys of an entry that look like digests and are not understood.
// warnMoreUnverified warns of them.
func (c *collector) countUnclear(keys []string) {
	for _, key := range keys {
		if c.unclear == nil {
			c.unclear = make(map[string]int)
		}
		if c.unclear[key] > 0 || len(c.unclear) < maxRepeated {
			c.unclear[key]++
		}
	}
}

// warnMoreUnverified warns of the digests for which warnUnverified has not, and of unclear keys. It
// must be called after the last line, which has number line.
func (c *collector) warnMoreUnverified(line int) {
	for _, key := range slices.Sorted(maps.Keys(c.unclear)) {
		if !c.stopped {
			c.warn(line, fmt.Errorf("key %q looks like a digest and is not understood; entries not verified by it: %d", truncate(key), c.unclear[key]))
		}
	}
	if n := c.unverified - maxRepeated; n > 0 && !c.stopped {
		c.warn(line, fmt.Errorf("%d more digests of unknown kinds ignored; the files are not verified", n))
	}
}

// addExpanded yields e, or with Options.Glob the entries that its URL patterns expand to.
// They are yielded one by one, so a pattern for a million URLs takes no more memory. Digests
// beside the URLs are added to e.
func (c *collector) addExpanded(e Entry) {
	if err := c.takeDigests(&e); err != nil {
		c.problem(e.Line, err)
		return
	}
	if !c.options.Glob {
		c.add(e)
		return
	}
	patterns, count, err := c.patterns(e)
	if err != nil {
		c.problem(e.Line, err)
		return
	}
	for i := int64(0); i < count && !c.stopped; i++ {
		expanded := e
		expanded.URLs = make([]string, len(patterns))
		for j, p := range patterns {
			expanded.URLs[j] = p.url(i)
		}
		expanded.Header = e.Header.Clone() // add changes it
		c.add(expanded)
	}
}

// patterns parses the URLs of e and returns how many entries they expand to. The i-th
// URLs of all patterns are mirrors of one file, so all patterns must have the same count.
func (c *collector) patterns(e Entry) (patterns []*pattern, count int64, err error) {
	for _, u := range e.URLs {
		p, err := parsePattern(u)
		if err != nil {
			return nil, 0, err
		}
		if patterns = append(patterns, p); p.count != patterns[0].count {
			return nil, 0, fmt.Errorf("mirrors of one file expand to different numbers of URLs: %d and %d", patterns[0].count, p.count)
		}
		count = p.count
	}
	if count > 1 && (e.Out != "" || !e.Sum.IsZero() || e.Size >= 0) {
		return nil, 0, fmt.Errorf("a name, checksum or size applies to one file, but the URL expands to %d", count)
	}
	return patterns, count, nil
}

// IgnoredMirrors is the error of a warning about mirrors of an entry that are not used, while the
// entry has another URL.
type IgnoredMirrors struct {
	N           int  // number of these mirrors
	OtherScheme bool // nothing is wrong with them, but their scheme, such as ftp or rsync, is not http or https
	err         error
}

func (m *IgnoredMirrors) Error() string { return m.err.Error() }

func (m *IgnoredMirrors) Unwrap() error { return m.err }

// isOtherScheme reports whether text is a URL with another scheme than http and https.
func isOtherScheme(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (strings.Contains(text, "://") || u.Scheme == "magnet") && u.Scheme != "http" && u.Scheme != "https"
}

// add yields e with its valid URLs, made absolute, up to the limits of an entry. It warns
// about the URLs that it drops; if none is left, it reports a problem instead of the entry.
// It overwrites e.URLs.
func (c *collector) add(e Entry) {
	kept, size := e.URLs[:0], e.lenWithoutURLs()
	var urlErrors []*IgnoredMirrors // of the first maxRepeated invalid URLs
	more := make(map[bool]int)      // further invalid URLs, by isOtherScheme
	dropped := 0
	for _, text := range e.URLs {
		if len(kept) == maxMirrors || size+len(text) > maxEntry {
			dropped++
			continue
		}
		u, err := c.resolve(text)
		switch {
		case err != nil:
			if other := isOtherScheme(strings.Trim(text, blanks)); len(urlErrors) < maxRepeated {
				urlErrors = append(urlErrors, &IgnoredMirrors{1, other, err})
			} else {
				more[other]++
			}
		case size+len(u) > maxEntry: // resolving has made it longer
			dropped++
		default:
			kept, size = append(kept, u), size+len(u)
		}
	}
	if len(kept) == 0 {
		c.problem(e.Line, noURLError(urlErrors, dropped))
		return
	}
	for _, m := range urlErrors {
		c.warn(e.Line, &IgnoredMirrors{m.N, m.OtherScheme, fmt.Errorf("%w; mirror ignored", m.err)})
	}
	for other, n := range more {
		c.warn(e.Line, &IgnoredMirrors{n, other, fmt.Errorf("%d more invalid mirrors ignored", n)})
	}
	c.warnDropped(e.Line, dropped)
	e.URLs, e.List = kept, c.name
	if e.Header.Get("Referer") == "*" { // aria2: the URL itself is the referer
		e.Header.Set("Referer", refererFrom(kept))
	}
	c.emit(e, nil)
}

// noURLError returns the reason why an entry has no usable URL.
func noURLError(urlErrors []*IgnoredMirrors, dropped int) error {
	switch {
	case len(urlErrors) > 0:
		return urlErrors[0].err
	case dropped > 0:
		return errEntryTooLong
	}
	return errors.New("entry has no URL")
}

// warnDropped warns that n URLs of an entry exceed its limits, if n is not 0.
func (c *collector) warnDropped(line, n int) {
	if n > 0 {
		c.warn(line, fmt.Errorf("%d mirrors ignored: an entry may have at most %d URLs and %d bytes", n, maxMirrors, maxEntry))
	}
}

// Len returns the length of e in bytes: its URLs, header fields, names and piece digests
// together. Read yields no entry longer than 1 MiB, and 2 MiB of piece digests.
func (e *Entry) Len() int {
	n := e.lenWithoutURLs() + e.Pieces.Size()
	for _, u := range e.URLs {
		n += len(u)
	}
	return n
}

// lenWithoutURLs returns the length in bytes of the names and header fields of e.
func (e *Entry) lenWithoutURLs() int {
	n := len(e.Out) + len(e.Dir)
	for name, values := range e.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// resolve returns text as an absolute URL, and an error if it is not a valid http or
// https URL. If the list has a base URL, relative URLs are resolved against it.
func (c *collector) resolve(text string) (string, error) {
	text = weburl.Unwrap(text) // a word of a pattern may have blanks: {a, b}
	if c.base != nil && !strings.Contains(text, "://") {
		if u, err := url.Parse(text); err == nil && u.Scheme == "" {
			text = c.base.ResolveReference(u).String()
		}
	}
	return text, weburl.Check(text)
}

// refererFrom returns the first of an entry's URLs as a referer: without user, password
// and fragment (RFC 9110 section 10.1.3). If there are mirrors, the query is removed too,
// because they would see it and it may be a signature.
func refererFrom(urls []string) string {
	u, err := url.Parse(urls[0])
	if err != nil {
		return ""
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	if len(urls) > 1 {
		u.RawQuery, u.ForceQuery = "", false
	}
	return u.String()
}
