package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pawl/downloader/queue"
)

// TestDaemonMetalinks checks that the queue downloads the files that a Metalink names, for each way to add it, by its
// name or by its media type, and the Metalink itself if the user chooses another name for it.
func TestDaemonMetalinks(t *testing.T) {
	t.Parallel()
	r := newDaemonRig(t)
	url, f := r.put("payload.bin", 100_000, 1)
	document := fmt.Sprintf(`<?xml version="1.0"?><metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="named.bin"><url>%s</url></file></metalink>`, url)
	media := map[string]string{"/list.meta4": "text/plain", "/old.METALINK": "application/octet-stream", "/get": "application/metalink4+xml; charset=utf-8", "/three": "application/metalink+xml"}
	r.srv.Set(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if m, ok := media[q.URL.Path]; ok {
				w.Header().Set("Content-Type", m)
				w.Write([]byte(document))
				return
			}
			next.ServeHTTP(w, q)
		})
	})
	r.start()
	for i, path := range []string{"/list.meta4", "/old.METALINK?token=x.y", "/get?id=7", "/three"} {
		for _, add := range []func(dir string) string{
			func(dir string) string { return r.want("add", r.srv.URL+path, "-d", dir) },
			func(dir string) string { return r.addURI(r.srv.URL+path, map[string]string{"dir": dir}) },
			func(dir string) string {
				return r.addURI(r.srv.URL+path, map[string]string{"dir": dir, "out": "chosen.meta4"})
			},
		} {
			dir := filepath.Join(r.files(), fmt.Sprintf("%d-%d", i, len(r.srv.Requests())))
			task := r.await(add(dir), queue.Complete)
			if !task.List || task.Files == nil || task.Files.Here != 1 {
				t.Errorf("%s: list %t, files %+v", path, task.List, task.Files)
			}
			if entries, _ := os.ReadDir(dir); len(entries) != 1 || !hasContent(filepath.Join(dir, "named.bin"), f) {
				t.Errorf("%s: the directory has %v", path, entries)
			}
		}
	}
	for _, path := range []string{"/list.meta4", "/get"} {
		name := "itself" + strings.ReplaceAll(path, "/", "-") + ".xml"
		task := r.await(r.want("add", r.srv.URL+path, "-o", name), queue.Complete)
		if text, _ := os.ReadFile(filepath.Join(r.files(), name)); task.List || string(text) != document {
			t.Errorf("%s: list %t, %q", name, task.List, text)
		}
	}
}

// addURI adds a download by aria2's RPC, and returns its ID.
func (r *daemonRig) addURI(url string, options map[string]string) string {
	r.Helper()
	body, err := json.Marshal(map[string]any{"id": 1, "method": "aria2.addUri", "params": []any{"token:" + r.client.Secret, []string{url}, options}})
	if err != nil {
		r.Fatal(err)
	}
	res, err := http.Post(r.client.Address+"/jsonrpc", "application/json", strings.NewReader(string(body)))
	if err != nil {
		r.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Result string
		Error  any
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != nil {
		r.Fatalf("addUri: %v, %v", err, answer.Error)
	}
	return answer.Result
}
