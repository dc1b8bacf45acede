package daemon

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	secretName  = "daemon-secret" // the secret in hex, and a line feed
	addressName = "daemon.json"   // an address, while the daemon runs
	lockName    = "daemon.lock"   // locked while the address is valid; a daemon that is killed cannot remove the file

	// secretBytes is how many random bytes a new secret has: it cannot be guessed.
	secretBytes = 32
	// minSecret is the least number of characters of a secret that the user has written. A guess: at 1,000
	// tries per second, 16 letters take an attacker more than a lifetime.
	minSecret = 16
	// maxFile is the most bytes that are read of a file.
	maxFile = 4 << 10
	// publishTime is the time in which the lock must be free at the start. Find takes it for a moment.
	publishTime = time.Second
)

// ErrNotRunning means that no daemon of the state directory runs.
var ErrNotRunning = errors.New("no daemon is running")

// LoadSecret returns the secret of the state directory. If there is none, it makes one. It refuses a file that
// others can read. Only one process may call it at a time: the process that is going to be the daemon.
func LoadSecret(stateDir string) (string, error) {
	secret, err := readSecret(stateDir)
	if !errors.Is(err, fs.ErrNotExist) {
		return secret, err
	}
	random := make([]byte, secretBytes)
	rand.Read(random) // never fails
	secret = hex.EncodeToString(random)
	return secret, writeFile(filepath.Join(stateDir, secretName), []byte(secret+"\n"))
}

// StoreSecret makes text the secret of the state directory, and returns it without the blanks around it.
func StoreSecret(stateDir, text string) (string, error) {
	secret := strings.TrimSpace(text)
	if !isSecret(secret) {
		return "", fmt.Errorf("a secret must have at least %d characters, ASCII without blanks", minSecret)
	}
	if old, err := readSecret(stateDir); err == nil && old == secret {
		return secret, nil
	}
	return secret, writeFile(filepath.Join(stateDir, secretName), []byte(secret+"\n"))
}

// isSecret reports whether a text may be a secret.
func isSecret(text string) bool {
	return len(text) >= minSecret && !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' })
}

// readSecret returns the secret of the state directory.
func readSecret(stateDir string) (string, error) {
	path := filepath.Join(stateDir, secretName)
	text, err := readFile(path)
	if err != nil {
		return "", err
	}
	secret := strings.TrimSpace(string(text))
	if !isSecret(secret) {
		return "", fmt.Errorf("the secret in %q must have at least %d characters, ASCII without blanks; remove the file for a new one", path, minSecret)
	}
	return secret, nil
}

// readFile returns a file of the state directory, which others must not be able to read.
func readFile(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular() || info.Size() > maxFile:
		return nil, fmt.Errorf("%q is not a file of pawl; remove it", path)
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		return nil, fmt.Errorf("other users may read or write %q; remove it, or change that with: chmod 600", path)
	}
	return os.ReadFile(path)
}

// writeFile writes a file of the state directory with mode 0600, whole or not at all.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails if it was renamed
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// An address is the address of a daemon, as its file has it.
type address struct {
	V       int    `json:"v"`
	Address string `json:"address"` // http://HOST:PORT, https://HOST:PORT or unix:/PATH
	PID     int    `json:"pid"`
	// Certificate is the SHA-256 of the certificate of https, in hex, because the certificate need not have the name of this machine.
	Certificate string `json:"certificate,omitempty"`
}

// publish writes the address of a listener for Find, and returns a function that takes it back.
func publish(stateDir string, l net.Listener, config *tls.Config) (withdraw func(), err error) {
	a := address{V: 1, Address: AddressOf(l.Addr(), config != nil), PID: os.Getpid()}
	if config != nil && len(config.Certificates) > 0 {
		sum := sha256.Sum256(config.Certificates[0].Certificate[0])
		a.Certificate = hex.EncodeToString(sum[:])
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(stateDir, lockName), flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), publishTime)
	defer cancel()
	if ok, err := lock.TryLockContext(ctx, 10*time.Millisecond); !ok {
		return nil, fmt.Errorf("another daemon runs with the state directory %q: %w", stateDir, err)
	}
	path := filepath.Join(stateDir, addressName)
	if err := writeFile(path, append(text, '\n')); err != nil {
		lock.Close()
		return nil, err
	}
	return func() {
		os.Remove(path)
		lock.Close()
	}, nil
}

// AddressOf returns an address of this machine that leads to a listener.
func AddressOf(a net.Addr, secured bool) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "unix:" + a.String()
	}
	host := tcp.IP.String()
	switch {
	case !tcp.IP.IsUnspecified():
	case tcp.IP.To4() != nil || len(tcp.IP) == 0:
		host = "127.0.0.1"
	default: // "::" listens for IPv4, too, unless the system is configured otherwise
		host = "localhost"
	}
	scheme := "http"
	if secured {
		scheme = "https"
	}
	return fmt.Sprintf("%s://%s", scheme, net.JoinHostPort(host, fmt.Sprint(tcp.Port)))
}

// Find returns a client of the daemon that runs with the state directory. If there is none, the error is
// ErrNotRunning. The file of a daemon that was killed does not count: another program may have got its port,
// and must not get the secret.
func Find(stateDir string) (*Client, error) {
	lock := flock.New(filepath.Join(stateDir, lockName), flock.SetFlag(os.O_RDONLY))
	free, err := lock.TryRLock()
	if free {
		lock.Close()
	}
	if free || errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	text, err := readFile(filepath.Join(stateDir, addressName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNotRunning // it starts or ends just now
	}
	var a address
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(text)).Decode(&a)
	}
	if err != nil {
		return nil, err
	}
	secret, err := readSecret(stateDir)
	if err != nil {
		return nil, err
	}
	return &Client{Address: a.Address, Secret: secret, Certificate: a.Certificate}, nil
}
