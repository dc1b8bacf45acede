//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"

	"pawl/downloader/faultserver"
)

// unixDisks are hazards of TestHazards: files that are none.
var unixDisks = []hazard{
	taken("a pipe", func(dir, _ string) error { return syscall.Mkfifo(filepath.Join(dir, "f.bin"), 0o644) }),
	obstacle("disks: target is a fifo", fifo()),
	obstacle("disks: target is a fifo, to be overwritten", fifo("--overwrite")),
	obstacle("disks: target is a socket", func(tr *trial) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		must(tr, err)
		l.SetUnlinkOnClose(false)
		l.Close()
		return []string{path}, []string{"--overwrite"}
	}),
	{name: "disks: part file replaced by a fifo", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.killHolding(3 << 20)
		must(tr, os.Remove(tr.partPath()))
		must(tr, syscall.Mkfifo(tr.partPath(), 0o666))
		o := tr.run()
		o.refuses(3, 13)
		o.fails(o.code)
		must(tr, os.Remove(tr.partPath()))
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: file size limit", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		o := tr.launch(underShell(tr.command(nil), `ulimit -f 16384; exec "$0" "$@"`)).wait() // 8 MiB
		o.refuses(3, 9)
		o.fails(o.code)
		tr.run().good("f.bin", f)
		tr.met()
	}},
	{name: "disks: no descriptors left", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.ConnRate(8 << 20))
		o := tr.launch(underShell(tr.command(nil), `ulimit -n 14; exec "$0" "$@"`)).wait() // it may have fewer connections, or give up
		o.sound(f)
		tr.unsaid()
		tr.met()
	}},
}

// fifo makes f.bin a named pipe.
func fifo(args ...string) func(tr *trial) ([]string, []string) {
	return func(tr *trial) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		must(tr, syscall.Mkfifo(path, 0o666))
		return []string{path}, args
	}
}
