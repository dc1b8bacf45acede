package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pawl/downloader/faultserver"
)

// A realProxy is a widely used proxy. All of them but dante want the user "alice" with the password
// "open-sesame"; dante refuses to connect to port 9.
type realProxy struct {
	realServer
	schemes []string
}

var realProxies = []realProxy{
	{realServer{"squid", "squid", `
http_port ADDR
auth_param basic program /usr/lib/squid/basic_ncsa_auth DIR/users
auth_param basic children 1
acl known proxy_auth REQUIRED
http_access allow known
http_access deny all
cache deny all
access_log none
cache_log /dev/null
pinger_enable off
pid_filename DIR/pid
coredump_dir DIR
visible_hostname localhost
shutdown_lifetime 0 seconds
max_filedescriptors 1024
workers 1`,
		[]string{"-N", "-f", "DIR/conf"}}, []string{"http"}},
	{realServer{"tinyproxy", "tinyproxy", `
Listen 127.0.0.1
Port PORT
Timeout 60
MaxClients 50
BasicAuth alice open-sesame`,
		[]string{"-d", "-c", "DIR/conf"}}, []string{"http"}},
	{realServer{"microsocks", "microsocks", "", []string{"-i", "127.0.0.1", "-p", "PORT", "-u", "alice", "-P", "open-sesame"}}, []string{"socks5", "socks5h"}},
	{realServer{"dante", "danted", `
logoutput: stderr
internal: 127.0.0.1 port = PORT
external: 127.0.0.1
clientmethod: none
socksmethod: none
client pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }
socks block { from: 0.0.0.0/0 to: 0.0.0.0/0 port = 9 }
socks pass { from: 0.0.0.0/0 to: 0.0.0.0/0 }`,
		[]string{"-f", "DIR/conf"}}, []string{"socks5", "socks5h"}},
}

// TestProxyServers downloads through each installed proxy, over http and https, with the right and a
// wrong password. With PAWL_TEST_SERVERS=required a missing proxy fails the test.
func TestProxyServers(t *testing.T) {
	skipUnderRace(t)
	t.Parallel()
	plain, secure := faultserver.New(), faultserver.NewTLS()
	defer plain.Close()
	defer secure.Close()
	f := faultserver.NewFile(3<<20+7, 1)
	plain.Put("f.bin", f)
	secure.Put("f.bin", f)
	for _, p := range sample(4, realProxies) {
		t.Run(p.name, func(t *testing.T) {
			dir := publicDir(t)
			// The password file is for squid; the hash is that of "open-sesame".
			if err := os.WriteFile(filepath.Join(dir, "users"), []byte("alice:$apr1$pawlpawl$eZTEkpmpmSupwGYtDdc911\n"), 0o644); err != nil {
				t.Fatal(err)
			}
			at, err := url.Parse(p.start(t, dir, dir))
			if err != nil {
				t.Fatal(err)
			}
			for _, scheme := range p.schemes {
				u := *at
				u.Scheme = scheme
				p.check(t, &u, f, plain.URL, secure.URL)
			}
		})
	}
}

// check downloads f from the URLs through the proxy at u.
func (p realProxy) check(t *testing.T, u *url.URL, f faultserver.File, origins ...string) {
	t.Helper()
	u.User = url.UserPassword("alice", "open-sesame")
	right := u.String()
	u.User = url.UserPassword("alice", "shut-sesame")
	wrong := u.String()
	run := func(code int, proxy string, args ...string) {
		t.Helper()
		dir := t.TempDir()
		out, err := proxyCommand(t, dir, nil, slices.Concat([]string{"get", "-o", "f.bin", "--proxy", proxy}, args)...).CombinedOutput()
		if exitCodeOf(err) != code || strings.Contains(string(out), "open-sesame") || strings.Contains(string(out), "shut-sesame") {
			t.Errorf("%s, %q: exit %d, want %d\n%s", u.Scheme, args, exitCodeOf(err), code, out)
		}
		if code == 0 {
			checkFile(t, filepath.Join(dir, "f.bin"), f)
		}
	}
	for _, origin := range origins {
		run(0, right, origin+"/f.bin")
	}
	if p.name == "dante" { // without a password
		run(8, right, "http://127.0.0.1:9/f.bin")
	} else {
		run(6, wrong, origins[0]+"/f.bin")
		run(6, wrong, origins[1]+"/f.bin")
		u.User = nil
		run(6, u.String(), origins[0]+"/f.bin")
	}
	// Only pawl knows the address of this host, so it can be reached only if pawl looks it up.
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(origins[0], "http://"))
	code := 0
	if u.Scheme == "socks5h" {
		code = 4
	}
	if u.Scheme != "http" {
		run(code, right, "--resolve", "nowhere.invalid:"+port+":127.0.0.1", "http://nowhere.invalid:"+port+"/f.bin")
	}
}
