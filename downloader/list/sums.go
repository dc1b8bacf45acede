package list

import (
	"fmt"
	"net/url"
	"strings"

	"pawl/chunk"
)

// What surrounds the lines of a checksum file that is signed.
const (
	pgpMessage     = "-----BEGIN PGP SIGNED MESSAGE-----" // RFC 9580 §7
	pgpSignature   = "-----BEGIN PGP SIGNATURE-----"
	signifyComment = "untrusted comment:" // signify(1); the signature is the next line
)

// clearText picks the lines of a checksum file out of its signature, which it
// does not verify.
type clearText struct {
	signed  bool // by PGP: dashes are escaped
	begun   bool // a line of the text was seen, no more header fields come
	ended   bool // only the signature follows
	skipOne bool // the next line is a signature
}

// content returns a line of the text without blanks before it, false for what
// is none.
func (t *clearText) content(text []byte) (string, bool) {
	line := strings.TrimLeft(string(text), blanks)
	switch {
	case t.ended, t.skipOne:
		t.skipOne = false
		return "", false
	case strings.HasPrefix(line, pgpMessage):
		t.signed = true
		return "", false
	case strings.HasPrefix(line, pgpSignature):
		t.ended = true
		return "", false
	case strings.HasPrefix(line, signifyComment):
		t.skipOne = true
		return "", false
	case t.signed && !t.begun && isArmorHeader(line):
		return "", false
	case t.signed:
		line = strings.TrimPrefix(line, "- ")
	}
	t.begun = true
	return line, true
}

// isArmorHeader reports whether a line is one such as "Hash: SHA256".
func isArmorHeader(line string) bool {
	key, _, ok := strings.Cut(line, ": ")
	return ok && !strings.ContainsAny(key, " (")
}

// sumsReader reads a checksum file as a list of what it names.
type sumsReader struct {
	c    *collector // with a base
	text clearText
	good int // lines that could be read
}

func (r *sumsReader) line(text []byte, n int) {
	sum, name, ok := r.c.digest(&r.text, text, n)
	if !ok {
		return
	}
	r.good++
	out, err := localPath(name)
	if err != nil {
		r.c.problem(n, err)
		return
	}
	at := r.c.base.ResolveReference(&url.URL{Path: "./" + out})
	r.c.one(Entry{URLs: []string{at.String()}, Out: out, Sum: sum, Size: -1, Line: n})
}

// digest returns what a line of a checksum file says. Without ok it says nothing of
// a file, or what is wrong with it has been told.
func (c *collector) digest(clear *clearText, text []byte, n int) (sum chunk.Sum, name string, ok bool) {
	line, ok := clear.content(text)
	if !ok {
		return sum, "", false
	}
	sum, name, err := parseDigest(line, c.name)
	if err == nil && name == "" {
		name, err = companion(c.name)
	}
	if err != nil {
		c.problem(n, err)
	}
	return sum, name, err == nil
}

func (r *sumsReader) skip([]byte) {}

func (r *sumsReader) end() error { return noneGood(r.c.name, r.good) }

// noneGood returns the error of a checksum file without a good line.
func noneGood(list string, good int) error {
	if good == 0 {
		return fmt.Errorf("%s: has no valid line of a checksum file", list)
	}
	return nil
}
