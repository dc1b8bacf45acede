package dropin

import (
	"strings"
	"testing"
)

func TestImport(t *testing.T) {
	for _, tt := range []struct {
		name, text, tool string
		want, notes      string // settings, separated by "|", and the beginnings of comments
	}{
		{"/etc/aria2.conf", "# x\ndir=/d\nmax-connection-per-server=8\nsplit=4\ncontinue=true\nenable-rpc=true\nrpc-secret=secret\nmax-overall-download-limit=5M\nheader=X: y\nheader=Z: a, b\n" +
			"bt-max-peers=3\nnosuch=secret\nmax-tries=5\nout=x\nauto-file-renaming=true\nhttp-user=me\nhttp-passwd=pw\ndisable-ipv6=true\nenable-dht=false\n", "aria2c",
			"limit-rate = 5M|header = X: y|header = Z: a, b|tries = 5|ipv4 = true|connections = 4|continue = true|adopt = true|auto-rename = true|user = me:pw|dir = /d",
			"enable-rpc|rpc-secret|bt-max-peers|line 12|out"},
		{".curlrc", "-\n=\n-L\n--proxy \"http://p:1\"\nuser-agent = \"x y\"\nmax-time: 30\ndata = secret\nsilent\nH: x\nheader = \"A: b\"\n-k\nciphers = secret\n", "curl",
			"user-agent = x y|deadline = 30s|header = A: b|insecure = true|quiet = true|proxy = http://p:1", "line 1|line 2|data|line 9|ciphers"},
		{"wgetrc", "tries=20\ndir_prefix = /w\ntime-out = 1m\nhttp_proxy = http://p:2\nrobots = off\ncheck_certificate = off\nuseragent=x\nreclevel=3\ncontinue=on\nlogfile = x\n", "wget",
			"tries = 20|connect-timeout = 60s|stall-timeout = 60s|insecure = true|user-agent = x|proxy = http://p:2|continue = true|dir = /w", "reclevel|option"},
		{"mine", "max-connection-per-server=4\nsplit=4\n", "aria2c", "connections = 4", ""},
		{"mine", "dir_prefix = d\ntries = 2\n", "wget", "tries = 2|dir = d", ""},
		{"mine", "location\nlimit-rate = 5k\nmax-time = 3\n", "curl", "limit-rate = 5K|deadline = 3s", ""},
	} {
		config, tool, err := Import(tt.name, tt.text, testEnv(nil))
		var lines, notes []string
		for line := range strings.Lines(config) {
			if note, ok := strings.CutPrefix(strings.TrimSpace(line), "# "); ok {
				note, _, _ = strings.Cut(note, ":")
				notes = append(notes, strings.SplitN(note, ` "`, 2)[0])
			} else {
				lines = append(lines, strings.TrimSpace(line))
			}
		}
		if err != nil || tool != tt.tool || strings.Join(lines, "|") != tt.want || strings.Join(notes[1:], "|") != tt.notes || strings.Contains(config, "secret\n") {
			t.Errorf("%s: %v, %s\n%s\nwant %s\nand notes on %s", tt.name, err, tool, config, tt.want, tt.notes)
		}
	}
	if _, _, err := Import("x", "what is this\n", testEnv(nil)); err == nil {
		t.Error("a text without settings was imported")
	}
}

func TestReadCurl(t *testing.T) {
	const chrome = "curl 'https://h/f?sig=2' \\\n  -H 'accept: */*' \\\n  -H $'x: it\\'s \\u0021' \\\n  -b 'a=b; c=d' \\\n  -H 'range: bytes=5-' \\\n  -H 'user-agent: U' \\\n  --compressed --insecure"
	r, err := ReadCurl(chrome, testEnv(nil))
	if got := strings.Join(r.Header, "|"); err != nil || r.URL != "https://h/f?sig=2" || !r.Insecure || got != "accept: */*|x: it's !|user-agent: U|Cookie: a=b; c=d" {
		t.Errorf("%+v, %v", r, err)
	}
	cmd := "curl ^\"https://h/f?a=1^&b=2^\" ^\r\n  -H ^\"cookie: a=^\\^\"b^\\^\"^\" ^\r\n  -A ^\"U^\" -e ^\"http://r/^\" -u me:pw -o x"
	r, err = ReadCurl(cmd, testEnv(nil))
	if got := strings.Join(r.Header, "|"); err != nil || r.URL != "https://h/f?a=1&b=2" || r.UserAgent != "U" || r.Referer != "http://r/" || got != `cookie: a="b"|Authorization: Basic bWU6cHc=` {
		t.Errorf("%+v, %v", r, err)
	}
	for _, text := range []string{"", "wget http://h/", "curl", "curl 'http://h/", "curl http://h/ http://g/", "curl http://h/ --data-raw secret", "fetch(\"https://h/\", {})", "curl http://h/ | sh"} {
		if r, err := ReadCurl(text, testEnv(nil)); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("ReadCurl(%q) = %+v, %v, want an error without the secret", text, r, err)
		}
	}
}
