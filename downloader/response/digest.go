package response

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/dunglas/httpsfv"

	"pawl/chunk"
)

// This file reads the digests of a file that a server names in the header of a response. They
// prove that the file came as the server meant it, and not that the server is honest.
//
//	field                        syntax                          covers
//	Repr-Digest                  dictionary, RFC 9530 §3         the file
//	Digest                       list, RFC 3230 §4.3.2           the file
//	Content-Digest               dictionary, RFC 9530 §2         the body
//	Content-MD5                  base64, RFC 1864                the body; a hint
//	X-Goog-Hash                  list, "crc32c=…,md5=…"          the stored file
//	X-Amz-Checksum-ALGO          base64; "…-N" of N parts        the file, or a part of it
//	X-Checksum-ALGO              hex                             the file (Artifactory, Nexus, Maven)
//	Docker-Content-Digest        "sha256:HEX"                    the file
//	X-Ms-Blob-Content-Md5        base64                          the file; a hint
//	OC-Checksum                  "ALGO:HEX", several with blanks the file; a hint
//
// The digest of a body counts only if the body is the whole file. A hint is often wrong: either
// somebody has uploaded it beside the file, and no server has compared both; or a proxy that
// changes the bytes may leave it as it is.

// A Digest is a digest of the whole file, as a server names it.
type Digest struct {
	chunk.Sum
	Field string // name of the header field, for example "Repr-Digest"
	Hint  bool   // the field is often wrong
}

// WantReprDigest is the value of a Want-Repr-Digest field that asks for the digests that pawl
// prefers (RFC 9530 §4).
const WantReprDigest = "sha-256=10, sha-512=5"

// algorithms maps the names of algorithms in header fields to the names of package chunk. The first
// ones are the IANA registry "Hash Algorithms for HTTP Digest Fields", without unixsum and unixcksum,
// which nobody uses for files.
var algorithms = map[string]string{
	"sha-512": "sha512", "sha-256": "sha256", "sha": "sha1", "md5": "md5", "adler": "adler32", "crc32c": "crc32c",
	"sha-384": "sha384", "sha-224": "sha224", "sha-1": "sha1", "adler32": "adler32", "crc32": "crc32", "crc64nvme": "crc64nvme",
	"sha512": "sha512", "sha384": "sha384", "sha256": "sha256", "sha224": "sha224", "sha1": "sha1",
}

// strongest lists the algorithms of package chunk, the strongest first.
var strongest = []string{"sha512", "sha384", "sha256", "sha224", "sha1", "md5", "crc64nvme", "crc32c", "crc32", "adler32"}

// amazonFields and repositoryFields are the algorithms that the names of fields end with.
var (
	amazonFields     = []string{"Sha256", "Sha1", "Crc64nvme", "Crc32c", "Crc32"}
	repositoryFields = []string{"Sha512", "Sha256", "Sha1", "Md5"}
)

// digestFields are the fields that Digests reads.
func digestFields() (names []string) {
	names = []string{"Repr-Digest", "Digest", "Content-Digest", "Content-Md5", "X-Goog-Hash", "X-Goog-Stored-Content-Encoding", "X-Amz-Checksum-Type", "Docker-Content-Digest", "X-Ms-Blob-Content-Md5", "Oc-Checksum"}
	for _, a := range amazonFields {
		names = append(names, "X-Amz-Checksum-"+a)
	}
	for _, a := range repositoryFields {
		names = append(names, "X-Checksum-"+a)
	}
	return names
}

// Digests returns the digests of the whole file in the header of a response, at most one of each
// algorithm, the strongest first. r is the result of Read for the response. If fields
// contradict each other, none of them counts, and Digests returns their names.
//
// It returns none if a content coding is removed from the body: then it is unknown whether they
// are of the coded bytes.
func Digests(h http.Header, r Content) (all []Digest, contradicting []string) {
	if r.Gzip {
		return nil, nil
	}
	for _, d := range digestsIn(h, isWholeFile(r)) {
		i := slices.IndexFunc(all, func(o Digest) bool { return o.Algorithm() == d.Algorithm() })
		switch {
		case i < 0:
			all = append(all, d)
		case all[i].Sum != d.Sum && all[i].Hint == d.Hint:
			contradicting = append(contradicting, all[i].Field, d.Field)
		case all[i].Hint && !d.Hint:
			all[i] = d
		}
	}
	all = slices.DeleteFunc(all, func(d Digest) bool { return slices.Contains(contradicting, d.Field) })
	slices.SortStableFunc(all, func(a, b Digest) int { return rank(a) - rank(b) })
	return all, contradicting
}

// rank returns a small number for a digest that proves much.
func rank(d Digest) int {
	n := slices.Index(strongest, d.Algorithm())
	if d.Hint {
		n += len(strongest)
	}
	return n
}

// isWholeFile reports whether the body of r has all bytes of the file.
func isWholeFile(r Content) bool {
	return r.Whole || r.Range.Off == 0 && r.Version.Size > 0 && r.Range.End == r.Version.Size
}

// digestsIn returns the digests of all fields. whole reports whether the body is the whole file.
func digestsIn(h http.Header, whole bool) (all []Digest) {
	add := func(field, algorithm, value string, hint bool) {
		if value == "" { // almost always: the field is missing
			return
		}
		if sum := parseDigest(algorithm, value); !sum.IsZero() {
			all = append(all, Digest{sum, field, hint})
		}
	}
	list := func(field, assign string, values []string, hint bool) {
		for _, member := range values {
			algorithm, value, _ := strings.Cut(member, assign)
			add(field, algorithm, value, hint)
		}
	}
	members := func(field string) []string { return strings.Split(strings.Join(h.Values(field), ","), ",") }

	all = append(all, dictionary(h, "Repr-Digest")...)
	list("Digest", "=", members("Digest"), false)
	if h.Get("X-Goog-Stored-Content-Encoding") != "gzip" || h.Get("Content-Encoding") == "gzip" { // else the stored file is coded, and the server has removed the coding
		list("X-Goog-Hash", "=", members("X-Goog-Hash"), false)
	}
	for _, a := range repositoryFields {
		add("X-Checksum-"+a, a, h.Get("X-Checksum-"+a), false)
	}
	list("Docker-Content-Digest", ":", h.Values("Docker-Content-Digest"), false)
	if whole {
		all = append(all, dictionary(h, "Content-Digest")...)
		add("Content-MD5", "md5", h.Get("Content-Md5"), true)
	}
	if whole && !strings.EqualFold(h.Get("X-Amz-Checksum-Type"), "COMPOSITE") {
		for _, a := range amazonFields { // a composite value does not have the length of a digest
			add("X-Amz-Checksum-"+a, a, h.Get("X-Amz-Checksum-"+a), false)
		}
	}
	add("X-Ms-Blob-Content-Md5", "md5", h.Get("X-Ms-Blob-Content-Md5"), true)
	list("OC-Checksum", ":", strings.Fields(h.Get("Oc-Checksum")), true)
	return all
}

// dictionary returns the digests of a field whose value is a dictionary of byte sequences (RFC
// 9651 §3.2, §3.3.5). If a part of it cannot be parsed, the whole field does not count.
func dictionary(h http.Header, field string) (all []Digest) {
	values := slices.Clone(h.Values(field))
	for i, v := range values {
		values[i] = unpadded.ReplaceAllStringFunc(v, addPadding)
	}
	members, err := httpsfv.UnmarshalDictionary(values)
	if err != nil {
		return nil
	}
	for _, name := range members.Names() {
		member, _ := members.Get(name)
		item, _ := member.(httpsfv.Item)
		if value, ok := item.Value.([]byte); ok {
			if sum := newDigest(algorithms[name], value); !sum.IsZero() {
				all = append(all, Digest{Sum: sum, Field: field})
			}
		}
	}
	return all
}

// unpadded matches a byte sequence without the padding of base64. A parser should accept it (RFC
// 9651 §4.2.7), and httpsfv does not.
var unpadded = regexp.MustCompile(`:[A-Za-z0-9+/]+:`)

func addPadding(sequence string) string {
	digits := strings.Trim(sequence, ":")
	return ":" + digits + strings.Repeat("=", -len(digits)&3) + ":"
}

// parseDigest returns the digest of an algorithm, as a header field names it, from its text, zero if
// it is not one. The text is in base64 with or without padding, or in hex, perhaps in quotation
// marks. Some servers encode the hex digits in base64, as the example of RFC 6249 §6 does.
func parseDigest(algorithm, text string) chunk.Sum {
	algorithm = algorithms[strings.ToLower(strings.TrimSpace(algorithm))]
	text = strings.Trim(text, " \t\"")
	if sum := fromHex(algorithm, text); !sum.IsZero() {
		return sum
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return chunk.Sum{}
	}
	return newDigest(algorithm, raw)
}

// newDigest returns the digest with these bytes, or with these hex digits, zero if their number is
// wrong.
func newDigest(algorithm string, raw []byte) chunk.Sum {
	if sum := fromHex(algorithm, hex.EncodeToString(raw)); !sum.IsZero() {
		return sum
	}
	return fromHex(algorithm, string(raw))
}

// fromHex returns the digest with these hex digits, zero if their number is wrong.
func fromHex(algorithm, digits string) chunk.Sum {
	sum, err := chunk.ParseSum(algorithm + ":" + digits)
	if err != nil {
		return chunk.Sum{}
	}
	return sum
}
