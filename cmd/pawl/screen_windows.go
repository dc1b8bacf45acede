package main

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// screenSignals are the signals before whose effect a screen must be left: none on Windows.
var screenSignals []os.Signal

// suspendSignal is the signal of Ctrl-Z: none on Windows.
const suspendSignal = syscall.Signal(0)

// catchSuspend does nothing.
func catchSuspend(chan<- os.Signal) {}

// raise does nothing.
func raise(os.Signal, bool) {}

// detach makes cmd independent of the console and of its end.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
