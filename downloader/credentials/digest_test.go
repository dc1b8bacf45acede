package credentials

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseChallenges(t *testing.T) {
	for value, want := range map[string][]Challenge{
		`Basic realm="a, b"`: {{"basic", map[string]string{"realm": "a, b"}}},
		`Digest realm="x", nonce = "n\"q", qop="auth, auth-int", algorithm=MD5,stale=TRUE, Basic realm=y`: {
			{"digest", map[string]string{"realm": "x", "nonce": `n"q`, "qop": "auth, auth-int", "algorithm": "MD5", "stale": "TRUE"}},
			{"basic", map[string]string{"realm": "y"}}},
		`Negotiate, NTLM TlRMTVNTUAACAAAA==, Basic realm="r"`: {{"negotiate", nil}, {"ntlm", nil}, {"basic", map[string]string{"realm": "r"}}},
		`Negotiate YII=, Basic realm=""`:                      {{"negotiate", nil}, {"basic", map[string]string{"realm": ""}}},
		`Basic`:                                               {{"basic", nil}},
		`Digest nonce="open`:                                  {{"digest", map[string]string{"nonce": "open"}}},
		`realm="no scheme", ,;, Basic`:                        {{"basic", nil}},
		"":                                                    nil,
	} {
		if got := ParseChallenges([]string{value}); !reflect.DeepEqual(got, want) {
			t.Errorf("%s\ngot  %q\nwant %q", value, got, want)
		}
	}
	if got := ParseParams(`nextnonce="abc", qop=auth`); got["nextnonce"] != "abc" || got["qop"] != "auth" {
		t.Errorf("parameters: got %q", got)
	}
}

// TestDigestExamples has the examples of the standards.
func TestDigestExamples(t *testing.T) {
	const challenge = `Digest realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`
	r := DigestRequest{User: "Mufasa", Password: "Circle of Life", Method: "GET", URI: "/dir/index.html", Count: 1, Cnonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"}
	old := r
	old.Password, old.Cnonce = "Circle Of Life", "0a4f113b"
	for _, test := range []struct {
		name      string
		challenge []string
		request   DigestRequest
		response  string
	}{
		{"RFC 7616 §3.9.1, SHA-256", []string{challenge + ", algorithm=MD5", challenge + ", algorithm=SHA-256"}, r, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"},
		{"RFC 7616 §3.9.1, MD5", []string{challenge + ", algorithm=MD5"}, r, "8ca523f5e9506fed4657c9700eebdbec"},
		{"RFC 2617 §3.5", []string{`Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`}, old, "6629fae49393a05397450978507c4ef1"},
		{"RFC 2069 §2.4 with the erratum", []string{`Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", opaque="5ccc069c403ebaf9f0171e9517f40e41"`}, DigestRequest{User: "Mufasa", Password: "CircleOfLife", Method: "GET", URI: "/dir/index.html"}, "1949323746fe6a43ef61f9606e7febea"},
	} {
		d, ok := StrongestDigest(ParseChallenges(test.challenge))
		if !ok {
			t.Errorf("%s: not supported", test.name)
			continue
		}
		if got := d.Authorization(test.request); !strings.Contains(got, `response="`+test.response+`"`) {
			t.Errorf("%s: got %s, want the response %s", test.name, got, test.response)
		}
	}
}

// TestDigestUnsupported checks that challenges that cannot be answered are left to others.
func TestDigestUnsupported(t *testing.T) {
	for _, c := range []string{`Basic realm="r"`, `Digest realm="r"`, `Digest realm="r", nonce="n", algorithm=SHA3`, `Digest realm="r", nonce="n", qop="other"`} {
		if _, ok := StrongestDigest(ParseChallenges([]string{c})); ok {
			t.Errorf("%s is taken for a challenge that can be answered", c)
		}
	}
}

// TestDigestForms checks the fields of the forms without an example in a standard.
func TestDigestForms(t *testing.T) {
	r := DigestRequest{User: `u"\`, Password: "p", Method: "GET", URI: "/a?b", Count: 17, Cnonce: "c"}
	for _, test := range []struct {
		challenge string
		want      []string
	}{
		{`Digest realm="r\"s", nonce="n", qop="auth"`, []string{`username="u\"\\"`, `realm="r\"s"`, `uri="/a?b"`, "qop=auth", "nc=00000011", `cnonce="c"`}},
		{`Digest realm="r", nonce="n", qop="auth-int, other", algorithm=MD5-sess`, []string{"algorithm=MD5-sess", "qop=auth-int"}},
		{`Digest realm="r", nonce="n", qop="auth", algorithm=SHA-512-256-sess, userhash=true`, []string{"algorithm=SHA-512-256-sess", "userhash=true"}},
	} {
		d, ok := StrongestDigest(ParseChallenges([]string{test.challenge}))
		got := ""
		if ok {
			got = d.Authorization(r)
		}
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s: got %q, want %s in it", test.challenge, got, want)
			}
		}
		if strings.Contains(test.challenge, "userhash") && strings.Contains(got, `u\"`) {
			t.Errorf("the name of the user is not hashed: %s", got)
		}
	}
}

func FuzzChallenges(f *testing.F) {
	f.Add(`Digest realm="x", nonce = "n\"q", qop="auth, auth-int", algorithm=MD5,stale=TRUE, Basic realm=y`)
	f.Add(`Negotiate, NTLM TlRMTVNTUAACAAAA==, Basic realm="r`)
	f.Fuzz(func(t *testing.T, value string) {
		if d, ok := StrongestDigest(ParseChallenges([]string{value})); ok {
			got := d.Authorization(DigestRequest{User: "u", Password: "s3cretWord", Method: "GET", URI: "/", Count: 1, Cnonce: "c"})
			if strings.Contains(got, "s3cretWord") && !strings.Contains(value, "s3cretWord") {
				t.Errorf("the password is in %q", got)
			}
		}
	})
}
