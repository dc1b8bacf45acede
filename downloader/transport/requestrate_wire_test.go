package transport

import (
	"context"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestRequestRateOnTheWire: however long connections take to open, a server never gets more requests in a time than the rate allows, and
// the rate is used.
func TestRequestRateOnTheWire(t *testing.T) {
	// The delays of the dials, over and over. Each lets some requests overtake others.
	delays := map[string][]time.Duration{
		"fast":      {0},
		"one slow":  {0, 0, 0, 900 * time.Millisecond, 0, 0, 0},
		"all slow":  {700 * time.Millisecond},
		"ever less": {1500 * time.Millisecond, 1300 * time.Millisecond, 1100 * time.Millisecond, 900 * time.Millisecond, 700 * time.Millisecond, 500 * time.Millisecond, 300 * time.Millisecond, 100 * time.Millisecond},
	}
	for name, delays := range delays {
		for protocol, keeps := range map[string]bool{"http": false, "http, kept connections": true, "https": false, "h2": true} {
			for _, rate := range []float64{0.5, 5, 40} {
				if rate != 5 && protocol == "https" { // dear to test, and as http
					continue
				}
				t.Run(name+", "+protocol, func(t *testing.T) {
					inBubble(t, func(t *testing.T) { testRateOnTheWire(t, rate, protocol, keeps, delays) })
				})
			}
		}
	}
}

func testRateOnTheWire(t *testing.T, rate float64, protocol string, keeps bool, delays []time.Duration) {
	const n = 20
	var mu sync.Mutex
	var at []time.Time
	network := faultserver.NewNetwork()
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		at = append(at, time.Now())
		mu.Unlock()
	}))
	srv.Listener.Close()
	srv.Listener = network.Listen()
	srv.Config.SetKeepAlivesEnabled(keeps)
	o := Options{RequestRate: rate, Connections: 16, ConnectTimeout: time.Minute, StallTimeout: time.Minute}
	if protocol == "https" || protocol == "h2" {
		srv.EnableHTTP2 = protocol == "h2"
		srv.StartTLS()
		o.RootCAs = x509.NewCertPool()
		o.RootCAs.AddCert(srv.Certificate())
	} else {
		srv.Start()
	}
	t.Cleanup(srv.Close)
	dials := 0
	o.Dial = func(ctx context.Context, net, addr string) (net.Conn, error) {
		mu.Lock()
		d := delays[dials%len(delays)]
		dials++
		mu.Unlock()
		time.Sleep(d)
		return network.Dial(ctx, net, addr)
	}
	tr := newTestTransport(t, o)
	begun := time.Now()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			resp, err := tr.Client(protocol == "h2").Do(newRequest(t, t.Context(), srv.URL+"/f"))
			if err != nil {
				t.Error(err)
				return
			}
			if got := resp.ProtoMajor; (got == 2) != (protocol == "h2") {
				t.Errorf("HTTP/%d", got)
			}
			drain(resp)
		})
	}
	all.Wait()
	took := time.Since(begun)
	if len(at) != n {
		t.Fatalf("%d requests, want %d", len(at), n)
	}
	each := max(1, int(rate))
	window := time.Duration(float64(each) / rate * float64(time.Second))
	for i := each; i < n; i++ {
		if d := at[i].Sub(at[i-each]); d < window-time.Millisecond {
			t.Errorf("%v/s: %d requests within %v, from %v on", rate, each+1, d, at[i-each].Sub(begun))
			break
		}
	}
	if want := time.Duration(float64(n)/rate*float64(time.Second)) + 2*time.Second; took > want {
		t.Errorf("%v/s: %d requests took %v, want less than %v", rate, n, took, want)
	}
}
