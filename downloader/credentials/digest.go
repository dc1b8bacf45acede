package credentials

import (
	"cmp"
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strings"
)

// A Digest is a challenge of Digest authentication (RFC 7616 §3.3). Immutable.
type Digest struct {
	Nonce string // of the server
	Stale bool   // the login may be right, but its nonce is too old

	realm, opaque string
	algorithm     string // as sent; "" means MD5
	hash          func() hash.Hash
	session       bool   // the name of the algorithm ends in -sess
	qop           string // "auth" or "auth-int"; "" for the form of RFC 2069
	userHash      bool   // the name of the user must be hashed
}

// digestAlgorithms are the supported algorithms, the strongest first. MD5 proves little, but many
// servers offer nothing else.
var digestAlgorithms = []struct {
	name string
	hash func() hash.Hash
}{
	{"SHA-512-256", sha512.New512_256}, {"SHA-256", sha256.New}, {"MD5", md5.New},
}

// StrongestDigest returns the supported Digest challenge with the strongest algorithm.
func StrongestDigest(challenges []Challenge) (Digest, bool) {
	for _, a := range digestAlgorithms {
		for _, c := range challenges {
			d, ok := newDigest(c)
			name := strings.TrimSuffix(strings.ToUpper(cmp.Or(d.algorithm, "MD5")), "-SESS")
			if ok && name == a.name {
				d.hash = a.hash
				return d, true
			}
		}
	}
	return Digest{}, false
}

// newDigest reads the parameters of a challenge. ok is false if it is not a Digest challenge, or is
// not supported.
func newDigest(c Challenge) (d Digest, ok bool) {
	nonce, hasNonce := c.Params["nonce"]
	if c.Scheme != "digest" || !hasNonce {
		return Digest{}, false
	}
	d = Digest{
		Nonce: nonce, Stale: strings.EqualFold(c.Params["stale"], "true"),
		realm: c.Params["realm"], opaque: c.Params["opaque"], algorithm: c.Params["algorithm"], userHash: strings.EqualFold(c.Params["userhash"], "true"),
	}
	d.session = strings.HasSuffix(strings.ToLower(d.algorithm), "-sess")
	offered := strings.FieldsFunc(strings.ToLower(c.Params["qop"]), func(r rune) bool { return r == ',' || r == ' ' || r == '\t' })
	switch {
	case slices.Contains(offered, "auth"):
		d.qop = "auth"
	case slices.Contains(offered, "auth-int"):
		d.qop = "auth-int"
	case len(offered) > 0:
		return Digest{}, false
	}
	return d, true
}

// A DigestRequest has the values that the answer to a Digest challenge depends on.
type DigestRequest struct {
	User, Password string
	Method, URI    string // of a request without a body
	// Count is how many requests have used the nonce, this one included. A server may refuse a number
	// that it has seen.
	Count uint32
	// Cnonce is random, and must be the same for all requests with a nonce, because the algorithms of a
	// session depend on the first one.
	Cnonce string
}

// Authorization returns the value of the Authorization field that answers the challenge (RFC 7616 §3.4).
func (d Digest) Authorization(r DigestRequest) string {
	join := func(parts ...string) string {
		h := d.hash()
		h.Write([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(h.Sum(nil))
	}
	secret := join(r.User, d.realm, r.Password)
	if d.session {
		secret = join(secret, d.Nonce, r.Cnonce)
	}
	request := join(r.Method, r.URI)
	if d.qop == "auth-int" {
		request = join(r.Method, r.URI, join()) // the body is empty
	}
	user := r.User
	if d.userHash {
		user = join(r.User, d.realm)
	}
	fields := []string{"username=" + quote(user), "realm=" + quote(d.realm), "nonce=" + quote(d.Nonce), "uri=" + quote(r.URI)}
	if d.algorithm != "" {
		fields = append(fields, "algorithm="+d.algorithm)
	}
	if d.qop == "" {
		fields = append(fields, "response="+quote(join(secret, d.Nonce, request)))
		if d.session {
			fields = append(fields, "cnonce="+quote(r.Cnonce))
		}
	} else {
		count := fmt.Sprintf("%08x", r.Count)
		fields = append(fields, "response="+quote(join(secret, d.Nonce, count, r.Cnonce, d.qop, request)), "qop="+d.qop, "nc="+count, "cnonce="+quote(r.Cnonce))
	}
	if d.opaque != "" {
		fields = append(fields, "opaque="+quote(d.opaque))
	}
	if d.userHash {
		fields = append(fields, "userhash=true")
	}
	return "Digest " + strings.Join(fields, ", ")
}

// quote returns a quoted string (RFC 9110 §5.6.4).
func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }
