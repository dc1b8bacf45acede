package store

import (
	"os"
	"os/exec"
	"runtime"
	"testing"
)

// TestHolder checks that the process that works on a download is known as long as it does.
func TestHolder(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("the system does not say when a process started")
	}
	l := newFixture(t)
	p := l.create()
	l.write(p, 0, 10)
	s, rec := l.store, p.Record()
	if got, ok := s.Holder(rec); !ok || got.PID != os.Getpid() {
		t.Errorf("after Create: got %+v and %v, want this process", got, ok)
	}
	foreign := rec.Process
	foreign.Start += "0" // an earlier process with the same number
	if foreign.IsAlive() || (Process{PID: os.Getpid()}).IsAlive() || (Process{}).IsAlive() {
		t.Error("another process with the same number counts as the same")
	}
	p.Close()
	if got, ok := s.Holder(rec); ok {
		t.Errorf("after Close: got %+v, want none", got)
	}
	l.resume()
	if got, ok := s.Holder(rec); !ok || got != thisProcess() {
		t.Errorf("after Resume: got %+v and %v, want this process", got, ok)
	}
}

// TestEndedProcess checks that an ended process is not alive, also before its parent has asked for its
// exit code.
func TestEndedProcess(t *testing.T) {
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	p := Process{cmd.Process.Pid, startOf(cmd.Process.Pid)}
	if p.Start != "" && !p.IsAlive() {
		t.Error("a running process is not alive")
	}
	in.Close()
	cmd.Wait()
	if p.IsAlive() {
		t.Error("an ended process is alive")
	}
}
