package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A usage is what a child took.
type resourceUsage struct {
	Wall   time.Duration
	CPU    time.Duration // user and system
	RSS    int64         // peak, bytes; 0 if unknown
	Output string        // the end of what it printed
}

const maxOutput = 4 << 10 // bytes of a child's output

// A tail keeps the last bytes that are written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if extra := len(t.b) - maxOutput; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

// runChild runs a program to its end, and kills it with all that it started
// when ctx ends first. The error says how it failed.
func runChild(ctx context.Context, argv, env []string, dir string) (resourceUsage, error) {
	var out tail
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, dir
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = 5 * time.Second
	setProcessGroup(cmd)
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return resourceUsage{}, err
	}
	var watch sync.WaitGroup
	var peak int64
	ended := make(chan struct{})
	watch.Go(func() { peak = peakMemory(cmd.Process.Pid, ended) })
	err := cmd.Wait()
	u := resourceUsage{Wall: time.Since(begin), Output: string(out.b)}
	close(ended)
	watch.Wait()
	if s := cmd.ProcessState; s != nil {
		u.CPU = s.UserTime() + s.SystemTime()
		u.RSS = peak
		if peak == 0 {
			u.RSS = maxRSS(s)
		}
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	return u, err
}

// watchMemory returns the highest peak of memory that the kernel tells of a
// process until ended is closed. The rusage of its end does not do: that has the
// memory of this program in it too, which the child was for an instant.
func peakMemory(pid int, ended <-chan struct{}) int64 {
	var peak int64
	t := time.NewTicker(5 * time.Millisecond)
	defer t.Stop()
	file := fmt.Sprintf("/proc/%d/status", pid)
	for {
		peak = max(peak, readPeak(file))
		select {
		case <-ended:
			return peak
		case <-t.C:
		}
	}
}

// highWater returns VmHWM of a file such as /proc/1/status, in bytes, and 0
// where there is none.
func readPeak(file string) int64 {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "VmHWM:")
	number, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, _ := strconv.ParseInt(number, 10, 64)
	return n << 10
}

var (
	errTimeout = errors.New("timed out")
	errKilled  = errors.New("killed at half")
)

// childEnv returns an environment without proxies and without options for the
// programs, which trusts a certificate file; ca may be "".
func childEnv(environ []string, ca string) []string {
	var env []string
	for _, e := range environ {
		name, _, _ := strings.Cut(e, "=")
		if strings.HasSuffix(strings.ToLower(name), "_proxy") || strings.HasPrefix(name, "PAWL_") ||
			strings.HasPrefix(name, "RCLONE_") || name == "WGETRC" || name == "AXELRC" || name == "SSL_CERT_FILE" {
			continue
		}
		env = append(env, e)
	}
	if ca != "" {
		env = append(env, "SSL_CERT_FILE="+ca)
	}
	return env
}

// lastLine returns the last line of a text that says something.
func lastLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if s := strings.TrimSpace(lines[i]); s != "" {
			return s
		}
	}
	return ""
}
