package list

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxHeld is how many links to children an indexJudge sees before it decides, and so how many
// links an indexReader holds. It is a guess: half would still be more than a login page has, and
// double would hold more for nothing.
const maxHeld = 256

var (
	errAsksPassword = errors.New("is a web page that asks for a password, not an index")
	errNotIndex     = errors.New("is a web page, but not an index of files")
)

// An indexJudge decides whether an HTML page is the index of a directory, and not another page that
// a server sends for the same URL: a login page, an error page, the home page of the site. That
// matters, because --prune deletes the files that an index no longer names.
//
// A page that asks for a password is never an index. Other pages are one if
//
//   - their title or a heading says so, as in "Index of /pub/"; or
//   - they have no form that is posted, and at least half of their links to children either show the
//     name of the child, perhaps cut, or lead to a file that is no web page; or
//   - they have no link to a child, but one to the parent directory, such as "../" or "Parent
//     Directory"; or they have no text and no script at all, only an element pre. That is how
//     servers show an empty directory.
type indexJudge struct {
	marks    indexMark
	heading  heading
	children int // links to children that were judged
	named    int // of children: the links that an index may have
}

// An indexMark is a set of properties of a page.
type indexMark int

const (
	asksPassword  indexMark = 1 << iota // it has a field for a password
	posts                               // it has a form that is posted
	hasScript                           // it has an element script
	hasPre                              // it has an element pre
	hasText                             // it has text outside of title and headings
	saysIndex                           // its title or a heading says that it is an index
	linksToParent                       // it links to the parent directory
	isIndex                             // it is an index, unless it asks for a password
)

// mark notes a property of the page.
func (j *indexJudge) mark(m indexMark) { j.marks |= m }

// has reports whether the page has a property.
func (j *indexJudge) has(m indexMark) bool { return j.marks&m != 0 }

// A heading is an element whose text is a heading.
type heading struct {
	element string // that is open; "" for none
	begin   []byte // beginning of its text
}

// maxHeading is how many bytes of a heading are looked at: more than the longest of indexHeadings, and
// white space before it.
const maxHeading = 200

// indexHeadings begin the title or a heading of an index, in lower case.
var indexHeadings = []string{
	"index of ", "directory listing", "directory index", "directory: ", "listing of ", "contents of ",
}

// headings are the elements whose text is a heading.
var headings = []string{"title", "h1", "h2"}

// startElement notes the start of an element.
func (j *indexJudge) startElement(name string) {
	if name == "pre" {
		j.mark(hasPre)
	}
	if slices.Contains(headings, name) {
		j.heading = heading{name, j.heading.begin[:0]}
	}
}

// endElement notes the end of an element.
func (j *indexJudge) endElement(name string) {
	if name != j.heading.element || name == "" {
		return
	}
	j.heading.element = ""
	text := strings.ToLower(strings.TrimSpace(string(j.heading.begin)))
	if slices.ContainsFunc(indexHeadings, func(h string) bool { return strings.HasPrefix(text, h) }) {
		j.mark(saysIndex)
	}
}

// text notes text of the page.
func (j *indexJudge) text(text []byte) {
	switch {
	case j.heading.element != "" && len(j.heading.begin) < maxHeading:
		j.heading.begin = append(j.heading.begin, text[:min(len(text), maxHeading)]...)
	case j.heading.element == "" && len(bytes.TrimSpace(text)) > 0:
		j.mark(hasText)
	}
}

// otherLink notes a link that leads to no child.
func (j *indexJudge) otherLink(text string) {
	text = strings.ToLower(strings.Trim(text, " \t\r\n/[]"))
	if text == ".." || text == "go up" || text == "up" || strings.Contains(text, "parent directory") {
		j.mark(linksToParent)
	}
}

// childLink notes a link to a child with this name, which shows this text. A link without text is often
// an icon beside a link with text, so it counts only if it leads to a file.
func (j *indexJudge) childLink(name string, isDir bool, text string) {
	isFile := !isDir && !mayBePage(name)
	text = strings.TrimSpace(text)
	if text == "" && !isFile {
		return
	}
	j.children++
	if isFile || showsName(text, name) {
		j.named++
	}
}

// refusal returns an error as soon as it is certain that the page is no index.
func (j *indexJudge) refusal() error {
	if j.has(asksPassword) || j.children >= maxHeld {
		return j.verdict()
	}
	return nil
}

// isSure reports whether the page has so many links that it is an index, whatever follows.
func (j *indexJudge) isSure() bool {
	if j.children >= maxHeld && j.verdict() == nil {
		j.mark(isIndex)
	}
	return j.has(isIndex)
}

// verdict returns an error if the page as far as it was read is no index.
func (j *indexJudge) verdict() error {
	switch {
	case j.has(asksPassword):
		return errAsksPassword
	case j.has(saysIndex | isIndex), !j.has(posts) && j.hasIndexLinks():
		return nil
	}
	return errNotIndex
}

// hasIndexLinks reports whether the page has the links of an index, or of an empty one.
func (j *indexJudge) hasIndexLinks() bool {
	if j.children > 0 {
		return 2*j.named >= j.children
	}
	return j.has(linksToParent) || j.has(hasPre) && !j.has(hasScript|hasText)
}

// pageExtensions are the extensions of web pages.
var pageExtensions = []string{"", ".asp", ".aspx", ".cgi", ".do", ".htm", ".html", ".jsp", ".php", ".shtml", ".xhtml"}

// mayBePage reports whether a file may be a web page by its name.
func mayBePage(name string) bool {
	return slices.Contains(pageExtensions, strings.ToLower(path.Ext(name)))
}

// minContained is the length from which a name may be a part of the text of its link, as in
// "name → target". Shorter ones are in too many words.
const minContained = 4

// showsName reports whether the text of a link is the name of the child, or the beginning of it
// followed by dots. Characters beyond ASCII are ignored, because the page may be in another encoding
// than the names.
func showsName(text, name string) bool {
	text, name = onlyASCII(strings.TrimSuffix(text, "/")), onlyASCII(name)
	if text == name || len(name) >= minContained && strings.Contains(text, name) {
		return true
	}
	begin := strings.TrimRight(text, ".>")
	return begin != "" && strings.HasSuffix(strings.TrimSuffix(text, ">"), "..") && strings.HasPrefix(name, begin)
}

// onlyASCII returns the ASCII characters of s. An ellipsis becomes two dots.
func onlyASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf || unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ReplaceAll(s, "…", ".."))
}
