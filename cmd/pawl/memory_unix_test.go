//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peakMemory returns the peak resident memory in bytes of an ended process, as
// getrusage(2) counts it.
func peakMemory(s *os.ProcessState) int64 {
	usage, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss) // macOS counts in bytes, other systems in KiB
	}
	return int64(usage.Maxrss) << 10
}
