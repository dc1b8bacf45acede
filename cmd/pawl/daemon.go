package main

// This file runs the daemon: the queue of the state directory, and its server.

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	server "pawl/cmd/pawl/daemon"
	"pawl/cmd/pawl/daemon/aria2rpc"
	webpage "pawl/cmd/pawl/daemon/page"
	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/store"
)

// Validate refuses impossible options. kong calls it after parsing.
func (c *DaemonCmd) Validate() error {
	if c.TLSKey != "" && c.TLSCert == "" {
		return errors.New("--tls-key needs the certificate in --tls-cert FILE")
	}
	if c.Stop && c.Open {
		return errors.New("--open and --stop exclude each other")
	}
	for _, origin := range c.AllowOrigin {
		if origin != "null" && !isWebOrigin(origin) {
			return fmt.Errorf("--allow-origin: %q is not an origin such as https://example.org, or null", origin)
		}
	}
	for _, addr := range c.Listen {
		if err := checkListenAddress(addr); err != nil {
			return err
		}
	}
	return nil
}

// transfer returns the options of downloads in the form of the other commands.
func (c *DaemonCmd) transfer() *Transfer {
	return &Transfer{
		SpeedOptions: c.SpeedOptions, RetryOptions: c.RetryOptions, RequestOptions: c.RequestOptions,
		CredentialOptions: CredentialOptions{StoredCredentials: c.StoredCredentials},
		NetworkOptions:    c.NetworkOptions, TLSOptions: c.TLSOptions, TrustOptions: c.TrustOptions, FileOptions: FileOptions{PlaceOptions: c.PlaceOptions},
	}
}

// Run runs the daemon until a signal, or a request to stop.
func (c *DaemonCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	if c.Stop {
		return stopRunning(ctx, g, out)
	}
	if c.Open {
		if done, err := openRunning(ctx, g, out); done || err != nil {
			return err
		}
	}
	root, err := c.root()
	if err != nil {
		return err
	}
	log := newLog(g, out.stderr)
	st, err := g.openStore(out, store.Options{Root: root, MinFree: int64(c.MinFree)})
	if err != nil {
		return err
	}
	// The lock comes before the address, so that the error of a second daemon names the first one.
	lock, err := lockDaemon(st)
	if err != nil {
		return err
	}
	defer lock.Close()
	listeners, config, err := c.listen()
	if err != nil {
		return err
	}
	defer closeAll(listeners)
	out.divert(func(line string) { logLine(log, line) }, func() {})
	defer out.divert(nil, func() {})
	d := &daemonRun{cmd: c, options: c.transfer(), out: out, log: log, store: st, root: root}
	ctx, d.stop = context.WithCancelCause(ctx)
	defer d.stop(nil)
	err = d.run(ctx, listeners, config)
	if err == nil || errors.Is(err, errStopped) {
		return nil
	}
	if _, bySignal := asSignal(err); bySignal {
		log.Info("stopped; what was downloaded is kept", "reason", err.Error())
		return reportedError{err}
	}
	return err
}

// errStopped is the cause of the end of a daemon that a request has stopped.
var errStopped = errors.New("stopped by a request")

// root returns the directory for all files, which must exist: its disk may not be mounted.
func (c *DaemonCmd) root() (string, error) {
	root := c.Root
	if root == "" {
		if root = downloadDir(); root == "" {
			root = "."
		}
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return "", err
	}
	info, err := os.Stat(root)
	if err == nil && !info.IsDir() {
		err = &fs.PathError{Op: "open", Path: root, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return "", &settingError{"--root", "cannot be used: " + err.Error(), "is its disk mounted? otherwise create the directory, or name another one with --root DIR"}
	}
	return root, nil
}

// downloadDir returns the user's directory of downloads, "" if there is none: the directory in the file
// user-dirs.dirs of xdg-user-dirs, or else ~/Downloads.
func downloadDir() string {
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	dir := filepath.Join(home, "Downloads")
	if f, err := os.Open(filepath.Join(userConfigDir(), "user-dirs.dirs")); err == nil {
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			value, ok := strings.CutPrefix(strings.TrimSpace(in.Text()), "XDG_DOWNLOAD_DIR=")
			if value = strings.Trim(value, `"`); !ok {
				continue
			}
			if below, ok := strings.CutPrefix(value, "$HOME/"); ok {
				value = filepath.Join(home, below)
			}
			if filepath.IsAbs(value) && value != home { // the home directory itself means that there is none
				dir = value
			}
		}
	}
	if !isDirectory(dir) {
		return ""
	}
	return dir
}

// A daemonError reports that the state directory belongs to a daemon that runs.
type daemonError struct{ holder string }

func (e *daemonError) Error() string {
	return "a daemon runs with this state directory already: " + cmp.Or(e.holder, "it has just started")
}

func (e *daemonError) Unwrap() error { return store.ErrBusy }

// lockDaemon makes this process the only daemon of the state directory.
func lockDaemon(st state) (interface{ Close() error }, error) {
	lock, other, err := st.LockRun("queue", fmt.Sprintf("process %d, since %s", os.Getpid(), time.Now().Format(time.DateTime)))
	if !errors.Is(err, store.ErrBusy) {
		return lock, err
	}
	if client, findErr := server.Find(st.dir); findErr == nil {
		other += ", at " + client.Address
	}
	return nil, &daemonError{other}
}

// stopTime is how long a daemon may take to end. It needs two seconds at most, unless the disk is very slow.
const stopTime = 30 * time.Second

// stopRunning ends the daemon that runs, and waits until another one could start.
func stopRunning(ctx context.Context, g *Globals, out *printer) error {
	st, err := g.openStore(out, store.Options{})
	if err != nil {
		return err
	}
	client, err := server.Find(st.dir)
	if err == nil {
		err = client.Stop(ctx)
	}
	if errors.Is(err, server.ErrNotRunning) {
		out.note("no daemon is running")
		return nil
	}
	if err != nil {
		return daemonFailure(err)
	}
	for end := time.Now().Add(stopTime); ; {
		lock, err := lockDaemon(st)
		if err == nil {
			out.note("the daemon has ended; what was downloaded is kept")
			return lock.Close()
		}
		if !errors.Is(err, store.ErrBusy) || time.Now().After(end) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func closeAll(listeners []net.Listener) {
	for _, l := range listeners {
		l.Close()
	}
}

// A daemonRun is a daemon that runs. The fields above the blank line are set before.
type daemonRun struct {
	cmd     *DaemonCmd
	options *Transfer
	out     *printer
	log     *slog.Logger
	store   state
	root    string
	stop    context.CancelCauseFunc

	d         *downloader.Downloader
	hooks     *hooks
	queue     *queue.Queue
	limitRate atomic.Int64 // of all downloads together; 0 for none
}

// run runs the daemon until ctx ends. It returns the cause of that, or why it cannot run.
func (d *daemonRun) run(ctx context.Context, listeners []net.Listener, config *tls.Config) error {
	secret, err := d.secret()
	if err != nil {
		return err
	}
	opts, err := d.options.downloaderOptions()
	if err != nil {
		return err
	}
	d.dropSecretHeaders()
	if _, err := d.options.openHeaders(ctx, d.out); err != nil {
		return err
	}
	d.hooks = newHooks(ctx, d.cmd.hookOptions(), d.out)
	defer d.hooks.close()
	opts.OnEvent = d.onEvent
	d.d = downloader.New(d.store.Store, opts)
	defer d.d.Close()
	d.limitRate.Store(opts.LimitRate)
	defer d.options.followRates(d.d, d.setLimitRate)()
	removeTextLists(d.store)
	if d.queue, err = queue.Open(d.store.Store, d.d, d.queueOptions()); err != nil {
		return err
	}
	srv := server.New(d.queue, d.serverOptions(secret, config))
	events := d.queue.Listen(ctx)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	failures := make(chan error, 2)
	running.Go(func() {
		failures <- d.queue.Run(ctx)
		cancel()
	})
	running.Go(func() {
		failures <- srv.Serve(ctx, listeners...)
		cancel()
	})
	running.Go(func() { d.logEvents(ctx, events) })
	running.Go(func() { watchdog(ctx) })
	d.ready(srv, listeners, config)
	<-ctx.Done()
	daemon.SdNotify(false, daemon.SdNotifyStopping)
	running.Wait()
	if err := errors.Join(<-failures, <-failures); err != nil {
		return err
	}
	return context.Cause(ctx)
}

// ready reports to systemd and to the user that the daemon runs.
func (d *daemonRun) ready(srv *server.Server, listeners []net.Listener, config *tls.Config) {
	daemon.SdNotify(false, daemon.SdNotifyReady)
	for _, l := range listeners {
		d.log.Info("listening", "address", server.AddressOf(l.Addr(), config != nil), "root", d.root, "state", d.store.dir)
	}
	if !d.cmd.Open {
		if isTerminal(d.out.stderr) {
			d.log.Info("in another terminal, or in the browser: pawl add URL, pawl list --watch, pawl daemon --open; Ctrl-C ends the daemon")
		}
		return
	}
	for _, l := range listeners {
		if l.Addr().Network() != "unix" {
			showPage(d.out, server.AddressOf(l.Addr(), config != nil)+srv.OpenPath())
			return
		}
	}
	d.out.warn("a browser cannot open a Unix socket; for the page, listen at a port, too: --listen %s", defaultListen)
}

// watchdog reports to systemd that the daemon lives, if its unit has WatchdogSec.
func watchdog(ctx context.Context) {
	interval, err := daemon.SdWatchdogEnabled(false)
	if err != nil || interval == 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			daemon.SdNotify(false, daemon.SdNotifyWatchdog)
		case <-ctx.Done():
			return
		}
	}
}

// secret returns the secret of the daemon.
func (d *daemonRun) secret() (string, error) {
	if d.cmd.SecretFile == "" {
		return server.LoadSecret(d.store.dir)
	}
	text, err := readSecret("--secret-file", d.cmd.SecretFile, d.out)
	if err != nil {
		return "", err
	}
	secret, err := server.StoreSecret(d.store.dir, string(text))
	if err != nil {
		return "", &settingError{"--secret-file", "cannot be used: " + err.Error(), "write a secret of at least 16 letters and digits into it, alone on one line"}
	}
	return secret, nil
}

// dropSecretHeaders leaves out header fields that may be secret and are not for one host. A page in the browser
// chooses the URLs of its downloads, so it would get them.
func (d *daemonRun) dropSecretHeaders() {
	for i, h := range d.options.Header {
		var kept []headerField
		for _, f := range h.fields {
			if f.host != "" || !isSecretName(f.name) {
				kept = append(kept, f)
				continue
			}
			d.out.warn("the header field %s is not sent by the daemon, because any page could ask for it; give it a host: -H 'HOST=%s: …'", f.name, f.name)
		}
		d.options.Header[i].fields = kept
	}
}

// setLimitRate changes the limit of all downloads together.
func (d *daemonRun) setLimitRate(bytesPerSecond int64) {
	d.limitRate.Store(bytesPerSecond)
	d.d.SetLimitRate(bytesPerSecond)
}

// queueOptions returns the options of the queue.
func (d *daemonRun) queueOptions() queue.Options {
	lists := &listTasks{options: d.options, limit: d.cmd.ListLimit, keyring: d.cmd.Keyring, store: d.store, d: d.d, hooks: d.hooks, out: d.out, log: d.log}
	ends := &taskHooks{hooks: d.hooks, codes: make(map[int]int)}
	o := queue.Options{
		Root: d.root, Jobs: d.cmd.Jobs, RunList: lists.run, ExitCode: exitCode, OnEnd: ends.ended, OnIdle: ends.idle,
		Warn: func(text string) { d.out.warn("%s", text) },
		Complete: func(t queue.Task, req *downloader.Request) {
			req.Access.Credentials = taskHeaders(d.options, t).forTyped
		},
	}
	d.options.applyTo(&o.Request)
	return o
}

// serverOptions returns the options of the server.
func (d *daemonRun) serverOptions(secret string, config *tls.Config) server.Options {
	return server.Options{
		Version: version(), Root: d.root, Secret: secret, Hosts: d.cmd.Host, Origins: d.cmd.AllowOrigin, StateDir: d.store.dir, TLS: config,
		LimitRate: d.limitRate.Load, SetLimitRate: d.setLimitRate,
		Free: func() int64 { return d.store.FreeSpace(d.root) },
		Stop: func() { d.stop(errStopped) },
		Log:  d.log,
		RPC:  d.rpc,
		Page: webpage.Handler(),
	}
}

// rpc returns the handler of aria2's RPC.
func (d *daemonRun) rpc(srv *server.Server) http.Handler {
	return aria2rpc.New(d.queue, aria2rpc.Options{
		Authorize: srv.Authorize, Version: version(), Stats: srv.Rate, LimitRate: d.limitRate.Load, SetLimitRate: d.setLimitRate,
		AcquireSocket: srv.AcquireSocket, CheckOrigin: srv.CheckOrigin, Stop: func() { d.stop(errStopped) }, Log: d.log,
	})
}
