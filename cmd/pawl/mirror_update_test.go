package main

import (
	"net/http"
	"slices"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestMirrorUpdate checks that -N sends one conditional request per file, and downloads the
// 7 of 1,000 files that have changed.
func TestMirrorUpdate(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	s := newSite(t)
	names := s.addMany(1000, func(i int) int64 { return 500 + int64(i) })
	s.writeListOfAll("list")
	s.runMirror("-q", "list").wantExit(0)
	s.wantFiles()

	changed := make(map[string]bool)
	for _, i := range s.rand.Perm(len(names))[:7] {
		changed[names[i]] = true
		before := s.files[names[i]].Modified
		s.add(names[i], 700+s.rand.Int64N(900))
		f := s.files[names[i]]
		f.Modified = before.Add(time.Hour) // so that the first response decides
		s.files[names[i]] = f
		s.srv.Put(names[i], f)
	}
	s.srv.Reset()
	s.runMirror("-q", "list").wantExit(0)
	if n := len(s.srv.Requests()); n != 0 {
		t.Errorf("without -N: %d requests, want none", n)
	}
	s.runMirror("-N", "--report", "report", "list").wantExit(0).wantStderr("all 1000 files are here: 7 fetched, 993 checked and unchanged")
	s.wantFiles()
	s.wantFileCount(1000)
	s.wantOneRequestEach(names, changed)
	for _, f := range s.report("report").Files {
		want := outcomeUnchanged
		if changed[f.URL[len(s.srv.URL)+1:]] {
			want = outcomeFetched
		}
		if f.Outcome != want {
			t.Errorf("report: %s %s, want %s", f.URL, f.Outcome, want)
		}
	}
	size := int64(0)
	for name := range changed {
		size += s.files[name].Size
	}
	if sent := s.srv.Sent(); sent > size+int64(len(changed)) {
		t.Errorf("%d bytes were sent, want the %d of the changed files", sent, size)
	}
	s.srv.Reset()
	s.runMirror("-q", "-N", "list").wantExit(0)
	s.wantOneRequestEach(names, nil)
}

// wantOneRequestEach checks that each file was requested once, with a condition, and that
// the response was 304. A changed file may take a second request, after one for its first
// byte.
func (s *site) wantOneRequestEach(names []string, changed map[string]bool) {
	s.Helper()
	for name, n := range s.requestCounts() {
		if n != 1 && !(changed[name] && n == 2) || !slices.Contains(names, name) {
			s.Errorf("%s: got %d requests, want 1", name, n)
		}
	}
	statuses := make(map[int]int)
	for _, r := range s.srv.Requests() {
		statuses[r.Status]++
		want := http.StatusNotModified
		if changed[r.Path[1:]] {
			want = http.StatusOK
		}
		if r.Status != want && !(want == http.StatusOK && r.Status == http.StatusPartialContent) {
			s.Errorf("%s: got status %d, want %d", r.Path, r.Status, want)
		}
		if !changed[r.Path[1:]] && r.Header.Get("If-None-Match") == "" && r.Header.Get("If-Modified-Since") == "" {
			s.Errorf("%s was requested without a condition", r.Path)
		}
	}
	if statuses[http.StatusNotModified] != len(names)-len(changed) {
		s.Errorf("got statuses %v, want %d times 304", statuses, len(names)-len(changed))
	}
}

// TestUpdateWithoutLogin checks the hint of a run with -N that lacks the credentials of an earlier one, or whose
// login has expired: it names the options that were given, which the records of the files have.
func TestUpdateWithoutLogin(t *testing.T) {
	sampled(t, 8)
	const again = ": run the same command again with that"
	for _, tt := range []struct {
		name    string
		login   []string
		missing string // of the hint without login
		refused string // of the hint for a login that is not accepted
	}{
		{"cookies", []string{"--load-cookies", "cookies", "--headers-everywhere"}, "downloaded with --load-cookies FILE and --headers-everywhere" + again, "--load-cookies FILE"},
		{"a user", []string{"-u", "u:s3cret", "--headers-everywhere"}, "downloaded with -u USER and --headers-everywhere" + again, "-u USER"},
		{"a header for the host", []string{"-H", "127.0.0.1=Authorization: Basic dTpzM2NyZXQ="}, "downloaded with -H '127.0.0.1=Authorization: …'" + again, "-H '127.0.0.1=Authorization: …'"},
		{"a header", []string{"-H", "Authorization: Basic dTpzM2NyZXQ=", "--headers-everywhere"}, "downloaded with -H 'Authorization: …' and --headers-everywhere" + again, "-H 'Authorization: …'"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			s.add("small", 10)
			s.add("large", 3<<20)
			s.writeFile(s.dir+"/cookies", []byte("127.0.0.1\tFALSE\t/\tFALSE\t0\tsid\ts3cret\n"))
			s.writeListOfAll("list")
			s.runMirror(append(tt.login, "-q", "list")...).wantExit(0)
			page := newPage("<!doctype html><title>Log in</title><form>")
			for _, refuse := range []struct {
				fault faultserver.Fault
				code  int
			}{
				{faultserver.Status(http.StatusUnauthorized, -1), 6},
				{faultserver.Status(http.StatusForbidden, -1), 8},
				{handling(func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
					servePage(r.URL.Path, page)(nil).ServeHTTP(w, r)
				}), 7},
			} {
				s.srv.Set(refuse.fault)
				s.runMirror("-N", "--rounds", "1", "--tries", "1", "list").wantExit(refuse.code).wantStderr(tt.missing)
				s.runMirror(append(tt.login, "-N", "--rounds", "1", "--tries", "1", "list")...).wantExit(refuse.code).wantStderr("of "+tt.refused+" ", "expired")
			}
			s.wantFiles()
			s.wantNoSecrets("s3cret", "dTpzM2NyZXQ=")
		})
	}
}

// TestUpdateThroughProxy checks that a proxy that wants a login is not taken for the server.
func TestUpdateThroughProxy(t *testing.T) {
	s := newSite(t)
	s.add("f", 10)
	s.writeListOfAll("list")
	s.srv.Set(faultserver.Status(http.StatusProxyAuthRequired, -1))
	s.runMirror("--rounds", "1", "--proxy", s.srv.URL, "list").wantExit(6).wantStderr("the user and the password of the proxy")
}

// TestGetWithoutLogin checks the same hint for a finished file that is asked for again.
func TestGetWithoutLogin(t *testing.T) {
	s := newSite(t)
	s.add("f", 10)
	for _, args := range [][]string{{s.srv.URL + "/f"}, {"-o", "g", s.srv.URL + "/f"}} {
		s.srv.Set()
		s.runPawl(append(args, "-u", "u:s3cret")...).wantExit(0)
		s.srv.Set(faultserver.Status(http.StatusUnauthorized, -1))
		s.runPawl(args...).wantExit(6).wantStderr("downloaded with -u USER: run the same command again")
		s.runPawl(append(args, "-u", "u:other")...).wantExit(6).wantStderr("those of -u USER are not accepted")
	}
}
