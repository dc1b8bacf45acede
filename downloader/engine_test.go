package downloader

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"pawl/downloader/hosts"
	"pawl/downloader/recent"
)

// The engine forgets idle hosts if there are many. It keeps hosts that are in use, paused,
// limited or recently used.
func TestForgetHosts(t *testing.T) {
	d := New(nil, Options{})
	host := func(name string) *hosts.Host { return d.host(&url.URL{Scheme: "http", Host: name}) }
	used, paused, limited, recentlyUsed := host("used"), host("paused"), host("limited"), host("recently used")
	used.Adopt()
	paused.PauseUntil(time.Now().Add(time.Hour))
	limited.Adopt()
	limited.Refused(time.Now())
	limited.Release()
	for i := range 100_000 {
		host(fmt.Sprint("idle", i))
		host("recently used")
	}
	for name, h := range map[string]*hosts.Host{"used": used, "paused": paused, "limited": limited, "recently used": recentlyUsed} {
		if host(name) != h {
			t.Errorf("the engine forgot the host %q", name)
		}
	}
	if n := d.hosts.Len(); n > 2*recent.MaxIdle+10 {
		t.Errorf("the engine remembers %d hosts, want at most %d", n, 2*recent.MaxIdle+10)
	}
}
