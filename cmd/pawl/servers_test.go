package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// A realServer describes how to run a widely used HTTP server. In its config and arguments
// DIR stands for its working directory, ROOT for the served directory, and ADDR and PORT for
// the address to listen on.
type realServer struct {
	name   string
	binary string
	config string   // content of DIR/conf
	args   []string // command line, without the program
}

var realServers = []realServer{
	{"nginx", "nginx", `
daemon off; master_process off; pid DIR/pid; error_log DIR/error.log;
events {}
http { access_log off; sendfile on; client_body_temp_path DIR/b; proxy_temp_path DIR/p; fastcgi_temp_path DIR/f;
uwsgi_temp_path DIR/u; scgi_temp_path DIR/s; server { listen ADDR; root ROOT; autoindex on; } }`,
		[]string{"-p", "DIR", "-e", "DIR/error.log", "-c", "DIR/conf"}},
	{"apache2", "apache2", `
ServerRoot DIR
ServerName localhost
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule autoindex_module /usr/lib/apache2/modules/mod_autoindex.so
LoadModule dir_module /usr/lib/apache2/modules/mod_dir.so
Listen ADDR
PidFile DIR/pid
ErrorLog DIR/error.log
DefaultRuntimeDir DIR
DocumentRoot ROOT
User www-data
Group www-data
<Directory ROOT>
Require all granted
Options Indexes
</Directory>`,
		[]string{"-f", "DIR/conf", "-DFOREGROUND"}},
	{"lighttpd", "lighttpd", `
server.modules += ("mod_dirlisting")
dir-listing.activate = "enable"
server.document-root = "ROOT"
server.bind = "127.0.0.1"
server.port = PORT
server.errorlog = "DIR/error.log"`,
		[]string{"-D", "-f", "DIR/conf"}},
	{"caddy", "caddy", "", []string{"file-server", "--browse", "--root", "ROOT", "--listen", "ADDR"}},
	{"python", "python3", "", []string{"-m", "http.server", "--bind", "127.0.0.1", "--directory", "ROOT", "PORT"}},
}

// TestRealServers downloads from each installed server, in one run and after an
// interruption. With PAWL_TEST_SERVERS=required a missing server fails the test.
func TestRealServers(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	f := faultserver.NewFile(16<<20+123, 1)
	for _, s := range sample(4, realServers) {
		t.Run(s.name, func(t *testing.T) {
			dir := publicDir(t)
			root := filepath.Join(dir, "root")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			for name, file := range map[string]faultserver.File{"a.bin": f, "empty.bin": {}, "one.bin": faultserver.NewFile(1, 2)} {
				writeFile(t, filepath.Join(root, name), file)
			}
			url := s.start(t, dir, root)
			for name, file := range map[string]faultserver.File{"a.bin": f, "empty.bin": {}, "one.bin": faultserver.NewFile(1, 2)} {
				pawlOK(t, dir, "-q", url+"/"+name)
				checkFile(t, filepath.Join(dir, name), file)
			}
			checkResume(t, dir, url, f, s.name != "python")
			if out := pawlOK(t, dir, url+"/a.bin"); !strings.Contains(out, "already downloaded") {
				t.Errorf("a second run did not find the finished file: %s", out)
			}
		})
	}
}

// checkResume downloads a.bin as b.bin, interrupts the download in the middle and resumes
// it. ranges reports whether the server supports ranges.
func checkResume(t *testing.T, dir, url string, f faultserver.File, ranges bool) {
	t.Helper()
	cmd := pawlCommand(dir, "-q", "--limit-rate", "2M", "-o", "b.bin", url+"/a.bin")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		info, err := os.Stat(filepath.Join(dir, "b.bin.part"))
		return err == nil && info.Size() > 1<<20
	})
	cmd.Process.Signal(syscall.SIGINT)
	if cmd.Wait(); cmd.ProcessState.ExitCode() != 130 {
		t.Errorf("interrupted: exit code %d, want 130", cmd.ProcessState.ExitCode())
	}
	out := pawlOK(t, dir, "resume")
	if ranges && !strings.Contains(out, "resuming at") {
		t.Errorf("resume started from the beginning: %s", out)
	}
	checkFile(t, filepath.Join(dir, "b.bin"), f)
}

// start runs the server until the end of the test and returns its URL.
func (s realServer) start(t *testing.T, dir, root string) (url string) {
	t.Helper()
	bin, err := exec.LookPath(s.binary)
	if err != nil {
		bin, err = exec.LookPath("/usr/sbin/" + s.binary)
	}
	if err != nil {
		if os.Getenv("PAWL_TEST_SERVERS") == "required" {
			t.Fatalf("%s is required and not installed", s.binary)
		}
		t.Skipf("%s is not installed", s.binary)
	}
	addr := freeAddress(t)
	_, port, _ := net.SplitHostPort(addr)
	fill := strings.NewReplacer("DIR", dir, "ROOT", root, "ADDR", addr, "PORT", port)
	config := fill.Replace(s.config)
	if os.Getuid() == 0 && s.binary == "nginx" {
		config = "user root;" + config
	}
	if os.Getuid() != 0 && s.binary == "apache2" {
		config = strings.NewReplacer("User www-data\n", "", "Group www-data\n", "").Replace(config)
	}
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	var args []string
	for _, a := range s.args {
		args = append(args, fill.Replace(a))
	}
	cmd := exec.Command(bin, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(5*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		timer.Stop()
		if t.Failed() {
			t.Logf("output of %s: %s", s.name, out.String())
		}
	})
	waitFor(t, func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return "http://" + addr
}

// freeAddress returns an address of the loopback interface on which nobody listens. Its port is none
// of those that the system gives to connections and servers, so that no other test gets it.
func freeAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			l.Close()
			return addr
		}
	}
	t.Fatal("no free port")
	return ""
}

// TestRealIndexes mirrors index pages of each installed server, in all the ways in which Apache shows them,
// and of Go's file server. With PAWL_TEST_SERVERS=required a missing server fails the test.
func TestRealIndexes(t *testing.T) {
	sampled(t, 8)
	skipUnderRace(t)
	t.Parallel()
	servers := slices.Clone(realServers)
	for _, s := range realServers {
		if s.name == "apache2" {
			for _, options := range []string{"FancyIndexing IconsAreLinks", "FancyIndexing HTMLTable"} {
				s.name, s.config = "apache2 "+options, strings.Replace(s.config, "Options Indexes", "Options Indexes\nIndexOptions "+options, 1)
				servers = append(servers, s)
			}
		}
	}
	for _, s := range sample(4, servers) {
		t.Run(s.name, func(t *testing.T) {
			dir, root := publicDir(t), publicDir(t)
			checkIndex(t, dir, root, s.start(t, dir, root))
		})
	}
	t.Run("go", func(t *testing.T) {
		root := publicDir(t)
		srv := httptest.NewServer(http.FileServer(http.Dir(root)))
		defer srv.Close()
		checkIndex(t, publicDir(t), root, srv.URL)
	})
}

// checkIndex fills root, which is served at url, and mirrors a directory of it into dir: the page alone,
// then its directories as well, then after a change.
func checkIndex(t *testing.T, dir, root, url string) {
	t.Helper()
	top := []string{"a.bin", "with blank.bin", "100%.bin", "x&y;z=1+2.bin", "q?h#.bin", "it's.bin", "\u00e9\u6f22.bin", "at 12:34.bin", strings.Repeat("long-", 30) + "name.tar.gz"}
	below := []string{"sub/c.bin", "sub dir/d.bin", "sub/deep/e.bin"}
	for i, name := range slices.Concat(top, below, []string{"../above.bin"}) {
		path := filepath.Join(root, "pub", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, path, faultserver.NewFile(100+int64(i), uint64(i)))
	}
	if err := os.Mkdir(filepath.Join(root, "pub", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := func(names ...string) {
		t.Helper()
		var got []string
		filepath.WalkDir(filepath.Join(dir, "out"), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				rel, _ := filepath.Rel(filepath.Join(dir, "out"), path)
				got = append(got, filepath.ToSlash(rel))
			}
			return err
		})
		slices.Sort(names)
		if slices.Sort(got); !slices.Equal(got, names) {
			t.Errorf("got %q, want %q", got, names)
		}
		for _, name := range names {
			wantBytes, _ := os.ReadFile(filepath.Join(root, "pub", name))
			if gotBytes, _ := os.ReadFile(filepath.Join(dir, "out", name)); len(wantBytes) == 0 || !bytes.Equal(gotBytes, wantBytes) {
				t.Errorf("%q does not have the served bytes", name)
			}
		}
	}
	pawlOK(t, dir, "mirror", "-q", "-d", "out", url+"/pub/")
	want(slices.Clone(top)...)
	pawlOK(t, dir, "mirror", "-q", "-d", "out", "--depth", "5", url+"/pub") // redirected to /pub/
	want(slices.Concat(top, below)...)
	if err := os.Remove(filepath.Join(root, "pub", "sub", "deep", "e.bin")); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(root, "pub", "sub", "new.bin"), faultserver.NewFile(99, 99))
	pawlOK(t, dir, "mirror", "-q", "-d", "out", "--depth", "5", "--prune", url+"/pub")
	want(slices.Concat(top, below[:2], []string{"sub/new.bin"})...)
}

// waitFor waits until ready returns true, for hangLimit at most.
func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hangLimit); !ready(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the condition was not met within %v", hangLimit)
		}
	}
}

// publicDir returns a new directory that a server running as another user may read.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pawl-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, path string, f faultserver.File) {
	t.Helper()
	w, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := io.Copy(w, io.NewSectionReader(f, 0, f.Size)); err != nil {
		t.Fatal(err)
	}
}

func checkFile(t *testing.T, path string, f faultserver.File) {
	t.Helper()
	got, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if err := f.Check(got); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

// pawlCommand returns the command that runs pawl, which testscript.Main has put on the PATH,
// in dir, with its state and configuration below dir. pawl trusts the default certificates,
// because reading the ones of SSL_CERT_FILE would take a quarter of the time of a short run.
func pawlCommand(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command("pawl", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_STATE_HOME="+filepath.Join(dir, "state"), "XDG_CONFIG_HOME="+filepath.Join(dir, "config"),
		"SSL_CERT_FILE=", "SSL_CERT_DIR=", "NETRC=", "CREDENTIALS_DIRECTORY=", "GORACE="+noRaceWait)
	return cmd
}

// pawlOK runs pawl, which must succeed, and returns its output.
func pawlOK(t *testing.T, dir string, args ...string) string {
	t.Helper()
	out, err := pawlCommand(dir, args...).CombinedOutput()
	if err != nil {
		t.Fatal(fmt.Errorf("pawl %q: %w\n%s", args, err, out))
	}
	return string(out)
}
