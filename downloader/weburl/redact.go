package weburl

// This file redacts URLs in messages and logs. Records and reports for programs contain the URL
// without user and password, which still works.

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// WithoutUser returns a URL without user and password. If s is not a URL, it returns only the part
// after the last "@", because the part before may be a password.
func WithoutUser(s string) string {
	u, err := url.Parse(escapeUser(s))
	if err != nil || u.Scheme == "" || u.Host == "" {
		return s[strings.LastIndexByte(s, '@')+1:]
	}
	if u.User == nil {
		return s
	}
	u.User = nil
	return u.String()
}

// Redact returns a URL for people: without user and password, and with "…" for the values
// of parameters that may be secrets, for example "https://example.com/f?X-Amz-Signature=…".
func Redact(s string) string { return RedactText(WithoutUser(s)) }

var (
	// parameter matches one parameter of a query in any text. A value ends with the word or the
	// quotation; \" does not end a quotation.
	parameter = regexp.MustCompile(`([?&;#])([^\s?&;#=<>"']+)=((?:\\.|[^\s&;#<>"'\\])+)`)
	// userInfo matches user and password of a URL, in any text.
	userInfo = regexp.MustCompile(`://[^\s/?#<>"']*@`)
)

// secretParameters are parts of the names of parameters whose values may be secrets, such as
// X-Amz-Signature, X-Goog-Credential, access_token, sig, Policy, Key-Pair-Id and hdnts.
var secretParameters = []string{"auth", "credential", "hdn", "hmac", "jwt", "key", "passw", "policy", "pwd", "secret", "session", "sig", "token"}

// RedactText returns a text for people, with each URL in it redacted as Redact does.
func RedactText(text string) string {
	if strings.Contains(text, "@") {
		text = userInfo.ReplaceAllString(text, "://")
	}
	if !strings.Contains(text, "=") {
		return text
	}
	return parameter.ReplaceAllStringFunc(text, func(p string) string {
		m := parameter.FindStringSubmatch(p)
		if isSecretParameter(m[2], m[3]) {
			return m[1] + m[2] + "=…"
		}
		return p
	})
}

// SamePath reports whether two URLs differ at most in the host and in the parameters of a signature, so
// that they most likely lead to the same file.
func SamePath(a, b string) bool {
	return a == b || pathOf(WithoutSignature(a)) == pathOf(WithoutSignature(b))
}

// signing are the names of the parameters of signatures: of S3 and its likes, of Azure, and of content
// delivery networks. A parameter such as key, which may name the file, is none.
var signing = []string{
	"algorithm", "authkey", "accesskeyid", "credential", "date", "expire", "expires", "expiry", "googleaccessid", "hdnea", "hdnts", "hmac", "keypairid",
	"policy", "securitytoken", "se", "sig", "sign", "signature", "signedheaders", "ske", "skoid", "sks", "skt", "sktid", "skv", "sp", "spr", "sr", "st", "sv",
	"token", "ttl",
}

// hyphens removes the characters by which spellings of a parameter differ.
var hyphens = strings.NewReplacer("-", "", "_", "")

// WithoutSignature returns a URL without the parameters of a signature.
func WithoutSignature(s string) string {
	base, query, found := strings.Cut(s, "?")
	if !found {
		return s
	}
	var kept []string
	for p := range strings.SplitSeq(query, "&") {
		name, _, _ := strings.Cut(strings.ToLower(p), "=")
		for _, prefix := range []string{"x-amz-", "x-goog-", "x-oss-", "aws", "auth_", "access_"} {
			name = strings.TrimPrefix(name, prefix)
		}
		if name = hyphens.Replace(name); !slices.Contains(signing, name) {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return base
	}
	return base + "?" + strings.Join(kept, "&")
}

// pathOf returns a URL without scheme and host.
func pathOf(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		_, s, _ = strings.Cut(rest, "/")
	}
	return s
}

// isSecretParameter reports whether the value of a parameter may be a secret, by its name,
// or because it is a URL with such a parameter.
func isSecretParameter(name, value string) bool {
	if decoded, err := url.QueryUnescape(name); err == nil {
		name = decoded
	}
	name = strings.ToLower(name)
	if slices.ContainsFunc(secretParameters, func(part string) bool { return strings.Contains(name, part) }) {
		return true
	}
	decoded, err := url.QueryUnescape(value)
	return err == nil && decoded != value && RedactText(decoded) != decoded
}
