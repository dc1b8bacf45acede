package list

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// isExplicitMarker reports whether a line is the marker of a list of conda or of Google's
// Storage Transfer Service, which says nothing about files.
func isExplicitMarker(line string) bool { return line == "@EXPLICIT" || line == "TsvHttpData-1.0" }

// parseSources parses the first line of an entry. Tabs separate its fields, of which those
// after a URL may be digests and sizes. Blanks may separate a URL from its digest:
//
//	http://h/x.iso                        the simplest list
//	http://a/x.iso	http://b/x.iso        aria2
//	http://h/get?id=1	d/x.iso           a table of two columns
//	http://h/get?id=1 d/x.iso           the same with a blank
//	http://a/x.iso http://b/x.iso
//	http://h/x.iso	4096	md5-digest    Google's Storage Transfer Service
//	http://h/x.iso  sha256-digest
//	name @ http://h/x.whl#sha256=digest   pip
//	wget -c http://h/x.iso                a shell script
func (r *aria2Reader) parseSources(line string) {
	if r.c.lineEnd != "" {
		line = strings.TrimSuffix(strings.TrimRight(line, blanks), r.c.lineEnd)
	}
	if !strings.ContainsAny(line, " \t") {
		if r.entry.URLs = append(r.entry.URLs, strings.Trim(line, blanks)); isExplicitMarker(r.entry.URLs[0]) {
			r.started = false
		}
		return
	}
	if words := strings.Fields(line); len(words) == 2 && tabSeparated(line) != line && !isURL(words[1]) {
		out, _ := localPath(words[1]) // valid, or tabSeparated would not have separated it
		r.entry.URLs, r.entry.Out = words[:1], out
		return
	}
	for field, rest, more := "", tabSeparated(line), true; more; {
		field, rest, more = strings.Cut(rest, "\t")
		if field = strings.Trim(field, blanks); field != "" {
			r.parseField(field)
		}
	}
	r.dropOther()
	if len(r.sums) > 0 && len(r.entry.URLs) == 1 || len(r.sums) == 1 {
		for _, text := range r.sums {
			r.addSum(&r.entry, text)
		}
		r.sums = nil
	}
}

// tabSeparated replaces the blanks between several URLs, and between a URL and a path, by tabs. Other
// blanks may be a part of a URL.
func tabSeparated(line string) string {
	words := strings.Fields(line)
	if strings.Contains(line, "\t") || len(words) < 2 || !isURL(words[0]) {
		return line
	}
	if urls := slices.IndexFunc(words, func(w string) bool { return !isURL(w) }); urls < 0 || len(words) == 2 && isNameBeside(words[0], words[1]) {
		return strings.Join(words, "\t")
	}
	return line
}

// isNameBeside reports whether a word after a URL and a blank is the path of the file, and not the rest of a URL
// with a blank in its last segment.
func isNameBeside(u, word string) bool {
	if _, err := localPath(word); err != nil || isSumValue(word) {
		return false
	}
	last := lastSegment(u)
	isWhole := last == "" || strings.Contains(u, "?") || strings.ContainsAny(last, "0123456789") || fileExtension.MatchString(last)
	return strings.Contains(word, "/") || isWhole && fileExtension.MatchString(word)
}

// dropOther drops the fields of the current entry that are no URLs, such as the name of a sample,
// unless they can be relative URLs or there is nothing else. A path beside a single URL is the path
// of the file.
func (r *aria2Reader) dropOther() {
	e := &r.entry
	if r.c.base != nil || !slices.ContainsFunc(e.URLs, isURL) {
		return
	}
	kept := e.URLs[:0]
	for _, u := range e.URLs {
		if isURL(u) {
			kept = append(kept, u)
		} else if out, err := localPath(u); err == nil && len(e.URLs) == 2 && (strings.Contains(out, "/") || fileExtension.MatchString(out)) {
			e.Out = out
		} else {
			r.c.warnOnce(e.Line, fmt.Errorf("%q is not an http or https URL; mirror ignored", truncate(u)))
		}
	}
	e.URLs = kept
}

// parseField parses a field of the first line of an entry.
func (r *aria2Reader) parseField(field string) {
	e := &r.entry
	size, sizeErr := parseSize(field)
	switch {
	case isURL(field):
		e.URLs = append(e.URLs, field)
	case len(e.URLs) > 0 && sizeErr == nil && len(field) < 16:
		e.Size = size
	case len(e.URLs) > 0 && len(field) >= 8 && isSumValue(field):
		r.sums = append(r.sums, field)
	case len(e.URLs) > 0:
		e.URLs = append(e.URLs, field)
	default:
		r.parseOther(field)
	}
}

// parseOther parses a first field that is no URL.
func (r *aria2Reader) parseOther(field string) {
	e := &r.entry
	if _, u, ok := strings.Cut(field, " @ "); ok && isURL(u) {
		e.URLs = append(e.URLs, u)
		return
	}
	cmd, ok := parseCommand(field)
	switch {
	case !ok:
		e.URLs = append(e.URLs, field)
	case strings.HasSuffix(field, `\`):
		if r.command = strings.TrimSuffix(field, `\`) + " "; len(r.command) > maxLine {
			r.command = ""
			r.fail(e.Line, errLineTooLong)
		}
		r.started = false
	case len(cmd.urls) == 0:
		r.fail(e.Line, fmt.Errorf("command %q has no URL", truncate(cmd.tool)))
	default:
		r.c.warnOnce(e.Line, fmt.Errorf("line is a command of a shell; only URL and file name of %q are used", cmd.tool))
		e.URLs, e.Out = cmd.urls, cmd.fileName()
		r.oneFile = e.Out != "" || cmd.tool == "aria2c"
	}
}

// addSum adds a digest to e, and drops the entry if it is not valid.
func (r *aria2Reader) addSum(e *Entry, text string) {
	sum, err := parseSumValue(strings.TrimPrefix(text, "--hash="))
	if err = r.c.addSum(e, sum, err); err != nil {
		r.fail(e.Line, err)
	}
}

// files returns the files of the current entry, if isOneFile is false. A URL with another last segment
// of its path is not a mirror, but a file of its own.
func (r *aria2Reader) files() []Entry {
	var files []Entry
	var names []string
	for i, u := range r.entry.URLs {
		name := lastSegment(u)
		at := slices.Index(names, name)
		if at < 0 && name == "" && i > 0 {
			at = i - 1
		}
		if at < 0 {
			at = len(files)
			e := r.entry
			e.URLs, e.Header = nil, e.Header.Clone()
			files, names = append(files, e), append(names, name)
		}
		files[at].URLs = append(files[at].URLs, u)
		if len(r.sums) > 0 {
			r.addSum(&files[at], r.sums[i])
		}
	}
	if r.failed {
		return nil
	}
	return files
}

// isOneFile reports whether all URLs of the current entry are mirrors of one file: it has a
// name, a digest or a size for them, or all have the same last segment.
func (r *aria2Reader) isOneFile() bool {
	e := &r.entry
	if len(r.sums) > 0 && len(r.sums) != len(e.URLs) {
		r.fail(e.Line, fmt.Errorf("line has %d URLs, but %d digests", len(e.URLs), len(r.sums)))
		return true
	}
	return r.oneFile || len(r.sums) == 0 && (!e.Sum.IsZero() || e.Size >= 0) || sameLastSegment(e.URLs)
}

// sameLastSegment reports whether the paths of all URLs end in the same segment. A path that
// ends in a slash has the name of any other.
func sameLastSegment(urls []string) bool {
	first := ""
	for _, u := range urls {
		name := lastSegment(u)
		if first == "" {
			first = name
		}
		if name != "" && name != first {
			return false
		}
	}
	return true
}

// lastSegment returns the last segment of the path of a URL, decoded.
func lastSegment(u string) string {
	if i := strings.IndexAny(u, "?#"); i >= 0 {
		u = u[:i]
	}
	if _, after, ok := strings.Cut(u, "://"); ok {
		if u = after; !strings.Contains(u, "/") {
			return ""
		}
	}
	name := u[strings.LastIndexByte(u, '/')+1:]
	if decoded, err := url.PathUnescape(name); err == nil {
		name = decoded
	}
	return name
}
