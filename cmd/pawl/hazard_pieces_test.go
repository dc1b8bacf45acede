package main

import (
	"crypto/sha1"
	"fmt"
	"io"
	"math"
	"strings"

	"pawl/chunk"
	"pawl/downloader/faultserver"
)

// pieceHazards are Metalinks with digests of pieces, one of whose mirrors has a wrong byte.
var pieceHazards = []hazard{
	{name: "pieces: a wrong byte at the first mirror of a Metalink 4", run: func(tr *testRun) {
		replacesPiece(tr, 6<<20+123, 3<<20, metalinkTest{version: 4, whole: true})
	}},
	{name: "pieces: a wrong byte at the first mirror of a Metalink 3", run: func(tr *testRun) {
		replacesPiece(tr, 6<<20+123, 3<<20, metalinkTest{version: 3})
	}},
	{name: "pieces: the first byte is wrong at the first mirror", run: func(tr *testRun) {
		replacesPiece(tr, 6<<20, 0, metalinkTest{version: 4})
	}},
	{name: "pieces: a wrong byte at the first mirror, which has no ranges", run: func(tr *testRun) {
		replacesPiece(tr, 6<<20, 2<<20, metalinkTest{version: 4, whole: true}, faultserver.NoRanges)
	}},
	{name: "pieces: a wrong byte in a small file at the first mirror", run: func(tr *testRun) {
		replacesPiece(tr, 50_000, 30_000, metalinkTest{version: 4})
	}},
	{name: "pieces: each mirror has a wrong byte elsewhere", run: func(tr *testRun) {
		f, second := tr.serveFile(6<<20), secondMirror(tr)
		second.Put("f.bin", f)
		tr.srv.Set(faultserver.CorruptTimes(math.MaxInt64, 1<<20))
		second.Set(faultserver.CorruptTimes(math.MaxInt64, 5<<20))
		tr.writeList("list", metalinkTest{version: 4}.text(f, tr.fileURL(), second.URL+"/f.bin"))
		tr.runPawl("mirror", "list").wantDownloaded("f.bin", f)
	}},
	{name: "pieces: a wrong byte that arrives after pawl resume", run: func(tr *testRun) {
		f, second := tr.serveFile(6<<20), secondMirror(tr)
		second.Put("f.bin", f)
		tr.writeList("list", metalinkTest{version: 4}.text(f, tr.fileURL(), second.URL+"/f.bin"))
		second.Set(faultserver.Status(503, 0)) // so that only one server counts until the kill
		tr.killHalfway("mirror", "-x", "1", "list")
		second.Set()
		var missing int64
		for r := range tr.unfinished()[0].Held.Missing(chunk.Range{End: f.Size}) {
			missing = r.Off
		}
		tr.srv.Set(faultserver.CorruptTimes(math.MaxInt64, missing+300_000))
		o := tr.runPawl("resume", "-x", "1")
		o.wantDownloaded("f.bin", f)
		o.wantStderr(tr.fileURL())
	}},
	{name: "pieces: held bytes that change on the disk before pawl resume", run: func(tr *testRun) {
		f := tr.serveFile(6 << 20)
		tr.writeList("list", metalinkTest{version: 3}.text(f, tr.fileURL()))
		tr.killHalfway("mirror", "-x", "1", "list")
		tr.flipBit(tr.partPath(), 100_000)
		tr.runPawl("resume").wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "pieces: digests of another file", run: func(tr *testRun) {
		f := tr.serveFile(2 << 20)
		other := faultserver.NewFile(f.Size, 99)
		tr.writeList("list", metalinkTest{version: 4}.text(other, tr.fileURL()))
		o := tr.runPawl("mirror", "--rounds", "1", "list")
		o.wantFailure(32)
		if sent := tr.srv.Sent(); sent > 2*f.Size {
			tr.reportExcess("%d bytes were sent, want at most twice the size", sent)
		}
		tr.markMet()
	}},
}

// secondMirror starts a second server.
func secondMirror(tr *testRun) *faultserver.Server {
	s := faultserver.New()
	tr.Cleanup(s.Close)
	return s
}

// replacesPiece downloads a file of size bytes from two mirrors, the first of which has a wrong byte at
// off. The file must be right, cost one piece more, and pawl must name the mirror.
func replacesPiece(tr *testRun, size, off int64, m metalinkTest, faults ...faultserver.Fault) {
	f, second := tr.serveFile(size), secondMirror(tr)
	second.Put("f.bin", f)
	tr.srv.Set(append(faults, faultserver.CorruptTimes(math.MaxInt64, off))...)
	tr.writeList("list", m.text(f, tr.fileURL(), second.URL+"/f.bin"))
	// Of several connections to a server, some are sent bytes in vain when ranges are divided.
	o := tr.runPawl("mirror", "-x", "1", "list")
	o.wantDownloaded("f.bin", f)
	o.wantStderr(tr.fileURL())
	// The other server may have been asked for bytes that the first one sent meanwhile.
	if sent, most := tr.srv.Sent()+second.Sent(), size+min(size, pieceLength)+2<<20; sent > most {
		tr.reportExcess("%d bytes were sent, want at most %d", sent, most)
	}
}

// pieceLength is the length of the pieces of MirrorBrain.
const pieceLength = 256 << 10

// A metalinkTest is the shape of a Metalink.
type metalinkTest struct {
	version int
	whole   bool // with a digest of the whole file
}

// text returns the Metalink of f.bin, which has the bytes of f, in the shape of MirrorBrain.
func (m metalinkTest) text(f faultserver.File, urls ...string) string {
	var b strings.Builder
	hash := func(attributes string, r io.Reader) {
		h := sha1.New()
		io.Copy(h, r)
		fmt.Fprintf(&b, "<hash %s>%x</hash>\n", attributes, h.Sum(nil))
	}
	algorithm, head, verification, resources, end := "sha-1", "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">\n", "", "", "</file></metalink>"
	if m.version == 3 {
		algorithm, head, end = "sha1", "<metalink version=\"3.0\" xmlns=\"http://www.metalinker.org/\" type=\"dynamic\"><files>\n", "</resources></file></files></metalink>"
		verification, resources = "<verification>", "</verification><resources>"
	}
	fmt.Fprintf(&b, "%s<file name=\"f.bin\"><size>%d</size>%s\n", head, f.Size, verification)
	if m.whole {
		hash(fmt.Sprintf("type=%q", algorithm), io.NewSectionReader(f, 0, f.Size))
	}
	fmt.Fprintf(&b, "<pieces length=\"%d\" type=%q>\n", pieceLength, algorithm)
	for i := int64(0); i*pieceLength < f.Size; i++ {
		number := ""
		if m.version == 3 {
			number = fmt.Sprintf("piece=\"%d\"", i)
		}
		hash(number, io.NewSectionReader(f, i*pieceLength, min(pieceLength, f.Size-i*pieceLength)))
	}
	fmt.Fprintf(&b, "</pieces>%s\n", resources)
	for i, u := range urls {
		fmt.Fprintf(&b, "<url type=\"http\" location=\"de\" priority=\"%d\" preference=\"%d\">%s</url>\n", i+1, 100-i, u)
	}
	return b.String() + end
}
