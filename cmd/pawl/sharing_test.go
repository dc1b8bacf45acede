package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// A crowd is several pawl processes with one state directory that download from one server,
// and a server that counts their connections.
type crowd struct {
	*testing.T
	files *faultserver.Server
	front *httptest.Server
	dir   string
	names map[string]faultserver.File // all files, by path, such as "2/0.bin" for process 2

	mu    sync.Mutex
	open  map[string]bool // open connections, by the client's address; guarded by mu
	owner map[string]int  // process of each client address; guarded by mu
	peak  int             // peak number of open connections; guarded by mu
}

// newCrowd serves the same number of bytes to each of n processes: a file of large bytes and
// small files of 300 KiB, at rate bytes per second and connection.
func newCrowd(t *testing.T, n, small int, large, rate int64) *crowd {
	c := &crowd{T: t, files: faultserver.New(), dir: t.TempDir(), names: make(map[string]faultserver.File), open: make(map[string]bool), owner: make(map[string]int)}
	t.Cleanup(c.files.Close)
	c.files.Set(faultserver.ConnRate(rate))
	c.front = httptest.NewUnstartedServer(c)
	c.front.Config.ConnState = c.connState
	c.front.Start()
	t.Cleanup(c.front.Close)
	for p := range n {
		for i := range small + 1 {
			size := int64(300 << 10)
			if i == 0 {
				size = large
			}
			f := faultserver.NewFile(size, uint64(1000*p+i))
			c.names[fmt.Sprintf("%d/%d.bin", p, i)] = f
			c.files.Put(fmt.Sprintf("%d/%d.bin", p, i), f)
		}
	}
	return c
}

func (c *crowd) connState(conn net.Conn, s http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s {
	case http.StateNew:
		c.open[conn.RemoteAddr().String()] = true
		c.peak = max(c.peak, len(c.open))
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn.RemoteAddr().String())
	}
}

// ServeHTTP records which process owns the connection.
func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.owner[r.RemoteAddr] = processOf(r.URL.Path)
	c.mu.Unlock()
	c.files.ServeHTTP(w, r)
}

// peakConns returns the peak number of open connections.
func (c *crowd) peakConns() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.peak
}

// connections returns how many connections process p has open.
func (c *crowd) connections(p int) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for addr := range c.open {
		if owner, ok := c.owner[addr]; ok && owner == p {
			n++
		}
	}
	return n
}

// processOf returns the number of the process that downloads a path.
func processOf(path string) int {
	dir, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	p, _ := strconv.Atoi(dir)
	return p
}

// start starts process p, which downloads all its files.
func (c *crowd) start(p int, args ...string) *exec.Cmd {
	args = append(args, "-q", "-d", strconv.Itoa(p))
	for i := 0; ; i++ {
		name := fmt.Sprintf("%d/%d.bin", p, i)
		if _, ok := c.names[name]; !ok {
			break
		}
		args = append(args, c.front.URL+"/"+name)
	}
	cmd := pawlCommand(c.dir, args...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		c.Fatal(err)
	}
	return cmd
}

// sent returns how many bytes the server has sent to each of n processes.
func (c *crowd) sent(n int) []int64 {
	sent := make([]int64, n)
	for _, r := range c.files.Requests() {
		sent[processOf(r.Path)] += r.Bytes
	}
	return sent
}

// sample records ten times a second how many bytes each process was sent, until the first
// process ends. It returns when all processes have ended.
func (c *crowd) sample(cmds []*exec.Cmd) (samples [][]int64) {
	ended := make(chan error, len(cmds))
	for _, cmd := range cmds {
		go func() { ended <- cmd.Wait() }() // joined below
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for left := len(cmds); left > 0; {
		select {
		case err := <-ended:
			left--
			if err != nil {
				c.Errorf("a process failed: %v", err)
			}
		case <-tick.C:
			if left == len(cmds) {
				samples = append(samples, c.sent(len(cmds)))
			}
		}
	}
	return samples
}

func (c *crowd) checkFiles() {
	c.Helper()
	for name, f := range c.names {
		checkFile(c.T, filepath.Join(c.dir, name), f)
	}
}

// checkFair checks that each process got at least half and at most twice the average number
// of bytes between two samples.
func (c *crowd) checkFair(from, to []int64) {
	c.Helper()
	got, sum := make([]int64, len(from)), int64(0)
	for p := range from {
		got[p] = to[p] - from[p]
		sum += got[p]
	}
	c.Logf("bytes of each process in the middle third: %d; peak of %d connections", got, c.peakConns())
	most := int64(2)
	if raceEnabled {
		most = 3
	}
	for p, n := range got {
		if mean := sum / int64(len(got)); n < mean/most || n > mean*most {
			c.Errorf("process %d: got %d bytes, want about the average of %d", p, n, mean)
		}
	}
}

// TestSharedConnections checks that three processes with -x 8 open at most 8 connections
// together and get about equal shares.
func TestSharedConnections(t *testing.T) {
	t.Parallel()
	for _, s := range []struct {
		jobs  string
		small int
		large int64
	}{{"2", 40, 24 << 20}, {"8", 40, 24 << 20}, {"8", 100, 300 << 10}} {
		t.Run(fmt.Sprintf("%s jobs, %d small files", s.jobs, s.small), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 3, s.small, s.large, 2<<20)
			var cmds []*exec.Cmd
			for p := range 3 {
				cmds = append(cmds, c.start(p, "-x", "8", "-j", s.jobs))
			}
			samples := c.sample(cmds)
			c.checkFiles()
			if c.peakConns() > 8 || c.peakConns() < 7 {
				t.Errorf("peak of connections: got %d, want 8", c.peakConns())
			}
			if n := len(samples); n < 9 {
				t.Errorf("only %d samples", n)
			} else {
				c.checkFair(samples[n/3], samples[2*n/3])
			}
		})
	}
}

// TestLaterProcessGetsItsShare checks that a process that starts when another one has all
// connections gets its share, although the other needs all of them for its files.
func TestLaterProcessGetsItsShare(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 2, 0, 12<<20, 2<<20)
	for i := 1; i < 8; i++ {
		f := faultserver.NewFile(12<<20, uint64(i+100))
		c.names[fmt.Sprintf("0/%d.bin", i)] = f
		c.files.Put(fmt.Sprintf("0/%d.bin", i), f)
	}
	first := c.start(0, "-x", "8", "-j", "8")
	waitFor(t, func() bool { return c.sent(2)[0] > 16<<20 })
	second := c.start(1, "-x", "8")
	begun := time.Now()
	err := second.Wait()
	t.Logf("12 MiB at 2 MiB/s per connection took %v beside another process", time.Since(begun))
	if err != nil || time.Since(begun) > withSlack(8*time.Second) { // 3 s with four connections
		t.Errorf("second: %v after %v", err, time.Since(begun))
	}
	if err := first.Wait(); err != nil {
		t.Errorf("first: %v", err)
	}
	c.checkFiles()
	if c.peakConns() > 8 {
		t.Errorf("peak of connections: got %d, want 8", c.peakConns())
	}
}

// TestMoreProcessesThanConnections checks that three processes complete with two connections
// in all.
func TestMoreProcessesThanConnections(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 3, 3, 4<<20, 1<<20)
	var cmds []*exec.Cmd
	for p := range 3 {
		cmds = append(cmds, c.start(p, "-x", "2", "-j", "2"))
	}
	samples := c.sample(cmds)
	c.checkFiles()
	if c.peakConns() > 2 {
		t.Errorf("peak of connections: got %d, want 2", c.peakConns())
	}
	t.Logf("%d samples, the last %d", len(samples), samples[len(samples)-1])
}

// TestConnectionsOfKilledProcess checks that another process gets the connections of a killed
// process within a second.
func TestConnectionsOfKilledProcess(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, 2, 0, 64<<20, 2<<20)
	victim, heir := c.start(0, "-x", "8"), c.start(1, "-x", "8")
	waitFor(t, func() bool {
		sent := c.sent(2)
		return sent[0] > 6<<20 && sent[1] > 6<<20
	})
	victim.Process.Kill()
	victim.Wait()
	killed := time.Now()
	before := c.connections(1)
	waitFor(t, func() bool { return c.connections(1) == 8 })
	t.Logf("%v after the kill the other process has 8 connections, %d before", time.Since(killed), before)
	if time.Since(killed) > withSlack(time.Second) || before > 4 {
		t.Errorf("got 8 connections after %v and %d before the kill, want 1 s and at most 4", time.Since(killed), before)
	}
	if err := heir.Wait(); err != nil {
		t.Errorf("the other process: %v", err)
	}
	checkFile(t, filepath.Join(c.dir, "1/0.bin"), c.names["1/0.bin"])
	if c.peakConns() > 8 {
		t.Errorf("peak of connections: got %d, want 8", c.peakConns())
	}
}
