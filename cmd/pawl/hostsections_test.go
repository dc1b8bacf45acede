package main

import (
	"cmp"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/downloader/faultserver"
	"pawl/downloader/mirror"
)

// TestHostPattern checks which hosts a name of a section is for.
func TestHostPattern(t *testing.T) {
	for _, tt := range []struct{ name, matches, others string }{
		{"example.org", "example.org:443 example.org:8080", "a.example.org:443 xexample.org:80 example.or:80"},
		{"EXAMPLE.org.", "example.org:80", ""},
		{"example.org:8080", "example.org:8080", "example.org:80 example.org:80800"},
		{"*.example.org", "a.example.org:80 a.b.example.org:443", "example.org:80 aexample.org:80"},
		{"*.example.org:81", "a.example.org:81", "a.example.org:80"},
		{"192.0.2.1", "192.0.2.1:80", "192.0.2.10:80"},
		{"::1", "[::1]:80", "[::2]:80"},
		{"[::1]", "[::1]:80", "[::2]:80"},
		{"[::1]:81", "[::1]:81", "[::1]:80"},
		{"localhost", "localhost:80", "localhost.localdomain:80"},
	} {
		p, err := parseHostPattern(tt.name)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		for _, host := range strings.Fields(tt.matches) {
			if !p.matches(host) {
				t.Errorf("%s does not match %s", p, host)
			}
		}
		for _, host := range strings.Fields(tt.others) {
			if p.matches(host) {
				t.Errorf("%s matches %s", p, host)
			}
		}
	}
	for _, line := range []string{
		"[host]", "[hosts a]", "[host a", "[", "[]", "[example.org]", "[host *]", "[host a*]", "[host *a]", "[host .a]", "[host a.*.b]", "[host http://a/]", "[host a/b]",
		"[host u@a]", "[host a,b]", "[host a:0]", "[host a:b]", "[host *.]", "[host *.*.a]", "[host a%b]",
	} {
		if hosts, err := parseSection(line); err == nil {
			t.Errorf("%s: got %v, want an error", line, hosts)
		}
	}
}

// parseConfigs parses a command line after the system's and the user's config file.
func parseConfigs(t *testing.T, system, user string, args ...string) (*commandLine, error) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", dir)
	p := newCommandLine(&printer{stdout: new(strings.Builder), stderr: new(strings.Builder)}, "")
	p.config.system = filepath.Join(dir, "system")
	os.MkdirAll(filepath.Join(dir, "pawl"), 0o700)
	for path, text := range map[string]string{p.config.system: system, filepath.Join(dir, "pawl", "config"): user} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, err := p.Parse(args)
	return p, err
}

// TestHostOptions checks the settings of hosts after all places have had their say.
func TestHostOptions(t *testing.T) {
	const system = "user-agent = system/1\nconnections = 9\n[host a.example]\nconnections = 1\nuser-agent = system/2\n[host *.example]\nmax-request-rate = 30/m\n"
	const user = "[host a.example b.example:8080]\nconnections = 2\nlimit-rate = 1M\n[host *.example]\nlimit-rate = 2M\nconnections = 3\n[host c.example]\nlimit-rate = off\nmax-request-rate = off\n"
	check := func(p *commandLine, host string, connections int, requests float64, agent string, rate int64) {
		t.Helper()
		var all string
		if h := p.cli.Get.hosts.forHost(host); h.Connections != connections || h.RequestRate != requests || h.UserAgent != agent || h.ByteRate != rate {
			t.Errorf("%s%s: got %+v, want %d connections, %v requests, User-Agent %q, %d bytes per second", host, all, h, connections, requests, agent, rate)
		}
	}
	p, err := parseConfigs(t, system, user, "http://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	if p.cli.Get.Connections != 9 || p.cli.Get.UserAgent != "system/1" {
		t.Errorf("for all hosts: got %d connections, User-Agent %q", p.cli.Get.Connections, p.cli.Get.UserAgent)
	}
	check(p, "a.example:443", 2, 0.5, "system/2", 1<<20)
	check(p, "b.example:8080", 2, 0.5, "", 1<<20)
	check(p, "b.example:80", 3, 0.5, "", 2<<20)
	check(p, "c.example:80", 3, -1, "", 0)
	check(p, "other.org:80", 0, 0, "", 0)

	// What is typed for all hosts has priority, but a limit of all downloads together leaves that of a host.
	t.Setenv("PAWL_USER_AGENT", "env/1")
	if p, err = parseConfigs(t, system, user, "-x4", "--limit-rate", "10M", "http://a.example/"); err != nil {
		t.Fatal(err)
	}
	check(p, "a.example:443", 0, 0.5, "", 1<<20)
	if opts, err := p.cli.Get.downloaderOptions(); err != nil || opts.ForHost("a.example:443").ByteRates != "a.example" || opts.ForHost("b.example:80").ByteRates != "*.example" {
		t.Errorf("got %v, and the limits do not belong to the sections", err)
	}
	if p, err = parseConfigs(t, system, user, "--no-config", "http://a.example/"); err != nil || p.cli.Get.hosts.options() != nil {
		t.Errorf("--no-config: got %v, %v", p.cli.Get.hosts, err)
	}
}

// TestHostHeaders checks which header fields a host gets, and that no other host gets them.
func TestHostHeaders(t *testing.T) {
	sampled(t, 8)
	const user = "header = X-A: all\nheader = X-B: all\nreferer = http://all/\n" +
		"[host a.example]\nheader = X-A: own\nheader = X-A: own2\nreferer = http://own/\nheader = Authorization: own\n[host *.example]\nheader = Cookie: wide\nheader = X-A: wide\n"
	headers := func(typed string, args ...string) (get func(origin, name string) string) {
		p, err := parseConfigs(t, "", user, append(args, typed)...)
		if err != nil {
			t.Fatal(err)
		}
		o := p.cli.Get.originHeaders(typed)
		return func(origin, name string) string {
			c := o.forTyped(origin)
			if name == "user" {
				return cmp.Or(c.User, new(url.Userinfo)).String()
			}
			return strings.Join(c.Header.Values(name), ",")
		}
	}
	type field struct{ origin, name, want string }
	check := func(get func(origin, name string) string, fields []field) {
		t.Helper()
		for _, f := range fields {
			if got := get(f.origin, f.name); got != f.want {
				t.Errorf("%s gets %s %q, want %q", f.origin, f.name, got, f.want)
			}
		}
	}
	const a, b, other = "https://a.example:443", "http://b.example:80", "http://other.org:80"
	check(headers("https://a.example/x"), []field{
		{a, "X-A", "own,own2"}, {a, "X-B", "all"}, {a, "Referer", "http://own/"}, {a, "Authorization", "own"}, {a, "Cookie", "wide"},
		{b, "X-A", "wide"}, {b, "X-B", ""}, {b, "Cookie", "wide"}, {b, "Authorization", ""}, {other, "X-A", ""}, {other, "Cookie", ""},
	})
	token := filepath.Join(t.TempDir(), "token")
	os.WriteFile(token, []byte("tok3n\n"), 0o644)
	p, err := parseConfigs(t, "", "[host a.example]\nuser = u:p:q\n[host b.example]\nbearer-file = "+token+"\n", "http://a.example/")
	if err != nil {
		t.Fatal(err)
	}
	o := p.cli.Get.originHeaders("http://a.example/")
	for origin, want := range map[string]string{"http://a.example:80": "u:p%3Aq@ ", "http://b.example:80": "@ Bearer tok3n", "http://c.example:80": "@ "} {
		if got := loginText(o.forTyped(origin)); got != want {
			t.Errorf("%s gets %q, want %q", origin, got, want)
		}
	}
	if exposed := p.cli.Get.hosts.exposed(); !slices.Equal(exposed, []string{token}) && runtime.GOOS != "windows" {
		t.Errorf("got exposed files %q", exposed)
	}
	for _, text := range []string{"user = u", "user = :p", "user = ", "bearer-file = /none", "bearer-file = .", "proxy = ftp://p/", "proxy = http://u:s3cret/@p:1", "jobs = 3", "state = x"} {
		if _, err := parseConfigs(t, "", "[host h]\n"+text+"\n", "http://h/"); err == nil || !strings.Contains(err.Error(), "line 2: ") || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: got %v", text, err)
		}
	}
	check(headers("http://other.org/"), []field{{other, "X-A", "all"}, {other, "Authorization", ""}, {other, "Cookie", ""}, {a, "Authorization", "own"}})
	check(headers("https://u:p@a.example/x", "-H", "X-A: typed", "--referer", "http://typed/"), []field{
		{a, "X-A", "typed"}, {a, "Referer", "http://typed/"}, {a, "Cookie", "wide"}, {a, "Authorization", ""}, {a, "user", "u:p"},
	})
}

// loginText returns the user and the Authorization field of credentials.
func loginText(c downloader.Credentials) string {
	return cmp.Or(c.User, new(url.Userinfo)).String() + "@ " + c.Header.Get("Authorization")
}

// TestLoginPrecedence checks which login a host gets, if several are set for it: on the command line, in
// its section, and for all hosts in the config file.
func TestLoginPrecedence(t *testing.T) {
	sampled(t, 8)
	const section = "[host h]\nuser = section:1\n"
	token := filepath.Join(t.TempDir(), "token")
	os.WriteFile(token, []byte("t0ken"), 0o600)
	for _, tt := range []struct {
		config, url string
		args        []string
		want        string
	}{
		{section, "http://h/", nil, "section:1@ "},
		{"user = all:2\n" + section, "http://h/", nil, "section:1@ "},
		{"bearer-file = " + token + "\n" + section, "http://h/", nil, "section:1@ "},
		{"user = all:2\n" + section, "http://other/", nil, "all:2@ "},
		{section, "http://h/", []string{"-u", "typed:3"}, "typed:3@ "},
		{section + "[host *.h]\nbearer-file = " + token + "\n[host a.h]\nuser = narrow:5\n", "http://a.h/", nil, "narrow:5@ "},
		{"[host *.h]\nuser = wide:6\n[host a.h]\nbearer-file = " + token + "\n", "http://a.h/", nil, "@ Bearer t0ken"},
		{section, "http://h/", []string{"--bearer-file", token}, "@ Bearer t0ken"},
		{section, "http://url:4@h/", nil, "url:4@ "},
		{section, "http://section@h/", nil, "section:1@ "},
		{section, "http://stranger@h/", nil, "stranger@ "},
		{"header = Authorization: all\n", "http://h/", []string{"-u", "typed:3"}, "typed:3@ "},
		{"header = Authorization: all\n[host x]\nconnections = 1\n", "http://h/", []string{"-u", "typed:3"}, "typed:3@ "},
		{"[host h]\nheader = Authorization: own\n", "http://h/", []string{"-u", "typed:3"}, "typed:3@ "},
		{"user = all:2\n[host h]\nheader = Authorization: own\n", "http://h/", nil, "@ own"},
		{"[host h]\nheader = x=Authorization: of-x\n", "http://h/", nil, "@ "},
		{"user = all:2\n", "http://h/", []string{"--bearer-file", token}, "@ Bearer t0ken"},
		{"bearer-file = " + token + "\n", "http://h/", []string{"-u", "typed:3"}, "typed:3@ "},
	} {
		p, err := parseConfigs(t, "", tt.config, append(tt.args, "--no-netrc", tt.url)...)
		if err != nil {
			t.Fatal(err)
		}
		o, err := p.cli.Get.openHeaders(t.Context(), &printer{stderr: io.Discard}, tt.url)
		if err != nil {
			t.Errorf("%q %q: %v", tt.config, tt.args, err)
			continue
		}
		if got := loginText(o.forTyped(downloader.Origin(tt.url))); got != tt.want {
			t.Errorf("%q %q %s: got %q, want %q", tt.config, tt.args, tt.url, got, tt.want)
		}
	}
}

// TestWithheldIsSaid: a list of the user names another host, which does not get the credentials. That is
// said once, and only if there are any.
func TestWithheldIsSaid(t *testing.T) {
	for args, want := range map[string]int{"-u a:b": 1, "-H Cookie:x": 1, "-H X-A:x": 0, "-u a:b --headers-everywhere": 0, "--no-netrc": 0} {
		p, err := parseConfigs(t, "", "", append([]string{"mirror", "list.txt", "--no-netrc"}, strings.Fields(args)...)...)
		if err != nil {
			t.Fatal(err)
		}
		var stderr strings.Builder
		o, err := p.cli.Mirror.openHeaders(t.Context(), &printer{stderr: &stderr}, "http://typed/")
		if err != nil {
			t.Fatal(err)
		}
		o.everywhere = p.cli.Mirror.HeadersEverywhere
		for _, origin := range []string{"http://typed:80", "http://b:80", "http://c:80"} {
			o.forUserList(origin)
		}
		if got := strings.Count(stderr.String(), "credentials are not sent"); got != want {
			t.Errorf("%s: got %d warnings, want %d\n%s", args, got, want, &stderr)
		}
	}
}

// TestSectionsOfOtherCommands: a command without requests reads a config file with sections.
func TestSectionsOfOtherCommands(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "config", "pawl", "config")
	os.MkdirAll(filepath.Dir(config), 0o700)
	os.WriteFile(config, []byte("[host h]\nconnections = 1\nheader = A: b\nreferer = http://r/\nuser = a:b\nproxy = off\n"), 0o600)
	for _, args := range [][]string{{"list"}, {"completion", "bash"}, {"list", "--help"}} {
		if out, err := pawlCommand(dir, args...).CombinedOutput(); err != nil {
			t.Errorf("%q: %v\n%s", args, err, out)
		}
	}
}

// TestHostOptionsOfShards checks that the shards of a run share the limits of a host, as those of all hosts.
func TestHostOptionsOfShards(t *testing.T) {
	divided := func(user string, index int) (connections int, requests float64, err error) {
		p, err := parseConfigs(t, "", user, "mirror", "list.txt")
		if err != nil {
			t.Fatal(err)
		}
		c := &p.cli.Mirror
		c.Shard.Shard = mirror.Shard{Index: index, Count: 2}
		err = c.divide()
		h := c.hosts.forHost("a.example:443")
		return h.Connections, h.RequestRate, err
	}
	for index, wantRequests := range map[int]float64{1: 2, 2: 1} {
		if n, requests, err := divided("[host a.example]\nconnections = 4\nmax-request-rate = 3\n", index); n != 2 || requests != wantRequests || err != nil {
			t.Errorf("shard %d: got %d connections, %v requests, %v", index, n, requests, err)
		}
	}
	if _, _, err := divided("[host a.example]\nconnections = 1\n", 2); err == nil || !strings.HasPrefix(err.Error(), "[host a.example] connections 1 is for all 2 shards together") {
		t.Errorf("got %v", err)
	}
}

// TestHostLimitsOfMirror runs pawl on a list of two hosts, of which one has limits. The other one has more
// connections, and both need the time that the limit takes at least.
func TestHostLimitsOfMirror(t *testing.T) {
	dir := t.TempDir()
	limited, other := faultserver.New(), faultserver.New()
	list := ""
	for _, srv := range []*faultserver.Server{limited, other} {
		defer srv.Close()
		srv.Set(faultserver.Delay(20 * time.Millisecond)) // so that requests overlap
		for i := range 12 {
			name := srv.Listener.Addr().String()[len("127.0.0.1:"):] + "-" + string(rune('a'+i))
			srv.Put(name, faultserver.NewFile(50_000, 1))
			list += srv.URL + "/" + name + "\n"
		}
	}
	config := "[host " + strings.TrimPrefix(limited.URL, "http://") + "]\nconnections = 1\nlimit-rate = 1M\n"
	for name, text := range map[string]string{"list.txt": list, "config": config} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	pawlOK(t, dir, "mirror", "-q", "--config", "config", "-d", "got", "list.txt")
	if took := time.Since(began); took < 400*time.Millisecond {
		t.Errorf("600 kB at 1 MiB/s took %v", took)
	}
	if own, others := limited.Peak(), other.Peak(); own != 1 || others < 2 {
		t.Errorf("got %d connections to the limited host, and %d to the other, want 1 and more", own, others)
	}
}

// TestHostProxies checks which proxy a host has.
func TestHostProxies(t *testing.T) {
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "all_proxy"} {
		t.Setenv(strings.ToUpper(name), "")
		t.Setenv(name, "")
	}
	t.Setenv("all_proxy", "http://all:1")
	p, err := parseConfigs(t, "", "[host *.example]\nproxy = socks5h://wide:2\n[host a.example]\nproxy = own:3\n[host b.example:81]\nproxy = off\n", "http://h/")
	if err != nil {
		t.Fatal(err)
	}
	opts, err := p.cli.Get.downloaderOptions()
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"http://a.example/x": "http://own:3", "https://A.example/x": "http://own:3", "http://b.example/": "socks5h://wide:2", "http://b.example:81/": "", "http://other.org/": "http://all:1",
	} {
		r, _ := http.NewRequest(http.MethodGet, target, nil)
		got := ""
		if u, err := opts.Proxy(r); err != nil {
			t.Fatal(err)
		} else if u != nil {
			got = u.String()
		}
		if got != want {
			t.Errorf("%s: got proxy %q, want %q", target, got, want)
		}
	}
}

// TestHostProxyExemptions checks which exceptions from proxies are also exceptions from the proxy of a section.
func TestHostProxyExemptions(t *testing.T) {
	const sections = "[host *.example]\nproxy = wide:2\n[host a.example]\nproxy = own:3\n"
	for _, tt := range []struct {
		name, top string // settings above the sections
		args      []string
		env       map[string]string
		want      map[string]string // proxies by host
	}{
		{"none", "", nil, nil, map[string]string{"a.example": "own:3", "b.example": "wide:2", "c.org": ""}},
		{"command line", "", []string{"--no-proxy", "a.example"}, nil, map[string]string{"a.example": "", "b.example": "wide:2"}},
		{"command line, a domain", "", []string{"--no-proxy", ".example"}, nil, map[string]string{"a.example": "", "b.example": ""}},
		{"command line, all", "", []string{"--no-proxy=*"}, nil, map[string]string{"a.example": "", "b.example": ""}},
		{"command line, none", "", []string{"--no-proxy="}, map[string]string{"no_proxy": "*"}, map[string]string{"a.example": "own:3"}},
		{"a variable of pawl", "", nil, map[string]string{"PAWL_NO_PROXY": "a.example"}, map[string]string{"a.example": "", "b.example": "wide:2"}},
		{"no_proxy", "", nil, map[string]string{"no_proxy": "b.example"}, map[string]string{"a.example": "own:3", "b.example": ""}},
		{"NO_PROXY", "", nil, map[string]string{"NO_PROXY": "example"}, map[string]string{"a.example": "", "b.example": ""}},
		{"a config file", "no-proxy = *\n", nil, map[string]string{"all_proxy": "all:1"}, map[string]string{"a.example": "own:3", "b.example": "wide:2", "c.org": ""}},
		{"a config file and the command line", "no-proxy = c.org\n", []string{"--no-proxy", "a.example"}, map[string]string{"all_proxy": "all:1"}, map[string]string{"a.example": "", "b.example": "wide:2", "c.org": "all:1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "all_proxy"} {
				t.Setenv(strings.ToUpper(name), "")
				t.Setenv(name, "")
			}
			for name, value := range tt.env {
				t.Setenv(name, value)
			}
			p, err := parseConfigs(t, "", tt.top+sections, append(tt.args, "http://h/")...)
			if err != nil {
				t.Fatal(err)
			}
			opts, err := p.cli.Get.downloaderOptions()
			if err != nil {
				t.Fatal(err)
			}
			for host, want := range tt.want {
				r, _ := http.NewRequest(http.MethodGet, "http://"+host+"/x", nil)
				u, err := opts.Proxy(r)
				if u == nil {
					u = new(url.URL)
				}
				if err != nil || u.Host != want {
					t.Errorf("%s: got proxy %q, %v, want %q", host, u.Host, err, want)
				}
			}
		})
	}
}
