package main

import (
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"pawl/downloader/faultserver"
)

// latin1 is "café.bin" in ISO 8859-1, which is not UTF-8. latin1Other differs from it in
// one such byte. escapedLatin1 is how messages and JSON show latin1.
const latin1, latin1Other, escapedLatin1 = "caf\xe9.bin", "caf\xe8.bin", `caf\xe9.bin`

// namesBytes are file names that are not UTF-8. pawl must record and compare their bytes
// unchanged, and escape them in messages and JSON.
var namesBytes = []hazard{
	nonUTF8Killed("-o", latin1, "-o", latin1),
	nonUTF8Killed("-d", "d\xe9p\xf4t/f.bin", "-d", "d\xe9p\xf4t"),
	nonUTF8Killed("mixed with UTF-8", "é\xe9/é\xe9.bin", "-d", "é\xe9", "-o", "é\xe9.bin"),
	nonUTF8Killed("-o with a replacement character", "caf\ufffd.bin", "-o", "caf\ufffd.bin"),
	{name: "names: not UTF-8, out= of a list, killed and run again", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		f := tr.serveFile(16 << 20)
		tr.markMet()
		list := tr.writeURLList(tr.fileURL() + "\n  out=d\xe9/" + latin1 + "\n")
		tr.killHalfway("mirror", list)
		o := tr.runPawl("mirror", list)
		o.wantDownloaded("d\xe9/"+latin1, f)
		o.wantOutput("", "resuming at")
		tr.wantOnlyFiles("d\xe9/"+latin1, list)
		tr.srv.Reset()
		tr.runPawl("mirror", list).wantDownloaded("d\xe9/"+latin1, f)
		if n := len(tr.srv.Requests()); n > 0 {
			tr.Errorf("%d requests for a finished file, want none", n)
		}
	}},
	{name: "names: not UTF-8, a small file of a list, damaged and dropped", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		f := tr.serveFile(100 << 10)
		list := tr.writeURLList(tr.fileURL() + "\n  out=" + latin1 + "\n" + tr.fileURL() + "?2\n  out=" + latin1Other + "\n")
		tr.runPawl("mirror", list).wantDownloaded(latin1, f)
		must(tr, os.WriteFile(filepath.Join(tr.dir, latin1), []byte("damaged"), 0o666))
		tr.runPawl("mirror", list).wantDownloaded(latin1, f)
		tr.wantOnlyFiles(latin1, latin1Other, list)
		must(tr, os.WriteFile(filepath.Join(tr.dir, list), []byte(tr.fileURL()+"\n  out="+latin1+"\n"), 0o666))
		tr.runPawl("mirror", "--prune", list).wantDownloaded(latin1, f)
		tr.wantOnlyFiles(latin1, list)
		tr.markMet()
	}},
	{name: "names: not UTF-8, two names that differ in one byte, both killed", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		f := tr.serveFile(12 << 20)
		tr.markMet()
		tr.killHalfway("-o", latin1, tr.fileURL())
		tr.srv.Reset()
		tr.killHalfway("-o", latin1Other, tr.fileURL())
		tr.runPawl("-o", latin1Other, tr.fileURL()).wantDownloaded(latin1Other, f)
		tr.runPawl("-o", latin1, tr.fileURL()).wantDownloaded(latin1, f)
		tr.wantOnlyFiles(latin1, latin1Other)
	}},
	{name: "names: not UTF-8, two names that differ in one byte, in a list", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		f, g := tr.putFile("f", faultserver.NewFile(3<<20, 1)), tr.putFile("g", faultserver.NewFile(3<<20, 2))
		o := tr.runPawl("mirror", tr.writeURLList(tr.srv.URL+"/f\n  out="+latin1+"\n"+tr.srv.URL+"/g\n  out="+latin1Other+"\n"))
		o.wantDownloaded(latin1, f)
		o.wantDownloaded(latin1Other, g)
		tr.markMet()
	}},
	{name: "names: not UTF-8, the list of --failed as input", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		list := tr.writeURLList(tr.fileURL() + "\n  out=" + latin1 + "\n")
		tr.runPawl("mirror", list, "--failed", "f\xe9")
		f := tr.serveFile(100 << 10)
		tr.runPawl("mirror", "f\xe9").wantDownloaded(latin1, f)
		tr.markMet()
	}},
	{name: "names: not UTF-8, list, resume and remove", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		f := tr.serveFile(12 << 20)
		tr.markMet()
		tr.killHalfway("-o", latin1, tr.fileURL())
		tr.wantUnfinished(latin1)
		tr.runPawl("resume", latin1).wantDownloaded(latin1, f)
		tr.runPawl("remove", latin1).wantOutput("", `pawl: "`+escapedLatin1+`" is forgotten`)
		tr.srv.Reset()
		tr.killHalfway("-o", latin1Other, tr.fileURL())
		tr.runPawl("remove", "--files", latin1Other+".part")
		tr.wantOnlyFiles(latin1)
	}},
	{name: "names: not UTF-8, report, events and hooks", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		tr.serveFile(100 << 10)
		list := tr.writeURLList(tr.fileURL() + "\n  out=" + latin1 + "\n" + tr.srv.URL + "/not\n  out=" + latin1Other + "\n")
		script := ""
		if runtime.GOOS != "windows" {
			script = `printf '%s %s' "$1" "$PAWL_FILE_PATH" >got; :`
		}
		o := tr.runPawl("mirror", list, "--json", "--report", "r\xe9.json", "--on-complete", script)
		report, err := os.ReadFile(filepath.Join(tr.dir, "r\xe9.json"))
		must(tr, err)
		for name, text := range map[string]string{"report": string(report), "events": o.stdout} {
			for _, base := range []string{escapedLatin1, `caf\xe8.bin`} {
				quoted, _ := json.Marshal(filepath.Join(tr.dir, base))
				if !strings.Contains(text, `"path":`+string(quoted)) {
					tr.Errorf("%s: no path %s in\n%s", name, quoted, text)
				}
			}
			if strings.Contains(text, "\ufffd") || strings.Contains(text, `\ufffd`) {
				tr.Errorf("%s: a byte was replaced by U+FFFD in\n%s", name, text)
			}
		}
		path := filepath.Join(tr.dir, latin1)
		if got, _ := os.ReadFile(filepath.Join(tr.dir, "got")); script != "" && string(got) != path+" "+path {
			tr.Errorf("the hook got %q, want %q twice", got, path)
		}
		tr.markMet()
	}},
	{name: "names: not UTF-8, a JSON line", run: func(tr *testRun) {
		f := tr.serveFile(100 << 10)
		line := func(out string) string { return `{"url":"` + tr.fileURL() + `","out":"` + out + "\"}\n" }
		o := tr.runPawl("mirror", tr.writeURLList(line(latin1)+line(`\udce9.bin`)+line("caf\ufffd.bin")))
		if o.code != 2 || strings.Count(o.stderr, "pawl: error: ") != 2 {
			tr.Errorf("exit %d, want 2 and an error for each of two lines", o.code)
		}
		tr.wantOnlyFiles("caf\ufffd.bin", "list")
		if !hasContent(filepath.Join(tr.dir, "caf\ufffd.bin"), f) {
			tr.Errorf("the file of the valid line does not have the served bytes")
		}
		tr.markMet()
	}},
	nonUTF8URLNames("GBK, two names that differ in one byte", "%B2%E2%CA%D4%CE%C4%BC%FE.zip", "%B2%E2%CA%D4%CE%C4%BC%FD.zip"),
	nonUTF8URLNames("Shift-JIS, forbidden trail bytes", "%95%5C.zip", "%83%5C.zip", "%83%7C.zip", "%83_.zip"),
	nonUTF8URLNames("Latin-1, upper and lower case", "CAF%C9.bin", "caf%E9.bin"),
	nonUTF8URLNames("GBK, long", strings.Repeat("%B2%E2", 50)+"1.zip", strings.Repeat("%B2%E2", 50)+"2.zip"),
}

// nonUTF8Killed returns a hazard in which args give f.bin a name that is not UTF-8. The
// download is killed, shown by pawl list, and completed by a second run.
func nonUTF8Killed(what, name string, args ...string) hazard {
	return hazard{name: "names: not UTF-8, " + what + ", killed and run again", run: func(tr *testRun) {
		tr.skipUnlessByteNames()
		f := tr.serveFile(12 << 20)
		tr.markMet()
		args := append(slices.Clone(args), tr.fileURL())
		tr.killHalfway(args...)
		tr.wantUnfinished(name)
		o := tr.runPawl(args...)
		o.wantDownloaded(name, f)
		o.wantOutput(name+"\n", "resuming at")
		tr.wantOnlyFiles(name)
	}}
}

// nonUTF8URLNames returns a hazard of several URLs whose names are not UTF-8, given on the
// command line and then in a list. Each file must get a name of its own, which must stay
// percent-encoded unless it is too long.
func nonUTF8URLNames(what string, escaped ...string) hazard {
	return hazard{name: "names: not UTF-8, in URLs, " + what, run: func(tr *testRun) {
		var asked []string
		var files []faultserver.File
		for i, name := range escaped {
			decoded, err := url.PathUnescape(name)
			must(tr, err)
			files = append(files, faultserver.NewFile(int64(100+i)<<10, uint64(i)))
			tr.srv.Put(decoded, files[i])
			asked = append(asked, tr.srv.URL+"/"+name)
		}
		for _, args := range [][]string{append([]string{"-d", "d"}, asked...), {"mirror", "-d", "d", tr.writeURLList(strings.Join(asked, "\n") + "\n")}} {
			must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
			tr.runPawl(args...)
			got, err := filepath.Glob(filepath.Join(tr.dir, "d", "*"))
			must(tr, err)
			if len(got) != len(escaped) {
				tr.Fatalf("got files %q, want %d", got, len(escaped))
			}
			for i, name := range escaped {
				at := slices.IndexFunc(got, func(path string) bool { return hasContent(path, files[i]) })
				if at < 0 {
					tr.Errorf("no file has the content of %q", name)
				} else if base := filepath.Base(got[at]); base != name && len(name) <= 240 {
					tr.Errorf("got the name %q, want %q", base, name)
				}
			}
		}
		tr.markMet()
	}}
}

// skipUnlessByteNames skips the hazard if the file system allows only UTF-8 names.
func (tr *testRun) skipUnlessByteNames() {
	tr.Helper()
	dir := tr.TempDir()
	err := os.WriteFile(filepath.Join(dir, latin1), nil, 0o666)
	got, _ := os.ReadDir(dir)
	if err != nil || len(got) != 1 || got[0].Name() != latin1 {
		tr.Skipf("the file system allows only UTF-8 names: %v", err)
	}
}

// writeURLList writes text to the file "list" and returns that name.
func (tr *testRun) writeURLList(text string) string {
	tr.Helper()
	must(tr, os.WriteFile(filepath.Join(tr.dir, "list"), []byte(text), 0o666))
	return "list"
}

// wantUnfinished checks that the part file of name is the only file, and that pawl list
// shows name, escaped.
func (tr *testRun) wantUnfinished(name string) {
	tr.Helper()
	tr.wantOnlyFiles(name + ".part")
	shown := strings.NewReplacer("\xe9", `\xe9`, "é\xe9", `é\xe9`, "\xf4", `\xf4`).Replace(name)
	tr.runPawl("list").wantOutput(shown+"\n", "")
	quoted, _ := json.Marshal(filepath.Join(tr.dir, shown))
	tr.runPawl("list", "--json").wantOutput(`"path":`+string(quoted), "")
}

// wantOutput checks that stdout and stderr contain these texts.
func (o runResult) wantOutput(stdout, stderr string) {
	o.tr.Helper()
	if !strings.Contains(o.stdout, stdout) {
		o.tr.Errorf("stdout: got %q, want it to contain %q", o.stdout, stdout)
	}
	if !strings.Contains(o.stderr, stderr) {
		o.tr.Errorf("stderr: got %q, want it to contain %q", o.stderr, stderr)
	}
}

// wantOnlyFiles checks that the directory contains exactly these files, apart from pawl's
// state.
func (tr *testRun) wantOnlyFiles(want ...string) {
	tr.Helper()
	var got []string
	for _, path := range tr.listTree() {
		rel, err := filepath.Rel(tr.dir, path)
		if info, statErr := os.Lstat(path); err == nil && statErr == nil && info.Mode().IsRegular() && filepath.IsLocal(rel) {
			got = append(got, filepath.ToSlash(rel))
		}
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		tr.Errorf("got files %q, want %q", got, want)
	}
}
