package downloader

import (
	"context"
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

	mu    sync.Mutex
	known map[string]address // by host:port; guarded by mu
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
		if c, err := d.DialContext(ctx, network, a); err == nil || ctx.Err() != nil {
			return c, err
		}
	}
	c, err := d.DialContext(ctx, network, hostPort)
	d.remember(hostPort, c, time.Now())
	return c, err
}

func (d *dialer) recall(hostPort string, now time.Time) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if a := d.known[hostPort]; now.Before(a.until) {
		return a.ipPort
	}
	return ""
}

// remember notes where hostPort has led, nil for nowhere.
func (d *dialer) remember(hostPort string, c net.Conn, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if c == nil {
		delete(d.known, hostPort)
		return
	}
	if d.known == nil {
		d.known = make(map[string]address)
	}
	d.known[hostPort] = address{c.RemoteAddr().String(), now.Add(nameHolds)}
}
