package faultserver

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Slots lets as many requests be served at once as limit says when they come,
// and all others have the fault. Those do not count, as they do for MoreThan.
func Slots(limit func() int64, f Fault) Fault {
	var now atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if now.Add(1) > limit() {
				now.Add(-1)
				faulty.ServeHTTP(w, r)
				return
			}
			defer now.Add(-1)
			next.ServeHTTP(w, r)
		})
	}
}

// earlyBy is how much too early a request may come without counting as early,
// and how long after a refusal one may still come that was sent before it.
const earlyBy = 20 * time.Millisecond

// Later says how a Throttle refuses.
type Later struct {
	Status int
	First  int           // number, from 0, of the request that is refused first
	Wait   time.Duration // from then on, whole seconds; up to one more with Date
	Date   bool          // tell a date
	Ahead  time.Duration // of the server's clock
}

// A Throttle refuses one request and all further ones until some time later,
// which it tells in Retry-After, and counts those that come nevertheless.
type Throttle struct {
	Later
	mu    sync.Mutex
	n     int       // requests so far
	since time.Time // of the first refusal
	until time.Time // when requests are welcome again
	early int
}

// NewThrottle returns a Throttle that has seen no request.
func NewThrottle(l Later) *Throttle { return &Throttle{Later: l} }

// Early returns how many requests came too early.
func (t *Throttle) Early() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.early
}

// Fault is the Fault that t is.
func (t *Throttle) Fault(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		w.Header().Set("Date", httpDate(now.Add(t.Ahead)))
		if until := t.refuse(now); until.After(now) {
			met(r)
			w.Header().Set("Retry-After", t.field(until, now))
			http.Error(w, http.StatusText(t.Status), t.Status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse counts a request, and returns when it would be welcome.
func (t *Throttle) refuse(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.n == t.First:
		t.since, t.until = now, now.Add(t.Wait)
		if t.Date {
			t.until = now.Truncate(time.Second).Add(t.Wait + time.Second)
		}
	case now.After(t.since.Add(earlyBy)) && now.Before(t.until.Add(-earlyBy)):
		t.early++
	}
	t.n++
	if now.After(t.until.Add(-earlyBy)) {
		return now
	}
	return t.until
}

// field is the value of Retry-After.
func (t *Throttle) field(until, now time.Time) string {
	if t.Date {
		return httpDate(until.Add(t.Ahead))
	}
	seconds := (until.Sub(now) + time.Second - 1) / time.Second
	return strconv.Itoa(int(seconds))
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
