package downloader

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// nameHolds is how long the address of a name is used again. How long it is valid, the
// system does not tell.
const nameHolds = time.Minute

// A dialer opens connections. It looks up a name once for many of them, and goes to
// the address that answered: so one machine of several has all, which has one version
// of the file. Safe for concurrent use.
type dialer struct {
	net.Dialer

	mu       sync.Mutex
	known    map[string]address // by host:port; guarded by mu
	resolved map[string]bool    // host:port whose name has had an address; guarded by mu
}

// An address is where a name has led.
type address struct {
	ipPort string
	until  time.Time // not to be used after
}

// dial is for http.Transport.DialContext.
func (d *dialer) dial(ctx context.Context, network, hostPort string) (net.Conn, error) {
	if host, _, _ := net.SplitHostPort(hostPort); net.ParseIP(host) != nil {
		return d.DialContext(ctx, network, hostPort)
	}
	if a := d.recall(hostPort, time.Now()); a != "" {
		c, err := d.DialContext(ctx, network, a)
		if err == nil {
			return c, nil
		}
		d.forget(hostPort)
		if isTimeout(err) || ctx.Err() != nil { // there is no time left
			return nil, err
		}
	}
	c, err := d.DialContext(ctx, network, hostPort)
	if err == nil {
		d.remember(hostPort, c.RemoteAddr().String(), time.Now())
	}
	var unresolved *net.DNSError
	if err == nil || ctx.Err() == nil && !errors.As(err, &unresolved) {
		d.noteResolved(hostPort)
	}
	return c, err
}

// noteResolved notes that the name of hostPort has an address.
func (d *dialer) noteResolved(hostPort string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.resolved == nil {
		d.resolved = make(map[string]bool)
	}
	trim(d.resolved, mostNames)
	d.resolved[hostPort] = true
}

// hasResolved reports whether the name of hostPort has had an address in this run.
func (d *dialer) hasResolved(hostPort string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.resolved[hostPort]
}

// forget lets a name be looked up again: another of its machines may do better.
func (d *dialer) forget(hostPort string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.known, hostPort)
}

func (d *dialer) recall(hostPort string, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.known[hostPort]; now.Before(a.until) {
		return a.ipPort
	}
	return ""
}

// remember notes where hostPort has led.
func (d *dialer) remember(hostPort, ipPort string, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known == nil {
		d.known = make(map[string]address)
	}
	trim(d.known, mostNames)
	d.known[hostPort] = address{ipPort, now.Add(nameHolds)}
}
