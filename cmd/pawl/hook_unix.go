//go:build unix

package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// shellCommand returns the command of a hook as a shell command whose first argument is the path.
// There is no argument if the path is empty. A plain command also gets the path as its last word,
// so that "gzip -k" works like `gzip -k "$1"`.
func shellCommand(ctx context.Context, call hookCall) *exec.Cmd {
	command := strings.TrimSpace(call.command)
	if isPlainCommand(command) {
		command += ` "$@"`
	}
	args := []string{"-c", command, "pawl"}
	if call.path != "" {
		args = append(args, call.path)
	}
	return exec.CommandContext(ctx, "sh", args...)
}

// isPlainCommand reports whether command is a single shell command that does not name its path:
// outside of quotes it has none of ; & | ( ) and no line break, except for the & of a
// redirection such as 2>&1, and the shell would expand no $1, $@, $*, $PAWL_FILE_PATH or
// $PAWL_END_REPORT in it.
func isPlainCommand(command string) bool {
	quote := byte(0) // ' or " inside of quotes
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case quote == '\'':
			if c == '\'' {
				quote = 0
			}
		case c == '\\':
			i++
		case c == '$' && namesPath(command[i+1:]):
			return false
		case c == quote:
			quote = 0
		case quote != 0:
		case c == '\'' || c == '"':
			quote = c
		case c == '&' && i > 0 && (command[i-1] == '>' || command[i-1] == '<'):
		case strings.IndexByte(";&|()\n", c) >= 0:
			return false
		}
	}
	return true
}

// namesPath reports whether a $ before text expands to the path of a hook.
func namesPath(text string) bool {
	text = strings.TrimPrefix(text, "{")
	return text != "" && strings.IndexByte("1@*", text[0]) >= 0 || strings.HasPrefix(text, "PAWL_FILE_PATH") || strings.HasPrefix(text, "PAWL_END_REPORT")
}

// groupPollInterval is how often ended looks whether a group still has processes. Nobody
// sees a delay of this size, and a group is only polled after an interrupt or a timeout.
const groupPollInterval = 10 * time.Millisecond

// setProcessGroup makes cmd the leader of a new process group. It must be called before cmd
// starts. When the context of cmd ends, the whole group gets SIGTERM, and SIGKILL after
// killDelay. A signal to the shell alone would leave its child processes running. Without
// a group, Ctrl-C in the terminal would reach the hook at the same time as pawl.
//
// ended must be called when cmd has ended. After a SIGTERM it waits until the whole group has
// ended, because a child may ignore the signal, and then cancels the SIGKILL, because the
// number of the group may later belong to other processes.
func setProcessGroup(cmd *exec.Cmd, killDelay time.Duration) (ended func()) {
	var killed chan struct{} // closed after the SIGKILL; nil until the SIGTERM. Cancel returns before Wait does
	var kill *time.Timer
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay += killDelay / 4 // exec kills the shell itself after that, so the group must be killed before
	cmd.Cancel = func() error {
		group := -cmd.Process.Pid
		killed = make(chan struct{})
		kill = time.AfterFunc(killDelay, func() {
			syscall.Kill(group, syscall.SIGKILL)
			close(killed)
		})
		err := syscall.Kill(group, syscall.SIGTERM)
		if errors.Is(err, syscall.ESRCH) { // cmd has ended just now, and its error counts
			return os.ErrProcessDone
		}
		return err
	}
	return func() {
		if killed == nil {
			return
		}
		for syscall.Kill(-cmd.Process.Pid, 0) != syscall.ESRCH {
			select {
			case <-killed:
				return
			case <-time.After(groupPollInterval):
			}
		}
		kill.Stop()
	}
}
