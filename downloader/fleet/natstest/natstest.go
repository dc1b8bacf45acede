// Package natstest runs a NATS server for tests, as a process of its own. Only tests may import it.
package natstest

import (
	"bufio"
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nkeys"
)

// Options are the options of Start.
type Options struct {
	// Roles uses the example configuration of pawl, with TLS and a user for each role.
	Roles bool
	// Replace contains pairs of texts: the first one is in the configuration, and the second one
	// takes its place.
	Replace []string
}

// A Server is a NATS server with a directory of its own, which syncs each write. Its
// methods must not be called at the same time, except for those that return a string.
type Server struct {
	t       testing.TB
	o       Options
	dir     string // everything
	store   string // directory of JetStream
	conf    string // text of the configuration
	front   *front
	running *process // nil while stopped
}

// program returns the path of the server that go.mod names as a tool. The first call builds it,
// which takes half a minute, unless the build cache has it.
var program = sync.OnceValues(func() (string, error) {
	cmd := exec.Command("go", "tool", "-n", "nats-server")
	var path bytes.Buffer
	cmd.Stdout = &path
	if err := start(cmd); err != nil {
		return "", err
	}
	err := cmd.Wait()
	return strings.TrimSpace(path.String()), err
})

// bubbles is held for reading by Bubble, and for writing while a program is started.
var bubbles sync.RWMutex

// Bubble is synctest.Test while no server is started. Until a new process runs its program, it holds the locks of all files
// that this process has open, so a state file may be locked that nobody uses. Whoever opens it then sleeps and tries
// again, but in a bubble that may never come: the clock stands still while others wait for a mutex of the sleeper.
func Bubble(t *testing.T, f func(*testing.T)) {
	bubbles.RLock()
	defer bubbles.RUnlock()
	synctest.Test(t, f)
}

// start starts a program outside of all Bubbles.
func start(cmd *exec.Cmd) error {
	bubbles.Lock()
	defer bubbles.Unlock()
	return cmd.Start()
}

// Start starts a server, which is stopped at the end of the test. Building the server takes a third of
// the time that a new clone needs for its tests, so Start skips the test unless -run chooses it, or all
// tests run (PAWL_TEST_ALL=1), or no other program may be missing either (PAWL_TEST_SERVERS=required).
// CI runs these tests; the others use package fakebroker.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	if os.Getenv("PAWL_TEST_ALL") == "" && os.Getenv("PAWL_TEST_SERVERS") != "required" && flag.Lookup("test.run").Value.String() == "" {
		t.Skip("needs a NATS server, and PAWL_TEST_ALL is not set")
	}
	s := &Server{t: t, o: o, dir: t.TempDir()}
	s.store = filepath.Join(s.dir, "store")
	s.conf = plain
	if o.Roles {
		s.prepareRoles()
	}
	s.replace(`/var/lib/nats`, filepath.ToSlash(s.store))
	s.replace(`0\.0\.0\.0:4222`, "127.0.0.1:-1")
	s.replace(`127\.0\.0\.1:8222`, "127.0.0.1:-1")
	for i := 0; i < len(o.Replace); i += 2 {
		s.replace(regexp.QuoteMeta(o.Replace[i]), o.Replace[i+1])
	}
	s.write("nats-server.conf", []byte(s.conf))
	var err error
	if s.front, err = newFront(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		s.front.close()
	})
	s.Restart()
	return s
}

// plain is the configuration without roles. It has the addresses of the example.
const plain = `
listen: "0.0.0.0:4222"
http: "127.0.0.1:8222"
max_payload: 1MB
jetstream {
  store_dir: "/var/lib/nats"
  sync_interval: always
  max_file_store: 4GB
  max_memory_store: 64MB
}
`

// URL returns the URL of the server, which stays the same when it is started again.
func (s *Server) URL() string {
	if s.o.Roles {
		return "tls://" + s.front.addr()
	}
	return "nats://" + s.front.addr()
}

// CA returns the file with the certificate to trust, or "".
func (s *Server) CA() string {
	if s.o.Roles {
		return filepath.Join(s.dir, "server.pem")
	}
	return ""
}

// Creds returns the file with the credentials of a role, "submit", "work" or "watch", or "".
func (s *Server) Creds(role string) string {
	if s.o.Roles {
		return filepath.Join(s.dir, role+".nk")
	}
	return ""
}

// Monitor returns the URL of the monitoring port, which changes when the server is started again.
func (s *Server) Monitor() string { return "http://" + s.running.monitor }

// Restart starts the server after Stop or Kill.
func (s *Server) Restart() {
	s.t.Helper()
	path, err := program()
	if err != nil {
		s.t.Fatalf("building the NATS server: %v", err)
	}
	cmd := exec.Command(path, "-c", filepath.Join(s.dir, "nats-server.conf"))
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = start(cmd)
	}
	if err != nil {
		s.t.Fatal(err)
	}
	s.running = &process{Cmd: cmd, logged: make(chan struct{})}
	ready := make(chan struct{})
	go s.running.readLog(stderr, ready)
	select {
	case <-ready:
	case <-s.running.logged: // it has ended
		s.t.Fatalf("the NATS server does not start:\n%s", s.running.log.String())
	case <-time.After(2 * time.Minute):
		s.t.Fatal("the NATS server does not get ready")
	}
	s.front.open(s.running.addr)
}

// A process is a running server.
type process struct {
	*exec.Cmd
	addr, monitor string        // where it listens, once it is ready
	log           bytes.Buffer  // until logged is closed, it belongs to readLog
	logged        chan struct{} // closed at the end of the log
}

// readLog reads the log to its end, and closes ready when it says that the server is ready.
func (p *process) readLog(stderr io.Reader, ready chan<- struct{}) {
	defer close(p.logged)
	lines := bufio.NewScanner(io.TeeReader(stderr, &p.log))
	for lines.Scan() {
		if _, addr, ok := strings.Cut(lines.Text(), "Listening for client connections on "); ok {
			p.addr = addr
		}
		if _, addr, ok := strings.Cut(lines.Text(), "Starting http monitor on "); ok {
			p.monitor = addr
		}
		if strings.Contains(lines.Text(), "Server is ready") {
			close(ready)
		}
	}
}

// Stop stops the server as an administrator does, with SIGTERM.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill stops the server with SIGKILL.
func (s *Server) Kill() { s.end(os.Kill) }

func (s *Server) end(signal os.Signal) {
	if s.running == nil {
		return
	}
	s.front.cut()
	s.running.Process.Signal(signal)
	<-s.running.logged
	s.running.Wait()
	s.running = nil
}

// Cut ends all connections of clients. They may connect again at once.
func (s *Server) Cut() {
	s.front.cut()
	s.front.open(s.running.addr)
}

// prepareRoles makes the configuration and the files that it names.
func (s *Server) prepareRoles() {
	s.t.Helper()
	_, here, _, _ := runtime.Caller(0)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(here), "../../../cmd/pawl/fleet/nats-server.conf"))
	if err != nil {
		s.t.Fatal(err)
	}
	s.conf = string(text)
	for _, role := range []string{"submit", "work", "watch"} {
		pair, err := nkeys.CreateUser()
		if err != nil {
			s.t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			s.t.Fatal(err)
		}
		seed, err := pair.Seed()
		if err != nil {
			s.t.Fatal(err)
		}
		s.write(role+".nk", seed)
		s.replace(fmt.Sprintf(`(?m)^%s_KEY: .*$`, strings.ToUpper(role)), fmt.Sprintf("%s_KEY: %q", strings.ToUpper(role), public))
	}
	s.replace(`/etc/nats/`, filepath.ToSlash(s.dir)+"/")
	s.certificate()
}

func (s *Server) replace(pattern, by string) {
	s.t.Helper()
	text := regexp.MustCompile(pattern).ReplaceAllLiteralString(s.conf, by)
	if text == s.conf {
		s.t.Fatalf("the configuration has no %s", pattern)
	}
	s.conf = text
}

func (s *Server) write(name string, data []byte) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), data, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// certificate makes a certificate for 127.0.0.1 that is its own authority.
func (s *Server) certificate() {
	s.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nats"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		s.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	s.write("server.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	s.write("server.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}))
}

// A front forwards connections to the server. It keeps the address while the server stops, and
// ends all connections at one moment.
type front struct {
	listener net.Listener
	accepted sync.WaitGroup // the goroutine that accepts, and one for each connection

	mu    sync.Mutex
	to    string            // address of the server, "" while there is none; guarded by mu
	conns map[net.Conn]bool // both ends of all connections; guarded by mu
}

func newFront() (*front, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	f := &front{listener: l, conns: make(map[net.Conn]bool)}
	f.accepted.Go(f.accept)
	return f, nil
}

func (f *front) addr() string { return f.listener.Addr().String() }

func (f *front) accept() {
	for {
		in, err := f.listener.Accept()
		if err != nil {
			return
		}
		f.accepted.Go(func() { f.forward(in) })
	}
}

func (f *front) forward(in net.Conn) {
	defer in.Close()
	f.mu.Lock()
	to := f.to
	f.mu.Unlock()
	if to == "" {
		return
	}
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	f.mu.Lock()
	if f.to != to { // cut in between
		f.mu.Unlock()
		return
	}
	f.conns[in], f.conns[out] = true, true
	f.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { io.Copy(out, in); out.Close() })
	both.Go(func() { io.Copy(in, out); in.Close() })
	both.Wait()
	f.mu.Lock()
	delete(f.conns, in)
	delete(f.conns, out)
	f.mu.Unlock()
}

// open lets clients connect to the server at addr.
func (f *front) open(addr string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = addr
}

// cut ends all connections, and refuses further ones.
func (f *front) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.to = ""
	for c := range f.conns {
		c.Close()
	}
}

func (f *front) close() {
	f.listener.Close()
	f.cut()
	f.accepted.Wait()
}
