package hosts

import (
	"sync"
	"time"
)

// minNews is how much longer a pause must become for PauseUntil to return true, so that users
// do not see the same pause again. Retry-After counts in whole seconds, so half of it has no
// effect, and double would hide a pause that is a second longer.
const minNews = time.Second

// pauses are the times until which a host must be left alone. Safe for concurrent use.
type pauses struct {
	mu      sync.Mutex
	all     time.Time // no request before
	opening time.Time // no further connection before
}

// PauseUntil lets no request to the host begin before t. It never shortens a pause. It reports
// whether the pause has become longer by a second at least.
func (p *pauses) PauseUntil(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	isNews := t.Sub(p.all) >= minNews
	if t.After(p.all) {
		p.all = t
	}
	return isNews
}

// PausedFor returns how long no request to the host may begin.
func (p *pauses) PausedFor(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.all.Sub(now))
}

// PauseOpening lets no further connection be opened before t. It never shortens a pause.
func (p *pauses) PauseOpening(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if t.After(p.opening) {
		p.opening = t
	}
}

// resumeOpening ends the pause of PauseOpening.
func (p *pauses) resumeOpening() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.opening = time.Time{}
}

// openingAt returns the end of the pause of PauseOpening, which may be past.
func (p *pauses) openingAt() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.opening
}

// isOver reports whether both pauses are.
func (p *pauses) isOver(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !now.Before(p.all) && !now.Before(p.opening)
}
