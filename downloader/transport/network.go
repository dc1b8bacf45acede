package transport

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// NetworkPollInterval is the time between two tries while the machine has no network. A guess:
// half doubles the useless look-ups of names; double delays a download by up to 6 s after the
// network is back.
const NetworkPollInterval = 3 * time.Second

// A Network knows whether the machine has a network at all. Without one, failures are nobody's
// fault and must not use up a retry budget. Safe for concurrent use.
type Network struct {
	wait      bool        // failures without a network are to be waited out
	hasRoute  func() bool // reports whether there is a route to the Internet
	routed    atomic.Bool // there has been such a route
	responded atomic.Bool // some host has responded
	reported  atomic.Bool // IsDown has returned first since a host last responded
}

// NewNetwork returns a Network. If wait is false, IsDown always returns false.
func NewNetwork(wait bool) *Network { return newNetwork(wait, hasRoute) }

func newNetwork(wait bool, hasRoute func() bool) *Network {
	n := &Network{wait: wait, hasRoute: hasRoute}
	n.routed.Store(wait && hasRoute())
	return n
}

// Responded must be called when a host has responded.
func (n *Network) Responded() {
	if !n.responded.Load() || n.reported.Load() {
		n.responded.Store(true)
		n.reported.Store(false)
	}
}

// IsDown reports whether err means that the machine has no network, and whether it is the
// first such error since a host responded. A machine that reaches hosts although it has never
// had a route to the Internet, for example only itself, is not considered down.
func (n *Network) IsDown(err error) (down, first bool) {
	if !n.wait || !IsUnreachable(err) {
		return false, false
	}
	if n.hasRoute() {
		n.routed.Store(true)
		return false, false
	}
	if n.responded.Load() && !n.routed.Load() {
		return false, false
	}
	return true, n.reported.CompareAndSwap(false, true)
}

// IsUnreachable reports whether a missing network may be the reason of err: there is no route,
// or no name server responds. A response that the name does not exist needs a network.
func IsUnreachable(err error) bool {
	var dns *net.DNSError
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN) || errors.As(err, &dns) && !dns.IsNotFound
}

// hasRoute reports whether there is a route to addresses that are reserved for documentation
// (RFC 5737, RFC 3849). To connect a datagram socket sends no packet.
func hasRoute() bool {
	for _, addr := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		if c, err := net.Dial("udp", addr); err == nil {
			c.Close()
			return true
		}
	}
	return false
}
