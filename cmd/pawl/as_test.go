package main

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pawl/cmd/pawl/dropin"
	"pawl/downloader/failure"
	"pawl/store"
)

// asBody is the content of every file of an asServer.
var asBody = bytes.Repeat([]byte("pawl\n"), 4000)

// newAsServer serves asBody at every path. /auth/ wants the user me and the password pw, /status/N/ has
// the status N, /loop redirects to itself, /cut/ ends early, /slow/ is silent, and /named/ has a name.
func newAsServer(t *testing.T) *httptest.Server {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/")
		switch parts[1] {
		case "auth":
			if user, password, _ := r.BasicAuth(); user != "me" || password != "pw" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				http.Error(w, "no", http.StatusUnauthorized)
				return
			}
		case "status":
			code, _ := strconv.Atoi(parts[2])
			http.Error(w, "no", code)
			return
		case "loop":
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return
		case "cut":
			w.Header().Set("Content-Length", strconv.Itoa(len(asBody)))
			w.Write(asBody[:100])
			return
		case "slow":
			select {
			case <-r.Context().Done():
			case <-time.After(hangLimit):
			}
			return
		case "named":
			w.Header().Set("Content-Disposition", `attachment; filename="served.bin"`)
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Date(2019, 1, 2, 3, 4, 5, 0, time.UTC), bytes.NewReader(asBody))
	}))
	t.Cleanup(srv.Close)
	return srv
}

// An asResult is what a tool, or pawl in its place, has done.
type asResult struct {
	code           int
	stdout, stderr string
	files          map[string]string // contents by path, without the state
}

// runAs runs a program in a directory of its own that has the files of before.
func runAs(t *testing.T, before map[string]string, stdin string, argv ...string) asResult {
	t.Helper()
	home := t.TempDir()
	dir := filepath.Join(home, "here")
	for name, text := range before {
		os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.MkdirAll(dir, 0o755)
	cmd := pawlCommand(dir, argv[1:]...)
	cmd.Env = append(cmd.Env, "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "WGETRC=", "CURL_HOME=", "PAWL_RETRY_WAIT=1ms", "PAWL_RETRY_MAX_WAIT=1ms")
	var err error
	if cmd.Path, err = exec.LookPath(argv[0]); err != nil {
		t.Fatal(err)
	}
	cmd.Args[0] = argv[0]
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	hung := time.AfterFunc(hangLimit, func() { cmd.Process.Kill() })
	cmd.Wait()
	hung.Stop()
	r := asResult{cmd.ProcessState.ExitCode(), out.String(), errs.String(), make(map[string]string)}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			text, _ := os.ReadFile(path)
			name, _ := filepath.Rel(dir, path)
			r.files[filepath.ToSlash(name)] = string(text)
		}
		return nil
	})
	return r
}

// names returns the paths of the files, for messages.
func (r asResult) names() (all []string) {
	for name, text := range r.files {
		all = append(all, fmt.Sprintf("%s (%d)", name, len(text)))
	}
	slices.Sort(all)
	return all
}

// asName matches the option for the name of the file.
var asName = regexp.MustCompile(`(?:^| )-\w*[oO] ?(\S+)|--out(?:put)?[ =](\S+)`)

// A caller is a command line of testdata/as/callers.txt.
type caller struct {
	line    int
	words   []string
	refused bool // pawl must refuse it
}

// TestCallers runs the command lines of testdata/as/callers.txt with pawl, and with the tools themselves.
func TestCallers(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	srv := newAsServer(t)
	refused := false
	var all []caller
	for line := range strings.Lines(readFile(t, "testdata/as/callers.txt")) {
		if refused = refused || strings.HasPrefix(line, "# refused"); strings.HasPrefix(line, "#") {
			continue
		}
		words, err := dropin.Words(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, caller{len(all) + 1, words, refused})
	}
	if len(all) < 29 {
		t.Errorf("only %d command lines", len(all))
	}
	for _, c := range sample(6, all) {
		t.Run(fmt.Sprintf("%d %s", c.line, c.words[0]), func(t *testing.T) {
			t.Parallel()
			runCaller(t, srv.URL, c.words, c.refused)
		})
	}
}

func runCaller(t *testing.T, url string, words []string, refused bool) {
	line := strings.Join(words, " ")
	u := url + "/x/f"
	if strings.Contains(line, "me:pw") || strings.Contains(line, "--user=me") {
		u = url + "/auth/f"
	}
	want := "f"
	if m := asName.FindStringSubmatch(line); m != nil && m[1] != "U" {
		want = filepath.Clean(m[1] + m[2])
	}
	wanted, before := []string{want}, map[string]string{}
	for i, w := range words {
		switch w {
		case "U":
			words[i] = u
		case "U1", "U2":
			words[i] = url + "/" + w + "/f"
		case "F":
			before["F"] = u + "\n" + url + "/x/g\n"
			wanted = []string{"F", "f", "g"}
		}
		words[i] = strings.Replace(words[i], "HEX", fmt.Sprintf("%x", sha256.Sum256(asBody)), 1)
	}
	got := runAs(t, before, "", append([]string{"pawl", "as"}, words...)...)
	if refused {
		if got.code != 2 || len(got.files) > 0 || !strings.Contains(got.stderr, "refused") {
			t.Errorf("%s: exit code %d, files %q, want 2, none and a reason\n%s", line, got.code, got.names(), got.stderr)
		}
		return
	}
	if got.code != 0 || got.stdout != "" || len(got.files) != len(wanted) {
		t.Errorf("%s: exit code %d, files %q, stdout %q, want 0 and %q\n%s", line, got.code, got.names(), got.stdout, wanted, got.stderr)
	}
	for _, name := range wanted {
		if name != "F" && got.files[name] != string(asBody) {
			t.Errorf("%s: file %q has %d bytes, want %d", line, name, len(got.files[name]), len(asBody))
		}
	}
	byName := runAs(t, before, "", append([]string{"pawl-" + words[0]}, words[1:]...)...)
	compareAs(t, line+" by the program's name", byName, got)
	if _, err := exec.LookPath(words[0]); err != nil {
		t.Logf("%s is not installed", words[0])
		return
	}
	compareAs(t, line, got, runAs(t, before, "", words...))
}

// runTool runs an installed tool without other files. If there is none, it runs pawl in its place.
func runTool(t *testing.T, words []string) asResult {
	t.Helper()
	if _, err := exec.LookPath(words[0]); err != nil {
		words = append([]string{"pawl", "as"}, words...)
	}
	return runAs(t, nil, "", words...)
}

// compareAs compares what pawl has done with what the tool has done.
func compareAs(t *testing.T, line string, got, want asResult) {
	t.Helper()
	if got.code != want.code {
		t.Errorf("%s: exit code %d, want %d as the tool\npawl: %s\ntool: %s", line, got.code, want.code, got.stderr, want.stderr)
	}
	if !slices.Equal(got.names(), want.names()) {
		t.Errorf("%s: files %q, want %q as the tool", line, got.names(), want.names())
	}
	for name, text := range want.files {
		if got.files[name] != text {
			t.Errorf("%s: file %q is not as the tool's", line, name)
		}
	}
}

// An asCase is a command line of a tool, and what comes of it.
type asCase struct {
	line   string // U is the URL of the server, T that of one with a certificate that nobody trusts
	code   int
	before map[string]string // files that are there before
	files  []string          // the files afterwards that have asBody; nil for none
	stdout bool              // asBody is on standard output
	stdin  string
	// differs says why the installed tool does something else. It is "" if it does the same.
	differs string
}

// TestToolExitCodes checks the exit codes that callers of each tool read.
func TestToolExitCodes(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	var all []asCase
	for tool, codes := range map[string]map[string]int{
		"aria2c -q -m2":  {"U/status/401/f": 24, "U/status/404/f": 3, "U/status/403/f": 22, "U/status/410/f": 22, "U/status/503/f": 29, "U/loop": 23, "http://127.0.0.1:1/f": 1},
		"wget -q -t1":    {"U/status/401/f": 6, "U/status/404/f": 8, "U/status/403/f": 8, "U/status/410/f": 8, "U/status/503/f": 8, "U/loop": 8, "http://127.0.0.1:1/f": 4, "U/cut/f": 4, "T/f": 5},
		"axel -q -T 5":   {"U/status/401/f": 1, "U/status/404/f": 1, "U/status/503/f": 1, "U/loop": 1},
		"curl -sSLfo f":  {"U/status/401/f": 22, "U/status/404/f": 22, "U/status/403/f": 22, "U/status/410/f": 22, "U/status/503/f": 22, "U/loop": 47, "http://127.0.0.1:1/f": 7, "U/cut/f": 18, "T/f": 60},
		"curl -sSLf":     {"U/status/404/f": 22, "http://127.0.0.1:1/f": 7, "U/loop": 47},
		"curl -sm 1 -of": {"U/slow/f": 28},
	} {
		for url, code := range codes {
			c := asCase{line: tool + " " + url, code: code}
			if strings.Contains(url, "/cut/") {
				c.differs = "it leaves the part under the final name"
			}
			all = append(all, c)
		}
	}
	all = append(all, asCase{line: "aria2c -q -m1 -t1 U/slow/f", code: 2}, asCase{line: "wget -q -t1 -T1 U/slow/f", code: 4})
	wrong := strings.Repeat("0", 40)
	all = append(all,
		asCase{line: "aria2c -q --checksum=sha-1=" + wrong + " U/f", code: 32, differs: "it leaves the file under the final name"},
		asCase{line: "aria2c -q --auto-file-renaming=false U/f", code: 13, before: map[string]string{"f": "other"}},
		asCase{line: "aria2c -q -Z U/status/404/f U/g", code: 3, files: []string{"g"}},
		asCase{line: "aria2c -q -i F", code: 3, before: map[string]string{"F": "U/f\nU/status/404/g\n"}, files: []string{"f"}},
		asCase{line: "curl -s --max-filesize 100 -o f U/f", code: 63},
		asCase{line: "curl -s -o x/f U/f", code: 23, before: map[string]string{"x": "a file"}},
		asCase{line: "curl --nosuch U/f", code: 2}, asCase{line: "curl", code: 2}, asCase{line: "wget --nosuch U/f", code: 2},
		asCase{line: "curl -sSfO U/f -O U/status/404/g", code: 22, files: []string{"f"}},
		asCase{line: "wget -q U/f U/status/404/g", code: 8, files: []string{"f"}},
		asCase{line: "wget -q U/status/404/g U/status/401/h U/f", code: 6, files: []string{"f"}},
	)
	runCases(t, all)
}

// TestToolPlaces checks where files go, also if there are others.
func TestToolPlaces(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	old, same := map[string]string{"f": "old"}, map[string]string{"f": string(asBody)}
	runCases(t, []asCase{
		{line: "curl -s U/f", stdout: true},
		{line: "curl -sS U/f -o -", stdout: true},
		{line: "curl -s -o a U/f U/g", files: []string{"a"}, stdout: true},
		{line: "curl -s -O U/d/a%20b?x=1 -o c U/g", files: []string{"a%20b", "c"}},
		{line: "curl -sOJ U/named/f", files: []string{"served.bin"}},
		{line: "curl -sO U/named/f", files: []string{"f"}},
		{line: "curl -so f U/f", before: old, files: []string{"f"}},
		{line: "curl -sO --no-clobber U/f", before: old, files: []string{"f.1"}},
		{line: "curl -sO --create-dirs --output-dir a/b U/f", files: []string{"a/b/f"}},
		{line: "curl -sO U/{f,g}[1-2]", files: []string{"f1", "f2", "g1", "g2"}},
		{line: "curl -K conf", before: map[string]string{"conf": "silent\nurl=U/f\noutput = \"a b\"\n"}, files: []string{"a b"}},
		{line: "curl -K -", stdin: "silent\nurl=U/f\n-O\n", files: []string{"f"}},
		{line: "wget -q -i -", stdin: "U/f\nU/g\n", files: []string{"f", "g"}},
		{line: "aria2c -q -i -", stdin: "U/f\nU/g\n  out=h\n", files: []string{"f", "h"}},
		{line: "wget -q U/f", before: old, files: []string{"f.1"}},
		{line: "wget -q U/f?x=1", files: []string{"f?x=1"}},
		{line: "wget -q U/d/a%20b?u=c/d", files: []string{"a b?u=c%2Fd"}},
		{line: "wget -q U/", files: []string{"index.html"}},
		{line: "wget -q U/named/f", files: []string{"f"}},
		{line: "wget -q --content-disposition U/named/f", files: []string{"served.bin"}},
		{line: "wget -qO f U/f", before: old, files: []string{"f"}},
		{line: "wget -qO- U/f", stdout: true},
		{line: "wget -qO - U/f", stdout: true},
		{line: "wget -q -P a/b U/f", files: []string{"a/b/f"}},
		{line: "wget -q -nc U/f", before: old},
		{line: "wget -q -c U/f", before: same, files: []string{"f"}},
		{line: "wget -q -N U/f", before: old, files: []string{"f"}, differs: "it takes any local file with a later time for the current one"},
		{line: "wget -q U/a/f U/b/f", files: []string{"f", "f.1"}},
		{line: "wget -q -x -nH --cut-dirs=1 U/a/b/f", files: []string{"b/f"}},
		{line: "wget -q --spider U/f"},
		{line: "axel -q U/f", before: old, files: []string{"f.0"}},
		{line: "axel -q -n 2 -o a U/f", files: []string{"a"}},
		{line: "axel -q U/d/a%20b?x=1", files: []string{"a b"}},
		{line: "aria2c -q U/f", before: old, files: []string{"f.1"}},
		{line: "aria2c -q -c U/f", before: same, files: []string{"f"}},
		{line: "aria2c -q --allow-overwrite=true U/f", before: old, files: []string{"f"}},
		{line: "aria2c -q U/d/a%20b?x=1", files: []string{"a b"}},
		{line: "aria2c -q U/named/f", files: []string{"served.bin"}},
		{line: "aria2c -q -d a -o /b/c U/f", files: []string{"a/b/c"}},
		{line: "aria2c -q U/status/404/f U/f", files: []string{"f"}},
		{line: "aria2c -q -Z -j2 U/f U/g", files: []string{"f", "g"}},
		{line: "aria2c -q -i F", before: map[string]string{"F": "U/f\n  out=a\nU/g\tU/status/404/g\n  dir=d\n"}, files: []string{"a", "d/g"}},
		{line: "aria2c -q --conf-path=C U/f", before: map[string]string{"C": "dir=d\n# x\nmax-connection-per-server=2\n"}, files: []string{"d/f"}},
	})
}

// runCases runs a sample of the command lines with pawl, and with the tools if they are installed.
func runCases(t *testing.T, all []asCase) {
	srv := newAsServer(t)
	secure := httptest.NewUnstartedServer(srv.Config.Handler)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.StartTLS()
	t.Cleanup(secure.Close)
	for _, c := range sample(6, all) {
		t.Run(c.line, func(t *testing.T) {
			t.Parallel()
			fill := strings.NewReplacer("U/", srv.URL+"/", "T/", secure.URL+"/").Replace
			before := make(map[string]string)
			for name, text := range c.before {
				before[name] = fill(text)
			}
			words := strings.Fields(fill(c.line))
			if words[0] == "aria2c" && !strings.Contains(c.line, "--conf-path") {
				words = slices.Insert(words, 1, "--no-conf")
			}
			got := runAs(t, before, fill(c.stdin), append([]string{"pawl", "as"}, words...)...)
			if got.code != c.code || (got.stdout == string(asBody)) != c.stdout || got.stdout != "" && !c.stdout {
				t.Errorf("exit code %d, %d bytes on stdout, want %d\n%s", got.code, len(got.stdout), c.code, got.stderr)
			}
			for name, text := range got.files {
				if c.code != 0 && strings.HasSuffix(name, ".part") {
					continue
				}
				if wanted := slices.Contains(c.files, name); wanted && text != string(asBody) || !wanted && text != before[name] {
					t.Errorf("file %q has %d bytes, want files %q", name, len(text), c.files)
				}
			}
			for _, name := range c.files {
				if got.files[name] == "" {
					t.Errorf("there is no file %q, but %q\n%s", name, got.names(), got.stderr)
				}
			}
			if _, err := exec.LookPath(words[0]); err != nil {
				t.Logf("%s is not installed", words[0])
				return
			}
			tool := runAs(t, before, fill(c.stdin), words...)
			if c.differs != "" {
				tool.files = got.files
			}
			compareAs(t, c.line, got, tool)
		})
	}
}

// TestResumeAsCurl checks that a download whose signed link and cookie have expired goes on with a pasted
// curl command, from an argument or from standard input.
func TestResumeAsCurl(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	valid, sent := "1", ""
	body := bytes.Repeat(asBody, 20)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		now := valid
		sent = r.Header.Get("Range") + " " + r.Header.Get("X-Quote") + " " + r.UserAgent()
		mu.Unlock()
		if cookie, err := r.Cookie("s"); err != nil || cookie.Value != now || r.FormValue("sig") != now {
			http.Error(w, "expired", http.StatusForbidden)
			return
		}
		w.Header().Set("ETag", `"1"`)
		if now == "1" { // it expires in the middle
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body[:len(body)/2])
			mu.Lock()
			valid = ""
			mu.Unlock()
			return
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(body))
	}))
	defer srv.Close()
	for i, stdin := range []bool{false, true} {
		dir := t.TempDir()
		mu.Lock()
		valid = "1"
		mu.Unlock()
		first := pawlCommand(dir, "--retry-wait", "1ms", "--tries", "2", "-H", "Cookie: s=1", srv.URL+"/f?sig=1")
		if out, err := first.CombinedOutput(); err == nil {
			t.Fatalf("the first run succeeded\n%s", out)
		}
		mu.Lock()
		valid = "2"
		mu.Unlock()
		command := "curl '" + srv.URL + "/f?sig=2' \\\n  -H 'Accept-Encoding: gzip, br' \\\n  -H 'Range: bytes=0-' \\\n  -H $'X-Quote: it\\'s' \\\n -A Browser -b 's=2' \\\n  --compressed"
		args := []string{"resume", "--as-curl", command, "f"}
		if stdin {
			args[2] = "-"
		}
		cmd := pawlCommand(dir, args...)
		cmd.Stdin = strings.NewReader(command)
		out, err := cmd.CombinedOutput()
		got, _ := os.ReadFile(filepath.Join(dir, "f"))
		if err != nil || !bytes.Equal(got, body) || !strings.Contains(string(out), "resuming at") {
			t.Errorf("run %d: %v, %d bytes\n%s", i, err, len(got), out)
		}
		mu.Lock()
		if !strings.HasSuffix(sent, " it's Browser") || strings.HasPrefix(sent, "bytes=0-") {
			t.Errorf("run %d: the last request had %q", i, sent)
		}
		mu.Unlock()
		state, _ := os.ReadFile(filepath.Join(dir, "state", "pawl", "pawl.db"))
		if len(state) == 0 || bytes.Contains(state, []byte("s=2")) || bytes.Contains(state, []byte("it's")) {
			t.Errorf("run %d: the state has %d bytes, or a secret", i, len(state))
		}
	}
	for _, args := range [][]string{{"resume", "--as-curl", "curl 'http://h/"}, {"resume", "--as-curl", "wget http://h/", "f"}, {"resume", "--as-curl", "curl http://h/ -d secret", "f"}, {"resume", "--as-curl", "curl http://h/"}} {
		cmd := pawlCommand(t.TempDir(), args...)
		if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || strings.Contains(string(out), "secret") {
			t.Errorf("%q: exit code %d, want 2\n%s", args, cmd.ProcessState.ExitCode(), out)
		}
	}
}

// TestConfigImport checks that pawl accepts the configuration files that it has made of those of other tools.
func TestConfigImport(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	srv := newAsServer(t)
	for name, text := range map[string]string{
		"aria2.conf": "dir=d\nmax-connection-per-server=3\ncontinue=true\nmax-overall-download-limit=500M\nheader=X: y\nenable-rpc=true\nfile-allocation=none\non-download-complete=/bin/true\n",
		".curlrc":    "-L\nmax-time = 30\nlimit-rate = 500M\nheader = \"X: y\"\nretry = 3\noutput-dir = d\nsilent\n",
		".wgetrc":    "tries = 3\ndir_prefix = d\ntimeout = 20\nlimit_rate = 500m\nheader = X: y\nquiet = off\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			made := runAs(t, map[string]string{name: text}, "", "pawl", "config", "--import", name)
			if made.code != 0 || !strings.Contains(made.stdout, "\ndir = d\n") {
				t.Fatalf("exit code %d\n%s%s", made.code, made.stdout, made.stderr)
			}
			got := runAs(t, map[string]string{"c": made.stdout}, "", "pawl", "--config", "c", srv.URL+"/f")
			if got.code != 0 || got.files["d/f"] != string(asBody) {
				t.Errorf("exit code %d, files %q, with the config file\n%s\n%s", got.code, got.names(), made.stdout, got.stderr)
			}
		})
	}
	if got := runAs(t, map[string]string{"x": "what is this\n"}, "", "pawl", "config", "--import", "x"); got.code != 2 {
		t.Errorf("exit code %d for an unknown file, want 2", got.code)
	}
	if got := runAs(t, nil, "", "pawl", "config", "--import", "none"); got.code != 3 {
		t.Errorf("exit code %d for a missing file, want 3", got.code)
	}
}

// TestAsOutput checks what the tools print: nothing but the file on standard output, nothing at all if
// they are silent, and no secret in an error.
func TestAsOutput(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	srv := newAsServer(t)
	for line, want := range map[string]string{ // want is a part of stderr, "" for nothing
		"curl -s U/status/404/f":                      "",
		"curl -sS U/status/404/f":                     "404",
		"curl U/status/404/f -o f":                    "404",
		"wget -q U/status/404/f":                      "",
		"wget -nv U/status/404/f":                     "404",
		"aria2c -q U/status/404/f":                    "",
		"axel -q U/status/404/f":                      "404",
		"curl -s --data-binary geheim U/f":            "refused",
		"wget -q --header geheim U/f":                 "header field",
		"curl -H 'Authorization: geheim' --nosuch U/": "nosuch",
		"wget -q --post-data geheim U/f":              "refused",
		"curl -sS -H 'X-Key: geheim' U/status/403/f":  "403",
		"aria2c --max-tries=x --header=geheim U/f":    "needs a number",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			words, err := dropin.Words(strings.ReplaceAll(line, "U/", srv.URL+"/"))
			if err != nil {
				t.Fatal(err)
			}
			got := runAs(t, nil, "", append([]string{"pawl", "as"}, words...)...)
			if got.code == 0 || got.stdout != "" || strings.Contains(got.stderr, "geheim") || (want == "") != (got.stderr == "") || !strings.Contains(got.stderr, want) {
				t.Errorf("exit code %d, stdout %q, stderr %q, want %q there", got.code, got.stdout, got.stderr, want)
			}
		})
	}
	for line, want := range map[string]string{
		"curl -s -o f -w %{http_code}:%{size_download} U/f":         fmt.Sprintf("200:%d", len(asBody)),
		"curl -s -o f -w %{http_code} U/status/404/f":               "404",
		"curl -s -o /dev/null -w %{http_code} http://127.0.0.1:1/f": "000",
		"curl -s -w %{filename_effective}, -O U/f -O U/g":           "f,g,",
		"curl -s -w :%{size_download} U/f":                          string(asBody) + fmt.Sprintf(":%d", len(asBody)),
	} {
		words := strings.Fields(strings.ReplaceAll(line, "U/", srv.URL+"/"))
		if got := runAs(t, nil, "", append([]string{"pawl", "as"}, words...)...); got.stdout != want {
			t.Errorf("%s: stdout %.60q, want %.60q\n%s", line, got.stdout, want, got.stderr)
		}
		if tool := runTool(t, words); tool.stdout != want {
			t.Errorf("%s: the tool prints %.60q, want %.60q", line, tool.stdout, want)
		}
	}
	for words, want := range map[string]string{"pawl-curl --version": "curl 8.", "pawl-wget -V": "GNU Wget 1.", "pawl-aria2c -v": "aria2 version 1.", "pawl-axel -V": "Axel 2.", "pawl as curl --help": "Usage: pawl as curl"} {
		if got := runAs(t, nil, "", strings.Fields(words)...); got.code != 0 || !strings.HasPrefix(got.stdout, want) {
			t.Errorf("%s: exit code %d, %.60q, want %q", words, got.code, got.stdout, want)
		}
	}
}

// TestFailuresOfTools checks the exit codes of failures that need more than a server.
func TestFailuresOfTools(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want [4]int // aria2c, curl, wget, axel
	}{
		{nil, [4]int{0, 0, 0, 0}},
		{errors.New("x"), [4]int{1, 56, 1, 1}},
		{signalError{syscall.SIGINT}, [4]int{7, 130, 130, 2}},
		{signalError{syscall.SIGTERM}, [4]int{7, 143, 143, 2}},
		{usageErr{errors.New("x")}, [4]int{2, 2, 2, 2}},
		{&fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, [4]int{9, 23, 3, 1}},
		{&fs.PathError{Op: "open", Path: "x", Err: syscall.EACCES}, [4]int{16, 23, 3, 1}},
		{&outputError{"standard output", syscall.EPIPE}, [4]int{17, 23, 3, 1}},
		{store.ErrForeign, [4]int{13, 23, 3, 1}},
		{store.ErrBusy, [4]int{11, 23, 3, 1}},
		{failure.ErrChecksum, [4]int{32, 23, 1, 1}},
		{failure.ErrChanged, [4]int{8, 33, 1, 1}},
		{failure.ErrTooLarge, [4]int{1, 63, 1, 1}},
		{failure.ErrAuth, [4]int{24, 22, 6, 1}},
		{&failure.StatusError{Code: 404}, [4]int{3, 22, 8, 1}},
		{&failure.StatusError{Code: 500}, [4]int{22, 22, 8, 1}},
		{&failure.StatusError{Code: 503}, [4]int{29, 22, 8, 1}},
		{errDeadline, [4]int{2, 28, 4, 1}},
		{failure.ErrSilent, [4]int{2, 28, 4, 1}},
		{failure.ErrTrickle, [4]int{5, 28, 4, 1}},
		{failure.ErrTLS, [4]int{1, 35, 5, 1}},
		{failure.Wrap(failure.ErrTLS, x509.UnknownAuthorityError{}), [4]int{1, 60, 5, 1}},
		{failure.ErrRedirects, [4]int{23, 47, 8, 1}},
		{failure.ErrMalformed, [4]int{22, 8, 7, 1}},
		{failure.ErrCut, [4]int{22, 18, 4, 1}},
		{failure.Explain(io.ErrUnexpectedEOF), [4]int{22, 18, 4, 1}},
		{failure.Wrap(failure.ErrNetwork, &net.DNSError{IsNotFound: true}), [4]int{19, 6, 4, 1}},
		{failure.Wrap(failure.ErrNetwork, syscall.ECONNREFUSED), [4]int{1, 7, 4, 1}},
		{failure.Wrap(failure.ErrNetwork, syscall.ECONNRESET), [4]int{6, 56, 4, 1}},
		{reportedError{errors.Join(failure.ErrNetwork, failure.ErrChecksum)}, [4]int{32, 23, 1, 1}},
		{reportedError{exitCodeError(8)}, [4]int{3, 22, 8, 1}}, // of a list
		{reportedError{exitCodeError(4)}, [4]int{6, 56, 4, 1}},
	} {
		for i, tool := range dropin.Names {
			if got := (asRun{tool: tool}).exitCode(tt.err); got != tt.want[i] {
				t.Errorf("%s: %v has the exit code %d, want %d", tool, tt.err, got, tt.want[i])
			}
		}
	}
}
