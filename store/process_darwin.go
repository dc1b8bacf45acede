package store

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// processStart returns when a process started, in seconds and microseconds (sysctl(3), KERN_PROC_PID).
func processStart(pid int) string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return ""
	}
	return fmt.Sprintf("%d.%06d", info.Proc.P_starttime.Sec, info.Proc.P_starttime.Usec)
}
