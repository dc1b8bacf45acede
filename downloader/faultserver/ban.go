package faultserver

import (
	"net/http"
	"sync"
	"time"
)

// A Ban resets all connections when more than Limit requests are in progress, and each further
// one for Time, as some servers and firewalls do. It must be used with New, not NewTLS. If Status is
// set, it refuses them with that status, and the open bodies go on.
type Ban struct {
	Limit  int
	Time   time.Duration
	Status int

	mu     sync.Mutex
	active int       // requests in progress since the last ban; guarded by mu
	bans   int       // guarded by mu
	end    time.Time // of the last ban; guarded by mu
}

// Count returns how many bans there were.
func (b *Ban) Count() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bans
}

// Fault is the Fault.
func (b *Ban) Fault(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		era, ok := b.enter()
		if !ok {
			countFault(r)
			if b.Status > 0 {
				http.Error(w, http.StatusText(b.Status), b.Status)
				return
			}
			reset(w)
		}
		defer b.leave(era)
		next.ServeHTTP(bodyWriter{w, func(p []byte) (int, error) {
			if b.Status == 0 && b.Count() != era {
				reset(w)
			}
			return w.Write(p)
		}}, r)
	})
}

// enter counts a request, and returns the number of bans before it. It returns false if the request
// falls into a ban, or causes one.
func (b *Ban) enter() (era int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if now.Before(b.end) {
		return 0, false
	}
	if b.active++; b.active > b.Limit {
		b.active, b.bans, b.end = 0, b.bans+1, now.Add(b.Time)
		return 0, false
	}
	return b.bans, true
}

// leave ends a request.
func (b *Ban) leave(era int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era == b.bans {
		b.active--
	}
}

// reset resets the connection (TCP RST) and ends the handler.
func reset(w http.ResponseWriter) {
	if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
		resetConn(conn)
	}
	panic(http.ErrAbortHandler)
}
