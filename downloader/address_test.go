package downloader

import (
	"net/netip"
	"testing"
)

// TestIsPrivate: the addresses that a public source must not name, in all their forms.
func TestIsPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"127.0.0.1": true, "127.255.0.1": true, "10.1.2.3": true, "172.16.0.1": true, "172.31.255.255": true, "192.168.1.1": true,
		"169.254.169.254": true, "100.64.0.1": true, "100.127.255.255": true, "0.0.0.0": true, "0.1.2.3": true, "224.0.0.1": true,
		"255.255.255.255": true, "240.0.0.1": true, "198.18.0.1": true, "192.0.0.8": true,
		"::": true, "::1": true, "fe80::1": true, "fe80::1%eth0": true, "fc00::1": true, "fd12::1": true, "ff02::1": true, "fec0::1": true,
		"::ffff:127.0.0.1": true, "::ffff:10.0.0.1": true, "::127.0.0.1": true,
		"64:ff9b::127.0.0.1": true, "64:ff9b::a9fe:a9fe": true, "64:ff9b:1::1": true, "2002:7f00:1::1": true, "2002:c0a8:101::": true,
		"2001:0:1:2:3:4:80ff:fffe": true, // Teredo of 127.0.0.1
		"203.0.113.1":              false, "8.8.8.8": false, "172.32.0.1": false, "100.128.0.1": false, "192.1.2.3": false,
		"2606:4700::1": false, "::ffff:8.8.8.8": false, "64:ff9b::8.8.8.8": false, "2002:808:808::1": false, "2001:db8::1": false,
	} {
		if got := isPrivate(netip.MustParseAddr(text)); got != want {
			t.Errorf("%s: got %v", text, got)
		}
		if got := isPrivateHost(text); got != want {
			t.Errorf("host %s: got %v", text, got)
		}
	}
	if !isPrivate(netip.Addr{}) {
		t.Error("no address is public")
	}
	for host, want := range map[string]bool{
		"localhost": true, "a.LOCALHOST.": true, "127.1": true, "2130706433": true, "0x7f000001": true, "0177.0.0.1": true, "127.0.0.1.": true, "08": true,
		"example.com": false, "127.0.0.1.example.com": false, "a1": false, "x0x1": false,
	} {
		if got := isPrivateHost(host); got != want {
			t.Errorf("host %s: got %v", host, got)
		}
	}
}
