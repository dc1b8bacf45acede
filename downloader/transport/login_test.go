package transport

import (
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"

	"pawl/downloader/credentials"
)

// A digestServer wants Digest authentication of the user "u" with the password "p". The count of each
// nonce must grow by one. It is not the code of package credentials, which it tests.
type digestServer struct {
	algorithm string // as it is sent
	qop       string
	uses      int    // requests until a nonce is stale; 0 for no limit
	fixed     bool   // all challenges have the same nonce
	next      bool   // each response names the next nonce
	unflagged bool   // a stale nonce is refused without a word
	also      string // another challenge in the same field

	mu     sync.Mutex
	nonces map[string]uint32 // counts so far
	asked  int               // requests without Digest
	basics int               // those with Basic
	served int
	issued int      // nonces
	wrong  []string // what must not happen
}

func (s *digestServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.nonces == nil {
		s.nonces = make(map[string]uint32)
	}
	fields, isDigest := strings.CutPrefix(r.Header.Get("Authorization"), "Digest ")
	if !isDigest {
		if r.Header.Get("Authorization") != "" {
			s.basics++
		}
		s.asked++
		s.challenge(w, "")
		return
	}
	p := credentials.ParseParams(fields)
	counted, known := s.nonces[p["nonce"]]
	if !known || s.uses > 0 && counted >= uint32(s.uses) {
		stale := ", stale=true"
		if s.unflagged {
			stale = ""
		}
		s.challenge(w, stale)
		return
	}
	if s.qop != "" && p["nc"] != fmt.Sprintf("%08x", counted+1) {
		s.wrong = append(s.wrong, fmt.Sprintf("count %s after %d", p["nc"], counted))
	}
	s.nonces[p["nonce"]] = counted + 1
	if p["response"] != s.response(p, r) {
		s.challenge(w, "")
		return
	}
	if s.next {
		delete(s.nonces, p["nonce"])
		w.Header().Set("Authentication-Info", fmt.Sprintf(`nextnonce="%s", qop=auth`, s.newNonce()))
	}
	s.served++
}

// response returns what the response of a request must be.
func (s *digestServer) response(p map[string]string, r *http.Request) string {
	h := func(parts ...string) string {
		text := []byte(strings.Join(parts, ":"))
		if strings.HasPrefix(s.algorithm, "SHA-256") {
			sum := sha256.Sum256(text)
			return hex.EncodeToString(sum[:])
		}
		sum := md5.Sum(text)
		return hex.EncodeToString(sum[:])
	}
	a1 := h("u", "a realm", "p")
	if strings.HasSuffix(s.algorithm, "-sess") {
		a1 = h(a1, p["nonce"], p["cnonce"])
	}
	a2 := h(r.Method, r.URL.RequestURI())
	if s.qop == "" {
		return h(a1, p["nonce"], a2)
	}
	return h(a1, p["nonce"], p["nc"], p["cnonce"], "auth", a2)
}

func (s *digestServer) newNonce() string {
	s.issued++
	nonce := fmt.Sprintf("n%d", s.issued)
	if s.fixed {
		nonce = "fixed"
	}
	if _, known := s.nonces[nonce]; !known {
		s.nonces[nonce] = 0
	}
	return nonce
}

func (s *digestServer) challenge(w http.ResponseWriter, stale string) {
	c := fmt.Sprintf(`Digest realm="a realm", nonce="%s"%s`, s.newNonce(), stale)
	if s.algorithm != "" {
		c += ", algorithm=" + s.algorithm
	}
	if s.qop != "" {
		c += fmt.Sprintf(`, qop="%s"`, s.qop)
	}
	w.Header().Set("Www-Authenticate", c+s.also)
	w.WriteHeader(http.StatusUnauthorized)
}

// get requests u with a login, and returns the status.
func get(t *testing.T, tr *Transport, u string, login *url.Userinfo) int {
	ctx := WithRequest(t.Context(), &RequestInfo{Login: login})
	resp, err := tr.Client(false).Do(newRequest(t, ctx, u))
	if err != nil {
		t.Error(err)
		return 0
	}
	drain(resp)
	return resp.StatusCode
}

// TestDigest: several connections at once get what they want, from servers of all kinds.
func TestDigest(t *testing.T) {
	for name, s := range map[string]*digestServer{
		"MD5":                          {qop: "auth"},
		"SHA-256":                      {algorithm: "SHA-256", qop: "auth, auth-int"},
		"MD5-sess":                     {algorithm: "MD5-sess", qop: "auth"},
		"SHA-256-sess":                 {algorithm: "SHA-256-sess", qop: "auth"},
		"without qop":                  {algorithm: "MD5"},
		"nonces for three requests":    {qop: "auth", uses: 3},
		"the same, and it says so not": {qop: "auth", uses: 3, unflagged: true},
		"nonces for one request":       {qop: "auth", next: true},
		"another scheme, too":          {qop: "auth", also: `, Negotiate`},
	} {
		t.Run(name, func(t *testing.T) {
			srv := httptest.NewServer(s)
			defer srv.Close()
			tr := newTestTransport(t, Options{})
			const conns, each = 4, 10
			var group sync.WaitGroup
			for i := range conns {
				group.Go(func() {
					for j := range each {
						if got := get(t, tr, fmt.Sprintf("%s/f,\"?a=%d&b=%d", srv.URL, i, j), url.UserPassword("u", "p")); got != 200 {
							t.Errorf("got status %d", got)
						}
					}
				})
			}
			group.Wait()
			if s.served != conns*each || len(s.wrong) > 0 {
				t.Errorf("got %d responses, want %d; wrong: %q", s.served, conns*each, s.wrong)
			}
			if s.asked > 2*conns || s.basics > conns {
				t.Errorf("%d requests without Digest, %d of them Basic; want at most two and one for each connection", s.asked, s.basics)
			}
		})
	}
}

// TestDigestFixedNonce: a server may send the same nonce to all; its counts go on.
func TestDigestFixedNonce(t *testing.T) {
	s := &digestServer{qop: "auth", fixed: true}
	srv := httptest.NewServer(s)
	defer srv.Close()
	tr := newTestTransport(t, Options{})
	for range 3 {
		for _, user := range []string{"u", "x"} { // x is refused
			if got, want := get(t, tr, srv.URL, url.UserPassword(user, "p")), map[string]int{"u": 200, "x": 401}[user]; got != want && user == "u" {
				t.Errorf("user %s: got %d, want %d", user, got, want)
			}
			s.mu.Lock()
			if user == "x" {
				s.nonces["fixed"], s.wrong = uint32(s.served), nil
			}
			s.mu.Unlock()
		}
	}
	if s.served != 3 || len(s.wrong) > 0 {
		t.Errorf("got %d responses; wrong: %q", s.served, s.wrong)
	}
}

// TestDigestWrong: a wrong password is tried once for each request, and a nonce that is always
// stale does not end in a loop.
func TestDigestWrong(t *testing.T) {
	count := 0
	s := &digestServer{qop: "auth"}
	stale := &digestServer{qop: "auth", fixed: true, uses: 1}
	for name, tt := range map[string]struct {
		s        *digestServer
		password string
		most     int
	}{"a wrong password": {s, "x", 2}, "always stale": {stale, "p", 2 + maxStale}} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			count++
			tt.s.ServeHTTP(w, r)
		}))
		tr := newTestTransport(t, Options{})
		get(t, tr, srv.URL, url.UserPassword("u", tt.password))
		count = 0
		if got := get(t, tr, srv.URL, url.UserPassword("u", tt.password)); got != 401 || count > tt.most {
			t.Errorf("%s: got %d after %d requests, want 401 after %d at most", name, got, count, tt.most)
		}
		srv.Close()
	}
}

// TestLoginBasic: Basic is sent unasked, and stays if the server offers it.
func TestLoginBasic(t *testing.T) {
	const right = "Basic dTpw"
	for _, offered := range []string{`Basic realm="r"`, "", `Digest realm="r", nonce="n", Basic realm="r"`, "NTLM"} {
		for password, want := range map[string]int{"p": 200, "x": 401} {
			requests := 0
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests++
				if r.Header.Get("Authorization") != right {
					w.Header().Set("Www-Authenticate", offered)
					w.WriteHeader(401)
				}
			}))
			tr := newTestTransport(t, Options{})
			for range 2 {
				if status := get(t, tr, srv.URL, url.UserPassword("u", password)); status != want {
					t.Errorf("%q: got status %d, want %d", offered, status, want)
				}
			}
			if requests != 2 {
				t.Errorf("%q: got %d requests, want 2", offered, requests)
			}
			srv.Close()
		}
	}
}

// TestLoginStaysAtOrigin: neither a login nor the cookies of the user follow a redirect to another
// origin, not even back from there; and they do follow one to another path.
func TestLoginStaysAtOrigin(t *testing.T) {
	type seen struct{ path, authorization, cookie string }
	var got []seen
	note := func(w http.ResponseWriter, r *http.Request) {
		got = append(got, seen{r.URL.Path, r.Header.Get("Authorization"), r.Header.Get("Cookie")})
	}
	var home *httptest.Server
	away := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(w, r)
		w.Header().Set("Www-Authenticate", `Digest realm="r", nonce="n"`)
		http.Redirect(w, r, home.URL+"/back", http.StatusFound)
	}))
	defer away.Close()
	home = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note(w, r)
		switch r.URL.Path {
		case "/a":
			http.Redirect(w, r, "/dir/b", http.StatusFound)
		case "/dir/b":
			http.Redirect(w, r, away.URL+"/away", http.StatusFound)
		}
	}))
	defer home.Close()
	info := &RequestInfo{Login: url.UserPassword("u", "p"), Cookies: func(u *url.URL) []*http.Cookie {
		return []*http.Cookie{{Name: "path", Value: u.Path}, {Name: "typed", Value: "no"}}
	}}
	req := newRequest(t, WithRequest(t.Context(), info), home.URL+"/a")
	req.Header.Set("Cookie", "typed=yes")
	tr := newTestTransport(t, Options{Insecure: true})
	resp, err := tr.Client(false).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	drain(resp)
	want := []seen{
		{"/a", "Basic dTpw", "typed=yes; path=/a"}, {"/dir/b", "Basic dTpw", "typed=yes; path=/dir/b"}, {"/away", "", ""}, {"/back", "", ""},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
