package main

import (
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/windows"
)

// notifySuspend does nothing, because Windows has no such signal.
func notifySuspend(chan<- os.Signal) {}

// stopSelf does nothing.
func stopSelf() {}

// detach makes cmd independent of the console and of its end.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: windows.DETACHED_PROCESS | windows.CREATE_NEW_PROCESS_GROUP}
}
