package daemon

import (
	"fmt"
	"io"
	"net/http"
	"testing"

	"golang.org/x/sync/errgroup"

	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/store"
)

// manyTasks is how many tasks the figures are about.
const manyTasks = 1000

// benchmark serves a queue at a real port, without running it, and returns a client.
func benchmark(b *testing.B) *Client {
	b.Helper()
	state := b.TempDir()
	st, err := store.Open(state, store.Options{})
	if err != nil {
		b.Fatal(err)
	}
	q, err := queue.Open(st, downloader.New(st, downloader.Options{}), queue.Options{Root: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	l := listenAt(b, "tcp", "127.0.0.1:0")
	ended := make(chan error, 1)
	go func() { ended <- New(q, Options{Secret: secret}).Serve(b.Context(), l) }()
	b.Cleanup(func() {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return &Client{Address: AddressOf(l.Addr(), false), Secret: secret}
}

// additions returns downloads that differ.
func additions(n int) (all []Addition) {
	for i := range n {
		all = append(all, Addition{URLs: []string{fmt.Sprintf("http://127.0.0.1/some/directory/file-%d.bin", i)}, Paused: true})
	}
	return all
}

// BenchmarkAddAtOnce adds 1,000 tasks by one request.
func BenchmarkAddAtOnce(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c := benchmark(b)
		b.StartTimer()
		if tasks, err := c.Add(b.Context(), additions(manyTasks)...); err != nil || len(tasks) != manyTasks {
			b.Fatal(len(tasks), err)
		}
	}
}

// BenchmarkAddOneByOne adds 1,000 tasks by 1,000 requests, one after another.
func BenchmarkAddOneByOne(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c := benchmark(b)
		b.StartTimer()
		for _, a := range additions(manyTasks) {
			if _, err := c.Add(b.Context(), a); err != nil {
				b.Fatal(err)
			}
		}
	}
}

// BenchmarkAddInParallel adds 1,000 tasks by 1,000 requests, eight at a time, which share transactions.
func BenchmarkAddInParallel(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		c := benchmark(b)
		b.StartTimer()
		var adding errgroup.Group
		adding.SetLimit(8)
		for _, a := range additions(manyTasks) {
			adding.Go(func() error {
				_, err := c.Add(b.Context(), a)
				return err
			})
		}
		if err := adding.Wait(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTasks reads 1,000 tasks, as their text.
func BenchmarkTasks(b *testing.B) {
	c := benchmark(b)
	if _, err := c.Add(b.Context(), additions(manyTasks)...); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		res, err := c.open(b.Context(), http.MethodGet, "/tasks", nil)
		if err != nil {
			b.Fatal(err)
		}
		n, err := io.Copy(io.Discard, res.Body)
		if res.Body.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(n), "bytes")
	}
}
