package main

// This file verifies the signatures of lists and checksum files.

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"pawl/downloader/signature"
	"pawl/downloader/weburl"
)

// SignatureOptions say how the checksum file of --checksums is signed; in mirror and verify, without
// --checksums, the list.
type SignatureOptions struct {
	Signature string `placeholder:"FILE|URL" group:"Files" help:"Signature of the checksum file: of OpenPGP (.asc, .gpg, .sig), minisign or signify. It is not needed if the checksum file has its signature in it. Nothing is downloaded unless a key of --keyring has made it."`
	Keyring   string `placeholder:"FILE" type:"path" group:"Files" help:"File of the public keys that may sign the checksum file."`
}

func (o SignatureOptions) validate() error {
	if o.Signature != "" && o.Keyring == "" {
		return errors.New("--signature needs the keys that may make it: --keyring FILE")
	}
	return nil
}

const (
	// maxSignature limits the size of signatures and keyrings, in bytes. The keyring of all
	// developers of Debian has 25 MiB; a server could send more to fill the memory.
	maxSignature = 64 << 20
	// maxEd25519 limits the size of a list with a signature of minisign or signify, in bytes,
	// because it must be in memory as a whole. Lists of checksums with a million lines have 100 MiB.
	maxEd25519 = 256 << 20
)

// A signatureError reports that the signature of a list is missing, wrong, or not made by a trusted
// key, so that the list is not used.
type signatureError struct {
	list string
	err  error
}

func (e *signatureError) Error() string {
	return fmt.Sprintf("signature of %q: %v", weburl.Redact(e.list), e.err)
}

func (e *signatureError) Unwrap() error { return e.err }

// Is makes all signatureErrors equal for errors.Is, whatever their reason.
func (e *signatureError) Is(target error) bool {
	_, ok := target.(*signatureError)
	return ok
}

// hint returns the hint for the error.
func (e *signatureError) hint() string {
	switch {
	case errors.Is(e.err, errNoGpgv):
		return "install the package gpgv (Debian, Ubuntu), gnupg2 (Fedora, RHEL) or gnupg (others)"
	case errors.Is(e.err, errUnsigned):
		return "give its signature with --signature FILE|URL"
	case errors.Is(e.err, signature.ErrUnknownKey):
		return "nothing was downloaded; if you trust that key, add it to the file of --keyring"
	}
	return "nothing was downloaded; get the list, its signature and the keys again, from the publisher"
}

var (
	errNoGpgv     = errors.New("gpgv, which verifies it, is not installed")
	errUnsigned   = errors.New("the list has none in it")
	errExpiredKey = errors.New("the key has expired")
	errRevokedKey = errors.New("the key was revoked")
	errExpired    = errors.New("the signature has expired")
)

// openSigned opens a list as open does, and verifies its signature if there is a keyring. Reading the
// returned list yields the signed text only.
func (l listOpener) openSigned(ctx context.Context, name string) (openedList, error) {
	in, err := l.open(ctx, name)
	if err != nil || l.signature.Keyring == "" {
		return in, err
	}
	v, err := l.newSignatureVerifier(name)
	if err != nil {
		in.Close()
		return in, err
	}
	text, err := v.verify(ctx, l, in)
	in.Close()
	if err != nil {
		os.RemoveAll(v.dir)
		return openedList{}, err
	}
	in.ReadCloser, in.verified = &temporaryFile{text, v.dir}, true
	return in, nil
}

// A temporaryFile is a file whose directory is removed when it is closed.
type temporaryFile struct {
	*os.File
	dir string
}

func (f *temporaryFile) Close() error { return errors.Join(f.File.Close(), os.RemoveAll(f.dir)) }

// A signatureVerifier verifies the signature of one list. It works on a copy in a directory of its own,
// and the same copy is read as the list, so nobody can replace the list between the two.
type signatureVerifier struct {
	name string // of the list, as typed
	dir  string
	keys []byte // content of the keyring
}

func (l listOpener) newSignatureVerifier(name string) (*signatureVerifier, error) {
	keys, err := readLimited(l.signature.Keyring)
	if err != nil {
		return nil, usageErr{fmt.Errorf("--keyring: %w", err)}
	}
	if err := makePrivateDir(l.dir); err != nil {
		return nil, err
	}
	removeOldCopies(l.dir)
	dir, err := os.MkdirTemp(l.dir, copyPrefix)
	return &signatureVerifier{name, dir, keys}, err
}

const (
	copyPrefix = "signed-"
	// maxCopyAge is the age from which on a copy of a list belongs to a process that was killed. A
	// guess, far above the time for which any list is read.
	maxCopyAge = 7 * 24 * time.Hour
)

// removeOldCopies removes the copies in dir that killed processes have left.
func removeOldCopies(dir string) {
	copies, _ := filepath.Glob(filepath.Join(dir, copyPrefix+"*"))
	for _, path := range copies {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > maxCopyAge {
			os.RemoveAll(path)
		}
	}
}

// readLimited reads a file of at most maxSignature bytes.
func readLimited(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readSignature(f)
}

// readSignature reads a signature or a keyring.
func readSignature(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSignature+1))
	if err == nil && len(b) > maxSignature {
		err = fmt.Errorf("it is larger than %d bytes", maxSignature)
	}
	return b, err
}

// verify returns the signed text of in, open for reading.
func (v *signatureVerifier) verify(ctx context.Context, l listOpener, in openedList) (*os.File, error) {
	file, err := v.write("list", in)
	if err != nil {
		return nil, err
	}
	var sig []byte
	if l.signature.Signature != "" {
		if sig, err = l.readSignature(ctx); err != nil {
			return nil, err
		}
	}
	text, err := v.signedText(ctx, file, sig)
	if err != nil && ctx.Err() == nil {
		err = &signatureError{v.name, err}
	}
	if err != nil {
		return nil, err
	}
	return os.Open(text)
}

// readSignature reads the file or URL of --signature.
func (l listOpener) readSignature(ctx context.Context) ([]byte, error) {
	l.unchecked = true
	in, err := l.open(ctx, l.signature.Signature)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	return readSignature(in)
}

// write writes a file into the directory, and returns its path.
func (v *signatureVerifier) write(name string, r io.Reader) (string, error) {
	path := filepath.Join(v.dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(f, r)
	return path, cmp.Or(err, f.Close())
}

// signedText verifies file, and returns the path of the signed text: file itself if sig is its
// signature. If sig is nil, the signature must be in the file.
func (v *signatureVerifier) signedText(ctx context.Context, file string, sig []byte) (string, error) {
	form := signature.FormOf(sig)
	if sig == nil {
		var err error
		if form, err = formOfFile(file); err != nil {
			return "", err
		}
		if form != signature.ClearSigned && form != signature.Embedded {
			return "", errUnsigned
		}
	}
	keysForm := signature.FormOf(v.keys)
	switch form {
	case signature.ClearSigned, signature.OpenPGP:
		if keysForm == signature.Ed25519 {
			return "", errors.New("it is one of OpenPGP, and the keyring has keys of minisign or signify")
		}
		return v.gpgv(ctx, file, sig)
	case signature.Ed25519, signature.Embedded:
		if keysForm == signature.OpenPGP {
			return "", errors.New("it is one of minisign or signify, and the keyring has keys of OpenPGP")
		}
		return v.ed25519(file, sig)
	}
	return "", errors.New("it is none of OpenPGP, minisign or signify")
}

// formOfFile returns the form of a file, by its beginning.
func formOfFile(path string) (signature.Form, error) {
	f, err := os.Open(path)
	if err != nil {
		return signature.Unsigned, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4<<10)) // more than the lines of a signature of signify have
	return signature.FormOf(b), err
}

// ed25519 verifies a signature of minisign or signify.
func (v *signatureVerifier) ed25519(file string, sig []byte) (string, error) {
	keys, err := signature.ParseKeys(v.keys)
	if err != nil {
		return "", fmt.Errorf("the keyring cannot be used: %w", err)
	}
	info, err := os.Stat(file)
	if err == nil && info.Size() > maxEd25519 {
		err = fmt.Errorf("the list is larger than %d bytes", maxEd25519)
	}
	if err != nil {
		return "", err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	if sig != nil {
		return file, keys.Verify(sig, text)
	}
	signed, err := keys.VerifyEmbedded(text)
	if err != nil {
		return "", err
	}
	return v.write("text", bytes.NewReader(signed))
}

// gpgv verifies a signature of OpenPGP with gpgv(1), as apt does, which uses no agent and only the keys of
// the keyring. It returns the path of the signed text, which gpgv has written if the signature is in the
// file: lines outside of the signed part are not in it.
func (v *signatureVerifier) gpgv(ctx context.Context, file string, sig []byte) (string, error) {
	program, err := exec.LookPath("gpgv")
	if err != nil {
		return "", errNoGpgv
	}
	binary, err := signature.Dearmor(v.keys)
	if err != nil {
		return "", fmt.Errorf("the keyring cannot be used: %w", err)
	}
	keyring, err := v.write("keyring", bytes.NewReader(binary))
	if err != nil {
		return "", err
	}
	// The paths are absolute: gpgv looks for a keyring without a slash in its home directory.
	args := []string{"--homedir", v.dir, "--status-fd", "1", "--keyring", keyring}
	text := file
	if sig != nil {
		path, err := v.write("signature", bytes.NewReader(sig))
		if err != nil {
			return "", err
		}
		args = append(args, "--", path, file)
	} else {
		text = filepath.Join(v.dir, "text")
		args = append(args, "--output", text, "--", file)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var messages bytes.Buffer
	cmd.Stderr = &messages
	status, runErr := cmd.Output()
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err := readStatus(string(status)); err != nil {
		var exit *exec.ExitError
		if errors.Is(err, errNoSignature) && runErr != nil && !errors.As(runErr, &exit) {
			err = runErr // it did not run
		} else if line := lastLine(messages.String()); errors.Is(err, errNoSignature) && line != "" {
			err = fmt.Errorf("%w (%s)", err, printable(line))
		}
		return "", err
	}
	return text, nil
}

// lastLine returns the last line of a text that is not empty.
func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}

// errNoSignature means that gpgv has found no signature.
var errNoSignature = errors.New("gpgv cannot read it")

// badStatus maps the status lines of gpgv (doc/DETAILS of GnuPG) that make a signature useless to
// errors, the gravest first.
var badStatus = []struct {
	keyword string
	err     error
}{
	{"BADSIG", signature.ErrWrong},
	{"REVKEYSIG", errRevokedKey},
	{"EXPKEYSIG", errExpiredKey},
	{"EXPSIG", errExpired},
	{"NO_PUBKEY", signature.ErrUnknownKey},
	{"ERRSIG", errors.New("gpgv cannot verify it")},
}

// readStatus reads the status lines of gpgv. It returns nil if a key of the keyring has made a good
// signature of all of one text. A text may have several signatures, of which one is enough, because not
// everybody has all keys; but none may be wrong.
func readStatus(status string) error {
	seen := make(map[string]string) // the arguments of the last line with each keyword
	texts := 0
	for line := range strings.Lines(status) {
		rest, ok := strings.CutPrefix(strings.TrimSpace(line), "[GNUPG:] ")
		if !ok {
			continue
		}
		keyword, arguments, _ := strings.Cut(rest, " ")
		seen[keyword] = arguments
		if keyword == "PLAINTEXT" {
			texts++
		}
	}
	_, good := seen["GOODSIG"]
	_, valid := seen["VALIDSIG"] // also for a key that has expired
	_, bad := seen["BADSIG"]
	switch {
	case texts > 1: // the signature may be one of the other text
		return errors.New("the list has several signed texts")
	case good && valid && !bad:
		return nil
	}
	for _, s := range badStatus {
		if arguments, ok := seen[s.keyword]; ok {
			key, _, _ := strings.Cut(arguments, " ")
			return fmt.Errorf("%w (key %s)", s.err, printable(key))
		}
	}
	return errNoSignature
}
