//go:build !linux && !darwin

package main

import (
	"os"
	"os/exec"
)

// setProcessGroup does nothing. When the context of cmd is done, exec kills only cmd
// itself and not its descendants.
func setProcessGroup(*exec.Cmd) {}

// maxRSS returns 0 for unknown.
func maxRSS(*os.ProcessState) int64 { return 0 }

// freeSpace returns -1 for unknown.
func freeSpace(string) int64 { return -1 }
