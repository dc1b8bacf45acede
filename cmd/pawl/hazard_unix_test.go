//go:build unix

package main

import (
	"net"
	"os"
	"path/filepath"
	"syscall"

	"pawl/downloader/faultserver"
)

// unixDisks are fifos, sockets and limits that only Unix has.
var unixDisks = []hazard{
	takenTarget("a pipe", func(dir, _ string) error { return syscall.Mkfifo(filepath.Join(dir, "f.bin"), 0o644) }),
	blockedTarget("disks: target is a fifo", fifo()),
	blockedTarget("disks: target is a fifo, --overwrite", fifo("--overwrite")),
	blockedTarget("disks: target is a socket", func(tr *testRun) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		must(tr, err)
		l.SetUnlinkOnClose(false)
		l.Close()
		return []string{path}, []string{"--overwrite"}
	}),
	{name: "disks: part file replaced by a fifo", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.killOnceHeld(3 << 20)
		must(tr, os.Remove(tr.partPath()))
		must(tr, syscall.Mkfifo(tr.partPath(), 0o666))
		o := tr.runPawl()
		o.wantRefusal(3, 13)
		o.wantFailure(o.code)
		must(tr, os.Remove(tr.partPath()))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: file size limit", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		o := tr.startCommand(viaShell(tr.pawlCmd(nil), `ulimit -f 16384; exec "$0" "$@"`)).wait() // 8 MiB
		o.wantRefusal(3, 9)
		o.wantFailure(o.code)
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "disks: no file descriptors left", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.ConnRate(8 << 20))
		o := tr.startCommand(viaShell(tr.pawlCmd(nil), `ulimit -n 14; exec "$0" "$@"`)).wait() // pawl may use fewer connections or give up
		o.wantRecovery(f)
		tr.dropResults()
		tr.markMet()
	}},
}

// fifo returns a step for blockedTarget that makes f.bin a named pipe.
func fifo(args ...string) func(tr *testRun) ([]string, []string) {
	return func(tr *testRun) ([]string, []string) {
		path := filepath.Join(tr.dir, "f.bin")
		must(tr, syscall.Mkfifo(path, 0o666))
		return []string{path}, args
	}
}
