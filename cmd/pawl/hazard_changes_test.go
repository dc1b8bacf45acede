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

// changes are hazards of TestHazards: the remote file becomes another one, or
// only seems to.
var changes = slices.Concat(changesUnderWay, changesOnResume, changesOfBackends, changesOfRanges, changesToNoFile, changesOfFinished)

// version is a file of new content and the validators, which may be empty.
func (tr *trial) version(size int64, etag string, modified time.Time) faultserver.File {
	f := faultserver.NewFile(size, tr.rand.Uint64N(1<<40))
	f.ETag, f.Modified = etag, modified
	return f
}

var changesUnderWay = []hazard{
	{name: "changes: another version in mid-download", try: func(tr *trial) {
		tr.serve(16 << 20)
		var f faultserver.File
		o := tr.changing(func() { f = tr.serve(16 << 20) }, early())
		o.good("f.bin", f)
	}},
	{name: "changes: another version in mid-download, many connections", try: func(tr *trial) {
		tr.serve(24 << 20)
		var f faultserver.File
		o := tr.changing(func() { f = tr.serve(24 << 20) }, faultserver.ConnRate(2<<20))
		o.good("f.bin", f)
		if n := tr.srv.Peak(); n < 2 {
			tr.Errorf("%d connections", n)
		}
	}},
	{name: "changes: another version in mid-download, no validators", try: func(tr *trial) {
		tr.put("f.bin", tr.version(16<<20, "", never))
		var f faultserver.File
		o := tr.changing(func() { f = tr.put("f.bin", tr.version(16<<20, "", never)) }, early())
		o.good("f.bin", f)
	}},
	{name: "changes: three versions in mid-download", try: func(tr *trial) {
		tr.serve(16 << 20)
		third, pace := make(chan faultserver.File, 1), early()
		o := tr.changing(func() {
			tr.serve(16 << 20)
			tr.srv.Set(faultserver.CutAt(1<<20, func() { third <- tr.serve(12 << 20) }), pace)
		}, pace)
		select {
		case f := <-third:
			o.good("f.bin", f)
		default:
			tr.Errorf("there was no third version")
		}
	}},
}

// changed is a hazard of a change from one version to another between a kill
// and the next run, which must come to the new one.
func changed(name string, from, to func(*trial) faultserver.File, faults ...faultserver.Fault) hazard {
	return hazard{name: "changes: " + name, try: func(tr *trial) {
		tr.put("f.bin", from(tr))
		tr.killHolding(1 << 20)
		f := tr.put("f.bin", to(tr))
		tr.srv.Set(faults...)
		n := len(tr.srv.Requests())
		o := tr.run()
		o.good("f.bin", f)
		if !strings.Contains(o.stderr, "warning: f.bin: starting over") {
			tr.Errorf("the change was not told")
		}
		if len(faults) > 0 && tr.srv.FaultCount() == 0 {
			tr.Errorf("the fault of the server was not met")
		}
		tr.meets(n, "for a part", func(r faultserver.Request) bool { return r.Range != "bytes=0-" })
	}}
}

// sized returns what makes a file with the usual validators.
func sized(size int64) func(*trial) faultserver.File {
	return func(tr *trial) faultserver.File { return faultserver.NewFile(size, tr.rand.Uint64N(1<<40)) }
}

// tagged returns what makes a file of 12 MiB and the validators.
func tagged(etag string, modified time.Time) func(*trial) faultserver.File {
	return func(tr *trial) faultserver.File { return tr.version(12<<20, etag, modified) }
}

var (
	never      time.Time
	long, late = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC), time.Date(2024, 2, 29, 12, 0, 1, 0, time.UTC)
)

var changesOnResume = []hazard{
	changed("another version on resume", sized(12<<20), sized(12<<20)),
	changed("bigger on resume", sized(12<<20), sized(16<<20)),
	changed("bigger by a byte on resume", sized(12<<20), sized(12<<20+1)),
	changed("smaller on resume", sized(12<<20), sized(1<<20)),
	changed("empty on resume", sized(12<<20), sized(0)),
	changed("other Last-Modified on resume, no ETag", tagged("", long), tagged("", late)),
	changed("other ETag on resume, same Last-Modified", tagged(`"a"`, long), tagged(`"b"`, long)),
	changed("other weak ETag on resume", tagged(`W/"a"`, never), tagged(`W/"b"`, never)),
	changed("same weak ETag on resume, other content", tagged(`W/"a"`, never), tagged(`W/"a"`, never)),
	changed("validators gone on resume, other content", tagged(`"a"`, long), tagged("", never)),
	changed("no validators, other content on resume", tagged("", never), tagged("", never)),
	changed("If-Range ignored", sized(12<<20), sized(12<<20), faultserver.IgnoreIfRange),
	changed("If-Range ignored and validators gone", tagged(`"a"`, long), tagged("", never), faultserver.IgnoreIfRange),
	changed("ranges gone on resume, other content", sized(12<<20), sized(12<<20), faultserver.NoRanges),
	changed("ranges gone and no validators, other content", tagged("", never), tagged("", never), faultserver.NoRanges),
	{name: "changes: no validators, same content on resume", try: func(tr *trial) {
		f := tr.serve(32 << 20)
		tr.interruptUnder(faultserver.NoValidators)
		tr.run().good("f.bin", f)
		tr.overhead(1.3)
	}},
	{name: "changes: validators gone on resume, same content", try: func(tr *trial) {
		f := tr.serve(32 << 20)
		tr.interruptUnder()
		tr.srv.Set(faultserver.NoValidators)
		tr.run().good("f.bin", f)
		tr.overhead(1.3)
	}},
	sameAgain("weak ETag grown strong on resume", 1.3, `W/"a"`, `"a"`),
	sameAgain("other ETag on resume, same content", 2.1, `"a"`, `"b"`),
	{name: "changes: --on-change fail", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.interrupt()
		tr.serve(16 << 20)
		n := len(tr.srv.Requests())
		tr.run("--on-change", "fail", tr.url()).fails(17)
		tr.kept()
		tr.meets(n, "for the new version", func(r faultserver.Request) bool { return r.Status == 200 || r.Status == 206 })
		tr.put("f.bin", f)
		tr.run("--on-change", "fail", tr.url()).good("f.bin", f)
		tr.overhead(2.5) // the refused answer may have been large
	}},
	{name: "changes: --on-change fail in mid-download", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.changing(func() { tr.serve(16 << 20) }, early(), "--on-change", "fail", tr.url()).fails(17)
		tr.kept()
		tr.srv.Set()
		tr.put("f.bin", f)
		tr.run("--on-change", "fail", tr.url()).good("f.bin", f)
		tr.overhead(2.5)
	}},
}

// sameAgain is a hazard of an ETag that changes between a kill and the next run,
// and nothing else does.
func sameAgain(name string, most float64, from, to string) hazard {
	return hazard{name: "changes: " + name, try: func(tr *trial) {
		f := tr.put("f.bin", tr.version(32<<20, from, long))
		tr.interruptUnder()
		f.ETag = to
		tr.put("f.bin", f)
		n := len(tr.srv.Requests())
		tr.run().good("f.bin", f)
		tr.overhead(most)
		tr.meets(n, "beyond byte 0", beyondStart)
	}}
}

// backends is a hazard of machines that tell apart what is the same: pick gets
// a seed, the number of the request and the true Last-Modified. The hazard is
// tried in one go, or on top of a kill too.
func backends(name string, kill bool, pick func(seed uint64, n int, modified string) faultserver.Validators) hazard {
	return hazard{name: "changes: " + name, try: func(tr *trial) {
		f := tr.serve(16 << 20)
		seed, modified := tr.rand.Uint64(), f.Modified.Format("Mon, 02 Jan 2006 15:04:05 GMT")
		fault := faultserver.Backends(func(n int) faultserver.Validators { return pick(seed, n, modified) })
		if kill {
			tr.interruptUnder(fault)
		}
		tr.srv.Set(fault, faultserver.First(2, faultserver.Cut(3<<20)), faultserver.Rate(32<<20))
		tr.run().good("f.bin", f)
		tr.overhead(3)
		if len(tr.srv.Requests()) < 2 {
			tr.Errorf("no second machine was asked")
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
		i = n // so that it is met
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
	backends("alternating ETags", false, alternatingTags),
	backends("alternating ETags and a kill", true, alternatingTags),
	backends("alternating ETags and Last-Modified", false, alternatingAll),
	backends("alternating ETags and Last-Modified and a kill", true, alternatingAll),
	backends("random ETags of two machines", false, randomTags),
	backends("random ETags of two machines and a kill", true, randomTags),
	backends("a fresh ETag with each answer", false, freshTags),
	backends("a fresh ETag with each answer and a kill", true, freshTags),
	backends("a fresh ETag with each answer, nothing else", false, freshTagsAlone),
}

var changesOfRanges = []hazard{
	{name: "changes: ranges gone on resume", try: func(tr *trial) {
		f := tr.serve(12 << 20)
		tr.interrupt()
		tr.srv.Set(faultserver.NoRanges)
		tr.run().good("f.bin", f)
		tr.overhead(2)
	}},
	{name: "changes: ranges gone and no validators, same content", try: func(tr *trial) {
		f := tr.put("f.bin", tr.version(12<<20, "", never))
		tr.interrupt()
		tr.srv.Set(faultserver.NoRanges)
		tr.run().good("f.bin", f)
		tr.overhead(2.1)
	}},
	{name: "changes: ranges gone in mid-download", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		o := tr.changing(func() { tr.srv.Set(faultserver.NoRanges, faultserver.Rate(32<<20)) }, early())
		o.good("f.bin", f)
		tr.overhead(3)
	}},
}

// noFile is a hazard of an interrupted download that finds something else than
// the file: that must cost nothing of what is there.
func noFile(name string, code int, fault faultserver.Fault) hazard {
	return hazard{name: "changes: " + name, try: func(tr *trial) {
		f := tr.serve(32 << 20)
		tr.interruptUnder()
		tr.srv.Set(fault)
		tr.run().fails(code)
		tr.kept()
		tr.srv.Set()
		tr.run().good("f.bin", f)
		tr.overhead(1.5)
	}}
}

var changesToNoFile = []hazard{
	noFile("a login page on resume", 7, faultserver.LoginPage),
	noFile("a login page that calls itself a part of the file's start", 7, faultserver.LoginPart(false)),
	noFile("a login page that calls itself the part asked for", 7, faultserver.LoginPart(true)),
	noFile("deleted on resume", 8, faultserver.Status(404, -1)),
	noFile("deleted for good on resume", 8, faultserver.Status(410, -1)),
	{name: "changes: a redirect to a login page on resume", try: func(tr *trial) {
		f := tr.serve(32 << 20)
		tr.interruptUnder()
		tr.srv.Set(faultserver.Redirect("/f.bin", "/login"), faultserver.LoginPage)
		tr.run().fails(7)
		tr.kept()
		tr.srv.Set()
		tr.run().good("f.bin", f)
		tr.overhead(1.5)
	}},
	{name: "changes: a login page in mid-download", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.changing(func() { tr.srv.Set(faultserver.LoginPage) }, early()).fails(7)
		tr.kept()
		tr.srv.Set()
		tr.run().good("f.bin", f)
		tr.overhead(1.5)
	}},
}

// leaves checks that the run ended so, told why, and left f.bin as it was
// before, which is what look tells.
func (o outcome) leaves(code int, look func() string, before string) {
	tr := o.tr
	tr.Helper()
	if o.code != code {
		tr.Errorf("exit %d, want %d", o.code, code)
	}
	if !strings.Contains(o.stderr, "pawl: error: ") {
		tr.Errorf("no error was told")
	}
	if after := look(); after != before {
		tr.Errorf("f.bin was %s and is %s", before, after)
	}
}

// look tells what f.bin is: which file, how large, how old.
func (tr *trial) look() string {
	info, err := os.Lstat(filepath.Join(tr.dir, "f.bin"))
	if err != nil {
		return err.Error()
	}
	return fmt.Sprint(info.Mode(), info.Size(), info.ModTime())
}

// finishedThen is a hazard of a finished file for which the server then has a fault.
func finishedThen(name string, code int, fault faultserver.Fault) hazard {
	return hazard{name: "changes: " + name, try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Rate(40 << 20)) // without, what is in flight over loopback is much of it
		tr.run().good("f.bin", f)
		before := tr.look()
		tr.srv.Set(fault)
		tr.run().leaves(code, tr.look, before)
		tr.srv.Set()
		tr.run().good("f.bin", f)
		tr.overhead(1.2)
	}}
}

var changesOfFinished = []hazard{
	finishedThen("a login page when the file is finished", 7, faultserver.LoginPage),
	finishedThen("deleted when the file is finished", 8, faultserver.Status(404, -1)),
	{name: "changes: another version when the file is finished", try: func(tr *trial) {
		old := tr.serve(8 << 20)
		tr.run().good("f.bin", old)
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.At(3<<20, func() {
			if !isFile(filepath.Join(tr.dir, "f.bin"), old) {
				tr.Errorf("f.bin is not what it was while the new one arrives")
			}
		}))
		tr.run().good("f.bin", f)
	}},
	{name: "changes: the finished file was changed here", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.run().good("f.bin", f)
		path := filepath.Join(tr.dir, "f.bin")
		if err := os.WriteFile(path, []byte("mine now"), 0o666); err != nil {
			tr.Fatal(err)
		}
		delete(tr.versions, "f.bin") // it is none, and is to stay so
		before := tr.look()
		tr.run().leaves(13, tr.look, before)
		tr.met()
	}},
}
