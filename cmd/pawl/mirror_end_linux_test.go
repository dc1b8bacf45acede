package main

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// newSiteOnDisk returns a site whose directory is a file system of its own.
func newSiteOnDisk(t *testing.T, options string) *site {
	s := newSite(t)
	s.useOwnDisk(options)
	return s
}

// wantEnded checks that a run has ended in order with this exit code: most of the files were not
// requested and are pending, and the report says so. The second run, for which the caller has
// removed the cause, must fetch the missing files only.
func (s *site) wantEnded(o runResult, code int, repair func(), args ...string) {
	s.Helper()
	o.wantExit(code).wantNoCrash()
	o.wantStderr("pawl: error: no further files are fetched: ", "are left for another run")
	r := s.report("state/report")
	n := r.outcomeCounts()
	if n[outcomePending] < len(s.files)/4 || n[outcomeFetched]+n[outcomeFailed]+n[outcomePending] != len(s.files) || r.Summary.Exit != code || r.Summary.Pending != n[outcomePending] {
		s.Errorf("got %v, %+v", n, r.Summary)
	}
	if asked := len(s.requestCounts()); asked > n[outcomeFetched]+n[outcomeFailed] {
		s.Errorf("%d files were requested, want at most the %d that have ended", asked, n[outcomeFetched]+n[outcomeFailed])
	}
	repair()
	s.srv.Reset()
	s.runMirror(args...).wantExit(0)
	s.wantFiles()
	if asked := len(s.requestCounts()); asked > len(s.files)-n[outcomeFetched] {
		s.Errorf("%d files were requested again, want at most %d", asked, len(s.files)-n[outcomeFetched])
	}
}

// TestMirrorDiskFull checks that a full disk ends a run in order, for small files, for files
// whose size is known before they are written, and for files of unknown size.
func TestMirrorDiskFull(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for name, tt := range map[string]struct {
		size   int64
		faults []faultserver.Fault
		args   []string
	}{
		"small files":    {200 << 10, nil, nil},
		"larger files":   {1 << 20, nil, nil},
		"unknown length": {1 << 20, []faultserver.Fault{faultserver.NoLength}, nil},
		"--min-free":     {200 << 10, nil, []string{"--min-free", "4M"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiteOnDisk(t, "size=6m")
			s.addMany(60, sameSize(tt.size))
			s.srv.Set(tt.faults...)
			s.writeListOfAll("list")
			args := append([]string{"-j", "2", "--round-wait", "10ms", "list"}, tt.args...)
			s.wantEnded(s.runMirror(append(args, "--report", "state/report")...), 9, func() { s.remount(s.dir, 0, "size=128m") }, args...)
		})
	}
}

// TestMirrorHugeFile checks that a file that is larger than the disk does not keep the other
// files from being fetched.
func TestMirrorHugeFile(t *testing.T) {
	t.Parallel()
	s := newSiteOnDisk(t, "size=32m")
	s.add("huge", 64<<20)
	names := s.addMany(20, sameSize(100<<10))
	s.writeList("list", s.urls(append([]string{"huge"}, names...)...)...)
	s.runMirror("-j", "1", "list").wantExit(9).wantStderr("20 of 21 files are here", "1 failed: disk full")
	s.wantFiles(names...)
}

// TestMirrorReadOnly checks that a run ends in order if the directory cannot be written any more.
func TestMirrorReadOnly(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for name, tt := range map[string]struct {
		spoil, repair func(s *site)
	}{
		"remounted": {
			func(s *site) { // as soon as no file is open for writing
				for syscall.Mount("pawl-test", s.dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") == syscall.EBUSY {
					time.Sleep(time.Millisecond)
				}
			},
			func(s *site) { s.remount(s.dir, 0, "") },
		},
		"replaced by a file": {
			func(s *site) {
				must(s.testRun, os.Rename(s.path(""), filepath.Join(s.dir, "moved")))
				s.writeFile(s.path(""), nil)
			},
			func(s *site) {
				must(s.testRun, os.Remove(s.path("")))
				must(s.testRun, os.Rename(filepath.Join(s.dir, "moved"), s.path("")))
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSiteOnDisk(t, "size=64m")
			s.addMany(60, sameSize(300<<10))
			s.writeListOfAll("list")
			s.srv.Set(faultserver.Only(func(n int) bool { return n == 10 }, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					tt.spoil(s)
					next.ServeHTTP(w, r)
				})
			}))
			s.wantEnded(s.runMirror("-j", "1", "--report", "state/report", "list"), 3, func() { s.srv.Set(); tt.repair(s) }, "list")
		})
	}
}

// TestGetDiskFull checks that a full disk also ends pawl get in order.
func TestGetDiskFull(t *testing.T) {
	t.Parallel()
	s := newSiteOnDisk(t, "size=6m")
	s.addMany(30, sameSize(1<<20))
	s.srv.Set(faultserver.NoLength)
	o := s.runPawl("-j", "2", "--report", "state/report", s.srv.URL+"/f00[00-29]").wantExit(9)
	o.wantStderr("pawl: hint: free some space", "no further files are fetched")
	r := s.report("state/report")
	n := r.outcomeCounts()
	if n[outcomePending] < 15 || n[outcomeFetched]+n[outcomeFailed]+n[outcomePending] != 30 {
		s.Errorf("got %v, %+v", n, r.Summary)
	}
	if asked := len(s.requestCounts()); asked > 30-n[outcomePending] {
		s.Errorf("%d files were requested, and %d are pending", asked, n[outcomePending])
	}
	s.srv.Set()
	s.remount(s.dir, 0, "size=64m")
	s.runPawl(s.srv.URL + "/f00[00-29]").wantExit(0)
	for i := range 30 {
		name := fmt.Sprintf("f%04d", i)
		if !hasContent(filepath.Join(s.dir, name), s.files[name]) {
			s.Errorf("%s does not have the served bytes", name)
		}
	}
}
