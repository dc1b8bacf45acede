package main

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// commandsNotRun are the commands that TestReadmeCommands does not run, with the reason. Each
// must be in the README. "go test" and "go install" are left to TestReadmeGoCommands.
var commandsNotRun = map[string]string{
	"go run ./cmd/bench --quick": "takes minutes, and cmd/bench has tests of its own",
	"pawl -u USER URL":           "asks for a password, as TestPassword checks",

	"pawl daemon --open":                    "does not end by itself; TestDaemonCommands checks it",
	"pawl add https://example.com/disk.iso": "needs a daemon, as in TestDaemonCommands",
	"pawl pause":                            "needs a daemon, as in TestDaemonCommands",
	"pawl add --list LIST":                  "needs a daemon, as in TestDaemonLists",
	"pawl list --watch":                     "needs a terminal, as in TestWatch",

	"pawl mirror files.txt -d /data --shared --queue tls://q.example.com": "needs a queue",
	"pawl work -d /data --shared --queue tls://q.example.com":             "does not end by itself, and needs a queue",
	"pawl queue status --queue tls://q.example.com":                       "needs a queue, as in TestQueueStatus",
}

// TestReadmeCommands runs each command that the README shows, as it is there. The commands
// of a block run one after another in one directory, those of the text each in its own. A
// command must end with exit code 0, or with the code that its comment says, and must print
// the messages that follow it in the README, apart from the numbers.
//
// All hosts are one server on loopback, behind a proxy; see readmeRig. A third of the blocks and of the
// commands of the text runs, another third each time, or all with PAWL_TEST_ALL=1.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	skipUnderRace(t)
	ran, skipped := 0, make(map[string]bool)
	for _, s := range readmeSessions(t) {
		s.commands = slices.DeleteFunc(s.commands, func(c readmeCommand) bool {
			if commandsNotRun[c.text] != "" {
				skipped[c.text] = true
				return true
			}
			return strings.Contains(" "+c.text, " go test ") || strings.HasPrefix(c.text, "go install ")
		})
		if ran += len(s.commands); len(s.commands) == 0 || !chosenTests() && rand.IntN(3) > 0 {
			continue
		}
		t.Run(fmt.Sprintf("line %d", s.line), func(t *testing.T) {
			t.Parallel()
			r := newReadmeRig(t, s)
			for _, c := range s.commands {
				r.run(t, c)
			}
		})
	}
	if ran < 35 {
		t.Errorf("%d commands found in the README, want at least 35", ran)
	}
	for command := range commandsNotRun {
		if !skipped[command] {
			t.Errorf("commandsNotRun: the README does not show %q", command)
		}
	}
}

// A readmeRig is the world of one session: an empty home directory, and the internet. All
// hosts below example.com are one server. It serves each path, with bytes that depend on
// the last part of the path only:
//
//	pub/, pub/iso/      an index page, and one of its directories
//	*.tar, SHA256SUMS   an archive with one file; the digests of .iso and .zst files
//	a query sig=OLD     the file at the first request, cut in the middle, then 403
//	anything else       random bytes
type readmeRig struct {
	*faultserver.Server
	dir  string
	env  []string
	size int64 // of the served files, in bytes
}

// readmeFiles are the files with a digest in the served SHA256SUMS.
var readmeFiles = []string{"archive.tar.zst", "disk.iso"}

// file returns the file served under a name.
func (r *readmeRig) file(name string) faultserver.File {
	seed := uint64(0)
	for _, b := range []byte(name) {
		seed = 31*seed + uint64(b)
	}
	return faultserver.NewFile(r.size, seed)
}

// newReadmeRig starts the server and its proxy, and creates the files that the commands of
// the README use.
func newReadmeRig(t *testing.T, s readmeSession) *readmeRig {
	t.Helper()
	r := &readmeRig{Server: faultserver.NewTLS(), dir: t.TempDir(), size: 1 << 20}
	if slices.ContainsFunc(s.commands, func(c readmeCommand) bool { return c.interrupted }) {
		r.size = 8 << 20 // when half of it was sent, the four connections cannot have all of that in their buffers
	}
	t.Cleanup(r.Close)
	r.Set(serveTexts(r.texts()), r.expiredLinks(), r.serveAll)
	proxy := newTestProxy(t, "http", r.Listener.Addr().String())
	ca := filepath.Join(t.TempDir(), "ca.pem") // httptest's certificate is for example.com and the hosts below it
	r.env = append(pawlCommand(r.dir).Env, "https_proxy="+proxy.url, "http_proxy="+proxy.url, "no_proxy=", "NO_PROXY=", "PAWL_CACERT="+ca, "PAWL_CONNECTIONS=4",
		"PAWL_RETRY_WAIT=20ms", "PAWL_RETRY_MAX_WAIT=200ms") // a link that has expired may look like a limit of connections
	written := map[string]string{
		ca:            string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.Certificate().Raw})),
		"headers.txt": "Authorization: Bearer x\n",
		"files.txt":   "https://example.com/pool/a.deb\nhttps://example.com/pool/b.deb\n",
		"missing.txt": "https://example.com/pool/b.deb\n",
		"cookies.txt": "example.com\tFALSE\t/\tTRUE\t0\tsession\tx\n",
	}
	maps.Copy(written, s.files)
	for name, text := range written {
		if !filepath.IsAbs(name) {
			name = filepath.Join(r.dir, name)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// texts returns the served texts by path.
func (r *readmeRig) texts() map[string]string {
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	w.WriteHeader(&tar.Header{Name: "file", Mode: 0o644, Size: 1})
	w.Write([]byte("x"))
	w.Close()
	sums := ""
	for _, name := range readmeFiles {
		sums += digestOfFile(r.file(name)) + "  " + name + "\n"
	}
	return map[string]string{
		"archive.tar": archive.String(), "iso/SHA256SUMS": sums,
		"pub/": indexPage("disk.iso", "iso/", "old/", "README"), "pub/iso/": indexPage("disk.iso"),
	}
}

// serveAll puts a file at each path that is requested.
func (r *readmeRig) serveAll(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.Put(strings.TrimPrefix(req.URL.Path, "/"), r.file(path.Base(req.URL.Path)))
		next.ServeHTTP(w, req)
	})
}

// expiredLinks refuses URLs with sig=OLD after the first request, whose body it cuts in the
// middle.
func (r *readmeRig) expiredLinks() faultserver.Fault {
	var once sync.Once
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if req.URL.Query().Get("sig") != "OLD" {
				next.ServeHTTP(w, req)
				return
			}
			answer := faultserver.Status(http.StatusForbidden, -1)
			once.Do(func() { answer = faultserver.Cut(r.size / 2) })
			answer(next).ServeHTTP(w, req)
		})
	}
}

// run runs a command of the README by the shell and checks its result.
func (r *readmeRig) run(t *testing.T, c readmeCommand) {
	t.Helper()
	text := r.fill(t, strings.Replace(c.text, "go run ./cmd/pawl ", "pawl ", 1))
	if c.interrupted {
		text = "exec " + text // so that the signal reaches pawl and not the shell
	}
	cmd := exec.Command("sh", "-c", text)
	cmd.Dir, cmd.Env = r.dir, r.env
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended, interrupted := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(interrupted)
		if c.interrupted {
			r.interrupt(cmd, ended)
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-interrupted
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if code := cmd.ProcessState.ExitCode(); code != c.exit {
		t.Errorf("%s: exit code %d, want %d\n%s%s", text, code, c.exit, &stdout, &stderr)
	}
	for _, message := range c.messages {
		if !strings.Contains(withoutNumbers(stderr.String()), withoutNumbers(message)+"\n") {
			t.Errorf("%s: printed no line like %q, but\n%s", text, message, &stderr)
		}
	}
}

// interrupt sends SIGINT to cmd when half of a file was sent, and pawl has recorded some of
// it. The server stops there until cmd has ended.
func (r *readmeRig) interrupt(cmd *exec.Cmd, ended chan struct{}) {
	r.DoAt(r.size/2, ended, func() {
		recorded := func(rec store.Record) bool { return rec.Held.Len() > 0 }
		for begun := time.Now(); !slices.ContainsFunc(unfinishedRecords(filepath.Join(r.dir, "state", "pawl")), recorded) && time.Since(begun) < hangLimit; {
			select {
			case <-ended:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
		cmd.Process.Signal(syscall.SIGINT)
		select {
		case <-ended:
		case <-time.After(hangLimit):
			cmd.Process.Kill()
		}
	})
}

// numberPattern matches what differs from run to run: IDs, durations, numbers with their units.
var numberPattern = regexp.MustCompile(`\b[0-9a-f]{16}\b|\b([0-9.]+[hms])+\b|[0-9]+(\.[0-9]+)?( ?[KMGT]?i?B\b(/s)?)?`)

// withoutNumbers replaces IDs, numbers and their units with #.
func withoutNumbers(text string) string {
	return regexp.MustCompile(`#+`).ReplaceAllString(numberPattern.ReplaceAllString(text, "#"), "#")
}

// fill replaces the words in upper case that stand for something, and the directories that
// a test must not use.
func (r *readmeRig) fill(t *testing.T, command string) string {
	t.Helper()
	const url = "https://example.com/archive.tar.zst"
	for word, value := range map[string]func() string{
		"URL": func() string { return url }, "FILE": func() string { return "file.zst" }, "DIR": func() string { return "dir" },
		"CMD": func() string { return "true" }, "HEX": func() string { return digestOfFile(r.file(path.Base(url))) },
		"ID": func() string { return r.unfinished(t) },
	} {
		// Only whole words, and none in a quoted URL or in the name of a file.
		pattern := regexp.MustCompile(`(^|[ :])` + word + `($| )`)
		if pattern.MatchString(command) {
			command = pattern.ReplaceAllString(command, "${1}"+value()+"${2}")
		}
	}
	return strings.NewReplacer("/etc/pawl", r.dir, "/srv/mirror", filepath.Join(r.dir, "srv")).Replace(command)
}

// unfinished leaves a download that has failed in the middle, and returns its ID.
func (r *readmeRig) unfinished(t *testing.T) string {
	t.Helper()
	r.run(t, readmeCommand{text: "pawl 'https://example.com/unfinished.iso?sig=OLD'", exit: 8})
	row := r.listed()
	if row.Held == 0 {
		t.Fatalf("no unfinished download: %+v", row)
	}
	return string(row.ID)
}

// listed returns the unfinished download, or the zero listRow if there is none.
func (r *readmeRig) listed() (row listRow) {
	list := pawlCommand(r.dir, "list", "--json")
	out, err := list.Output()
	if err != nil || json.Unmarshal(out, &row) != nil {
		return listRow{}
	}
	return row
}
