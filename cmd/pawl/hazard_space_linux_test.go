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

// space are hazards of TestHazards: servers that claim the disk, and --min-free.
var space = []hazard{
	claim("one byte", 1, nil),
	claim("one megabyte", 1<<20, nil),
	claim("no byte", 0, nil),
	claim("one byte, and a signal", 1, func(r *running) { r.end(syscall.SIGTERM) }),
	{name: "disks: a claim of a killed download is given back", try: func(tr *trial) {
		f := tr.serve(128 << 20)
		tr.killHolding(24 << 20)
		tr.srv.Set(faultserver.Status(404, 0))
		tr.run().fails(8)
		if n, most := tr.taken(), tr.heldLen()+8<<20; n > most+most {
			tr.Errorf("%d bytes are allocated", n)
		}
		tr.srv.Set(faultserver.Rate(64 << 20))
		tr.signalAt(8<<20, syscall.SIGTERM)
		if n, held := tr.taken(), tr.heldLen(); n > held+2<<20 {
			tr.Errorf("%d bytes are allocated, %d are held", n, held)
		}
		tr.srv.Set()
		sent := tr.srv.Sent()
		o := tr.run()
		o.good("f.bin", f)
		if sent = tr.srv.Sent() - sent; sent > 112<<20 {
			tr.Errorf("%d bytes were sent, so that what was held was not trusted", sent)
		}
		tr.met()
	}},
	{name: "disks: --min-free, and the file would leave less", try: func(tr *trial) {
		tr.onDisk("size=32m")
		f := tr.serve(24 << 20)
		o := tr.run("--min-free", "16M", tr.url())
		o.refuses(9)
		o.fails(9)
		o.tells("must stay free")
		tr.noPart()
		if sent := tr.srv.Sent(); sent > 5<<20 {
			tr.Errorf("%d bytes were sent before it was told", sent)
		}
		tr.run("--min-free", "4M", tr.url()).good("f.bin", f)
		tr.met()
	}},
	{name: "disks: --min-free, and it is less already", try: func(tr *trial) {
		tr.onDisk("size=8m")
		tr.serve(1 << 20)
		tr.srv.Set(faultserver.NoLength)
		tr.run("--min-free", "16M", tr.url()).fails(9)
		tr.noPart()
		small := tr.list(tr.url() + "\n")
		tr.put("f.bin", faultserver.NewFile(1000, 3))
		tr.srv.Set()
		tr.run("mirror", "--min-free", "16M", "-d", ".", small).exits(9)
		tr.noPart()
		tr.run("mirror", "--min-free", "1M", "-d", ".", small).exits(0)
		tr.met()
	}},
	{name: "disks: --min-free, the length unknown", try: func(tr *trial) {
		tr.onDisk("size=48m")
		f := tr.serve(32 << 20)
		tr.srv.Set(faultserver.NoLength, faultserver.Rate(16<<20))
		tr.run("--min-free", "24M", tr.url()).full()
		if n := tr.taken(); n < 16<<20 || n > 28<<20 {
			tr.Errorf("%d bytes are kept", n)
		}
		tr.srv.Set()
		tr.run("--min-free", "8M", tr.url()).good("f.bin", f)
		tr.met()
	}},
	{name: "disks: --min-free, and others fill the disk in mid-run", try: func(tr *trial) {
		tr.onDisk("size=48m")
		f := tr.serve(24 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.at(6<<20, func(*running) { tr.write(filepath.Join(tr.dir, "mine"), make([]byte, 32<<20)) }, "--min-free", "16M", tr.url()).full()
		tr.srv.Set()
		must(tr, os.Remove(filepath.Join(tr.dir, "mine")))
		tr.run("resume", "--min-free", "16M").exits(0)
		tr.hasFile("f.bin", f)
		tr.overhead(1.3)
		tr.met()
	}},
}

// taken returns how many bytes of the disk the part file takes.
func (tr *trial) taken() int64 {
	tr.Helper()
	info, err := os.Lstat(tr.partPath())
	must(tr, err)
	return info.Sys().(*syscall.Stat_t).Blocks * 512
}

// claim is a hazard of a server that announces 98 % of the free space, sends so many
// bytes, and closes the connection; with end it waits until they are on record. When the
// program has ended the file must not take the disk.
func claim(name string, sends int, end func(*running)) hazard {
	return hazard{name: "disks: a server claims the disk and sends " + name, try: func(tr *trial) {
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
		r := tr.start("--tries", "2", srv.URL+"/f.bin")
		if end != nil {
			<-sent
			for range 1000 {
				if tr.heldLen() > 0 {
					break
				}
				time.Sleep(5 * time.Millisecond)
			}
			go end(r)
		}
		if o := r.wait(); o.code == 0 {
			tr.Errorf("exit 0")
		}
		if exists(tr.partPath()) && tr.taken() > int64(sends)+1<<20 {
			tr.Errorf("%d bytes are allocated", tr.taken())
		}
		tr.met()
	}}
}
