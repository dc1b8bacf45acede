package downloader

// This file is about a machine without any network, which is no fault of a host's.

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

// offlineEvery is how often a machine without a network is tried again.
const offlineEvery = 3 * time.Second

// An outage knows whether the machine has a network at all.
type outage struct {
	wait     bool        // for a network to come
	hasRoute func() bool // reports whether there is a way to the world
	routed   atomic.Bool // there once was one
	answered atomic.Bool // some host has answered
	told     atomic.Bool // that there is no network
}

func newOutage(wait bool) *outage {
	o := &outage{wait: wait, hasRoute: hasRoute}
	o.routed.Store(wait && hasRoute())
	return o
}

// over notes an answer.
func (o *outage) over() {
	if !o.answered.Load() || o.told.Load() {
		o.answered.Store(true)
		o.told.Store(false)
	}
}

// is reports whether err comes from there being no network, and tells the first
// time. A machine that reached hosts without a way to the world, such as one of
// its own, is not waited for.
func (o *outage) is(err error) (offline, first bool) {
	if !o.wait || !isUnreachable(err) {
		return false, false
	}
	if o.hasRoute() {
		o.routed.Store(true)
		return false, false
	}
	if o.answered.Load() && !o.routed.Load() {
		return false, false
	}
	return true, o.told.CompareAndSwap(false, true)
}

// isUnreachable reports whether err may come from there being no network: no route,
// or nobody who knows names. That there is no such name is an answer.
func isUnreachable(err error) bool {
	var dns *net.DNSError
	return errors.Is(err, syscall.ENETUNREACH) || errors.Is(err, syscall.ENETDOWN) || errors.As(err, &dns) && !dns.IsNotFound
}

// hasRoute looks for a way to addresses that are set apart for documentation
// (RFC 5737, RFC 3849): to connect a datagram socket sends nothing.
func hasRoute() bool {
	for _, addr := range []string{"192.0.2.1:9", "[2001:db8::1]:9"} {
		if c, err := net.Dial("udp", addr); err == nil {
			c.Close()
			return true
		}
	}
	return false
}
