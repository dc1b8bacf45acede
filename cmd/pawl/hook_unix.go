//go:build unix

package main

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
)

// shellCommand returns command as a shell command with path as its last argument. There is
// no argument if path is empty. A command that ends in ; or & gets the path only as $1,
// because the shell would run an appended path as another command.
func shellCommand(ctx context.Context, command, path string) *exec.Cmd {
	command = strings.TrimSpace(command)
	if !strings.HasSuffix(command, ";") && !strings.HasSuffix(command, "&") {
		command += ` "$@"`
	}
	args := []string{"-c", command, "sh"}
	if path != "" {
		args = append(args, path)
	}
	return exec.CommandContext(ctx, "sh", args...)
}

// setProcessGroup makes cmd the leader of a new process group. It must be called before cmd
// starts. When the context of cmd ends, the whole group gets SIGTERM, and SIGKILL after
// killDelay. A signal to the shell alone would leave its child processes running. Without
// a group, Ctrl-C in the terminal would reach the hook at the same time as pawl.
//
// ended must be called when cmd has ended. It cancels the SIGKILL, because the number of
// the group may then belong to other processes.
func setProcessGroup(cmd *exec.Cmd, killDelay time.Duration) (ended func()) {
	var (
		mu   sync.Mutex
		kill *time.Timer // nil until the SIGTERM; guarded by mu
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay += killDelay / 4 // exec kills the shell itself after that, so the group must be killed before
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		mu.Lock()
		defer mu.Unlock()
		kill = time.AfterFunc(killDelay, func() { syscall.Kill(group, syscall.SIGKILL) })
		return syscall.Kill(group, syscall.SIGTERM)
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if kill != nil {
			kill.Stop()
		}
	}
}
