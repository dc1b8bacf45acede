package mirror

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// asked returns how many different files were requested since the last reset.
func (r *rig) asked() int {
	paths := map[string]bool{}
	for _, q := range r.srv.Requests() {
		paths[q.Path] = true
	}
	return len(paths)
}

// notTried returns how many files of the last run were not tried.
func (r *rig) notTried() (n int) {
	for _, o := range r.outcomes {
		if WasNotTried(o.Err) {
			n++
		}
	}
	return n
}

// TestHostRests: a host that refuses every file is asked for some files in the first round, and for
// one file in a further round. The other files fail with its reason, and those of another host
// are fetched.
func TestHostRests(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		fault  faultserver.Fault
		most   int // files that may be requested in all rounds
		rounds int // rounds in which the host rests
	}{
		"403":          {faultserver.Status(403, -1), maxRefusals + 1, 2},
		"400":          {faultserver.Status(400, -1), maxRefusals + 1, 2},
		"451":          {faultserver.Status(451, -1), maxRefusals + 1, 2},
		"401":          {faultserver.Status(401, -1), maxLogins + 1, 2},
		"407":          {faultserver.Status(407, -1), maxHostFailures + 1, 2},
		"500":          {faultserver.Status(500, -1), maxRefusals + 2, 3},
		"429":          {faultserver.Status(429, -1), 3 * maxHostFailures, 3},
		"503":          {faultserver.Status(503, -1), 3 * maxHostFailures, 3},
		"reset":        {faultserver.ResetFirst, 3 * maxHostFailures, 3},
		"a login page": {faultserver.LoginPage, 200, 0}, // nothing says that it is not the file
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			text := r.put(200)
			r.srv.Set(tt.fault)
			other := r.serve(content("y", "hello"))
			var rests []Rest
			c, err := r.run(t.Context(), text+other+"/y\n", func(o *Options) { o.OnRest = func(x Rest) { rests = append(rests, x) } })
			if err != nil {
				t.Fatal(err)
			}
			if len(rests) != tt.rounds || r.asked() > tt.most {
				t.Errorf("got %d rests and requests for %d files, want %d and at most %d", len(rests), r.asked(), tt.rounds, tt.most)
			}
			if tt.rounds == 0 {
				return
			}
			if c.Fetched != 1 || c.Failed != 200 || r.notTried() < 200-tt.most {
				t.Errorf("got %+v, and %d files that were not tried", c, r.notTried())
			}
			for i, x := range rests {
				least := 150
				if i == 0 { // the list may still be read
					least = 1
				}
				if x.Host != r.srv.URL || x.Files < least || x.Err == nil {
					t.Errorf("got %+v", x)
				}
			}
		})
	}
}

// TestHostRecovers: a host that has banned the client in the middle of a round, or that was down for
// a while, sends the other files in the next round.
func TestHostRecovers(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]faultserver.Fault{
		"403":   faultserver.Status(403, -1),
		"500":   faultserver.Status(500, -1),
		"429":   faultserver.Status(429, -1),
		"reset": faultserver.ResetFirst,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			text := r.put(200)
			var mu sync.Mutex
			served, banned := 0, false
			r.srv.Set(func(next http.Handler) http.Handler {
				refuse := fault(next)
				return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
					mu.Lock()
					if served++; served == 30 {
						banned = true
					}
					now := banned
					mu.Unlock()
					if now {
						refuse.ServeHTTP(w, q)
						return
					}
					next.ServeHTTP(w, q)
				})
			})
			rounds := 0
			c, err := r.run(t.Context(), text, func(o *Options) {
				o.OnRound = func(int, int, time.Duration) {
					rounds++
					mu.Lock()
					defer mu.Unlock()
					banned = false
				}
			})
			if err != nil || rounds != 1 || c.Fetched < 200-48-maxReady-maxRefusals || // those that were running when the ban began, too, at most 48 at once
				c.Fetched+c.Failed != 200 {
				t.Errorf("got %+v, %v after %d further rounds", c, err, rounds)
			}
			if strings.HasPrefix(name, "4") && name != "429" && c.Failed == 0 {
				t.Errorf("got %+v, want the refused files to fail", c)
			}
		})
	}
}

// TestForbiddenFiles: files that a host refuses, between others that it sends, do not make it rest.
func TestForbiddenFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	lines := strings.SplitAfter(r.put(100), "\n")
	var mixed strings.Builder
	for i, line := range lines[:100] {
		mixed.WriteString(line)
		if i%10 == 0 {
			fmt.Fprintf(&mixed, "%s/forbidden%d\n%s/forbidden%d-2\n", r.srv.URL, i, r.srv.URL, i)
		}
	}
	r.srv.Set(onPath("/forbidden", faultserver.Status(403, -1)))
	c, err := r.run(t.Context(), mixed.String(), func(o *Options) {
		o.Jobs = 4
		o.OnRest = func(x Rest) { t.Errorf("%+v", x) }
	})
	if err != nil || c.Fetched != 100 || r.notTried() > 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	r.check()
}
