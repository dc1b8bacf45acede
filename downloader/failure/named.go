package failure

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
)

// A kindName is the name of a kind of errors in Name. The names are stored, so they must not change.
type kindName struct {
	name string
	kind error
}

// kindNames are the kinds that errors.Is finds. A part of a kind is named beside the kind.
var kindNames = []kindName{
	{"network", ErrNetwork}, {"silent", ErrSilent}, {"trickle", ErrTrickle}, {"cut", ErrCut}, {"broken-off", errBrokenOff},
	{"tls", ErrTLS}, {"outdated", ErrOutdated}, {"downgrade", ErrDowngrade}, {"no-tls", ErrNotTLS}, {"speaks-tls", ErrSpeaksTLS},
	{"wants-cert", ErrWantsCert}, {"refuses-cert", ErrRefusesCert}, {"scheme-mismatch", http.ErrSchemeMismatch},
	{"auth", ErrAuth}, {"refused", ErrRefused}, {"throttled", ErrThrottled},
	{"protocol", ErrProtocol}, {"malformed", ErrMalformed}, {"redirects", ErrRedirects}, {"page", ErrPage}, {"media-type", ErrMediaType},
	{"too-large", ErrTooLarge}, {"private", ErrPrivate}, {"scheme", ErrScheme},
	{"checksum", ErrChecksum}, {"other-file", ErrOtherFile}, {"server-digest", ErrServerDigest},
	{"changed", ErrChanged}, {"claimed", ErrClaimed}, {"usage", ErrUsage},
	{"canceled", context.Canceled}, {"deadline", context.DeadlineExceeded},
	{"permission", fs.ErrPermission}, {"exists", fs.ErrExist}, {"missing", fs.ErrNotExist},
	{"no-space", syscall.ENOSPC}, {"quota", syscall.EDQUOT}, {"file-too-large", syscall.EFBIG}, {"read-only", syscall.EROFS},
	{"name-too-long", syscall.ENAMETOOLONG}, {"no-directory", syscall.ENOTDIR}, {"too-many-files", syscall.EMFILE},
	{"file-table-full", syscall.ENFILE}, {"reset", syscall.ECONNRESET},
}

// A typeName is the name of errors of a type, which errors.As finds.
type typeName struct {
	name  string
	is    func(error) bool
	value error // such an error, of which only the type counts
}

// is returns a function that reports whether an error has the type E.
func is[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

var typeNames = []typeName{
	{"permanent", is[permanentError], permanentError{errNamed}},
	{"proxy", is[*ProxyError], &ProxyError{kind: errNamed}},
	{"file", is[*fs.PathError], &fs.PathError{Err: errNamed}},
	{"cert", is[*tls.CertificateVerificationError], &tls.CertificateVerificationError{Err: errNamed}},
	{"cert-host", is[x509.HostnameError], x509.HostnameError{Certificate: new(x509.Certificate)}},
	{"cert-weak", is[x509.InsecureAlgorithmError], x509.InsecureAlgorithmError(0)},
	{"cert-expired", isExpired, x509.CertificateInvalidError{Cert: new(x509.Certificate), Reason: x509.Expired}},
	{"unknown-host", IsUnknownHost, &net.DNSError{IsNotFound: true}},
}

// errNamed is wrapped by the errors of typeNames.
var errNamed = errors.New("an error of another process")

func isExpired(err error) bool {
	var invalid x509.CertificateInvalidError
	return errors.As(err, &invalid) && invalid.Reason == x509.Expired
}

// Name returns the names of all kinds that err has, and the status of a response, separated by spaces, for example
// "refused status=404". It does not contain the text of err. "" means none.
func Name(err error) string {
	var names []string
	for _, k := range kindNames {
		if errors.Is(err, k.kind) {
			names = append(names, k.name)
		}
	}
	for _, t := range typeNames {
		if t.is(err) {
			names = append(names, t.name)
		}
	}
	var status *StatusError
	if errors.As(err, &status) {
		names = append(names, status.name())
	}
	return strings.Join(names, " ")
}

// Named returns an error with a text and with the kinds that Name has named. Unknown names, for example of
// a newer version, are ignored.
func Named(names, text string) error {
	e := &namedError{text: text}
	for name := range strings.FieldsSeq(names) {
		for _, k := range kindNames {
			if k.name == name {
				e.kinds = append(e.kinds, k.kind)
			}
		}
		for _, t := range typeNames {
			if t.name == name {
				e.kinds = append(e.kinds, t.value)
			}
		}
		if status := parseStatus(name); status != nil {
			e.kinds = append(e.kinds, status)
		}
	}
	return e
}

// A namedError is an error of another process.
type namedError struct {
	text  string
	kinds []error // for errors.Is and errors.As
}

func (e *namedError) Error() string { return e.text }

func (e *namedError) Unwrap() []error { return e.kinds }

// Fields of the name of a StatusError, beside its code.
const (
	statusName     = "status="
	laterField     = "retry-after"
	redirectField  = "redirected"
	schemeField    = "scheme="
	hostField      = "host="
	fieldSeparator = ","
)

// name returns the status as one word, for example "status=403,retry-after,host=example.org". Scheme and Host come from the
// server, and may have any characters.
func (e *StatusError) name() string {
	fields := []string{statusName + strconv.Itoa(e.Code)}
	if e.RetryAfter {
		fields = append(fields, laterField)
	}
	if e.Redirected {
		fields = append(fields, redirectField)
	}
	if e.Scheme != "" {
		fields = append(fields, schemeField+url.QueryEscape(e.Scheme))
	}
	if e.Host != "" {
		fields = append(fields, hostField+url.QueryEscape(e.Host))
	}
	return strings.Join(fields, fieldSeparator)
}

// parseStatus parses the result of StatusError.name. It returns nil for other words.
func parseStatus(name string) *StatusError {
	fields := strings.Split(name, fieldSeparator)
	code, ok := strings.CutPrefix(fields[0], statusName)
	n, err := strconv.Atoi(code)
	if !ok || err != nil {
		return nil
	}
	e := &StatusError{Code: n}
	for _, f := range fields[1:] {
		e.RetryAfter = e.RetryAfter || f == laterField
		e.Redirected = e.Redirected || f == redirectField
		if text, ok := strings.CutPrefix(f, schemeField); ok {
			e.Scheme, _ = url.QueryUnescape(text)
		}
		if text, ok := strings.CutPrefix(f, hostField); ok {
			e.Host, _ = url.QueryUnescape(text)
		}
	}
	return e
}
