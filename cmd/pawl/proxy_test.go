package main

import (
	"bufio"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		} else if strings.Contains(err.Error(), "geheim") || strings.Contains(err.Error(), "konto") {
			t.Errorf("%q: the error contains the user or the password: %v", value, err)
		}
	}
}

// wrongProxies are unusable values, some with the user "konto" and the password "geheim",
// which no error may contain.
var wrongProxies = []string{
	"http://konto:ge%heim@proxy.test:3128", "konto:geheim%@proxy.test", "http://konto:100%geheim@proxy.test", "http://pro%xy.test",
	"http://konto:geheim/x@proxy.test:3128", "http://konto:12#geheim@proxy.test:3128", "http://konto:1?geheim@proxy.test:3128",
	"http://konto:x@geheim/y@proxy.test", "konto:x://geheim@proxy.test", "http://konto geheim@proxy.test", "http://konto:geheim\x01@proxy.test",
	"konto:geheim", "http://konto:geheim", "http://konto:geheim%40proxy.test",
	"ftp://proxy.test:21", "socks4://konto:geheim@proxy.test", "socks://proxy.test", "://proxy.test", "htp:/proxy.test",
	"http://", "http:///", "http://konto:geheim@", "http://:3128", "socks5://konto:geheim@:1080",
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
	switch head := take(4); head[3] {
	case 1:
		take(net.IPv4len)
	case 3:
		take(int(take(1)[0]))
	}
	binary.BigEndian.Uint16(take(2)) // the port
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

// proxyCommand returns pawl with args and only the proxy variables in env. It trusts the
// certificates of httptest.
func proxyCommand(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	s := httptest.NewTLSServer(nil)
	defer s.Close()
	roots := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o666); err != nil {
		t.Fatal(err)
	}
	args = slices.Concat(args[:1], []string{"--tries", "2", "--retry-wait", "10ms", "--cacert", roots}, args[1:])
	cmd := pawlCommand(dir, args...)
	cmd.Env = append(withoutProxies(cmd.Env), env...)
	return cmd
}

// TestProxySchemes checks that get and mirror use a proxy of each scheme, named by each
// variable, and send it the user and the password. The hosts in the URLs have no address, so
// that no direct request can succeed.
func TestProxySchemes(t *testing.T) {
	srv, tls := faultserver.New(), faultserver.NewTLS()
	defer srv.Close()
	defer tls.Close()
	f := faultserver.NewFile(300<<10, 1)
	srv.Put("f.bin", f)
	tls.Put("f.bin", f)
	for _, tt := range []struct{ scheme, variables, target string }{
		{"http", "http_proxy HTTP_PROXY all_proxy ALL_PROXY", "http"},
		{"https", "http_proxy", "http"},
		{"socks5", "http_proxy all_proxy", "http"},
		{"socks5h", "http_proxy", "http"},
		{"http", "https_proxy HTTPS_PROXY all_proxy ALL_PROXY", "https"},
		{"https", "https_proxy all_proxy", "https"},
		{"socks5", "https_proxy", "https"},
		{"socks5h", "all_proxy", "https"},
	} {
		for variable := range strings.FieldsSeq(tt.variables) {
			t.Run(tt.scheme+" "+variable+" "+tt.target, func(t *testing.T) {
				to, asked := srv.Listener.Addr().String(), "http://pawl.test/f.bin"
				if tt.target == "https" {
					to, asked = tls.Listener.Addr().String(), "https://example.com/f.bin"
				}
				p := newTestProxy(t, tt.scheme, to)
				u, err := url.Parse(p.url)
				if err != nil {
					t.Fatal(err)
				}
				u.User = url.UserPassword("konto", "ge%heim")
				for _, command := range []string{"get", "mirror"} {
					before, dir := p.requests.Load(), t.TempDir()
					if err := os.WriteFile(filepath.Join(dir, "list"), []byte(asked+"\n"), 0o666); err != nil {
						t.Fatal(err)
					}
					what := map[string]string{"get": asked, "mirror": "list"}[command]
					out, err := proxyCommand(t, dir, []string{variable + "= " + u.String() + " "}, command, what).CombinedOutput()
					if err != nil {
						t.Fatalf("%s: %v\n%s", command, err, out)
					}
					checkFile(t, filepath.Join(dir, "f.bin"), f)
					if p.requests.Load() == before {
						t.Errorf("%s: the proxy got no request", command)
					}
				}
				user := "konto"
				if !strings.HasPrefix(tt.scheme, "socks") {
					user = "Basic a29udG86Z2UlaGVpbQ=="
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
	srv := faultserver.New()
	defer srv.Close()
	srv.Put("f.bin", faultserver.NewFile(100<<10, 1))
	right := newTestProxy(t, "http", srv.Listener.Addr().String())
	wrong := newTestProxy(t, "http", srv.Listener.Addr().String())
	for _, env := range []string{
		"http_proxy=RIGHT HTTP_PROXY=WRONG", "all_proxy=RIGHT ALL_PROXY=WRONG", "http_proxy=RIGHT all_proxy=WRONG", "HTTP_PROXY=RIGHT all_proxy=WRONG",
		"http_proxy= all_proxy=RIGHT", "https_proxy=WRONG all_proxy=RIGHT", "all_proxy=RIGHT no_proxy=other.test", "all_proxy=RIGHT REQUEST_METHOD=GET",
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
// contain the password.
func TestUnusableProxyIsError(t *testing.T) {
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
		if text := string(out); strings.Contains(text, "geheim") || strings.Contains(text, "konto") {
			t.Errorf("%q: the output contains the user or the password: %s", env, out)
		}
	}
	for _, name := range []string{"http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"} {
		refused([]string{name + "=http://konto:ge%heim@proxy.test:3128"}, "get", srv.URL+"/f.bin")
	}
	for _, value := range wrongProxies {
		if !strings.Contains(value, "\x01") {
			refused([]string{"https_proxy=" + value}, "get", srv.URL+"/f.bin")
		}
	}
	refused([]string{"http_proxy=http://proxy.test", "HTTP_PROXY=geheim:x"}, "get", srv.URL+"/f.bin")
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
	resume := pawlCommand(dir, "--limit-rate", "10K", "--deadline", "1s", "-o", "g.bin", srv.URL+"/f.bin")
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
