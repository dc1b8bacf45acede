package response

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"

	"pawl/chunk"
)

// ReprDigest returns the digest of the whole file in the Repr-Digest field, zero if there is
// none (RFC 9530 §3, a dictionary of RFC 9651 §3.2). It uses only the algorithms that the RFC calls
// active, and ignores members that cannot be parsed.
func ReprDigest(h http.Header) (sum chunk.Sum) {
	for member := range strings.SplitSeq(strings.Join(h.Values("Repr-Digest"), ","), ",") {
		key, value, _ := strings.Cut(member, "=")
		value, _, _ = strings.Cut(value, ";")
		algorithm := map[string]string{"sha-256": "sha256", "sha-512": "sha512"}[strings.Trim(key, " \t")]
		value = strings.Trim(value, " \t")
		if algorithm == "" || len(value) < 2 || value[0] != ':' || value[len(value)-1] != ':' {
			continue
		}
		digest, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value[1:len(value)-1], "="))
		if err != nil {
			continue
		}
		if s, err := chunk.ParseSum(algorithm + ":" + hex.EncodeToString(digest)); err == nil {
			sum = s
		}
	}
	return sum
}
