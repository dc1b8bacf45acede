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

const bareBufferSize = 1 << 20 // bytes

// runBare is this program as a client with nothing around it: so many requests
// at once, each for its part of one file, read and written in pieces of 1 MiB.
// What it takes is the limit of loopback on this machine. Its arguments are the
// number, a file with the certificate to trust or none, URL and file.
func runBare(args []string) int {
	if err := bare(args); err != nil {
		fmt.Fprintf(os.Stderr, "bench: error: %v\n", err)
		return 1
	}
	return 0
}

func bare(args []string) error {
	if len(args) != 4 {
		return errors.New("--bare wants N, CA, URL and FILE")
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return fmt.Errorf("%q is no number of connections", args[0])
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

// barePart fetches the bytes from from to to.
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
	w := io.NewOffsetWriter(file, from)
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{resp.Body}, make([]byte, bareBufferSize))
	return err
}
