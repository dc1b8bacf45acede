package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"pawl/downloader"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
	"pawl/downloader/weburl"
	"pawl/store"
)

// MirrorCmd brings a directory in line with lists.
type MirrorCmd struct {
	Lists []string `arg:"" name:"list" placeholder:"LIST" help:"Lists of files: a file, a URL, or - for standard input. Lines of URLs, aria2 input files, SHA256SUMS, metalinks or JSON lines, also gzipped, or the URL of a directory that shows its files."`
	Dir   string   `short:"d" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory (default: the working directory); nothing is written outside of it."`
	SyncOptions
	SignatureOptions
	ListOptions
	IndexOptions
	ShardOptions
	Failed string `placeholder:"FILE" type:"path" group:"Output" help:"Write the missing files to FILE at the end, as a list that mirror can read."`
	RepeatOptions
	ListLimit
	Pruning
	FleetOptions
	Transfer
}

// SyncOptions say which files are downloaded, and how they get into the directory.
type SyncOptions struct {
	Update      bool   `short:"N" group:"Files" help:"Check downloaded files again with the server, and download the changed ones."`
	Checksums   string `placeholder:"FILE|URL" group:"Files" help:"Checksum file that covers the files of the lists."`
	Tree        bool   `group:"Files" help:"Name files without a name of their own by host and directories, such as example.org/pub/a.iso, and not by the last part of the URL alone."`
	ServerNames bool   `group:"Files" help:"Name files without a name of their own as their servers do (Content-Disposition), if they do."`
	CutDirs     int    `placeholder:"N" group:"Files" help:"With --tree, leave out the first N directories."`
	FollowLinks bool   `group:"Files" help:"Write, and delete, through symbolic links below the directory."`
	DryRun      bool   `group:"Files" help:"Only print which files would be downloaded and deleted."`
}

// ListOptions say how lists are read, and which headers their hosts get.
type ListOptions struct {
	AllowEmpty        bool   `group:"Lists" help:"Accept a list that names no files; otherwise it is an error. With --prune, all files of such a list are deleted, within --max-delete."`
	Format            string `enum:",aria2,sums,metalink,json,csv,curl,index" default:"" placeholder:"FORMAT" group:"Lists" help:"Format of the lists, if it cannot be recognized: aria2 (also for lines of URLs), sums, metalink, json, csv (also with tabs), curl (its option -K), or index for an index page at a URL that does not end in a slash."`
	Base              string `placeholder:"URL" group:"Lists" help:"URL of the directory with the files of a checksum list (default: the directory of the list)."`
	Glob              bool   `group:"Lists" help:"Expand the patterns [1-20], [001-100:2], [a-z] and {a,b} in URLs."`
	HeadersEverywhere bool   `group:"Lists" help:"Send users and passwords, tokens, cookies, and headers that may be secrets to all hosts in lists of yours, not only to those that you typed."`
}

// RepeatOptions say how often a run repeats failed files, and when the whole run repeats.
type RepeatOptions struct {
	Rounds    int      `default:"3" placeholder:"N" group:"Retries and timeouts" help:"How often a file is tried if the reason of its failure may pass (default: ${default})."`
	RoundWait duration `default:"10s" placeholder:"D" group:"Retries and timeouts" help:"Wait before the second round, and three times as long before each further one (default: ${default})."`
	Every     duration `placeholder:"D" group:"Retries and timeouts" help:"Repeat every D, give or take a tenth, until a signal comes; SIGHUP repeats at once."`
}

// Pruning are the options about files that the lists no longer name.
type Pruning struct {
	Prune     bool         `group:"Files" help:"After a run without failures, except for files that a server says are not there (404, 410), delete files that earlier runs of the lists downloaded and that no list names any more."`
	MaxDelete mirror.Limit `placeholder:"N|N%" group:"Files" help:"Most files that --prune may delete, as a number or as a share of the files that earlier runs downloaded (default: half of them, but not less than ten). If there are more, nothing is deleted and the run fails; inf for no limit."`
	ListName  listName     `placeholder:"NAME" group:"Lists" help:"Identify the lists by NAME instead of by their path or URL. Standard input and pipes have no name of their own, and prune nothing without it."`
}

// defaultMirrorTries is the default of --tries in mirror. It is only half of the default of
// get, because each round tries a file anew, and a dead host should not hold up its files
// for long. With 10, three rounds would mean 30 tries.
const defaultMirrorTries = 5

// Validate refuses impossible options. kong calls it after parsing.
func (c *MirrorCmd) Validate() error {
	if c.Rounds < 1 {
		return errors.New("--rounds must be at least 1")
	}
	if c.CutDirs < 0 || c.CutDirs > 0 && !c.Tree {
		return errors.New("--cut-dirs needs --tree, and a number of at least 0")
	}
	if err := c.IndexOptions.check(); err != nil {
		return err
	}
	if err := c.SignatureOptions.validate(); err != nil {
		return err
	}
	if c.Signature != "" && c.Checksums == "" && len(c.Lists) > 1 {
		return errors.New("--signature is for one list, or for --checksums")
	}
	if c.Base != "" {
		if err := weburl.Check(c.Base); err != nil {
			return fmt.Errorf("--base: %w", err)
		}
	}
	if err := c.checkFleet(); err != nil {
		return err
	}
	if n := slices.Index(c.Lists, "-"); n >= 0 && (c.Every > 0 || slices.Contains(c.Lists[n+1:], "-")) {
		return errors.New("standard input can be read only once")
	}
	return nil
}

// Run mirrors the lists, once or every so often. --on-end is for each run of --every, and not for
// a dry run.
func (c *MirrorCmd) Run(ctx context.Context, g *Globals, out *printer) error {
	if c.DryRun {
		c.OnEnd = ""
	}
	if c.Every > 0 {
		return c.run(ctx, g, out)
	}
	return c.thenOnEnd(ctx, out, func() error { return c.run(ctx, g, out) })
}

// run mirrors the lists. The lock comes before the first request, so that a second process neither
// downloads a list nor prunes files.
func (c *MirrorCmd) run(ctx context.Context, g *Globals, out *printer) error {
	out.addTimestamps()
	if err := c.divide(); err != nil {
		return err
	}
	// Many small requests leave much garbage, of which little stays in use, so the collector
	// runs less often than by default (400 % instead of 100 %), which saves CPU. From 64 MiB on
	// it runs more often again, to keep the memory near that.
	setCollector(400, 64<<20)
	if c.isGiven() { // a submitter needs more for millions of files, and the limit would make it collect all the time
		setCollector(50, math.MaxInt64)
	}
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	st, err := g.openAnyStore(out, c.storeOptions())
	if err != nil {
		return err
	}
	defer st.close()
	// A missing directory is created later, but a file in its place would fail every entry.
	if info, err := os.Stat(c.Dir); err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mirror into", Path: c.Dir, Err: syscall.ENOTDIR}
	}
	lock, err := c.lock(st.Store)
	if err != nil {
		return err
	}
	defer lock.Close()
	c.warnNameless(out)
	if _, err := c.openHeaders(ctx, out, c.typedURLs()...); err != nil {
		return err
	}
	opts, err := c.downloaderOptions()
	if err != nil {
		return err
	}
	if c.Tries == nil {
		opts.Retry.Tries = defaultMirrorTries
	}
	hup := make(chan os.Signal, 1)
	if !c.readsPipe() {
		signal.Notify(hup, syscall.SIGHUP)
	}
	defer signal.Stop(hup)
	// If nobody reads the log any more, the run continues. SIGPIPE is caught and not ignored,
	// because hooks would inherit an ignored signal, and they must end as usual.
	pipe := make(chan os.Signal, 1)
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	return (&mirrorLoop{cmd: c, globals: g, out: out, store: st, opts: opts, hup: hup}).run(ctx)
}

// typedURLs returns the URLs that the user typed, between other arguments.
func (c *MirrorCmd) typedURLs() []string {
	return append([]string{c.Base, c.Checksums, c.Signature}, c.Lists...)
}

// storeOptions returns the options of the store for the files of the lists. With a Root, the
// store refuses paths that lead out of the directory through a symbolic link.
func (c *MirrorCmd) storeOptions() store.Options {
	o := store.Options{MinFree: int64(c.MinFree), Root: c.Dir}
	if c.FollowLinks {
		o.Root = ""
	}
	return o
}

// readsPipe reports whether a list is standard input or another pipe. A pipe cannot be
// read again, so SIGHUP must end such a run. If the run repeated, the lines read before
// would be missing, and --prune would delete their files.
func (c *MirrorCmd) readsPipe() bool { return slices.ContainsFunc(c.Lists, isNameless) }

// warnNameless warns about a list that prunes nothing because it has no name.
func (c *MirrorCmd) warnNameless(out *printer) {
	if !c.Prune || c.ListName != "" {
		return
	}
	if i := slices.IndexFunc(c.Lists, isNameless); i >= 0 {
		out.warn("list %q has no name of its own, so it prunes nothing; give it one with --list-name NAME", c.Lists[i])
	}
}

// A lockedError reports that another process mirrors the same lists into the same
// directory.
type lockedError struct{ holder string }

// Is makes all lockedErrors equal for errors.Is, whoever holds the lock.
func (e lockedError) Is(target error) bool {
	_, ok := target.(lockedError)
	return ok
}

func (e lockedError) Error() string {
	return fmt.Sprintf("the same lists are being mirrored into the same directory by %s", e.holder)
}

// lock prevents a second run with the same lists and directory, for example by cron while
// the last run still continues. The lock must be closed at the end.
func (c *MirrorCmd) lock(st *store.Store) (interface{ Close() error }, error) {
	holder := fmt.Sprintf("process %d, since %s", os.Getpid(), time.Now().Format(time.DateTime))
	lock, other, err := st.LockRun(c.lockKey(), holder)
	if errors.Is(err, store.ErrBusy) {
		return nil, lockedError{other}
	}
	return lock, err
}

// runKey returns a key for the set of lists and the directory. It does not depend on the
// order of the lists.
func (c *MirrorCmd) runKey() string {
	if c.ListName != "" {
		return c.hashKey("name", string(c.ListName))
	}
	var names []string
	for _, name := range c.Lists {
		names = append(names, listIdentity(name))
	}
	slices.Sort(names)
	return c.hashKey(names...)
}

// listKey returns the key of one list and the directory in the ledger. The files of a
// nameless list belong to store.Nameless, which never prunes.
func (c *MirrorCmd) listKey(name string, nameless bool) string {
	switch {
	case c.ListName != "":
		return c.hashKey("name", string(c.ListName))
	case nameless:
		return store.Nameless
	}
	return c.hashKey(listIdentity(name))
}

// hashKey returns 16 hex digits of a hash of the directory and of parts. Its result must
// not change between versions, because the ledger contains it.
func (c *MirrorCmd) hashKey(parts ...string) string {
	sum := sha256.Sum256([]byte(c.Dir + "\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// A mirrorLoop repeats the runs of one mirror command. Each run has a downloader, a report
// and a display of its own.
type mirrorLoop struct {
	cmd     *MirrorCmd
	globals *Globals
	out     *printer
	store   state
	opts    downloader.Options
	hup     <-chan os.Signal // SIGHUP; never receives if a list is a pipe
}

// run mirrors the lists until it is done: after one run, or with --every when ctx ends. It
// returns the error of the last run or, if that says less, the signal or deadline that has
// ended ctx. With --every, the errors of earlier runs are only printed, because the next
// run may succeed.
func (l *mirrorLoop) run(ctx context.Context) error {
	complete := func() (err error) {
		for again := true; again; {
			again, err = l.runOnce(ctx)
		}
		return err
	}
	if l.cmd.Every == 0 {
		return complete()
	}
	for {
		err := l.cmd.thenOnEnd(ctx, l.out, complete)
		if end := context.Cause(ctx); end != nil { // also if ctx ended after the last file
			if exitCode(err) == exitCode(end) {
				return err
			}
			return end
		}
		l.out.reportExit(err)
		if err := l.waitForNext(ctx); err != nil {
			return err
		}
	}
}

// waitForNext waits until the next repetition. It returns an error if ctx ends before.
func (l *mirrorLoop) waitForNext(ctx context.Context) error {
	d := time.Duration(l.cmd.Every)
	d += rand.N(d/5+1) - d/10 // ±10 %, so that many machines do not send their requests at the same moment
	l.out.note("next run at %s", time.Now().Add(d).Format(time.DateTime))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-l.hup:
		l.out.note("SIGHUP: running now")
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// runOnce mirrors the lists once. again reports that SIGHUP has ended the run, and that the
// lists must be read again.
//
// It uses two downloaders. The one for lists and checksum files has no display, because
// these downloads would appear as files of the run. The order of the steps matters: the
// recorder comes first, because an unwritable report must stop the run before the first
// request. The display starts last, because it asks the run for counts, and stops before
// the summary is printed.
func (l *mirrorLoop) runOnce(ctx context.Context) (again bool, err error) {
	c := l.cmd
	rec, err := c.newMirrorRecorder(ctx, l.out)
	if err != nil {
		return false, err
	}
	headers := c.originHeaders(c.typedURLs()...)
	headers.everywhere = c.HeadersEverywhere
	l.opts.TLS.Certificate = headers.certificate
	listOpts := l.opts
	listOpts.OnEvent = func(e downloader.Event) { printListEvent(l.out, e) }
	fetcher := downloader.New(l.store.Store, listOpts)
	defer fetcher.Close()
	rec.headers = headers
	lists := c.newListOpener(fetcher, l.store.dir, downloader.Request{Existing: downloader.Existing{Restart: c.Restart}, Access: downloader.Access{Credentials: headers.forTyped}})
	if c.Checksums == "" {
		lists.signature = c.SignatureOptions
	}
	queue, err := l.openQueueRun(ctx, lists)
	if err != nil {
		rec.abort()
		return false, err
	}
	defer queue.close()
	rec.interrupted = queue.interruptHint
	lists.options = list.Options{Format: list.Format(c.Format), Base: c.Base, Glob: c.Glob}
	// The number of files is only a start value above 1, for a run over many files: counts sets
	// the real one.
	rec.show = newDisplay(l.out, displayOptions{
		json: l.globals.JSON, verbose: l.globals.Verbose, bar: !l.globals.Quiet && !c.NoProgress, files: 2, dir: c.Dir, counts: rec.counts,
	})
	opts := l.opts
	opts.OnEvent = rec.show.onEvent
	d := downloader.New(l.store.Store, opts)
	defer d.Close()
	defer c.followRates(d, d.SetLimitRate)()
	o, err := l.runOptions(ctx, lists, rec)
	if err != nil {
		rec.abort()
		return false, err
	}
	// Headers and private addresses depend on the list that named a URL. The origin of --base
	// was typed by the user, so it may be private even if the list came from a public address.
	base := downloader.Origin(c.Base)
	o.ForList = func(list string, req *downloader.Request) {
		req.Access.Credentials = func(origin string) downloader.Credentials { return headers.forList(list, origin) }
		public := lists.isPublic(list)
		req.Access.Public = func(origin string) bool { return public && origin != base }
	}
	stop := make(chan struct{})
	o.Stop = stop
	queue.apply(&o, rec)
	run := mirror.NewRun(d, l.store.Store, o)
	rec.run = run
	rec.show.start(queue.source(d, run))
	again, err = runUntilHangup(ctx, l.hup, func(ctx context.Context) error {
		return run.Do(ctx, queue.lists(c.lists(ctx, lists, l.out)))
	}, func() {
		l.out.note("SIGHUP: rereading the lists as soon as the running downloads are finished or interrupted")
		close(stop)
	})
	rec.show.stop()
	if again {
		rec.abort()
		return true, nil // an error of this run will come again in the next one
	}
	err = queue.ended(ctx, err)
	if err == nil && ctx.Err() == nil && c.Detach && queue != nil {
		return false, queue.detach(rec)
	}
	finished := rec.finish(ctx, l.globals, err)
	queue.complete(ctx, run.Counts(), cmp.Or(err, context.Cause(ctx)))
	return false, finished
}

// runOptions returns the options of one run, whose outcomes go to rec. It reads the file of
// --checksums.
func (l *mirrorLoop) runOptions(ctx context.Context, lists listOpener, rec *mirrorRecorder) (o mirror.Options, err error) {
	c := l.cmd
	o = mirror.Options{
		Dir: c.Dir, Jobs: c.Jobs, Temp: l.store.dir, // and not /tmp, which may be in memory
		Naming: mirror.Naming{Tree: c.Tree, CutDirs: c.CutDirs, Server: c.ServerNames},
		Rounds: c.Rounds, RoundWait: time.Duration(c.RoundWait),
		Update: c.Update, Prune: c.Prune, MaxDelete: c.MaxDelete, DryRun: c.DryRun, Shard: c.Shard.Shard,
		OnOutcome: rec.outcome, OnProblem: rec.problem, OnRest: rec.rest, OnRound: rec.round,
	}
	c.applyTo(&o.Request)
	lists.signature = c.SignatureOptions
	sums, err := lists.readChecksums(ctx, c.Checksums, l.out)
	o.Sum, o.SumBy = sums.find, sums.by
	return o, err
}

// printListEvent prints the events of downloads of lists that explain a delay. Other events
// would only repeat the error of the list.
func printListEvent(out *printer, e downloader.Event) {
	switch {
	case e.Kind == downloader.Offline:
		out.note("no network (%s); waiting for it, which does not count as a try", printable(e.Err.Error()))
	case e.Kind == downloader.Retrying && e.Retry.Attempt > 1:
		out.note("list %q: %s; retrying %s (%d%s)", weburl.Redact(e.URL), printable(e.Err.Error()), delayText(e.Retry.Wait), e.Retry.Attempt, triesText(e.Retry.Tries))
	}
}

// rereadDelay is how long running downloads may continue after SIGHUP, before they are
// interrupted so that the lists can be reread. Interrupted downloads resume in the next
// run. It is a guess: less would interrupt small files that are nearly done, and more would
// let the user wonder whether the signal had an effect.
const rereadDelay = 10 * time.Second

// errReread is the cause of a context that SIGHUP has ended.
var errReread = errors.New("the lists are read again")

// runUntilHangup calls do. When a SIGHUP arrives, it calls stop, which must make do begin
// no further downloads, and cancels the context of do after rereadDelay. again reports that
// do must be called again because of the signal.
func runUntilHangup(ctx context.Context, hup <-chan os.Signal, do func(context.Context) error, stop func()) (again bool, err error) {
	run, end := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // ends with run
		defer close(watched)
		select {
		case <-hup:
			again = true
			stop()
			time.AfterFunc(rereadDelay, func() { end(errReread) })
		case <-run.Done():
		}
	}()
	err = do(run)
	end(nil)
	<-watched
	return again && ctx.Err() == nil, err
}
