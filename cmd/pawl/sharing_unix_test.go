//go:build unix

package main

import (
	"errors"
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
	"syscall"
	"testing"

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
	open  map[string]net.Conn // open connections, by the client's address; guarded by mu
	owner map[string]int      // process of each client address; guarded by mu
	peak  int                 // peak number of open connections; guarded by mu
}

// newCrowd serves the same number of bytes to each of n processes: a file of large bytes and
// small files of 300 KiB, at rate bytes per second and connection.
func newCrowd(t *testing.T, n, small int, large, rate int64) *crowd {
	c := &crowd{T: t, files: faultserver.New(), dir: t.TempDir(), names: make(map[string]faultserver.File), open: make(map[string]net.Conn), owner: make(map[string]int)}
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
		for addr, other := range c.open {
			if isClosedByPeer(other) { // what the server has not noticed yet, on a busy machine
				delete(c.open, addr)
			}
		}
		c.open[conn.RemoteAddr().String()] = conn
		c.peak = max(c.peak, len(c.open))
	case http.StateClosed, http.StateHijacked:
		delete(c.open, conn.RemoteAddr().String())
	}
}

// isClosedByPeer reports whether the other end of a connection has closed it.
func isClosedByPeer(conn net.Conn) (closed bool) {
	raw, err := conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	err = raw.Control(func(fd uintptr) {
		n, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		closed = n == 0 && err == nil || errors.Is(err, syscall.ECONNRESET)
	})
	return closed || err != nil
}

// ServeHTTP records which process owns the connection.
func (c *crowd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	c.owner[r.RemoteAddr] = processOf(r.URL.Path)
	c.mu.Unlock()
	c.files.ServeHTTP(w, r)
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

// sent returns how many bytes the server has sent to process p.
func (c *crowd) sent(p int) (n int64) {
	for _, r := range c.files.Requests() {
		if processOf(r.Path) == p {
			n += r.Bytes
		}
	}
	return n
}

// finish waits for processes, which must succeed, and checks their files and the peak number of
// connections.
func (c *crowd) finish(most int, cmds ...*exec.Cmd) {
	c.Helper()
	for _, cmd := range cmds {
		if err := cmd.Wait(); err != nil {
			c.Errorf("%v: %v", cmd.Args, err)
		}
	}
	for name, f := range c.names {
		checkFile(c.T, filepath.Join(c.dir, name), f)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.peak > most {
		c.Errorf("peak of connections: got %d, want %d", c.peak, most)
	}
}

// TestSharedConnections checks that three processes with -x 8 open at most 8 connections
// together.
func TestSharedConnections(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for _, s := range []struct {
		jobs  string
		small int
		large int64
	}{{"2", 10, 8 << 20}, {"8", 40, 300 << 10}} {
		t.Run(fmt.Sprintf("%s jobs, %d small files", s.jobs, s.small), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 3, s.small, s.large, 2<<20)
			var cmds []*exec.Cmd
			for p := range 3 {
				cmds = append(cmds, c.start(p, "-x", "8", "-j", s.jobs))
			}
			c.finish(8, cmds...)
		})
	}
}

// TestFirstConnection checks that a process gets a connection while another one could use all of
// them for a long time.
func TestFirstConnection(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	for _, conns := range []int{1, 4} {
		t.Run(fmt.Sprint(conns, " connections"), func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, 2, 0, 100<<20, 64<<10)
			first := c.start(0, "-x", strconv.Itoa(conns))
			waitFor(t, func() bool { return c.connections(0) == conns })
			second := c.start(1, "-x", strconv.Itoa(conns))
			waitFor(t, func() bool { return c.sent(1) > 0 })
			first.Process.Kill()
			second.Process.Kill()
			if first.Wait(); first.ProcessState.ExitCode() >= 0 {
				t.Errorf("the first process ended with exit code %d before it was killed", first.ProcessState.ExitCode())
			}
			second.Wait()
		})
	}
}

// TestMoreProcessesThanConnections checks that three processes complete with two connections
// in all.
func TestMoreProcessesThanConnections(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	c := newCrowd(t, 3, 3, 1<<20, 1<<20)
	var cmds []*exec.Cmd
	for p := range 3 {
		cmds = append(cmds, c.start(p, "-x", "2", "-j", "2"))
	}
	c.finish(2, cmds...)
}

// TestConnectionsOfKilledProcess checks that another process gets the connections of a killed
// process.
func TestConnectionsOfKilledProcess(t *testing.T) {
	sampled(t, 8)
	t.Parallel()
	c := newCrowd(t, 2, 0, 64<<20, 2<<20)
	victim := c.start(0, "-x", "8")
	waitFor(t, func() bool { return c.sent(0) > 2<<20 })
	heir := c.start(1, "-x", "8")
	waitFor(t, func() bool { return c.sent(1) > 1<<20 })
	victim.Process.Kill()
	victim.Wait()
	delete(c.names, "0/0.bin")
	waitFor(t, func() bool { return c.connections(1) == 8 })
	c.finish(8, heir)
}
