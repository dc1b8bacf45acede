package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// TestGrammar runs the real program against servers whose responses are drawn from a
// grammar: statuses, header fields, framing, codings, ranges, sizes, versions and cuts,
// mostly correct. Whatever a server sends:
//
//   - pawl ends, without a panic, and uses less than 128 MiB of memory;
//   - after exit code 0 the file is a whole version of the served one (a body without
//     framing may be cut, because pawl can only warn of that);
//   - pawl writes nothing outside of the directory.
//
// There are 10 servers, 150 with PAWL_TEST_ALL=1, 1,000 with PAWL_TEST_LONG=1, or as many as PAWL_TEST_GRAMMAR says;
// -seed repeats the run of one seed. No server is silent, so that the timeouts cannot change
// how a run ends.
func TestGrammar(t *testing.T) {
	t.Parallel()
	runs := 10
	switch {
	case longTests():
		runs = 1000
	case allTests():
		runs = 150
	}
	if s := os.Getenv("PAWL_TEST_GRAMMAR"); s != "" {
		var err error
		if runs, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	base := rand.Uint64()
	if *seedFlag != 0 {
		base, runs = *seedFlag, 1
	}
	var all sync.WaitGroup
	var good atomic.Int64
	seeds := make(chan uint64)
	for range 4 {
		all.Go(func() {
			for seed := range seeds {
				good.Add(grammarRun(t, seed))
			}
		})
	}
	for i := range runs {
		seeds <- base + uint64(i)
	}
	close(seeds)
	all.Wait()
	t.Logf("%d servers, seeds from %d; %d runs ended with exit code 0", runs, base, good.Load())
	if runs >= 80 && (good.Load() < int64(runs)/4 || good.Load() > 2*int64(runs)*9/10) {
		t.Errorf("%d runs against %d servers succeeded, want a quarter to 1.8 per server: the grammar is too hard or too easy", good.Load(), runs)
	}
}

// A grammarServer is the server of one seed. mu guards its fields during a run.
type grammarServer struct {
	mu       sync.Mutex
	rand     *rand.Rand
	versions [][]byte
	now      int  // index of the version that is served
	strict   bool // responses have strong ETags; otherwise there is only one version
	coded    bool // some bodies are coded with gzip
	unframed bool // set once a body without framing was sent
	requests int
}

// grammarRun runs pawl once or twice against the server of one seed, and returns how many
// runs ended with exit code 0.
func grammarRun(t *testing.T, seed uint64) (good int64) {
	r := rand.New(rand.NewPCG(seed, 1))
	s := &grammarServer{rand: rand.New(rand.NewPCG(seed, 2)), strict: r.IntN(4) > 0, coded: r.IntN(4) == 0}
	size := []int{0, 1, 1000, 40_000, 300_000, 2_000_000}[r.IntN(6)]
	for range 1 + r.IntN(2) {
		b := make([]byte, max(0, size+[]int{0, 0, 0, 1, -1, 5000}[r.IntN(6)]))
		fillNoise(b, r.Uint64())
		s.versions = append(s.versions, b)
	}
	if !s.strict {
		s.versions = s.versions[:1]
	}
	srv := httptest.NewServer(s)
	defer srv.Close()
	home := t.TempDir()
	dir := filepath.Join(home, "here")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Error(err)
		return 0
	}
	args := slices.Concat(testWaits, []string{"--tries", "4", "-x", strconv.Itoa(1 + r.IntN(8))})
	name := "f.bin"
	switch r.IntN(4) {
	case 0:
		args = append(args, "-o", name, srv.URL+"/f.bin")
	case 1:
		if s.strict && !s.coded {
			args = append(args, "--checksum", fmt.Sprintf("sha256:%x", sha256.Sum256(s.versions[0])))
		}
		args = append(args, "-o", name, srv.URL+"/f.bin")
	case 2:
		list := filepath.Join(home, "list")
		os.WriteFile(list, []byte(srv.URL+"/f.bin\n"), 0o644)
		args = slices.Concat([]string{"mirror", "--rounds", "1"}, args, []string{list})
	default:
		name = "" // the server chooses it
		args = append(args, srv.URL+"/f.bin")
	}
	for range 1 + r.IntN(2) { // a second run resumes
		if grammarCheck(t, s, seed, home, name, args) {
			good++
		}
	}
	return good
}

// grammarMemory is the most memory in bytes that a run may use.
const grammarMemory = 128 << 20

// idleMemory returns the memory that is counted for a pawl that does nothing. It includes the peak of this
// process, from which pawl is forked; if that is large, the memory of other runs is not known.
func idleMemory(t *testing.T) int64 {
	idle := pawlCommand(t.TempDir(), "--version")
	if err := idle.Run(); err != nil {
		t.Error(err)
	}
	return peakMemory(idle.ProcessState)
}

// grammarCheck runs pawl once, checks the result, and reports whether the exit code was 0.
func grammarCheck(t *testing.T, s *grammarServer, seed uint64, home, name string, args []string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), hangLimit)
	defer cancel()
	model := pawlCommand(filepath.Join(home, "here"), args...)
	cmd := exec.CommandContext(ctx, model.Path, args...)
	cmd.Dir, cmd.Env = model.Dir, append(model.Env, "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"))
	out, err := cmd.CombinedOutput()
	fail := func(format string, args ...any) {
		t.Errorf("seed %d: %s\npawl %q\n%s", seed, fmt.Sprintf(format, args...), cmd.Args[1:], out)
	}
	if ctx.Err() != nil {
		fail("pawl did not end within %v", hangLimit)
		return false
	}
	if err == nil {
		if rest := s.checkFinished(filepath.Join(home, "here"), name); rest != "" {
			fail("exit 0, and %s", rest)
		}
	}
	for _, inside := range []string{"panic", "goroutine ", "fatal error", "DATA RACE"} {
		if bytes.Contains(out, []byte(inside)) {
			fail("the output contains %q", inside)
		}
	}
	if peak := peakMemory(cmd.ProcessState); peak > grammarMemory && !raceEnabled {
		if idleMemory(t) < grammarMemory/2 {
			fail("pawl used %d bytes of memory, want at most %d", peak, grammarMemory)
		} else {
			t.Logf("the memory of seed %d is not known, because it includes the test's own", seed)
		}
	}
	entries, _ := os.ReadDir(home)
	for _, e := range entries {
		if !slices.Contains([]string{"here", "state", "list", "config"}, e.Name()) {
			fail("pawl created %s outside of the directory", e.Name())
		}
	}
	return err == nil
}

// checkFinished compares the finished file with the versions. It returns a description of
// the difference, or "". If name is "" it takes the only file in dir.
func (s *grammarServer) checkFinished(dir, name string) string {
	if name == "" {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if !strings.Contains(e.Name(), ".part") {
				name = e.Name()
			}
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err.Error()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.versions {
		if bytes.Equal(got, v) || s.unframed && bytes.HasPrefix(v, got) || s.coded && bytes.Equal(got, gzipOf(v)) {
			return ""
		}
	}
	return fmt.Sprintf("%s with %d bytes is not a version of the file", name, len(got))
}

// gzipOf returns the gzip coding of b.
func gzipOf(b []byte) []byte {
	var out bytes.Buffer
	w, _ := gzip.NewWriterLevel(&out, gzip.BestSpeed)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// fillNoise fills b with bytes that depend on the seed.
func fillNoise(b []byte, seed uint64) {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	rand.NewChaCha8(key).Read(b)
}

// oneIn returns true with a probability of 1/of. It decides whether a fault occurs.
func (s *grammarServer) oneIn(of int) bool { return s.rand.IntN(of) == 0 }

// ServeHTTP draws a response from the grammar, with mu held, and sends it.
func (s *grammarServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.requests++; s.oneIn(12) {
		s.now = s.rand.IntN(len(s.versions))
	}
	a := s.respond(r)
	s.mu.Unlock()
	for name, value := range a.header {
		w.Header()[name] = value
	}
	if a.raw { // no framing: the end of the connection is the end of the body
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "HTTP/1.0 %d X\r\n", a.status)
		a.header.Write(conn)
		fmt.Fprint(conn, "\r\n")
		conn.Write(a.body)
		return
	}
	w.WriteHeader(a.status)
	w.Write(a.body)
	if a.cut {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// A grammarResponse is one response of the grammar. With cut the connection is closed after
// the body, before its announced end.
type grammarResponse struct {
	status   int
	header   http.Header
	body     []byte
	cut, raw bool
}

// respond draws the response to r. The caller must hold mu.
func (s *grammarServer) respond(r *http.Request) grammarResponse {
	v := s.versions[s.now]
	a := grammarResponse{status: 200, header: http.Header{"Content-Type": {"application/octet-stream"}}, body: v}
	if s.oneIn(10) {
		return s.refusal()
	}
	if s.strict {
		a.header.Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(v)))
	}
	if s.coded && s.oneIn(3) {
		a.body = gzipOf(v)
		a.header.Set("Content-Encoding", "gzip")
		a.header.Del("ETag")
	} else {
		s.applyRange(r, &a)
	}
	if s.oneIn(6) {
		a.header.Set("Content-Disposition", s.pick(`attachment; filename="../../evil"`, `attachment; filename="/tmp/evil"`, `attachment; filename="a.bin"`,
			`attachment; filename*=UTF-8''%2e%2e%2fevil`, `attachment; filename=".."`, `attachment; filename="CON"`, "attachment; filename=\"\xff\xfe\""))
	}
	if s.oneIn(8) {
		a.header.Set("X-Noise", strings.Repeat("x", s.rand.IntN(5000)))
	}
	s.applyFraming(&a)
	return a
}

// pick returns one of the texts.
func (s *grammarServer) pick(of ...string) string { return of[s.rand.IntN(len(of))] }

// refusal draws a response without the file.
func (s *grammarServer) refusal() grammarResponse {
	status := []int{204, 301, 302, 304, 400, 401, 403, 404, 405, 408, 410, 416, 425, 429, 451, 500, 501, 502, 503, 504, 520, 599}[s.rand.IntN(22)]
	a := grammarResponse{status: status, header: http.Header{"Content-Type": {"text/html"}}}
	switch {
	case status >= 400:
		a.body = []byte("<html>no</html>")
	case status < 303 && status > 299 && s.oneIn(2):
		a.header.Set("Location", s.pick("/f.bin", "/else", "?x", "//", "http://[::1", "ftp://x/y", "data:,x"))
	}
	if s.oneIn(3) {
		a.header.Set("Retry-After", s.pick("0", "1", "-1", "99999999999999999999", "x", "Thu, 01 Jan 1970 00:00:00 GMT"))
	}
	return a
}

// applyRange turns a into the response to the Range field of r, sometimes into a wrong one.
func (s *grammarServer) applyRange(r *http.Request, a *grammarResponse) {
	field := r.Header.Get("Range")
	if field == "" || s.oneIn(8) {
		return
	}
	if cond := r.Header.Get("If-Range"); cond != "" && cond != a.header.Get("ETag") && !s.oneIn(8) {
		return
	}
	size := int64(len(a.body))
	first, last := int64(0), size-1
	if n, _ := fmt.Sscanf(field, "bytes=%d-%d", &first, &last); n == 0 {
		return
	}
	last = min(last, size-1)
	if first > last {
		a.status, a.body = 416, nil
		a.header.Set("Content-Range", fmt.Sprintf("bytes */%d", size))
		return
	}
	if s.oneIn(10) { // another range, with a correct Content-Range
		first = min(size-1, first+int64(s.rand.IntN(1000)))
	}
	if s.oneIn(10) {
		last = min(size-1, last+int64(s.rand.IntN(1000)))
	}
	if first > last {
		last = first
	}
	a.status, a.body = 206, a.body[first:last+1]
	total := fmt.Sprint(size)
	if s.oneIn(10) {
		total = "*"
	}
	a.header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%s", first, last, total))
	if s.oneIn(20) {
		a.header.Set("Content-Range", s.pick("", "bytes", "bytes 0-0/0", "bytes -1-5/10", "bytes 5-1/10", "items 0-5/10"))
	}
}

// applyFraming draws the framing of the body: chunked, none, or Content-Length. Sometimes it
// cuts the body.
func (s *grammarServer) applyFraming(a *grammarResponse) {
	whole := len(a.body)
	switch s.rand.IntN(12) {
	case 0: // chunked
	case 1:
		if a.status == 200 && a.header.Get("Content-Encoding") == "" {
			a.raw, s.unframed = true, true
		}
	default:
		a.header.Set("Content-Length", strconv.Itoa(whole))
	}
	if s.oneIn(6) && whole > 0 {
		a.body, a.cut = a.body[:s.rand.IntN(whole)], true
	}
}
