package list

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/html"
	"golang.org/x/net/html/charset"

	"pawl/chunk"
	"pawl/downloader/weburl"
)

// A Page describes the source of an HTML page, and selects its links.
//
// Read takes an HTML page for the index of a directory if the path of its URL ends in a slash, or if
// Options.Format is Index, and if its text looks like one: see indexJudge. Then the files that it
// links to are the entries, and the directories are passed to Dir. Links to other hosts, to the page
// itself and to directories above it are ignored, and so are all links with a query, because indexes
// use them to sort ("?C=N;O=D").
type Page struct {
	// URL is the URL of the page after redirects, without user and password.
	URL string
	// Root is the URL of the directory to which Entry.Out is relative. The page must be the index of
	// that directory or of one below it. "" means URL.
	Root string
	// Charset is the encoding of the page as its response names it, "" if it names none.
	Charset string
	// Wanted reports whether a file or directory, as a path relative to Root, is wanted. Default: all
	// are.
	Wanted func(path string, isDir bool) bool
	// Dir is called for each wanted directory, with its path relative to Root and its URL. It may be
	// called for a directory again. Default: directories are ignored.
	Dir func(path, url string)
}

// errNotPage is returned for another text in place of an index page.
var errNotPage = errors.New("is not a web page, so it is no index")

// IsWebPage reports whether Read would take the text of r for a web page.
func IsWebPage(r io.Reader) bool {
	_, err := openText(r, 0)
	return err == errWebPage
}

// htmlElements are the elements that an HTML page begins with. Pages of Go's file server before
// version 1.22 begin with pre.
var htmlElements = []string{
	"a", "address", "base", "body", "br", "center", "div", "dl", "font", "form", "h1", "h2", "h3", "head", "header", "hr", "html",
	"link", "main", "meta", "nav", "ol", "p", "pre", "script", "style", "table", "title", "ul",
}

// isHTML reports whether r begins with a tag of an HTML page, possibly behind comments and
// processing instructions. It consumes nothing, and waits for no byte behind the tag.
func isHTML(r *bufio.Reader) bool {
	z := html.NewTokenizer(&peekReader{r: r})
	for {
		switch z.Next() {
		case html.CommentToken: // also <?xml …?>
		case html.TextToken:
			if len(bytes.TrimSpace(z.Raw())) > 0 {
				return false
			}
		case html.DoctypeToken:
			kind, _, _ := strings.Cut(strings.ToLower(string(z.Text())), " ")
			return strings.TrimSpace(kind) == "html"
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			return slices.Contains(htmlElements, string(name))
		default:
			return false
		}
	}
}

// A peekReader reads the next bytes of a bufio.Reader, as many as its buffer can hold, without consuming
// them.
type peekReader struct {
	r   *bufio.Reader
	off int
}

func (p *peekReader) Read(b []byte) (int, error) {
	if _, err := p.r.Peek(p.off + 1); err != nil {
		return 0, io.EOF
	}
	all, _ := p.r.Peek(p.r.Buffered())
	n := copy(b, all[p.off:])
	p.off += n
	return n, nil
}

// mayBeIndex reports whether an HTML page at the URL of the list may be an index.
func (c *collector) mayBeIndex() bool {
	if c.options.Page == nil {
		return false
	}
	u, err := url.Parse(c.options.Page.URL)
	return err == nil && (c.options.Format == Index || c.options.Format == "" && (strings.HasSuffix(u.Path, "/") || u.Path == ""))
}

// An indexReader reads the index page of a directory. It holds one link, and the first links until
// its judge has decided.
type indexReader struct {
	c     *collector
	page  Page
	z     *html.Tokenizer
	url   *url.URL // of the page
	root  *url.URL // Page.Root
	base  *url.URL // that links are relative to: url itself, or the URL of the first element base
	line  int      // line on which the token begins, from 1
	link  anchor   // the open element a
	inner string   // open element whose text is not shown: script or style; else ""
	last  string   // URL of the last link below the page; an icon is often a link beside the name
	judge indexJudge
	held  []indexLink // links before the judge has decided
}

// An anchor is an element a that is being read.
type anchor struct {
	open bool
	href string
	line int
	text []byte // at most maxLinkText bytes
}

// maxLinkText limits in bytes the text of a link that is compared with its name. A file name
// has at most 255 bytes.
const maxLinkText = 1 << 10

// An indexLink is a wanted link to a file or directory below the page.
type indexLink struct {
	Entry       // the directory is in Out, its URL in URLs
	isDir bool  // it leads to a directory
	err   error // why it cannot be used
}

// readIndex reads an index page.
func (c *collector) readIndex(text *bufio.Reader) error {
	r := &indexReader{c: c, page: *c.options.Page, line: 1}
	if r.page.Root == "" {
		r.page.Root = r.page.URL
	}
	var err error
	if r.url, err = weburl.Parse(r.page.URL); err != nil {
		return err
	}
	if r.root, err = weburl.Parse(r.page.Root); err != nil {
		return err
	}
	r.url.User, r.base = nil, r.url
	r.z = html.NewTokenizer(decodePage(text, r.page.Charset))
	r.z.SetMaxBuf(maxLine)
	if err := r.read(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// decodePage returns the text of a page in UTF-8. The response names its encoding, or else the page
// itself; without either, its bytes are passed as they are. The text begins with ASCII, because it is
// known as HTML, so a declaration of UTF-16 must be wrong.
func decodePage(text *bufio.Reader, declared string) io.Reader {
	contentType := "text/html"
	if declared != "" && !strings.HasPrefix(strings.ToLower(declared), "utf-16") {
		contentType += "; charset=" + declared
	}
	begin, _ := text.Peek(charsetPeek)
	encoding, _, certain := charset.DetermineEncoding(begin, contentType)
	if !certain && !bytes.Contains(bytes.ToLower(begin), []byte("charset")) { // then it is only a guess
		return text
	}
	return encoding.NewDecoder().Reader(text)
}

// charsetPeek is how many bytes of a page may come before its charset: HTML Living Standard, 4.2.5.4.
const charsetPeek = 1024

// read reads the page to its end.
func (r *indexReader) read() error {
	for !r.c.stopped {
		kind := r.z.Next()
		lines := bytes.Count(r.z.Raw(), []byte("\n"))
		switch kind {
		case html.ErrorToken:
			if err := r.z.Err(); err == html.ErrBufferExceeded {
				return errTokenTooLong
			} else if err != io.EOF {
				return err
			}
			r.endLink()
			return r.end()
		case html.StartTagToken, html.SelfClosingTagToken:
			r.startTag()
		case html.EndTagToken:
			r.endTag()
		case html.TextToken:
			r.text(r.z.Text())
		}
		if err := r.judge.refusal(); err != nil {
			return err
		}
		r.line += lines
	}
	return nil
}

// end passes on the held links, unless the page is no index.
func (r *indexReader) end() error {
	if err := r.judge.verdict(); err != nil {
		return err
	}
	r.release()
	return nil
}

// startTag handles the start of an element.
func (r *indexReader) startTag() {
	name, _ := r.z.TagName()
	switch element := string(name); element {
	case "a":
		r.endLink()
		href, ok := r.attribute("href")
		r.link = anchor{open: ok, href: href, line: r.line, text: r.link.text[:0]}
	case "base":
		if href, ok := r.attribute("href"); ok && r.base == r.url {
			if u, err := parseLink(href); err == nil {
				r.base = r.url.ResolveReference(u)
			}
		}
	case "input":
		if kind, _ := r.attribute("type"); strings.EqualFold(kind, "password") {
			r.judge.mark(asksPassword)
		}
	case "form":
		if method, _ := r.attribute("method"); strings.EqualFold(method, "post") {
			r.judge.mark(posts)
		}
	case "noscript": // its content may be the index
		r.z.NextIsNotRawText()
	case "script", "style":
		r.inner = element
		if element == "script" {
			r.judge.mark(hasScript)
		}
	default:
		r.judge.startElement(element)
	}
}

// endTag handles the end of an element.
func (r *indexReader) endTag() {
	name, _ := r.z.TagName()
	switch element := string(name); element {
	case "a":
		r.endLink()
	case r.inner:
		r.inner = ""
	default:
		r.judge.endElement(element)
	}
}

// text handles text, with its character references replaced.
func (r *indexReader) text(text []byte) {
	if r.inner != "" {
		return
	}
	if r.link.open && len(r.link.text) < maxLinkText {
		r.link.text = append(r.link.text, text[:min(len(text), maxLinkText)]...)
	}
	r.judge.text(text)
}

// attribute returns an attribute of the start tag, with its character references replaced. It must be
// called at most once for a tag.
func (r *indexReader) attribute(name string) (value string, ok bool) {
	for more := true; more; {
		var key, val []byte
		if key, val, more = r.z.TagAttr(); string(key) == name {
			return string(val), true
		}
	}
	return "", false
}

// endLink handles the open link, if there is one.
func (r *indexReader) endLink() {
	if !r.link.open {
		return
	}
	r.link.open = false
	text := string(r.link.text)
	u, err := parseLink(r.link.href)
	if err != nil {
		return
	}
	u = r.base.ResolveReference(u)
	if u.Opaque != "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.ForceQuery {
		return
	}
	segments, ok := weburl.Below(r.url, u)
	if !ok || len(segments) == 0 {
		r.judge.otherLink(text)
		return
	}
	isDir := strings.HasSuffix(u.Path, "/")
	r.judge.childLink(segments[len(segments)-1], isDir, text)
	u.Scheme, u.Host, u.User = r.url.Scheme, r.url.Host, nil
	r.add(u, isDir)
}

// add passes on the link to a file or directory below the page, or holds it.
func (r *indexReader) add(u *url.URL, isDir bool) {
	segments, ok := weburl.Below(r.root, u)
	if !ok {
		return
	}
	l := indexLink{Entry: Entry{Size: -1, Line: r.link.line, Sum: fragmentSum(u.Fragment)}, isDir: isDir}
	u.Fragment, u.RawFragment = "", ""
	if l.URLs = []string{u.String()}; l.URLs[0] == r.last {
		return
	}
	r.last = l.URLs[0]
	l.Out, l.err = indexPath(segments)
	if r.page.Wanted != nil && !r.page.Wanted(l.Out, isDir) {
		return
	}
	r.held = append(r.held, l)
	if r.judge.isSure() {
		r.release()
	}
}

// release passes on the held links.
func (r *indexReader) release() {
	for _, l := range r.held {
		switch {
		case r.c.stopped:
		case l.err != nil:
			r.c.problem(l.Line, l.err)
		case !l.isDir:
			r.c.add(l.Entry)
		case r.page.Dir != nil:
			r.page.Dir(l.Out, l.URLs[0])
		}
	}
	r.held = r.held[:0]
}

// indexPath returns decoded segments as a relative path, and an error if the path is unsafe. Bytes
// that are not UTF-8 become escapes again, as in the names of files of other lists.
func indexPath(segments []string) (string, error) {
	for _, s := range segments {
		if strings.Contains(s, "/") {
			return strings.Join(segments, "/"), fmt.Errorf("file name %q contains a slash", truncate(s))
		}
	}
	path := strings.Join(segments, "/")
	if !utf8.ValidString(path) {
		path = escapeInvalid(segments)
	}
	clean, err := localPath(path)
	if err != nil {
		return path, err
	}
	return clean, nil
}

// escapeInvalid joins segments. In segments that are not UTF-8, it escapes all bytes beyond ASCII, and
// percent signs: "%E9.bin" for "\xe9.bin".
func escapeInvalid(segments []string) string {
	var b strings.Builder
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		valid := utf8.ValidString(s)
		for j := range len(s) {
			if c := s[j]; !valid && (c >= utf8.RuneSelf || c == '%') {
				fmt.Fprintf(&b, "%%%02X", c)
			} else {
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}

// fragmentSum returns the digest in a fragment such as "sha256=HEX" (PEP 503), the zero Sum if there is
// none.
func fragmentSum(fragment string) chunk.Sum {
	name, digits, ok := strings.Cut(fragment, "=")
	if !ok || !slices.Contains(cryptographic, strings.ToLower(name)) {
		return chunk.Sum{}
	}
	sum, err := chunk.ParseSum(strings.ToLower(name) + ":" + digits)
	if err != nil {
		return chunk.Sum{}
	}
	return sum
}

// parseLink parses the address of a link as leniently as browsers do (WHATWG URL, 4.4): white space
// around it and line ends inside are dropped, a percent sign that begins no escape stands for itself,
// and so does a colon in a name that cannot be a scheme ("1:2.bin").
func parseLink(href string) (*url.URL, error) {
	href = strings.Trim(href, " \t\r\n\f")
	href = strings.NewReplacer("\t", "", "\r", "", "\n", "").Replace(href)
	href = escapePercent(href)
	u, err := url.Parse(href)
	if err != nil && !strings.Contains(href, "//") {
		return url.Parse("./" + href)
	}
	return u, err
}

// escapePercent escapes the percent signs that begin no escape.
func escapePercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(s[i])
		if s[i] == '%' && (i+2 >= len(s) || !isHexDigit(s[i+1]) || !isHexDigit(s[i+2])) {
			b.WriteString("25")
		}
	}
	return b.String()
}

func isHexDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}
