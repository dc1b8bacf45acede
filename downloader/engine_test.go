package downloader

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"pawl/downloader/hosts"
	"pawl/downloader/recent"
)

// Hosts with nothing under way are forgotten when there are many, and no others.
func TestForgetHosts(t *testing.T) {
	d := New(nil, Options{})
	at := func(name string) *hosts.Host { return d.host(&url.URL{Scheme: "http", Host: name}) }
	used, paused, refusing, lately := at("used"), at("paused"), at("refusing"), at("lately")
	used.Adopt()
	paused.PauseUntil(time.Now().Add(time.Hour))
	refusing.Adopt()
	refusing.Refused(time.Now())
	refusing.Release()
	for i := range 100_000 {
		at(fmt.Sprint("idle", i))
		at("lately")
	}
	for name, h := range map[string]*hosts.Host{"used": used, "paused": paused, "refusing": refusing, "lately": lately} {
		if at(name) != h {
			t.Errorf("%s was forgotten", name)
		}
	}
	if n := d.hosts.Len(); n > 2*recent.MaxIdle+10 {
		t.Errorf("%d hosts are remembered", n)
	}
}
