package main

import (
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestCookieHosts checks which cookies of a file go to which URL.
func TestCookieHosts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	lines := []string{
		".example.org\tTRUE\t/\tFALSE\t0\tdot\t1", "example.org\tTRUE\t/\tFALSE\t0\tbelow\t1", "example.org\tFALSE\t/\tFALSE\t0\thost\t1", ".example.org\tFALSE\t/\tFALSE\t0\tdothost\t1",
		"example.org\tTRUE\t/dir\tFALSE\t0\tdir\t1", "example.org\tTRUE\t/\tTRUE\t0\tsecure\t1",
		"127.0.0.1\tTRUE\t/\tFALSE\t0\tip\t1", "localhost\tTRUE\t/\tFALSE\t0\tlocal\t1", "::1\tFALSE\t/\tFALSE\t0\tip6\t1",
	}
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	o := &CredentialOptions{StoredCredentials: StoredCredentials{LoadCookies: secretFile(path)}}
	cookies, err := o.readCookies(&printer{stdout: io.Discard, stderr: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"http://example.org/":          "dot below host dothost",
		"https://example.org/":         "dot below host dothost secure",
		"http://example.org:8080/dir/": "dir dot below host dothost",
		"http://example.org/directory": "dot below host dothost",
		"https://sub.example.org/dir":  "dir dot below secure",
		"http://xexample.org/":         "",
		"http://org/":                  "",
		"http://127.0.0.1:81/":         "ip",
		"http://localhost/":            "local",
		"http://[::1]/":                "ip6",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range cookies(u) {
			names = append(names, c.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

// TestCredentialsDirectory checks which names are looked for among the credentials of a unit, and
// that these cause no warning: systemd gives them an access control list.
func TestCredentialsDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("t"), 0o640); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for path, want := range map[string]string{
		"token": filepath.Join(dir, "token"), "./token": filepath.Join(dir, "token"), "other": "other", "/token": "/token", "../token": "../token", "": "",
	} {
		if got := credentialPath(path); got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
	var text strings.Builder
	o := &CredentialOptions{}
	if err := o.BearerFile.UnmarshalText([]byte("token")); err != nil {
		t.Fatal(err)
	}
	if token, err := o.readBearer(&printer{stdout: io.Discard, stderr: &text}); err != nil || token != "t" || text.Len() > 0 {
		t.Errorf("got %q, %v and %q", token, err, text.String())
	}
}

// TestUserLogin checks the argument of -u, and that it does not print its password.
func TestUserLogin(t *testing.T) {
	for text, want := range map[string]userLogin{
		"": {}, "u": {name: "u", given: true}, "u:": {name: "u", given: true, hasPassword: true}, ":p:q": {password: "p:q", given: true, hasPassword: true},
	} {
		var l userLogin
		if err := l.UnmarshalText([]byte(text)); err != nil || l != want {
			t.Errorf("%q: got %#v, %v", text, l, err)
		}
		if strings.Contains(l.String(), "p:q") {
			t.Errorf("%q is shown as %q", text, l.String())
		}
	}
}
