package transport

import (
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// TestBinding checks where connections begin that are bound to an interface or to an address, also
// if the system does not permit binding to an interface.
func TestBinding(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	all, err := net.Interfaces()
	i := slices.IndexFunc(all, func(i net.Interface) bool { return i.Flags&net.FlagLoopback != 0 })
	if err != nil || i < 0 {
		t.Skipf("this machine has no loopback interface: %v", err)
	}
	byAddress, err1 := bindingToInterface(&all[i])
	byName, err2 := NewBinding(all[i].Name)
	literal, err3 := NewBinding("127.0.0.1")
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Binding{nil, byAddress, byName, literal} {
		c, err := b.dial(t.Context(), "tcp", l.Addr().String())
		if err != nil {
			t.Errorf("%+v: %v", b, err)
			continue
		}
		if host, _, _ := net.SplitHostPort(c.LocalAddr().String()); host != "127.0.0.1" {
			t.Errorf("%+v: the connection begins at %s", b, host)
		}
		c.Close()
	}
	if byAddress.device != "" || byAddress.ipv4.String() != "127.0.0.1" {
		t.Errorf("got %+v, want 127.0.0.1", byAddress)
	}
	if _, err := literal.dial(t.Context(), "tcp", "[::1]:80"); !errors.Is(err, syscall.EAFNOSUPPORT) {
		t.Errorf("from IPv4 to IPv6: got %v", err)
	}
	if canBindToDevice("nosuch0") {
		t.Error("a socket can be bound to an interface that does not exist")
	}
	for _, name := range []string{"nosuch0", "203.0.113.9", "[2001:db8::9]", "", "files.example"} {
		if _, err := NewBinding(name); err == nil || !strings.Contains(err.Error(), strings.Trim(name, "[]")) {
			t.Errorf("%q: got %v, want an error that names it", name, err)
		}
	}
	if !slices.Contains(Interfaces(), all[i].Name) {
		t.Errorf("got the interfaces %q", Interfaces())
	}
}
