package list

import (
	"bufio"
	"cmp"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"pawl/chunk"
)

const (
	// maxDepth limits how deep elements may be nested, because the decoder keeps a stack
	// of open elements. Metalink needs 6 levels; the limit is a guess with room to spare.
	maxDepth = 64
	// lowestPriority is the priority of a URL that has neither priority nor preference; such
	// URLs are tried last (RFC 5854 section 4.2.16).
	lowestPriority = 999999
)

var (
	errNotMetalink  = errors.New("is XML, but not a Metalink")
	errTokenTooLong = fmt.Errorf("contains a tag or text longer than %d bytes", maxLine)
	errTooDeep      = fmt.Errorf("contains elements nested more than %d deep", maxDepth)
)

// A tokenLimiter passes a document to an XML decoder byte by byte, and fails if one token
// gets too long. The decoder holds a token as a whole, so without the limit a document
// that is one endless comment would fill the memory.
type tokenLimiter struct {
	r         *bufio.Reader
	remaining int // bytes that the current token may still take
}

func (g *tokenLimiter) ReadByte() (byte, error) {
	if g.remaining--; g.remaining < 0 {
		return 0, errTokenTooLong
	}
	return g.r.ReadByte()
}

// Read is needed only because xml.NewDecoder takes an io.Reader; the decoder calls
// ReadByte. It reads one byte at a time, so that it obeys the limit as well.
func (g *tokenLimiter) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := g.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}

// metalinkTypes are the media types of Metalink 4 (RFC 5854 section 8.2) and of Metalink 3.
var metalinkTypes = []string{"application/metalink4+xml", "application/metalink+xml"}

// MetalinkTypes returns the media types of Metalinks, in lower case.
func MetalinkTypes() []string { return slices.Clone(metalinkTypes) }

// HasMetalinkName reports whether a file name, or the path of a URL, has a suffix of Metalinks.
func HasMetalinkName(nameOrURL string) bool {
	name, _, _ := strings.Cut(nameOrURL, "#")
	name, _, _ = strings.Cut(name, "?")
	name = strings.ToLower(name)
	return strings.HasSuffix(name, ".meta4") || strings.HasSuffix(name, ".metalink")
}

// A metalinkReader reads Metalink 4 (RFC 5854) and its predecessor, Metalink 3. Version 3
// has elements of the same names inside a few more containers (files, resources,
// verification).
//
// Elements of other namespaces are skipped. So is a DTD: no entity is resolved except the
// five of XML itself, so a document cannot expand or fetch anything.
type metalinkReader struct {
	c         *collector
	dec       *xml.Decoder
	limiter   *tokenLimiter
	namespace string // of the root element; "" before it
	depth     int    // number of open elements
	line      int    // line on which the last token begins, from 1
}

// readMetalink reads a Metalink of either version.
func (c *collector) readMetalink(text *bufio.Reader) error {
	l := &tokenLimiter{r: text}
	r := &metalinkReader{c: c, dec: xml.NewDecoder(l), limiter: l}
	r.dec.CharsetReader = func(_ string, text io.Reader) (io.Reader, error) { return text, nil } // openText has decoded it
	if err := r.parseDocument(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	c.warnMoreUnverified(r.line)
	return nil
}

// next returns the next token. The decoder reports a document that ends inside an element
// as a syntax error, and not as io.EOF.
func (r *metalinkReader) next() (xml.Token, error) {
	r.limiter.remaining = maxLine
	r.line, _ = r.dec.InputPos()
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t.(type) {
	case xml.StartElement:
		if r.depth++; r.depth > maxDepth {
			return nil, errTooDeep
		}
	case xml.EndElement:
		r.depth--
	}
	return t, nil
}

// parseDocument reads the document and yields each file when its element ends.
func (r *metalinkReader) parseDocument() error {
	for !r.c.stopped {
		t, err := r.next()
		if err == io.EOF && r.namespace == "" {
			return errNotMetalink
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		start, ok := t.(xml.StartElement)
		switch {
		case !ok:
		case r.depth == 1:
			err = r.checkRoot(start)
		case r.isElement(start, "files"): // the container of Metalink 3: go on inside it
		case r.isElement(start, "file"):
			err = r.parseFile(start)
		default:
			err = r.skipElement()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// checkRoot returns an error if the root element is not a metalink element. Some programs write the
// namespace of Metalink 3 with https, or without its last slash.
func (r *metalinkReader) checkRoot(start xml.StartElement) error {
	switch strings.TrimSuffix(strings.Replace(start.Name.Space, "https:", "http:", 1), "/") {
	case "urn:ietf:params:xml:ns:metalink", "http://www.metalinker.org":
		r.namespace = start.Name.Space
		if start.Name.Local == "metalink" {
			return nil
		}
	}
	return errNotMetalink
}

// isElement reports whether start begins the Metalink element of this name.
func (r *metalinkReader) isElement(start xml.StartElement, name string) bool {
	return start.Name.Local == name && start.Name.Space == r.namespace
}

// skipElement consumes the element whose start tag was the last token.
func (r *metalinkReader) skipElement() error {
	_, err := r.elementText()
	return err
}

// elementText consumes the element whose start tag was the last token, and returns its
// text without surrounding white space and without nested elements. A text longer than
// maxLine is an error.
func (r *metalinkReader) elementText() (string, error) {
	var b strings.Builder
	for outside := r.depth - 1; r.depth > outside; {
		t, err := r.next()
		if err != nil {
			return "", err
		}
		if data, ok := t.(xml.CharData); ok && r.depth == outside+1 && b.Len() <= maxLine {
			b.Write(data)
		}
	}
	if b.Len() > maxLine {
		return "", errTokenTooLong
	}
	return strings.TrimSpace(b.String()), nil
}

// attribute returns the value of an attribute, "" if the element does not have it.
func attribute(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// A mirror is a url element.
type mirror struct {
	url      string
	priority int // a lower number is tried first
}

// A metafile is a file element that is being read.
type metafile struct {
	entry   Entry
	mirrors []mirror // in document order; finish sorts them
	size    int      // length of all URLs in mirrors, at most maxEntry
	unknown string   // an algorithm that pawl does not know, of a hash
	dropped int      // URLs that exceed the limits of an entry
	err     error    // the first problem of the file; the file is not yielded then

	pieceError error // why digests of pieces are not used
}

// fail records a problem of the file, if it is the first one and err is not nil.
func (f *metafile) fail(err error) {
	if f.err == nil {
		f.err = err
	}
}

// parseFile reads a file element and yields its entry. It returns only errors of the
// document; a problem of this file is yielded, and the next file is read.
func (r *metalinkReader) parseFile(start xml.StartElement) error {
	f := &metafile{entry: Entry{Size: -1, Line: r.line}}
	var err error
	f.entry.Out, err = localPath(attribute(start, "name"))
	f.fail(err)
	for outside := r.depth - 1; r.depth > outside; {
		t, err := r.next()
		if err != nil {
			return err
		}
		if start, ok := t.(xml.StartElement); ok {
			if err := r.parseChild(f, start); err != nil {
				return err
			}
		}
	}
	r.finish(f)
	return nil
}

// parseChild reads an element inside a file element. The containers of Metalink 3 are
// entered but otherwise ignored, so their children count as children of the file.
func (r *metalinkReader) parseChild(f *metafile, start xml.StartElement) error {
	switch {
	case r.isElement(start, "verification"), r.isElement(start, "resources"):
		return nil
	case r.isElement(start, "pieces"):
		return r.parsePieces(f, start)
	case r.isElement(start, "size"), r.isElement(start, "hash"), r.isElement(start, "url"):
	default:
		return r.skipElement()
	}
	text, err := r.elementText()
	if err != nil {
		return err
	}
	switch start.Name.Local {
	case "size":
		if text == "" {
			break
		}
		f.entry.Size, err = parseSize(text)
	case "hash":
		err = f.addHash(attribute(start, "type"), text)
	case "url":
		f.addURL(start, text)
	}
	f.fail(err)
	return nil
}

// addHash keeps a digest of the whole file if it is stronger than the one so far. A hash
// of an unknown algorithm must be ignored (RFC 5854 section 4.2.4).
func (f *metafile) addHash(algorithm, digits string) error {
	name := algorithmName(algorithm)
	if !slices.Contains(cryptographic, name) {
		f.unknown = algorithm
		return nil
	}
	sum, err := chunk.ParseSum(name + ":" + digits)
	if err != nil {
		return err
	}
	f.entry.Sum = stronger(f.entry.Sum, sum)
	return nil
}

// addURL adds a mirror, unless it is empty or a torrent. Metalink 4 has priorities from 1:
// lower numbers are tried first. Metalink 3 has preferences up to 100: higher numbers are
// tried first. They are converted to priorities.
func (f *metafile) addURL(start xml.StartElement, text string) {
	if attribute(start, "type") == "bittorrent" || text == "" {
		return
	}
	m := mirror{text, lowestPriority}
	if n, err := strconv.Atoi(attribute(start, "priority")); err == nil && n >= 1 {
		m.priority = n
	} else if n, err := strconv.Atoi(attribute(start, "preference")); err == nil {
		m.priority = 101 - min(max(n, 0), 100)
	}
	if len(f.mirrors) == maxMirrors || f.size+len(text) > maxEntry {
		f.dropped++
		return
	}
	f.mirrors, f.size = append(f.mirrors, m), f.size+len(text)
}

// finish yields the entry of a file, or its problem.
func (r *metalinkReader) finish(f *metafile) {
	if len(f.mirrors) == 0 && f.dropped > 0 {
		f.fail(errEntryTooLong)
	} else if len(f.mirrors) == 0 {
		f.fail(errors.New("file has no URL"))
	}
	slices.SortStableFunc(f.mirrors, func(a, b mirror) int { return cmp.Compare(a.priority, b.priority) })
	for _, m := range f.mirrors {
		f.entry.URLs = append(f.entry.URLs, m.url)
	}
	f.fail(r.c.takeDigests(&f.entry))
	if f.err != nil {
		r.c.problem(f.entry.Line, f.err)
		return
	}
	r.c.warnDropped(f.entry.Line, f.dropped)
	r.settlePieces(f)
	if f.entry.Sum.IsZero() && f.unknown != "" {
		r.c.warnUnverified(f.entry.Line, unknownKindError(f.unknown))
	}
	r.c.add(f.entry)
}
