//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"
)

// screenSignals are the signals before whose effect a screen must be left, besides those that end every
// command of pawl: SIGTSTP stops the program for a while, SIGQUIT ends it with a dump.
var screenSignals = []os.Signal{syscall.SIGTSTP, syscall.SIGQUIT}

// suspendSignal is what Ctrl-Z means.
const suspendSignal = syscall.SIGTSTP

// raise lets a signal have its effect: SIGTSTP on all processes of this job, as Ctrl-Z does.
func raise(s os.Signal) {
	signal.Reset(s)
	job := os.Getpid()
	if s == suspendSignal {
		job = 0
	}
	syscall.Kill(job, s.(syscall.Signal))
	time.Sleep(10 * time.Millisecond) // another thread may get the signal, a moment later
}

// detach makes cmd independent of the terminal and of its end.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
