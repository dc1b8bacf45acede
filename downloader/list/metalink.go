package list

import (
	"bufio"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is how many elements may be within each other.
const maxDepth = 64

var (
	errNoMetalink = errors.New("is XML, but no Metalink")
	errToken      = fmt.Errorf("has a tag or a text longer than %d bytes", maxLine)
	errDepth      = fmt.Errorf("has elements more than %d deep", maxDepth)
)

// guarded reads a document byte by byte, and fails where one token of it is too
// long to be held.
type guarded struct {
	r    *bufio.Reader
	left int // bytes that the token may still have
}

func (g *guarded) ReadByte() (byte, error) {
	if g.left--; g.left < 0 {
		return 0, errToken
	}
	return g.r.ReadByte()
}

// Read makes guarded an io.Reader, which a decoder asks for and does not use.
func (g *guarded) Read(p []byte) (int, error) {
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

// metalinkReader reads RFC 5854 and its predecessor, Metalink 3, whose elements
// have the same names in a few more containers. Elements of other namespaces are
// passed over, and so is a DTD: no entity but those of XML itself is known.
type metalinkReader struct {
	c     *collector
	dec   *xml.Decoder
	guard *guarded
	space string // namespace of the root
	depth int    // elements that are open
	line  int    // where the last token begins
}

// metalink reads a list in this format.
func (c *collector) metalink(text *bufio.Reader) error {
	g := &guarded{r: text}
	r := &metalinkReader{c: c, dec: xml.NewDecoder(g), guard: g}
	if err := r.document(); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	return nil
}

// next returns the next token. Inside the document, its end is an error.
func (r *metalinkReader) next() (xml.Token, error) {
	r.guard.left = maxLine
	r.line, _ = r.dec.InputPos()
	t, err := r.dec.Token()
	if err != nil {
		return nil, err
	}
	switch t.(type) {
	case xml.StartElement:
		if r.depth++; r.depth > maxDepth {
			return nil, errDepth
		}
	case xml.EndElement:
		r.depth--
	}
	return t, nil
}

// document reads all of it, file by file.
func (r *metalinkReader) document() error {
	for !r.c.stopped {
		t, err := r.next()
		if err == io.EOF && r.space == "" {
			return errNoMetalink
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
			err = r.root(start)
		case r.isOurs(start, "files"): // of Metalink 3, around the files
		case r.isOurs(start, "file"):
			err = r.file(start)
		default:
			err = r.skip()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// root takes the root element.
func (r *metalinkReader) root(start xml.StartElement) error {
	if strings.EqualFold(start.Name.Local, "html") {
		return errWebPage
	}
	switch start.Name.Space {
	case "urn:ietf:params:xml:ns:metalink", "http://www.metalinker.org/":
		r.space = start.Name.Space
		if start.Name.Local == "metalink" {
			return nil
		}
	}
	return errNoMetalink
}

func (r *metalinkReader) isOurs(start xml.StartElement, name string) bool {
	return start.Name.Local == name && start.Name.Space == r.space
}

// skip passes over the rest of the element whose start was the last token.
func (r *metalinkReader) skip() error {
	_, err := r.text()
	return err
}

// text returns what the element whose start was the last token holds, trimmed,
// without elements in it. It is short, or an error.
func (r *metalinkReader) text() (string, error) {
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
		return "", errToken
	}
	return strings.TrimSpace(b.String()), nil
}

// attribute returns the value of an attribute, "" if it is not there.
func attribute(start xml.StartElement, name string) string {
	for _, a := range start.Attr {
		if a.Name.Local == name && a.Name.Space == "" {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}
