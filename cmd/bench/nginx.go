package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// An nginxServer is an nginx that serves real files. It is made by startNginx and must be
// closed.
type nginxServer struct {
	baseURL string
	cmd     *exec.Cmd
	client  *http.Client // reaches the server, wherever it is
	before  nginxCounts  // at the last reset
}

// nginxCounts are the counters of stub_status, since the start.
type nginxCounts struct{ conns, requests int64 }

// nginxConfig serves the files of a directory. Its parameters are the number of processes,
// the directory, the address, and the rates of connections. $connection counts them.
const nginxConfig = `daemon off; worker_processes %d; pid %[2]s/nginx.pid; error_log %[2]s/nginx.log;
events { worker_connections 4096; }
http {
	access_log off; sendfile on; keepalive_requests 1000000; default_type application/octet-stream;
	client_body_temp_path %[2]s/t1; proxy_temp_path %[2]s/t2; fastcgi_temp_path %[2]s/t3; uwsgi_temp_path %[2]s/t4; scgi_temp_path %[2]s/t5;
	map $connection $rate { default %[4]d; ~[05]$ %[5]d; }
	server {
		listen %[3]s backlog=4096; root %[2]s; autoindex on; limit_rate $rate;
		location = /status { stub_status; }
	}
}
`

// startNginx starts an nginx that serves the files of dir at the server's end of the link, or on
// loopback if the link is nil. Of the shape it follows only the settings of single connections.
func startNginx(l *link, dir string, s Shape) (*nginxServer, error) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		return nil, err
	}
	listener, err := listenAt(l)
	if err != nil {
		return nil, err
	}
	addr := listener.Addr().String()
	listener.Close() // nginx cannot be given a socket of ours, so it must get the port again
	slow := s.ConnRate
	if s.SlowRate > 0 {
		slow = s.SlowRate
	}
	config := filepath.Join(dir, "nginx.conf")
	text := fmt.Sprintf(nginxConfig, 2, dir, addr, s.ConnRate, slow)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		return nil, err
	}
	argv := []string{path, "-p", dir, "-c", config}
	if os.Geteuid() == 0 {
		argv = append(argv, "-g", "user root;") // so that the workers may read the directory
	}
	if l != nil {
		argv = l.atServer(argv)
	}
	n := &nginxServer{baseURL: "http://" + addr, cmd: exec.CommandContext(context.Background(), argv[0], argv[1:]...)}
	n.client = &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) { return dialAt(l, addr) }}}
	setProcessGroup(n.cmd)
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for range 100 {
		if _, err = n.status(); err == nil {
			return n, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	n.close()
	log, _ := os.ReadFile(filepath.Join(dir, "nginx.log"))
	return nil, fmt.Errorf("starting nginx: %w: %s", err, lastLine(string(log)))
}

// status returns the counters. The request for them is not counted.
func (n *nginxServer) status() (c nginxCounts, err error) {
	resp, err := n.client.Get(n.baseURL + "/status")
	if err != nil {
		return c, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 4096))
	if err != nil {
		return c, err
	}
	var active, handled int64
	if _, err = fmt.Sscanf(string(text), "Active connections: %d \nserver accepts handled requests\n %d %d %d", &active, &c.conns, &handled, &c.requests); err != nil {
		return c, fmt.Errorf("reading the status of nginx: %w", err)
	}
	return nginxCounts{c.conns - 1, c.requests - 1}, nil
}

func (n *nginxServer) url() string { return n.baseURL }

func (n *nginxServer) reset() {
	n.before, _ = n.status()
	n.before.conns++ // the connection of status itself
	n.before.requests++
}

func (n *nginxServer) counts() serverCounts {
	now, err := n.status()
	if err != nil {
		return serverCounts{}
	}
	return serverCounts{conns: now.conns - n.before.conns, requests: now.requests - n.before.requests}
}

// waitSent is not supported, because nginx does not count bytes.
func (n *nginxServer) waitSent(context.Context, int64) bool { return false }

func (n *nginxServer) close() {
	n.cmd.Process.Signal(syscall.SIGTERM) // ends the workers, too
	done := time.AfterFunc(5*time.Second, func() { n.cmd.Cancel() })
	n.cmd.Wait()
	done.Stop()
}

// listenAt listens at a free port of the server's end of the link, or of loopback if it is nil.
func listenAt(l *link) (net.Listener, error) {
	if l == nil {
		return net.Listen("tcp", "127.0.0.1:0")
	}
	return l.listen()
}

// dialAt connects to an address from the server's end of the link, or on loopback.
func dialAt(l *link, addr string) (net.Conn, error) {
	if l == nil {
		return net.Dial("tcp", addr)
	}
	return l.dial(addr)
}
