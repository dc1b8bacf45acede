package daemon

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/store"
)

// TestLoadSecret checks that a secret is made once, that others cannot read it, and that a bad one is refused.
func TestLoadSecret(t *testing.T) {
	dir := t.TempDir()
	first, err := LoadSecret(dir)
	if err != nil || len(first) != 2*secretBytes {
		t.Fatalf("got %q, %v", first, err)
	}
	if again, err := LoadSecret(dir); again != first || err != nil {
		t.Errorf("the second time: %q, %v", again, err)
	}
	path := filepath.Join(dir, secretName)
	if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("got the mode %v, %v", info.Mode(), err)
	}
	if names, _ := os.ReadDir(dir); len(names) != 1 {
		t.Errorf("there is more than the secret: %v", names)
	}
	for text, word := range map[string]string{"": "16 characters", "short\n": "16 characters", "two words of a secret": "blanks", strings.Repeat("ü", 20): "ASCII", strings.Repeat("x", maxFile+1): "not a file of pawl"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := LoadSecret(dir); err == nil || !strings.Contains(err.Error(), word) || strings.Contains(err.Error(), "two words") {
			t.Errorf("%.20q: got %q, %v", text, s, err)
		}
	}
	if err := os.WriteFile(path, []byte("a-secret-of-mine-own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err := LoadSecret(dir); s != "a-secret-of-mine-own" || err != nil {
		t.Errorf("that of the user: %q, %v", s, err)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if s, err := LoadSecret(dir); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("readable by others: %q, %v", s, err)
	}
	os.Remove(path)
	if err := os.Symlink("/dev/zero", path); err != nil {
		t.Fatal(err)
	}
	if s, err := LoadSecret(dir); err == nil {
		t.Errorf("a link: %q", s)
	}
}

// serve serves an empty queue at a real listener, and returns the state directory and a function that ends it.
func serve(t *testing.T, l net.Listener, config *tls.Config) (state string, stop func()) {
	t.Helper()
	state = t.TempDir()
	s, err := LoadSecret(state)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(state, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	q, err := queue.Open(st, downloader.New(st, downloader.Options{}), queue.Options{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := New(q, Options{Secret: s, StateDir: state, TLS: config})
	go func() { ended <- server.Serve(ctx, l) }()
	for range 1000 {
		if _, err := os.Stat(filepath.Join(state, addressName)); err == nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	return state, func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// TestFind checks that the client of a state directory reaches the daemon at a port, at a socket, and by
// https with any certificate, and that there is none before and afterwards.
func TestFind(t *testing.T) {
	for name, listen := range map[string]func(t *testing.T) (net.Listener, *tls.Config){
		"port": func(t *testing.T) (net.Listener, *tls.Config) { return listenAt(t, "tcp", "127.0.0.1:0"), nil },
		"socket": func(t *testing.T) (net.Listener, *tls.Config) {
			dir, err := os.MkdirTemp("", "pawl") // the path of a socket must be short
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { os.RemoveAll(dir) })
			return listenAt(t, "unix", filepath.Join(dir, "s")), nil
		},
		"https": func(t *testing.T) (net.Listener, *tls.Config) {
			return listenAt(t, "tcp", "127.0.0.1:0"), &tls.Config{Certificates: []tls.Certificate{newCertificate(t)}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, config := listen(t)
			state, stop := serve(t, l, config)
			c, err := Find(state)
			if err != nil {
				t.Fatal(err)
			}
			if st, err := c.Status(t.Context()); err != nil || st.V != 1 {
				t.Errorf("%s: %+v, %v", c.Address, st, err)
			}
			if link, err := c.OpenURL(t.Context()); (err == nil) == (name == "socket") || err == nil && !strings.HasPrefix(link, c.Address+"/open?token=") {
				t.Errorf("got the link %q, %v", link, err)
			}
			if name == "https" {
				imposter := &Client{Address: c.Address, Secret: "x", Certificate: strings.Repeat("0", 64)}
				if _, err := imposter.Status(t.Context()); err == nil {
					t.Error("any certificate is accepted")
				}
			}
			if _, err := publish(state, l, nil); err == nil {
				t.Error("a second daemon has published its address")
			}
			text, err := os.ReadFile(filepath.Join(state, addressName))
			if err != nil {
				t.Fatal(err)
			}
			stop()
			if c, err := Find(state); !errors.Is(err, ErrNotRunning) {
				t.Errorf("after the end: %v, %v", c, err)
			}
			// A daemon that was killed leaves its file. Another program may have its port.
			if err := os.WriteFile(filepath.Join(state, addressName), text, 0o600); err != nil {
				t.Fatal(err)
			}
			if c, err := Find(state); !errors.Is(err, ErrNotRunning) {
				t.Errorf("after a kill: %v, %v", c, err)
			}
			if _, err := c.Status(t.Context()); !errors.Is(err, ErrNotRunning) {
				t.Errorf("the old client: %v", err)
			}
		})
	}
	if c, err := Find(t.TempDir()); !errors.Is(err, ErrNotRunning) {
		t.Errorf("without a daemon: %v, %v", c, err)
	}
}

// listenAt listens at an address.
func listenAt(t testing.TB, network, address string) net.Listener {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// newCertificate returns a certificate for a name that no machine has.
func newCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"nas.example"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// TestAddressOf checks which address leads to a listener.
func TestAddressOf(t *testing.T) {
	for want, addr := range map[string]net.Addr{
		"http://127.0.0.1:1":  &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1},
		"http://127.0.0.1:2":  &net.TCPAddr{IP: net.IPv4zero, Port: 2},
		"http://localhost:3":  &net.TCPAddr{IP: net.IPv6unspecified, Port: 3},
		"http://[::1]:4":      &net.TCPAddr{IP: net.IPv6loopback, Port: 4},
		"http://192.0.2.1:5":  &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5},
		"unix:/run/pawl.sock": &net.UnixAddr{Name: "/run/pawl.sock", Net: "unix"},
	} {
		if got := AddressOf(addr, false); got != want {
			t.Errorf("%v: got %q, want %q", addr, got, want)
		}
	}
}
