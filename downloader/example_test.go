package downloader_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/store"
)

// newServer returns a server with one file, which stands for any server.
func newServer() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello, world\n"))
	}))
}

// tempDir returns a directory for the state and the files of an example.
func tempDir() string {
	dir, err := os.MkdirTemp("", "pawl-example-")
	if err != nil {
		log.Fatal(err)
	}
	return dir
}

// A download with its progress. The same program resumes the download after a crash.
func Example() {
	srv, dir := newServer(), tempDir()
	defer srv.Close()
	defer os.RemoveAll(dir)

	st, err := store.Open(filepath.Join(dir, "state"), store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{Connections: 8})
	defer d.Close()

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() { // ends with ctx
		for ctx.Err() == nil {
			for _, p := range d.Snapshot() {
				log.Printf("%s: %d of %d bytes", p.Target, p.Have, p.Size)
			}
			time.Sleep(time.Second)
		}
	}()
	result, err := d.Get(ctx, downloader.Request{
		URL:  srv.URL + "/hello.txt",
		Into: downloader.File{Dir: dir},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(filepath.Base(result.Target), result.Size)
	// Output: hello.txt 13
}

// A stream gets the bytes in order. Nothing is written to disk.
func ExampleDownloader_Get_stream() {
	srv, dir := newServer(), tempDir()
	defer srv.Close()
	defer os.RemoveAll(dir)

	st, err := store.Open(dir, store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{})
	defer d.Close()
	_, err = d.Get(context.Background(), downloader.Request{
		URL:  srv.URL + "/hello.txt",
		Into: downloader.Stream{Writer: os.Stdout},
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: hello, world
}

// All unfinished downloads are resumed.
func ExampleDownloader_Get_resume() {
	dir := tempDir()
	defer os.RemoveAll(dir)

	st, err := store.Open(dir, store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{})
	defer d.Close()
	records, err := st.Unfinished()
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range records {
		_, err := d.Get(context.Background(), downloader.Request{Into: downloader.Recorded{ID: r.ID}})
		if errors.Is(err, failure.ErrNetwork) {
			log.Printf("%s: try again later: %v", r.Target, err)
		}
	}
	fmt.Println(len(records), "resumed")
	// Output: 0 resumed
}
