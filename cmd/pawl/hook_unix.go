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

// shell is command with path as its last argument, or none if that is empty. A
// command that ends in ; or & would have the path itself run as the next one: it
// can use $1.
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

// ownGroup makes cmd, not yet started, the leader of a process group, which is
// ended in order by its context, and by force after grace: a signal to the shell
// alone would leave what it runs, and one that the terminal sends to us would
// reach the hook at once. The function returned comes when cmd has ended.
func setProcessGroup(cmd *exec.Cmd, grace time.Duration) (ended func()) {
	var (
		mu   sync.Mutex
		last *time.Timer
	)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay += grace / 4 // only then is it the shell's turn
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		mu.Lock()
		defer mu.Unlock()
		last = time.AfterFunc(grace, func() { syscall.Kill(group, syscall.SIGKILL) }) // not once cmd has ended
		return syscall.Kill(group, syscall.SIGTERM)
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if last != nil {
			last.Stop()
		}
	}
}
