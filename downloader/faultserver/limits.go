package faultserver

import (
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// This file has the faults of servers that limit their clients.

// Slots serves up to limit() requests at a time and applies f to all others. limit is called
// for each request when it arrives, and may be called concurrently. Unlike with MoreThan,
// requests with the fault do not count as in progress.
func Slots(limit func() int64, f Fault) Fault {
	var active atomic.Int64
	return func(next http.Handler) http.Handler {
		faulty := f(next)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if active.Add(1) > limit() {
				active.Add(-1)
				faulty.ServeHTTP(w, r)
				return
			}
			defer active.Add(-1)
			next.ServeHTTP(w, r)
		})
	}
}

// earlyTolerance is the time by which a request may arrive too early without being counted,
// because clocks and timers are not exact. Requests that arrive within this time after the
// first refusal are not counted either, because they may have been sent before it. It is a
// guess: with less, a busy machine may count requests that were sent in time.
const earlyTolerance = 20 * time.Millisecond

// ThrottleOptions describe how a Throttle refuses requests.
type ThrottleOptions struct {
	// Status is the status of a refusal, for example 429 or 503.
	Status int
	// First is the number, from 0, of the first request that is refused.
	First int
	// Wait is the time after the first refusal during which requests are refused, in whole
	// seconds. It is up to one second longer if Date is set.
	Wait time.Duration
	// Date sends Retry-After as a date instead of a number of seconds.
	Date bool
	// Ahead is the time by which the clock of the server is ahead of the client's.
	Ahead time.Duration
}

// A Throttle refuses requests for a while. It states the remaining time in Retry-After, and
// counts the requests that arrive too early nevertheless.
type Throttle struct {
	ThrottleOptions
	mu        sync.Mutex // guards the fields below
	requests  int        // number of requests so far
	refusedAt time.Time  // time of the first refusal
	welcomeAt time.Time  // end of the refusals
	early     int        // number of requests that arrived too early
}

// NewThrottle returns a Throttle that has not seen a request yet.
func NewThrottle(o ThrottleOptions) *Throttle { return &Throttle{ThrottleOptions: o} }

// Early returns the number of requests that arrived before the time in Retry-After. A client
// that obeys Retry-After keeps it at 0.
func (t *Throttle) Early() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.early
}

// Fault is the Fault to be passed to Server.Set. The requests of all handlers that it wraps
// count together.
func (t *Throttle) Fault(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		now := time.Now()
		w.Header().Set("Date", httpDate(now.Add(t.Ahead)))
		if until := t.record(now); until.After(now) {
			countFault(r)
			w.Header().Set("Retry-After", t.retryAfter(until, now))
			http.Error(w, http.StatusText(t.Status), t.Status)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// record counts a request. It returns the end of the refusals, or now if the request is to be
// served.
func (t *Throttle) record(now time.Time) time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.requests == t.First:
		t.refusedAt, t.welcomeAt = now, now.Add(t.Wait)
		if t.Date {
			t.welcomeAt = now.Truncate(time.Second).Add(t.Wait + time.Second)
		}
	case now.After(t.refusedAt.Add(earlyTolerance)) && now.Before(t.welcomeAt.Add(-earlyTolerance)):
		t.early++
	}
	t.requests++
	if now.After(t.welcomeAt.Add(-earlyTolerance)) {
		return now
	}
	return t.welcomeAt
}

// retryAfter returns the value of the Retry-After field.
func (t *Throttle) retryAfter(until, now time.Time) string {
	if t.Date {
		return httpDate(until.Add(t.Ahead))
	}
	seconds := (until.Sub(now) + time.Second - 1) / time.Second
	return strconv.Itoa(int(seconds))
}

func httpDate(t time.Time) string { return t.UTC().Format(http.TimeFormat) }
