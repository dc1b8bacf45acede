package store

import (
	"fmt"
	"os"
	"strings"
)

// processStart returns when a process started, in clock ticks since the boot: field 22 of
// /proc/PID/stat (proc_pid_stat(5)). The name of the program, field 2, may contain blanks and
// parentheses, so the fields are counted from its end.
func processStart(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	const state, start = 0, 22 - 3                    // field 3 is the first one
	if len(fields) <= start || fields[state] == "Z" { // a zombie runs no more
		return ""
	}
	return fields[start]
}
