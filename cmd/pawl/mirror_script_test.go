package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"pawl/downloader/faultserver"
)

// This file has the commands of TestScripts for scripts about lists.

// published is a fault that serves the texts published so far.
func (r *scriptRig) published(next http.Handler) http.Handler {
	return serveTexts(maps.Clone(r.texts))(next)
}

// textsMu guards the texts of all servers, which tests change while these run.
var textsMu sync.Mutex

// serveTexts serves texts by their names and passes on all other requests.
func serveTexts(texts map[string]string) faultserver.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			textsMu.Lock()
			text, ok := texts[strings.TrimPrefix(req.URL.Path, "/")]
			textsMu.Unlock()
			if !ok {
				next.ServeHTTP(w, req)
				return
			}
			w.Header().Set("Content-Type", http.DetectContentType([]byte(text)))
			w.Header().Set("ETag", fmt.Sprintf("%q", digestOf(strings.NewReader(text))))
			http.ServeContent(w, req, "", time.Time{}, strings.NewReader(text))
		})
	}
}

// digestOf reads r to its end and returns the SHA-256 in hex.
func digestOf(r io.Reader) string {
	h := sha256.New()
	io.Copy(h, r)
	return hex.EncodeToString(h.Sum(nil))
}

// digestOfFile returns the SHA-256 of a served file in hex.
func digestOfFile(f faultserver.File) string { return digestOf(io.NewSectionReader(f, 0, f.Size)) }

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE CMD...")
	}
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d", code)
	}
}

func cmdPublish(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: publish NAME FILE")
	}
	r := rigOf(ts)
	r.texts[args[0]] = ts.ReadFile(args[1])
	r.Set(r.published)
}

func cmdFill(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o666))
	}
}

func cmdDigest(ts *testscript.TestScript, _ bool, args []string) {
	f, ok := rigOf(ts).files[args[1]]
	if !ok {
		ts.Fatalf("nothing is served as %q", args[1])
	}
	ts.Setenv(args[0], digestOfFile(f))
}

// checkRequestCount compares the number of requests for which meant returns true with want.
func checkRequestCount(ts *testscript.TestScript, neg bool, want string, meant func(faultserver.Request) bool) {
	n, err := strconv.Atoi(want)
	ts.Check(err)
	got := 0
	var all bytes.Buffer
	for _, r := range rigOf(ts).Requests() {
		fmt.Fprintf(&all, "%s %s %s: %d\n", r.Method, r.Path, r.Range, r.Status)
		if meant(r) {
			got++
		}
	}
	if (got == n) == neg {
		ts.Fatalf("%d of\n%s", got, all.String())
	}
}

func cmdAsked(ts *testscript.TestScript, neg bool, args []string) {
	checkRequestCount(ts, neg, args[1], func(r faultserver.Request) bool { return r.Path == "/"+args[0] })
}

func cmdAnswered(ts *testscript.TestScript, neg bool, args []string) {
	status, err := strconv.Atoi(args[0])
	ts.Check(err)
	checkRequestCount(ts, neg, args[1], func(r faultserver.Request) bool { return r.Status == status })
}

func cmdReceived(ts *testscript.TestScript, neg bool, args []string) {
	got := "nothing, as there was no request"
	for _, r := range rigOf(ts).Requests() {
		if r.Path == "/"+args[0] {
			got = strings.Join(r.Header.Values(args[1]), ", ")
		}
	}
	if (got == args[2]) == neg {
		ts.Fatalf("%s of %s: %q", args[1], args[0], got)
	}
}
