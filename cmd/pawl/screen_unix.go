//go:build unix

package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// screenSignals are the signals before whose effect a screen must be left, besides the signals that end
// every command of pawl: SIGTSTP stops the program for a while, SIGQUIT ends it with a dump.
var screenSignals = []os.Signal{syscall.SIGTSTP, syscall.SIGQUIT}

// suspendSignal is the signal of Ctrl-Z.
const suspendSignal = syscall.SIGTSTP

// catchSuspend makes to receive suspendSignal. It does nothing if to is nil, or if the program was started
// with the signal ignored.
func catchSuspend(to chan<- os.Signal) {
	if to != nil && !signal.Ignored(suspendSignal) {
		signal.Notify(to, suspendSignal)
	}
}

// raise lets a signal have its effect on this process. If it comes from a key that the terminal has not
// turned into a signal, it goes to all processes of this job, as the terminal would send it.
//
// SIGTSTP that was caught once has no effect any more (its handler stays with the Go runtime), so SIGSTOP
// does it. The job is not stopped if nobody could continue it: if it is the one of the session leader,
// which is a shell with job control otherwise. The system would ignore SIGTSTP then, too.
func raise(s os.Signal, fromKey bool) {
	signal.Reset(s)
	if s != suspendSignal {
		syscall.Kill(os.Getpid(), s.(syscall.Signal))
	} else if sid, err := unix.Getsid(0); err == nil && sid != syscall.Getpgrp() {
		if fromKey {
			syscall.Kill(0, syscall.SIGTSTP)
		}
		syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	}
	time.Sleep(10 * time.Millisecond) // another thread may get the signal, a moment later
}

// detach makes cmd independent of the terminal and of its end.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
