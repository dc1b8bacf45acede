package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pawl/downloader/faultserver"
)

// TestFixedAddress checks the forms of --resolve.
func TestFixedAddress(t *testing.T) {
	for text, want := range map[string]string{
		"a.test:80:192.0.2.1":                "a.test:80 [192.0.2.1] false",
		"A.Test.:80:192.0.2.1":               "a.test:80 [192.0.2.1] false",
		"a.test:443:192.0.2.1,[2001:db8::1]": "a.test:443 [192.0.2.1 2001:db8::1] false",
		"a.test:443:2001:db8::1, 192.0.2.1":  "a.test:443 [2001:db8::1 192.0.2.1] false",
		"a.test:80:::1":                      "a.test:80 [::1] false",
		"a.test:80:::ffff:192.0.2.1":         "a.test:80 [192.0.2.1] false",
		"+a.test:80:192.0.2.1":               "a.test:80 [192.0.2.1] true",
		"-a.test:80":                         "a.test:80 [] false",
		"*:443:192.0.2.1":                    "*:443 [192.0.2.1] false",
		"+*:443:192.0.2.1":                   "*:443 [192.0.2.1] true",
		"[2001:DB8::9]:80:192.0.2.1":         "[2001:db8::9]:80 [192.0.2.1] false",
		"192.0.2.9:80:192.0.2.1":             "192.0.2.9:80 [192.0.2.1] false",
		"münchen.test:80:fe80::1%eth0":       "xn--mnchen-3ya.test:80 [fe80::1%eth0] false",
		" a.test:65535:192.0.2.1 ":           "a.test:65535 [192.0.2.1] false",
	} {
		var f fixedAddress
		err := f.UnmarshalText([]byte(text))
		if got := fmt.Sprint(f.hostPort, " ", f.addresses.Addrs, " ", f.addresses.Expires); err != nil || got != want {
			t.Errorf("%q: got %s, %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "a.test", "a.test:80", "a.test:80:", ":80:192.0.2.1", "a.test:0:192.0.2.1", "a.test:65536:192.0.2.1", "a.test:http:192.0.2.1", "a.test:80:b.test",
		"a.test:80:192.0.2.1,", "a.test:80:192.0.2.256", "a.test:192.0.2.1", "-a.test:80:192.0.2.1", "+-a.test:80", "-", "*:80", "[::1:80:192.0.2.1", "::1:80:192.0.2.1",
	} {
		if err := new(fixedAddress).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "HOST:PORT:ADDRESS") {
			t.Errorf("%q: got %v, want an error", text, err)
		}
	}
}

// TestExemptions checks which URLs are requested without a proxy.
func TestExemptions(t *testing.T) {
	for _, tt := range []struct{ entries, exempt, proxied string }{
		{"*", "http://a.test http://192.0.2.1 http://[::1]", ""},
		{"a.test", "http://a.test https://A.TEST. http://x.a.test http://a.test:8080", "http://ba.test http://a.test.x http://192.0.2.1"},
		{".a.test", "http://x.a.test", "http://a.test http://xa.test"},
		{"*.a.test", "http://x.a.test http://y.x.a.test", "http://a.test"},
		{"a.test:8080", "http://a.test:8080", "http://a.test http://a.test:80"},
		{"a.test:80,b.test:443", "http://a.test https://b.test", "https://a.test http://b.test"},
		{"192.0.2.1 2001:db8::1", "http://192.0.2.1:1 http://[2001:db8::1] http://[::ffff:192.0.2.1]", "http://192.0.2.10 http://a.test"},
		{"192.0.2.0/24,2001:db8::/32", "http://192.0.2.77 http://[2001:db8:1::1]", "http://192.0.3.1 http://[2001:db9::1]"},
		{"192.0.2.1:8080,[::1]:8080,[::2]", "http://192.0.2.1:8080 http://[::1]:8080 http://[::2]", "http://192.0.2.1 http://[::1]"},
		{"münchen.test", "http://xn--mnchen-3ya.test http://m%C3%BCnchen.test http://MÜNCHEN.test", "http://munchen.test"},
		{"", "", "http://a.test http://127.0.0.1"},
	} {
		text, err := checkNoProxy(tt.entries)
		if err != nil {
			t.Errorf("%q: %v", tt.entries, err)
		}
		all := parseExemptions(text)
		for want, urls := range map[bool]string{true: tt.exempt, false: tt.proxied} {
			for text := range strings.FieldsSeq(urls) {
				u, err := url.Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				if got := all.match(u); got != want {
					t.Errorf("%q, %s: got exempt %v", tt.entries, text, got)
				}
			}
		}
	}
}

// TestProxyOption checks that --proxy is used by all commands, for this machine, too, and in place of
// the environment, that --no-proxy exempts hosts from it, and that nothing shows the user and the
// password.
func TestProxyOption(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	srv := faultserver.New()
	defer srv.Close()
	f := faultserver.NewFile(300<<10, 1)
	srv.Put("f.bin", f)
	to := srv.Listener.Addr().String()
	wrong := newTestProxy(t, "http", to)
	env := []string{"all_proxy=" + wrong.url, "http_proxy=" + wrong.url, "no_proxy=nothing.test"}
	for _, scheme := range []string{"http", "https", "socks5", "socks5h"} {
		t.Run(scheme, func(t *testing.T) {
			p := newTestProxy(t, scheme, to)
			u, _ := url.Parse(p.url)
			u.User = url.UserPassword("alice", "open%sesame")
			dir := t.TempDir()
			run := func(uses bool, code int, args ...string) string {
				t.Helper()
				before := p.requests.Load()
				out, err := proxyCommand(t, dir, env, args...).CombinedOutput()
				if got := p.requests.Load() > before; exitCodeOf(err) != code || got != uses {
					t.Errorf("%q: exit %d, want %d; the proxy was used: %v\n%s", args, exitCodeOf(err), code, got, out)
				}
				if strings.Contains(string(out), "sesame") || strings.Contains(string(out), "alice") {
					t.Errorf("%q shows the user or the password: %s", args, out)
				}
				return string(out)
			}
			must := func(err error) {
				if t.Helper(); err != nil {
					t.Fatal(err)
				}
			}
			must(os.WriteFile(filepath.Join(dir, "list"), []byte(srv.URL+"/f.bin\n"), 0o666))
			run(true, 0, "get", "-v", "--json", "--report", "r.json", "--proxy", u.String(), srv.URL+"/f.bin")
			checkFile(t, filepath.Join(dir, "f.bin"), f)
			run(true, 0, "mirror", "-d", "m", "--proxy="+u.String(), "list")
			run(true, 0, "info", "--proxy", u.String(), srv.URL+"/f.bin")
			run(false, 0, "info", "--proxy", u.String(), "--no-proxy", "other.test, 127.0.0.0/8", srv.URL+"/f.bin")
			run(true, 0, "info", "--proxy", u.String(), "--no-proxy", "", srv.URL+"/f.bin")
			srv.Set(faultserver.First(1, faultserver.Cut(f.Size/2)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(503, -1)))
			run(true, 75, "get", "-o", "g.bin", "--proxy", u.String(), srv.URL+"/f.bin")
			srv.Set()
			run(true, 0, "resume", "--proxy", u.String())
			u.Host = "127.0.0.1:1"
			run(false, 4, "get", "--restart", "-v", "-o", "h.bin", "--proxy", u.String(), srv.URL+"/f.bin")
			filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
				if err == nil && d.Type().IsRegular() && !strings.HasSuffix(path, ".bin") {
					if text, _ := os.ReadFile(path); strings.Contains(string(text), "open%sesame") || strings.Contains(string(text), "open%25sesame") || strings.Contains(string(text), "alice") {
						t.Errorf("%s contains the user or the password", path)
					}
				}
				return err
			})
		})
	}
	if n := wrong.requests.Load(); n > 0 {
		t.Errorf("the proxy of the environment got %d requests", n)
	}
	dir := t.TempDir()
	for _, args := range [][]string{{"--proxy", "ftp://alice:open-sesame@proxy.test"}, {"--proxy", ""}, {"--proxy=http://alice:open-sesame"}, {"--no-proxy", "http://a.test"}, {"--interface", ""}} {
		out, err := proxyCommand(t, dir, nil, slices.Concat([]string{"get"}, args, []string{srv.URL + "/f.bin"})...).CombinedOutput()
		if exitCodeOf(err) != 2 || !strings.Contains(string(out), "pawl: error: "+strings.Split(args[0], "=")[0]+" ") || strings.Contains(string(out), "open-sesame") {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// A spreadServer is an HTTP server at several addresses with the same port. It counts the
// connections to each, and closes each after one response.
type spreadServer struct {
	port string

	mu    sync.Mutex
	conns map[string]int // by the address of the server; guarded by mu
	from  map[string]int // by the address of the client; guarded by mu
}

// newSpreadServer starts a server of the files f0.bin, f1.bin … at the addresses. The test is
// skipped if the machine does not have one of them.
func newSpreadServer(t *testing.T, addrs ...string) *spreadServer {
	t.Helper()
	s := &spreadServer{port: "0", conns: make(map[string]int), from: make(map[string]int)}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("ETag", `"1"`)
		fmt.Fprintf(w, "the content of %s", r.URL.Path)
	})
	for _, a := range addrs {
		l, err := net.Listen("tcp", net.JoinHostPort(a, s.port))
		if err != nil {
			t.Skipf("this machine has no address %s: %v", a, err)
		}
		_, s.port, _ = net.SplitHostPort(l.Addr().String())
		srv := &httptest.Server{Listener: l, Config: &http.Server{Handler: h, ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			client, _, _ := net.SplitHostPort(c.RemoteAddr().String())
			s.mu.Lock()
			defer s.mu.Unlock()
			s.conns[a]++
			s.from[client]++
			return ctx
		}}}
		srv.Start()
		t.Cleanup(srv.Close)
	}
	return s
}

// connsTo and connsFrom return how many connections there were to an address of the server, and from
// one of a client.
func (s *spreadServer) connsTo(addr string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[addr]
}

func (s *spreadServer) connsFrom(addr string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.from[addr]
}

// reset forgets the connections to the server.
func (s *spreadServer) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.conns)
}

// String shows the connections, for messages.
func (s *spreadServer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("%v from %v", s.conns, s.from)
}

// fetch gets so many files of the host files.test, one after another, with a report. It returns
// their outcomes.
func (s *spreadServer) fetch(t *testing.T, files int, code int, args ...string) (outcomes map[string]int) {
	t.Helper()
	dir := t.TempDir()
	all := slices.Concat([]string{"get", "-j", "1", "--report", "report"}, args, []string{fmt.Sprintf("http://files.test:%s/f[1-%d].bin", s.port, files)})
	out, err := proxyCommand(t, dir, nil, all...).CombinedOutput()
	if exitCodeOf(err) != code {
		t.Fatalf("%q: exit %d, want %d\n%s", args, exitCodeOf(err), code, out)
	}
	var r struct{ Files []reportFile }
	text, err := os.ReadFile(filepath.Join(dir, "report"))
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	outcomes = make(map[string]int)
	for _, f := range r.Files {
		outcomes[string(f.Outcome)]++
	}
	return outcomes
}

// TestResolve checks that the connections to a host are spread over all addresses of --resolve, that
// a dead one costs nothing but a try, and that hosts are looked up if --resolve says so.
func TestResolve(t *testing.T) {
	t.Parallel()
	addrs := []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}
	s := newSpreadServer(t, addrs...)
	s.fetch(t, 12, 0, "--resolve", "files.test:"+s.port+":127.0.0.1,127.0.0.2,127.0.0.3")
	if s.connsTo("127.0.0.1") != 4 || s.connsTo("127.0.0.2") != 4 || s.connsTo("127.0.0.3") != 4 {
		t.Errorf("got the connections %v, want 4 to each address", s)
	}
	s.reset()
	s.fetch(t, 12, 0, "--tries", "1", "--resolve", "*:"+s.port+":127.0.0.9,127.0.0.1,127.0.0.8,127.0.0.2")
	if s.connsTo("127.0.0.1") < 5 || s.connsTo("127.0.0.2") < 5 || s.connsTo("127.0.0.1")+s.connsTo("127.0.0.2") != 12 {
		t.Errorf("with dead addresses: got the connections %v, want about 6 to each that is not", s)
	}
	for _, args := range [][]string{
		{"--resolve", "*:" + s.port + ":127.0.0.1", "--resolve=-files.test:" + s.port},
		{"--resolve", "files.test:1:127.0.0.1"},
		{"--resolve", "files.test:" + s.port + ":127.0.0.1", "--resolve=-files.test:" + s.port},
	} {
		if got := s.fetch(t, 1, 4, append(args, "--tries", "1")...); got["failed"] != 1 {
			t.Errorf("%q: got %v", args, got)
		}
	}
	s.reset()
	s.fetch(t, 3, 0, "--resolve", "files.test:"+s.port+":127.0.0.2", "--resolve", "+files.test:"+s.port+":127.0.0.3")
	if s.connsTo("127.0.0.3") != 3 {
		t.Errorf("got the connections %v, want the address that was given last", s)
	}
}

// TestFamilies checks -4 and -6, and that a host with addresses of both families is reached although
// one of them does not work.
func TestFamilies(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	s := newSpreadServer(t, "127.0.0.1", "::1")
	both := []string{"--tries", "1", "--resolve", "files.test:" + s.port + ":127.0.0.1,[::1]"}
	s.fetch(t, 4, 0, both...)
	if s.connsTo("127.0.0.1") != 2 || s.connsTo("::1") != 2 {
		t.Errorf("got the connections %v, want 2 to each address", s)
	}
	for option, want := range map[string]string{"-4": "127.0.0.1", "--ipv4": "127.0.0.1", "-6": "::1", "--ipv6": "::1"} {
		s.reset()
		s.fetch(t, 4, 0, append(both, option)...)
		if s.connsTo(want) != 4 {
			t.Errorf("%s: got the connections %v", option, s)
		}
	}
	s.fetch(t, 1, 4, "-6", "--tries", "1", "--resolve", "files.test:"+s.port+":127.0.0.1")
	s.reset()
	s.fetch(t, 4, 0, "--tries", "1", "--resolve", "files.test:"+s.port+":2001:db8::1,127.0.0.1") // an address for documentation
	if s.connsTo("127.0.0.1") != 4 {
		t.Errorf("with IPv6 that does not work: got the connections %v", s)
	}
}

// TestInterface checks that --interface binds connections to an address or an interface, those to a
// proxy, too, and that an unusable one is an error.
func TestInterface(t *testing.T) {
	t.Parallel()
	s := newSpreadServer(t, "127.0.0.1")
	if _, err := net.ListenPacket("udp", "127.0.0.7:0"); err != nil {
		t.Skipf("this machine has no address 127.0.0.7: %v", err)
	}
	resolve := "files.test:" + s.port + ":127.0.0.1"
	s.fetch(t, 2, 0, "--interface", "127.0.0.7", "--resolve", resolve)
	if s.connsFrom("127.0.0.7") != 2 {
		t.Errorf("got connections from %v", s)
	}
	lo := ""
	all, _ := net.Interfaces()
	for _, i := range all {
		if i.Flags&net.FlagLoopback != 0 {
			lo = i.Name
		}
	}
	s.fetch(t, 2, 0, "--interface", lo, "--resolve", resolve)
	if s.connsFrom("127.0.0.1") != 2 {
		t.Errorf("%s: got connections from %v", lo, s)
	}
	s.fetch(t, 1, 4, "--interface", "127.0.0.7", "--tries", "1", "--resolve", "files.test:"+s.port+":::1")
	dir := t.TempDir()
	for _, name := range []string{"nosuch0", "203.0.113.9", "2001:db8::9", "files.test"} {
		out, err := proxyCommand(t, dir, nil, "get", "--interface", name, "http://127.0.0.1:"+s.port+"/f").CombinedOutput()
		if exitCodeOf(err) != 2 || !strings.Contains(string(out), "pawl: error: --interface: ") || !strings.Contains(string(out), name) || !strings.Contains(string(out), lo) {
			t.Errorf("%s: %v, want exit code 2, the name, and the interfaces as a hint\n%s", name, err, out)
		}
	}
}

// TestResolvePrivate checks that --resolve and proxies do not lead a public list or server to a
// private address, unless --allow-private is given.
func TestResolvePrivate(t *testing.T) {
	t.Parallel()
	inside := newSpreadServer(t, "127.0.0.1")
	public := faultserver.New() // reached through a proxy, so that its address is not known to be private
	defer public.Close()
	public.Set(serveTexts(map[string]string{"list": "http://files.test:" + inside.port + "/f1.bin\n"}))
	redirect := httptest.NewServer(http.RedirectHandler("http://files.test:"+inside.port+"/f1.bin", http.StatusFound))
	defer redirect.Close()
	for _, tt := range []struct {
		name, proxy, exempt, url string
		to                       string // of the proxy
		args                     []string
		reached                  bool
	}{
		{"a list", "http", "files.test", "http://public.test/list", public.Listener.Addr().String(), []string{"mirror"}, false},
		{"a list, allowed", "http", "files.test", "http://public.test/list", public.Listener.Addr().String(), []string{"mirror", "--allow-private"}, true},
		{"a redirect", "http", "files.test", "http://public.test/f", redirect.Listener.Addr().String(), []string{"get"}, false},
		{"a redirect behind socks5h", "socks5h", "files.test", "http://public.test/f", redirect.Listener.Addr().String(), []string{"get"}, false},
		{"a redirect behind socks5", "socks5", "", "http://public.test/f", redirect.Listener.Addr().String(), []string{"get", "--resolve", "public.test:80:203.0.113.1"}, false},
		{"the URL that was typed", "http", "files.test", "http://files.test:" + inside.port + "/f1.bin", "", []string{"get"}, true},
	} {
		inside.reset()
		p := newTestProxy(t, tt.proxy, tt.to)
		args := append(tt.args, "--proxy", p.url, "--no-proxy", tt.exempt, "--resolve", "files.test:"+inside.port+":127.0.0.1", tt.url)
		if tt.args[0] == "mirror" {
			args = append(args, "--rounds", "1")
		}
		out, err := proxyCommand(t, t.TempDir(), nil, args...).CombinedOutput()
		if (err == nil) != tt.reached || inside.connsTo("127.0.0.1") > 0 != tt.reached || !tt.reached && !strings.Contains(string(out), "is a private address") {
			t.Errorf("%s: %v, %d connections\n%s", tt.name, err, inside.connsTo("127.0.0.1"), out)
		}
		if _, ok := p.targets.Load("127.0.0.1:" + inside.port); ok {
			t.Errorf("%s: the proxy was asked for the private address", tt.name)
		}
	}
}
