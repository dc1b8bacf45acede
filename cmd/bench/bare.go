package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
)

// bareBufferSize is the size in bytes of one read and write of the bare client. 1 MiB
// is a guess, large enough that system calls do not count.
const bareBufferSize = 1 << 20

// runBare is the hidden command --bare: the simplest HTTP client that Go allows. It
// has no retries, no state and no progress display, so the time that it takes is the
// limit of loopback on this machine, which cannot be computed. It splits one file
// evenly among N concurrent range requests.
//
//	bench --bare N CA URL FILE
//
// CA is the file of the certificate to trust, or "none" for HTTP. runBare returns the
// exit code.
func runBare(args []string) int {
	if err := bare(args); err != nil {
		fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
		return 1
	}
	return 0
}

// bare is runBare with an error. It needs a server that sends Content-Length and supports
// ranges; a 200 response is an error, because its bytes belong to offset 0.
func bare(args []string) error {
	if len(args) != 4 {
		return errors.New("--bare wants N, CA, URL and FILE")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return fmt.Errorf("bad number of connections %q", args[0])
	}
	client, err := bareClient(args[1], n)
	if err != nil {
		return err
	}
	url := args[2]
	head, err := client.Head(url)
	if err != nil {
		return err
	}
	head.Body.Close()
	file, err := os.Create(args[3])
	if err != nil {
		return err
	}
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		part := head.ContentLength / int64(n)
		from, to := int64(i)*part, int64(i+1)*part
		if i == n-1 {
			to = head.ContentLength
		}
		all.Go(func() { errs[i] = fetchPart(client, url, file, from, to) })
	}
	all.Wait()
	return errors.Join(append(errs, file.Close())...)
}

// bareClient returns a client that keeps n connections open and trusts only the
// certificates in the file ca, unless that is "none".
func bareClient(ca string, n int) (*http.Client, error) {
	t := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: n, ReadBufferSize: 64 << 10}
	if ca != "none" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool()}
		t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem)
	}
	return &http.Client{Transport: t}, nil
}

// fetchPart downloads the bytes [from, to) of url to the same offset in file.
func fetchPart(client *http.Client, url string, file *os.File, from, to int64) error {
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, to-1))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusPartialContent {
		return errors.New(resp.Status)
	}
	// The anonymous structs hide ReaderFrom and WriterTo, so that CopyBuffer uses the
	// buffer instead of a smaller one of its own.
	w := io.NewOffsetWriter(file, from)
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{resp.Body}, make([]byte, bareBufferSize))
	return err
}
