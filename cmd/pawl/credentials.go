package main

// This file reads the credentials of the user: passwords, tokens, cookies, certificates. headers.go
// decides which origin gets which of them.

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"pawl/downloader/credentials"
)

// maxSecretFile limits a file with credentials, in bytes. The cookies of a browser take 1 MiB; half
// of the limit would still be enough, and double only takes memory.
const maxSecretFile = 16 << 20

// A userLogin is the argument of -u. The zero userLogin is none.
type userLogin struct {
	name, password string
	given          bool
	hasPassword    bool
}

// UnmarshalText accepts USER and USER:PASS. The password may contain colons.
func (l *userLogin) UnmarshalText(text []byte) error {
	*l = userLogin{given: len(text) > 0}
	l.name, l.password, l.hasPassword = strings.Cut(string(text), ":")
	return nil
}

// String returns the user without the password, for messages.
func (l userLogin) String() string {
	if l.hasPassword {
		return l.name + ":…"
	}
	return l.name
}

// A secretFile is the path of a file with credentials, "" for none.
type secretFile string

// UnmarshalText accepts a path. It is absolute from then on.
func (f *secretFile) UnmarshalText(text []byte) error {
	*f = ""
	if len(text) > 0 {
		*f = secretFile(kong.ExpandPath(credentialPath(string(text))))
	}
	return nil
}

// credentialPath returns the path of a file with credentials. A relative path is below
// $CREDENTIALS_DIRECTORY if it exists there, because systemd puts the credentials of a unit there.
func credentialPath(path string) string {
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || !filepath.IsLocal(path) {
		return path
	}
	if _, err := os.Stat(filepath.Join(dir, path)); err != nil {
		return path
	}
	return filepath.Join(dir, path)
}

// A credentialSet has the credentials of the command line, read once. Immutable.
type credentialSet struct {
	user    *url.Userinfo // of -u; nil for none
	bearer  string        // token of --bearer-file; "" for none
	netrc   netrcFile
	cookies func(*url.URL) []*http.Cookie // of --load-cookies; nil for none
	cert    *tls.Certificate              // of --cert; nil for none
}

// A netrcFile is a netrc file that was read. The zero netrcFile has no logins.
type netrcFile struct {
	credentials.Netrc
	name    string // for the user, for example "--netrc-file FILE" or "~/.netrc"
	exposed string // its path, if other users of the machine can read it; else ""
}

// loadCredentials reads the files of the options, and asks for the password of -u. It must be
// called once, before originHeaders.
func (o *CredentialOptions) loadCredentials(ctx context.Context, out *printer) (err error) {
	set := &o.loaded
	if o.User.given && o.BearerFile != "" {
		return usageErr{errors.New("--user and --bearer-file exclude each other")}
	}
	if set.bearer, err = o.readBearer(out); err != nil {
		return err
	}
	if set.netrc, err = o.readNetrc(out); err != nil {
		return err
	}
	if set.cookies, err = o.readCookies(out); err != nil {
		return err
	}
	if set.cert, err = o.readCertificate(out); err != nil {
		return err
	}
	if !o.User.given {
		return nil
	}
	password := o.User.password
	if !o.User.hasPassword { // asked last, when nothing else can fail
		if password, err = askPassword(ctx, o.User.name); err != nil {
			return err
		}
	}
	set.user = url.UserPassword(o.User.name, password)
	return nil
}

// readSecret reads a file of an option, and warns if other users can read it.
func readSecret(option string, path secretFile, out *printer) ([]byte, error) {
	text, exposed, err := readSecretFile(string(path))
	if err != nil {
		return nil, usageErr{fmt.Errorf("%s: %w", option, err)}
	}
	if exposed {
		warnExposed(out, string(path))
	}
	return text, nil
}

// readSecretFile reads a file, and reports whether other users can read it.
func readSecretFile(path string) (text []byte, exposed bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	text, err = io.ReadAll(io.LimitReader(f, maxSecretFile+1))
	if err == nil && len(text) > maxSecretFile {
		err = fmt.Errorf("%q is larger than %s", path, size(maxSecretFile))
	}
	return text, isExposed(f), err
}

// isExposed reports whether other users of the machine can read a file. The credentials of a unit
// are protected by their directory: their mode may have bits of the group, which stand for an
// access control list.
func isExposed(f *os.File) bool {
	if dir := os.Getenv("CREDENTIALS_DIRECTORY"); dir != "" && strings.HasPrefix(f.Name(), filepath.Clean(dir)+string(filepath.Separator)) {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o077 != 0 && runtime.GOOS != "windows"
}

func warnExposed(out *printer, path string) {
	out.warn("%q is readable by other users; restrict it with: chmod 600", path)
}

// readBearer reads the token of --bearer-file (RFC 6750 §2.1).
func (o *CredentialOptions) readBearer(out *printer) (string, error) {
	if o.BearerFile == "" {
		return "", nil
	}
	text, err := readSecret("--bearer-file", o.BearerFile, out)
	if err != nil {
		return "", err
	}
	token, err := parseToken(text)
	if err != nil {
		return "", &settingError{"--bearer-file", fmt.Sprintf("%q %v", string(o.BearerFile), err), "write the token alone, without a name before it, on one line"}
	}
	return token, nil
}

// parseToken returns the token in the text of a file. An error must not contain the text, because it may
// be a secret.
func parseToken(text []byte) (string, error) {
	token := string(bytes.TrimSpace(bytes.TrimPrefix(text, []byte("\ufeff"))))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "", errors.New("does not contain one token and nothing else")
	}
	return token, nil
}

// readNetrc reads the file of --netrc-file, of the variable NETRC, or in the home directory. Only a
// file that the user has named must be there.
func (o *CredentialOptions) readNetrc(out *printer) (netrcFile, error) {
	variable := os.Getenv("NETRC")
	switch {
	case o.NoNetrc:
		return netrcFile{}, nil
	case o.NetrcFile != "":
		f, err := parseNetrcFile("--netrc-file FILE", string(o.NetrcFile))
		if err != nil {
			err = &settingError{"--netrc-file", "cannot be used: " + err.Error(), "correct it, or give another file"}
		}
		return f, err
	case variable != "":
		f, err := parseNetrcFile("NETRC", variable)
		if err != nil {
			err = &settingError{"NETRC", "cannot be used: " + err.Error(), "correct it, unset NETRC, or leave it out with --no-netrc"}
		}
		return f, err
	}
	path, name := homeNetrc()
	if _, err := os.Lstat(path); err != nil { // none; or, after sudo -u, the home directory of another user
		return netrcFile{}, nil
	}
	f, err := parseNetrcFile(name, path)
	switch {
	case isFileError(err):
		out.warn("%s; it is not used", printable(err.Error()))
		return netrcFile{}, nil
	case err != nil:
		err = &settingError{name, "cannot be used: " + err.Error(), "correct it, or leave it out with --no-netrc"}
	}
	return f, err
}

// homeNetrc returns the path of the user's netrc file, "" if there is no home directory, and its name.
func homeNetrc() (path, name string) {
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return "", ""
	}
	if runtime.GOOS == "windows" { // as other tools there
		if path = filepath.Join(home, "_netrc"); isFile(path) {
			return path, "~/_netrc"
		}
	}
	return filepath.Join(home, ".netrc"), "~/.netrc"
}

// parseNetrcFile reads a netrc file.
func parseNetrcFile(name, path string) (netrcFile, error) {
	text, exposed, err := readSecretFile(path)
	if err != nil {
		return netrcFile{}, err
	}
	f := netrcFile{name: name}
	if exposed {
		f.exposed = path
	}
	if f.Netrc, err = credentials.ParseNetrc(text); err != nil {
		err = fmt.Errorf("%q %w", path, err)
	}
	return f, err
}

// readCookies reads the file of --load-cookies. It returns a function that returns the cookies for
// a URL, or nil without a file. A jar decides by host, path and time which of them fit; it has no
// list of public suffixes, because the user has chosen the file. Those for https only are in a
// second jar, because package cookiejar also sends them to this machine over http.
func (o *CredentialOptions) readCookies(out *printer) (func(*url.URL) []*http.Cookie, error) {
	if o.LoadCookies == "" {
		return nil, nil
	}
	text, err := readSecret("--load-cookies", o.LoadCookies, out)
	if err != nil {
		return nil, err
	}
	cookies, bad, err := credentials.ParseCookieFile(text)
	if err != nil {
		return nil, usageErr{fmt.Errorf("--load-cookies %q: %w", string(o.LoadCookies), err)}
	}
	if len(bad) > 0 {
		out.warn("%q: line %d is no cookie%s", string(o.LoadCookies), bad[0], andMore(len(bad)-1))
	}
	isExpired := func(c credentials.FileCookie) bool { return !c.Expires.IsZero() && c.Expires.Before(time.Now()) }
	if len(cookies) > 0 && !slices.ContainsFunc(cookies, func(c credentials.FileCookie) bool { return !isExpired(c) }) {
		out.warn("%q: all cookies have expired; export them again", string(o.LoadCookies))
	}
	all, _ := cookiejar.New(nil) // the errors are always nil
	notSecure, _ := cookiejar.New(nil)
	for _, c := range cookies {
		host := c.Host
		if strings.Contains(host, ":") {
			host = "[" + strings.Trim(host, "[]") + "]"
		}
		from, cookie := &url.URL{Scheme: "https", Host: host, Path: c.Path}, []*http.Cookie{c.HTTP()}
		if all.SetCookies(from, cookie); !c.Secure {
			notSecure.SetCookies(from, cookie)
		}
	}
	return func(u *url.URL) []*http.Cookie {
		if u.Scheme == "https" {
			return all.Cookies(u)
		}
		return notSecure.Cookies(u)
	}, nil
}

// andMore returns the end of a message about the first of several lines.
func andMore(n int) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", nor are %d others", n)
}

// readCertificate reads the files of --cert and --key in PEM form. Without --key, the key is in the file of
// --cert.
func (o *CredentialOptions) readCertificate(out *printer) (*tls.Certificate, error) {
	if o.Cert == "" {
		if o.Key != "" {
			return nil, usageErr{errors.New("--key needs the certificate in --cert FILE")}
		}
		return nil, nil
	}
	cert, exposed, err := readSecretFile(string(o.Cert))
	if err != nil {
		return nil, usageErr{fmt.Errorf("--cert: %w", err)}
	}
	key := cert // the file may be a pipe, so it is read once
	if o.Key != "" {
		if key, err = readSecret("--key", o.Key, out); err != nil {
			return nil, err
		}
	} else if exposed {
		warnExposed(out, string(o.Cert))
	}
	pair, err := o.keyPair(cert, key)
	if err == nil && pair.Leaf != nil && time.Now().After(pair.Leaf.NotAfter) {
		out.warn("the certificate in %q has expired on %s", string(o.Cert), pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return pair, err
}

// keyPair parses a certificate and its key.
func (o *CredentialOptions) keyPair(cert, key []byte) (*tls.Certificate, error) {
	keyOption, keyPath := "--key", o.Key
	if keyPath == "" {
		keyOption, keyPath = "--cert", o.Cert
	}
	bad := func(option string, path secretFile, why, hint string) (*tls.Certificate, error) {
		return nil, &settingError{option, fmt.Sprintf("%q %s", string(path), why), hint}
	}
	switch hasCert, hasKey := findPEM(cert, isCertificate), findPEM(key, isPrivateKey); {
	case hasCert == nil && len(cert) > 0 && cert[0] == 0x30: // a sequence in DER
		return bad("--cert", o.Cert, "contains no certificate in PEM form", "convert PKCS#12 with: openssl pkcs12 -nodes -in FILE -out PEM")
	case hasCert == nil:
		return bad("--cert", o.Cert, "contains no certificate in PEM form", "name the file that begins with -----BEGIN CERTIFICATE-----")
	case hasKey == nil && o.Key == "":
		return bad("--cert", o.Cert, "contains no private key", "name the file of the key with --key FILE")
	case hasKey == nil:
		return bad("--key", keyPath, "contains no private key in PEM form", "name the file that has -----BEGIN PRIVATE KEY-----")
	case isEncryptedKey(hasKey):
		return bad(keyOption, keyPath, "is encrypted, which pawl does not support", "decrypt it with: openssl pkey -in KEY -out FILE")
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return bad(keyOption, keyPath, "cannot be used: "+strings.TrimPrefix(err.Error(), "tls: "), "give the key that the certificate was made for")
	}
	return &pair, nil
}

// findPEM returns the first block of a kind, nil if there is none.
func findPEM(text []byte, isKind func(*pem.Block) bool) *pem.Block {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if isKind(block) {
			return block
		}
	}
	return nil
}

func isCertificate(block *pem.Block) bool { return block.Type == "CERTIFICATE" }

// isPrivateKey reports whether a block is a key, in PKCS#8 or in the form of its algorithm.
func isPrivateKey(block *pem.Block) bool { return strings.HasSuffix(block.Type, "PRIVATE KEY") }

// isEncryptedKey reports whether a key needs a password: by PKCS#8 (RFC 5958), or by the older form of
// OpenSSL (RFC 1421 §4.6).
func isEncryptedKey(block *pem.Block) bool {
	return strings.HasPrefix(block.Type, "ENCRYPTED") || strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED")
}

// certificate returns the client certificate for an origin that the user typed, nil for none.
func (o originHeaders) certificate(origin string) *tls.Certificate {
	if _, typed := o.typed[origin]; !typed || !strings.HasPrefix(origin, "https:") {
		return nil
	}
	return o.set.cert
}

// login returns the user for an origin and how it was given. A more exact way overrides a more
// general one: the URL, then -u, then netrc. A user in the URL without a password gets the
// password of the same user elsewhere.
func (o originHeaders) login(origin string) (user *url.Userinfo, option string) {
	inURL, name := o.typed[origin], ""
	if inURL != nil {
		if _, hasPassword := inURL.Password(); hasPassword {
			return inURL, "-u USER"
		}
		name = inURL.Username()
	}
	if u := o.set.user; u != nil && (inURL == nil || u.Username() == name) {
		return u, "-u USER"
	}
	if inURL == nil && o.set.bearer != "" {
		return nil, ""
	}
	if u, err := url.Parse(origin); err == nil {
		if login, password, ok := o.set.netrc.Find(u.Hostname(), name); ok {
			return url.UserPassword(login, password), o.set.netrc.name
		}
	}
	if inURL != nil {
		return inURL, "-u USER"
	}
	return nil, ""
}

// missing returns the options in needed, as a Record has them, that are not in given.
func missing(needed, given []string) []string {
	return slices.DeleteFunc(slices.Clone(needed), func(o string) bool { return slices.Contains(given, o) })
}

// joinWords returns a list for people, for example "-u USER, ~/.netrc and --cert FILE".
func joinWords(words []string) string {
	if len(words) < 2 {
		return cmp.Or(append(words, "")...)
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
