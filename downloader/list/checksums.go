package list

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// Lines that surround the content of a signed checksum file.
const (
	pgpMessage     = "-----BEGIN PGP SIGNED MESSAGE-----" // RFC 9580 section 7
	pgpSignature   = "-----BEGIN PGP SIGNATURE-----"
	signifyComment = "untrusted comment:" // signify(1); the line after it is the signature
)

// ErrSigned is the error of a warning that a checksum file has a signature, which Read has not
// verified.
var ErrSigned = errors.New("the list is signed, and its signature is not verified")

// A signatureFilter removes the signature from a signed checksum file, line by line. It
// does not verify the signature.
type signatureFilter struct {
	pgp         bool // the file is a PGP message, in which leading dashes are escaped
	inBody      bool // a content line has been seen, so no armor header can follow
	inSignature bool // the PGP signature has begun; it extends to the end of the file
	skipNext    bool // the next line is a signify signature
	signed      bool // a signature has been seen
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
		t.inSignature, t.signed = true, true
		return "", false
	case strings.HasPrefix(line, signifyComment):
		t.skipNext, t.signed = true, true
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

// A checksumParser finds the digests in a checksum file. Most have one on each line, which
// parseDigest reads. Some spread it over lines:
//
//	name: 8A0B7C1D 0F2E...              gpg --print-md, wrapped
//	      5D6E7F80 ...
//
//	SHA256 hash of name:                certutil -hashfile
//	8a0b7c1d...
//
//	Algorithm : SHA256                  Get-FileHash | Format-List
//	Hash      : 8A0B7C1D...
//	Path      : C:\dir\name
//
// All other lines are prose, which may name the algorithm of the digests after it.
type checksumParser struct {
	found func(digestLine)
	fault func(line int, err error) // a line looks like a digest and is none

	context digestContext
	filter  signatureFilter
	title   digestTitle       // the last line, if it announces a digest
	groups  *groupedDigest    // the digest that may go on in the next line; nil if there is none
	object  map[string]string // the properties of Format-List so far, by their names in lower case

	digests, prose int // lines of each so far
}

// A digestTitle is a line that announces a digest, and may name file and algorithm.
type digestTitle struct {
	ok              bool
	name, algorithm string
}

// A groupedDigest is a digest that is written in groups of hex digits.
type groupedDigest struct {
	title  digestTitle
	digits []byte
	line   int
}

// parseComment takes note of the algorithms that a comment names.
func (p *checksumParser) parseComment(text []byte) { p.noteKinds(string(text)) }

func (p *checksumParser) noteKinds(text string) {
	if kinds := kindsIn(text); len(kinds) > 0 {
		p.context.heading, p.context.sized = kinds, false
	}
}

// parseLine finds the digest in a line that is neither blank nor a comment.
func (p *checksumParser) parseLine(text []byte, n int) {
	line, ok := p.filter.content(text)
	if !ok {
		return
	}
	title := p.title
	p.title = digestTitle{}
	if isGroups(line) {
		if p.groups != nil && countHexDigits(line) < 32 {
			p.groups.add(line)
			return
		}
		if title.ok {
			p.begin(title, line, n)
			return
		}
	}
	p.end()
	if p.parseProperty(line, n) {
		return
	}
	d, err := p.context.parseDigest(line)
	switch {
	case err == nil:
		p.find(d, n)
	case err != errNotDigest:
		p.fault(n, err)
	case p.parseColon(line, n):
	default:
		p.prose++
		p.noteKinds(line)
	}
}

func (p *checksumParser) find(d digestLine, n int) {
	p.digests++
	d.line = n
	p.found(d)
}

// begin begins a digest that may go on in the next lines.
func (p *checksumParser) begin(title digestTitle, groups string, n int) {
	p.end()
	p.groups = &groupedDigest{title: title, line: n}
	p.groups.add(groups)
}

// maxGroupDigits is more hex digits than any digest has.
const maxGroupDigits = 1 << 10

func (g *groupedDigest) add(groups string) {
	for word := range strings.FieldsSeq(groups) {
		if len(g.digits) < maxGroupDigits {
			g.digits = append(g.digits, word...)
		}
	}
}

// isGroups reports whether a line consists of groups of hex digits.
func isGroups(line string) bool {
	return strings.Trim(line, "0123456789abcdefABCDEF"+blanks) == "" && strings.Trim(line, blanks) != ""
}

// end ends the digest in groups, if there is one. It must be called after the last line.
func (p *checksumParser) end() {
	g := p.groups
	if g == nil {
		return
	}
	p.groups = nil
	d := digestLine{name: g.title.name, size: -1}
	if len(g.digits) < 32 {
		p.prose++ // such as "Date: 2024"
		return
	}
	var err error
	if g.title.algorithm != "" {
		err = d.set(g.title.algorithm, string(g.digits))
	} else {
		err = p.context.setUntagged(&d, string(g.digits))
	}
	if err != nil {
		p.fault(g.line, err)
		return
	}
	p.find(d, g.line)
}

// parseProperty takes a property of an object that Format-List has written. It reports
// whether the line is one.
func (p *checksumParser) parseProperty(line string, n int) bool {
	key, value, ok := strings.Cut(line, " : ")
	key = strings.ToLower(strings.Trim(key, blanks))
	if !ok || key != "algorithm" && key != "hash" && key != "path" {
		return false
	}
	if p.object == nil {
		p.object = make(map[string]string)
	}
	if p.object[key] = strings.Trim(value, blanks); key != "path" || p.object["hash"] == "" {
		return true
	}
	d := digestLine{name: nameFromWindows(p.object["path"]), size: -1}
	if err := d.set(p.object["algorithm"], p.object["hash"]); err != nil {
		p.fault(n, err)
	} else {
		p.find(d, n)
	}
	clear(p.object)
	return true
}

// parseColon parses "NAME: GROUPS", "NAME: ALGORITHM = GROUPS" and a title, which is the
// same without groups. It reports false for other lines.
func (p *checksumParser) parseColon(line string, n int) bool {
	line = strings.Trim(line, blanks)
	at := strings.LastIndexByte(line, ':')
	if at < 0 {
		return false
	}
	rest := strings.Trim(line[at+1:], blanks)
	title := titleOf(line[:at])
	if algorithm, groups, ok := strings.Cut(rest, "="); ok {
		algorithm, rest = strings.Trim(algorithm, blanks), strings.Trim(groups, blanks)
		if _, ok := kindOf(algorithm); !ok {
			return false
		}
		title.algorithm = algorithm
	}
	switch {
	case !title.ok, rest != "" && !isGroups(rest):
		return false
	case rest != "":
		p.begin(title, rest, n)
		return true
	}
	p.prose++
	p.title = title
	p.noteKinds(line)
	p.context.sized = title.name == ""
	return true
}

// titleOf parses the text before the colon of a title: the name of
// the file, an algorithm, or both in a sentence.
func titleOf(text string) digestTitle {
	text = strings.Trim(text, blanks)
	kinds := kindsIn(text)
	fields := strings.Fields(text)
	switch {
	case len(fields) == 0, strings.Contains(strings.ToLower(text), "fingerprint"):
		return digestTitle{}
	case len(fields) == 1 && len(kinds) == 1 && !fileExtension.MatchString(text), strings.EqualFold(text, "files"):
		algorithm := "md5" // the section Files of Debian
		if len(kinds) == 1 {
			algorithm = kinds[0].name
		}
		return digestTitle{ok: true, algorithm: algorithm}
	case len(fields) == 1:
		return digestTitle{ok: true, name: text}
	case len(kindsIn(fields[0])) == 1: // certutil, in the language of the machine
		name := fields[len(fields)-1]
		for _, of := range []string{" of file ", " of ", " von Datei ", " von ", " de ", " di ", " van "} {
			if _, after, ok := strings.Cut(text, of); ok {
				name = strings.Trim(after, blanks)
				break
			}
		}
		return digestTitle{ok: true, name: nameFromWindows(name), algorithm: kindsIn(fields[0])[0].name}
	}
	return digestTitle{ok: fileExtension.MatchString(text), name: text}
}

// requireDigests returns an error if a checksum file has no digest: it is most likely another
// kind of file.
func requireDigests(list string, digests int) error {
	if digests == 0 {
		return fmt.Errorf("%s: has no valid checksum line", list)
	}
	return nil
}

// newChecksumParser returns the parser of a checksum file of this name, which may say the
// algorithm.
func newChecksumParser(list string) checksumParser {
	return checksumParser{context: digestContext{file: kindsIn(listBaseName(list))}}
}

// A checksumListReader reads a checksum file as a list of downloads: each file that it
// names is an entry, with the name resolved against the base URL. Several lines in a row
// about the same file are one entry. Of several such entries for a file, the one with the
// strongest digest is used if the list can be read twice, and the first one otherwise.
type checksumListReader struct {
	c       *collector
	parser  checksumParser
	target  string // the file that the name of the list implies, "" for none
	self    string // the name of the list
	lines   int    // number of the last line
	pending digestLine
	failed  bool  // the pending lines contradict each other
	files   int   // different files so far
	err     error // a file name cannot be resolved

	survey  *sumSurvey       // nil if the list can be read only once
	take    func(digestLine) // receives the lines about a file, and no entry is yielded; nil to yield entries
	weakest int              // strength of the weakest digest so far
}

func newChecksumListReader(c *collector) *checksumListReader {
	r := &checksumListReader{c: c, parser: newChecksumParser(c.name), self: listBaseName(c.name)}
	r.target, _ = sidecarTarget(c.name)
	r.parser.found = r.add
	r.parser.fault = func(n int, err error) {
		r.flush()
		r.c.problem(n, err)
	}
	return r
}

func (r *checksumListReader) parseLine(text []byte, n int) {
	r.lines = n
	r.parser.parseLine(text, n)
}

func (r *checksumListReader) parseComment(text []byte, _ int) { r.parser.parseComment(text) }

func (r *checksumListReader) skipLongLine([]byte) {}

func (r *checksumListReader) end() error {
	r.parser.end()
	if r.files == 1 && r.target != "" && fileExtension.MatchString(r.target) {
		r.pending.name = r.target
	}
	r.flush()
	if r.parser.filter.signed {
		r.c.warn(r.lines, ErrSigned)
	}
	if p := &r.parser; p.digests > 0 && p.prose > maxProse && p.prose > p.digests {
		r.c.warn(r.lines, fmt.Errorf("%d of %d lines have no digest; the list may be damaged", p.prose, p.prose+p.digests))
	}
	if r.err != nil || r.lines == 0 { // the caller decides whether a list may be empty
		return r.err
	}
	return requireDigests(r.c.name, r.files)
}

// maxProse is how many lines of prose a checksum file may have without a warning, if they
// are more than its digests. The checksum files of known distributions have up to 30.
const maxProse = 100

// add takes a line with a digest or a size.
func (r *checksumListReader) add(d digestLine) {
	if d.name == "" {
		var err error
		if d.name, err = sidecarTarget(r.c.name); err != nil {
			r.flush()
			r.c.problem(d.line, err)
			return
		}
	}
	if r.pending.line == 0 || d.name != r.pending.name {
		r.flush()
		r.pending = d
		r.files++
		return
	}
	if d.size >= 0 {
		r.pending.size = d.size
	}
	if r.pending.unknown == "" {
		r.pending.unknown = d.unknown
	}
	if conflict(r.pending.sum, d.sum) {
		r.failed = true
		r.c.problem(d.line, fmt.Errorf("has another digest for %q than line %d; the file is not downloaded", truncate(d.name), r.pending.line))
	}
	r.pending.sum = stronger(r.pending.sum, d.sum)
}

// flush yields the entry of the pending lines. A list that was made by "sha256sum *
// >SHA256SUMS" names itself, with the digest of an unfinished list, and is skipped.
func (r *checksumListReader) flush() {
	d, failed := r.pending, r.failed
	r.pending, r.failed = digestLine{}, false
	switch {
	case d.line == 0, trimDotSlash(d.name) == r.self:
		return
	case r.take != nil:
		r.take(d)
		return
	case failed, r.survey.hasStronger(d):
		return
	case r.survey == nil:
		r.warnLate(d)
	}
	e := Entry{Sum: d.sum, Size: d.size, Line: d.line}
	if isURL(d.name) {
		e.URLs = []string{d.name}
	} else if r.c.base == nil {
		r.err = fmt.Errorf("%s: is a checksum file, so its file names need a base URL", r.c.name)
		return
	} else if err := r.setName(&e, d.name); err != nil {
		r.c.problem(d.line, err)
		return
	}
	if d.sum.IsZero() && d.unknown != "" {
		r.c.warnUnverified(d.line, unknownKindError(d.unknown))
	}
	if err := r.c.takeDigests(&e); err != nil {
		r.c.problem(d.line, err)
		return
	}
	r.c.add(e)
}

// warnLate warns once that a list which can be read only once has stronger digests after
// weaker ones. They may be of files that were yielded already.
func (r *checksumListReader) warnLate(d digestLine) {
	strength := d.strength()
	if strength < r.weakest {
		r.c.warnOnce(d.line, errLateSums)
	}
	r.weakest = max(r.weakest, strength)
}

// errLateSums is the warning of warnLate.
var errLateSums = errors.New("stronger digests come after weaker ones, and this list can be read only once; a file that has both is verified by the first; save the list in a file to use the strongest")

// setName sets path and URL of the entry of a file.
func (r *checksumListReader) setName(e *Entry, name string) (err error) {
	if e.Out, err = localPath(name); err != nil {
		return err
	}
	// The "./" keeps a name such as "aa:b" from being taken for a URL with a scheme.
	e.URLs = []string{r.c.base.ResolveReference(&url.URL{Path: "./" + e.Out}).String()}
	return nil
}
