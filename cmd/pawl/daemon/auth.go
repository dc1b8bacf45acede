package daemon

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// sessionLife is how long a page stays open without a new one-time link. A guess.
	sessionLife = 30 * 24 * time.Hour
	// tokenLife is how long a one-time link may be opened: a browser must start meanwhile.
	tokenLife = time.Minute
	// maxTokens is the most links that are not opened yet; further ones replace the oldest. A guess.
	maxTokens = 16
)

// A keeper checks the secret, and the tokens and sessions that are derived from it.
type keeper struct {
	secret []byte
	secure bool // the session is for https only
	log    *sparseLog

	guesses slots
	mu      sync.Mutex
	tokens  []token // the oldest first; guarded by mu
}

// A token opens the page once.
type token struct {
	hash [sha256.Size]byte
	ends time.Time
}

func newKeeper(secret string, secure bool, log *sparseLog) *keeper {
	return &keeper{secret: []byte(secret), secure: secure, log: log, guesses: make(slots, maxGuesses)}
}

// isSecret reports whether given is the secret, in a time that does not depend on where they differ.
func (k *keeper) isSecret(given string) bool {
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256(k.secret)
	return len(k.secret) > 0 && subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// sign returns a code that cannot be made without the secret.
func (k *keeper) sign(text string) string {
	mac := hmac.New(sha256.New, k.secret)
	mac.Write([]byte(text))
	return hex.EncodeToString(mac.Sum(nil))
}

// cookieName returns the name of the session cookie. Browsers send a cookie to all ports of a host, so the
// name depends on the secret: the daemons of two users have their own.
func (k *keeper) cookieName() string { return "pawl-" + k.sign("cookie")[:8] }

// newSession returns the cookie of a page. It needs no memory here, and holds after a restart: it is the time
// of its end, signed.
func (k *keeper) newSession() *http.Cookie {
	ends := strconv.FormatInt(time.Now().Add(sessionLife).Unix(), 10)
	return &http.Cookie{
		Name: k.cookieName(), Value: ends + "." + k.sign("session "+ends), Path: apiPrefix + "/", MaxAge: int(sessionLife.Seconds()),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: k.secure,
	}
}

// isSession reports whether the value of a session cookie is valid.
func (k *keeper) isSession(value string) bool {
	ends, code, _ := strings.Cut(value, ".")
	t, err := strconv.ParseInt(ends, 10, 64)
	return err == nil && hmac.Equal([]byte(code), []byte(k.sign("session "+ends))) && time.Now().Before(time.Unix(t, 0))
}

// newToken returns the token of a one-time link.
func (k *keeper) newToken() string {
	text := rand.Text()
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens = append(k.tokens[max(0, len(k.tokens)+1-maxTokens):], token{sha256.Sum256([]byte(text)), time.Now().Add(tokenLife)})
	return text
}

// useToken reports whether a token is valid. It is not valid again.
func (k *keeper) useToken(text string) bool {
	hash := sha256.Sum256([]byte(text))
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, t := range k.tokens {
		if subtle.ConstantTimeCompare(t.hash[:], hash[:]) == 1 {
			k.tokens = append(k.tokens[:i:i], k.tokens[i+1:]...)
			return time.Now().Before(t.ends)
		}
	}
	return false
}

// delayWrongSecret waits after a wrong secret.
func (k *keeper) delayWrongSecret(ctx context.Context, r *http.Request) {
	k.log.refused(r, "wrong secret")
	release, ok := k.guesses.acquire()
	if !ok {
		return
	}
	defer release()
	select {
	case <-time.After(guessTime):
	case <-ctx.Done():
	}
}

// A visit has the facts about a request that its checks need.
type visit struct {
	conn *conn       // nil if unknown
	own  bool        // it comes from the server's own page, as Origin says
	once bool        // it is answered once, so that a second guess is none
	lost atomic.Bool // it had a wrong secret
}

// visitKey is the key of the visit in the context of a request.
type visitKey struct{}

func visitOf(r *http.Request) *visit {
	v, _ := r.Context().Value(visitKey{}).(*visit)
	if v == nil {
		v = &visit{}
	}
	return v
}

// bearer returns the secret in the header of r, and whether there is one.
func bearer(r *http.Request) (string, bool) {
	kind, value, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	return strings.TrimSpace(value), ok && strings.EqualFold(kind, "Bearer")
}

// hasSession reports whether r comes from a page with a session. Browsers add the cookie to requests of other
// ports of the same host, too, so the request must show that it is the page's own: by its Origin, by
// Sec-Fetch-Site, or, if it changes something, by X-Pawl, which no other origin can send.
func (k *keeper) hasSession(r *http.Request) bool {
	v := visitOf(r)
	switch site := r.Header.Get("Sec-Fetch-Site"); {
	case !v.own && r.Header.Get("Origin") != "", site != "" && site != "same-origin" && site != "none":
		return false
	case r.Method == http.MethodGet && isUpgrade(r):
		if !v.own { // browsers always send the Origin here
			return false
		}
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Header.Get("X-Pawl") != "1":
		return false
	}
	for _, c := range r.CookiesNamed(k.cookieName()) {
		if k.isSession(c.Value) {
			return true
		}
	}
	return false
}

// authorize reports whether r has the right secret: as token, or, if that is "", in its header or as a session.
func (k *keeper) authorize(ctx context.Context, r *http.Request, token string) bool {
	v := visitOf(r)
	if token == "" {
		given, ok := bearer(r)
		if !ok {
			return k.welcome(v, k.hasSession(r))
		}
		token = given
	}
	if v.once && v.lost.Load() {
		return false // a second guess in one request, as in system.multicall, is not even compared
	}
	if k.isSecret(token) {
		return k.welcome(v, true)
	}
	v.lost.Store(true)
	k.delayWrongSecret(ctx, r)
	return false
}

// welcome notes that the connection of a request is trusted, if ok is true.
func (k *keeper) welcome(v *visit, ok bool) bool {
	if ok && v.conn != nil {
		v.conn.trusted.Store(true)
	}
	return ok
}

// errUnauthorized is the answer without the right secret.
var errUnauthorized = &Error{Status: http.StatusUnauthorized, Code: "auth", Message: "unauthorized: send the secret as \"Authorization: Bearer SECRET\""}

// openPage answers a one-time link: it starts a session and leads to the page.
func (s *Server) openPage(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet { // HEAD must not use up the token
		refuseMethod(w, http.MethodGet)
		return
	}
	if !s.keeper.useToken(r.URL.Query().Get("token")) {
		s.keeper.delayWrongSecret(s.ctx, r)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintln(w, "This link is used up or too old. Open the page again with: pawl daemon --open")
		return
	}
	http.SetCookie(w, s.keeper.newSession())
	w.Header().Set("Location", "/")
	w.WriteHeader(http.StatusSeeOther)
}
