//go:build unix

package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"pawl/downloader/faultserver"
)

// signalAndCheck sends pawl a signal once ready returns true. It checks that pawl ends with
// the exit code of the signal and a hint, although the server sends nothing more and pawl has
// to wait for 10 minutes. ready returns false if pawl has ended. signalAndCheck marks the
// hazard as met.
func (tr *testRun) signalAndCheck(r *pawlProcess, sig syscall.Signal, ready func(*pawlProcess) bool) runResult {
	tr.Helper()
	sent := make(chan bool, 1)
	go func() {
		reached := ready(r)
		if reached {
			r.cmd.Process.Signal(sig)
		}
		sent <- reached
	}()
	o := r.wait()
	tr.srv.Open()
	if !<-sent {
		tr.Errorf("pawl ended before the signal")
	}
	o.wantFailure(128 + int(sig))
	o.wantNoCrash()
	o.wantStderrAny("pawl: hint: ")
	tr.markMet()
	return o
}

// untilSent waits until the server has sent n bytes in all. The server then sends nothing
// more until Open is called.
func (tr *testRun) untilSent(n int64) func(*pawlProcess) bool {
	return func(r *pawlProcess) bool { return tr.srv.HoldAt(n, r.exited) }
}

// untilFaultSettled waits until a fault has acted, and 400 ms more for pawl's reaction.
func (tr *testRun) untilFaultSettled(r *pawlProcess) bool {
	for tr.srv.FaultCount() == 0 {
		if !r.sleep(10 * time.Millisecond) {
			return false
		}
	}
	return r.sleep(400 * time.Millisecond)
}

// signaled returns a hazard of a signal during the download. The next run must resume.
func signaled(name string, sig syscall.Signal) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.signalAndCheck(tr.startPawl("--stall-timeout", "10m", tr.fileURL()), sig, tr.untilSent(10<<20))
		tr.wantPartKept()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}}
}

// signaledWhileSilent returns a hazard of a signal while the server is silent.
func signaledWhileSilent(name string, sig syscall.Signal) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Stall(1 << 20)) // each of four bodies is longer
		tr.signalAndCheck(tr.startPawl("-x", "4", "--stall-timeout", "10m", tr.fileURL()), sig, tr.untilFaultSettled)
		tr.wantPartKept()
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45) // bytes that were in flight on many connections
	}}
}

// unixSignals are signals and closed pipes that only Unix has.
var unixSignals = []hazard{
	signaled("signals: interrupted", syscall.SIGINT),
	signaled("signals: terminated", syscall.SIGTERM),
	signaled("signals: hung up", syscall.SIGHUP),
	signaledWhileSilent("signals: interrupted while the server is silent", syscall.SIGINT),
	signaledWhileSilent("signals: terminated while the server is silent", syscall.SIGTERM),
	{name: "signals: interrupted before the response", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Delay(10 * time.Minute))
		tr.signalAndCheck(tr.startPawl("--stall-timeout", "10m", tr.fileURL()), syscall.SIGINT, tr.untilFaultSettled)
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "signals: interrupted during retry-after", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Status(503, 600))
		tr.signalAndCheck(tr.startPawl("--retry-max-wait", "1h", tr.fileURL()), syscall.SIGINT, tr.untilFaultSettled)
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "signals: terminated during retry-after, halfway", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(2<<20)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(503, 600)))
		tr.signalAndCheck(tr.startPawl("--retry-max-wait", "1h", tr.fileURL()), syscall.SIGTERM, func(r *pawlProcess) bool {
			return tr.untilSent(2<<20)(r) && tr.untilFaultSettled(r)
		})
		tr.wantPartKept()
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
	}},
	{name: "signals: interrupted in a stream", run: func(tr *testRun) { signaledStream(tr, syscall.SIGINT) }},
	{name: "signals: terminated in a stream", run: func(tr *testRun) { signaledStream(tr, syscall.SIGTERM) }},
	{name: "signals: interrupted in a stream that nobody reads", run: func(tr *testRun) {
		tr.serveFile(8 << 20)
		out, in, err := os.Pipe()
		must(tr, err)
		defer out.Close()
		defer in.Close()
		cmd := tr.pawlCmd([]string{"-o", "-", tr.fileURL()})
		cmd.Stdout = in
		tr.signalAndCheck(tr.startCommand(cmd), syscall.SIGINT, func(r *pawlProcess) bool {
			return tr.srv.WaitSent(256<<10, r.exited) && r.sleep(300*time.Millisecond) // the pipe holds 64 KiB
		})
	}},
	{name: "signals: interrupted twice", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		o := tr.runAndDoPaused(10<<20, func(r *pawlProcess) {
			for tr.recordedBytes() < 9<<20 && r.sleep(10*time.Millisecond) { // the second signal may end pawl before it commits
			}
			r.cmd.Process.Signal(syscall.SIGINT)
			r.sleep(time.Duration(tr.rand.IntN(30)) * time.Millisecond)
			r.cmd.Process.Signal(syscall.SIGINT)
			<-r.exited
		})
		if o.code != -1 && o.code != 130 {
			tr.Errorf("exit %d, want 130 or none", o.code)
		}
		tr.wantPartKept()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "signals: hung up under nohup", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		cmd := viaShell(tr.pawlCmd(nil), `trap "" HUP; exec "$0" "$@"`)
		r := tr.startCommand(cmd)
		go func() {
			tr.srv.DoAt(10<<20, r.exited, func() { r.cmd.Process.Signal(syscall.SIGHUP) })
		}()
		r.wait().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.45)
		tr.markMet()
	}},
	{name: "signals: stopped and continued", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		tr.runAndDo(10<<20, func(r *pawlProcess) {
			r.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(3 * time.Second)
			r.cmd.Process.Signal(syscall.SIGCONT)
		}, "--stall-timeout", "2s", tr.fileURL()).wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.2) // bytes that were in flight on many connections
		tr.markMet()
	}},
	{name: "signals: terminated while stopped", run: func(tr *testRun) { // Ctrl-Z, then kill
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(32 << 20))
		r := tr.startPawl()
		tr.signalAndCheck(r, syscall.SIGTERM, func(r *pawlProcess) bool {
			ok := tr.untilSent(6 << 20)(r)
			r.cmd.Process.Signal(syscall.SIGSTOP)
			time.AfterFunc(time.Second/2, func() { r.cmd.Process.Signal(syscall.SIGCONT) })
			return ok
		})
		tr.wantPartKept()
		tr.runPawl().wantDownloaded("f.bin", f)
	}},
	{name: "signals: nobody reads stderr any more", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(12 << 20))
		out, in, err := os.Pipe()
		must(tr, err)
		cmd := tr.pawlCmd([]string{"-v", tr.fileURL()})
		cmd.Stderr = in
		r := tr.startCommand(cmd)
		in.Close()
		go func() { // like head -1
			bufio.NewReader(io.LimitReader(out, 1)).ReadString('\n')
			out.Close()
		}()
		r.wait().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "signals: nobody reads stdout any more", run: func(tr *testRun) {
		f := tr.serveFile(4 << 20)
		out, in, err := os.Pipe()
		must(tr, err)
		out.Close()
		cmd := tr.pawlCmd(nil)
		cmd.Stdout = in
		r := tr.startCommand(cmd)
		in.Close()
		r.wait().wantDownloaded("f.bin", f)
		tr.markMet()
	}},
	{name: "signals: nobody reads the stream any more", run: func(tr *testRun) {
		tr.serveFile(16 << 20)
		out, in, err := os.Pipe()
		must(tr, err)
		cmd := tr.pawlCmd([]string{"-o", "-", tr.fileURL()})
		cmd.Stdout = in
		r := tr.startCommand(cmd)
		in.Close()
		io.CopyN(io.Discard, out, 1<<20)
		out.Close()
		o := r.wait()
		if o.code == 0 {
			tr.Errorf("exit 0, want a failure")
		}
		o.wantNoCrash()
		tr.markMet()
	}},
}

// viaShell changes cmd so that sh starts it by a script, which must end in exec "$0" "$@".
func viaShell(cmd *exec.Cmd, script string) *exec.Cmd {
	cmd.Args = append([]string{"sh", "-c", script, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	return cmd
}

// signaledStream sends a signal during a download to stdout. Stdout must have got the
// beginning of the file and no other bytes.
func signaledStream(tr *testRun, sig syscall.Signal) {
	tr.Helper()
	f := tr.serveFile(16 << 20)
	tr.srv.Set(faultserver.Rate(32 << 20))
	o := tr.signalAndCheck(tr.startPawl("--stall-timeout", "10m", "-o", "-", tr.fileURL()), sig, tr.untilSent(10<<20))
	want := make([]byte, len(o.stdout))
	f.ReadAt(want, 0)
	if len(want) == 0 || !bytes.Equal([]byte(o.stdout), want) {
		tr.Errorf("the %d bytes on stdout are not the beginning of the file", len(want))
	}
}
