package list

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// mostWarned is how many warnings are remembered, not to be given twice.
const mostWarned = 1000

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

// one yields e with those of its URLs that can be downloaded. e.URLs is changed.
func (c *collector) one(e Entry) {
	kept := e.URLs[:0]
	var refused []error
	for _, text := range e.URLs {
		u, err := c.absolute(text)
		if err != nil {
			refused = append(refused, err)
			continue
		}
		kept = append(kept, u)
	}
	if len(kept) == 0 {
		if len(refused) == 0 {
			refused = append(refused, errors.New("an entry without a URL"))
		}
		c.problem(e.Line, refused[0])
		return
	}
	for _, err := range refused {
		c.warn(e.Line, fmt.Errorf("%w, and not used as a mirror", err))
	}
	e.URLs, e.List = kept, c.name
	if e.Header.Get("Referer") == "*" { // as aria2 has it
		e.Header.Set("Referer", shownReferer(kept[0]))
	}
	c.give(e, nil)
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

// shownReferer returns a good URL as a referer: without user, password and
// fragment (RFC 9110 §10.1.3).
func shownReferer(s string) string {
	u, err := url.Parse(s)
	if err != nil {
		return ""
	}
	u.User, u.Fragment, u.RawFragment = nil, "", ""
	return u.String()
}
