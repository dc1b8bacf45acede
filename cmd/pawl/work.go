package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/downloader/fleet"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// transfer returns the options as those of the commands that download.
func (c *WorkCmd) transfer() *Transfer {
	return &Transfer{
		SpeedOptions: c.SpeedOptions, RetryOptions: c.RetryOptions, RunOptions: c.RunOptions, RequestOptions: c.RequestOptions, CredentialOptions: c.CredentialOptions,
		NetworkOptions: c.NetworkOptions, TLSOptions: c.TLSOptions, TrustOptions: c.TrustOptions,
		FileOptions: FileOptions{PlaceOptions: PlaceOptions{MinFree: c.MinFree, NoRemoteTime: c.NoRemoteTime}},
	}
}

// awaitStart waits for the time of --start-at.
func (c *WorkCmd) awaitStart(ctx context.Context, out *printer, hup <-chan os.Signal) error {
	return c.transfer().awaitStart(ctx, out, hup)
}

// Run works until a signal or, with --once, until nothing is left.
func (c *WorkCmd) Run(ctx context.Context, g *Globals, out *printer) (err error) {
	out.addTimestamps()
	setCollector(400, 64<<20) // as in mirror
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	t := c.transfer()
	opts, err := t.downloaderOptions()
	if err != nil {
		return err
	}
	if c.Tries == nil {
		opts.Retry.Tries = defaultMirrorTries
	}
	opts.Retry.WaitNetwork = false // other workers may have one
	key, err := c.queueKey(out)
	if err != nil {
		return err
	}
	headers, err := t.openHeaders(ctx, out)
	if err != nil {
		return err
	}
	headers.everywhere = c.HeadersEverywhere
	opts.TLS.Certificate = headers.certificate
	st, err := c.openState(g, out)
	if err != nil {
		return err
	}
	lock, err := c.lock(st)
	if err != nil {
		return err
	}
	defer lock.Close()
	queue, err := c.nats(out)
	if err != nil {
		return err
	}
	queue.Lease = c.messageLease()
	broker, err := fleet.ConnectNATS(ctx, queue)
	if err != nil {
		return err
	}
	defer broker.Close()
	if c.OneRun != "" {
		if _, err := fleet.ReadRun(ctx, broker, c.OneRun); err != nil {
			return fmt.Errorf("--run %q: %w", c.OneRun, err)
		}
	}
	w := &workDisplay{cmd: c, out: out, headers: headers, base: opts}
	o := fleet.WorkerOptions{
		Broker: broker, Store: st.Store, Downloader: w.newDownloader(st.Store), Dir: c.Dir, Shared: c.Shared, Jobs: c.Jobs, Name: c.Name, StateDir: st.dir, RunID: c.OneRun, Once: c.Once, Lease: time.Duration(c.Lease), MessageLease: queue.Lease,
		ForList: w.forList, OnOutcome: w.outcome, OnNote: func(s string) { out.note("%s", printable(s)) }, OnWarning: func(s string) { out.warn("%s", printable(s)) },
	}
	if o.Host, err = os.Hostname(); err != nil {
		return err
	}
	if key != nil {
		if o.Sealer, err = fleet.NewSealer(key); err != nil {
			return err
		}
	}
	if c.Shared {
		unlock, err := c.openTarget(ctx, broker, &o)
		if err != nil {
			return err
		}
		defer unlock()
	}
	w.show = newDisplay(out, displayOptions{json: g.JSON, verbose: g.Verbose, files: 2, dir: c.Dir, counts: w.fileCounts})
	w.show.start(w)
	err = fleet.NewWorker(o).Run(ctx)
	w.show.stop()
	out.printRepeats()
	n := w.fileCounts()
	out.note("%d files fetched, %d were there, %d failed", n.fetched, n.current+n.unchanged, n.failed)
	if bySignal, ok := asSignal(err); ok {
		out.note("%s; everything was given back to the queue", bySignal.Error())
		return reportedError{err}
	}
	return err
}

// messageLease returns how long a message of this worker is left to it if nothing is heard of it.
func (c *WorkCmd) messageLease() time.Duration {
	return min(time.Duration(cmp.Or(c.Lease, duration(fleet.DefaultLease)))/2, fleet.DefaultLease/2)
}

// openState opens the state directory. Each directory for files has one of its own by default, so that several workers on
// one machine need no option for it.
func (c *WorkCmd) openState(g *Globals, out *printer) (state, error) {
	own := *g
	if dirs := stateDirs(); own.State == "" && len(dirs) > 0 {
		sum := sha256.Sum256([]byte(c.Dir))
		own.State = filepath.Join(dirs[0], "work-"+hex.EncodeToString(sum[:8]))
	}
	return own.openStore(out, store.Options{MinFree: int64(c.MinFree), Root: c.Dir})
}

// A workerLockedError reports that another worker uses the state directory.
type workerLockedError struct{ dir, holder string }

func (e *workerLockedError) Error() string {
	return fmt.Sprintf("a worker with the state directory %q is %s", e.dir, e.holder)
}

// Is makes it equal to a lockedError for errors.Is, so that it has the same exit code.
func (e *workerLockedError) Is(kind error) bool { return kind == lockedError{} }

// lock prevents a second worker with the same state directory.
func (c *WorkCmd) lock(st state) (interface{ Close() error }, error) {
	lock, other, err := st.LockRun("work", fmt.Sprintf("process %d, since %s", os.Getpid(), time.Now().Format(time.DateTime)))
	if errors.Is(err, store.ErrBusy) {
		return nil, &workerLockedError{st.dir, other}
	}
	return lock, err
}

// openTarget checks that the directory is a shared one, in which the workers see each other's locks.
func (c *WorkCmd) openTarget(ctx context.Context, b fleet.Broker, o *fleet.WorkerOptions) (unlock func(), err error) {
	o.Target, err = fleet.ReadTarget(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &settingError{"-d", fmt.Sprintf("%q is not the directory of a run with --shared", c.Dir), "is the file system mounted? pawl mirror --queue --shared must have used the directory first"}
	}
	if err != nil {
		return nil, err
	}
	lock, err := fleet.LockTarget(ctx, b, c.Dir, o.Target, o.Host)
	if err != nil {
		return nil, err
	}
	o.Lock = lock.Name()
	return func() { lock.Close() }, nil
}

// A workDisplay is the display of a worker: it sums up the downloaders of its sessions. It is safe for
// concurrent use.
type workDisplay struct {
	cmd     *WorkCmd
	out     *printer
	headers originHeaders
	base    downloader.Options
	show    *display

	mu       sync.Mutex
	d        *downloader.Downloader // of the present session; guarded by mu, as all fields below
	received int64                  // by earlier ones
	files    fileCounts
}

// newDownloader returns the function that makes the downloader of a session, for fleet.WorkerOptions.
func (w *workDisplay) newDownloader(st *store.Store) func(slots func(string, int) downloader.Slots, forHost func(string) (int, float64)) *downloader.Downloader {
	return func(slots func(string, int) downloader.Slots, forHost func(string) (int, float64)) *downloader.Downloader {
		o := w.base
		o.Slots, o.OnEvent = slots, w.show.onEvent
		o.ForHost = func(hostPort string) downloader.HostOptions {
			var h downloader.HostOptions
			if w.base.ForHost != nil {
				h = w.base.ForHost(hostPort)
			}
			n, rate := forHost(hostPort)
			if own := cmp.Or(h.Connections, w.base.Connections); own > 0 { // may only lower the limit of the fleet
				n = min(n, own)
			}
			if own := cmp.Or(h.RequestRate, w.base.RequestRate); own > 0 && (rate == 0 || own < rate) {
				rate = own
			}
			h.Connections, h.RequestRate = n, rate
			return h
		}
		d := downloader.New(st, o)
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.d != nil {
			w.received += w.d.Received()
		}
		w.d = d
		return d
	}
}

// Snapshot is for the display.
func (w *workDisplay) Snapshot() []downloader.Progress {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.d == nil {
		return nil
	}
	return w.d.Snapshot()
}

// Received is for the display.
func (w *workDisplay) Received() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.d == nil {
		return 0
	}
	return w.received + w.d.Received()
}

func (w *workDisplay) fileCounts() fileCounts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.files
}

// forList completes the request for a file of a list. Its origins get the same credentials as if the user of
// this machine had named the list.
func (w *workDisplay) forList(list string, mayBePrivate bool, req *downloader.Request) {
	req.Access.Credentials = func(origin string) downloader.Credentials { return w.headers.forList(list, origin) }
	req.Access.Public = func(string) bool { return !mayBePrivate }
}

// outcome shows how a file ended.
func (w *workDisplay) outcome(x mirror.Outcome) {
	w.mu.Lock()
	switch x.State {
	case mirror.Fetched:
		w.files.fetched++
	case mirror.Current:
		w.files.current++
	case mirror.Unchanged:
		w.files.unchanged++
	case mirror.Failed:
		w.files.failed++
	}
	w.mu.Unlock()
	if x.State != mirror.Failed {
		return
	}
	m := message{level: "error", host: downloader.Origin(x.URL), text: x.Err.Error(), line: printable(fmt.Sprintf("%q: %v", weburl.Redact(x.URL), x.Err)), most: maxAlike}
	if mirror.WasNotTried(x.Err) {
		m.most = 0
	}
	if w.out.admits(m) {
		w.out.line("pawl: error: %s", m.line)
	}
}
