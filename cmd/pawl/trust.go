package main

// This file decides which certificates prove the identity of a server.

import (
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// rootCAs returns the certificates of the system and those of --cacert, nil for
// the system's alone.
func (t *Transfer) rootCAs() (*x509.CertPool, error) {
	if err := checkSystemRoots(); err != nil || t.CACert == "" {
		return nil, err
	}
	pem, err := os.ReadFile(t.CACert)
	if err != nil {
		return nil, usageError(fmt.Errorf("--cacert: %w", err))
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, usageError(fmt.Errorf("--cacert %q holds no certificate", t.CACert))
	}
	return roots, nil
}

// checkSystemRoots refuses values of SSL_CERT_FILE and SSL_CERT_DIR that cannot be
// used. crypto/x509 ignores them without a word and trusts what is left, which may
// be more than the user wants. macOS and Windows verify without these variables.
func checkSystemRoots() error {
	if runtime.GOOS == "darwin" || runtime.GOOS == "windows" {
		return nil
	}
	const file, dir = "SSL_CERT_FILE", "SSL_CERT_DIR"
	if path := os.Getenv(file); path != "" {
		pem, err := os.ReadFile(path)
		if err != nil {
			return &settingError{file, fmt.Sprintf("cannot be used: %v", err), "unset it, or name a file of certificates"}
		}
		if !x509.NewCertPool().AppendCertsFromPEM(pem) {
			return &settingError{file, fmt.Sprintf("names %q, which holds no certificate", path), "unset it, or name a file of certificates in PEM form"}
		}
	}
	var firstErr error
	for _, path := range filepath.SplitList(os.Getenv(dir)) { // a search path, of which one directory is enough
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
