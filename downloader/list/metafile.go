package list

import (
	"cmp"
	"encoding/xml"
	"errors"
	"slices"
	"strconv"
	"strings"

	"pawl/chunk"
)

// A mirror is a url element.
type mirror struct {
	url      string
	priority int // lower first
}

// A metafile is a file element on its way to become an Entry.
type metafile struct {
	e       Entry
	mirrors []mirror
	size    int   // bytes of mirrors, maxEntry at most
	beyond  int   // URLs that do not fit
	err     error // the first thing that is wrong with it
}

// note keeps the first error.
func (f *metafile) note(err error) {
	if f.err == nil {
		f.err = err
	}
}

// file reads a file element and yields what it stands for. The error is one of
// the document; one of the file is a problem of the list.
func (r *metalinkReader) file(start xml.StartElement) error {
	f := &metafile{e: Entry{Size: -1, Line: r.line}}
	var err error
	f.e.Out, err = localPath(attribute(start, "name"))
	f.note(err)
	for outside := r.depth - 1; r.depth > outside; {
		t, err := r.next()
		if err != nil {
			return err
		}
		if start, ok := t.(xml.StartElement); ok {
			if err := r.child(f, start); err != nil {
				return err
			}
		}
	}
	r.finish(f)
	return nil
}

// child reads an element in a file. The containers of Metalink 3 are passed
// through, so that their elements are read as the file's own.
func (r *metalinkReader) child(f *metafile, start xml.StartElement) error {
	switch {
	case r.isOurs(start, "verification"), r.isOurs(start, "resources"):
		return nil
	case r.isOurs(start, "size"), r.isOurs(start, "hash"), r.isOurs(start, "url"):
	default:
		return r.skip()
	}
	text, err := r.text()
	if err != nil {
		return err
	}
	switch start.Name.Local {
	case "size":
		if text == "" {
			break
		}
		f.e.Size, err = parseSize(text)
	case "hash":
		err = f.hash(attribute(start, "type"), text)
	case "url":
		f.url(start, text)
	}
	f.note(err)
	return nil
}

// hash takes a digest of the whole file, if it is stronger than one before. One
// of an unknown algorithm is passed over (RFC 5854 §4.2.4).
func (f *metafile) hash(algorithm, digits string) error {
	name := strings.Replace(strings.ToLower(algorithm), "sha-", "sha", 1)
	if !slices.Contains(strength, name) {
		return nil
	}
	sum, err := chunk.ParseSum(name + ":" + digits)
	if err != nil {
		return err
	}
	f.e.Sum = stronger(f.e.Sum, sum)
	return nil
}

// url takes a mirror, unless it is a torrent. Metalink 3 has preferences up to
// 100, higher first; RFC 5854 has priorities from 1, lower first. Without one a
// mirror is the last resort.
func (f *metafile) url(start xml.StartElement, text string) {
	if attribute(start, "type") == "bittorrent" || text == "" {
		return
	}
	m := mirror{text, 999999}
	if n, err := strconv.Atoi(attribute(start, "priority")); err == nil && n >= 1 {
		m.priority = n
	} else if n, err := strconv.Atoi(attribute(start, "preference")); err == nil {
		m.priority = 101 - min(max(n, 0), 100)
	}
	if len(f.mirrors) == maxMirrors || f.size+len(text) > maxEntry {
		f.beyond++
		return
	}
	f.mirrors, f.size = append(f.mirrors, m), f.size+len(text)
}

// finish yields the file, or its problem.
func (r *metalinkReader) finish(f *metafile) {
	if len(f.mirrors) == 0 && f.beyond > 0 {
		f.note(errEntry)
	} else if len(f.mirrors) == 0 {
		f.note(errors.New("a file without a URL"))
	}
	if f.err != nil {
		r.c.problem(f.e.Line, f.err)
		return
	}
	slices.SortStableFunc(f.mirrors, func(a, b mirror) int { return cmp.Compare(a.priority, b.priority) })
	for _, m := range f.mirrors {
		f.e.URLs = append(f.e.URLs, m.url)
	}
	r.c.warnBeyond(f.e.Line, f.beyond)
	r.c.one(f.e)
}
