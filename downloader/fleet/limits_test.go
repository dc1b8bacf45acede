package fleet

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
)

func TestHostLimitText(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"example.org=8", "example.org=8"},
		{" Example.ORG.=8,5/s ", "example.org=8,5/s"},
		{"*.example.org=8, 0.5/s", "*.example.org=8,0.5/s"},
		{"example.org:8080=5/s", "example.org:8080=5/s"},
		{"*=4", "*=4"},
		{"192.0.2.1=3", "192.0.2.1=3"},
		{"[2001:DB8::1]:443=3", "[2001:db8::1]:443=3"},
		{"2001:db8::1=3", "2001:db8::1=3"},
		{"[2001:db8::1]=3", "2001:db8::1=3"},
		{"bücher.example=3", "xn--bcher-kva.example=3"},
	} {
		var r HostLimit
		if err := r.UnmarshalText([]byte(test.text)); err != nil {
			t.Error(err)
		} else if got := r.String(); got != test.want {
			t.Errorf("%q is %q, not %q", test.text, got, test.want)
		}
		var again HostLimit
		if err := again.UnmarshalText([]byte(test.want)); err != nil || again != r {
			t.Errorf("%q does not round-trip: %v", test.want, err)
		}
	}
}

func TestHostLimitErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                      "is not a limit such as",
		"example.org":           "is not a limit such as",
		"=8":                    "is not a host such as",
		"example.org=":          "not a number of connections",
		"example.org=0":         "at least 1",
		"example.org=-1":        "at least 1",
		"example.org=x":         "not a number of connections",
		"example.org=8,8":       "is not a limit such as",
		"example.org=5/s,5/s":   "is not a limit such as",
		"example.org=5/s,8":     "is not a limit such as",
		"example.org=8,0/s":     "requests per second",
		"example.org=8,NaN/s":   "requests per second",
		"example.org=8,Inf/s":   "requests per second",
		"example.org=8,x/s":     "requests per second",
		"example.org:0=8":       "port",
		"example.org:x=8":       "port",
		"*.example.org:443=8":   "cannot have a port",
		"*example.org=8":        "is not a host such as",
		"a.*.example.org=8":     "is not a host such as",
		"*.=8":                  "is not a host such as",
		"https://example.org=8": "is not a host such as",
		"user@example.org=8":    "is not a host such as",
		"example.org/x=8":       "is not a host such as",
	} {
		var r HostLimit
		if err := r.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, not %q", text, err, want)
		}
	}
}

func TestLimitsOfSeveralOwners(t *testing.T) {
	l := Limits{}.
		with("a", rules(t, "*.example.org=8,5/s", "data.example.org=256", "data.example.org:8443=2", "*=4")).
		with("b", rules(t, "*.example.org=100", "*.net=3"))
	for hostPort, want := range map[string]Limit{
		"data.example.org:443":  {100, 0}, // a has a more exact rule for it; b has not
		"data.example.org:8443": {2, 0},
		"DATA.example.org.:443": {100, 0},
		"x.example.org:443":     {8, 5},
		"example.org:443":       {4, 0}, // not below example.org
		"a.net:80":              {3, 0},
		"192.0.2.1:80":          {4, 0},
	} {
		if got := l.For(hostPort); got != want {
			t.Errorf("%s: %v, not %v", hostPort, got, want)
		}
		if got := l.ofLane(l.Lane(hostPort)); got != want {
			t.Errorf("%s: the lane has %v, not %v", hostPort, got, want)
		}
	}
	if got := (Limits{}).For("example.org:443"); got != (Limit{16, 0}) {
		t.Errorf("without rules: %v", got)
	}
	if got := l.with("a", nil).with("b", nil).encode(); string(got) != `{"v":1}` {
		t.Errorf("without owners: %s", got)
	}
}

func TestLanes(t *testing.T) {
	l := Limits{}.with("a", rules(t, "*.example.org=8", "data.example.org=9", "*=5"))
	for hostPort, want := range map[string]string{ // workers of all versions must agree
		"example.org:443":        "h63",
		"Example.org.:443":       "h63",
		"example.org:80":         "h15",
		"[2001:db8::1]:443":      "h19",
		"192.0.2.1:8080":         "h32",
		"data.example.org:443":   "r-4ca6af1047174877",
		"a.example.org:443":      "r-87158a8b6a7c06bd",
		"other.example.org:8443": "r-87158a8b6a7c06bd",
	} {
		if got := l.Lane(hostPort); got != want {
			t.Errorf("%s: %s, not %s", hostPort, got, want)
		}
	}
	valid := regexp.MustCompile(`^[a-z0-9-]+$`)
	all := l.Lanes()
	if len(all) != 66 {
		t.Errorf("%d lanes", len(all))
	}
	for _, lane := range all {
		if !valid.MatchString(lane) {
			t.Errorf("%q is not valid in a subject", lane)
		}
	}
	u, _ := url.Parse("https://Example.ORG/x")
	if got := HostPort(u); got != "example.org:443" {
		t.Errorf("%s is dialed at %s", u, got)
	}
}

func TestLimitPlaces(t *testing.T) {
	for _, test := range []struct {
		limit  Limit
		places int
		rate   float64
	}{
		{Limit{16, 0}, 16, 0},
		{Limit{1, 0}, 1, 0},
		{Limit{100, 0}, 64, 0},
		{Limit{256, 0}, 64, 0},
		{Limit{8, 5}, 1, 5},
		{Limit{8, 50}, 1, 50},
		{Limit{8, 51}, 2, 25.5},
		{Limit{2, 500}, 2, 250},
		{Limit{1000, 1e6}, 64, 15625},
	} {
		if got := test.limit.places(); got != test.places {
			t.Errorf("%v: %d places", test.limit, got)
		}
		if got := test.limit.placeRate(); got != test.rate {
			t.Errorf("%v: %v requests per second of a place", test.limit, got)
		}
		all := 0
		for i := range maxPlaces + 1 {
			all += test.limit.worth(i)
		}
		if all != test.limit.Connections {
			t.Errorf("%v: places for %d connections", test.limit, all)
		}
	}
}

func TestSetLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		done := make(chan error)
		for i := range 8 {
			go func() {
				done <- SetLimits(t.Context(), w.link(), fmt.Sprint(i), rules(t, fmt.Sprintf("host%d.example=8", i)))
			}()
		}
		for range 8 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if err := SetLimits(t.Context(), w.link(), "3", nil); err != nil {
			t.Error(err)
		}
		l, err := ReadLimits(t.Context(), w.link())
		if err != nil || len(l.owners) != 7 || l.Of("3") != nil || l.Of("4")[0].String() != "host4.example=8" {
			t.Errorf("%v, %v", l, err)
		}
		if err := SetLimits(t.Context(), w.link(), "x", make(HostLimits, maxRules+1)); err == nil {
			t.Error("too many rules were accepted")
		}
	})
	if _, err := decodeLimits([]byte(`{"v":2,"rules":7}`)); !errors.Is(err, ErrNewer) {
		t.Errorf("limits of a newer version: %v", err)
	}
}
