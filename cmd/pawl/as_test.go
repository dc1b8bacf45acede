package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pawl/cmd/pawl/dropin"
)

// pendingOptions are options of pawl that tool command lines are translated to, and that may be missing
// in this version of the grammar. Tests that need one are skipped then; see skipWithout.
var pendingOptions = []string{"--user", "--load-cookies", "--netrc-file", "--cert", "--key", "--proxy", "--no-proxy", "--resolve", "-4", "-6", "--interface"}

// skipWithout skips a test if pawl has said that it lacks one of pendingOptions.
func skipWithout(t *testing.T, stderr string) {
	t.Helper()
	for _, option := range pendingOptions {
		if strings.Contains(stderr, "unknown flag "+option) && !hasOption(option) {
			t.Skipf("pawl has no option %s", option)
		}
	}
}

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
	cmd.Env = append(cmd.Env, "HOME="+home, "XDG_STATE_HOME="+filepath.Join(home, "state"), "XDG_CONFIG_HOME="+filepath.Join(home, "config"), "WGETRC=", "CURL_HOME=")
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

// TestCallers runs the command lines of testdata/callers.txt with pawl, and with the tools themselves.
func TestCallers(t *testing.T) {
	t.Parallel()
	srv := newAsServer(t)
	refused := false
	n := 0
	for line := range strings.Lines(readFile(t, "testdata/callers.txt")) {
		if refused = refused || strings.HasPrefix(line, "# refused"); strings.HasPrefix(line, "#") {
			continue
		}
		n++
		words, err := dropin.Words(strings.TrimSpace(line))
		if err != nil {
			t.Fatal(err)
		}
		refused := refused // of this line
		t.Run(fmt.Sprintf("%d %s", n, words[0]), func(t *testing.T) {
			t.Parallel()
			runCaller(t, srv.URL, words, refused)
		})
	}
	if n < 29 {
		t.Errorf("only %d command lines", n)
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
	skipWithout(t, got.stderr)
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
