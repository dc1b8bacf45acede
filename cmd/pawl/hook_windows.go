package main

import (
	"context"
	"os/exec"
	"syscall"
	"time"
)

// shell is command with path as its argument, or none if that is empty. The
// command line names the variable, not the path: cmd.exe expands what looks like
// one in a path, too, but no variable twice, and no path holds a quote.
func shellCommand(ctx context.Context, command, path string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd.exe")
	line := `cmd.exe /D /S /C "` + command
	if path != "" {
		line += ` "%PAWL_FILE_PATH%"`
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: line + `"`}
	return cmd
}

// ownGroup leaves cmd as it is, to be killed by its context: there is no SIGTERM.
// The function returned comes when cmd has ended.
func setProcessGroup(*exec.Cmd, time.Duration) (ended func()) { return func() {} }
