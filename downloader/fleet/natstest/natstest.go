// Package natstest runs a NATS server for tests, in the process of the test. Only tests may import
// it.
package natstest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Options are the options of Start.
type Options struct {
	// Roles uses the example configuration of pawl, with TLS and a user for each role.
	Roles bool
	// Configure changes the options of the server before each start. It may be nil.
	Configure func(*server.Options)
}

// A Server is a NATS server with a directory of its own, which syncs each write. Its
// methods must not be called at the same time, except for those that return a string.
type Server struct {
	t       testing.TB
	o       Options
	dir     string // everything
	store   string // directory of JetStream
	conf    string // text of the configuration, with Roles
	front   *front
	running *server.Server // nil while stopped
}

// Start starts a server, which is stopped at the end of the test.
func Start(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{t: t, o: o, dir: t.TempDir()}
	s.store = filepath.Join(s.dir, "store")
	if o.Roles {
		s.prepareRoles()
	}
	var err error
	if s.front, err = newFront(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Stop()
		s.front.close()
	})
	s.Restart()
	return s
}

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
func (s *Server) Monitor() string {
	return "http://" + s.running.MonitorAddr().String()
}

// Restart starts the server after Stop or Kill.
func (s *Server) Restart() {
	s.t.Helper()
	o := &server.Options{}
	if s.o.Roles {
		file := filepath.Join(s.dir, "nats-server.conf")
		if err := os.WriteFile(file, []byte(s.conf), 0o600); err != nil {
			s.t.Fatal(err)
		}
		var err error
		if o, err = server.ProcessConfigFile(file); err != nil {
			s.t.Fatal(err)
		}
	}
	o.Host, o.Port, o.HTTPHost, o.HTTPPort = "127.0.0.1", -1, "127.0.0.1", -1
	o.JetStream, o.StoreDir, o.SyncAlways = true, s.store, true
	o.JetStreamMaxMemory, o.JetStreamMaxStore = 64<<20, 4<<30
	o.NoSigs, o.NoLog = true, true
	if s.o.Configure != nil {
		s.o.Configure(o)
	}
	n, err := server.NewServer(o)
	if err != nil {
		s.t.Fatal(err)
	}
	n.Start()
	if !n.ReadyForConnections(30 * time.Second) {
		s.t.Fatal("the NATS server does not start")
	}
	s.running = n
	s.front.open(n.Addr().String())
}

// Stop stops the server as SIGTERM does.
func (s *Server) Stop() {
	if s.running == nil {
		return
	}
	s.front.cut()
	s.running.Shutdown()
	s.running.WaitForShutdown()
	s.running = nil
}

// Kill stops the server as SIGKILL does: no client gets an answer any more, and the server writes
// nothing for the next one that it would not have written by now.
func (s *Server) Kill() {
	s.t.Helper()
	s.front.cut()
	kept := s.store + ".kept"
	for try := 1; ; try++ {
		err := os.CopyFS(kept, os.DirFS(s.store))
		if err == nil {
			break
		}
		// The server may have deleted a file between.
		if !errors.Is(err, fs.ErrNotExist) || try == 10 {
			s.t.Fatal(err)
		}
		os.RemoveAll(kept)
	}
	s.Stop()
	if err := errors.Join(os.RemoveAll(s.store), os.Rename(kept, s.store)); err != nil {
		s.t.Fatal(err)
	}
}

// Cut ends all connections of clients. They may connect again at once.
func (s *Server) Cut() {
	s.front.cut()
	s.front.open(s.running.Addr().String())
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
	s.replace(`/var/lib/nats`, filepath.ToSlash(s.store))
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
