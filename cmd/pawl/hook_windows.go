package main

import (
	"context"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// shellCommand returns the command of a hook as a command of cmd.exe with the path as its last
// argument. There is no argument if the path is empty, or if the command names its variable, such as
// %PAWL_FILE_PATH%, itself or has & or |, because it may then be several commands. The command
// line contains the variable and not the path itself, because cmd.exe would expand a path such as
// "%TEMP%.bin". It does not expand the value of a variable again, and a path cannot contain a
// quote.
func shellCommand(ctx context.Context, call hookCall) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "cmd.exe")
	line := `cmd.exe /D /S /C "` + call.command
	if call.path != "" && !strings.ContainsAny(call.command, "&|") && !strings.Contains(strings.ToUpper(call.command), call.pathVariable) {
		line += ` "%` + call.pathVariable + `%"`
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{CmdLine: line + `"`}
	return cmd
}

// setProcessGroup does nothing, because Windows has no SIGTERM: the context of cmd kills
// it.
func setProcessGroup(*exec.Cmd, time.Duration) (ended func()) { return func() {} }
