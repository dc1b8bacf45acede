package main

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// shellCommand returns command as a command of cmd.exe with path as its last argument.
// There is no argument if path is empty, or if command names %PAWL_FILE_PATH% itself or has
// & or |, because it may then be several commands. The command line contains the variable
// PAWL_FILE_PATH and not the path itself, because cmd.exe would expand a path such as
// "%TEMP%.bin". It does not expand the value of a variable again, and a path cannot contain
// a quote.
func shellCommand(ctx context.Context, command, path string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd.exe")
	line := `cmd.exe /D /S /C "` + command
	if path != "" && !strings.ContainsAny(command, "&|") && !strings.Contains(strings.ToUpper(command), "PAWL_FILE_PATH") {
		line += ` "%PAWL_FILE_PATH%"`
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: line + `"`}
	return cmd
}

// setProcessGroup does nothing, because Windows has no SIGTERM: the context of cmd kills
// it.
func setProcessGroup(*exec.Cmd, time.Duration) (ended func()) { return func() {} }
