package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// maxHostileRSS is the limit in KiB of the resident memory for hostile servers and lists. A
// mirror run of an honest list takes 40 to 70 MiB (measured), so a run above 100 MiB grows
// with its input.
const maxHostileRSS = 100 << 10

// A measuredRun is a completed run of pawl and the resources that it used.
type measuredRun struct {
	code   int
	output string
	rss    int64 // peak resident memory in KiB
	state  int64 // total size in bytes of the files below the state directory
}

// measure runs pawl in dir to its end, for hangLimit at most.
func measure(t *testing.T, dir string, args ...string) measuredRun {
	t.Helper()
	cmd := pawlCommand(dir, args...)
	return measureCommand(t, dir, cmd)
}

// measureCommand is measure for a command that the caller has made.
func measureCommand(t *testing.T, dir string, cmd *exec.Cmd) measuredRun {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	begun := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill := time.AfterFunc(hangLimit, func() { cmd.Process.Kill() })
	defer kill.Stop()
	ended := make(chan struct{})
	peak := make(chan int64, 1)
	go func() { peak <- watchRSS(cmd.Process.Pid, ended) }()
	cmd.Wait()
	close(ended)
	m := measuredRun{code: cmd.ProcessState.ExitCode(), output: out.String(), rss: <-peak, state: diskUse(t, filepath.Join(dir, "state"))}
	shown := m.output
	if len(shown) > 600 {
		shown = shown[:600] + "…"
	}
	t.Logf("exit %d after %v, peak RSS %d MiB, state %d KiB, %d bytes of output\n%s",
		m.code, time.Since(begun).Round(time.Millisecond), m.rss>>10, m.state>>10, len(m.output), shown)
	return m
}

// watchRSS polls the peak resident memory of a process until ended is closed, and returns
// it in KiB.
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

// diskUse returns the total size in bytes of all files below dir.
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

// anyCode stands for any exit code.
const anyCode = -2

// wantBounded checks the exit code, the peak memory in KiB and the size of the state in
// bytes.
func (m measuredRun) wantBounded(t *testing.T, code int, rss, state int64) {
	t.Helper()
	if m.code != code && code != anyCode {
		t.Errorf("exit %d, want %d", m.code, code)
	}
	if m.rss > rss && !raceEnabled {
		t.Errorf("peak RSS: got %d KiB, want at most %d", m.rss, rss)
	}
	if m.state > state {
		t.Errorf("state: got %d bytes, want at most %d", m.state, state)
	}
}

// writeListOf writes a list of the n files url/f0, url/f1 and so on, and returns its path.
func writeListOf(t *testing.T, dir, url string, n int) string {
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

// TestHugeHeaders checks that 9 MB of header fields make a file fail permanently, after one
// request and with little memory: in the response, in interim responses and in trailers,
// over HTTP/1.1 and HTTP/2.
func TestHugeHeaders(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	skipUnderRace(t)
	const files = 10                    // 90 MB of fields, if pawl kept all of them
	big := strings.Repeat("X", 900<<10) // not x, which HTTP/2 would compress with much work
	fill := func(h http.Header, prefix string) {
		for i := range 10 {
			h.Set(fmt.Sprintf("%sX-Big-%d", prefix, i), big)
		}
	}
	type row struct {
		name  string
		code  int
		tls   bool
		serve http.HandlerFunc
	}
	for _, c := range sample(3, []row{
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
	}) {
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
			m := measure(t, dir, "mirror", "-k", "--rounds", "1", "--retry-wait", "10ms", "-d", dir, writeListOf(t, dir, srv.URL, files))
			m.wantBounded(t, c.code, maxHostileRSS, 1<<20)
			if c.code == 7 && !strings.Contains(m.output, "the server sends a header of more than 256 KiB") {
				t.Error("the output does not contain the reason")
			}
			if n := requests.Load(); c.code == 7 && n > 2*files { // after HTTP/2, pawl requests each file over HTTP/1.1, too
				t.Errorf("got %d requests for %d files, want at most two for each", n, files)
			}
		})
	}
}

// TestServerCannotEnlargeRecords checks that large header fields do not enlarge the records
// in the state file.
func TestServerCannotEnlargeRecords(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	skipUnderRace(t)
	const files, maxState = 6, 96 << 10 // an empty state takes a third of that
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
		{"an invalid range", http.Header{"Content-Range": {long(200 << 10)}, ":status": {"206"}}},
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
		sizes := []int{5000, 500_000}
		if !allTests() {
			sizes = sizes[:1]
		}
		for _, size := range sizes {
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
				m := measure(t, dir, "mirror", "--rounds", "1", "--retry-wait", "1ms", "--tries", "2", "-d", dir, writeListOf(t, dir, srv.URL, files))
				m.wantBounded(t, anyCode, maxHostileRSS, maxState)
				if len(m.output) > files*2<<10 {
					t.Errorf("got %d bytes of output, want at most 2 KiB per file", len(m.output))
				}
			})
		}
	}
}

// TestLongURL checks that a URL of 100 KiB is downloaded and found again, although it is too
// long for a key of the state file.
func TestLongURL(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	body := bytes.Repeat([]byte("y"), 500_000)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer srv.Close()
	dir := t.TempDir()
	for _, end := range []string{"a", "b"} { // the URLs differ at their ends
		url := srv.URL + "/f" + end + "?" + strings.Repeat("x", 100<<10) + end
		pawlOK(t, dir, url)
		if out := pawlOK(t, dir, url); !strings.Contains(out, "already downloaded") {
			t.Errorf("the file was downloaded again: %.300s", out)
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

// TestUnbelievableLastModified checks that pawl does not use a Last-Modified before 1970 or
// in the future as the modification time of the file.
func TestUnbelievableLastModified(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
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
			pawlOK(t, dir, "mirror", writeListOf(t, dir, srv.URL, 1))
			pawlOK(t, dir, "mirror", "--update", writeListOf(t, dir, srv.URL, 1))
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

// writeListWith writes a list or checksum file by calling write, and returns its path.
func writeListWith(t *testing.T, dir string, write func(io.Writer)) string {
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

// TestHugeEntries checks that list entries of the maximum length cost little memory, in
// every format and in any number.
func TestHugeEntries(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	skipExpensive(t)
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer srv.Close()
	long := strings.Repeat("x", 1<<20-100)
	for name, write := range map[string]func(w io.Writer){
		"metalink": func(w io.Writer) {
			z := gzip.NewWriter(w)
			defer z.Close()
			fmt.Fprint(z, `<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="f">`)
			for range 40 {
				fmt.Fprintf(z, "<url>%s/%s</url>", srv.URL, long)
			}
			fmt.Fprint(z, "</file></metalink>")
		},
		"json": func(w io.Writer) {
			for i := range 20 {
				fmt.Fprintf(w, `{"url":"%s/%s","out":"f%d"}`+"\n", srv.URL, long, i)
			}
		},
		"mirrors": func(w io.Writer) {
			for i := range 40 {
				fmt.Fprintf(w, "%s/f%d%s\n", srv.URL, i, strings.Repeat(fmt.Sprintf("\t%s/%s", srv.URL, long[:1000]), 950))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			m := measure(t, dir, "mirror", "-q", "--tries", "1", "--rounds", "1", writeListWith(t, dir, write))
			m.wantBounded(t, anyCode, maxHostileRSS, 1<<30)
		})
	}
}

// growth runs pawl for two sizes of its input, and returns how much more memory in bytes it
// holds in the end for each further piece of input. It takes the heap after the last garbage
// collection, because the peak of the resident memory hides a growth of 20 MiB.
func growth(t *testing.T, least, most int, code int, command func(n int) (dir string, args []string)) (perPiece int) {
	t.Helper()
	var live []int // MiB
	for _, n := range []int{least, most} {
		dir, args := command(n)
		cmd := pawlCommand(dir, args...)
		cmd.Env = append(cmd.Env, "GOGC=10", "GODEBUG=gctrace=1")
		m := measureCommand(t, dir, cmd)
		m.wantBounded(t, code, 1<<40, 1<<20)
		traces := regexp.MustCompile(`(?m)^gc .*->(\d+) MB,`).FindAllStringSubmatch(m.output, -1)
		if len(traces) == 0 {
			t.Fatal("no garbage collection was traced")
		}
		mib, _ := strconv.Atoi(traces[len(traces)-1][1])
		live = append(live, mib)
	}
	t.Logf("%d pieces: %d MiB, %d pieces: %d MiB", least, live[0], most, live[1])
	return (live[1] - live[0]) << 20 / (most - least)
}

// TestManyChecksums checks that each line of a checksum file takes about 100 bytes of memory.
func TestManyChecksums(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	skipExpensive(t)
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	got := growth(t, 50_000, 350_000, 8, func(n int) (string, []string) {
		dir := t.TempDir()
		return dir, []string{"--checksums", writeListWith(t, dir, func(w io.Writer) {
			for i := range n {
				fmt.Fprintf(w, "%064x  some/directory/of/it/file%d\n", i, i)
			}
		}), srv.URL + "/some/directory/of/it/file1"}
	})
	if got > 150 {
		t.Errorf("a line takes %d bytes of memory, want about 100", got)
	}
}

// TestManyHosts checks that memory does not grow with the number of hosts that refuse
// connections. Each host once took 3.5 KiB. pawl cannot lock its slots for connections, because
// counting other processes takes most of the time of such a run.
func TestManyHosts(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	skipExpensive(t)
	got := growth(t, 2500, 10_500, 4, func(n int) (string, []string) { // pawl remembers 1,000 to 2,000 hosts
		dir := t.TempDir()
		state := filepath.Join(dir, "state", "pawl")
		if err := errors.Join(os.MkdirAll(state, 0o700), os.WriteFile(filepath.Join(state, "hosts"), nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		return dir, []string{"mirror", "-q", "--tries", "1", "--rounds", "1", writeListWith(t, dir, func(w io.Writer) {
			for i := range n {
				fmt.Fprintf(w, "http://127.%d.%d.%d:9/f%d\n", 1+i>>16, i>>8&255, i&255, i)
			}
		})}
	})
	if got > 1500 { // the queue itself takes 250 bytes per entry
		t.Errorf("a host takes %d bytes of memory, want only those of its entry", got)
	}
}
