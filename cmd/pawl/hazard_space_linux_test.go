package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// space are servers that announce a file as large as the disk, and --min-free.
var space = []hazard{
	claimsDisk("one byte", 1, nil),
	claimsDisk("one megabyte", 1<<20, nil),
	claimsDisk("no byte", 0, nil),
	claimsDisk("one byte, and a signal", 1, func(r *pawlProcess) { r.signalAndWait(syscall.SIGTERM) }),
	{name: "disks: the space of a killed download is released", run: func(tr *testRun) {
		f := tr.serveFile(128 << 20)
		tr.killOnceHeld(24 << 20)
		tr.srv.Set(faultserver.Status(404, 0))
		tr.runPawl().wantFailure(8)
		if n, most := tr.allocatedBytes(), tr.recordedBytes()+8<<20; n > most+most {
			tr.Errorf("%d bytes are allocated, want at most %d", n, most+most)
		}
		tr.srv.Set(faultserver.Rate(64 << 20))
		tr.signalAt(8<<20, syscall.SIGTERM)
		if n, held := tr.allocatedBytes(), tr.recordedBytes(); n > held+2<<20 {
			tr.Errorf("%d bytes are allocated, %d are held", n, held)
		}
		tr.srv.Set()
		sent := tr.srv.Sent()
		o := tr.runPawl()
		o.wantDownloaded("f.bin", f)
		if sent = tr.srv.Sent() - sent; sent > 112<<20 {
			tr.reportExcess("%d bytes were sent, want at most 112 MiB, because the held bytes are good", sent)
		}
		tr.markMet()
	}},
	{name: "disks: --min-free, the file would leave less", run: func(tr *testRun) {
		tr.useOwnDisk("size=32m")
		f := tr.serveFile(24 << 20)
		o := tr.runPawl("--min-free", "16M", tr.fileURL())
		o.wantRefusal(9)
		o.wantFailure(9)
		o.wantStderrAny("must stay free")
		tr.wantNoPartFiles()
		if sent := tr.srv.Sent(); sent > 5<<20 {
			tr.reportExcess("%d bytes were sent before pawl reported it, want at most 5 MiB", sent)
		}
		tr.runPawl("--min-free", "4M", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: --min-free, already less", run: func(tr *testRun) {
		tr.useOwnDisk("size=8m")
		tr.serveFile(1 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.runPawl("--min-free", "16M", tr.fileURL()).wantFailure(9)
		tr.wantNoPartFiles()
		small := tr.writeURLList(tr.fileURL() + "\n")
		tr.putFile("f.bin", faultserver.NewFile(1000, 3))
		tr.srv.Set()
		tr.runPawl("mirror", "--min-free", "16M", "-d", ".", small).wantExit(9)
		tr.wantNoPartFiles()
		tr.runPawl("mirror", "--min-free", "1M", "-d", ".", small).wantExit(0)
		tr.markMet()
	}},
	{name: "disks: --min-free, unknown length", run: func(tr *testRun) {
		tr.useOwnDisk("size=48m")
		f := tr.serveFile(32 << 20)
		tr.srv.Set(faultserver.NoLength, faultserver.Rate(32<<20))
		tr.runPawl("--min-free", "24M", tr.fileURL()).wantDiskFull()
		if n := tr.allocatedBytes(); n < 16<<20 || n > 28<<20 {
			tr.Errorf("%d bytes are kept, want 16 to 28 MiB", n)
		}
		tr.srv.Set()
		tr.runPawl("--min-free", "8M", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: --min-free, others fill the disk during the run", run: func(tr *testRun) {
		tr.useOwnDisk("size=48m")
		f := tr.serveFile(24 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runAndDoPaused(6<<20, func(*pawlProcess) { tr.writeFile(filepath.Join(tr.dir, "mine"), make([]byte, 32<<20)) }, "--min-free", "16M", tr.fileURL()).wantDiskFull()
		tr.srv.Set()
		must(tr, os.Remove(filepath.Join(tr.dir, "mine")))
		tr.runPawl("resume", "--min-free", "16M").wantExit(0)
		tr.wantFile("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
}

// allocatedBytes returns how many bytes on disk are allocated to the part file.
func (tr *testRun) allocatedBytes() int64 {
	tr.Helper()
	info, err := os.Lstat(tr.partPath())
	must(tr, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// claimsDisk returns a hazard of a server that announces a file of 98 % of the free space,
// sends a few bytes and closes the connection. If end is not nil the server stays silent
// instead, and end is called once there is a part file. When pawl has ended, the space on disk
// must be free again.
func claimsDisk(name string, sends int, end func(*pawlProcess)) hazard {
	return hazard{name: "disks: a server announces most of the disk and sends " + name, run: func(tr *testRun) {
		var st syscall.Statfs_t
		must(tr, syscall.Statfs(tr.dir, &st))
		size := int64(st.Bavail) * st.Bsize / 100 * 98
		sent := make(chan struct{}, 100)
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Header().Set("Content-Type", "application/octet-stream")
			w.WriteHeader(200)
			w.Write(make([]byte, sends))
			w.(http.Flusher).Flush()
			sent <- struct{}{}
			if end != nil {
				<-r.Context().Done()
			}
			panic(http.ErrAbortHandler)
		}))
		defer srv.Close()
		r := tr.startPawl("--tries", "2", "--stall-timeout", "10m", srv.URL+"/f.bin") // the silence must not end the download before end does
		if end != nil {
			go func() {
				<-sent
				for !exists(tr.partPath()) && r.sleep(10*time.Millisecond) {
				}
				r.sleep(300 * time.Millisecond) // for the first byte
				end(r)
			}()
		}
		if o := r.wait(); o.code == 0 {
			tr.Errorf("exit 0, want a failure")
		}
		if exists(tr.partPath()) && tr.allocatedBytes() > int64(sends)+1<<20 {
			tr.Errorf("%d bytes are allocated, want at most 1 MiB more than the %d that were sent", tr.allocatedBytes(), sends)
		}
		if end != nil {
			tr.dropResults() // the hint depends on whether pawl has got the first byte
		}
		tr.markMet()
	}}
}
