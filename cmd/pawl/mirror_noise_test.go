package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"pawl/downloader/faultserver"
)

// wantLines checks how many lines of stderr contain a text.
func (o runResult) wantLines(n int, text string) {
	o.tr.Helper()
	if got := strings.Count(o.stderr, text); got != n {
		o.tr.Errorf("%d lines contain %q, want %d\n%s", got, text, n, o.stderr)
	}
}

// TestMirrorOtherSchemes checks that mirrors of other schemes in metalinks are counted in one
// line, not at all with -q, and in the report. A mirror with an invalid URL is a warning.
func TestMirrorOtherSchemes(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	names := s.addMany(6, sameSize(100))
	var b strings.Builder
	b.WriteString(`<metalink xmlns="urn:ietf:params:xml:ns:metalink">` + "\n")
	for _, name := range names {
		fmt.Fprintf(&b, `<file name=%q><url>%s/%s</url>`, name, s.srv.URL, name)
		for i := range 20 {
			fmt.Fprintf(&b, `<url>%s://h%d/%s</url>`, []string{"rsync", "ftp"}[i%2], i, name)
		}
		b.WriteString("</file>\n")
	}
	s.writeFile(s.dir+"/list", []byte(b.String()+"</metalink>"))
	o := s.runMirror("list", "--report", "report").wantExit(0)
	o.wantLines(0, "warning")
	o.wantLines(1, "not used: 120")
	if r := s.report("report"); r.Summary.Mirrors != 120 || r.Summary.Problems != 0 {
		s.Errorf("got %+v", r.Summary)
	}
	if o := s.runMirror("-q", "list").wantExit(0); o.stderr != "" {
		s.Errorf("-q: got %q", o.stderr)
	}
	s.writeList("bad", s.srv.URL+"/f0000\thttp://h:99999/f0000\trsync://h/f0000")
	s.runMirror("-q", "bad").wantExit(0).wantLines(1, "pawl: warning: ")
}

// TestMirrorNoise checks that many failures of one kind take a few lines, that the report and the
// list of --failed have all of them, and that -v prints them.
func TestMirrorNoise(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for name, tt := range map[string]struct {
		fault faultserver.Fault
		code  int
		files int // that may be requested
	}{
		"403": {faultserver.Status(403, -1), 8, 26},
		"404": {faultserver.Status(404, -1), 8, 300},
		"401": {faultserver.Status(401, -1), 6, 6},
		"429": {faultserver.Status(429, -1), 75, 4},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.addMany(300, sameSize(100))
			s.writeListOfAll("list")
			s.srv.Set(tt.fault)
			args := []string{"--rounds", "2", "--round-wait", "10ms", "--tries", "2", "--report", "report", "--failed", "failed", "list"}
			o := s.runMirror(append(args, "-q")...).wantExit(tt.code)
			if n := strings.Count(o.stderr, "\n"); n > 14 {
				s.Errorf("got %d lines\n%s", n, o.stderr)
			}
			o.wantStderr(" more such as: ")
			if n := len(s.requestCounts()); n > tt.files {
				s.Errorf("%d files were requested, want at most %d", n, tt.files)
			}
			if n := s.report("report").outcomeCounts()[outcomeFailed]; n != 300 {
				s.Errorf("the report has %d failed files", n)
			}
			if n := len(s.lines("failed")); n != 300 {
				s.Errorf("the list of failed files has %d lines", n)
			}
			if name == "404" {
				s.runMirror(append(args, "-v")...).wantLines(300, "pawl: error: ")
			}
		})
	}
}

// TestMirrorUnusableLines checks that many unusable lines take a few lines on stderr.
func TestMirrorUnusableLines(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.add("a", 100)
	s.writeList("list", append(strings.Split(strings.Repeat("junk ,1 ,22 ", 100), ","), s.srv.URL+"/a")...)
	o := s.runMirror("list", "--report", "report").wantExit(2)
	o.wantLines(11, "pawl: error: ")
	o.wantStderr("pawl: 201 lines of the lists cannot be used")
	if n := len(s.report("report").Problems); n != 201 {
		s.Errorf("the report has %d problems", n)
	}
}

// TestMirrorUntrusted checks that a host whose certificate is not trusted is asked for a few
// files only.
func TestMirrorUntrusted(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	connections := make(chan bool, 1000)
	srv := httptest.NewUnstartedServer(http.NotFoundHandler())
	srv.Config.ErrorLog = log.New(countingWriter(connections), "", 0)
	srv.StartTLS()
	defer srv.Close()
	var urls []string
	for i := range 300 {
		urls = append(urls, fmt.Sprintf("%s/f%d", srv.URL, i))
	}
	s.add("a", 100)
	s.writeList("list", append(urls, s.srv.URL+"/a")...)
	o := s.runMirror("--round-wait", "10ms", "list").wantExit(5)
	o.wantStderr("1 of 301 files are here", "300 failed: TLS", " more such as: ")
	if n := len(connections); n == 0 || n > 6 {
		s.Errorf("%d connections to the host, want 1 to 6", n)
	}
	if n := strings.Count(o.stderr, "\n"); n > 20 {
		s.Errorf("got %d lines\n%s", n, o.stderr)
	}
}

// countingWriter returns a writer that sends a value for each Write.
func countingWriter(to chan<- bool) io.Writer { return writerFunc(func() { to <- true }) }

type writerFunc func()

func (f writerFunc) Write(p []byte) (int, error) {
	f()
	return len(p), nil
}
