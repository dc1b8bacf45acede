package dropin

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// testEnv is an environment with these files. URLs have no patterns, except {a,b} at the end.
func testEnv(files map[string]string) Env {
	return Env{
		ReadFile: func(path string) ([]byte, error) {
			if text, ok := files[path]; ok {
				return []byte(text), nil
			}
			return nil, fs.ErrNotExist
		},
		Exists: func(path string) bool { _, ok := files[path]; return ok },
		Getenv: func(name string) string { return files["$"+name] },
		Expand: func(url string) ([]string, error) {
			if head, ok := strings.CutSuffix(url, "{a,b}"); ok {
				return []string{head + "a", head + "b"}, nil
			}
			return []string{url}, nil
		},
		Version: "pawl test",
	}
}

// A translation is a command line and the ones of pawl that it becomes, without options that all runs of
// the tool have.
type translation struct {
	line string
	want string // of several runs, each in a line
}

// usual are the options that most runs of a tool have.
var usual = map[string][]string{
	"curl":   {"--tries=3", "--no-remote-time", "--no-netrc", "--dir=.", "--no-glob", "--overwrite"},
	"wget":   {"--tries=5", "--dir=.", "--no-glob"},
	"axel":   {"--tries=3", "--no-remote-time", "--no-netrc", "--dir=.", "--no-glob"},
	"aria2c": {"--tries=5", "--no-remote-time", "--dir=.", "--no-glob", "--auto-rename", "--rounds=1", "--headers-everywhere"},
}

func checkTranslations(t *testing.T, files map[string]string, all []translation) {
	t.Helper()
	for _, tt := range all {
		words, err := Words(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := Translate(words[0], words[1:], testEnv(files))
		var got []string
		for _, run := range plan.Runs {
			args := slices.DeleteFunc(run.Args, func(a string) bool { return slices.Contains(usual[words[0]], a) })
			got = append(got, strings.Join(args, " "))
		}
		if text := strings.Join(got, "\n"); err != nil || text != tt.want {
			t.Errorf("%s\nbecomes %s\nwant    %s\n%v %q", tt.line, text, tt.want, err, plan.Warnings)
		}
	}
}

func TestCurlTranslation(t *testing.T) {
	files := map[string]string{"f": "", "jar": "", "conf": "-L\nurl = \"http://h/c\"\noutput=\"a b\"\n# x\nheader: \"X: \\\"y\\\"\"\nmax-time 5\n-s\n", "headers": "X: a\n\nY: b\n"}
	checkTranslations(t, files, []translation{
		{"curl h/f", "get --output=- -- http://h/f"},
		{"curl -fsSLo x http://h/f", "get --quiet --output=x -- http://h/f"},
		{"curl -fLC - -o x http://h/f", "get --adopt --continue --output=x -- http://h/f"},
		{"curl -qgb '' -fLC - --retry 3 --retry-delay 3 -o x http://h/f", "get --adopt --continue --tries=4 --retry-wait=3s --retry-max-wait=3s --output=x -- http://h/f"},
		{"curl http://h/f http://h/g -o x -O", "get --output=x -- http://h/f\nget --output=g -- http://h/g"},
		{"curl -o x http://h/f http://h/g", "get --output=x -- http://h/f\nget --output=- -- http://h/g"},
		{"curl --remote-name-all 'http://h/{a,b}'", "get --output=a -- http://h/a\nget --output=b -- http://h/b"},
		{"curl -g 'http://h/{a,b}'", "get --output=- -- http://h/{a,b}"},
		{"curl -O 'http://h/d/a%20b?x=1#y'", "get --output=a%20b -- http://h/d/a%20b?x=1#y"},
		{"curl -OJ http://h/f", "get -- http://h/f"},
		{"curl -O --output-dir d http://h/g", "get --dir=d --output=g -- http://h/g"},
		{"curl --no-clobber -O http://h/f", "get --auto-rename --output=f.1 -- http://h/f"},
		{"curl --skip-existing -O http://h/f", ""},
		{"curl -z f -o f http://h/f", "get --adopt --output=f -- http://h/f"},
		{"curl -u me:pw -A x -e http://r/ -H 'X: y' -b a=b -b c=d -o x http://h/f", "get --user-agent=x --referer=http://r/ --header=X: y --header=Cookie: a=b; c=d --user=me:pw --output=x -- http://h/f"},
		{"curl -H 'Accept-Encoding: gzip' -H 'Range: bytes=0-' -H 'X;' -H @headers -o x http://h/f", "get --header=X: a --header=Y: b --output=x -- http://h/f"},
		{"curl --oauth2-bearer t -b jar -n -o x http://h/f", "get --header=Authorization: Bearer t --load-cookies=jar --output=x -- http://h/f"},
		{"curl -b none -c none -o x http://h/f", "get --output=x -- http://h/f"},
		{"curl -x p:3128 -U u:p -o x http://h/f", "get --proxy=http://u:p@p:3128 --output=x -- http://h/f"},
		{"curl --socks5-hostname p:1080 --noproxy a,b -o x http://h/f", "get --no-proxy=a,b --proxy=socks5h://p:1080 --output=x -- http://h/f"},
		{"curl -x '' -o x http://h/f", "get --no-proxy=* --output=x -- http://h/f"},
		{"curl -m 5 --connect-timeout 2.5 -Y 100 -y 5 --limit-rate 10k --max-filesize 5M -o x http://h/f", "get --deadline=5s --connect-timeout=2.5s --limit-rate=10K --max-size=5M --min-rate=100:5s --output=x -- http://h/f"},
		{"curl -k --cacert c --cert e --key k -4 --interface if!eth0 --resolve +h:80:::1 -o x https://h/f", "get --insecure --cacert=c --cert=e --key=k -4 --interface=eth0 --resolve=+h:80:::1 --output=x -- https://h/f"},
		{"curl --proto =https --tlsv1.2 -sSf https://h/f", "get --proto=https --quiet --output=- -- https://h/f"},
		{"curl --rate 30/m -o x http://h/f", "get --max-request-rate=30/m --output=x -- http://h/f"},
		{"curl -G -d a=b --data-urlencode 'c=d e&' http://h/f?z", "get --output=- -- http://h/f?z&a=b&c=d%20e%26"},
		{"curl -K conf", "get --header=X: \"y\" --deadline=5s --quiet --output=a b -- http://h/c"},
		{"curl -o - http://h/f", "get --output=- -- http://h/f"},
		{"curl -o /dev/stdout http://h/f", "get --output=- -- http://h/f"},
		{"curl -Lo /dev/null http://h/f", "get --output=/dev/null -- http://h/f"},
		{"curl -X GET --compressed -o x -- http://h/f", "get --output=x -- http://h/f"},
		{"curl --max-t 5 -o x http://h/f", "get --deadline=5s --output=x -- http://h/f"},
		{"curl -ZO http://h/a -O http://h/b", "get --output=a -- http://h/a\nget --output=b -- http://h/b"},
		{"curl --proto-default https -O h/a", "get --output=a -- https://h/a"},
	})
	own := map[string]string{"$HOME": "/home/me", "/home/me/.curlrc": "max-time = 9\nuser = me:pw\ndata = x\n"}
	checkTranslations(t, own, []translation{
		{"curl -q -o x http://h/f", "get --output=x -- http://h/f"},
	})
}

func TestWgetTranslation(t *testing.T) {
	files := map[string]string{"f": "", "f.1": "", "list": "http://h/a\n# x\n\nhttp://h/b?q=1\n", "relative": "a\n", "rc": "tries = 7\nHTTP_Proxy = p:1\ndir-prefix=d\nuse_proxy=on\n"}
	checkTranslations(t, files, []translation{
		{"wget h/a", "get --output=a -- http://h/a"},
		{"wget -c http://h/f", "get --continue --adopt --output=f -- http://h/f"},
		{"wget http://h/f", "get --output=f.2 -- http://h/f"},
		{"wget http://h/a http://h/b/a", "get --output=a -- http://h/a\nget --output=a.1 -- http://h/b/a"},
		{"wget -nc http://h/f", ""},
		{"wget -N http://h/f", "get --adopt --overwrite --output=f -- http://h/f"},
		{"wget -qO- http://h/f", "get --no-progress --output=- -- http://h/f"},
		{"wget -P d -O x http://h/f", "get --overwrite --output=x -- http://h/f"},
		{"wget -nv -P d http://h/", "get --no-progress --dir=d --output=index.html -- http://h/"},
		{"wget 'http://h/a%20b?u=c/d&e=%41'", "get --output=a b?u=c%2Fd&e=A -- http://h/a%20b?u=c/d&e=%41"},
		{"wget -x http://h:8080/d/e/f", "get --overwrite --output=h:8080/d/e/f -- http://h:8080/d/e/f"},
		{"wget -xnH --cut-dirs=1 http://h/d/e/f", "get --overwrite --output=e/f -- http://h/d/e/f"},
		{"wget --content-disposition http://h/x", "get --auto-rename -- http://h/x"},
		{"wget -t 0 -T 5 --waitretry=3 --limit-rate=1.5m http://h/a", "get --tries=0 --connect-timeout=5s --stall-timeout=5s --retry-wait=1s --retry-max-wait=3s --limit-rate=1.5M --output=a -- http://h/a"},
		{"wget --tries=inf --read-time=1m http://h/a", "get --tries=0 --stall-timeout=60s --output=a -- http://h/a"},
		{"wget --user=me --password=pw --header='X: y' -U ua --referer=http://r http://h/a", "get --header=X: y --user-agent=ua --referer=http://r --user=me:pw --output=a -- http://h/a"},
		{"wget --user=me --ask-password http://h/a", "get --user=me --output=a -- http://h/a"},
		{"wget --no-check-certificate --no-proxy --no-cache -4 http://h/a", "get --insecure --no-proxy=* --header=Cache-Control: no-cache --header=Pragma: no-cache -4 --output=a -- http://h/a"},
		{"wget --no-use-server-timestamps --check-certificate=off http://h/a", "get --no-remote-time --insecure --output=a -- http://h/a"},
		{"wget -i list", "get --output=a -- http://h/a\nget --output=b?q=1 -- http://h/b?q=1"},
		{"wget -i relative -B http://h/d/", "get --output=a -- http://h/d/a"},
		{"wget --spider http://h/a", "info -- http://h/a"},
		{"wget -e robots=off -e https_proxy=p:2 https://h/a", "get --proxy=http://p:2 --output=a -- https://h/a"},
		{"wget --config rc http://h/a", "get --tries=7 --proxy=http://p:1 --dir=d --output=a -- http://h/a"},
		{"wget -nvc http://h/f", ""}, // both letters belong to the n
		{"wget --https-only https://h/a", "get --proto=https --output=a -- https://h/a"},
	})
}

func TestAxelTranslation(t *testing.T) {
	checkTranslations(t, map[string]string{"f": "", "f.0": ""}, []translation{
		{"axel -q -n 8 http://h/a", "get --quiet --connections=8 -- http://h/a"},
		{"axel -n8 -ao x http://h/a http://g/a", "get --connections=8 --mirror=http://g/a --output=x -- http://h/a"},
		{"axel http://h/f", "get --output=f.1 -- http://h/f"},
		{"axel http://h/", "get --output=default -- http://h/"},
		{"axel -c http://h/f", ""},
		{"axel --max-speed=1000 -H 'X: y' -U u -k -4 -N -T 5 h/a", "get --limit-rate=1000 --header=X: y --user-agent=u --insecure -4 --no-proxy=* --connect-timeout=5s --stall-timeout=5s -- http://h/a"},
	})
}

func TestAria2Translation(t *testing.T) {
	files := map[string]string{"conf": "# x\ndir=/d\nsplit=2\nmax-connection-per-server=4\nheader=X: a\nheader=Y: b\n"}
	checkTranslations(t, files, []translation{
		{"aria2c http://h/f", "get -- http://h/f"},
		{"aria2c -x16 -s16 -k1M -d d -o f -- http://h/f", "get --connections=16 --output=./d/f -- http://h/f"},
		{"aria2c -d /d -o /f http://h/f", "get --output=/d/f -- http://h/f"},
		{"aria2c -s5 http://h/f", "get -- http://h/f"},
		{"aria2c -s1 http://h/f", "get --connections=1 -- http://h/f"},
		{"aria2c http://a/f http://b/f", "get --mirror=http://b/f -- http://a/f"},
		{"aria2c -Z -j2 -o x http://a/f http://b/g", "get --jobs=2 -- http://a/f http://b/g"},
		{"aria2c -P 'http://h/{a,b}'", "get --mirror=http://h/b -- http://h/a"},
		{"aria2c -c http://h/f", "get --continue --adopt -- http://h/f"},
		{"aria2c --allow-overwrite --continue=true http://h/f", "get --overwrite --continue --adopt -- http://h/f"},
		{"aria2c --auto-file-renaming=false -cfalse http://h/f", "get -- http://h/f"},
		{"aria2c -V --checksum=sha-256=00 http://h/f", "get --checksum=sha-256=00 -- http://h/f"},
		{"aria2c -m0 -t 5 --connect-timeout=0 --retry-wait=2 --lowest-speed-limit=20K http://h/f", "get --tries=0 --stall-timeout=5s --connect-timeout=24h --retry-wait=2s --retry-max-wait=2s --min-rate=20K -- http://h/f"},
		{"aria2c --max-overall-download-limit=0 --max-download-limit=1M http://h/f", "get --limit-rate=1M -- http://h/f"},
		{"aria2c -i F -j5 -x5 --save-session=S --header 'X: y' -d d", "mirror --header=X: y --connections=5 --dir=d --format=aria2 --jobs=5 --failed=S -- F"},
		{"aria2c -i -", "mirror --format=aria2 -- -"},
		{"aria2c x.meta4", "mirror --format=metalink -- x.meta4"},
		{"aria2c --http-user=me --http-passwd=pw --load-cookies=c -U u --referer=r http://h/f", "get --load-cookies=c --user-agent=u --referer=r --user=me:pw -- http://h/f"},
		{"aria2c --all-proxy=p:1 --all-proxy-user=u --all-proxy-passwd=s http://h/f", "get --proxy=http://u:s@p:1 -- http://h/f"},
		{"aria2c --https-proxy=p:1 http://h/f", "get -- http://h/f"},
		{"aria2c --check-certificate=false --disable-ipv6 --interface=e --enable-rpc=false http://h/f", "get --insecure -4 --interface=e -- http://h/f"},
		{"aria2c --on-download-complete=/x/y http://h/f", `get --on-complete='/x/y' "$PAWL_FILE_ID" 1 "$1" -- http://h/f`},
		{"aria2c --max-conn=3 http://h/f", "get --connections=3 -- http://h/f"},
		{"aria2c --conf-path=conf http://h/f", "get --header=X: a --header=Y: b --connections=2 --dir=/d -- http://h/f"},
		{"aria2c --dry-run http://h/f", "info -- http://h/f"},
	})
}

// TestRefusals checks what is refused, and that no value appears in an error or a warning.
func TestRefusals(t *testing.T) {
	for line, want := range map[string]string{
		"curl -d secret http://h/f":                         `option "-d" is refused: pawl only downloads, and sends no data`,
		"curl --data-raw=secret http://h/f":                 `option "--data-raw" is refused`,
		"curl -X POST http://h/f":                           `option "-X" is refused: pawl sends GET requests only`,
		"curl -T x http://h/f":                              "sends no data",
		"curl http://h/f --next http://h/g":                 `option "--next" is refused: each part`,
		"curl -w '%{remote_ip}' http://h/f":                 "does not know one of its variables",
		"curl -D headers http://h/f":                        "nothing else",
		"curl -I http://h/f":                                "pawl info",
		"curl -r 0-5 http://h/f":                            "whole files",
		"curl -C 500 http://h/f":                            `option "-C" needs "-"`,
		"curl ftp://secret@h/f":                             `"ftp" is refused`,
		"curl --max-tme 5 http://h/f":                       `there is no option "--max-tme"; did you mean "--max-time"?`,
		"curl --m 5 http://h/f":                             "is ambiguous",
		"curl -o":                                           `option "-o" needs a value`,
		"curl":                                              "no URL is given",
		"curl --proto =https http://h/f":                    `a URL of "http" is refused by --proto`,
		"curl -o x 'http://h/{a,b}'":                        "one name for all files",
		"curl -H secret http://h/f":                         "needs a header field",
		"curl --limit-rate secret http://h/f":               "needs a number of bytes",
		"curl -E c:secret http://h/f":                       "cannot decrypt",
		"curl --tlsv1.3 https://h/f":                        "cannot restrict TLS",
		"curl --location-trusted -u me:secret http://h/f":   "sends credentials to no host",
		"curl -K self":                                      "names itself",
		"wget --config self http://h/f":                     "names itself",
		"curl -K none":                                      "cannot be read",
		"curl --socks4 p http://h/f":                        "proxies",
		"wget -r http://h/f":                                "follows no links",
		"wget -m http://h/f":                                "follows no links",
		"wget -b http://h/f":                                "foreground",
		"wget --post-data=secret http://h/f":                "sends no data",
		"wget --method=PUT http://h/f":                      "GET requests only",
		"wget -O x http://h/f http://h/g":                   "several URLs",
		"wget --nosuch http://h/f":                          `there is no option "--nosuch"`,
		"wget -nz http://h/f":                               `has no letter 'z'`,
		"wget --no-pasword http://h/f":                      "there is no option",
		"wget ftp://me:secret@h/f":                          `"ftp" is refused`,
		"wget -i http://h/list":                             "pawl mirror URL",
		"wget --secure-protocol=TLSv1_3 http://h/f":         "TLS 1.2",
		"wget -T secret http://h/f":                         "needs a number of seconds",
		"axel -S http://h/f":                                "searches for no mirrors",
		"axel -n 0 http://h/f":                              "at least 1",
		"axel --no-such http://h/f":                         "there is no option",
		"aria2c magnet:?xt=urn:btih:secret":                 "a magnet link is refused",
		"aria2c -D http://h/f":                              "foreground",
		"aria2c --enable-rpc http://h/f":                    "no server",
		"aria2c x.torrent":                                  "a torrent is refused",
		"aria2c -T x.torrent":                               "BitTorrent",
		"aria2c h/f":                                        "no URL of http or https",
		"aria2c --allow-overwrit=true http://h/f --split=x": "needs a number",
		"aria2c --max-tires=5 http://h/f":                   `did you mean "--max-tries"?`,
		"aria2c --continue=maybe http://h/f":                "true or false",
		"aria2c --http-passwd=secret --http-proxy=a --https-proxy=b http://h/f https://h/f": "different proxies",
	} {
		words, err := Words(line)
		if err != nil {
			t.Fatal(err)
		}
		plan, err := Translate(words[0], words[1:], testEnv(map[string]string{"self": "config = self\n"}))
		var refused *RefusedError
		if !errors.As(err, &refused) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, %v, want an error with %q and without the secret", line, plan.Runs, err, want)
		}
	}
}

// TestOwnConfig checks that the tools' own configuration files are read, and that what they ask for in
// vain is only a warning, without the value.
func TestOwnConfig(t *testing.T) {
	files := map[string]string{
		"$HOME": "/me", "$XDG_CONFIG_HOME": "/me/.config",
		"/me/.curlrc": "max-time = 9\nuser-agent \"x y\"\ndata = secret\n", "/me/.wgetrc": "dir_prefix = d\nrecursive = on\npost_data = secret\n", "/me/.aria2/aria2.conf": "dir=d\nenable-rpc=true\nrpc-secret=secret\nmax-tries=x\n",
	}
	for line, want := range map[string]string{
		"curl -o x http://h/f":       "--deadline=9s",
		"wget http://h/f":            "--dir=d",
		"aria2c http://h/f":          "--dir=d",
		"curl -q -o x http://h/f":    "",
		"wget --no-config h/f":       "",
		"aria2c --no-conf http://h/": "",
	} {
		words, _ := Words(line)
		plan, err := Translate(words[0], words[1:], testEnv(files))
		if want == "" {
			if err != nil || len(plan.Warnings) > 0 || slices.Contains(plan.Runs[0].Args, "--dir=d") {
				t.Errorf("%s: %v %v, want nothing of the configuration", line, plan, err)
			}
			continue
		}
		if err != nil || !slices.Contains(plan.Runs[0].Args, want) || len(plan.Warnings) == 0 || strings.Contains(strings.Join(plan.Warnings, " "), "secret") {
			t.Errorf("%s: %v %v, want %q and a warning without the secret", line, plan, err, want)
		}
	}
}

func TestWriteOut(t *testing.T) {
	plan, err := Translate("curl", []string{"-sw", `%{http_code} %{size_download} %{filename_effective} %{exitcode} %{url}%%\t%{time_total}\n`, "-D/dev/null", "-o", "x", "http://h/f"}, testEnv(nil))
	if err != nil {
		t.Fatal(err)
	}
	if got := plan.Runs[0].Report(Outcome{200, 0, 5, 1.5}); got != "200 5 x 0 http://h/f%\t1.500000\n" {
		t.Errorf("%q", got)
	}
	if got := plan.Runs[0].Report(Outcome{Code: 7}); got != "000 0 x 7 http://h/f%\t0.000000\n" {
		t.Errorf("%q", got)
	}
}

// FuzzTranslate checks that each command line of each tool becomes a plan or a *RefusedError, and that a run
// has one of pawl's commands.
func FuzzTranslate(f *testing.F) {
	for _, seed := range []string{"-o\nx\nhttp://h/f", "-K\nconf", "-e\ntries=1\nh/f", "-x16\n-s\n8\nhttp://h/f", "--max-t=5\n-C-\nh", "-i\nconf", "-nvc\nh/{a,b}", "-w\n%{url}%\nh", "-Gd\na\nh", "-AA 00", "-", "--conf-path=conf\nhttp://h/"} {
		f.Add(seed)
	}
	env := testEnv(map[string]string{"conf": "url = h/x\n-o a\ntries = 5\nhttp://h/a\n"})
	f.Fuzz(func(t *testing.T, text string) {
		for _, tool := range Names {
			plan, err := Translate(tool, strings.Split(text, "\n"), env)
			var refused *RefusedError
			if err != nil && !errors.As(err, &refused) {
				t.Errorf("%s %q: %v", tool, text, err)
			}
			for _, run := range plan.Runs {
				if !slices.Contains([]string{"get", "mirror", "info"}, run.Args[0]) || run.Stream != slices.Contains(run.Args, "--output=-") {
					t.Errorf("%s %q: %q", tool, text, run.Args)
				}
				run.Report(Outcome{})
			}
		}
		for _, name := range []string{"aria2.conf", ".curlrc", ".wgetrc", "x"} {
			Import(name, text, env)
		}
	})
}
