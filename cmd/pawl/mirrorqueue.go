package main

// This file makes mirror the submitter of a fleet: the files are fetched by the workers of a queue.

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"pawl/downloader"
	"pawl/downloader/fleet"
	"pawl/downloader/list"
	"pawl/downloader/mirror"
)

// FleetOptions make mirror the submitter of a fleet.
type FleetOptions struct {
	QueueOptions
	QueueSecretOptions
	Shared    bool              `group:"Fleet" help:"With --queue: --dir is a directory on a file system that all workers share."`
	Local     bool              `group:"Fleet" help:"With --queue: each worker puts its files on disks of its own, which this machine does not see."`
	Detach    bool              `group:"Fleet" help:"With --queue: end as soon as all files are queued, and print the ID of the run, for pawl queue."`
	HostLimit []fleet.HostLimit `sep:"none" placeholder:"HOST=N,R/s" group:"Fleet" help:"With --queue: most connections to HOST of all workers together, and most requests per second, such as data.example.org=64, '*.example.org=8,5/s' or '*=4'; repeatable (default: 16 connections)."`
}

// checkFleet refuses options that cannot be used with a queue, or only with one.
func (c *MirrorCmd) checkFleet() error {
	if !c.isGiven() {
		for option, given := range map[string]bool{"--shared": c.Shared, "--local": c.Local, "--detach": c.Detach, "--host-limit": len(c.HostLimit) > 0} {
			if given {
				return fmt.Errorf("%s needs the queue of a fleet, with --queue URL", option)
			}
		}
		return nil
	}
	if c.Shared == c.Local {
		return errors.New("--queue needs either --shared, if all workers see the same --dir, or --local, if each has disks of its own")
	}
	for _, o := range []struct {
		given bool
		text  string
	}{
		{c.Prune, "--prune cannot be used with --queue; run the same command with --prune and without --queue when the run has ended"},
		{c.Every > 0, "--every cannot be used with --queue; let cron or a systemd timer repeat the command"},
		{c.Shard.IsSet(), "--shard cannot be used with --queue, which divides the files itself; leave --shard out"},
		{c.ServerNames, "--server-names cannot be used with --queue, because each path must be known before it is queued; name the files in the list, or by their URLs with --tree"},
		{c.Restart, "--restart cannot be used with --queue; forget what was begun with pawl remove --files, and leave --restart out"},
		{c.HeadersEverywhere, "--headers-everywhere cannot be used with --queue; give users, passwords and headers to pawl work"},
		{c.Detach && c.Report != "", "--detach ends before there is a report; write it with pawl queue report RUN --report FILE --wait"},
		{c.Detach && c.Failed != "", "--detach ends before any file does; write the list with pawl queue report RUN --failed FILE --wait"},
	} {
		if o.given {
			return errors.New(o.text)
		}
	}
	return nil
}

// warnOwnOptions warns of options that hold on this machine alone, which fetches lists but no file: without a user or a header, the
// workers would fail with each file.
func (c *MirrorCmd) warnOwnOptions(out *printer) {
	given := func(options []ownOption) string {
		var names []string
		for _, o := range options {
			if o.given {
				names = append(names, o.name)
			}
		}
		return strings.Join(names, ", ")
	}
	if names := given([]ownOption{
		{"--header", len(c.Header) > 0}, {"--referer", c.Referer != ""}, {"--user", c.User.given}, {"--bearer-file", c.BearerFile != ""},
		{"--load-cookies", c.LoadCookies != ""}, {"--cert", c.Cert != ""},
	}); names != "" {
		out.warn("the workers do not get %s, which this machine uses only for lists that are URLs; give it to each pawl work, with --headers-everywhere, or for one host: -H 'HOST=N: V'", names)
	}
	if names := given([]ownOption{
		{"--user-agent", c.UserAgent != ""}, {"--netrc-file", c.NetrcFile != ""}, {"--proxy", c.Proxy != ""}, {"--resolve", len(c.Resolve) > 0}, {"--cacert", c.CACert != ""}, {"--tls-legacy", c.TLSLegacy}, {"--insecure", c.Insecure},
		{"--limit-rate", len(c.LimitRate.entries) > 0}, {"--min-free", c.MinFree > 0}, {"--no-remote-time", c.NoRemoteTime}, {"--split-unverified", c.SplitUnverified},
	}); names != "" {
		out.warn("the workers do not get %s, which this machine uses only for lists that are URLs; give it to each pawl work, too", names)
	}
	if names := given([]ownOption{{"--connections", c.Connections > 0}, {"--max-request-rate", c.MaxRequestRate.requests > 0}}); names != "" {
		out.warn("%s does not limit the workers; use --host-limit, such as '*=8' or '*=8,5/s'", names)
	}
}

// An ownOption is an option that does not reach the workers.
type ownOption struct {
	name  string
	given bool
}

// fleetSettings returns the options that the workers of the run must apply.
func (c *MirrorCmd) fleetSettings() fleet.Settings {
	var req downloader.Request
	c.applyTo(&req)
	return fleet.Settings{
		Update: c.Update, Rounds: c.Rounds, RoundWait: time.Duration(c.RoundWait),
		Existing: req.Existing, MaxSize: req.MaxSize, Expect: req.Expect,
	}
}

// A queueRun is the run of a fleet that a mirror command submits and reports. The nil *queueRun is none: this
// process fetches the files.
type queueRun struct {
	cmd       *MirrorCmd
	out       *printer
	broker    fleet.Broker
	id        string
	submitter *fleet.Submitter
	hold      *fleet.Hold

	stop     context.CancelFunc // ends watch
	watching sync.WaitGroup

	mu       sync.Mutex
	sessions []fleet.SessionInfo // as of the last look; guarded by mu
	allSent  bool                // guarded by mu
}

// openQueueRun connects to the queue, and continues or creates the run of the lists. It returns nil without --queue, and for a dry
// run, which queues nothing.
func (l *mirrorLoop) openQueueRun(ctx context.Context, lists listOpener) (*queueRun, error) {
	c := l.cmd
	if !c.isGiven() || c.DryRun {
		return nil, nil
	}
	c.warnOwnOptions(l.out)
	key, err := c.queueKey(l.out)
	if err != nil {
		return nil, err
	}
	run := fleet.Run{Dir: c.Dir, Settings: c.fleetSettings(), Limits: c.HostLimit}
	for _, name := range c.Lists {
		run.Lists = append(run.Lists, listForJSON(name))
	}
	if c.Shared {
		if err := os.MkdirAll(c.Dir, 0o777); err != nil {
			return nil, err
		}
		if run.Target, err = fleet.PrepareTarget(c.Dir); err != nil {
			return nil, err
		}
	}
	q := &queueRun{cmd: c, out: l.out}
	if q.broker, err = c.connect(ctx, l.out); err != nil {
		return nil, err
	}
	if q.hold, err = l.holdLists(ctx, q.broker); err == nil {
		run, err = fleet.OpenRun(ctx, q.broker, c.runKey(), run)
	}
	if err == nil {
		o := fleet.SubmitterOptions{Run: run, Hold: q.hold, Dir: c.Dir, Private: c.mayBePrivate(lists), Detach: c.Detach, Unreported: c.Report == "" && c.Failed == "" && !l.globals.JSON}
		if c.Shared {
			o.Stamp, o.Store = l.store.Stamp, l.store.Store
		}
		if key != nil {
			o.Sealer, err = fleet.NewSealer(key)
		}
		if err == nil {
			q.submitter, err = fleet.OpenSubmitter(ctx, q.broker, o)
		}
	}
	if err != nil {
		q.hold.Close(ctx)
		q.broker.Close()
		return nil, err
	}
	q.id = run.ID
	watch, stop := context.WithCancel(ctx)
	q.stop = stop
	q.watching.Go(func() { q.watch(watch) })
	return q, nil
}

// mayBePrivate returns a function that reports whether a file may be at a private address: its list is not public, or the user typed
// its origin with --base.
func (c *MirrorCmd) mayBePrivate(lists listOpener) func(list.Entry) bool {
	base := downloader.Origin(c.Base)
	return func(e list.Entry) bool {
		return !lists.isPublic(e.List) || c.Base != "" && !slices.ContainsFunc(e.URLs, func(u string) bool { return downloader.Origin(u) != base })
	}
}

// close ends the connection. Nothing of the run changes.
func (q *queueRun) close() {
	if q == nil {
		return
	}
	q.stop()
	q.watching.Wait()
	q.hold.Close(context.Background())
	q.broker.Close()
}

// holdLists keeps a process with another state directory, perhaps on another machine, from submitting the same lists for the same
// directory.
func (l *mirrorLoop) holdLists(ctx context.Context, b fleet.Broker) (*fleet.Hold, error) {
	state, err := fleet.HolderID(l.store.dir)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	own := fleet.Holder{State: state, Host: host, Process: os.Getpid(), Since: time.Now().Truncate(time.Second)}
	return fleet.OpenHold(ctx, b, l.cmd.runKey(), own, func(other fleet.Holder) {
		l.out.note("the same lists are submitted for the same directory by %s; looking whether it is alive", other)
	})
}

// apply makes a run send its files to the queue, and rec record the outcomes that the workers report.
func (q *queueRun) apply(o *mirror.Options, rec *mirrorRecorder) {
	if q == nil {
		return
	}
	o.Elsewhere = q.submitter
	o.OnRead = q.read
	o.OnOutcome = func(x mirror.Outcome) {
		rec.outcome(x)
		if x.State == mirror.Fetched || x.State == mirror.Unchanged { // a download of this process would send its own event
			rec.show.onEvent(finishedEvent(x))
		}
	}
	o.OnProblem = func(err error) {
		q.submitter.Problem(err)
		rec.problem(err)
	}
}

// finishedEvent returns the event of a file that a worker has finished.
func finishedEvent(x mirror.Outcome) downloader.Event {
	r := x.Result
	return downloader.Event{
		Time: time.Now(), Kind: downloader.Finished, ID: x.Record.ID, URL: x.URL, Target: x.Path, Size: r.Size,
		Outcome: downloader.Outcome{Fetched: r.Fetched, Elapsed: r.Elapsed, Current: r.Current, Page: r.Page, Unframed: r.Unframed, Proof: r.Proof, Sum: r.Sum},
	}
}

// lists returns the lists as the queue can have them.
func (q *queueRun) lists(lists iter.Seq2[mirror.List, error]) iter.Seq2[mirror.List, error] {
	if q == nil || q.cmd.QueueKeyFile != "" {
		return lists
	}
	return fleet.WithoutSecrets(lists)
}

// read records that all files are queued.
func (q *queueRun) read(ctx context.Context) {
	if q.submitter.AllSent(ctx) == nil { // otherwise the submitter ends the run
		q.mu.Lock()
		defer q.mu.Unlock()
		q.allSent = true
	}
}

// source returns the source of the display: the downloads of this process, or of the workers.
func (q *queueRun) source(d *downloader.Downloader, run *mirror.Run) source {
	if q == nil {
		return d
	}
	return &fleetSource{q, run}
}

// ended returns the error with which the run has ended for this process. err is the result of mirror.Run.Do. If
// --deadline has ended a paused run, the error has the reason of the pause, too.
func (q *queueRun) ended(ctx context.Context, err error) error {
	if q == nil {
		return err
	}
	q.submitter.Close(ctx)
	if paused := q.submitter.Run().PauseError(); paused != nil && errors.Is(err, errDeadline) {
		q.out.report(fmt.Errorf("the run is paused: %w", paused), hint(paused, ""))
		return errors.Join(err, paused)
	}
	return err
}

// interruptHint says how the user comes back to the run after a signal or a deadline.
func (q *queueRun) interruptHint() string {
	if q == nil {
		return "the downloaded parts are kept; run the same command again to resume"
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	text := "the workers go on; come back with the same command"
	if !q.allSent {
		text = "the workers go on with the files that are queued; run the same command again to queue the others"
	}
	return text + ", or see: pawl queue status " + q.id + ", and cancel with: pawl queue cancel " + q.id
}

// complete records that the run was reported, so that the same command begins another one, unless some files have not ended.
func (q *queueRun) complete(ctx context.Context, c mirror.Counts, err error) {
	if q == nil || err != nil || c.Pending > 0 || !c.Read {
		return
	}
	if err := fleet.CompleteRun(ctx, q.broker, q.id); err != nil {
		q.out.warn("the queue does not know yet that the run %s has ended: %s", q.id, printable(err.Error()))
	}
}

// detach prints the ID of the run, once everything is queued. The exit code depends only on the problems in the
// lists.
func (q *queueRun) detach(rec *mirrorRecorder) error {
	rec.abort() // which has no report
	fmt.Fprintln(q.out.stdout, q.id)
	c := rec.run.Counts()
	q.out.note("%s queued, %d already here; see: pawl queue status %s", fileCountText(c.Pending), c.Current, q.id)
	if code := worstCode(rec.listCodes); code != 0 {
		return reportedError{exitCodeError(code)}
	}
	return nil
}

// statusInterval is how often the submitter looks which workers there are. A guess: they renew their sessions every 15 s, and half
// would show the same twice; double would show a pause late.
const statusInterval = 5 * time.Second

// maxSilence is how long the queue may take to answer before the user is told. A guess: a cluster of servers elects a leader in a
// few seconds; double would let the user wonder.
const maxSilence = 10 * time.Second

// watch keeps q.sessions, and prints when the run is paused, goes on, or has no worker, and when the queue does not answer.
func (q *queueRun) watch(ctx context.Context) {
	tick := time.NewTicker(statusInterval)
	defer tick.Stop()
	control, hadWorkers, answers := fleet.Running, true, true
	for {
		if run := q.submitter.Run(); run.Control != control {
			control = run.Control
			q.noteControl(run)
		}
		sessions, err := q.look(ctx)
		if ctx.Err() != nil {
			return
		}
		if answers != (err == nil) {
			answers = err == nil
			q.out.note("%s", map[bool]string{true: "the queue answers again", false: "the queue does not answer; waiting for it, while the workers go on"}[answers])
		}
		if has := len(sessions) > 0; err == nil && has != hadWorkers {
			hadWorkers = has
			q.noteWorkers(has)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// look asks the queue which workers there are.
func (q *queueRun) look(ctx context.Context) ([]fleet.SessionInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, maxSilence)
	defer cancel()
	sessions, err := fleet.Sessions(ctx, q.broker)
	if err == nil {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.sessions = sessions
	}
	return sessions, err
}

func (q *queueRun) noteControl(run fleet.Run) {
	switch {
	case run.Control == fleet.Running:
		q.out.note("the run continues")
	case run.Control == fleet.Paused:
		q.out.note("the run is paused%s; continue it with: pawl queue resume %s", reasonText(run.Reason), run.ID)
	}
}

// reasonText returns a reason after a colon, "" if there is none.
func reasonText(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + printable(reason)
}

func (q *queueRun) noteWorkers(has bool) {
	if has {
		q.out.note("there are workers")
		return
	}
	place := map[bool]string{true: "--shared", false: "--local"}[q.cmd.Shared]
	q.out.note("there is no worker; start some with: pawl work -d DIR %s --queue %s", place, q.cmd.Queue)
}

// A fleetSource has the counters of the workers of a run.
type fleetSource struct {
	q   *queueRun
	run *mirror.Run
}

// Snapshot implements source: no download runs in this process.
func (s *fleetSource) Snapshot() []downloader.Progress { return nil }

// Received implements source.
func (s *fleetSource) Received() int64 { return s.run.Counts().Bytes }

// adjust sets the fields of a progress line that come from the workers.
func (s *fleetSource) adjust(v *progressView) {
	s.q.mu.Lock()
	sessions := s.q.sessions
	s.q.mu.Unlock()
	v.have, v.conns, v.rate = s.Received(), -1, 0
	busy := 0
	for _, i := range sessions {
		v.rate += i.Rate
		busy += i.Busy
	}
	v.workers = workersText(len(sessions))
	if run := s.q.submitter.Run(); run.Control == fleet.Paused {
		v.workers += ", paused" + reasonText(run.Reason)
	} else if i := slices.IndexFunc(sessions, func(i fleet.SessionInfo) bool { return i.Paused == "" }); i < 0 && len(sessions) > 0 {
		v.workers += ", all paused" + reasonText(sessions[0].Paused)
	} else if len(sessions) > 0 {
		v.workers += fmt.Sprintf(", %d busy", busy)
	}
}

// workersText returns for example "3 workers".
func workersText(n int) string {
	switch n {
	case 0:
		return "no worker"
	case 1:
		return "1 worker"
	}
	return fmt.Sprintf("%d workers", n)
}
