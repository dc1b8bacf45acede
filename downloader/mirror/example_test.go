package mirror_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/store"
)

// A list of two files is mirrored twice. The second run requests nothing, because both files are
// on disk as they were recorded.
func Example() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "the content of "+r.URL.Path)
	}))
	defer srv.Close()
	dir, err := os.MkdirTemp("", "pawl-example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	st, err := store.Open(filepath.Join(dir, "state"), store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	d := downloader.New(st, downloader.Options{})
	defer d.Close()

	text := srv.URL + "/a.deb\n" + srv.URL + "/b.deb\n"
	lists := func(yield func(mirror.List, error) bool) {
		yield(mirror.List{
			Key:      "0123456789abcdef", // the same in each run, so that prune knows the list
			Complete: true,
			Entries:  list.Read("files.txt", strings.NewReader(text), list.Options{}),
		}, nil)
	}
	for range 2 {
		run := mirror.NewRun(d, st, mirror.Options{
			Dir:       filepath.Join(dir, "mirror"),
			OnOutcome: func(o mirror.Outcome) { log.Println(o.State, o.Path, o.Err) },
		})
		if err := run.Do(context.Background(), iter.Seq2[mirror.List, error](lists)); err != nil {
			log.Fatal(err)
		}
		c := run.Counts()
		fmt.Println(c.Fetched, "fetched,", c.Current, "already here")
	}
	// Output:
	// 2 fetched, 0 already here
	// 0 fetched, 2 already here
}
