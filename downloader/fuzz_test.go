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

// A liar answers requests as the bytes of a fuzzer say: any status, any headers,
// bodies of any length. What it sends tells which request it answers, and which
// byte of the body it is.
type liar struct {
	mu     sync.Mutex
	script []byte
	asked  []lie
}

// A lie is a request and what was answered.
type lie struct {
	asked chunk.Range
	first int64 // where the body begins, by its header; -1 if that tells nothing
}

// next returns the next number of the script below n.
func (l *liar) next(n int) int {
	if len(l.script) == 0 {
		return 0
	}
	b := l.script[0]
	l.script = l.script[1:]
	return int(b) % n
}

const lieSize = 4096 // bytes of the file, if it is to be believed

// lieByte is byte i of the body of answer k.
func lieByte(k, i int) byte { return byte(k*101 + i*7 + i>>8*13) }

func (l *liar) RoundTrip(req *http.Request) (*http.Response, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var asked chunk.Range
	if n, err := fmt.Sscanf(req.Header.Get("Range"), "bytes=%d-%d", &asked.Off, &asked.End); n == 2 && err == nil {
		asked.End++
	} else if n == 1 {
		asked.End = chunk.Unbounded
	}
	k := len(l.asked)
	if k > 60 || len(l.script) == 0 {
		return nil, failure.Permanent(errors.New("enough"))
	}
	status := []int{206, 206, 206, 206, 200, 200, 416, 503, 403, 204}[l.next(10)]
	l.asked = append(l.asked, lie{asked, -1})
	if l.next(20) == 0 {
		return nil, io.ErrUnexpectedEOF
	}
	h := make(http.Header)
	number := func(right int64) string {
		return strconv.FormatInt(right+[]int64{0, 0, 0, 0, 0, 1, -1, 512, -512, lieSize}[l.next(10)], 10)
	}
	end := min(asked.End, lieSize)
	if l.next(12) > 0 {
		total := number(lieSize)
		if l.next(8) == 0 {
			total = "*"
		}
		h.Set("Content-Range", "bytes "+number(asked.Off)+"-"+number(end-1)+"/"+total)
	}
	switch c := response.Read(&http.Response{StatusCode: 206, ContentLength: -1, Header: h}, asked, response.Known{Size: -1}); {
	case status == 200:
		l.asked[k].first = 0
	case status == 206 && c.Meaning == response.Usable:
		l.asked[k].first = c.Range.Off
	}
	if tag := []string{``, ``, `"a"`, `"a"`, `"a"`, `W/"a"`, `"b"`}[l.next(7)]; tag != "" {
		h.Set("ETag", tag)
	}
	if coding := []string{"", "", "", "", "", "gzip", "br", "identity"}[l.next(8)]; coding != "" {
		h.Set("Content-Encoding", coding)
	}
	h.Set("Content-Type", []string{"", "application/x-thing", "application/x-thing", "text/html", "multipart/byteranges; boundary=x"}[l.next(5)])
	body := make([]byte, max(0, int(end-asked.Off)+[]int{0, 0, 0, 0, 1, -1, 700, -700, -5000}[l.next(9)]))
	for i := range body {
		body[i] = lieByte(k, i)
	}
	length := int64(len(body))
	if l.next(4) == 0 {
		length = -1
	}
	return &http.Response{StatusCode: status, Header: h, ContentLength: length, Body: io.NopCloser(bytes.NewReader(body)), Request: req}, nil
}

// A witness takes what is written, and asks whether it may be there.
type witness struct {
	t    *testing.T
	liar *liar
	mu   sync.Mutex
	got  chunk.Set
}

// WriteAt: each byte must be of one answer, which was asked for it, and be in its
// place in the body. A whole file begins at byte 0.
func (w *witness) WriteAt(b []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.liar.mu.Lock()
	defer w.liar.mu.Unlock()
	for i, c := range b {
		at := off + int64(i)
		right := false
		for k, l := range w.liar.asked {
			inside := l.asked.Empty() || l.asked.Off <= at && at < l.asked.End
			right = right || inside && l.first >= 0 && l.first <= at && lieByte(k, int(at-l.first)) == c
		}
		if !right {
			w.t.Fatalf("byte %d was written outside its range; asked %v", at, w.liar.asked)
		}
	}
	r := chunk.Range{Off: off, End: off + int64(len(b))}
	for gap := range w.got.Missing(r) {
		if gap != r {
			w.t.Fatalf("%v was written twice", r)
		}
	}
	w.got.Add(r)
	return len(b), nil
}

// FuzzResponses: whatever a server answers, no byte is written outside the range
// that it was asked for, none twice, and everything ends.
func FuzzResponses(f *testing.F) {
	f.Add([]byte("a plain start"))
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0, 1, 0, 0, 2, 0, 1, 0, 1}, 20)) // all is well
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0, 1, 5, 5, 2, 0, 1, 0, 1}, 20)) // shifted by one
	f.Add(bytes.Repeat([]byte{0, 1, 1, 0, 1, 0, 7, 2, 0, 1, 6, 0}, 20)) // too long
	f.Add(bytes.Repeat([]byte{0, 1, 0, 0, 0, 0, 1, 1, 3, 0, 1, 0, 1}, 20))
	f.Add(bytes.Repeat([]byte{4, 1, 9, 5, 5, 0, 1, 6, 0, 0, 0, 4, 1, 2, 3}, 20))
	f.Fuzz(func(t *testing.T, script []byte) {
		synctest.Test(t, func(t *testing.T) {
			l := &liar{script: script}
			d := New(nil, Options{Tries: 3, RetryWait: time.Millisecond})
			d.transport.Client(false).Transport = roundTripFunc(l.RoundTrip)
			j, err := newJob(d.engine, Request{URL: "http://h/f"})
			if err != nil {
				t.Fatal(err)
			}
			to := &witness{t: t, liar: l}
			j.file.sink, j.first.host = to, d.host(j.origin.url)
			j.version.Version = response.Version{Size: lieSize, ETag: `"a"`, MediaType: "application/x-thing"}
			acquireNow(t, j.first.host, 2)
			held := chunk.NewSet(chunk.Range{Off: 1000, End: 1500})
			tr := newTransfer(j.sampler, chunk.NewPlan(lieSize, held), false)
			to.got = held.Clone()
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
