package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pawl/downloader/faultserver"
)

// changes are remote files that are replaced by another version, or only seem to be.
// pawl must never mix bytes of two versions.
var changes = slices.Concat(changesUnderWay, changesOnResume, changesOfBackends, changesOfRanges, changesToNoFile, changesOfFinished)

// newVersion returns a file with new random bytes and these validators; "" and the zero
// time mean that the server sends none.
func (tr *testRun) newVersion(size int64, etag string, modified time.Time) faultserver.File {
	f := faultserver.NewFile(size, tr.rand.Uint64N(1<<40))
	f.ETag, f.Modified = etag, modified
	return f
}

var changesUnderWay = []hazard{
	{name: "changes: another version during the download", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		var f faultserver.File
		o := tr.runWithChange(func() { f = tr.serveFile(16 << 20) }, firstConnRate())
		o.wantDownloaded("f.bin", f)
	}},
	{name: "changes: another version during the download, many connections", run: func(tr *testRun) {
		tr.serveFile(24 << 20)
		var f faultserver.File
		o := tr.runWithChange(func() { f = tr.serveFile(24 << 20) }, faultserver.ConnRate(2<<20))
		o.wantDownloaded("f.bin", f)
		if n := tr.srv.Peak(); n < 2 {
			tr.Errorf("%d connections at once, want at least 2", n)
		}
	}},
	{name: "changes: another version during the download, no validators", run: func(tr *testRun) {
		tr.putFile("f.bin", tr.newVersion(16<<20, "", noTime))
		var f faultserver.File
		o := tr.runWithChange(func() { f = tr.putFile("f.bin", tr.newVersion(16<<20, "", noTime)) }, firstConnRate())
		o.wantDownloaded("f.bin", f)
	}},
	{name: "changes: three versions during the download", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		third, pace := make(chan faultserver.File, 1), firstConnRate()
		o := tr.runWithChange(func() {
			tr.serveFile(16 << 20)
			tr.srv.Set(faultserver.CutAt(1<<20, func() { third <- tr.serveFile(12 << 20) }), pace)
		}, pace, "-x", "2", tr.fileURL()) // so that a body of the second version reaches 1 MiB
		select {
		case f := <-third:
			o.wantDownloaded("f.bin", f)
		default:
			tr.Errorf("the third version was never served")
		}
	}},
}

// changedOnResume returns a hazard in which the file changes between a kill and the next
// run. That run must warn, start over and download the new version.
func changedOnResume(name string, from, to func(*testRun) faultserver.File, faults ...faultserver.Fault) hazard {
	return hazard{name: "changes: " + name, run: func(tr *testRun) {
		tr.putFile("f.bin", from(tr))
		tr.killOnceHeld(1 << 20)
		f := tr.putFile("f.bin", to(tr))
		tr.srv.Set(faults...)
		n := len(tr.srv.Requests())
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		if !strings.Contains(o.stderr, "warning: f.bin: starting over") {
			tr.Errorf("pawl did not warn of the change")
		}
		if len(faults) > 0 && tr.srv.FaultCount() == 0 {
			tr.Errorf("the fault of the server did not act")
		}
		tr.wantRequest(n, "for a part", func(r faultserver.Request) bool { return r.Range != "bytes=0-" })
	}}
}

// fileOfSize returns a constructor of files of a size with the default validators.
func fileOfSize(size int64) func(*testRun) faultserver.File {
	return func(tr *testRun) faultserver.File { return faultserver.NewFile(size, tr.rand.Uint64N(1<<40)) }
}

// fileWithValidators returns a constructor of files of 12 MiB with these validators.
func fileWithValidators(etag string, modified time.Time) func(*testRun) faultserver.File {
	return func(tr *testRun) faultserver.File { return tr.newVersion(12<<20, etag, modified) }
}

var (
	noTime                  time.Time
	modified, modifiedLater = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), time.Date(2024, 2, 29, 12, 0, 1, 0, time.UTC)
)

var changesOnResume = []hazard{
	changedOnResume("another version on resume", fileOfSize(12<<20), fileOfSize(12<<20)),
	changedOnResume("larger on resume", fileOfSize(12<<20), fileOfSize(16<<20)),
	changedOnResume("larger by one byte on resume", fileOfSize(12<<20), fileOfSize(12<<20+1)),
	changedOnResume("smaller on resume", fileOfSize(12<<20), fileOfSize(1<<20)),
	changedOnResume("empty on resume", fileOfSize(12<<20), fileOfSize(0)),
	changedOnResume("other Last-Modified on resume, no ETag", fileWithValidators("", modified), fileWithValidators("", modifiedLater)),
	changedOnResume("other ETag on resume, same Last-Modified", fileWithValidators(`"a"`, modified), fileWithValidators(`"b"`, modified)),
	changedOnResume("other weak ETag on resume", fileWithValidators(`W/"a"`, noTime), fileWithValidators(`W/"b"`, noTime)),
	changedOnResume("same weak ETag on resume, other content", fileWithValidators(`W/"a"`, noTime), fileWithValidators(`W/"a"`, noTime)),
	changedOnResume("validators gone on resume, other content", fileWithValidators(`"a"`, modified), fileWithValidators("", noTime)),
	changedOnResume("no validators, other content on resume", fileWithValidators("", noTime), fileWithValidators("", noTime)),
	changedOnResume("If-Range ignored", fileOfSize(12<<20), fileOfSize(12<<20), faultserver.IgnoreIfRange),
	changedOnResume("If-Range ignored and validators gone", fileWithValidators(`"a"`, modified), fileWithValidators("", noTime), faultserver.IgnoreIfRange),
	changedOnResume("ranges gone on resume, other content", fileOfSize(12<<20), fileOfSize(12<<20), faultserver.NoRanges),
	changedOnResume("ranges gone and no validators, other content", fileWithValidators("", noTime), fileWithValidators("", noTime), faultserver.NoRanges),
	{name: "changes: no validators, same content on resume", run: func(tr *testRun) {
		f := tr.serveFile(32 << 20)
		tr.killHalfwayUnder(faultserver.NoValidators)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "changes: validators gone on resume, same content", run: func(tr *testRun) {
		f := tr.serveFile(32 << 20)
		tr.killHalfwayUnder()
		tr.srv.Set(faultserver.NoValidators)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	newETagOnResume("weak ETag becomes strong on resume", 1.3, `W/"a"`, `"a"`),
	newETagOnResume("other ETag on resume, same content", 2.1, `"a"`, `"b"`),
	{name: "changes: --on-change fail", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway()
		tr.serveFile(16 << 20)
		n := len(tr.srv.Requests())
		tr.runPawl("--on-change", "fail", tr.fileURL()).wantFailure(17)
		tr.wantPartKept()
		tr.wantRequest(n, "for the new version", func(r faultserver.Request) bool { return r.Status == 200 || r.Status == 206 })
		tr.putFile("f.bin", f)
		tr.runPawl("--on-change", "fail", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.5) // much of the refused response may have been sent
	}},
	{name: "changes: --on-change fail during the download", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.runWithChange(func() { tr.serveFile(16 << 20) }, firstConnRate(), "--on-change", "fail", tr.fileURL()).wantFailure(17)
		tr.wantPartKept()
		tr.srv.Set()
		tr.putFile("f.bin", f)
		tr.runPawl("--on-change", "fail", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.5)
	}},
}

// newETagOnResume returns a hazard in which only the ETag changes between a kill and the
// next run, and the bytes stay the same. The server may send at most maxRatio
// times the size of the file.
func newETagOnResume(name string, maxRatio float64, from, to string) hazard {
	return hazard{name: "changes: " + name, run: func(tr *testRun) {
		f := tr.putFile("f.bin", tr.newVersion(32<<20, from, modified))
		tr.killHalfwayUnder()
		f.ETag = to
		tr.putFile("f.bin", f)
		n := len(tr.srv.Requests())
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(maxRatio)
		tr.wantRequest(n, "beyond byte 0", isLaterRange)
	}}
}

// inconsistentServers returns a hazard of load-balanced servers that send different
// validators for the same file. pick returns the validators for a request; it gets a seed,
// the number of the request and the true Last-Modified. With kill, the download is killed
// and resumed.
func inconsistentServers(name string, kill bool, pick func(seed uint64, n int, modified string) faultserver.Validators) hazard {
	return hazard{name: "changes: " + name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		seed, modified := tr.rand.Uint64(), f.Modified.Format("Mon, 02 Jan 2006 15:04:05 GMT")
		fault := faultserver.Backends(func(n int) faultserver.Validators { return pick(seed, n, modified) })
		if kill {
			tr.killHalfwayUnder(fault)
		}
		tr.srv.Set(fault, faultserver.First(2, faultserver.Cut(3<<20)), faultserver.Rate(32<<20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(3)
		if len(tr.srv.Requests()) < 2 {
			tr.Errorf("only one request was sent, so only one machine responded")
		}
	}}
}

func alternatingTags(_ uint64, n int, modified string) faultserver.Validators {
	return faultserver.Validators{ETag: fmt.Sprintf(`"machine-%d"`, n%2), LastModified: modified}
}

func alternatingAll(_ uint64, n int, _ string) faultserver.Validators {
	when := []string{"Thu, 29 Feb 2024 12:00:00 GMT", "Thu, 29 Feb 2024 12:00:07 GMT"}[n%2]
	return faultserver.Validators{ETag: fmt.Sprintf(`"machine-%d"`, n%2), LastModified: when}
}

func randomTags(seed uint64, n int, modified string) faultserver.Validators {
	i := rand.New(rand.NewPCG(seed, uint64(n))).IntN(2)
	if n < 2 {
		i = n // the first two requests must differ, or the hazard is not met
	}
	return faultserver.Validators{ETag: fmt.Sprintf(`"machine-%d"`, i), LastModified: modified}
}

func freshTags(seed uint64, n int, modified string) faultserver.Validators {
	return faultserver.Validators{ETag: fmt.Sprintf(`"%x-%d"`, seed, n), LastModified: modified}
}

func freshTagsAlone(seed uint64, n int, _ string) faultserver.Validators {
	return faultserver.Validators{ETag: fmt.Sprintf(`"%x-%d"`, seed, n)}
}

var changesOfBackends = []hazard{
	inconsistentServers("alternating ETags", false, alternatingTags),
	inconsistentServers("alternating ETags and a kill", true, alternatingTags),
	inconsistentServers("alternating ETags and Last-Modified", false, alternatingAll),
	inconsistentServers("alternating ETags and Last-Modified and a kill", true, alternatingAll),
	inconsistentServers("random ETags from two machines", false, randomTags),
	inconsistentServers("random ETags from two machines and a kill", true, randomTags),
	inconsistentServers("a new ETag with each response", false, freshTags),
	inconsistentServers("a new ETag with each response and a kill", true, freshTags),
	inconsistentServers("a new ETag with each response, no Last-Modified", false, freshTagsAlone),
}

var changesOfRanges = []hazard{
	{name: "changes: ranges gone on resume", run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		tr.killHalfway()
		tr.srv.Set(faultserver.NoRanges)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(2)
	}},
	{name: "changes: ranges gone and no validators, same content", run: func(tr *testRun) {
		f := tr.putFile("f.bin", tr.newVersion(12<<20, "", noTime))
		tr.killHalfway()
		tr.srv.Set(faultserver.NoRanges)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.4)
	}},
	{name: "changes: ranges gone during the download", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		o := tr.runWithChange(func() { tr.srv.Set(faultserver.NoRanges, faultserver.Rate(32<<20)) }, firstConnRate())
		o.wantDownloaded("f.bin", f)
		tr.wantSentRatio(3)
	}},
}

// otherThanFile returns a hazard in which a resumed download gets something else than the
// file, such as a login page. pawl must fail with the code and keep the held bytes.
func otherThanFile(name string, code int, fault faultserver.Fault) hazard {
	return hazard{name: "changes: " + name, run: func(tr *testRun) {
		f := tr.serveFile(32 << 20)
		tr.killHalfwayUnder()
		tr.srv.Set(fault)
		tr.runPawl().wantFailure(code)
		tr.wantPartKept()
		tr.srv.Set()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
	}}
}

var changesToNoFile = []hazard{
	otherThanFile("a login page on resume", 7, faultserver.LoginPage),
	otherThanFile("a login page labeled as the first range", 7, faultserver.LoginPart(false)),
	otherThanFile("a login page labeled as the requested range", 7, faultserver.LoginPart(true)),
	otherThanFile("deleted on resume", 8, faultserver.Status(404, -1)),
	otherThanFile("deleted permanently on resume", 8, faultserver.Status(410, -1)),
	{name: "changes: a redirect to a login page on resume", run: func(tr *testRun) {
		f := tr.serveFile(32 << 20)
		tr.killHalfwayUnder()
		tr.srv.Set(faultserver.Redirect("/f.bin", "/login"), faultserver.LoginPage)
		tr.runPawl().wantFailure(7)
		tr.wantPartKept()
		tr.srv.Set()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
	}},
	{name: "changes: a login page during the download", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.runWithChange(func() { tr.srv.Set(faultserver.LoginPage) }, firstConnRate()).wantFailure(7)
		tr.wantPartKept()
		tr.srv.Set()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.5)
	}},
}

// wantUnchanged checks that pawl failed with the code, printed an error, and left f.bin
// as it was: describe must still return before.
func (o runResult) wantUnchanged(code int, describe func() string, before string) {
	tr := o.tr
	tr.Helper()
	if o.code != code {
		tr.Errorf("exit %d, want %d", o.code, code)
	}
	if !strings.Contains(o.stderr, "pawl: error: ") {
		tr.Errorf("pawl printed no error")
	}
	if after := describe(); after != before {
		tr.Errorf("f.bin was %s and is %s", before, after)
	}
}

// describeTarget describes f.bin by its mode, size and modification time.
func (tr *testRun) describeTarget() string {
	info, err := os.Lstat(filepath.Join(tr.dir, "f.bin"))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.Mode(), info.Size(), info.ModTime())
}

// faultAfterFinish returns a hazard in which the server has a fault after the file is
// finished. A further run must fail with the code and leave the file as it is.
func faultAfterFinish(name string, code int, fault faultserver.Fault) hazard {
	return hazard{name: "changes: " + name, run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.runPawl("-x", "1", tr.fileURL()).wantDownloaded("f.bin", f) // no bytes are sent in vain
		before := tr.describeTarget()
		tr.srv.Set(fault)
		tr.runPawl().wantUnchanged(code, tr.describeTarget, before)
		tr.srv.Set()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}}
}

var changesOfFinished = []hazard{
	faultAfterFinish("a login page for a finished file", 7, faultserver.LoginPage),
	faultAfterFinish("a finished file deleted on the server", 8, faultserver.Status(404, -1)),
	{name: "changes: another version of a finished file", run: func(tr *testRun) {
		old := tr.serveFile(8 << 20)
		tr.runPawl().wantDownloaded("f.bin", old)
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.At(3<<20, func() {
			if !hasContent(filepath.Join(tr.dir, "f.bin"), old) {
				tr.Errorf("f.bin changed before the new version was complete")
			}
		}))
		tr.runPawl("-x", "1", tr.fileURL()).wantDownloaded("f.bin", f) // one body, which passes byte 3 MiB
	}},
	{name: "changes: a finished file modified locally", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		path := filepath.Join(tr.dir, "f.bin")
		if err := os.WriteFile(path, []byte("mine now"), 0o666); err != nil {
			tr.Fatal(err)
		}
		delete(tr.served, "f.bin") // f.bin is the user's and must stay
		before := tr.describeTarget()
		tr.runPawl().wantUnchanged(13, tr.describeTarget, before)
		tr.markMet()
	}},
}
