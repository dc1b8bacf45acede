package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pawl/downloader/faultserver"
)

// publicAddress is a documentation address (RFC 5737), which pawl treats as public.
const publicAddress = "203.0.113.1"

// A publicSite is a testRun, whose server has a private address, and a second server at a
// public address.
type publicSite struct {
	*testRun
	public *faultserver.Server // reachable at publicAddress
	file   faultserver.File    // served as f.bin by both servers
}

// newPublicSite must be called within inOwnNetwork.
func newPublicSite(t *testing.T) *publicSite {
	t.Helper()
	tr := newSite(t).testRun
	s := &publicSite{testRun: tr, file: tr.serveFile(12 << 20)}
	s.public = newServerWith(tr, s.file)
	l, err := net.Listen("tcp", publicAddress+":0")
	must(tr, err)
	srv := &http.Server{Handler: s.public}
	done := make(chan struct{})
	go func() {
		defer close(done)
		srv.Serve(l)
	}()
	t.Cleanup(func() {
		srv.Close()
		<-done
	})
	s.public.URL = "http://" + l.Addr().String()
	return s
}

// wantPrivateRefused checks that pawl refused a private address, with a hint, and sent no
// request to it.
func (s *publicSite) wantPrivateRefused(o runResult) {
	s.Helper()
	if o.code != 7 || !strings.Contains(o.stderr, "private address") || !strings.Contains(o.stderr, "--allow-private") {
		s.Errorf("pawl %q: exit %d, want 7, and a hint", o.args, o.code)
	}
	if n := len(s.srv.Requests()); n > 0 {
		s.Errorf("pawl %q: %d requests to a private address", o.args, n)
	}
}

// TestPrivateAddresses checks that servers and lists at a public address cannot make pawl
// connect to a private address without --allow-private. URLs from the user, local lists and
// lists at private addresses can.
func TestPrivateAddresses(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	if !inOwnNetwork(t) {
		return
	}
	if out, err := exec.Command("sh", "-c", "ip link set lo up && ip addr add "+publicAddress+"/32 dev lo").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for name, try := range map[string]func(*publicSite){
		"a redirect": func(s *publicSite) {
			for _, to := range []string{s.fileURL(), strings.Replace(s.fileURL(), "127.0.0.1", "localhost", 1), "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/", "http://0.0.0.0/"} {
				s.public.Set(faultserver.Redirect("/f.bin", to))
				s.wantPrivateRefused(s.runPawl(s.public.URL + "/f.bin"))
			}
			s.public.Set(faultserver.Redirect("/f.bin", s.fileURL()))
			s.runPawl("--allow-private", s.public.URL+"/f.bin").wantDownloaded("f.bin", s.file)
		},
		"a redirect by way of another": func(s *publicSite) {
			s.public.Set(faultserver.Redirect("/a", "/b"), faultserver.Redirect("/b", s.fileURL()))
			s.wantPrivateRefused(s.runPawl(s.public.URL + "/a"))
		},
		"a redirect from a private address": func(s *publicSite) {
			s.srv.Set(faultserver.Redirect("/a", s.public.URL+"/b"), faultserver.Redirect("/c", s.fileURL()))
			s.runPawl("-o", "f.bin", s.srv.URL+"/c").wantDownloaded("f.bin", s.file)
			before := len(s.srv.Requests())
			s.public.Set(faultserver.Redirect("/b", s.fileURL()))
			if o := s.runPawl("-o", "g.bin", s.srv.URL+"/a"); o.code != 7 || len(s.srv.Requests()) != before+1 {
				s.Errorf("exit %d; private, public, private: %v", o.code, s.srv.Requests()[before:])
			}
		},
		"a redirect within": func(s *publicSite) {
			s.public.Set(faultserver.Redirect("/a", "/f.bin"))
			s.runPawl("-o", "f.bin", s.public.URL+"/a").wantDownloaded("f.bin", s.file)
		},
		"a list": func(s *publicSite) {
			list := s.fileURL() + "\n"
			s.public.Set(servePage("/list", newPage(list)))
			s.wantPrivateRefused(s.runPawl("mirror", s.public.URL+"/list"))
			s.runPawl("mirror", "--allow-private", s.public.URL+"/list").wantDownloaded("f.bin", s.file)
		},
		"a list with a public URL beside it": func(s *publicSite) {
			list := s.fileURL() + "\t" + s.public.URL + "/f.bin\n"
			s.public.Set(servePage("/list", newPage(list)))
			s.runPawl("mirror", s.public.URL+"/list").wantDownloaded("f.bin", s.file)
			if n := len(s.srv.Requests()); n > 0 {
				s.Errorf("%d requests to a private address, want none", n)
			}
		},
		"a local list": func(s *publicSite) {
			s.writeList("list", s.fileURL())
			s.runPawl("mirror", "list").wantDownloaded("f.bin", s.file)
		},
		"a list at a private address": func(s *publicSite) {
			list := s.fileURL() + "\n"
			s.srv.Set(servePage("/list", newPage(list)))
			s.runPawl("mirror", s.srv.URL+"/list").wantDownloaded("f.bin", s.file)
			s.runPawl("mirror", s.srv.URL+"/list").wantExit(0) // the list is unchanged
		},
		"a list, resumed": func(s *publicSite) {
			list := s.public.URL + "/f.bin\n"
			s.public.Set(servePage("/list", newPage(list)), faultserver.Rate(8<<20))
			r := s.startPawl("mirror", s.public.URL+"/list")
			go s.public.DoAt(3<<20, r.exited, func() { r.cmd.Process.Kill() })
			r.wait()
			s.public.Set(faultserver.Redirect("/f.bin", s.fileURL()))
			s.wantPrivateRefused(s.runPawl("resume"))
			s.runPawl("resume", "--url", s.fileURL(), "f.bin").wantDownloaded("f.bin", s.file)
		},
		"a list's --base": func(s *publicSite) {
			list := strings.TrimPrefix(checksumOf(s.testRun, s.file), "sha256:") + "  f.bin\n"
			s.public.Set(servePage("/SHA256SUMS", newPage(list)))
			s.runPawl("mirror", "--base", s.srv.URL+"/", s.public.URL+"/SHA256SUMS").wantDownloaded("f.bin", s.file)
		},
		"a mirror": func(s *publicSite) {
			s.public.Set(faultserver.SetHeader("Link", "<"+s.fileURL()+">; rel=duplicate"), faultserver.Rate(6<<20))
			o := s.runPawl("--checksum", checksumOf(s.testRun, s.file), s.public.URL+"/f.bin")
			o.wantDownloaded("f.bin", s.file)
			if n := len(s.srv.Requests()); n > 0 || !strings.Contains(o.stderr, "private address") {
				s.Errorf("got %d requests to a private address, want none and an error that names it", n)
			}
			os.Remove(filepath.Join(s.dir, "f.bin"))
			s.runPawl("--allow-private", "--checksum", checksumOf(s.testRun, s.file), s.public.URL+"/f.bin").wantDownloaded("f.bin", s.file)
			if len(s.srv.Requests()) == 0 {
				s.Errorf("the mirror got no request")
			}
		},
		"an open connection": func(s *publicSite) {
			s.public.Set(faultserver.Redirect("/g.bin", s.srv.URL+"/g.bin"))
			o := s.runPawl("-j", "1", s.fileURL(), s.public.URL+"/g.bin")
			if o.code != 7 {
				s.Errorf("exit %d, want 7", o.code)
			}
			for _, r := range s.srv.Requests() {
				if r.Path == "/g.bin" {
					s.Errorf("pawl followed the redirect over an open connection")
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) { try(newPublicSite(t)) })
	}
}
