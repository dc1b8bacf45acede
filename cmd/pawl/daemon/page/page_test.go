package page

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
)

// maxSize is how many bytes the page may have together. A person who looks at it over a slow line from
// far away waits for all of them.
const maxSize = 60 << 10

func TestSize(t *testing.T) {
	total := 0
	for _, f := range served {
		data, err := files.ReadFile(f.name)
		if err != nil {
			t.Fatal(err)
		}
		total += len(data)
	}
	if total > maxSize {
		t.Errorf("the page has %d bytes, at most %d are allowed", total, maxSize)
	}
}

func TestHandler(t *testing.T) {
	for _, tt := range []struct {
		method, path string
		status       int
		contentType  string
		contains     string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8", "<title>pawl</title>"},
		{"GET", "/pawl.css", 200, "text/css; charset=utf-8", "prefers-color-scheme"},
		{"GET", "/pawl.js", 200, "text/javascript; charset=utf-8", "EventSource"},
		{"HEAD", "/", 200, "text/html; charset=utf-8", ""},
		{"GET", "/index.html", 404, "", ""},
		{"GET", "/page.go", 404, "", ""},
		{"GET", "/pawl.js/", 404, "", ""},
		{"POST", "/", 405, "", ""},
		{"DELETE", "/pawl.js", 405, "", ""},
	} {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest(tt.method, tt.path, nil))
		h := w.Header()
		if w.Code != tt.status || tt.contentType != "" && h.Get("Content-Type") != tt.contentType || !strings.Contains(w.Body.String(), tt.contains) {
			t.Errorf("%s %s: got status %d, type %q", tt.method, tt.path, w.Code, h.Get("Content-Type"))
		}
		for _, directive := range []string{
			"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
			"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'",
		} {
			if !strings.Contains(h.Get("Content-Security-Policy"), directive) {
				t.Errorf("%s %s: the policy %q lacks %q", tt.method, tt.path, h.Get("Content-Security-Policy"), directive)
			}
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s %s: got the headers %v", tt.method, tt.path, h)
		}
	}
}

// TestUnchanged checks that a browser that has the page does not receive it again.
func TestUnchanged(t *testing.T) {
	seen := make(map[string]string)
	for path := range served {
		w := httptest.NewRecorder()
		Handler().ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		etag := w.Header().Get("ETag")
		if !regexp.MustCompile(`^"[0-9a-f]{64}"$`).MatchString(etag) || seen[etag] != "" {
			t.Errorf("%s: got ETag %s, which %q has, too", path, etag, seen[etag])
		}
		seen[etag] = path
		r := httptest.NewRequest("GET", path, nil)
		r.Header.Set("If-None-Match", etag)
		w = httptest.NewRecorder()
		Handler().ServeHTTP(w, r)
		if w.Code != http.StatusNotModified || w.Body.Len() > 0 {
			t.Errorf("%s: got status %d and %d bytes, want 304 without any", path, w.Code, w.Body.Len())
		}
	}
}

// TestNoMarkup checks that nothing in the files makes markup or code of texts, and that they name no other host.
func TestNoMarkup(t *testing.T) {
	script, _ := files.ReadFile("pawl.js")
	bad := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setTimeout\(["'` + "`" + `]|javascript:`)
	if found := bad.FindString(string(script)); found != "" {
		t.Errorf("the script contains %s", found)
	}
	html, _ := files.ReadFile("index.html")
	if found := regexp.MustCompile(`(?i)\son[a-z]+=|\sstyle=|<style|<script>|<base`).FindString(string(html)); found != "" {
		t.Errorf("the page contains %s", found)
	}
	for _, f := range served {
		data, _ := files.ReadFile(f.name)
		for _, address := range regexp.MustCompile(`(?:src|href|url|import)[=( "']*(?:https?:)?//[^"'\s)]*`).FindAllString(string(data), -1) {
			t.Errorf("%s names another host: %s", f.name, address)
		}
	}
}
