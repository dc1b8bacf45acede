package downloader

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"net/url"
	"pawl/downloader/hosts"
	"testing"
)

// answerNames answers the DNS queries on c, a stream (RFC 1035 §4.2.2): every name has the IPv4
// address 127.0.0.1 if exists, which is called once for each query, returns true.
func answerNames(c net.Conn, exists func() bool) {
	defer c.Close()
	for {
		var n uint16
		if binary.Read(c, binary.BigEndian, &n) != nil {
			return
		}
		q := make([]byte, n)
		if _, err := io.ReadFull(c, q); err != nil {
			return
		}
		end := 12
		for q[end] != 0 { // the labels of the name
			end += 1 + int(q[end])
		}
		end += 5
		there := exists()
		is4 := q[end-3] == 1 && there
		a := append([]byte{q[0], q[1], 0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0}, q[12:end]...)
		if !there {
			a[3] = 0x83 // NXDOMAIN
		}
		if is4 {
			a[7] = 1
			a = append(a, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1)
		}
		c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(a))), a...))
	}
}

// A fakeAddress records whether its name must be looked up again.
type fakeAddress struct {
	hosts.Address
	forgotten bool
}

func (a *fakeAddress) Forget() { a.forgotten = true }

// outcome handles the outcome of an attempt to send a request to addr.
func outcome(d *Downloader, addr hosts.Address, resp *http.Response, err error) {
	h := hosts.New(hosts.Options{Origin: "http://h", Ceiling: 1, Address: addr})
	(&exchange{download: &download{d: d.engine}, to: target{host: h}}).outcome(resp, err)
}

// TestMachineForgotten: after an error of a machine, its name is looked up again.
func TestMachineForgotten(t *testing.T) {
	d := New(nil, Options{})
	for code, want := range map[int]bool{200: false, 206: false, 404: false, 500: true, 503: true} {
		addr := &fakeAddress{}
		resp := &http.Response{StatusCode: code, Request: &http.Request{URL: &url.URL{Host: "files.example"}}}
		outcome(d, addr, resp, nil)
		if addr.forgotten != want {
			t.Errorf("after %d: forgotten: got %v, want %v", code, addr.forgotten, want)
		}
	}
	addr := &fakeAddress{}
	if outcome(d, addr, nil, io.EOF); !addr.forgotten {
		t.Error("a broken connection leaves its address")
	}
}
