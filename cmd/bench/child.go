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

// resourceUsage is the time and memory that a child process used.
type resourceUsage struct {
	Wall   time.Duration
	CPU    time.Duration // user and system time together
	RSS    int64         // peak resident memory in bytes; 0 if unknown
	Output string        // last maxOutput bytes of stdout and stderr together
}

// maxOutput is how many bytes of a child's output are kept. 4 KiB is a guess: error
// messages fit in, and a child that prints without end costs no memory.
const maxOutput = 4 << 10

// A tail is an io.Writer that keeps the last maxOutput bytes written to it.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if extra := len(t.b) - maxOutput; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

// runChild runs a program in dir to its end. If ctx is done first it kills the program,
// on Unix with all its descendants, and the error is the cause of ctx. The usage is
// valid also for a program that failed.
func runChild(ctx context.Context, argv, env []string, dir string) (resourceUsage, error) {
	var out tail
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env, cmd.Dir = env, dir
	cmd.Stdout, cmd.Stderr = &out, &out
	// A descendant that survives the kill may hold the output pipe open. 5 s is a guess;
	// without a limit Wait would hang for as long as the descendant lives.
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

// peakMemory polls the peak memory of a process, in bytes, until ended is closed; 0
// means unknown. The rusage of the ended child must not be used where /proc exists,
// because between fork and exec the child counts bench's own memory as its own. The
// interval of 5 ms is a guess: a longer one misses more of the last growth before the
// exit, a shorter one takes CPU time from the programs.
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

// readPeak returns the VmHWM line ("high-water mark") of a file such as /proc/1/status,
// in bytes. It returns 0 if the file or the line is missing.
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
	errKilled  = errors.New("killed halfway")
)

// childEnv returns environ for a child process: without proxies and without the
// variables that configure the measured programs, because these would make the figures
// depend on the user. If ca is not "", programs that use OpenSSL's defaults trust the
// certificates in that file.
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

// lastLine returns the last line of text that is not blank, or "". A carriage return
// ends a line, too, because progress bars use it.
func lastLine(text string) string {
	lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := len(lines) - 1; i >= 0; i-- {
		if s := strings.TrimSpace(lines[i]); s != "" {
			return s
		}
	}
	return ""
}
