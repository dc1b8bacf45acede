//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// notifySuspend makes to receive the signal that asks the program to stop for a while.
func notifySuspend(to chan<- os.Signal) { signal.Notify(to, syscall.SIGTSTP) }

// stopSelf stops the processes of this job, as Ctrl-Z does, until the user continues them.
func stopSelf() {
	signal.Reset(syscall.SIGTSTP)
	syscall.Kill(0, syscall.SIGTSTP)
	time.Sleep(10 * time.Millisecond) // another thread may get the signal, a moment later
}

// detach makes cmd independent of the terminal and of its end.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
