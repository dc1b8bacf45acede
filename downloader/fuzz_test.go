package downloader

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/response"
	"pawl/downloader/sched"
)

// A hostileServer responds as a script says, which the fuzzer makes: with any status, any
// header, and bodies of any length. Each byte of a body shows its response and its place in the
// body.
type hostileServer struct {
	mu        sync.Mutex
	script    []byte         // the numbers that are not used yet; guarded by mu
	responses []sentResponse // in order; guarded by mu
}

// A sentResponse is a response of a hostileServer.
type sentResponse struct {
	requested chunk.Range // empty for the whole file
	first     int64       // offset of the body in the file, according to the header; -1 if unknown
}

// next returns the next number of the script, from 0 to n-1. The caller must hold mu.
func (s *hostileServer) next(n int) int {
	if len(s.script) == 0 {
		return 0
	}
	b := s.script[0]
	s.script = s.script[1:]
	return int(b) % n
}

const fuzzFileSize = 4096 // bytes of the file

// bodyByte returns byte i of the body of response k.
func bodyByte(k, i int) byte { return byte(k*101 + i*7 + i>>8*13) }

func (s *hostileServer) RoundTrip(req *http.Request) (*http.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var requested chunk.Range
	if n, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &requested.Off, &requested.End); n == 2 && err == nil {
		requested.End++
	} else if n == 1 {
		requested.End = chunk.Unbounded
	}
	k := len(s.responses)
	if k > 60 || len(s.script) == 0 {
		return nil, failure.Permanent(errors.New("the script has ended"))
	}
	status := []int{206, 206, 206, 206, 200, 200, 416, 503, 403, 204}[s.next(10)]
	s.responses = append(s.responses, sentResponse{requested, -1})
	if s.next(20) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	h := make(http.Header)
	number := func(right int64) string { // right, or a wrong number near it
		return strconv.FormatInt(right+[]int64{0, 0, 0, 0, 0, 1, -1, 512, -512, fuzzFileSize}[s.next(10)], 10)
	}
	end := min(requested.End, fuzzFileSize)
	if s.next(12) > 0 {
		total := number(fuzzFileSize)
		if s.next(8) == 0 {
			total = "*"
		}
		h.Set("Content-Range", "bytes "+number(requested.Off)+"-"+number(end-1)+"/"+total)
	}
	switch c := response.Read(&http.Response{StatusCode: 206, ContentLength: -1, Header: h}, requested, response.Known{Size: -1}); {
	case status == 200:
		s.responses[k].first = 0
	case status == 206 && c.Meaning == response.Usable:
		s.responses[k].first = c.Range.Off
	}
	if tag := []string{``, ``, `"a"`, `"a"`, `"a"`, `W/"a"`, `"b"`}[s.next(7)]; tag != "" {
		h.Set("ETag", tag)
	}
	if coding := []string{"", "", "", "", "", "gzip", "br", "identity"}[s.next(8)]; coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Type", []string{"", "application/x-thing", "application/x-thing", "text/html", "multipart/byteranges; boundary=x"}[s.next(5)])
	body := make([]byte, max(0, int(end-requested.Off)+[]int{0, 0, 0, 0, 1, -1, 700, -700, -5000}[s.next(9)]))
	for i := range body {
		body[i] = bodyByte(k, i)
	}
	length := int64(len(body))
	if s.next(4) == 0 {
		length = -1
	}
	return &http.Response{StatusCode: status, Header: h, ContentLength: length, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

// A checkedSink checks that each byte may be written to the file.
type checkedSink struct {
	t      *testing.T
	server *hostileServer

	mu      sync.Mutex
	written chunk.Set // guarded by mu
}

// WriteAt fails the test if a byte was written before, or if it does not come from its place in
// the body of a response to a request for this byte. The body of a whole file begins at byte 0.
func (s *checkedSink) WriteAt(b []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	for i, c := range b {
		pos := off + int64(i)
		right := false
		for k, resp := range s.server.responses {
			requested := resp.requested.Empty() || resp.requested.Off <= pos && pos < resp.requested.End
			right = right || requested && resp.first >= 0 && resp.first <= pos && bodyByte(k, int(pos-resp.first)) == c
		}
		if !right {
			s.t.Fatalf("byte %d is not the byte of any response at this place: %+v", pos, s.server.responses)
		}
	}
	r := chunk.Range{Off: off, End: off + int64(len(b))}
	for gap := range s.written.Missing(r) {
		if gap != r {
			s.t.Fatalf("a part of %v was written twice", r)
		}
	}
	s.written.Add(r)
	return len(b), nil
}

// Whatever a server responds, no byte is written outside the requested range or twice, and the
// transfer ends.
func FuzzResponses(f *testing.F) {
	f.Add([]byte("any text"))
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0, 1, 0, 0, 2, 0, 1, 0, 1}, 20)) // right responses
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0, 1, 5, 5, 2, 0, 1, 0, 1}, 20)) // ranges shifted by one byte
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0, 1, 0, 7, 2, 0, 1, 6, 0}, 20)) // bodies that are too long
	f.Add(bytes.Repeat([]byte{0, 1, 0, 0, 0, 0, 1, 1, 3, 0, 1, 0, 1}, 20))
	f.Add(bytes.Repeat([]byte{4, 1, 9, 5, 5, 0, 1, 6, 0, 0, 0, 4, 1, 2, 3}, 20))
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			server := &hostileServer{script: script}
			d := New(nil, Options{Retry: RetryPolicy{Tries: 3, Wait: time.Millisecond}})
			d.transport.Client(false).Transport = roundTripFunc(server.RoundTrip)
			j, err := newJob(d.engine, Request{URL: "http://h/f"})
			if err != nil {
				t.Fatal(err)
			}
			sink := &checkedSink{t: t, server: server}
			j.file.sink, j.first.host = sink, d.host(j.origin.url)
			j.version.Version = response.Version{Size: fuzzFileSize, ETag: `"a"`, MediaType: "application/x-thing"}
			acquireNow(t, j.first.host, 2)
			held := chunk.NewSet(chunk.Range{Off: 1000, End: 1500})
			tr := newTransfer(j.sampler, chunk.NewPlan(fuzzFileSize, held), false)
			sink.written = held.Clone()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var wg sync.WaitGroup
			for range 2 {
				c := tr.newConn(tr.sched.Begin(0, sched.Response{}, func(sched.Reason) {}, time.Now()))
				c.Release()
				wg.Go(func() {
					if err := c.run(ctx, nil); err != nil {
						cancel()
					}
				})
			}
			wg.Wait()
		})
	})
}
