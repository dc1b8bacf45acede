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

// stopped checks that the program, signalled once ready says so, ends within
// two seconds with the exit code of the signal, and tells what to do.
func (tr *trial) stopped(r *running, sig syscall.Signal, ready func(*running) bool) outcome {
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
		tr.Errorf("it ended before it was signalled")
	} else if took := ended.Sub(begun); took > soon(2*time.Second) {
		tr.Errorf("it ended %v after the signal", took)
	}
	o.fails(128 + int(sig))
	o.clear()
	o.tells("pawl: hint: ")
	tr.met()
	return o
}

// sent is when the server has sent n bytes in all.
func (tr *trial) sent(n int64) func(*running) bool {
	return func(r *running) bool { return tr.srv.HoldAt(n, r.exited) }
}

// quarrel is when a fault has acted and nothing more happens for a while.
func (tr *trial) quarrel(r *running) bool {
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

// halted is a hazard of a signal in mid-run, and of going on.
func halted(name string, sig syscall.Signal) hazard {
	return hazard{name: name, try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.stopped(tr.start(), sig, tr.sent(6<<20))
		tr.kept()
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}}
}

// silent is halted, the server being silent.
func silent(name string, sig syscall.Signal) hazard {
	return hazard{name: name, try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Stall(3 << 20))
		tr.stopped(tr.start("--stall-timeout", "60s", tr.url()), sig, tr.quarrel)
		tr.kept()
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.run().good("f.bin", f)
		tr.overhead(1.3) // what many connections have sent meanwhile
	}}
}

// unixSignals are hazards of TestHazards.
var unixSignals = []hazard{
	halted("signals: interrupted", syscall.SIGINT),
	halted("signals: terminated", syscall.SIGTERM),
	halted("signals: hung up", syscall.SIGHUP),
	silent("signals: interrupted, the server silent", syscall.SIGINT),
	silent("signals: terminated, the server silent", syscall.SIGTERM),
	{name: "signals: interrupted before an answer", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Delay(30 * time.Second))
		tr.stopped(tr.start("--stall-timeout", "60s", tr.url()), syscall.SIGINT, tr.quarrel)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.run().good("f.bin", f)
		tr.overhead(1.05)
	}},
	{name: "signals: interrupted while it was told to wait", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.Status(503, 30))
		tr.stopped(tr.start("--retry-max-wait", "60s", tr.url()), syscall.SIGINT, tr.quarrel)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.run().good("f.bin", f)
		tr.overhead(1.05)
	}},
	{name: "signals: terminated while it was told to wait, in mid-file", try: func(tr *trial) {
		f := tr.serve(8 << 20)
		tr.srv.Set(faultserver.First(1, faultserver.Cut(2<<20)), faultserver.Only(func(n int) bool { return n > 0 }, faultserver.Status(503, 30)))
		tr.stopped(tr.start("--retry-max-wait", "60s", tr.url()), syscall.SIGTERM, func(r *running) bool {
			return tr.sent(2<<20)(r) && tr.quarrel(r)
		})
		tr.kept()
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.run().good("f.bin", f)
		tr.overhead(1.1)
	}},
	{name: "signals: interrupted in a stream", try: func(tr *trial) { streamed(tr, syscall.SIGINT) }},
	{name: "signals: terminated in a stream", try: func(tr *trial) { streamed(tr, syscall.SIGTERM) }},
	{name: "signals: interrupted in a stream that nobody reads", try: func(tr *trial) {
		tr.serve(8 << 20)
		out, in, err := os.Pipe()
		must(tr, err)
		defer out.Close()
		defer in.Close()
		cmd := tr.command([]string{"-o", "-", tr.url()})
		cmd.Stdout = in
		tr.stopped(tr.launch(cmd), syscall.SIGINT, func(r *running) bool {
			time.Sleep(700 * time.Millisecond)
			return true
		})
	}},
	{name: "signals: interrupted twice", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		o := tr.during(6<<20, func(r *running) {
			r.cmd.Process.Signal(syscall.SIGINT)
			time.Sleep(time.Duration(tr.rand.IntN(30)) * time.Millisecond)
			r.cmd.Process.Signal(syscall.SIGINT)
		})
		if o.code != -1 && o.code != 130 {
			tr.Errorf("exit %d, want 130 or none", o.code)
		}
		tr.kept()
		tr.run().good("f.bin", f)
		tr.overhead(1.25)
		tr.unsaid()
		tr.met()
	}},
	{name: "signals: hung up under nohup", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		cmd := underShell(tr.command(nil), `trap "" HUP; exec "$0" "$@"`)
		r := tr.launch(cmd)
		go func() {
			tr.srv.DoAt(6<<20, r.exited, func() { r.cmd.Process.Signal(syscall.SIGHUP) })
		}()
		r.wait().good("f.bin", f)
		tr.overhead(1.05)
		tr.met()
	}},
	{name: "signals: stopped and continued", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		tr.during(6<<20, func(r *running) {
			r.cmd.Process.Signal(syscall.SIGSTOP)
			time.Sleep(3 * time.Second)
			r.cmd.Process.Signal(syscall.SIGCONT)
		}).good("f.bin", f)
		tr.overhead(2.2) // what many connections have sent meanwhile
		tr.met()
	}},
	{name: "signals: interrupted while it was stopped", try: func(tr *trial) { // Ctrl-Z, then kill
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(16 << 20))
		r := tr.start()
		tr.stopped(r, syscall.SIGTERM, func(r *running) bool {
			ok := tr.sent(6 << 20)(r)
			r.cmd.Process.Signal(syscall.SIGSTOP)
			time.AfterFunc(time.Second/2, func() { r.cmd.Process.Signal(syscall.SIGCONT) })
			return ok
		})
		tr.kept()
		tr.run().good("f.bin", f)
	}},
	{name: "signals: nobody reads stderr any more", try: func(tr *trial) {
		f := tr.serve(16 << 20)
		tr.srv.Set(faultserver.Rate(12 << 20))
		out, in, err := os.Pipe()
		must(tr, err)
		cmd := tr.command([]string{"-v", tr.url()})
		cmd.Stderr = in
		r := tr.launch(cmd)
		in.Close()
		go func() { // as head -1 does
			bufio.NewReader(io.LimitReader(out, 1)).ReadString('\n')
			out.Close()
		}()
		r.wait().good("f.bin", f)
		tr.met()
	}},
	{name: "signals: nobody reads stdout any more", try: func(tr *trial) {
		f := tr.serve(4 << 20)
		out, in, err := os.Pipe()
		must(tr, err)
		out.Close()
		cmd := tr.command(nil)
		cmd.Stdout = in
		r := tr.launch(cmd)
		in.Close()
		r.wait().good("f.bin", f)
		tr.met()
	}},
	{name: "signals: nobody reads the stream any more", try: func(tr *trial) {
		tr.serve(16 << 20)
		out, in, err := os.Pipe()
		must(tr, err)
		cmd := tr.command([]string{"-o", "-", tr.url()})
		cmd.Stdout = in
		r := tr.launch(cmd)
		in.Close()
		io.CopyN(io.Discard, out, 1<<20)
		out.Close()
		o := r.wait()
		if o.code == 0 || o.elapsed > soon(5*time.Second) {
			tr.Errorf("exit %d after %v, want a failure at once", o.code, o.elapsed)
		}
		o.clear()
		tr.met()
	}},
}

// underShell is cmd, started by a script that ends in exec "$0" "$@".
func underShell(cmd *exec.Cmd, script string) *exec.Cmd {
	cmd.Args = append([]string{"sh", "-c", script, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = "/bin/sh"
	return cmd
}

// streamed is a signal in a stream to stdout, which must have got the beginning
// of the file and no other bytes.
func streamed(tr *trial, sig syscall.Signal) {
	tr.Helper()
	f := tr.serve(16 << 20)
	tr.srv.Set(faultserver.Rate(16 << 20))
	o := tr.stopped(tr.start("-o", "-", tr.url()), sig, tr.sent(6<<20))
	want := make([]byte, len(o.stdout))
	f.ReadAt(want, 0)
	if len(want) == 0 || !bytes.Equal([]byte(o.stdout), want) {
		tr.Errorf("the %d bytes on stdout are not the beginning of the file", len(want))
	}
}
