package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// mostHostile is the most memory in KiB that a hostile server or list may cost. A mirror
// run of an honest list takes 40 to 70 MiB (measured); twice that shows growth.
const mostHostile = 160 << 10

// A measured run of the program, with what it has cost.
type measured struct {
	code   int
	output string
	rss    int64 // peak resident set, KiB
	state  int64 // bytes below the state directory
}

// measure runs the program to its end in dir, for a minute at most.
func measure(t *testing.T, dir string, args ...string) measured {
	t.Helper()
	cmd := pawlCommand(dir, args...)
	return measureCommand(t, dir, cmd)
}

// measureCommand is measure of a command that is ready to start.
func measureCommand(t *testing.T, dir string, cmd *exec.Cmd) measured {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer kill.Stop()
	ended := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- watchRSS(cmd.Process.Pid, ended) }()
	cmd.Wait()
	close(ended)
	m := measured{code: cmd.ProcessState.ExitCode(), output: out.String(), rss: <-peak, state: diskUse(t, filepath.Join(dir, "state"))}
	shown := m.output
	if len(shown) > 600 {
		shown = shown[:600] + "…"
	}
	t.Logf("exit %d after %v, peak RSS %d MiB, state %d KiB, %d bytes of output\n%s",
		m.code, time.Since(begun).Round(time.Millisecond), m.rss>>10, m.state>>10, len(m.output), shown)
	return m
}

// watchRSS returns the peak resident set in KiB of a process that runs until ended.
func watchRSS(pid int, ended <-chan struct{}) (peak int64) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return peak
		case <-tick.C:
		}
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		for line := range strings.Lines(string(status)) {
			var kib int64
			if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
				peak = max(peak, kib)
			}
		}
	}
}

// diskUse returns the bytes of all files below dir.
func diskUse(t *testing.T, dir string) (n int64) {
	t.Helper()
	filepath.Walk(dir, func(_ string, info os.FileInfo, err error) error {
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return nil
	})
	return n
}

// anyCode is for a test to which the exit code does not matter.
const anyCode = -2

// bounded checks what a run has cost.
func (m measured) bounded(t *testing.T, code int, rss, state int64) {
	t.Helper()
	if m.code != code && code != anyCode {
		t.Errorf("exit %d, want %d", m.code, code)
	}
	if m.rss > rss && !raceEnabled {
		t.Errorf("peak RSS %d KiB, want %d at most", m.rss, rss)
	}
	if m.state > state {
		t.Errorf("state: %d bytes, want %d at most", m.state, state)
	}
}

// writeList writes a list of n files of a server, and returns its path.
func listOf(t *testing.T, dir, url string, n int) string {
	t.Helper()
	var b bytes.Buffer
	for i := range n {
		fmt.Fprintf(&b, "%s/f%d\n", url, i)
	}
	path := filepath.Join(dir, "list")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestHugeHeaders: headers of 9 MB end a file for good, after one request, and cost
// little memory, over HTTP/1 and HTTP/2, at the end of the body and before the response.
func TestHugeHeaders(t *testing.T) {
	big := strings.Repeat("x", 900<<10)
	fill := func(h http.Header, prefix string) {
		for i := range 10 {
			h.Set(fmt.Sprintf("%sX-Big-%d", prefix, i), big)
		}
	}
	for _, c := range []struct {
		name  string
		code  int
		tls   bool
		serve http.HandlerFunc
	}{
		{"header", 7, false, func(w http.ResponseWriter, r *http.Request) { fill(w.Header(), ""); fmt.Fprint(w, "body") }},
		{"header over HTTP2", 7, true, func(w http.ResponseWriter, r *http.Request) { fill(w.Header(), ""); fmt.Fprint(w, "body") }},
		{"interim responses", 7, false, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Big", big[:100<<10])
			for range 90 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}},
		{"interim responses over HTTP2", 7, true, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Big", big[:100<<10])
			for range 90 {
				w.WriteHeader(http.StatusEarlyHints)
			}
		}},
		{"trailer", anyCode, false, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "body")
			http.NewResponseController(w).Flush()
			fill(w.Header(), http.TrailerPrefix)

		}},
		{"trailer over HTTP2", anyCode, true, func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprint(w, "body")
			http.NewResponseController(w).Flush()
			fill(w.Header(), http.TrailerPrefix)

		}},
		{"location", 7, false, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/"+big)
			w.WriteHeader(302)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var requests atomic.Int64
			srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				c.serve(w, r)
			}))
			if srv.EnableHTTP2 = c.tls; c.tls {
				srv.StartTLS()
			} else {
				srv.Start()
			}
			defer srv.Close()
			dir := t.TempDir()
			m := measure(t, dir, "mirror", "-k", "--rounds", "1", "--retry-wait", "10ms", "-d", dir, listOf(t, dir, srv.URL, 100))
			m.bounded(t, c.code, mostHostile, 1<<20)
			if c.code == 7 && !strings.Contains(m.output, "the server sends more than 256 KiB of header") {
				t.Error("the reason is not told")
			}
			if n := requests.Load(); c.code == 7 && n > 210 { // over HTTP/2, each is asked for over HTTP/1.1, too
				t.Errorf("%d requests for 100 files", n)
			}
		})
	}
}

// TestLargeRecords: what a server sends does not make the records of files large.
func TestLargeRecords(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	for _, c := range []struct {
		name   string
		header http.Header
	}{
		{"validators and media type", http.Header{
			"Etag": {`"` + long(60<<10) + `"`}, "Last-Modified": {long(60 << 10)}, "Content-Type": {"application/" + long(60<<10)},
		}},
		{"codings", http.Header{"Content-Type": {"application/gzip"}, "Content-Encoding": {strings.Repeat("gzip,", 20<<10)}}},
		{"an unknown coding", http.Header{"Content-Encoding": {long(200 << 10)}}},
		{"a range that is none", http.Header{"Content-Range": {long(200 << 10)}, ":status": {"206"}}},
		{"names and links", http.Header{
			"Content-Disposition": {"attachment; filename=" + long(100<<10)},
			"Link":                {strings.Repeat("<http://127.0.0.1:1/x>; rel=duplicate, ", 3000)},
		}},
		{"redirects", http.Header{"Location": {"ftp://" + long(200<<10)}, ":status": {"302"}}},
		{"small fields", func() http.Header {
			h := make(http.Header)
			for i := range 30_000 {
				h[fmt.Sprintf("%x", i)] = []string{""}
			}
			return h
		}()},
	} {
		for _, size := range []int{5000, 500_000} {
			t.Run(fmt.Sprint(c.name, size), func(t *testing.T) {
				body := bytes.Repeat([]byte("y"), size)
				srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					status := 200
					for name, v := range c.header {
						if name == ":status" {
							fmt.Sscan(v[0], &status)
							continue
						}
						w.Header()[name] = v
					}
					w.WriteHeader(status)
					w.Write(body)
				}))
				defer srv.Close()
				dir := t.TempDir()
				m := measure(t, dir, "mirror", "--rounds", "1", "--retry-wait", "1ms", "--tries", "2", "-d", dir, listOf(t, dir, srv.URL, 100))
				m.bounded(t, anyCode, mostHostile, 100*8<<10)
				if len(m.output) > 100*2<<10 {
					t.Errorf("%d bytes of output", len(m.output))
				}
			})
		}
	}
}

// TestLongURL: a URL of 100 KiB is fetched, found again and gone on with. The state file
// cannot have it as a key.
func TestLongURL(t *testing.T) {
	body := bytes.Repeat([]byte("y"), 500_000)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer srv.Close()
	dir := t.TempDir()
	for _, end := range []string{"a", "b"} { // which differ at the very end
		url := srv.URL + "/f" + end + "?" + strings.Repeat("x", 100<<10) + end
		pawlOK(t, dir, url)
		if out := pawlOK(t, dir, url); !strings.Contains(out, "already downloaded") {
			t.Errorf("it was fetched again: %.300s", out)
		}
		if err := os.WriteFile(filepath.Join(dir, "list"), []byte(url+"\n"), 0o666); err != nil {
			t.Fatal(err)
		}
		pawlOK(t, dir, "mirror", "-d", filepath.Join(dir, "mirror"), "list")
	}
	if out := pawlOK(t, dir, "list", "--all"); strings.Count(out, "f") < 4 {
		t.Errorf("list: %.300s", out)
	}
}

// TestIncredibleDates: a Last-Modified that cannot be true does not date the file.
func TestIncredibleDates(t *testing.T) {
	for date, believed := range map[string]bool{
		"Mon, 01 Jan 1601 00:00:00 GMT":                              false,
		"Fri, 31 Dec 9999 23:59:59 GMT":                              false,
		time.Now().Add(48 * time.Hour).UTC().Format(http.TimeFormat): false,
		"Thu, 01 Jan 1970 00:00:00 GMT":                              true,
		"Sun, 06 Nov 1994 08:49:37 GMT":                              true,
	} {
		for _, size := range []int{500, 500_000} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Last-Modified", date)
				w.Write(make([]byte, size))
			}))
			dir := t.TempDir()
			pawlOK(t, dir, "mirror", listOf(t, dir, srv.URL, 1))
			pawlOK(t, dir, "mirror", "--update", listOf(t, dir, srv.URL, 1))
			info, err := os.Stat(filepath.Join(dir, "f0"))
			if err != nil {
				t.Fatal(err)
			}
			if got := info.ModTime().UTC().Format(http.TimeFormat) == date; got != believed {
				t.Errorf("%s: the file is dated %v", date, info.ModTime())
			}
			if age := time.Since(info.ModTime()); !believed && (age < 0 || age > time.Minute) {
				t.Errorf("%s: the file is dated %v", date, info.ModTime())
			}
			srv.Close()
		}
	}
}

// listFile writes a list or checksum file with write, and returns its path.
func listFile(t *testing.T, dir string, write func(io.Writer)) string {
	t.Helper()
	f, err := os.Create(filepath.Join(dir, "list"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	write(w)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// TestHugeEntries: entries of a list that are as long as they may be cost little memory,
// whatever their format and however many there are.
func TestHugeEntries(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write(make([]byte, 300<<10)) }))
	defer srv.Close()
	long := strings.Repeat("x", 1<<20-100)
	for name, write := range map[string]func(w io.Writer){
		"metalink": func(w io.Writer) {
			z := gzip.NewWriter(w)
			defer z.Close()
			fmt.Fprint(z, `<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="f">`)
			for range 300 {
				fmt.Fprintf(z, "<url>%s/%s</url>", srv.URL, long)
			}
			fmt.Fprint(z, "</file></metalink>")
		},
		"json": func(w io.Writer) {
			for i := range 60 {
				fmt.Fprintf(w, `{"url":"%s/%s","out":"f%d"}`+"\n", srv.URL, long, i)
			}
		},
		"mirrors": func(w io.Writer) {
			for i := range 150 {
				fmt.Fprintf(w, "%s/f%d%s\n", srv.URL, i, strings.Repeat(fmt.Sprintf("\t%s/%s", srv.URL, long[:1000]), 950))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := measure(t, dir, "mirror", "-q", "--tries", "1", "--rounds", "1", listFile(t, dir, write))
			m.bounded(t, anyCode, 2*mostHostile, 1<<30)
		})
	}
}

// TestManyChecksums: a checksum file of 3 million lines takes 100 bytes a line.
func TestManyChecksums(t *testing.T) {
	dir := t.TempDir()
	sums := listFile(t, dir, func(w io.Writer) {
		for i := range 3_000_000 {
			fmt.Fprintf(w, "%064x  some/directory/of/it/file%d\n", i, i)
		}
	})
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	m := measure(t, dir, "--checksums", sums, srv.URL+"/some/directory/of/it/file1")
	m.bounded(t, 8, 350<<10, 1<<20)
}

// TestManyHosts: what is remembered of hosts that refuse connections does not grow with their
// number. Each took 3.5 KiB once, 56 MiB for 16,000.
func TestManyHosts(t *testing.T) {
	peak := make(map[int]int64)
	for _, n := range []int{4000, 20_000} {
		dir := t.TempDir()
		path := listFile(t, dir, func(w io.Writer) {
			for i := range n {
				fmt.Fprintf(w, "http://127.%d.%d.%d:9/f%d\n", 1+i>>16, i>>8&255, i&255, i)
			}
		})
		m := measure(t, dir, "mirror", "-q", "--tries", "1", "--rounds", "1", "--max-request-rate", "1000", path)
		m.bounded(t, 4, mostHostile, 1<<20)
		peak[n] = m.rss
	}
	if grown := peak[20_000] - peak[4000]; grown > 16<<10 && !raceEnabled { // the queue has 250 bytes for each
		t.Errorf("16,000 more hosts took %d KiB", grown)
	}
}
