package list

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

const (
	// mostWarned is how many warnings are remembered, not to be given twice.
	mostWarned = 1000
	// maxEntry is how many bytes an entry may have: its URLs, header fields and names
	// together. A file may have 1000 mirrors of 1 KiB then. Each entry that is fetched is in
	// memory several times, so double costs a run of a hostile list some hundred MiB more.
	maxEntry = 1 << 20
	// maxMirrors is how many URLs one file may have. More are not used.
	maxMirrors = 1000
	// mostRefused is how many URLs of one entry are reported one by one.
	mostRefused = 10
)

// errEntry is the problem of an entry no URL of which fits into maxEntry.
var errEntry = fmt.Errorf("an entry longer than %d bytes", maxEntry)

// A collector hands on what the reader of a format finds. All formats have its
// checks of URLs in common.
type collector struct {
	name    string
	o       Options
	base    *url.URL // of o; nil for none
	yield   func(Entry, error) bool
	stopped bool            // yield wants no more
	warned  map[string]bool // texts of warnings that were given
}

// give yields, unless nothing more is wanted.
func (c *collector) give(e Entry, err error) {
	c.stopped = c.stopped || !c.yield(e, err)
}

// problem tells what is wrong with a line.
func (c *collector) problem(line int, err error) {
	c.give(Entry{}, &Problem{List: c.name, Line: line, Err: err})
}

// warn tells what is worth knowing about a line.
func (c *collector) warn(line int, err error) {
	c.give(Entry{}, &Problem{List: c.name, Line: line, Err: err, Warning: true})
}

// warnOnce is warn, for the first line only that has this to tell.
func (c *collector) warnOnce(line int, err error) {
	text := err.Error()
	if c.warned[text] {
		return
	}
	if c.warned == nil {
		c.warned = make(map[string]bool)
	}
	if len(c.warned) < mostWarned {
		c.warned[text] = true
	}
	c.warn(line, err)
}

// entry yields what e stands for: itself, or the files of its patterns.
func (c *collector) entry(e Entry) {
	if !c.o.Glob {
		c.one(e)
		return
	}
	all, count, err := c.patterns(e)
	if err != nil {
		c.problem(e.Line, err)
		return
	}
	for i := int64(0); i < count && !c.stopped; i++ {
		f := e
		f.URLs = make([]string, len(all))
		for j, p := range all {
			f.URLs[j] = p.at(i)
		}
		f.Header = e.Header.Clone()
		c.one(f)
	}
}

// patterns returns the patterns of e's URLs. The i-th URLs of all of them are
// mirrors of one file, so each has as many.
func (c *collector) patterns(e Entry) (all []*pattern, count int64, err error) {
	for _, u := range e.URLs {
		p, err := parsePattern(u)
		if err != nil {
			return nil, 0, err
		}
		if all = append(all, p); p.count != all[0].count {
			return nil, 0, fmt.Errorf("mirrors of one file stand for %d and for %d URLs", all[0].count, p.count)
		}
		count = p.count
	}
	if count > 1 && (e.Out != "" || !e.Sum.IsZero() || e.Size >= 0) {
		return nil, 0, fmt.Errorf("name, checksum or size of one file, but the URL stands for %d", count)
	}
	return all, count, nil
}

// one yields e with those of its URLs that can be downloaded and that fit into it. e.URLs
// is changed.
func (c *collector) one(e Entry) {
	kept, size := e.URLs[:0], e.size()
	var refused []error
	beyond, wrong := 0, 0 // URLs that do not fit, or cannot be downloaded
	for _, text := range e.URLs {
		if len(kept) == maxMirrors || size+len(text) > maxEntry {
			beyond++
			continue
		}
		u, err := c.absolute(text)
		switch {
		case err != nil:
			if wrong++; wrong <= mostRefused {
				refused = append(refused, err)
			}
		case size+len(u) > maxEntry:
			beyond++
		default:
			kept, size = append(kept, u), size+len(u)
		}
	}
	if len(kept) == 0 {
		c.problem(e.Line, noURL(refused, beyond))
		return
	}
	for _, err := range refused {
		c.warn(e.Line, fmt.Errorf("%w, and not used as a mirror", err))
	}
	if n := wrong - len(refused); n > 0 {
		c.warn(e.Line, fmt.Errorf("%d more of its URLs cannot be used", n))
	}
	c.warnBeyond(e.Line, beyond)
	e.URLs, e.List = kept, c.name
	if e.Header.Get("Referer") == "*" { // as aria2 has it
		e.Header.Set("Referer", refererOf(kept))
	}
	c.give(e, nil)
}

// noURL returns why an entry has no URL that can be used.
func noURL(refused []error, beyond int) error {
	switch {
	case len(refused) > 0:
		return refused[0]
	case beyond > 0:
		return errEntry
	}
	return errors.New("an entry without a URL")
}

// warnBeyond tells that n URLs of an entry do not fit into it.
func (c *collector) warnBeyond(line, n int) {
	if n > 0 {
		c.warn(line, fmt.Errorf("%d of its URLs are not used: an entry has %d URLs and %d bytes at most", n, maxMirrors, maxEntry))
	}
}

// Len returns how many bytes e has: its URLs, header fields and names together.
func (e *Entry) Len() int {
	n := e.size()
	for _, u := range e.URLs {
		n += len(u)
	}
	return n
}

// size returns how many bytes e has without its URLs.
func (e *Entry) size() int {
	n := len(e.Out) + len(e.Dir)
	for name, values := range e.Header {
		for _, v := range values {
			n += len(name) + len(v)
		}
	}
	return n
}

// absolute returns text as a URL that can be downloaded, resolved against the
// base if it is relative and there is one.
func (c *collector) absolute(text string) (string, error) {
	text = strings.Trim(text, blanks) // a word of a pattern may have some
	if c.base != nil && !strings.Contains(text, "://") {
		if u, err := url.Parse(text); err == nil && u.Scheme == "" {
			text = c.base.ResolveReference(u).String()
		}
	}
	return text, checkURL(text)
}

// refererOf returns the first of the URLs of an entry as a referer: without user, password
// and fragment (RFC 9110 §10.1.3), and without its query, which may be a signature, if
// mirrors are to see it.
func refererOf(urls []string) string {
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
