package list

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"pawl/chunk"
)

// The keys of an object that is a digest, such as {"type":"MD5","value":"HEX"}.
var (
	algorithmKeys = []string{"type", "algorithm", "alg", "algo", "method", "checksumtype", "checksum_type", "checksumalgorithm", "hash_algorithm", "hashtype", "hash_type", "digestalgorithm"}
	digestKeys    = []string{"value", "checksum", "checksumvalue", "digest", "hash", "content", "hex"}
)

// addDigests adds the digests of an object to e: under the names of algorithms, under
// "checksum" and the like, and in objects and arrays of them, as PyPI has. Keys that look like
// digests and are not understood are counted, unless the file has another digest.
func (c *collector) addDigests(o jsonObject, e *Entry) error {
	var unclear []string
	keys := slices.Sorted(maps.Keys(o))
	slices.SortStableFunc(keys, func(a, b string) int { // then the others need no warning
		return -cmp.Compare(btoi(isKnownName(a)), btoi(isKnownName(b)))
	})
	for _, key := range keys {
		if key != strings.ToLower(key) || slices.Contains(algorithmKeys, key) {
			continue
		}
		algorithm, what := digestNameOf(key)
		switch {
		case what == digestOf:
			if err := c.addDigestValue(e, key, cmp.Or(algorithm, o.algorithm()), o[key]); err != nil {
				return err
			}
		case what == digestLike && len(o[key]) > len(`"12345678"`) && bytes.ContainsAny(o[key][:1], `"{[`):
			unclear = append(unclear, key)
		case key == "sum" && isSumValue(o.text(key)):
			if err := c.addDigestText(e, key, "", o.text(key)); err != nil {
				return err
			}
		case key == "lfs": // of Git: the digest is SHA-256
			if err := c.addLFS(o[key], e); err != nil {
				return err
			}
		}
	}
	if e.Sum.IsZero() {
		c.countUnclear(unclear)
	}
	return nil
}

// addLFS adds the digest of the content that Git LFS keeps outside of a repository.
func (c *collector) addLFS(raw json.RawMessage, e *Entry) error {
	o, err := parseObject(raw)
	if err != nil {
		return nil
	}
	if oid := o.text("oid"); len(oid) == 64 {
		return c.addDigestText(e, "oid", "sha256", oid)
	} else if oid != "" {
		return c.addDigestText(e, "oid", "", oid)
	}
	return c.addDigests(o, e)
}

// algorithm returns the algorithm that an object names beside its digest, "" for none.
func (o jsonObject) algorithm() string {
	for _, key := range algorithmKeys {
		if name := o.text(key); isKindName(name) || name != "" && digestPattern.MatchString(key) {
			return name
		}
	}
	return ""
}

// isKnownName reports whether a key names an algorithm that pawl can compute.
func isKnownName(key string) bool {
	k, ok := kindOf(key)
	return ok && k.isKnown()
}

func isKindName(word string) bool {
	_, ok := kindOf(word)
	return ok
}

// text returns the value of a key that is a string, without blanks around it, else "".
func (o jsonObject) text(key string) string {
	var text string
	if o.get(key, &text) != nil {
		return ""
	}
	return strings.Trim(text, blanks)
}

// addDigestValue adds the digest in a value: a string, an object of digests, an object that is a
// digest, or an array of these.
func (c *collector) addDigestValue(e *Entry, key, algorithm string, raw json.RawMessage) error {
	raw = bytes.Trim(raw, blanks+"\n")
	switch {
	case len(raw) == 0, string(raw) == "null", string(raw) == "false", string(raw) == "true":
		return nil
	case raw[0] == '"':
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return err
		}
		return c.addDigestText(e, key, algorithm, strings.Trim(text, blanks))
	case raw[0] == '[':
		var values []json.RawMessage
		err := json.Unmarshal(raw, &values)
		for _, v := range values {
			if err == nil {
				err = c.addDigestValue(e, key, algorithm, v)
			}
		}
		return err
	case raw[0] == '{':
		o, err := parseObject(raw)
		if err != nil {
			return err
		}
		if inner := cmp.Or(o.algorithm(), o.text("type"), o.text("algorithm"), o.text("alg"), o.text("algo")); inner != "" {
			for _, k := range digestKeys {
				if text := o.text(k); text != "" {
					return c.addDigestText(e, key, inner, text)
				}
			}
		}
		return c.addDigests(o, e)
	}
	return c.addSum(e, chunk.Sum{}, unknownKindError(key)) // a number
}

// addDigestText adds a digest. Under "hash" there may be something else, such as the name of a
// commit. There may be several in the form of Subresource Integrity.
func (c *collector) addDigestText(e *Entry, key, algorithm, text string) error {
	if text == "" || isKindName(text) {
		return nil
	}
	if words := strings.Fields(text); len(words) > 1 && isSumValue(words[0]) {
		for _, w := range words {
			if err := c.addDigestText(e, key, algorithm, w); err != nil {
				return err
			}
		}
		return nil
	}
	var sum chunk.Sum
	err := errNotDigest
	if algorithm != "" && !strings.ContainsAny(text, ":-") {
		sum, err = parseNamedSum(algorithm, text)
	} else if key != "hash" || len(text) != 40 {
		sum, err = parseSumValue(text)
	}
	if err == errNotDigest {
		err = unknownKindError(key)
	}
	return c.addSum(e, sum, err)
}
