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

// latin1 is "café.bin" in ISO 8859-1, which is not UTF-8, and other the same but
// for one such byte. escapedLatin1 is how messages and JSON show it.
const latin1, other, escapedLatin1 = "caf\xe9.bin", "caf\xe8.bin", `caf\xe9.bin`

// namesBytes are hazards of TestHazards: names that are not UTF-8. They are bytes
// like any others: recorded and compared as they are, and escaped where they are shown.
var namesBytes = []hazard{
	bytesKilled("-o", latin1, "-o", latin1),
	bytesKilled("-d", "d\xe9p\xf4t/f.bin", "-d", "d\xe9p\xf4t"),
	bytesKilled("both, UTF-8 and not", "é\xe9/é\xe9.bin", "-d", "é\xe9", "-o", "é\xe9.bin"),
	bytesKilled("-o, a replacement character", "caf\ufffd.bin", "-o", "caf\ufffd.bin"),
	{name: "names: bytes, out= of a list, killed and run again", try: func(tr *trial) {
		tr.needsBytes()
		f := tr.serve(16 << 20)
		tr.met()
		list := tr.list(tr.url() + "\n  out=d\xe9/" + latin1 + "\n")
		tr.interrupt("mirror", list)
		o := tr.run("mirror", list)
		o.good("d\xe9/"+latin1, f)
		o.shows("", "resuming at")
		tr.holdsOnly("d\xe9/"+latin1, list)
		tr.srv.Reset()
		tr.run("mirror", list).good("d\xe9/"+latin1, f)
		if n := len(tr.srv.Requests()); n > 0 {
			tr.Errorf("%d requests for what is here", n)
		}
	}},
	{name: "names: bytes, a small file of a list, and another in its place", try: func(tr *trial) {
		tr.needsBytes()
		f := tr.serve(100 << 10)
		list := tr.list(tr.url() + "\n  out=" + latin1 + "\n" + tr.url() + "?2\n  out=" + other + "\n")
		tr.run("mirror", list).good(latin1, f)
		must(tr, os.WriteFile(filepath.Join(tr.dir, latin1), []byte("damaged"), 0o666))
		tr.run("mirror", list).good(latin1, f)
		tr.holdsOnly(latin1, other, list)
		must(tr, os.WriteFile(filepath.Join(tr.dir, list), []byte(tr.url()+"\n  out="+latin1+"\n"), 0o666))
		tr.run("mirror", "--prune", list).good(latin1, f)
		tr.holdsOnly(latin1, list)
		tr.met()
	}},
	{name: "names: bytes, two of one byte's difference, both killed", try: func(tr *trial) {
		tr.needsBytes()
		f := tr.serve(12 << 20)
		tr.met()
		tr.interrupt("-o", latin1, tr.url())
		tr.srv.Reset()
		tr.interrupt("-o", other, tr.url())
		tr.run("-o", other, tr.url()).good(other, f)
		tr.run("-o", latin1, tr.url()).good(latin1, f)
		tr.holdsOnly(latin1, other)
	}},
	{name: "names: bytes, two of one byte's difference in a list", try: func(tr *trial) {
		tr.needsBytes()
		f, g := tr.put("f", faultserver.NewFile(3<<20, 1)), tr.put("g", faultserver.NewFile(3<<20, 2))
		o := tr.run("mirror", tr.list(tr.srv.URL+"/f\n  out="+latin1+"\n"+tr.srv.URL+"/g\n  out="+other+"\n"))
		o.good(latin1, f)
		o.good(other, g)
		tr.met()
	}},
	{name: "names: bytes, --failed and back", try: func(tr *trial) {
		tr.needsBytes()
		list := tr.list(tr.url() + "\n  out=" + latin1 + "\n")
		tr.run("mirror", list, "--failed", "f\xe9")
		f := tr.serve(100 << 10)
		tr.run("mirror", "f\xe9").good(latin1, f)
		tr.met()
	}},
	{name: "names: bytes, list, resume and remove", try: func(tr *trial) {
		tr.needsBytes()
		f := tr.serve(12 << 20)
		tr.met()
		tr.interrupt("-o", latin1, tr.url())
		tr.interruptedAs(latin1)
		tr.run("resume", latin1).good(latin1, f)
		tr.run("remove", latin1).shows("", `pawl: "`+escapedLatin1+`" is forgotten`)
		tr.srv.Reset()
		tr.interrupt("-o", other, tr.url())
		tr.run("remove", "--files", other+".part")
		tr.holdsOnly(latin1)
	}},
	{name: "names: bytes, report, events and hooks", try: func(tr *trial) {
		tr.needsBytes()
		tr.serve(100 << 10)
		list := tr.list(tr.url() + "\n  out=" + latin1 + "\n" + tr.srv.URL + "/not\n  out=" + other + "\n")
		script := ""
		if runtime.GOOS != "windows" {
			script = `printf '%s %s' "$1" "$PAWL_FILE_PATH" >got; :`
		}
		o := tr.run("mirror", list, "--json", "--report", "r\xe9.json", "--on-complete", script)
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
				tr.Errorf("%s: a byte is lost in\n%s", name, text)
			}
		}
		path := filepath.Join(tr.dir, latin1)
		if got, _ := os.ReadFile(filepath.Join(tr.dir, "got")); script != "" && string(got) != path+" "+path {
			tr.Errorf("the hook got %q, want %q twice", got, path)
		}
		tr.met()
	}},
	{name: "names: bytes, a JSON line", try: func(tr *trial) {
		f := tr.serve(100 << 10)
		line := func(out string) string { return `{"url":"` + tr.url() + `","out":"` + out + "\"}\n" }
		o := tr.run("mirror", tr.list(line(latin1)+line(`\udce9.bin`)+line("caf\ufffd.bin")))
		if o.code != 2 || strings.Count(o.stderr, "pawl: error: ") != 2 {
			tr.Errorf("exit %d, want 2 for two lines", o.code)
		}
		tr.holdsOnly("caf\ufffd.bin", "list")
		if !isFile(filepath.Join(tr.dir, "caf\ufffd.bin"), f) {
			tr.Errorf("the good line is not here")
		}
		tr.met()
	}},
	bytesOfURLs("GBK, two of one byte's difference", "%B2%E2%CA%D4%CE%C4%BC%FE.zip", "%B2%E2%CA%D4%CE%C4%BC%FD.zip"),
	bytesOfURLs("Shift-JIS, trails that are forbidden", "%95%5C.zip", "%83%5C.zip", "%83%7C.zip", "%83_.zip"),
	bytesOfURLs("Latin-1, capital or not", "CAF%C9.bin", "caf%E9.bin"),
	bytesOfURLs("GBK, long", strings.Repeat("%B2%E2", 50)+"1.zip", strings.Repeat("%B2%E2", 50)+"2.zip"),
}

// bytesKilled is a hazard of a download of f.bin with args, which gets a name that
// is not UTF-8: killed, looked at, and run again.
func bytesKilled(what, name string, args ...string) hazard {
	return hazard{name: "names: bytes, " + what + ", killed and run again", try: func(tr *trial) {
		tr.needsBytes()
		f := tr.serve(12 << 20)
		tr.met()
		args := append(slices.Clone(args), tr.url())
		tr.interrupt(args...)
		tr.interruptedAs(name)
		o := tr.run(args...)
		o.good(name, f)
		o.shows(name+"\n", "resuming at")
		tr.holdsOnly(name)
	}}
}

// bytesOfURLs is a hazard of several files whose names in URLs are not UTF-8, asked
// for at once and then in a list: each gets a name of its own.
func bytesOfURLs(what string, escaped ...string) hazard {
	return hazard{name: "names: bytes, of URLs, " + what, try: func(tr *trial) {
		var asked []string
		var files []faultserver.File
		for i, name := range escaped {
			decoded, err := url.PathUnescape(name)
			must(tr, err)
			files = append(files, faultserver.NewFile(int64(100+i)<<10, uint64(i)))
			tr.srv.Put(decoded, files[i])
			asked = append(asked, tr.srv.URL+"/"+name)
		}
		for _, args := range [][]string{append([]string{"-d", "d"}, asked...), {"mirror", "-d", "d", tr.list(strings.Join(asked, "\n") + "\n")}} {
			must(tr, os.RemoveAll(filepath.Join(tr.dir, "d")))
			tr.run(args...)
			got, err := filepath.Glob(filepath.Join(tr.dir, "d", "*"))
			must(tr, err)
			if len(got) != len(escaped) {
				tr.Fatalf("there is %q, want %d files", got, len(escaped))
			}
			for i, name := range escaped {
				at := slices.IndexFunc(got, func(path string) bool { return isFile(path, files[i]) })
				if at < 0 {
					tr.Errorf("nothing has the content of %q", name)
				} else if base := filepath.Base(got[at]); base != name && len(name) <= 240 {
					tr.Errorf("got the name %q, want %q", base, name)
				}
			}
		}
		tr.met()
	}}
}

// needsBytes skips the hazard where a file system wants names to be UTF-8.
func (tr *trial) needsBytes() {
	tr.Helper()
	dir := tr.TempDir()
	err := os.WriteFile(filepath.Join(dir, latin1), nil, 0o666)
	got, _ := os.ReadDir(dir)
	if err != nil || len(got) != 1 || got[0].Name() != latin1 {
		tr.Skipf("names must be UTF-8 here: %v", err)
	}
}

// list writes a list for mirror and returns its name.
func (tr *trial) list(text string) string {
	tr.Helper()
	must(tr, os.WriteFile(filepath.Join(tr.dir, "list"), []byte(text), 0o666))
	return "list"
}

// interruptedAs checks that name has a part file, and that pawl list knows it.
func (tr *trial) interruptedAs(name string) {
	tr.Helper()
	tr.holdsOnly(name + ".part")
	shown := strings.NewReplacer("\xe9", `\xe9`, "é\xe9", `é\xe9`, "\xf4", `\xf4`).Replace(name)
	tr.run("list").shows(shown+"\n", "")
	quoted, _ := json.Marshal(filepath.Join(tr.dir, shown))
	tr.run("list", "--json").shows(`"path":`+string(quoted), "")
}

// shows checks what was told on both streams.
func (o outcome) shows(stdout, stderr string) {
	o.tr.Helper()
	if !strings.Contains(o.stdout, stdout) {
		o.tr.Errorf("stdout is %q, without %q", o.stdout, stdout)
	}
	if !strings.Contains(o.stderr, stderr) {
		o.tr.Errorf("stderr is %q, without %q", o.stderr, stderr)
	}
}

// holdsOnly checks that there are these files below the trial's directory, and no
// others but the program's own.
func (tr *trial) holdsOnly(want ...string) {
	tr.Helper()
	var got []string
	for _, path := range tr.tree() {
		rel, err := filepath.Rel(tr.dir, path)
		if info, statErr := os.Lstat(path); err == nil && statErr == nil && info.Mode().IsRegular() && filepath.IsLocal(rel) {
			got = append(got, filepath.ToSlash(rel))
		}
	}
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		tr.Errorf("there is %q, want %q", got, want)
	}
}
