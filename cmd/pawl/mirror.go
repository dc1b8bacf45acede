package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"pawl/downloader"
	"pawl/downloader/mirror"
	"pawl/store"
)

// MirrorCmd brings a directory in line with lists.
type MirrorCmd struct {
	Lists             []string `arg:"" name:"list" placeholder:"LIST" help:"Lists of files: a file, a URL, or - for standard input. Lines of URLs, aria2 input files, SHA256SUMS, metalinks or JSON lines, also gzipped."`
	Dir               string   `short:"d" aliases:"P,directory-prefix,output-dir" default:"." placeholder:"DIR" type:"path" group:"Files" help:"Directory (default: the working directory); nothing is written outside of it."`
	Update            bool     `short:"N" group:"Files" help:"Ask again for files that are done, and fetch those that have changed."`
	Checksums         string   `placeholder:"FILE|URL" group:"Files" help:"Checksum file that covers the files of the lists."`
	FollowLinks       bool     `group:"Files" help:"Write, and delete, through symbolic links below the directory."`
	DryRun            bool     `aliases:"spider" group:"Files" help:"Only tell what would be fetched and deleted."`
	Format            string   `enum:",aria2,sums,metalink,json" default:"" placeholder:"FORMAT" group:"Lists" help:"Format of the lists, if their content does not tell: aria2 (lines of URLs, too), sums, metalink or json."`
	Base              string   `placeholder:"URL" group:"Lists" help:"Where the files of a checksum list are (default: beside the list)."`
	Glob              bool     `group:"Lists" help:"Take [1-20], [001-100:2], [a-z] and {a,b} in URLs for patterns."`
	HeadersEverywhere bool     `group:"Lists" help:"Send headers that may be secrets, such as Authorization and Cookie, to all hosts that lists of yours name, not only to those that you typed."`
	Failed            string   `placeholder:"FILE" type:"path" group:"Output" help:"Write what is not here at the end to FILE, as a list to pass back."`
	Rounds            int      `default:"3" placeholder:"N" group:"Patience" help:"How often a file is tried that fails for reasons that may pass (default: ${default})."`
	RoundWait         duration `default:"10s" placeholder:"D" group:"Patience" help:"Wait before the second round, three times as long before each further one (default: ${default})."`
	Every             duration `placeholder:"D" group:"Patience" help:"Repeat every D, give or take a tenth, until a signal comes; SIGHUP repeats at once."`
	ListLimit
	Pruning
	Transfer
}

// Pruning are the options about files that lists no longer name.
type Pruning struct {
	Prune     bool         `group:"Files" help:"Delete files that earlier runs of the lists made and that no list names any more, after a run without failure."`
	MaxDelete mirror.Limit `placeholder:"N|N%" group:"Files" help:"Most files that --prune may delete, as a number or as a share of the files that earlier runs made (default: half of them, but not less than ten). If it would be more, nothing is deleted and the run fails; inf for no limit."`
	ListName  listName     `placeholder:"NAME" group:"Lists" help:"Know the lists by NAME, not by where they are read from. Standard input and pipes have no name of their own, and prune nothing without it."`
}

// mirrorTries are the tries within one round.
const mirrorTries = 5

// Validate refuses what cannot be meant, before anything is done.
func (c *MirrorCmd) Validate() error {
	if c.Rounds < 1 {
		return errors.New("--rounds is at least 1")
	}
	if c.Base != "" {
		if err := downloader.CheckURL(c.Base); err != nil {
			return fmt.Errorf("--base: %w", err)
		}
	}
	if n := slices.Index(c.Lists, "-"); n >= 0 && (c.Every > 0 || slices.Contains(c.Lists[n+1:], "-")) {
		return errors.New("standard input can be read once only")
	}
	return nil
}

// Run mirrors the lists, once or every so often.
func (c *MirrorCmd) Run(ctx context.Context, g *Globals, say *speaker) error {
	say.keepTimes()
	debug.SetGCPercent(400)        // garbage of many small requests; little of it is kept
	debug.SetMemoryLimit(64 << 20) // beyond which it is collected as ever
	var err error
	if c.Dir, err = filepath.Abs(c.Dir); err != nil {
		return err
	}
	st, err := g.openStore(say, c.storeOptions())
	if err != nil {
		return err
	}
	if info, err := os.Stat(c.Dir); err == nil && !info.IsDir() {
		return &fs.PathError{Op: "mirror into", Path: c.Dir, Err: syscall.ENOTDIR}
	}
	lock, err := c.lock(st)
	if err != nil {
		return err
	}
	defer lock.Close()
	c.warnNameless(say)
	c.warnLoose(say)
	ctx, stop := c.deadline(ctx)
	defer stop()
	opts, err := c.options()
	if err != nil {
		return err
	}
	if c.Tries == nil {
		opts.Tries = mirrorTries
	}
	hup := make(chan os.Signal, 1)
	if !c.readsInput() {
		signal.Notify(hup, syscall.SIGHUP)
	}
	defer signal.Stop(hup)
	pipe := make(chan os.Signal, 1) // that nobody reads the log is no reason to stop; hooks are to stop all the same
	signal.Notify(pipe, syscall.SIGPIPE)
	defer signal.Stop(pipe)
	for {
		again, err := c.once(ctx, g, say, st, opts, hup)
		if again {
			continue
		}
		if c.Every == 0 {
			return err
		}
		if end := context.Cause(ctx); end != nil { // also where it came after the last file
			if exitCode(err) == exitCode(end) {
				return err
			}
			return end
		}
		say.failure(err)
		if err := c.rest(ctx, say, hup); err != nil {
			return err
		}
	}
}

// storeOptions are those of the store that the files go to.
func (c *MirrorCmd) storeOptions() store.Options {
	o := store.Options{MinFree: int64(c.MinFree), Root: c.Dir}
	if c.FollowLinks {
		o.Root = ""
	}
	return o
}

// readsInput reports whether a list is standard input or another pipe, which cannot
// be read anew: then SIGHUP ends the run, or what has been read would be missing.
func (c *MirrorCmd) readsInput() bool { return slices.ContainsFunc(c.Lists, isNameless) }

// warnNameless warns of lists that prune nothing because they have no name.
func (c *MirrorCmd) warnNameless(say *speaker) {
	if !c.Prune || c.ListName != "" {
		return
	}
	if i := slices.IndexFunc(c.Lists, isNameless); i >= 0 {
		say.warn("list %q has no name of its own, so it prunes nothing; give it one with --list-name NAME", c.Lists[i])
	}
}

// rest waits until the next repetition.
func (c *MirrorCmd) rest(ctx context.Context, say *speaker, hup <-chan os.Signal) error {
	d := time.Duration(c.Every)
	d += rand.N(d/5+1) - d/10 // so that many machines do not come at once
	say.note("next at %s", time.Now().Add(d).Format(time.DateTime))
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-hup:
		say.note("SIGHUP: now")
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// A lockedError says that the same lists are being mirrored into the same directory.
type lockedError struct{ who string }

// Is is for errors.Is, whoever has the lock.
func (e lockedError) Is(target error) bool {
	_, ok := target.(lockedError)
	return ok
}

func (e lockedError) Error() string {
	return fmt.Sprintf("the same lists are being mirrored into the same directory by %s", e.who)
}

// lock keeps the same lists from being mirrored into the same directory twice at once.
func (c *MirrorCmd) lock(st *store.Store) (interface{ Close() error }, error) {
	who := fmt.Sprintf("process %d, since %s", os.Getpid(), time.Now().Format(time.DateTime))
	lock, holder, err := st.LockRun(c.runKey(), who)
	if errors.Is(err, store.ErrBusy) {
		return nil, lockedError{holder}
	}
	return lock, err
}

// runKey names the lists of a run and the directory.
func (c *MirrorCmd) runKey() string {
	if c.ListName != "" {
		return c.key("name", string(c.ListName))
	}
	var names []string
	for _, name := range c.Lists {
		names = append(names, identity(name))
	}
	slices.Sort(names)
	return c.key(names...)
}

// listKey names one list and the directory in the ledger.
func (c *MirrorCmd) listKey(name string, nameless bool) string {
	switch {
	case c.ListName != "":
		return c.key("name", string(c.ListName))
	case nameless:
		return store.Nameless
	}
	return c.key(identity(name))
}

// key is a hash of the directory and of parts.
func (c *MirrorCmd) key(parts ...string) string {
	sum := sha256.Sum256([]byte(c.Dir + "\x00" + strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// once mirrors the lists. again says that SIGHUP ended it, for the lists to be
// read anew.
func (c *MirrorCmd) once(ctx context.Context, g *Globals, say *speaker, st *store.Store, opts downloader.Options, hup <-chan os.Signal) (again bool, err error) {
	out, err := c.newOutcomes(ctx, say)
	if err != nil {
		return false, err
	}
	quiet := opts
	quiet.OnEvent = func(e downloader.Event) { listEvent(say, e) }
	fetcher := downloader.New(st, quiet)
	defer fetcher.Close()
	headers := c.originHeaders(append([]string{c.Base, c.Checksums}, c.Lists...)...)
	headers.everywhere = c.HeadersEverywhere
	lists, err := c.newLister(fetcher, g, downloader.Request{Restart: c.Restart, Credentials: headers.forTyped})
	if err != nil {
		out.abort()
		return false, err
	}
	out.show = newDisplay(say, displayOptions{
		json: g.JSON, verbose: g.Verbose, bar: !g.Quiet && !c.NoProgress, files: 2, recent: true, dir: c.Dir, counts: out.counts,
	})
	opts.OnEvent = out.show.event
	d := downloader.New(st, opts)
	defer d.Close()
	defer c.LimitRate.follow(d.SetLimitRate)()
	stop := make(chan struct{})
	o, err := c.runOptions(ctx, g, lists, out)
	o.ForList = func(list string, req *downloader.Request) {
		req.Credentials = func(origin string) http.Header { return headers.forList(list, origin) }
		public, base := lists.isPublic(list), downloader.Origin(c.Base)
		req.Public = func(origin string) bool { return public && origin != base }
	}
	if err != nil {
		out.abort()
		return false, err
	}
	o.Stop = stop
	out.run = mirror.NewRun(d, st, o)
	out.show.start(d.Snapshot)
	again, err = untilHangup(ctx, hup, func(ctx context.Context) error {
		return out.run.Do(ctx, c.lists(ctx, lists, say))
	}, func() {
		say.note("SIGHUP: the lists are read anew, as soon as what is under way is done or interrupted")
		close(stop)
	})
	out.show.stop()
	if again {
		out.abort()
		return true, nil // what was wrong will be so again
	}
	return false, out.end(ctx, g, err)
}

// listEvent tells what keeps a list from coming; nothing else of it is news.
func listEvent(say *speaker, e downloader.Event) {
	switch {
	case e.Kind == downloader.Offline:
		say.note("no network (%s); waiting for it, which costs no tries", printable(e.Err.Error()))
	case e.Kind == downloader.Retrying && e.Attempt > 1:
		say.note("list %q: %s; trying again %s (%d%s)", downloader.RedactURL(e.URL), printable(e.Err.Error()), in(e.Wait), e.Attempt, ofTries(e.Tries))
	}
}

// runOptions are those of one run, whose outcomes go to out.
func (c *MirrorCmd) runOptions(ctx context.Context, g *Globals, lists lister, out *outcomes) (o mirror.Options, err error) {
	o = mirror.Options{
		Dir: c.Dir, Jobs: c.Jobs,
		Rounds: c.Rounds, RoundWait: time.Duration(c.RoundWait),
		Update: c.Update, Prune: c.Prune, MaxDelete: c.MaxDelete, DryRun: c.DryRun,
		LegacyKey: c.runKey(), // earlier versions claimed files under this key
		OnOutcome: out.outcome, OnProblem: out.problem, OnRound: out.round,
	}
	c.fill(&o.Request)
	if o.Temp, err = g.stateDir(); err != nil { // rather than /tmp, which may be memory
		return o, err
	}
	o.Sum, err = lists.readSums(ctx, c.Checksums)
	return o, err
}

// rereadAfter is how long files that are under way may take to end, before they are
// interrupted for the lists to be read anew; then they are gone on with.
const rereadAfter = 10 * time.Second

var errReread = errors.New("the lists are read anew")

// untilHangup calls do, and stop when a signal comes that asks for it to be done
// again.
func untilHangup(ctx context.Context, hup <-chan os.Signal, do func(context.Context) error, stop func()) (again bool, err error) {
	run, end := context.WithCancelCause(ctx)
	watched := make(chan struct{})
	go func() { // ends with run
		defer close(watched)
		select {
		case <-hup:
			again = true
			stop()
			time.AfterFunc(rereadAfter, func() { end(errReread) })
		case <-run.Done():
		}
	}()
	err = do(run)
	end(nil)
	<-watched
	return again && ctx.Err() == nil, err
}
