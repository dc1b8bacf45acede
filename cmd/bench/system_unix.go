//go:build linux || darwin

package main

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
)

// setProcessGroup puts cmd into a process group of its own, so that Ctrl-C reaches only
// bench, and kills the whole group when the context of cmd is done. It must be called
// before cmd starts.
func setProcessGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// maxRSS returns the peak resident memory of an ended process in bytes. The kernel
// counts in KiB on Linux and in bytes on macOS.
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

// freeSpace returns the bytes that the file system of dir has free for ordinary users,
// or -1 if unknown.
func freeSpace(dir string) int64 {
	var s syscall.Statfs_t
	if syscall.Statfs(dir, &s) != nil {
		return -1
	}
	return int64(s.Bavail) * int64(s.Bsize)
}
