package aria2rpc

import (
	"sync"
	"time"
)

const (
	// rateStep is the least time between two samples, so that a client that polls often sees no noise.
	rateStep = time.Second
	// rateSamples is the number of samples that a rate is computed from. With rateStep it is aria2's window
	// of ten seconds.
	rateSamples = 10
	// rateLife is after how long without a call samples say nothing about the present.
	rateLife = time.Minute
)

// rates measures downloads between the calls of clients. Nothing is measured while nobody asks. Safe for
// concurrent use.
type rates struct {
	mu     sync.Mutex
	series map[string][]sample // oldest first; guarded by mu
	swept  time.Time           // when old series were removed; guarded by mu
}

// A sample is a number of bytes at a time.
type sample struct {
	at    time.Time
	bytes int64
}

// measure returns the bytes per second of a download or source that has received so many bytes. ok is false at the
// first call for it.
func (r *rates) measure(key string, received int64, now time.Time) (rate int64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sweep(now)
	s := r.series[key]
	if n := len(s); n > 0 && (received < s[n-1].bytes || now.Sub(s[n-1].at) > rateLife) {
		s = nil // another run
	}
	if n := len(s); n == 0 || now.Sub(s[n-1].at) >= rateStep {
		s = append(s, sample{now, received})
		if len(s) > rateSamples {
			s = s[1:]
		}
	}
	if r.series == nil {
		r.series = make(map[string][]sample)
	}
	r.series[key] = s
	elapsed := now.Sub(s[0].at)
	if elapsed < rateStep/2 {
		return 0, false
	}
	return int64(float64(received-s[0].bytes) / elapsed.Seconds()), true
}

// sweep removes series that nobody has asked for. The caller must hold mu.
func (r *rates) sweep(now time.Time) {
	if now.Sub(r.swept) < rateLife {
		return
	}
	r.swept = now
	for key, s := range r.series {
		if now.Sub(s[len(s)-1].at) > rateLife {
			delete(r.series, key)
		}
	}
}
