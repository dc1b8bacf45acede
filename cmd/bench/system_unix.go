//go:build linux || darwin

package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// ownGroup makes cmd a group of its own, so that Ctrl-C reaches this program
// alone, which then kills the whole group.
func setProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// maxRSS returns the peak memory of an ended process in bytes.
func maxRSS(s *os.ProcessState) int64 {
	u, ok := s.SysUsage().(*syscall.Rusage)
	switch {
	case !ok:
		return 0
	case runtime.GOOS == "linux":
		return int64(u.Maxrss) << 10
	}
	return int64(u.Maxrss)
}

// room returns the free bytes of the file system of dir, -1 if unknown.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
