package main

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// rootCAs returns the certificates of the system together with the ones from --cacert, or
// nil without --cacert, which net/http takes for the system's certificates. If the system
// has no readable certificates, the ones from --cacert are used alone.
func (o *TLSOptions) rootCAs() (*x509.CertPool, error) {
	if err := checkSystemRoots(); err != nil || o.CACert == "" {
		return nil, err
	}
	pem, err := os.ReadFile(o.CACert)
	if err != nil {
		return nil, usageErr{fmt.Errorf("--cacert: %w", err)}
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usageErr{fmt.Errorf("--cacert %q contains no certificate", o.CACert)}
	}
	return roots, nil
}

// checkSystemRoots refuses unusable values of SSL_CERT_FILE and SSL_CERT_DIR. crypto/x509
// silently ignores them and trusts the remaining certificates, which may be more than the
// user wants to trust. macOS and Windows do not use these variables.
func checkSystemRoots() error {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return nil
	}
	// These are the names that crypto/x509 reads, too.
	const file, dir = "SSL_CERT_FILE", "SSL_CERT_DIR"
	if path := os.Getenv(file); path != "" {
		text, err := os.ReadFile(path)
		if err != nil {
			return &settingError{file, fmt.Sprintf("cannot be used: %v", err), "unset it, or name a file of certificates"}
		}
		if !hasCertificate(text) {
			return &settingError{file, fmt.Sprintf("names %q, which contains no certificate", path), "unset it, or name a file of certificates in PEM form"}
		}
	}
	var firstErr error
	for _, path := range filepath.SplitList(os.Getenv(dir)) { // a search path: one readable directory is enough
		_, err := os.ReadDir(path)
		if err == nil {
			return nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	if firstErr != nil {
		return &settingError{dir, fmt.Sprintf("cannot be used: %v", firstErr), "unset it, or name a directory of certificates"}
	}
	return nil
}

// hasCertificate reports whether a text in PEM form contains a certificate. It stops at the first one,
// because the system has a hundred.
func hasCertificate(text []byte) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if _, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			return true
		}
	}
	return false
}
