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

// signalAndCheck sends pawl a signal once ready returns true. It checks that pawl ends
// within two seconds with the exit code of the signal and a hint. ready returns false if
// pawl has ended. signalAndCheck marks the hazard as met.
func (tr *testRun) signalAndCheck(r *pawlProcess, sig syscall.Signal, ready func(*pawlProcess) bool) runResult {
	tr.Helper()
	at := make(chan time.Time, 1)
	go func() {
		defer close(at)
		if ready(r) {
			at <- time.Now()
			r.cmd.Process.Signal(sig)
		}
	}()
	o := r.wait()
	tr.srv.Open()
	ended := time.Now()
	if begun, ok := <-at; !ok {
		tr.Errorf("pawl ended before the signal")
	} else if took := ended.Sub(begun); took > withSlack(2*time.Second) {
		tr.Errorf("pawl ended %v after the signal, want at most 2 s", took)
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
		select {
		case <-r.exited:
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
	time.Sleep(400 * time.Millisecond)
	return true
}

// signaled returns a hazard of a signal during the download. The next run must resume.
func signaled(name string, sig syscall.Signal) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.signalAndCheck(tr.startPawl(), sig, tr.untilSent(6<<20))
		tr.wantPartKept()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.1)
	}}
}

// signaledWhileSilent returns a hazard of a signal while the server is silent.
func signaledWhileSilent(name string, sig syscall.Signal) hazard {
	return hazard{name: name, run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Stall(3 << 20))
		tr.signalAndCheck(tr.startPawl("--stall-timeout", "60s", tr.fileURL()), sig, tr.untilFaultSettled)
		tr.wantPartKept()
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.3) // bytes that were in flight on many connections
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
		tr.srv.Set(faultserver.Delay(30 * time.Second))
		tr.signalAndCheck(tr.startPawl("--stall-timeout", "60s", tr.fileURL()), syscall.SIGINT, tr.untilFaultSettled)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.05)
	}},
	{name: "signals: interrupted during retry-after", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.Status(503, 30))
		tr.signalAndCheck(tr.startPawl("--retry-max-wait", "60s", tr.fileURL()), syscall.SIGINT, tr.untilFaultSettled)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.05)
	}},
	{name: "signals: terminated during retry-after, halfway", run: func(tr *testRun) {
		f := tr.serveFile(8 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(2<<20)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(503, 30)))
		tr.signalAndCheck(tr.startPawl("--retry-max-wait", "60s", tr.fileURL()), syscall.SIGTERM, func(r *pawlProcess) bool {
			return tr.untilSent(2<<20)(r) && tr.untilFaultSettled(r)
		})
		tr.wantPartKept()
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.1)
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
			time.Sleep(700 * time.Millisecond)
			return true
		})
	}},
	{name: "signals: interrupted twice", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.runAndDo(6<<20, func(r *pawlProcess) {
			r.cmd.Process.Signal(syscall.SIGINT)
			time.Sleep(time.Duration(tr.rand.IntN(30)) * time.Millisecond)
			r.cmd.Process.Signal(syscall.SIGINT)
		})
		if o.code != -1 && o.code != 130 {
			tr.Errorf("exit %d, want 130 or none", o.code)
		}
		tr.wantPartKept()
		tr.runPawl().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.25)
		tr.dropResults()
		tr.markMet()
	}},
	{name: "signals: hung up under nohup", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		cmd := viaShell(tr.pawlCmd(nil), `trap "" HUP; exec "$0" "$@"`)
		r := tr.startCommand(cmd)
		go func() {
			tr.srv.DoAt(6<<20, r.exited, func() { r.cmd.Process.Signal(syscall.SIGHUP) })
		}()
		r.wait().wantDownloaded("f.bin", f)
		tr.wantSentRatio(1.05)
		tr.markMet()
	}},
	{name: "signals: stopped and continued", run: func(tr *testRun) {
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.runAndDo(6<<20, func(r *pawlProcess) {
			r.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(3 * time.Second)
			r.cmd.Process.Signal(syscall.SIGCONT)
		}).wantDownloaded("f.bin", f)
		tr.wantSentRatio(2.2) // bytes that were in flight on many connections
		tr.markMet()
	}},
	{name: "signals: terminated while stopped", run: func(tr *testRun) { // Ctrl-Z, then kill
		f := tr.serveFile(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
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
		if o.code == 0 || o.elapsed > withSlack(5*time.Second) {
			tr.Errorf("exit %d after %v, want a failure at once", o.code, o.elapsed)
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
	tr.srv.Set(faultserver.Rate(16 << 20))
	o := tr.signalAndCheck(tr.startPawl("-o", "-", tr.fileURL()), sig, tr.untilSent(6<<20))
	want := make([]byte, len(o.stdout))
	f.ReadAt(want, 0)
	if len(want) == 0 || !bytes.Equal([]byte(o.stdout), want) {
		tr.Errorf("the %d bytes on stdout are not the beginning of the file", len(want))
	}
}
