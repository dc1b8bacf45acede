package main

import (
	"bufio"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pawl/downloader/faultserver"
)

// TestProxyURL checks that all forms that httpproxy accepts keep their meaning, and that
// values that httpproxy would ignore, and so connect directly, are errors.
func TestProxyURL(t *testing.T) {
	for value, want := range map[string]string{
		"proxy":                             "http://proxy",
		"proxy:3128":                        "http://proxy:3128",
		"10.1.2.3:3128":                     "http://10.1.2.3:3128",
		"[::1]:3128":                        "http://[::1]:3128",
		"http://proxy:3128/":                "http://proxy:3128/",
		"HTTPS://proxy":                     "HTTPS://proxy",
		"socks5://proxy:1080":               "socks5://proxy:1080",
		"socks5h://proxy":                   "socks5h://proxy",
		"socks://proxy:1080/":               "socks5h://proxy:1080/",
		"user:word@proxy:3128":              "http://user:word@proxy:3128",
		"http://user:p%25w%40rd@proxy:3128": "http://user:p%25w%40rd@proxy:3128",
		"http://user:p@word@proxy:3128":     "http://user:p@word@proxy:3128",
	} {
		if got, err := checkProxyURL(value); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range wrongProxies {
		got, err := checkProxyURL(value)
		if err == nil {
			t.Errorf("%q: got %q, want an error", value, got)
		} else if strings.Contains(err.Error(), "open-sesame") || strings.Contains(err.Error(), "alice") {
			t.Errorf("%q: the error contains the user or the password: %v", value, err)
		}
	}
}

// wrongProxies are unusable values, some with the user "alice" and the password "open-sesame",
// which no error may contain.
var wrongProxies = []string{
	"http://alice:open%sesame@proxy.test:3128", "alice:open-sesame%@proxy.test", "http://alice:100%open-sesame@proxy.test", "http://pro%xy.test",
	"http://alice:open-sesame/x@proxy.test:3128", "http://alice:12#open-sesame@proxy.test:3128", "http://alice:1?open-sesame@proxy.test:3128",
	"http://alice:x@open-sesame/y@proxy.test", "alice:x://open-sesame@proxy.test", "http://alice open-sesame@proxy.test", "http://alice:open-sesame\x01@proxy.test",
	"alice:open-sesame", "http://alice:open-sesame", "http://alice:open-sesame%40proxy.test",
	"ftp://proxy.test:21", "socks4://alice:open-sesame@proxy.test", "://proxy.test", "htp:/proxy.test",
	"http://", "http:///", "http://alice:open-sesame@", "http://:3128", "socks5://alice:open-sesame@:1080",
	"proxy.test:0", "proxy.test:65536", "proxy.test:http", "proxy.test:", "http://proxy.test:-1", "http://pro xy.test", "http://[::1",
}

// TestNoProxyEntries checks that an entry of no_proxy that can never match is an error.
func TestNoProxyEntries(t *testing.T) {
	for value, want := range map[string]string{
		"*": "*", "localhost,example.com": "localhost,example.com", " a.test , .b.test,*.c.test ": "a.test,.b.test,*.c.test",
		"10.0.0.0/8,fe80::/10": "10.0.0.0/8,fe80::/10", "1.2.3.4,::1,[::2],1.2.3.4:80,[::3]:80": "1.2.3.4,::1,::2,1.2.3.4:80,[::3]:80",
		"a.test b.test\tc.test:8080": "a.test,b.test,c.test:8080", ",,a.test,": "a.test", "münchen.test": "münchen.test",
	} {
		if got, err := checkNoProxy(value); err != nil || got != want {
			t.Errorf("%q: got %q, %v, want %q", value, got, err, want)
		}
	}
	for _, value := range []string{
		"10.0.0.0/33", "10.0.0/8", "a.test/", "http://a.test", "a.test,fe80::/200", "10.*", "192.168.*.*", "*a.test", "*.",
		".", "a.test:", "a.test:http", ":80", "a.test:70000", "[::1]:x",
	} {
		if got, err := checkNoProxy(value); err == nil {
			t.Errorf("%q: got %q, want an error", value, got)
		}
	}
}

// A testProxy is an HTTP or SOCKS5 proxy that connects to one server, whatever host a client
// requests.
type testProxy struct {
	to       string // host and port of the server
	url      string // URL of the proxy, without user and password
	requests atomic.Int64
	users    sync.Map // credentials of all requests, as keys
	targets  sync.Map // the hosts and ports that a SOCKS5 proxy was asked for, as keys
}

// newTestProxy starts a proxy with this scheme in front of the server at the address to.
func newTestProxy(t *testing.T, scheme, to string) *testProxy {
	t.Helper()
	p := &testProxy{to: to}
	switch scheme {
	case "http":
		s := httptest.NewServer(p)
		t.Cleanup(s.Close)
		p.url = s.URL
	case "https":
		s := httptest.NewUnstartedServer(p)
		s.EnableHTTP2 = true // pawl must use HTTP/1.1 with the proxy nevertheless
		s.StartTLS()
		t.Cleanup(s.Close)
		p.url = s.URL
	default:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		var conns sync.WaitGroup
		conns.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				conns.Go(func() { p.socks(c) })
			}
		})
		t.Cleanup(func() { l.Close(); conns.Wait() })
		p.url = scheme + "://" + l.Addr().String()
	}
	return p
}

// ServeHTTP is the HTTP proxy (RFC 9110, section 9.3.6, for CONNECT).
func (p *testProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.requests.Add(1)
	p.users.Store(r.Header.Get("Proxy-Authorization"), true)
	if r.Method != http.MethodConnect {
		out := r.Clone(r.Context())
		out.RequestURI, out.URL.Host = "", p.to
		resp, err := http.DefaultTransport.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		for name, values := range resp.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body)
		return
	}
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	if io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n"); p.pipe(c, c) != nil {
		return
	}
}

// socks serves one connection of the SOCKS5 proxy (RFC 1928, RFC 1929).
func (p *testProxy) socks(c net.Conn) {
	defer c.Close()
	p.requests.Add(1)
	in := bufio.NewReader(c)
	take := func(n int) []byte {
		b := make([]byte, n)
		io.ReadFull(in, b)
		return b
	}
	methods := take(int(take(2)[1]))
	if slices.Contains(methods, 2) { // user and password
		c.Write([]byte{5, 2})
		user := take(int(take(2)[1]))
		take(int(take(1)[0]))
		p.users.Store(string(user), true)
		c.Write([]byte{1, 0})
	} else {
		c.Write([]byte{5, 0})
	}
	host := ""
	switch head := take(4); head[3] {
	case 1:
		host = net.IP(take(net.IPv4len)).String()
	case 3:
		host = string(take(int(take(1)[0])))
	case 4:
		host = net.IP(take(net.IPv6len)).String()
	}
	p.targets.Store(net.JoinHostPort(host, strconv.Itoa(int(binary.BigEndian.Uint16(take(2))))), true)
	c.Write([]byte{5, 0, 0, 1, 0, 0, 0, 0, 0, 0})
	p.pipe(c, in)
}

// pipe copies between the client and the server until one of them closes. in reads from c,
// and may have buffered bytes.
func (p *testProxy) pipe(c net.Conn, in io.Reader) error {
	s, err := net.Dial("tcp", p.to)
	if err != nil {
		return err
	}
	var sending sync.WaitGroup
	sending.Go(func() {
		io.Copy(s, in)
		s.Close()
	})
	io.Copy(c, s)
	c.Close()
	sending.Wait()
	return nil
}

// withoutProxies removes the proxy variables from an environment.
func withoutProxies(environ []string) []string {
	return slices.DeleteFunc(environ, func(v string) bool {
		name, _, _ := strings.Cut(v, "=")
		return strings.HasSuffix(strings.ToLower(name), "_proxy")
	})
}

// testRoots returns the certificate of httptest in PEM.
var testRoots = sync.OnceValue(func() []byte {
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
})

// proxyCommand returns pawl with args and only the proxy variables in env. It trusts the
// certificates of httptest.
func proxyCommand(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, testRoots(), 0o666); err != nil {
		t.Fatal(err)
	}
	args = slices.Concat(args[:1], []string{"--tries", "2", "--retry-wait", "10ms", "--cacert", roots}, args[1:])
	cmd := pawlCommand(dir, args...)
	cmd.Env = append(withoutProxies(cmd.Env), env...)
	return cmd
}

// TestProxySchemes checks that get and mirror use a proxy of each scheme, named by each
// variable, and send it the user and the password. The hosts in the URLs have no address but that
// of --resolve, which leads nowhere, so that no direct request can succeed. socks5 gets that
// address, because pawl looks up the host, and socks5h gets the name.
func TestProxySchemes(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	srv, tls := faultserver.New(), faultserver.NewTLS()
	defer srv.Close()
	defer tls.Close()
	f := faultserver.NewFile(300<<10, 1)
	srv.Put("f.bin", f)
	tls.Put("f.bin", f)
	type row struct{ scheme, variables, target string }
	for _, tt := range sample(4, []row{
		{"http", "http_proxy HTTP_PROXY all_proxy ALL_PROXY", "http"},
		{"https", "http_proxy", "http"},
		{"socks5", "http_proxy all_proxy", "http"},
		{"socks5h", "http_proxy", "http"},
		{"http", "https_proxy HTTPS_PROXY all_proxy ALL_PROXY", "https"},
		{"https", "https_proxy all_proxy", "https"},
		{"socks5", "https_proxy", "https"},
		{"socks5h", "all_proxy", "https"},
	}) {
		for variable := range strings.FieldsSeq(tt.variables) {
			t.Run(tt.scheme+" "+variable+" "+tt.target, func(t *testing.T) {
				to, asked, host := srv.Listener.Addr().String(), "http://pawl.test/f.bin", "pawl.test:80"
				if tt.target == "https" {
					to, asked, host = tls.Listener.Addr().String(), "https://example.com/f.bin", "example.com:443"
				}
				resolve := "PAWL_RESOLVE=" + host + ":192.0.2.1"
				if tt.scheme == "socks5" {
					_, port, _ := net.SplitHostPort(host)
					host = "192.0.2.1:" + port
				}
				p := newTestProxy(t, tt.scheme, to)
				u, err := url.Parse(p.url)
				if err != nil {
					t.Fatal(err)
				}
				u.User = url.UserPassword("alice", "open%sesame")
				for _, command := range []string{"get", "mirror"} {
					before, dir := p.requests.Load(), t.TempDir()
					if err := os.WriteFile(filepath.Join(dir, "list"), []byte(asked+"\n"), 0o666); err != nil {
						t.Fatal(err)
					}
					what := map[string]string{"get": asked, "mirror": "list"}[command]
					out, err := proxyCommand(t, dir, []string{variable + "= " + u.String() + " ", resolve}, command, what).CombinedOutput()
					if err != nil {
						t.Fatalf("%s: %v\n%s", command, err, out)
					}
					checkFile(t, filepath.Join(dir, "f.bin"), f)
					if p.requests.Load() == before {
						t.Errorf("%s: the proxy got no request", command)
					}
				}
				user := "alice"
				if !strings.HasPrefix(tt.scheme, "socks") {
					user = "Basic YWxpY2U6b3BlbiVzZXNhbWU="
				} else if _, ok := p.targets.Load(host); !ok {
					t.Errorf("the proxy was not asked for %s", host)
				}
				if _, ok := p.users.Load(user); !ok {
					t.Error("the proxy did not get the user and the password")
				}
			})
		}
	}
}

// TestProxyPrecedence checks the order of the variables: lower case before upper case, the
// scheme's own variable before all_proxy, and no_proxy before all of them.
func TestProxyPrecedence(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("f.bin", faultserver.NewFile(100<<10, 1))
	right := newTestProxy(t, "http", srv.Listener.Addr().String())
	wrong := newTestProxy(t, "http", srv.Listener.Addr().String())
	for _, env := range []string{
		"http_proxy=RIGHT HTTP_PROXY=WRONG", "all_proxy=RIGHT ALL_PROXY=WRONG", "http_proxy=RIGHT all_proxy=WRONG", "HTTP_PROXY=RIGHT all_proxy=WRONG",
		"http_proxy= all_proxy=RIGHT", "https_proxy=WRONG all_proxy=RIGHT", "all_proxy=RIGHT no_proxy=other.test", "all_proxy=RIGHT REQUEST_METHOD=GET",
		"http_proxy=RIGHT REQUEST_METHOD=GET", "http_proxy=RIGHT HTTP_PROXY=WRONG REQUEST_METHOD=GET",
	} {
		before := right.requests.Load()
		env := strings.Fields(strings.NewReplacer("RIGHT", right.url, "WRONG", wrong.url).Replace(env))
		if out, err := proxyCommand(t, t.TempDir(), env, "get", "http://pawl.test/f.bin").CombinedOutput(); err != nil || right.requests.Load() == before {
			t.Errorf("%q: %v\n%s", env, err, out)
		}
	}
	if n := wrong.requests.Load(); n > 0 {
		t.Errorf("the wrong proxy got %d requests", n)
	}
	for _, exempt := range []string{"pawl.test", ".test", "*", "other.test pawl.test", "no_proxy=x,pawl.test:80"} {
		before := right.requests.Load()
		out, err := proxyCommand(t, t.TempDir(), []string{"all_proxy=" + right.url, "no_proxy=" + strings.TrimPrefix(exempt, "no_proxy=")}, "get", "http://pawl.test/f.bin").CombinedOutput()
		if code := exitCodeOf(err); code != 4 || right.requests.Load() > before {
			t.Errorf("no_proxy=%s: exit %d, want 4 without a proxy\n%s", exempt, code, out)
		}
	}
}

// exitCodeOf returns the exit code in an error of exec, 0 for other errors.
func exitCodeOf(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return 0
}

// TestUnusableProxyIsError checks that an unusable variable makes every command that
// downloads fail before any request, and no other command, and that the error does not
// contain the password. TestProxyURL has the unusable values.
func TestUnusableProxyIsError(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("f.bin", faultserver.NewFile(100<<10, 1))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "list"), []byte(srv.URL+"/f.bin\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	refused := func(env []string, args ...string) {
		t.Helper()
		out, err := proxyCommand(t, dir, env, args...).CombinedOutput()
		name, _, _ := strings.Cut(env[len(env)-1], "=")
		if exitCodeOf(err) != 2 || !strings.Contains(string(out), name+" ") || !strings.Contains(string(out), "pawl: hint: ") {
			t.Errorf("%q: %v, want exit code 2, the name of the variable and a hint\n%s", env, err, out)
		}
		if text := string(out); strings.Contains(text, "open-sesame") || strings.Contains(text, "alice") {
			t.Errorf("%q: the output contains the user or the password: %s", env, out)
		}
	}
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		refused([]string{name + "=http://alice:open%sesame@proxy.test:3128"}, "get", srv.URL+"/f.bin")
	}
	refused([]string{"http_proxy=http://proxy.test", "HTTP_PROXY=open-sesame:x"}, "get", srv.URL+"/f.bin")
	refused([]string{"no_proxy=localhost,10.0.0.0/33"}, "get", srv.URL+"/f.bin")
	refused([]string{"NO_PROXY=http://localhost"}, "mirror", "list")
	refused([]string{"all_proxy=ftp://proxy.test"}, "mirror", "list")
	refused([]string{"REQUEST_METHOD=GET", "HTTP_PROXY=http://proxy.test"}, "get", "http://pawl.test/f.bin")
	if n := len(srv.Requests()); n > 0 {
		t.Errorf("%d requests were sent", n)
	}
	for _, args := range [][]string{{"list"}, {"remove", "nothing"}, {"--help"}} {
		cmd := pawlCommand(dir, args...)
		cmd.Env = append(withoutProxies(cmd.Env), "http_proxy=ftp://proxy.test")
		if out, _ := cmd.CombinedOutput(); strings.Contains(string(out), "pawl: error: http_proxy") {
			t.Errorf("%q: %s", args, out)
		}
	}
	resume := pawlCommand(dir, "--limit-rate", "10K", "--deadline", "4s", "-o", "g.bin", srv.URL+"/f.bin")
	resume.Env = withoutProxies(resume.Env)
	if out, err := resume.CombinedOutput(); exitCodeOf(err) != 75 {
		t.Fatalf("%v\n%s", err, out)
	}
	asked := len(srv.Requests())
	refused([]string{"http_proxy=ftp://proxy.test"}, "resume")
	if n := len(srv.Requests()) - asked; n > 0 {
		t.Errorf("%d requests were sent", n)
	}
}

// refusingProxy returns the variable for a proxy that refuses each request, and the number of
// requests. An HTTP proxy answers with status and challenge. A SOCKS5 proxy sends the bytes of
// replies, one after each message of the client (RFC 1928, RFC 1929).
func refusingProxy(t *testing.T, scheme string, status int, challenge string, replies ...string) (u *url.URL, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	if scheme == "http" {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			requests.Add(1)
			if challenge != "" {
				w.Header().Set("Proxy-Authenticate", challenge)
			}
			w.WriteHeader(status)
		}))
		t.Cleanup(s.Close)
		u, _ = url.Parse(s.URL)
		return u, requests
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	serve := func(c net.Conn) {
		defer c.Close()
		requests.Add(1)
		for _, reply := range replies {
			c.Read(make([]byte, 512))
			io.WriteString(c, reply)
		}
		io.Copy(io.Discard, c)
	}
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return &url.URL{Scheme: scheme, Host: l.Addr().String()}, requests
}

// TestProxyRefuses checks that the refusal of a proxy is reported as the proxy's, and that a proxy
// which does not accept the user gets one request, however many files are wanted.
func TestProxyRefuses(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	const wantsUser, wrongUser, onlyNTLM = "wants a user and a password", "does not accept the user and the password", "accepts only NTLM authentication"
	type row struct {
		name      string
		scheme    string // of the proxy
		status    int
		challenge string
		replies   []string
		user      bool   // the variable has a user and a password
		target    string // scheme of the URLs
		code      int
		requests  int64 // that the proxy gets
		text      string
	}
	for _, tt := range sample(4, []row{
		{"407 to CONNECT", "http", 407, "Basic realm=x", nil, false, "https", 6, 1, wantsUser},
		{"407 to CONNECT with a user", "http", 407, "Basic realm=x", nil, true, "https", 6, 1, wrongUser},
		{"407 to GET", "http", 407, "Basic realm=x", nil, false, "http", 6, 1, wantsUser},
		{"407 to GET with a user", "http", 407, "Basic realm=x", nil, true, "http", 6, 1, wrongUser},
		{"407 and no challenge", "http", 407, "", nil, true, "https", 6, 1, wrongUser},
		{"407 and another scheme", "http", 407, "NTLM", nil, true, "https", 6, 1, onlyNTLM},
		{"401 to CONNECT with a user", "http", 401, "", nil, true, "https", 6, 1, wrongUser},
		{"403 to CONNECT", "http", 403, "", nil, false, "https", 8, 1, "refused: 403 Forbidden"},
		{"404 to CONNECT", "http", 404, "", nil, true, "https", 8, 1, "refused: 404 Not Found"},
		{"501 to CONNECT", "http", 501, "", nil, false, "https", 8, 1, "refused: 501 Not Implemented"},
		{"502 to CONNECT", "http", 502, "", nil, false, "https", 4, 2, "refused: 502 Bad Gateway"},
		{"504 to CONNECT", "http", 504, "", nil, true, "https", 4, 2, "refused: 504 Gateway Timeout"},
		{"SOCKS wants a user", "socks5", 0, "", []string{"\x05\xff"}, false, "https", 6, 1, wantsUser},
		{"SOCKS wants another method", "socks5", 0, "", []string{"\x05\xff"}, true, "http", 6, 1, wrongUser},
		{"SOCKS refuses the user", "socks5h", 0, "", []string{"\x05\x02", "\x01\x01"}, true, "http", 6, 1, wrongUser},
		{"SOCKS does not allow it", "socks5h", 0, "", []string{"\x05\x00", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00"}, false, "https", 8, 1, "refused: connection not allowed by ruleset"},
		{"SOCKS cannot connect", "socks5", 0, "", []string{"\x05\x00", "\x05\x04\x00\x01\x00\x00\x00\x00\x00\x00"}, false, "https", 4, 2, "refused: host unreachable"},
		{"not SOCKS", "socks5", 0, "", []string{"HTTP/1.1 400 Bad Request\r\n\r\n"}, false, "https", 7, 1, "does not speak SOCKS5"},
	}) {
		t.Run(tt.name, func(t *testing.T) {
			for _, command := range []string{"get", "mirror"} {
				if command == "mirror" && tt.code != 6 { // its files fail one by one
					continue
				}
				u, requests := refusingProxy(t, tt.scheme, tt.status, tt.challenge, tt.replies...)
				if tt.user {
					u.User = url.UserPassword("alice", "open-sesame")
				}
				dir, what := t.TempDir(), tt.target+"://example.com/f.bin"
				port := map[string]string{"http": "80", "https": "443"}[tt.target]
				if command == "mirror" {
					list := ""
					for i := range 20 {
						list += fmt.Sprintf("%s://h%d.example/f%d.bin\n", tt.target, i%2, i)
					}
					if what = "list"; os.WriteFile(filepath.Join(dir, what), []byte(list), 0o666) != nil {
						t.Fatal("cannot write the list")
					}
				}
				out, err := proxyCommand(t, dir, []string{"all_proxy=" + u.String(), "PAWL_RESOLVE=*:" + port + ":192.0.2.1"}, command, what).CombinedOutput()
				if code := exitCodeOf(err); code != tt.code || !strings.Contains(string(out), "the proxy "+u.Host+" "+tt.text) || !strings.Contains(string(out), "pawl: hint: ") {
					t.Errorf("%s: exit %d, want %d, %q and a hint\n%s", command, code, tt.code, tt.text, out)
				}
				if strings.Contains(string(out), "open-sesame") || strings.Contains(string(out), "alice") {
					t.Errorf("%s: the output has the user or the password\n%s", command, out)
				}
				if n := requests.Load(); n != tt.requests {
					t.Errorf("%s: the proxy got %d requests, want %d", command, n, tt.requests)
				}
			}
		})
	}
}

// TestProxyUnusable checks that a proxy which cannot be reached, or speaks another protocol, is
// named as the reason.
func TestProxyUnusable(t *testing.T) {
	t.Parallel()
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	for _, tt := range []struct {
		proxy string
		code  int
	}{{refusing(t), 4}, {strings.Replace(plain.URL, "http:", "https:", 1), 5}, {"http://nowhere.invalid:3128", 4}} {
		for _, target := range []string{"http", "https"} {
			out, err := proxyCommand(t, t.TempDir(), []string{"all_proxy=" + tt.proxy}, "get", target+"://example.com/f.bin").CombinedOutput()
			if code := exitCodeOf(err); code != tt.code || !strings.Contains(string(out), "the proxy "+strings.SplitN(tt.proxy, "/", 3)[2]+" cannot be used: ") {
				t.Errorf("%s, %s: exit %d, want %d and the proxy\n%s", tt.proxy, target, code, tt.code, out)
			}
		}
	}
}
