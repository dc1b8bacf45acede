package response

import (
	"net/http"
	"testing"
)

// Digests of the text {"hello": "world"} with a line feed (RFC 9530, appendix D).
const (
	hello256    = "sha256:44aff4ab2d7c3250525675a08f0cfa9591168cffe51791c5f5bbc417c15a6c38"
	hello256b64 = "RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg="
	hello512b64 = "YMAam51Jz/jOATT6/zvHrLVgOYTGFy1d6GJiOHTohq4yP+pgk4vf2aCsyRZOtw8MjkM7iw7yZ/WkppmM44T3qg=="
)

func TestReprDigest(t *testing.T) {
	tests := []struct{ field, algorithm, sum string }{ // sum "" means any
		{"sha-256=:" + hello256b64 + ":", "sha256", hello256},
		{" sha-256=:" + hello256b64 + ": ; x=1", "sha256", hello256},
		{"sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg:", "sha256", hello256}, // without padding
		{"md5=:AAAA:, sha-256=:" + hello256b64 + ":", "sha256", hello256},
		{"sha-512=:" + hello512b64 + ":", "sha512", ""},
		{"", "", ""},
		{"sha-256", "", ""},
		{"sha-256=" + hello256b64, "", ""},
		{"sha-256=:AAAA:", "", ""},
		{"sha-256=:!!!!:", "", ""},
		{"SHA-256=:" + hello256b64 + ":", "", ""}, // keys are in lower case (RFC 9651 §3.1.2)
		{"md5=:1B2M2Y8AsgTpgAmY7PhCfg==:", "", ""},
	}
	for _, tt := range tests {
		sum := ReprDigest(http.Header{"Repr-Digest": {tt.field}})
		if sum.Algorithm() != tt.algorithm || tt.sum != "" && sum.String() != tt.sum {
			t.Errorf("Repr-Digest %q: got %v, want %s %s", tt.field, sum, tt.algorithm, tt.sum)
		}
	}
	both := ReprDigest(http.Header{"Repr-Digest": {"md5=:AAAA:", "sha-256=:" + hello256b64 + ":"}})
	if both.String() != hello256 {
		t.Errorf("two fields: got %v, want %s", both, hello256)
	}
}

func FuzzReprDigest(f *testing.F) {
	f.Add("sha-256=:" + hello256b64 + ":, sha-512=:" + hello512b64 + ":;a=b")
	f.Add("sha-256=:,:=;")
	f.Fuzz(func(t *testing.T, field string) {
		sum := ReprDigest(http.Header{"Repr-Digest": {field}})
		switch sum.Algorithm() {
		case "", "sha256", "sha512":
		default:
			t.Errorf("Repr-Digest %q: got %v, want SHA-256, SHA-512 or none", field, sum)
		}
	})
}
