package main

import (
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"pawl/downloader/faultserver"
)

// signature is a query with secrets in it, which a run must not tell people. Its slash would
// be taken for a directory by what shows only the last part of a name.
const signature = "?x=1&X-Amz-Signature=sig4711/more4711&access_token=tok4711"

// wantsSignature answers 403 to requests without the signature.
func wantsSignature(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if "?"+r.URL.RawQuery != signature {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// unshown is a hazard of a signed URL, however the run ends.
func unshown(name string, code int, args []string, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: a signature unshown, " + name, try: func(tr *trial) {
		tr.serve(9 << 20)
		tr.srv.Set(faults...)
		o := tr.run(append([]string{"-v", tr.url() + signature}, args...)...)
		if o.code != code {
			tr.Errorf("exit %d, want %d", o.code, code)
		}
		tr.run("list", "--all")
		tr.unshown()
		tr.met()
	}}
}

// unshown checks that no run has told the signature to people.
func (tr *trial) unshown() {
	tr.Helper()
	for _, o := range tr.outcomes {
		if strings.Contains(o.stderr, "4711") || strings.Contains(o.stdout, "4711") {
			tr.Errorf("pawl %q tells the signature:\n%s%s", o.args, o.stderr, o.stdout)
		}
	}
}

// private checks the modes of all below dir, which there must be n of at least.
func (tr *trial) private(dir string, n int) {
	tr.Helper()
	if runtime.GOOS == "windows" {
		return
	}
	err := filepath.WalkDir(filepath.Join(tr.dir, dir), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		n--
		if info, err := d.Info(); err == nil && info.Mode().Perm()&0o077 != 0 {
			tr.Errorf("%s has mode %v", path, info.Mode())
		}
		return nil
	})
	if err != nil || n > 0 {
		tr.Errorf("%d more files were to be there: %v", n, err)
	}
}

var linksShown = []hazard{
	unshown("done", 0, nil),
	unshown("404", 8, nil, faultserver.Status(404, -1)),
	unshown("503", 75, nil, faultserver.Status(503, -1)),
	unshown("ended early", 4, nil, faultserver.Cut(0)),
	unshown("a circle", 7, nil, faultserver.Redirect("/f.bin", "/f.bin"+signature)),
	unshown("a wrong digest", 32, []string{"--checksum", "sha256:" + strings.Repeat("0", 64)}),
	unshown("a mirror that is down", 0, []string{"--mirror", "http://127.0.0.1:1/f.bin" + signature}),
	{name: "links: a signature unshown, another URL has the target", try: func(tr *trial) {
		tr.serve(9 << 20)
		tr.run("-o", "f.bin", tr.url()+signature).exits(0)
		tr.run("-o", "f.bin", tr.url()).exits(13)
		tr.run("-o", "f.bin", tr.url()+signature, "ftp://h/"+signature, "h/"+signature).exits(2)
		tr.unshown()
		tr.met()
	}},
	{name: "links: a signature unshown, interrupted", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		if o := tr.signalAt(6<<20, syscall.SIGINT, tr.url()+signature); o.code != 130 {
			tr.Errorf("exit %d, want 130", o.code)
		}
		tr.srv.Set(wantsSignature)
		tr.run("resume").good("f.bin", f) // with the URL that is recorded
		tr.unshown()
		tr.met()
	}},
	{name: "links: a signature in full, for programs", try: func(tr *trial) {
		f := tr.serve(5000)
		os.WriteFile(filepath.Join(tr.dir, "report"), nil, 0o644)
		o := tr.run("--json", "--report", "report", tr.url()+signature)
		o.good("f.bin", f)
		report, _ := os.ReadFile(filepath.Join(tr.dir, "report"))
		for where, text := range map[string]string{"--json": o.stdout, "the report": string(report)} {
			if !strings.Contains(text, `"url":"`+tr.url()+signature+`"`) {
				tr.Errorf("%s has no URL that works:\n%s", where, text)
			}
		}
		tr.private("report", 1)
		tr.met()
	}},
	{name: "links: a signature unshown, in hooks", try: func(tr *trial) {
		f := tr.serve(5000)
		tr.env = append(tr.env, "PAWL_HEADER=X-Token: tok4711")
		tr.run("--on-complete", "env", tr.url()+signature).good("f.bin", f)
		tr.sees(tr.srv, "X-Token", "tok4711")
		tr.unshown()
		tr.met()
	}},
	{name: "links: a signature unshown, of a list", try: func(tr *trial) {
		tr.serve(5000)
		list := fmt.Sprintf("%s%s\nhttp://127.0.0.1:1/g.bin%s\nftp://h/%s\n", tr.url(), signature, signature, signature)
		tr.srv.Set(textAt("/list", newPage(list)))
		tr.run("mirror", "-v", "--rounds", "1", "--tries", "1", "--failed", "failed", tr.srv.URL+"/list"+signature).exits(4)
		tr.run("mirror", "-v", tr.srv.URL+"/no-list"+signature).exits(8)
		tr.unshown()
		tr.private("failed", 1)
		tr.private("state/pawl/lists", 2)
		failed, _ := os.ReadFile(filepath.Join(tr.dir, "failed"))
		if !strings.Contains(string(failed), "http://127.0.0.1:1/g.bin"+signature) {
			tr.Errorf("the list of what failed has no URL that works:\n%s", failed)
		}
		tr.met()
	}},
	{name: "links: an unfinished list below a state directory for all", try: func(tr *trial) {
		os.Mkdir(filepath.Join(tr.dir, "state"), 0o755)
		os.Chmod(filepath.Join(tr.dir, "state"), 0o755)
		os.MkdirAll(filepath.Join(tr.dir, "state", "pawl", "lists"), 0o755)
		tr.put("list", faultserver.NewFile(16<<20, 3))
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.signalAt(6<<20, syscall.SIGINT, "mirror", tr.srv.URL+"/list")
		tr.private("state/pawl/lists", 2)
		tr.met()
	}},
}
