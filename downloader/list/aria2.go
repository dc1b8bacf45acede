package list

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// maxFields is the most bytes that the header fields of one entry may have.
const maxFields = maxLine

// aria2Reader reads the input file of aria2(1): a line of URLs, which are mirrors
// of one file, and indented lines of options for it. An entry ends where the next
// one begins, so it is yielded then.
type aria2Reader struct {
	c          *collector
	e          Entry // the one being read, if begun
	begun, bad bool

	fields                         int    // bytes of e.Header
	referer, agent, user, password string // of options
}

// begin starts an entry.
func (r *aria2Reader) begin(line int) {
	*r = aria2Reader{c: r.c, begun: true, e: Entry{Size: -1, Line: line}}
}

// fail tells what is wrong with a line, and drops the entry that it is of.
func (r *aria2Reader) fail(line int, err error) {
	r.bad = true
	r.c.problem(line, err)
}

func (r *aria2Reader) line(text []byte, n int) {
	if isBlank(text[0]) {
		r.option(strings.Trim(string(text), blanks), n)
		return
	}
	r.finish()
	r.begin(n)
	for u, rest, more := "", string(text), true; more; {
		u, rest, more = strings.Cut(rest, "\t")
		if u = strings.Trim(u, blanks); u != "" {
			r.e.URLs = append(r.e.URLs, u)
		}
	}
}

func (r *aria2Reader) skip(begin []byte) {
	if !isBlank(begin[0]) {
		r.finish()
		r.begin(0)
	}
	r.bad = true // an entry that has lost its URL, or an option
}

func (r *aria2Reader) end() error {
	r.finish()
	return nil
}

// finish yields the entry that was begun, if it is good.
func (r *aria2Reader) finish() {
	if !r.begun || r.bad {
		return
	}
	r.preset("Referer", r.referer)
	r.preset("User-Agent", r.agent)
	if r.user != "" {
		r.preset("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(r.user+":"+r.password)))
	}
	r.c.entry(r.e)
}

// preset sets a header field of an option. An explicit one goes before.
func (r *aria2Reader) preset(name, value string) {
	if value != "" && r.e.Header.Get(name) == "" {
		r.add(name, value)
	}
}

func (r *aria2Reader) add(name, value string) {
	if r.e.Header == nil {
		r.e.Header = make(http.Header)
	}
	r.e.Header.Add(name, value)
}

// option reads a line "name=value" that was indented.
func (r *aria2Reader) option(text string, n int) {
	name, value, ok := strings.Cut(text, "=")
	name, value = strings.Trim(name, blanks), strings.Trim(value, blanks)
	switch {
	case !r.begun:
		r.c.problem(n, errors.New("an indented line is an option of the URL above it, and there is none"))
		return
	case strings.Contains(name, "://"):
		r.c.problem(n, fmt.Errorf("%q is indented, as options are and URLs are not", shownURL(text)))
		return
	case !ok:
		r.fail(n, errors.New("an indented line is not of the form name=value"))
		return
	}
	if err := r.set(name, value, n); err != nil {
		r.fail(n, err)
	}
}
