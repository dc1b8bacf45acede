package downloader

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/downloader/faultserver"
)

// The settings of one of two hosts hold for its downloads, large and small ones together, and not
// for those of the other host.
func TestHostOptions(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const rate, small = 1 << 20, 20_000
		r := newRig(t)
		other := r.newServer()
		limited := strings.TrimPrefix(r.srv.URL, "http://")
		r.opts.Timeouts.Stall, r.opts.UserAgent = 10*time.Second, "all/1"
		r.opts.ForHost = func(hostPort string) HostOptions {
			if hostPort == limited {
				return HostOptions{Connections: 2, UserAgent: "own/1", ByteRate: rate, ByteRates: limited}
			}
			return HostOptions{}
		}
		f := faultserver.NewFile(3<<20, 1)
		names := []string{"large"}
		for i := range 20 {
			names = append(names, fmt.Sprint(i))
		}
		for _, s := range []*faultserver.Server{r.srv, other} {
			s.Set(faultserver.ConnRate(4 << 20))
			s.Put("large", f)
			for i, name := range names[1:] {
				s.Put(name, faultserver.NewFile(small, uint64(i)))
			}
		}
		d := New(r.store, r.opts)
		defer d.Close()
		began := time.Now()
		took := make(map[*faultserver.Server]time.Duration)
		var mu sync.Mutex
		var all sync.WaitGroup
		for i, s := range []*faultserver.Server{r.srv, other} {
			all.Go(func() {
				var group errgroup.Group
				group.SetLimit(8)
				dir := filepath.Join(r.dir, fmt.Sprint(i))
				for _, name := range names {
					group.Go(func() error {
						_, err := d.Get(t.Context(), Request{URL: s.URL + "/" + name, Into: File{Dir: dir}})
						return err
					})
				}
				if err := group.Wait(); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				took[s] = time.Since(began)
				r.checkFile(filepath.Join(dir, "large"), f)
			})
		}
		all.Wait()
		due := time.Duration(float64(f.Size+20*small) / rate * float64(time.Second))
		if got := took[r.srv]; got < due*9/10 || got > 2*due {
			t.Errorf("the limited host took %v, want about %v", got, due)
		}
		if got := took[other]; got > due/2 {
			t.Errorf("the other host took %v, want less than %v", got, due/2)
		}
		if own, others := r.srv.Peak(), other.Peak(); own > 2 || others <= 2 {
			t.Errorf("got %d connections to the limited host, want at most 2, and %d to the other, want more", own, others)
		}
		for s, want := range map[*faultserver.Server]string{r.srv: "own/1", other: "all/1"} {
			if agents := userAgents(s); len(agents) != 1 || agents[0] != want {
				t.Errorf("got User-Agent %q, want %q", agents, want)
			}
		}
	})
}

// userAgents returns the different User-Agent fields that a server has seen.
func userAgents(s *faultserver.Server) (all []string) {
	for _, q := range s.Requests() {
		if agent := q.Header.Get("User-Agent"); !slices.Contains(all, agent) {
			all = append(all, agent)
		}
	}
	return all
}

// A redirect leads to the settings of its target, unless the user has chosen the header field.
func TestHostOptionsAfterRedirect(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const rate = 1 << 20
		r := newRig(t)
		target := r.newServer()
		limited := strings.TrimPrefix(target.URL, "http://")
		r.opts.ForHost = func(hostPort string) HostOptions {
			if hostPort == limited {
				return HostOptions{UserAgent: "own/1", ByteRate: rate, ByteRates: "a name"}
			}
			return HostOptions{}
		}
		f := faultserver.NewFile(2<<20, 1)
		target.Put("f", f)
		r.srv.Set(faultserver.Redirect("/f", target.URL+"/f"))
		began := time.Now()
		r.mustGet("f", f)
		if took := time.Since(began); took < 1800*time.Millisecond {
			t.Errorf("2 MiB at 1 MiB/s took %v", took)
		}
		if from, to := userAgents(r.srv), userAgents(target); !slices.Equal(from, []string{"pawl"}) || !slices.Equal(to, []string{"own/1"}) {
			t.Errorf("got User-Agent %q and, after the redirect, %q", from, to)
		}
		target.Reset()
		r.mustGet("f", f, func(q *Request) {
			q.Access.Header = http.Header{"User-Agent": {"mine/1"}}
			q.Existing.Restart = true
			q.Into = File{Dir: r.dir, Output: "g"}
		})
		if to := userAgents(target); !slices.Equal(to, []string{"mine/1"}) {
			t.Errorf("got User-Agent %q after a redirect of a request with its own, want mine/1", to)
		}
	})
}

// A host with a lower rate of requests than the others keeps to it, and another host need not.
func TestHostRequestRate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		other := r.newServer()
		limited := strings.TrimPrefix(r.srv.URL, "http://")
		r.opts.RequestRate, r.opts.Timeouts.Stall = 100, 10*time.Second
		r.opts.ForHost = func(hostPort string) HostOptions {
			if hostPort == limited {
				return HostOptions{RequestRate: 2}
			}
			return HostOptions{RequestRate: -1} // no limit
		}
		d := New(r.store, r.opts)
		defer d.Close()
		for s, atLeast := range map[*faultserver.Server]time.Duration{r.srv: 2 * time.Second, other: 0} {
			began := time.Now()
			for i := range 5 {
				name := fmt.Sprint(i)
				s.Put(name, faultserver.NewFile(10, 1))
				if _, err := d.Get(t.Context(), Request{URL: s.URL + "/" + name, Into: File{Dir: t.TempDir()}}); err != nil {
					t.Fatal(err)
				}
			}
			if took := time.Since(began); took < atLeast || took > atLeast+500*time.Millisecond {
				t.Errorf("5 requests took %v, want %v", took, atLeast)
			}
		}
	})
}

// The limit of a host changes for downloads that are under way.
func TestSetHostLimitRate(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.opts.Timeouts.Stall = 10 * time.Second
		r.opts.ForHost = func(string) HostOptions { return HostOptions{ByteRate: 1 << 20, ByteRates: "a"} }
		f := faultserver.NewFile(4<<20, 1)
		r.srv.Put("f", f)
		d := New(r.store, r.opts)
		defer d.Close()
		time.AfterFunc(time.Second, func() { d.SetHostLimitRate("a", 0) })
		began := time.Now()
		if _, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/f", Into: File{Dir: r.dir}}); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took < time.Second || took > 2*time.Second {
			t.Errorf("took %v, want a second under the limit, and hardly more", took)
		}
	})
}
