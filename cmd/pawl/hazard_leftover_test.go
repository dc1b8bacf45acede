package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"pawl/chunk"
	"pawl/downloader/faultserver"
)

// leftoverSize is the size of the file of which other programs have left a part, in bytes.
const leftoverSize = 6 << 20

// leftovers are partial files of other programs, which -c continues.
var leftovers = []hazard{
	{name: "leftover: a prefix at the target", run: continues("f.bin", 2500<<10)},
	{name: "leftover: a prefix at the -o name", run: continues("x.bin", 2500<<10, "-o", "x.bin")},
	{name: "leftover: a few bytes", run: continues("f.bin", 17)},
	{name: "leftover: all but a few bytes", run: continues("f.bin", leftoverSize-3)},
	{name: "leftover: all bytes", run: continues("f.bin", leftoverSize)},
	{name: "leftover: a prefix of Chrome", run: continues("f.bin.crdownload", 3<<20)},
	{name: "leftover: a prefix of Opera, with -d", run: continues("d/f.bin.opdownload", 3<<20, "-d", "d")},
	{name: "leftover: a part file without a record", run: continues("f.bin.part", 3<<20)},
	{name: "leftover: a prefix of Firefox, beside an empty file", run: func(tr *testRun) {
		tr.prefix("f.bin.part", 3<<20)
		tr.writeFile(tr.dir+"/f.bin", nil)
		tr.wantContinued(3<<20, "-c")
		tr.wantOnlyFiles("f.bin")
	}},
	{name: "leftover: a prefix of Firefox, with its salt in the name", run: func(tr *testRun) {
		tr.prefix("f.bin", 0)
		tr.prefix("f.Xy-1Zk3Q.bin.part", 3<<20)
		tr.wantContinued(3<<20, "-c")
		tr.wantOnlyFiles("f.bin")
	}},
	{name: "leftover: a prefix of Chrome, which does not tell the name", run: func(tr *testRun) {
		tr.prefix("Unconfirmed 123456.crdownload", 3<<20)
		tr.writeFile(tr.dir+"/Unconfirmed 1.crdownload", tr.randomBytes(1<<20)) // of another file
		tr.wantContinued(3<<20, "-c")
		tr.wantOnlyFiles("f.bin", "Unconfirmed 1.crdownload")
	}},
	{name: "leftover: a server without validators", run: func(tr *testRun) {
		tr.prefix("f.bin", 3<<20)
		tr.srv.Set(faultserver.NoValidators)
		tr.wantContinued(3<<20, "-c")
	}},
	{name: "leftover: a signed URL", run: func(tr *testRun) {
		f := tr.prefix("x.bin", 3<<20)
		tr.runPawl("-x", "1", "-c", "-o", "x.bin", tr.fileURL()+"?X-Amz-Signature=1").wantDownloaded("x.bin", f)
		tr.wantSentAtMost(3<<20 + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: several files at once", run: func(tr *testRun) {
		f := tr.prefix("f.bin", 3<<20)
		g := tr.putFile("g.bin", faultserver.NewFile(leftoverSize, 9))
		tr.prefixOf(g, "g.bin.crdownload", 4<<20)
		tr.runPawl("-x", "1", "-c", tr.fileURL(), tr.srv.URL+"/g.bin").wantExit(0)
		tr.wantFile("f.bin", f)
		tr.wantFile("g.bin", g)
		tr.wantSentAtMost(5<<20 + 2<<20)
		tr.wantOnlyFiles("f.bin", "g.bin")
		tr.markMet()
	}},
	{name: "leftover: a part file of many connections, whose record is lost", run: func(tr *testRun) {
		f := tr.serveFile(12 << 20)
		tr.killHalfway()
		held := tr.heldRanges()
		must(tr, os.RemoveAll(filepath.Join(tr.dir, "state")))
		tr.srv.Reset()
		tr.runPawl("-c", "-x", "1", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentAtMost(f.Size - held.Len() + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: an empty file", run: func(tr *testRun) {
		tr.prefix("f.bin", 0)
		tr.wantContinued(0, "-c")
	}},
	{name: "leftover: the server names the file", run: func(tr *testRun) {
		f := tr.putFile("g", faultserver.NewFile(leftoverSize, 5))
		tr.srv.Set(faultserver.SetHeader("Content-Disposition", `attachment; filename="named.bin"`))
		tr.prefixOf(f, "named.bin", 3<<20)
		tr.fileSize = leftoverSize
		tr.runPawl("-x", "1", "-c", tr.srv.URL+"/g").wantDownloaded("named.bin", f)
		tr.wantSentAtMost(3<<20 + 1<<20)
	}},
	{name: "leftover: a prefix of a file of a list", run: func(tr *testRun) {
		f := tr.prefix("d/f.bin", 3<<20)
		tr.writeList("list", tr.fileURL())
		tr.runPawl("mirror", "-x", "1", "-c", "list", "-d", "d").wantExit(0)
		tr.wantFile("d/f.bin", f)
		tr.wantSentAtMost(3<<20 + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: rows of zeros in the file itself", run: func(tr *testRun) {
		f := tr.serveBytesOf(zeroed(randomText(leftoverSize), chunk.Range{Off: 1 << 20, End: 2 << 20}, chunk.Range{Off: 2<<20 + 5000, End: 3<<20 - 1}))
		tr.writeFile(tr.dir+"/f.bin", f[:5<<20])
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantExit(0)
		tr.wantFileText("f.bin", string(f))
		tr.wantSentAtMost(1<<20 + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: holes of a program with several connections", run: func(tr *testRun) {
		f := tr.prefix("f.bin", leftoverSize)
		for i := range int64(4) { // axel writes its parts from their beginnings
			tr.zero("f.bin", chunk.Range{Off: i*(leftoverSize/4) + 900_001, End: (i + 1) * (leftoverSize / 4)})
		}
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentAtMost(leftoverSize - 4*900_001 + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: a hole of some bytes, before the next range", run: func(tr *testRun) {
		f := tr.prefix("f.bin", leftoverSize)
		tr.zero("f.bin", chunk.Range{Off: 3<<20 - 100, End: 3 << 20})
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentAtMost(1 << 20)
		tr.markMet()
	}},
	{name: "leftover: holes, long ones and one of some bytes", run: func(tr *testRun) {
		f := tr.prefix("f.bin", leftoverSize)
		tr.zero("f.bin", chunk.Range{Off: 2<<20 - 300_000, End: 2 << 20})
		tr.zero("f.bin", chunk.Range{Off: 3<<20 - 65, End: 3 << 20})
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentAtMost(2 << 20)
		tr.markMet()
	}},
	{name: "leftover: more holes than are compared", run: func(tr *testRun) {
		f := tr.prefix("f.bin", leftoverSize)
		for i := range int64(40) {
			tr.zero("f.bin", chunk.Range{Off: i*150_000 + 100_000 + i*7, End: i*150_000 + 100_000 + i*7 + 5000 + 100*i})
		}
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "leftover: zeros at the end, as after a power cut", run: func(tr *testRun) {
		f := tr.prefix("f.bin", 4<<20)
		tr.zero("f.bin", chunk.Range{Off: 3<<20 + 77, End: 4 << 20})
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentAtMost(3<<20 + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: a file of aria2, whose other pieces have other bytes", run: func(tr *testRun) {
		tr.prefix("f.bin", leftoverSize)
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize, 1<<20, 0b10110000), 0o666))
		tr.overwriteAt(tr.dir+"/f.bin", tr.randomBytes(1<<20), 1<<20)
		tr.overwriteAt(tr.dir+"/f.bin", tr.randomBytes(2<<20), 4<<20)
		tr.wantContinued(3<<20, "-c")
		tr.wantOnlyFiles("f.bin")
	}},
	{name: "leftover: a file of aria2, whose finished pieces are zeros", run: func(tr *testRun) {
		text := zeroed(randomText(leftoverSize), chunk.Range{Off: 1 << 20, End: 2 << 20})
		tr.serveBytesOf(text)
		tr.writeFile(tr.dir+"/f.bin", zeroed(text, chunk.Range{Off: 3 << 20, End: leftoverSize}))
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize, 1<<20, 0b11100000), 0o666))
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantExit(0)
		tr.wantFileText("f.bin", string(text))
		tr.wantSentAtMost(3<<20 + 1<<20)
		tr.wantOnlyFiles("f.bin")
		tr.markMet()
	}},
	{name: "leftover: a control file that was not written in time", run: func(tr *testRun) {
		f := tr.prefix("f.bin", leftoverSize)
		tr.zero("f.bin", chunk.Range{Off: 3<<20 + 16<<10, End: leftoverSize})
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize, 1<<20, 0), 0o666))
		tr.runPawl("-x", "1", "-c", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentAtMost(3<<20 + 1<<20)
		tr.markMet()
	}},
	{name: "leftover: the control file stays until the file is finished", run: func(tr *testRun) {
		f := tr.prefix("f.bin", 2<<20)
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize, 1<<20, 0b11000000), 0o666))
		tr.signalAt(1<<20, syscall.SIGKILL, "-c", tr.fileURL())
		if !exists(filepath.Join(tr.dir, "f.bin.aria2")) {
			tr.Error("the control file is gone, and the file is not finished")
		}
		tr.runPawl("resume").wantDownloaded("f.bin", f)
		tr.wantOnlyFiles("f.bin")
		tr.markMet()
	}},
	{name: "leftover: a control file of another file", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", 2<<20)
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize+1, 1<<20, 0b11000000), 0o666))
	})},
	{name: "leftover: a control file that is cut off", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", 2<<20)
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize, 1<<20, 0b11000000)[:30], 0o666))
	})},
	{name: "leftover: another file", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", 2<<20)
		tr.overwriteAt(tr.dir+"/f.bin", tr.randomBytes(2<<20), 0)
	})},
	{name: "leftover: a page appended to a prefix", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", 2<<20)
		tr.overwriteAt(tr.dir+"/f.bin", []byte(strings.Repeat("<p>502 Bad Gateway</p>", 50)), 2<<20-300)
	})},
	{name: "leftover: a larger file", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", leftoverSize)
		tr.overwriteAt(tr.dir+"/f.bin", []byte("x"), leftoverSize)
	})},
	{name: "leftover: a server without ranges", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", 2<<20)
		tr.srv.Set(faultserver.NoRanges)
	})},
	{name: "leftover: all bytes, with another digest", run: refusesLeftover(func(tr *testRun) {
		tr.prefix("f.bin", leftoverSize)
	}, "--checksum", "sha256:"+strings.Repeat("0", 64))},
	{name: "leftover: without -c", run: func(tr *testRun) {
		tr.prefix("f.bin", 2<<20)
		delete(tr.served, "f.bin") // what is there stays
		for _, args := range [][]string{{}, {"-o", "f.bin"}, {"-o", "f.bin", "--adopt"}} {
			same := tr.untouched(tr.dir + "/f.bin")
			o := tr.runPawl(append(args, tr.fileURL())...)
			o.wantRefusal(13)
			same()
			if !strings.Contains(o.stderr, "continue it with -c") || strings.Contains(o.stderr, "--overwrite") {
				tr.Errorf("%q: the hint is not -c", args)
			}
		}
		tr.markMet()
	}},
	{name: "leftover: not asked for, beside an empty file", run: func(tr *testRun) {
		f := tr.serveFile(leftoverSize)
		delete(tr.served, "f.bin")
		for _, part := range []string{"f.bin.part", "f.Xy-1Zk3Q.bin.part", "f.bin.crdownload", "f.bin.filepart"} {
			tr.writeFile(tr.dir+"/f.bin", nil)
			tr.prefixOf(f, part, 3<<20)
			same := tr.untouched(tr.dir + "/" + part)
			for _, args := range [][]string{{}, {"-o", "f.bin"}} {
				tr.srv.Reset()
				o := tr.runPawl(append(args, tr.fileURL())...)
				o.wantRefusal(13)
				if !strings.Contains(o.stderr, fmt.Sprintf("%q may be a part", filepath.Join(tr.dir, part))) || !strings.Contains(o.stderr, "continue it with -c") {
					tr.Errorf("%s, %q: the hint is not -c", part, args)
				}
				if n := len(tr.srv.Requests()); n > 0 && len(args) > 0 {
					tr.Errorf("%s, %q: %d requests", part, args, n)
				}
			}
			same()
			must(tr, os.Remove(filepath.Join(tr.dir, part)))
		}
		o := tr.runPawl(tr.fileURL())
		o.wantRefusal(13)
		if strings.Contains(o.stderr, " -c") {
			tr.Error("the hint is -c, although there is nothing to continue")
		}
		tr.markMet()
	}},
	{name: "leftover: not asked for, a file of aria2 with all of its size", run: func(tr *testRun) {
		tr.prefix("f.bin", leftoverSize)
		delete(tr.served, "f.bin")
		must(tr, os.WriteFile(filepath.Join(tr.dir, "f.bin.aria2"), ariaControl(leftoverSize, 1<<20, 0b11000000), 0o666))
		o := tr.runPawl(tr.fileURL())
		o.wantRefusal(13)
		if !strings.Contains(o.stderr, "continue it with -c") {
			tr.Error("the hint is not -c")
		}
		tr.markMet()
	}},
	{name: "leftover: not asked for, of Firefox or yt-dlp", run: suggestsContinuing("f.bin.part")},
	{name: "leftover: not asked for, of Firefox with its salt", run: suggestsContinuing("f.Xy-1Zk3Q.bin.part")},
	{name: "leftover: not asked for, of Chrome", run: suggestsContinuing("f.bin.crdownload")},
	{name: "leftover: not asked for, of WinSCP", run: suggestsContinuing("f.bin.filepart")},
	{name: "leftover: a file of another browser download is not in the way", run: func(tr *testRun) {
		tr.prefix("f.bin", 0)
		must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
		tr.writeFile(tr.dir+"/f.bin.crdownload", tr.randomBytes(1<<20))
		same := tr.untouched(tr.dir + "/f.bin.crdownload")
		tr.wantContinued(0, "-c")
		same()
	}},
	{name: "leftover: a wrong byte that no sample meets, with a digest", run: func(tr *testRun) {
		f := tr.prefix("f.bin", 3<<20)
		tr.flipBit(tr.dir+"/f.bin", 100_000)
		tr.runPawl("-x", "1", "-c", "--checksum", checksumOf(tr, f), tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "leftover: a prefix of a file that pawl had finished", run: func(tr *testRun) {
		f := tr.prefix("f.bin", 0)
		must(tr, os.Remove(filepath.Join(tr.dir, "f.bin")))
		tr.runPawl(tr.fileURL()).wantDownloaded("f.bin", f)
		tr.srv.Reset()
		tr.prefixOf(f, "f.bin", 3<<20)
		tr.wantContinued(3<<20, "-c")
	}},
}

// repairs are damaged files whose wrong pieces are fetched again. The server counts the bytes.
var repairs = []hazard{
	{name: "repair: three bytes of a finished file", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.runPawl().wantDownloaded("f.bin", f)
		for _, off := range []int64{1, 7<<20 + 5, f.Size - 1} {
			tr.flipBit(tr.dir+"/f.bin", off)
		}
		tr.wantWrong(0, 7<<20, 15<<20)
		tr.srv.Reset()
		tr.runPawl("verify", "-x", "1", "--repair", "f.bin").wantDownloaded("f.bin", f)
		tr.wantSentAtMost(3<<20 + 1)
		tr.markMet()
	}},
	{name: "repair: 1 MiB of an unfinished file", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway("-x", "1", tr.fileURL())
		held := tr.heldRanges()
		tr.zero("f.bin.part", chunk.Range{Off: 2<<20 + 300_000, End: 3<<20 + 300_000})
		tr.wantWrong(2<<20, 4<<20) // both pieces, as one range that ends at 4 MiB
		tr.srv.Reset()
		tr.runPawl("verify", "-x", "1", "--repair", "f.bin").wantDownloaded("f.bin", f)
		tr.wantSentAtMost(f.Size - held.Len() + 3<<20)
		tr.markMet()
	}},
	{name: "repair: the end of an unfinished file is cut off", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.killHalfway("-x", "1", tr.fileURL())
		held := tr.heldRanges()
		end := held.Prefix()
		must(tr, os.Truncate(tr.partPath(), end-1<<20))
		tr.srv.Reset()
		tr.runPawl("verify", "-x", "1", "--repair", "f.bin").wantDownloaded("f.bin", f)
		tr.wantSentAtMost(f.Size - end + 3<<20)
		tr.markMet()
	}},
}

// wantWrong checks that verify names pieces of f.bin by their first or last bytes.
func (tr *testRun) wantWrong(edges ...int64) {
	tr.Helper()
	o := tr.runPawl("verify", "f.bin")
	o.wantExit(32)
	_, ranges, _ := strings.Cut(o.stderr, "are wrong, in bytes")
	for _, edge := range edges {
		if !strings.Contains(ranges, fmt.Sprintf(" %d-", edge)) && !strings.Contains(ranges, fmt.Sprintf("-%d", edge-1)) {
			tr.Errorf("verify does not name a piece at %d", edge)
		}
	}
}

// continues returns the steps of a hazard in which another program has left a prefix of f.bin at path,
// and -c with these arguments continues it.
func continues(path string, n int64, args ...string) func(*testRun) {
	return func(tr *testRun) {
		tr.prefix(path, n)
		tr.wantContinued(n, append([]string{"-c"}, args...)...)
	}
}

// suggestsContinuing returns the steps of a hazard in which another program has left a prefix of f.bin at path,
// and a download without -c says once how to continue it, which works.
func suggestsContinuing(path string) func(*testRun) {
	return func(tr *testRun) {
		tr.prefix(path, 3<<20)
		tr.srv.Set(faultserver.CutAt(2<<20, func() { tr.srv.Set(faultserver.Status(http.StatusNotFound, 0)) }))
		o := tr.runPawl("-x", "1", tr.fileURL())
		if n := strings.Count(o.stderr, "pawl remove --files f.bin; pawl -c "+tr.fileURL()); n != 1 || !strings.Contains(o.stderr, path) {
			tr.Errorf("%d hints, want 1", n)
		}
		tr.srv.Set()
		tr.srv.Reset()
		tr.runPawl("remove", "--files", "f.bin").wantExit(0)
		tr.wantContinued(3<<20, "-c")
		tr.wantOnlyFiles("f.bin")
	}
}

// refusesLeftover returns the steps of a hazard in which -c must refuse what put has left, and not
// touch it.
func refusesLeftover(put func(*testRun), args ...string) func(*testRun) {
	return func(tr *testRun) {
		put(tr)
		delete(tr.served, "f.bin") // what is there stays
		same := tr.untouched(tr.dir + "/f.bin")
		o := tr.runPawl(append([]string{"-c", tr.fileURL()}, args...)...)
		o.wantRefusal(13)
		same()
		if exists(filepath.Join(tr.dir, "f.bin.part")) {
			tr.Error("f.bin.part exists")
		}
		tr.markMet()
	}
}

// prefix serves f.bin, and writes its first n bytes to path.
func (tr *testRun) prefix(path string, n int64) faultserver.File {
	tr.Helper()
	f := tr.serveFile(leftoverSize)
	tr.prefixOf(f, path, n)
	return f
}

func (tr *testRun) prefixOf(f faultserver.File, path string, n int64) {
	tr.Helper()
	b, err := io.ReadAll(io.NewSectionReader(f, 0, n))
	must(tr, err)
	path = filepath.Join(tr.dir, path)
	must(tr, os.MkdirAll(filepath.Dir(path), 0o777))
	must(tr, os.WriteFile(path, b, 0o666))
}

// wantContinued downloads f.bin, of which n bytes are here. At most 1 MiB of them may be fetched again.
func (tr *testRun) wantContinued(n int64, args ...string) {
	tr.Helper()
	tr.markMet()
	o := tr.runPawl(append(args, "-x", "1", tr.fileURL())...)
	name := "f.bin"
	for i, a := range args[:len(args)-1] {
		switch a {
		case "-o":
			name = args[i+1]
		case "-d":
			name = filepath.Join(args[i+1], name)
		}
	}
	o.wantDownloaded(name, tr.served["f.bin"][len(tr.served["f.bin"])-1])
	tr.wantSentAtMost(leftoverSize - n + 1<<20)
}

// serveBytesOf serves text as f.bin, with ranges, and returns it.
func (tr *testRun) serveBytesOf(text []byte) []byte {
	tr.srv.Set(func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(w, r, "f.bin", time.Time{}, bytes.NewReader(text))
		})
	})
	return text
}

// wantSentAtMost checks how many bytes the server has sent.
func (tr *testRun) wantSentAtMost(n int64) {
	tr.Helper()
	if got := tr.srv.Sent(); got > n {
		tr.reportExcess("the server sent %d bytes, want at most %d", got, n)
	}
}

// zero makes a range of a file zeros.
func (tr *testRun) zero(path string, r chunk.Range) {
	tr.overwriteAt(filepath.Join(tr.dir, path), make([]byte, r.Len()), r.Off)
}

// ariaControl returns a control file of aria2 with these finished pieces.
func ariaControl(size, piece int64, bits byte) []byte {
	b := append([]byte{0, 1}, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, uint32(piece))
	b = binary.BigEndian.AppendUint64(b, uint64(size))
	b = append(b, make([]byte, 8)...)
	b = binary.BigEndian.AppendUint32(b, 1)
	return append(b, bits, 0, 0, 0, 0)
}

// zeroed returns a copy of text in which these ranges are zeros.
func zeroed(text []byte, ranges ...chunk.Range) []byte {
	text = append([]byte(nil), text...)
	for _, r := range ranges {
		clear(text[r.Off:r.End])
	}
	return text
}

// randomText returns n bytes of which none is zero.
func randomText(n int64) []byte {
	b, _ := io.ReadAll(io.NewSectionReader(faultserver.NewFile(n, 3), 0, n))
	for i := range b {
		b[i] |= 1
	}
	return b
}
