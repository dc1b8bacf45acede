package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeDNS is the system's resolver of a test.
type fakeDNS struct {
	mu      sync.Mutex
	names   map[string][]netip.Addr // guarded by mu
	err     error                   // of all lookups, nil for none; guarded by mu
	delay   time.Duration           // immutable
	lookups map[string]int          // by name; guarded by mu
	ended   int                     // lookups whose context has ended; guarded by mu
}

// newFakeDNS returns a resolver of the names, each "name address address …".
func newFakeDNS(names ...string) *fakeDNS {
	d := &fakeDNS{names: make(map[string][]netip.Addr), lookups: make(map[string]int), delay: 10 * time.Millisecond}
	for _, n := range names {
		d.set(n)
	}
	return d
}

// set gives a name other addresses.
func (d *fakeDNS) set(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var addrs []netip.Addr
	name, rest, _ := strings.Cut(name, " ")
	for rest != "" {
		var a string
		a, rest, _ = strings.Cut(rest, " ")
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	d.names[name] = addrs
}

// fail makes all lookups fail, or succeed again if err is nil.
func (d *fakeDNS) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// count returns the number of lookups of a name.
func (d *fakeDNS) count(name string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lookups[name]
}

// ask has the form of net.Resolver.LookupNetIP.
func (d *fakeDNS) ask(ctx context.Context, network, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	d.lookups[host]++
	d.mu.Unlock()
	select {
	case <-time.After(d.delay):
	case <-ctx.Done():
		d.mu.Lock()
		defer d.mu.Unlock()
		d.ended++
		return nil, ctx.Err()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return nil, d.err
	}
	var addrs []netip.Addr
	for _, a := range d.names[host] {
		if network == "ip" || a.Is4() == (network == "ip4") {
			addrs = append(addrs, a)
		}
	}
	if len(addrs) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return addrs, nil
}

// newTestResolver returns a resolver that asks d, until the end of the test.
func newTestResolver(t *testing.T, d *fakeDNS, family Family, fixed map[string]FixedAddresses) *resolver {
	r := newResolver(family, fixed)
	r.ask = d.ask
	t.Cleanup(r.close)
	return r
}

// addressesOf returns the addresses of hostPort as texts, or the error in a slice.
func addressesOf(t *testing.T, r *resolver, hostPort string) (texts []string) {
	addrs, _, err := r.addresses(t.Context(), hostPort)
	if err != nil {
		return []string{err.Error()}
	}
	for _, a := range addrs {
		texts = append(texts, a.String())
	}
	return texts
}

// TestResolverShares: all that want the same name at the same time wait for one lookup, and its
// addresses are used until they are old or forgotten.
func TestResolverShares(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dns := newFakeDNS("a.test 192.0.2.1 ::ffff:192.0.2.2 2001:db8::1", "b.test 192.0.2.3")
		r := newTestResolver(t, dns, AnyFamily, nil)
		want := []string{"192.0.2.1:80", "192.0.2.2:80", "[2001:db8::1]:80"}
		wanted := func(lookups int) {
			t.Helper()
			var all sync.WaitGroup
			for i := range 20 {
				all.Go(func() {
					name := []string{"a.test:80", "A.TEST:80"}[i%2]
					if got := addressesOf(t, r, name); !slices.Equal(got, want) {
						t.Errorf("got %q, want %q", got, want)
					}
				})
			}
			all.Wait()
			if n := dns.count("a.test"); n != lookups {
				t.Errorf("got %d lookups, want %d", n, lookups)
			}
		}
		wanted(1)
		if addressesOf(t, r, "b.test:443"); dns.count("b.test") != 1 {
			t.Error("another name was not looked up")
		}
		time.Sleep(lookupTTL - time.Second)
		wanted(1)
		time.Sleep(time.Second)
		wanted(2)
		r.forget("a.TEST:443")
		wanted(3)
	})
}

// TestResolverFailures: a failure is for those that wait for it, and is not remembered. Old
// addresses are better than none, unless the name server says that the name does not exist.
func TestResolverFailures(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dns := newFakeDNS("a.test 192.0.2.1")
		r := newTestResolver(t, dns, AnyFamily, nil)
		busy := &net.DNSError{Err: "server misbehaving", Name: "a.test", IsTemporary: true}
		gone := &net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}
		for _, err := range []error{busy, gone} {
			dns.fail(err)
			before := dns.count("a.test")
			var all sync.WaitGroup
			for range 5 {
				all.Go(func() {
					if _, _, err := r.addresses(t.Context(), "a.test:80"); err == nil {
						t.Error("got no error")
					}
				})
			}
			all.Wait()
			dns.fail(nil)
			if got := addressesOf(t, r, "a.test:80"); got[0] != "192.0.2.1:80" || dns.count("a.test") != before+2 {
				t.Errorf("after %v: got %q and %d lookups, want 2", err, got, dns.count("a.test")-before)
			}
			r.forget("a.test:80")
		}
		addressesOf(t, r, "a.test:80")
		r.forget("a.test:80")
		dns.fail(busy)
		if got := addressesOf(t, r, "a.test:80"); got[0] != "192.0.2.1:80" {
			t.Errorf("forgotten, and without a name server: got %q, want the old address", got)
		}
		dns.fail(nil)
		time.Sleep(lookupTTL)
		dns.fail(busy)
		before := dns.count("a.test")
		for range 5 {
			if got := addressesOf(t, r, "a.test:80"); got[0] != "192.0.2.1:80" {
				t.Errorf("without a name server: got %q, want the old address", got)
			}
		}
		if n := dns.count("a.test") - before; n != 1 {
			t.Errorf("without a name server: got %d lookups, want 1", n)
		}
		time.Sleep(staleTTL)
		dns.fail(gone)
		if got := addressesOf(t, r, "a.test:80"); got[0] != "lookup a.test: no such host" {
			t.Errorf("got %q, want an error", got)
		}
		dns.fail(busy)
		if got := addressesOf(t, r, "a.test:80"); got[0] != "lookup a.test: server misbehaving" {
			t.Errorf("got %q, want an error, because the name did not exist any more", got)
		}
	})
}

// TestResolverLeave: whoever gives up waiting does not end the lookup for others, and the last one
// does. A newcomer begins a new one.
func TestResolverLeave(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dns := newFakeDNS("a.test 192.0.2.1")
		dns.delay = 10 * time.Second
		r := newTestResolver(t, dns, AnyFamily, nil)
		ask := func(patience time.Duration) error {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			_, _, err := r.addresses(ctx, "a.test:80")
			return err
		}
		var all sync.WaitGroup
		all.Go(func() {
			if err := ask(time.Minute); err != nil {
				t.Errorf("the patient one got %v", err)
			}
		})
		all.Go(func() {
			var dns *net.DNSError
			if err := ask(time.Second); !errors.As(err, &dns) || !dns.IsTimeout || dns.IsNotFound || !isTimeout(err) {
				t.Errorf("the impatient one got %v, want a timeout", err)
			}
		})
		all.Wait()
		if dns.count("a.test") != 1 || dns.ended != 0 {
			t.Errorf("got %d lookups, %d ended", dns.count("a.test"), dns.ended)
		}
		r.forget("a.test:80")
		ask(time.Second)
		if err := ask(time.Minute); err != nil || dns.count("a.test") != 3 || dns.ended != 1 {
			t.Errorf("got %v after %d lookups, %d ended; want a new one after one that ended", err, dns.count("a.test"), dns.ended)
		}
	})
}

// TestResolverFixed: fixed addresses are used in place of a lookup, for their host and port or for
// all hosts, and the family is obeyed by all kinds of addresses.
func TestResolverFixed(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		addrs := func(texts ...string) (f FixedAddresses) {
			for _, a := range texts {
				f.Addrs = append(f.Addrs, netip.MustParseAddr(a))
			}
			return f
		}
		brief := addrs("198.51.100.4")
		brief.Expires = true
		fixed := map[string]FixedAddresses{
			"a.test:80": addrs("198.51.100.1", "2001:db8::9"), "*:443": addrs("198.51.100.2"), "b.test:443": {}, "192.0.2.7:80": addrs("198.51.100.3"),
			"[::1]:80": addrs("198.51.100.5"), "c.test:80": brief,
		}
		names := []string{"a.test 192.0.2.1 2001:db8::1", "b.test 192.0.2.2", "c.test 192.0.2.3", "six.test 2001:db8::2"}
		for _, tt := range []struct {
			family   Family
			hostPort string
			want     string
			lookups  int
		}{
			{AnyFamily, "a.test:80", "[198.51.100.1:80 [2001:db8::9]:80]", 0},
			{AnyFamily, "A.Test.:80", "[198.51.100.1:80 [2001:db8::9]:80]", 0},
			{AnyFamily, "a.test:81", "[192.0.2.1:81 [2001:db8::1]:81]", 1},
			{AnyFamily, "a.test:443", "[198.51.100.2:443]", 0},
			{AnyFamily, "unknown.test:443", "[198.51.100.2:443]", 0},
			{AnyFamily, "b.test:443", "[192.0.2.2:443]", 1},
			{AnyFamily, "192.0.2.7:80", "[198.51.100.3:80]", 0},
			{AnyFamily, "192.0.2.7:81", "[192.0.2.7:81]", 0},
			{AnyFamily, "[::1]:80", "[198.51.100.5:80]", 0},
			{AnyFamily, "[::1]:81", "[[::1]:81]", 0},
			{AnyFamily, "c.test:80", "[198.51.100.4:80]", 0},
			{IPv4, "a.test:80", "[198.51.100.1:80]", 0},
			{IPv6, "a.test:80", "[[2001:db8::9]:80]", 0},
			{IPv4, "a.test:81", "[192.0.2.1:81]", 1},
			{IPv6, "a.test:81", "[[2001:db8::1]:81]", 1},
			{IPv4, "six.test:80", "[lookup six.test: no IPv4 address]", 1},
			{IPv6, "a.test:443", "[lookup a.test: no IPv6 address]", 0},
			{IPv6, "192.0.2.9:80", "[lookup 192.0.2.9: no IPv6 address]", 0},
			{IPv4, "[::1]:81", "[lookup ::1: no IPv4 address]", 0},
			{AnyFamily, "unknown.test:80", "[lookup unknown.test: no such host]", 1},
		} {
			dns := newFakeDNS(names...)
			r := newTestResolver(t, dns, tt.family, fixed)
			got, lookups := fmt.Sprint(addressesOf(t, r, tt.hostPort)), 0
			for _, n := range dns.lookups {
				lookups += n
			}
			if got != tt.want || lookups != tt.lookups {
				t.Errorf("%v, %s: got %s after %d lookups, want %s after %d", tt.family, tt.hostPort, got, lookups, tt.want, tt.lookups)
			}
		}
		r := newTestResolver(t, newFakeDNS(names...), AnyFamily, fixed)
		time.Sleep(lookupTTL)
		if got := addressesOf(t, r, "c.test:80"); got[0] != "192.0.2.3:80" {
			t.Errorf("later: got %q, want the result of a lookup", got)
		}
		if got := addressesOf(t, r, "a.test:80"); got[0] != "198.51.100.1:80" {
			t.Errorf("later: got %q, want the fixed address", got)
		}
	})
}

// TestResolverForgets: the number of remembered names is limited.
func TestResolverForgets(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newResolver(AnyFamily, nil)
		r.ask = func(context.Context, string, string) ([]netip.Addr, error) {
			return []netip.Addr{netip.IPv4Unspecified()}, nil
		}
		for i := range 3 * maxNames {
			addressesOf(t, r, fmt.Sprintf("h%d:443", i))
		}
		if n := len(r.known); n > maxNames+1 {
			t.Errorf("%d names are remembered", n)
		}
	})
}
