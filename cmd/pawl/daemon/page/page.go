// Package page is the web page of pawl daemon: one HTML file, one stylesheet and one script, which
// speak the API of the daemon. They are embedded as they are; nothing is built or fetched from elsewhere.
//
// Names and errors come from servers, so the page must not trust them. The script makes text nodes of
// them and never markup, the Content-Security-Policy forbids everything but the three files and the API,
// and characters that would change the order or the look of other text are made visible.
package page

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"time"
)

//go:embed index.html pawl.css pawl.js
var files embed.FS

// A file is the embedded file with which Handler responds to a path.
type file struct {
	name, contentType string
}

// served has the files by path.
var served = map[string]file{
	"/":         {"index.html", "text/html; charset=utf-8"},
	"/pawl.css": {"pawl.css", "text/css; charset=utf-8"},
	"/pawl.js":  {"pawl.js", "text/javascript; charset=utf-8"},
}

// policy is the Content-Security-Policy of all answers. Trusted types make it an error of the script to
// use a text as markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Handler serves the files of the page at /, /pawl.css and /pawl.js. They contain no secret, so the handler
// asks for none: the page finds out from the API whether it is logged in. The page asks for the API at
// api/v1/ beside itself.
func Handler() http.Handler {
	mux := http.NewServeMux()
	for path, f := range served {
		data, err := files.ReadFile(f.name)
		if err != nil {
			panic(err) // it is embedded
		}
		etag := fmt.Sprintf("\"%x\"", sha256.Sum256(data))
		if path == "/" {
			path = "/{$}"
		}
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", f.contentType)
			w.Header().Set("ETag", etag)
			w.Header().Set("Cache-Control", "no-cache") // the next version of pawl has other files
			http.ServeContent(w, r, f.name, time.Time{}, bytes.NewReader(data))
		})
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		mux.ServeHTTP(w, r)
	})
}
