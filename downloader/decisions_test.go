package downloader

import (
	"testing"

	"pawl/downloader/credentials"
)

// TestForeignScheme: a server is named as unsupported only if it offers nothing else.
func TestForeignScheme(t *testing.T) {
	for challenge, want := range map[string]string{
		"":                                       "",
		`Basic realm="r"`:                        "",
		"Bearer":                                 "",
		"NTLM":                                   "NTLM",
		"Negotiate, NTLM":                        "NTLM",
		`Negotiate, Basic realm="r"`:             "",
		`Negotiate, X-Own`:                       "",
		`Digest realm="r", nonce="n"`:            "",
		`Digest realm="r", nonce="n", qop="x"`:   "an unknown kind of Digest",
		`Digest realm="r", nonce="n", Negotiate`: "",
	} {
		if got := foreignScheme(credentials.ParseChallenges([]string{challenge})); got != want {
			t.Errorf("%s: got %q, want %q", challenge, got, want)
		}
	}
}
