package list

import (
	"encoding/csv"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"pawl/chunk"
)

// errMalformed reports a line that looks like a digest and is none, so that a file lacks
// its digest. A line with errNotDigest is only prose.
var errMalformed = errors.New("is not a valid checksum line")

// A digestLine is the content of a line of a checksum file, about one file.
type digestLine struct {
	name    string    // of the file; "" if the line has none
	sum     chunk.Sum // zero if there is none of a known algorithm
	unknown string    // the name of an algorithm that pawl does not know, if there is one
	size    int64     // in bytes; -1 if the line does not state it
	line    int       // number of the line
}

// set adds a digest in hex or base64. The algorithm is as the line names it.
func (d *digestLine) set(algorithm, digest string) error {
	sum, err := parseNamedSum(algorithm, digest)
	var unknown unknownKindError
	if errors.As(err, &unknown) {
		d.unknown = algorithm
		return nil
	}
	if err == nil && conflict(d.sum, sum) {
		err = fmt.Errorf("has two different %s digests", sum.Algorithm())
	}
	d.sum = stronger(d.sum, sum)
	return err
}

// A digestContext is the evidence around a line for the algorithm of an untagged digest.
type digestContext struct {
	file    []kind // the algorithms in the name of the file
	heading []kind // the algorithms in the last line of prose that names any
	sized   bool   // lines are of the form HEX SIZE NAME, as in the Release files of Debian
}

// setUntagged adds a digest in hex whose algorithm follows from the context, or from its
// length.
func (x *digestContext) setUntagged(d *digestLine, digits string) (err error) {
	n := len(digits)
	near, isNear := onlyKind(x.heading, n)
	far, isFar := onlyKind(x.file, n)
	if isNear && isFar && near != far && n == 128 && near.isKnown() && far.isKnown() {
		isNear, isFar = false, false
	}
	switch {
	case isNear:
		return d.set(near.name, digits)
	case isFar:
		return d.set(far.name, digits)
	}
	if b2 := kinds["blake2b"]; n != b2.digits && (slices.Contains(x.heading, b2) || len(x.heading) == 0 && slices.Contains(x.file, b2)) { // b2sum -l
		d.unknown = fmt.Sprintf("blake2b-%d", n*4)
		return nil
	}
	algorithm, ok := algorithmByDigits[n]
	if !ok {
		return fmt.Errorf("no known digest has %d hex digits", n)
	}
	d.sum, err = chunk.ParseSum(algorithm + ":" + digits)
	return err
}

// parseDigest parses one line of a checksum file that has a digest in itself. The line must
// not begin with a blank. It has one of these forms:
//
//	HEX  name   HEX *name   HEX name     written by md5sum(1), sha256sum(1) and the like
//	HEX                                  a sidecar file, such as x.iso.sha256; name is ""
//	SHA256 (name) = HEX                  BSD, cksum(1)
//	SHA256(name)= HEX                    openssl-dgst(1)
//	SIZE (name) = n                      the distinfo files of FreeBSD
//	DIST name n BLAKE2B HEX SHA512 HEX   the Manifest files of Gentoo
//	name  HEX   SHA256  HEX  name        tables
//
// A backslash before any of the first forms means that the name is escaped.
//
// It returns errNotDigest for any other line, and another error for a line in one of
// the forms whose digest is not valid.
func (x *digestContext) parseDigest(line string) (digestLine, error) {
	d := digestLine{size: -1}
	text, escaped := strings.CutPrefix(line, `\`)
	var err error
	if n := countHexDigits(text); n >= 32 {
		if n < len(text) && !isBlank(text[n]) {
			return d, errMalformed
		}
		err = x.setUntagged(&d, text[:n])
		d.name = nameAfterDigest(text[n:])
		if x.sized {
			d.takeSize()
		}
	} else if err = d.parseTagged(text); err == errNotDigest {
		return x.parseFields(line)
	}
	if err == nil && escaped {
		d.name, err = unescapeName(d.name)
	}
	return d, err
}

// isDigestLine reports whether a line has a digest, valid or not.
func isDigestLine(line string) bool {
	_, err := new(digestContext).parseDigest(line)
	return err != errNotDigest
}

// nameAfterDigest returns the file name from the text after a digest: one blank, then
// optionally a space or a star (text or binary mode), then the name. The name may begin
// with further blanks, so they are not trimmed. It returns "" if there is only white space.
func nameAfterDigest(rest string) string {
	if strings.Trim(rest, blanks) == "" {
		return ""
	}
	rest = rest[1:]
	if rest[0] == ' ' || rest[0] == '*' {
		rest = rest[1:]
	}
	return rest
}

// takeSize takes the size from before the name. Between both there may be other fields.
func (d *digestLine) takeSize() {
	fields := strings.Fields(d.name)
	if len(fields) < 2 {
		return
	}
	if size, err := parseSize(fields[0]); err == nil {
		d.size, d.name = size, fields[len(fields)-1]
	}
}

// parseTagged parses a line that names its algorithm. The name of the file ends at the
// last closing parenthesis, because a digest contains none but the name may.
func (d *digestLine) parseTagged(line string) error {
	left, right := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if left < 0 || right < left {
		return errNotDigest
	}
	value, ok := strings.CutPrefix(strings.TrimLeft(line[right+1:], blanks), "=")
	value = strings.Trim(value, blanks)
	algorithm := strings.TrimRight(line[:left], blanks)
	if !ok || algorithm == "" || strings.ContainsFunc(algorithm, notAlgorithmChar) {
		return errNotDigest
	}
	d.name = line[left+1 : right]
	if strings.EqualFold(algorithm, "size") {
		var err error
		d.size, err = parseSize(strings.TrimSuffix(value, " bytes")) // NetBSD writes the unit
		return err
	}
	if _, ok := kindOf(algorithm); !ok && (len(value) < 8 || !isHex(value)) {
		return errNotDigest
	}
	return d.set(algorithm, value)
}

// notAlgorithmChar reports whether r cannot be part of an algorithm's name, such as
// "BLAKE2b-256" or "SHA512/256".
func notAlgorithmChar(r rune) bool {
	return !(r < 0x80 && isLetter(byte(r)) || '0' <= r && r <= '9' || r == '-' || r == '/')
}

// manifestTypes are the types of the entries of a Manifest of Gentoo (GLEP 74).
var manifestTypes = []string{"DIST", "DATA", "MANIFEST", "MISC", "EBUILD", "AUX", "OPTIONAL"}

// columnGap separates the columns of a table: a bar, a tab or several spaces.
var columnGap = regexp.MustCompile(`\s*\|\s*|\t+| {2,}`)

// notDigests matches lines in which hex digits are no digest of a file.
var notDigests = regexp.MustCompile(`(?i)fingerprint|^(git|commit|revision|rev|tree|parent|key|id)\b`)

// parseFields parses a row of a table: one field is a digest, and the others are the name of
// its algorithm, a size and the name of the file. Anything more is prose.
func (x *digestContext) parseFields(line string) (digestLine, error) {
	d := digestLine{size: -1}
	if notDigests.MatchString(line) {
		return d, errNotDigest
	}
	if d, ok := x.parseCRC(line); ok {
		return d, nil
	}
	if fields := strings.Fields(line); len(fields) >= 5 && len(fields)%2 == 1 && slices.Contains(manifestTypes, fields[0]) {
		return d, d.parseManifest(fields)
	}
	for _, fields := range [][]string{rowFields(line), strings.Fields(line)} {
		if d, err := x.parseRow(fields); err != errNotDigest {
			return d, err
		}
	}
	return d, errNotDigest
}

// The forms of lines with a CRC, which pawl cannot compute: the output of POSIX cksum, and SFV.
var (
	cksumLine = regexp.MustCompile(`^[0-9]{6,10} ([0-9]{1,18}) (\S.*)$`)
	sfvLine   = regexp.MustCompile(`^([^;].*?)\s+([0-9A-Fa-f]{8})\s*$`)
)

// parseCRC parses a line with a CRC. Eight decimal digits may be a date, so they are a CRC only if the name of
// the list says so.
func (x *digestContext) parseCRC(line string) (digestLine, bool) {
	d := digestLine{size: -1}
	if m := cksumLine.FindStringSubmatch(line); m != nil {
		size, err := parseSize(m[1])
		d.unknown, d.size, d.name = "cksum", size, m[2]
		return d, err == nil
	}
	m := sfvLine.FindStringSubmatch(line)
	if m == nil || strings.Contains(m[1], "://") {
		return d, false
	}
	isSFV := slices.Contains(x.file, kinds["sfv"])
	d.unknown, d.name = "crc32", m[1]
	return d, isSFV || fileExtension.MatchString(m[1]) && !strings.ContainsAny(m[1], blanks) && strings.Trim(m[2], "0123456789") != ""
}

// parseManifest parses the fields TYPE, NAME, SIZE, then pairs of ALGORITHM and DIGEST.
func (d *digestLine) parseManifest(fields []string) (err error) {
	d.name = fields[1]
	if d.size, err = parseSize(fields[2]); err != nil {
		return errNotDigest
	}
	for pair := range slices.Chunk(fields[3:], 2) {
		if err := d.set(pair[0], pair[1]); err != nil {
			return err
		}
	}
	return nil
}

// rowFields returns the columns of a line of a table.
func rowFields(line string) []string {
	if strings.HasPrefix(line, `"`) {
		if fields, err := csv.NewReader(strings.NewReader(line)).Read(); err == nil {
			return fields
		}
	}
	return columnGap.Split(line, -1)
}

// parseRow parses the columns of a row of a table.
func (x *digestContext) parseRow(fields []string) (digestLine, error) {
	d := digestLine{size: -1}
	algorithm, digest, number := "", "", ""
	for _, field := range fields {
		field = strings.Trim(field, blanks+"`\"'=:")
		prefix, rest, tagged := strings.Cut(field, ":")
		_, isKind := kindOf(field)
		switch {
		case field == "":
		case isHex(field) && algorithmByDigits[len(field)] != "" && digest == "":
			digest = field
		case tagged && len(rest) >= 32 && isHex(rest) && digest == "":
			algorithm, digest = prefix, rest
		case isKind && algorithm == "":
			algorithm = field
		case strings.Trim(field, "0123456789") == "" && number == "":
			number = field
		case d.name == "":
			d.name = nameFromWindows(strings.TrimPrefix(field, "*"))
		default:
			return d, errNotDigest
		}
	}
	if digest == "" {
		return d, errNotDigest
	}
	if d.name == "" {
		d.name = number
	} else if size, err := strconv.ParseInt(number, 10, 64); err == nil {
		d.size = size
	}
	if strings.HasSuffix(d.name, "...") || strings.HasSuffix(d.name, "…") {
		return d, fmt.Errorf("file name %q is cut off", truncate(d.name))
	}
	if algorithm != "" {
		return d, d.set(algorithm, digest)
	}
	return d, x.setUntagged(&d, digest)
}

// nameFromWindows returns the name of a file as a checksum file means it, from a path that a
// tool of Windows has printed. Such tools print absolute paths, of which only the last
// element means something elsewhere.
func nameFromWindows(name string) string {
	if !strings.ContainsAny(name, `\/`) {
		return name
	}
	slashed := strings.ReplaceAll(name, `\`, "/")
	if slashed[0] == '/' || len(slashed) > 1 && slashed[1] == ':' {
		return path.Base(slashed)
	}
	return slashed
}

// unescapeName undoes the escapes that md5sum(1) and the like write for file names with
// line ends: \\, \n and \r.
func unescapeName(name string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(name, `\`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		switch {
		case strings.HasPrefix(rest, `\`):
			b.WriteByte('\\')
		case strings.HasPrefix(rest, "n"):
			b.WriteByte('\n')
		case strings.HasPrefix(rest, "r"):
			b.WriteByte('\r')
		default:
			return "", errors.New(`escaped name contains a backslash that is not followed by \, n or r`)
		}
		name = rest[1:]
	}
}

// listBaseName returns the last path element of a list's name, which may be a URL.
func listBaseName(list string) string {
	if strings.Contains(list, "://") {
		list, _, _ = strings.Cut(list, "?")
	}
	return list[strings.LastIndexAny(list, `/\`)+1:]
}

// sidecarTarget returns the name of the file that a sidecar checksum file belongs to,
// for example "x.iso" for the list "http://h/x.iso.sha256". It returns an error if the
// name of the list does not end in the name of an algorithm.
func sidecarTarget(list string) (string, error) {
	base := listBaseName(list)
	name := base
	for _, ext := range []string{".gz", ".txt"} {
		if len(name) > len(ext) && strings.EqualFold(name[len(name)-len(ext):], ext) {
			name = name[:len(name)-len(ext)]
		}
	}
	ext := path.Ext(name)
	name = name[:len(name)-len(ext)]
	_, isKind := kindOf(strings.TrimPrefix(ext, "."))
	if name != "" && (isKind || slices.Contains(digestExtensions, strings.ToLower(ext))) {
		return name, nil
	}
	return "", fmt.Errorf("digest has no file name, and the list's name %q does not imply one", truncate(base))
}

// digestExtensions are the extensions of checksum files that name no algorithm.
var digestExtensions = []string{".sha", ".sum", ".sums", ".checksum", ".checksums", ".digest", ".digests", ".hash"}

// fileExtension matches the end of the name of a file, and not of a release such as "v1.2.3".
var fileExtension = regexp.MustCompile(`\.[A-Za-z0-9]{0,4}[A-Za-z][A-Za-z0-9]{0,4}$`)
