package list

import (
	"fmt"
	"net/url"
	"strings"

	"pawl/chunk"
)

// Lines that surround the content of a signed checksum file.
const (
	pgpMessage     = "-----BEGIN PGP SIGNED MESSAGE-----" // RFC 9580 section 7
	pgpSignature   = "-----BEGIN PGP SIGNATURE-----"
	signifyComment = "untrusted comment:" // signify(1); the line after it is the signature
)

// A signatureFilter removes the signature from a signed checksum file, line by line. It
// does not verify the signature.
type signatureFilter struct {
	pgp         bool // the file is a PGP message, in which leading dashes are escaped
	inBody      bool // a content line has been seen, so no armor header can follow
	inSignature bool // the PGP signature has begun; it extends to the end of the file
	skipNext    bool // the next line is a signify signature
}

// content returns a line without leading blanks and PGP escapes. It reports false for a
// line that belongs to the signature. It must be called for each line, in order.
func (t *signatureFilter) content(text []byte) (string, bool) {
	line := strings.TrimLeft(string(text), blanks)
	switch {
	case t.inSignature, t.skipNext:
		t.skipNext = false
		return "", false
	case strings.HasPrefix(line, pgpMessage):
		t.pgp = true
		return "", false
	case strings.HasPrefix(line, pgpSignature):
		t.inSignature = true
		return "", false
	case strings.HasPrefix(line, signifyComment):
		t.skipNext = true
		return "", false
	case t.pgp && !t.inBody && isArmorHeader(line):
		return "", false
	case t.pgp:
		line = strings.TrimPrefix(line, "- ")
	}
	t.inBody = true
	return line, true
}

// isArmorHeader reports whether a line is a PGP armor header, such as "Hash: SHA256". A
// checksum line may contain ": " too, but only after a blank or a parenthesis.
func isArmorHeader(line string) bool {
	key, _, ok := strings.Cut(line, ": ")
	return ok && !strings.ContainsAny(key, " (")
}

// A checksumListReader reads a checksum file as a list of downloads: each file that it
// names is an entry, with the name resolved against the base URL.
type checksumListReader struct {
	c          *collector // must have a base URL
	filter     signatureFilter
	validLines int
}

func (r *checksumListReader) parseLine(text []byte, n int) {
	sum, name, ok := r.c.parseChecksumLine(&r.filter, text, n)
	if !ok {
		return
	}
	r.validLines++
	out, err := localPath(name)
	if err != nil {
		r.c.problem(n, err)
		return
	}
	// The "./" keeps a name such as "aa:b" from being taken for a URL with a scheme.
	u := r.c.base.ResolveReference(&url.URL{Path: "./" + out})
	r.c.add(Entry{URLs: []string{u.String()}, Out: out, Sum: sum, Size: -1, Line: n})
}

// parseChecksumLine returns the checksum and the file name of a line. It reports false if
// the line belongs to a signature, or is invalid and has been reported as a problem.
func (c *collector) parseChecksumLine(filter *signatureFilter, text []byte, n int) (sum chunk.Sum, name string, ok bool) {
	line, ok := filter.content(text)
	if !ok {
		return sum, "", false
	}
	sum, name, err := parseDigest(line, c.name)
	if err == nil && name == "" {
		name, err = sidecarTarget(c.name)
	}
	if err != nil {
		c.problem(n, err)
	}
	return sum, name, err == nil
}

func (r *checksumListReader) skipLongLine([]byte) {}

func (r *checksumListReader) end() error { return requireValidLines(r.c.name, r.validLines) }

// requireValidLines returns an error if a checksum file has no valid line: it is most
// likely another kind of file.
func requireValidLines(list string, validLines int) error {
	if validLines == 0 {
		return fmt.Errorf("%s: has no valid checksum line", list)
	}
	return nil
}
