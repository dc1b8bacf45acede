package daemon

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// A sparseLog logs refused requests, at most one line per second, because anybody can send them.
type sparseLog struct {
	log *slog.Logger

	mu      sync.Mutex
	last    time.Time // when it has logged; guarded by mu
	skipped int       // refusals since then; guarded by mu
}

// refused logs why a request was refused.
func (l *sparseLog) refused(r *http.Request, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Sub(l.last) < time.Second {
		l.skipped++
		return
	}
	l.log.Warn("refused: "+why, "from", r.RemoteAddr, "host", short(r.Host), "origin", short(r.Header.Get("Origin")), "more", l.skipped)
	l.last, l.skipped = now, 0
}

// short returns the beginning of a text from elsewhere.
func short(text string) string {
	const most = 200 // a guess: names have at most 253 bytes
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}
