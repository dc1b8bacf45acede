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

// signedQuery is a query with secrets, which pawl must not print in messages. The slash is
// there because code that shows only the last element of a path would take it for a
// directory.
const signedQuery = "?x=1&X-Amz-Signature=sig4711/more4711&access_token=tok4711"

// wantsSignature responds with 403 to requests without the signature.
func wantsSignature(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if "?"+r.URL.RawQuery != signedQuery {
			http.Error(w, "no", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// signatureHidden returns a hazard of a signed URL, with a run that ends with the code.
func signatureHidden(name string, code int, args []string, faults ...faultserver.Fault) hazard {
	return hazard{name: "links: a signature is not shown, " + name, run: func(tr *testRun) {
		tr.serveFile(9 << 20)
		tr.srv.Set(faults...)
		o := tr.runPawl(append([]string{"-v", tr.fileURL() + signedQuery}, args...)...)
		if o.code != code {
			tr.Errorf("exit %d, want %d", o.code, code)
		}
		tr.runPawl("list", "--all")
		tr.wantNoSignature()
		tr.markMet()
	}}
}

// wantNoSignature checks that no run of pawl has printed the signature.
func (tr *testRun) wantNoSignature() {
	tr.Helper()
	for _, o := range tr.results {
		if strings.Contains(o.stderr, "4711") || strings.Contains(o.stdout, "4711") {
			tr.Errorf("pawl %q printed the signature:\n%s%s", o.args, o.stderr, o.stdout)
		}
	}
}

// wantPrivateTree checks that other users have no permission for dir and everything below
// it, and that these are at least n files and directories.
func (tr *testRun) wantPrivateTree(dir string, n int) {
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
			tr.Errorf("%s: got mode %v, want no permission for others", path, info.Mode())
		}
		return nil
	})
	if err != nil || n > 0 {
		tr.Errorf("%d files are missing below %s: %v", n, dir, err)
	}
}

var linksShown = []hazard{
	signatureHidden("success", 0, nil),
	signatureHidden("404", 8, nil, faultserver.Status(404, -1)),
	signatureHidden("503", 75, nil, faultserver.Status(503, -1)),
	signatureHidden("connection closed early", 4, nil, faultserver.Cut(0)),
	signatureHidden("a redirect loop", 7, nil, faultserver.Redirect("/f.bin", "/f.bin"+signedQuery)),
	signatureHidden("a wrong digest", 32, []string{"--checksum", "sha256:" + strings.Repeat("0", 64)}),
	signatureHidden("a mirror that is down", 0, []string{"--mirror", "http://127.0.0.1:1/f.bin" + signedQuery}),
	{name: "links: a signature is not shown, another URL owns the target", run: func(tr *testRun) {
		tr.serveFile(9 << 20)
		tr.runPawl("-o", "f.bin", tr.fileURL()+signedQuery).wantExit(0)
		tr.putFile("g.bin", faultserver.NewFile(9<<20, 3))
		tr.runPawl("-o", "f.bin", tr.srv.URL+"/g.bin"+signedQuery).wantExit(13)
		tr.runPawl("-o", "f.bin", tr.fileURL()+signedQuery, "ftp://h/"+signedQuery, "h/"+signedQuery).wantExit(2)
		tr.wantNoSignature()
		tr.markMet()
	}},
	{name: "links: a signature is not shown, interrupted", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		if o := tr.signalAt(6<<20, syscall.SIGINT, tr.fileURL()+signedQuery); o.code != 130 {
			tr.Errorf("exit %d, want 130", o.code)
		}
		tr.srv.Set(wantsSignature)
		tr.runPawl("resume").wantDownloaded("f.bin", f) // with the recorded URL
		tr.wantNoSignature()
		tr.markMet()
	}},
	{name: "links: a signature is shown in full to programs", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		os.WriteFile(filepath.Join(tr.dir, "report"), nil, 0o644)
		o := tr.runPawl("--json", "--report", "report", tr.fileURL()+signedQuery)
		o.wantDownloaded("f.bin", f)
		report, _ := os.ReadFile(filepath.Join(tr.dir, "report"))
		for where, text := range map[string]string{"--json": o.stdout, "the report": string(report)} {
			if !strings.Contains(text, `"url":"`+tr.fileURL()+signedQuery+`"`) {
				tr.Errorf("%s does not contain the full URL:\n%s", where, text)
			}
		}
		tr.wantPrivateTree("report", 1)
		tr.markMet()
	}},
	{name: "links: a signature is not shown, in hooks", run: func(tr *testRun) {
		f := tr.serveFile(5000)
		tr.env = append(tr.env, "PAWL_HEADER=X-Token: tok4711")
		tr.runPawl("--on-complete", "env", tr.fileURL()+signedQuery).wantDownloaded("f.bin", f)
		tr.wantHeader(tr.srv, "X-Token", "tok4711")
		tr.wantNoSignature()
		tr.markMet()
	}},
	{name: "links: a signature is not shown, in a list", run: func(tr *testRun) {
		tr.serveFile(5000)
		list := fmt.Sprintf("%s%s\nhttp://127.0.0.1:1/g.bin%s\nftp://h/%s\n", tr.fileURL(), signedQuery, signedQuery, signedQuery)
		tr.srv.Set(servePage("/list", newPage(list)))
		tr.runPawl("mirror", "-v", "--rounds", "1", "--tries", "1", "--failed", "failed", tr.srv.URL+"/list"+signedQuery).wantExit(4)
		tr.runPawl("mirror", "-v", tr.srv.URL+"/no-list"+signedQuery).wantExit(8)
		tr.wantNoSignature()
		tr.wantPrivateTree("failed", 1)
		tr.wantPrivateTree("state/pawl/lists", 2)
		failed, _ := os.ReadFile(filepath.Join(tr.dir, "failed"))
		if !strings.Contains(string(failed), "http://127.0.0.1:1/g.bin"+signedQuery) {
			tr.Errorf("the list of --failed does not contain the full URL:\n%s", failed)
		}
		tr.markMet()
	}},
	{name: "links: an unfinished list in a state directory that all may read", run: func(tr *testRun) {
		os.Mkdir(filepath.Join(tr.dir, "state"), 0o755)
		os.Chmod(filepath.Join(tr.dir, "state"), 0o755)
		os.MkdirAll(filepath.Join(tr.dir, "state", "pawl", "lists"), 0o755)
		text := strings.Repeat("http://127.0.0.1:1/g.bin\n", 16<<20/25)
		tr.srv.Set(faultserver.Rate(32<<20), serveTexts(map[string]string{"list": text}))
		tr.signalAt(6<<20, syscall.SIGINT, "mirror", tr.srv.URL+"/list")
		tr.wantPrivateTree("state/pawl/lists", 2)
		tr.markMet()
	}},
}
