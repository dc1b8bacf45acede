package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pawl/downloader"
	"pawl/downloader/failure"
	"pawl/downloader/mirror"
	"pawl/store"
)

const (
	// defaultJobs is how many files a worker fetches at once. A guess: enough for two hosts with 16 connections
	// each. With half of it, a worker without other hosts uses half of what one host allows; double makes a
	// worker take work that others could do.
	defaultJobs = 32
	// surveyInterval is how long a worker may not notice work that comes back, or of which it has missed the signal. At half, many
	// idle workers ask the broker twice as often; double delays these files.
	surveyInterval = 2 * time.Second
	// endTime limits everything that a worker still tells the broker when it ends, because a machine that
	// is taken away gives little time.
	endTime = 1500 * time.Millisecond

	// lostHosts is how many hosts in a row must be out of reach before a worker takes the fault for its own, and
	// lostPause how long it then takes no work. Guesses: with fewer hosts, a list of dead hosts pauses good
	// workers; with more, a worker without a network fails more files. A pause of half a minute would use up
	// the rounds of files sooner, two minutes are long after a switch has restarted.
	lostHosts = 5
	lostPause = time.Minute

	// untakenFor is how long a worker looks for a place of a lane before it looks for one of another lane.
	untakenFor = 10 * time.Second
	// firstDry and longestDry limit how long a lane is left alone in which others work on all messages.
	firstDry, longestDry = 5 * time.Second, 15 * time.Second
)

// WorkerOptions are the options of a Worker. Those without a comment that says so must be set.
type WorkerOptions struct {
	Broker Broker
	Store  *store.Store // its Root should be Dir
	// Downloader makes the downloader for one session. Its options must have these functions as Slots and ForHost.
	Downloader func(slots func(addr string, n int) downloader.Slots, forHost func(hostPort string) (connections int, rate float64)) *downloader.Downloader

	Dir    string // absolute path of the directory for the files
	Shared bool   // the workers see one directory
	Target string // if Shared: the ID of the directory, see ReadTarget
	Lock   string // if Shared: see TargetLock.Name

	Jobs     int     // files that are fetched at once; default 32
	Host     string  // name of the machine
	Name     string  // name of the worker, the same for all that reach the same hosts; default Host
	StateDir string  // directory of Store, whose lock the caller must hold
	RunID    string  // work only for this run; default: for all
	Once     bool    // end when nothing is left
	Sealer   *Sealer // for entries with secrets; default none

	Lease        time.Duration // of a session; default that of the fleet
	MessageLease time.Duration // of a message, as the Broker has it; default 30 s

	// Request is the template of the request for each file, and ForList completes it; see mirror.Options. mayBePrivate
	// says that the file may be at a private address. ForList may be nil.
	Request downloader.Request
	ForList func(list string, mayBePrivate bool, req *downloader.Request)

	// OnOutcome reports how a file ended, OnNote what else happens, and OnWarning what somebody should do something
	// about. They may be called by any goroutine, and may be nil.
	OnOutcome func(mirror.Outcome)
	OnNote    func(text string)
	OnWarning func(text string)
}

func (o WorkerOptions) withDefaults() WorkerOptions {
	o.Jobs = cmp.Or(o.Jobs, defaultJobs)
	o.Name = cmp.Or(o.Name, o.Host)
	o.MessageLease = cmp.Or(o.MessageLease, 30*time.Second)
	if o.OnOutcome == nil {
		o.OnOutcome = func(mirror.Outcome) {}
	}
	for _, f := range []*func(string){&o.OnNote, &o.OnWarning} {
		if *f == nil {
			*f = func(string) {}
		}
	}
	return o
}

// A Worker fetches the files of runs of a fleet. It belongs to one session at a time.
type Worker struct {
	o      WorkerOptions
	places *Places
}

// NewWorker returns a worker, which Run starts.
func NewWorker(o WorkerOptions) *Worker { return &Worker{o: o.withDefaults()} }

// errSession means that the session of a worker was lost.
var errSession = errors.New("the connection to the queue was lost for too long")

// Run works until ctx ends, and returns its cause; or, with Once, until nothing is left. If this process
// can write no more files to a local disk, Run gives everything back and returns a mirror.EndedError. Run must be called once.
func (w *Worker) Run(ctx context.Context) error {
	full := func(addr string, l Limit) {
		w.o.OnNote(fmt.Sprintf("%s: all connections are in use that the fleet may have (%d); see --host-limit", addr, l.Connections))
	}
	var err error
	if w.places, err = OpenPlaces(ctx, w.o.Broker, PlacesOptions{Lease: w.o.Lease, Full: full}); err != nil {
		return causeOf(ctx, err)
	}
	defer w.places.Close()
	for {
		err := w.session(ctx)
		if !errors.Is(err, errSession) {
			return err
		}
		w.o.OnWarning(err.Error() + "; everything was interrupted and is given to others, and a new session begins")
	}
}

// causeOf returns the cause of ctx if it has ended, else err.
func causeOf(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// session works until ctx ends or the session is lost.
func (w *Worker) session(ctx context.Context) error {
	s, err := OpenSession(ctx, w.o.Broker, SessionOptions{Lease: w.o.Lease, Dir: w.o.StateDir, Host: w.o.Host, Worker: w.o.Name, Target: w.o.Target, Lock: w.o.Lock})
	if err != nil {
		return causeOf(ctx, err)
	}
	work, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	m := &membership{
		w: w, o: w.o, session: s, places: w.places, d: w.o.Downloader(w.places.Slots, w.places.Host), ctx: work, stop: stop,
		gate: newGate(w.o.Jobs), kick: make(chan struct{}, 1), again: make(chan struct{}, 1), batches: make(map[string]*batchRun), lanes: make(map[string]*laneWork), runs: make(map[string]*workerRun), complaints: make(map[string]string),
	}
	w.places.Use(s)
	m.loop()
	m.all.Wait()
	m.d.Close()
	end, cancel := m.last()
	defer cancel()
	err = context.Cause(work)
	if errors.Is(err, errNothingLeft) {
		err = nil
	}
	if !errors.Is(err, errSession) {
		if giveErr := w.places.GiveAll(end); giveErr != nil {
			w.o.OnWarning("the places of this worker stay taken for a minute: " + giveErr.Error())
		}
	}
	if closeErr := s.Close(end); closeErr != nil && !errors.Is(err, errSession) {
		w.o.OnWarning("the session of this worker ends in a minute: " + closeErr.Error())
	}
	return err
}

// last returns a context for what is still told the broker: it ends endTime after the work has, or after this call if the work
// goes on.
func (m *membership) last() (context.Context, context.CancelFunc) {
	ctx := context.WithoutCancel(m.ctx)
	if m.ctx.Err() == nil {
		return context.WithTimeout(ctx, endTime)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.endBy.IsZero() {
		m.endBy = time.Now().Add(endTime)
	}
	return context.WithDeadline(ctx, m.endBy)
}

// errNothingLeft ends a worker with Once.
var errNothingLeft = errors.New("nothing is left")

// A membership is the work of one session.
type membership struct {
	w       *Worker
	o       WorkerOptions
	session *Session
	places  *Places
	d       *downloader.Downloader
	ctx     context.Context         // ends with the work
	stop    context.CancelCauseFunc // ends ctx
	gate    *gate
	kick    chan struct{}  // capacity 1: loop must look again
	again   chan struct{}  // capacity 1: survey must ask again
	all     sync.WaitGroup // everything that the membership has started
	taken   atomic.Int64   // batches

	mu          sync.Mutex
	runs        map[string]*workerRun // by ID; guarded by mu, as all fields below
	batches     map[string]*batchRun  // those in hand, by run and ID
	lanes       map[string]*laneWork  // by name
	others      []SessionInfo         // the last result of Sessions
	othersAt    time.Time
	reach       map[string]bool // hosts in a row that could not be reached
	pausedUntil time.Time
	paused      string            // why, for others
	endBy       time.Time         // when the last call of the broker must end; zero before the work has ended
	complaints  map[string]string // what messages cannot be worked on, and why; by run
}

// A workerRun is a run that the worker may work for.
type workerRun struct {
	id      string
	run     Run            // guarded by mu of the membership, as all fields below
	refused string         // why this worker does not work for it; "" if it does
	waiting map[string]int // messages by lane
	fresh   bool           // waiting was asked for since the last batch ended

	fetch map[bool]*fetchers // by whether the files may be at private addresses
}

// A laneWork is what the worker does in one lane.
type laneWork struct {
	wantedAt time.Time // zero if no place is wanted
	taking   bool      // a message is being taken
	dry      time.Duration
	dryUntil time.Time // others work on everything that waits
	dryCount int       // messages then
	backAt   time.Time // when a batch comes that was given back; zero if there is none
	leave    time.Time // until when others must see what is given back first
}

// loop takes batches until ctx ends.
func (m *membership) loop() {
	m.all.Go(m.watchRuns)
	if !m.o.Shared {
		m.tidyLocalParts() // before survey may find that nothing is left
		m.all.Go(m.keepLocalPartsTidy)
	}
	m.all.Go(m.survey)
	m.all.Go(m.listen)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	received, at := m.d.Received(), time.Now()
	for {
		m.look()
		select {
		case <-m.ctx.Done():
			return
		case <-m.session.Lost():
			m.stop(errSession)
		case <-m.places.Changed():
		case <-m.kick:
		case <-tick.C:
			n, now := m.d.Received(), time.Now()
			if span := now.Sub(at); span > 0 {
				m.session.Report(m.gate.busy(), float64(n-received)/span.Seconds(), m.pauseText(now))
			}
			received, at = n, now
			if !m.session.Valid() {
				m.stop(errSession)
			}
		}
	}
}

// pauseText returns why the worker takes no work, or not all that there is.
func (m *membership) pauseText(now time.Time) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now.Before(m.pausedUntil) {
		return m.paused
	}
	return strings.Join(slices.Compact(slices.Sorted(maps.Values(m.complaints))), "; ")
}

// complain notes why some messages of a run cannot be worked on, until the run ends.
func (m *membership) complain(run, why string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.complaints[run] == why {
		return
	}
	m.complaints[run] = why
	m.o.OnWarning(fmt.Sprintf("run %s: %s", run, why))
}

// watchRuns follows the runs, and what their users want.
func (m *membership) watchRuns() {
	for m.ctx.Err() == nil {
		changes, err := WatchRuns(m.ctx, m.o.Broker, m.o.RunID)
		if err == nil {
			for c := range changes {
				m.onRun(c)
			}
		}
		if m.ctx.Err() == nil {
			m.sleep(time.Second)
		}
	}
}

// sleep waits, or until the work ends.
func (m *membership) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.ctx.Done():
	}
}

// onRun follows a change of a run.
func (m *membership) onRun(c RunChange) {
	id := c.Run.ID
	if c.Err != nil {
		m.complain(id, "it needs a newer version of pawl: "+c.Err.Error())
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	defer notify(m.kick)
	r := m.runs[id]
	if c.Deleted || c.Run.State == Complete {
		delete(m.runs, id)
		delete(m.complaints, id)
		if r != nil {
			m.interruptLocked(r, errGone)
		}
		return
	}
	if r == nil {
		r = &workerRun{id: id}
		m.runs[id] = r
		notify(m.again)
	}
	was := r.run.Control
	r.run = c.Run
	why := m.refusal(&c.Run)
	if why != "" && r.refused != why {
		m.o.OnWarning(fmt.Sprintf("run %s: %s", id, why))
	}
	r.refused = why
	switch {
	case r.run.Control == Cancelled:
		m.interruptLocked(r, errGone)
	case r.run.Control == Paused && r.run.Now:
		m.interruptLocked(r, errPaused)
	case r.run.Control == Paused:
		for _, b := range m.batches {
			if b.r == r {
				b.stopStarting()
			}
		}
	case was != Running: // for example after the disk was full
		r.fetch = nil
	}
}

var (
	errGone   = errors.New("the run has ended")
	errPaused = errors.New("the work is paused")
)

// refusal returns why the worker must not work for a run, "" if it may.
func (m *membership) refusal(r *Run) string {
	switch {
	case r.Target == "" && m.o.Shared:
		return "its files are for the local disks of workers (--local), and this worker has a shared directory"
	case r.Target != "" && !m.o.Shared:
		return "its files are for a shared directory (--shared), and this worker has a local one"
	case r.Target != m.o.Target:
		return fmt.Sprintf("its directory is another one than %q of this worker; is a file system not mounted?", m.o.Dir)
	}
	return ""
}

// interruptLocked interrupts the batches of a run. The caller must hold mu.
func (m *membership) interruptLocked(r *workerRun, why error) {
	for _, b := range m.batches {
		if b.r == r {
			b.cancel(why)
		}
	}
}

// survey keeps asking how much work waits. After a batch, or if there is more work, it asks for that alone.
func (m *membership) survey() {
	var due time.Time // when to ask for everything
	for m.ctx.Err() == nil {
		switch now := time.Now(); {
		case now.Before(due) && !m.o.Once:
			m.surveyRuns()
		case m.surveyAll():
			m.stop(errNothingLeft)
			return
		default:
			due = now.Add(surveyInterval)
		}
		timer := time.NewTimer(time.Until(due))
		select {
		case <-m.again:
			m.sleep(surveyInterval / 20)
		case <-timer.C:
		case <-m.ctx.Done():
		}
		timer.Stop()
	}
}

// listen hears from submitters that there is more work.
func (m *membership) listen() {
	for m.ctx.Err() == nil {
		signals, err := m.o.Broker.Signals(m.ctx)
		if err == nil {
			for s := range signals {
				if strings.HasPrefix(s, workSignal) {
					notify(m.again)
				}
			}
		}
		m.sleep(time.Second)
	}
}

// surveyAll asks for everything, and reports whether a worker with Once ends because nothing is left.
func (m *membership) surveyAll() (ends bool) {
	runs, err := ListRuns(m.ctx, m.o.Broker)
	if err != nil {
		return false
	}
	m.surveyRuns()
	m.surveyOthers()
	if !m.o.Once || !m.isNothingLeft(runs) {
		return false
	}
	m.explainIdle(runs)
	return true
}

// surveyRuns asks for the messages of each run that the worker works for.
func (m *membership) surveyRuns() {
	m.mu.Lock()
	runs := slices.Collect(maps.Values(m.runs))
	m.mu.Unlock()
	for _, r := range runs {
		m.mu.Lock()
		if !r.mayWork() {
			m.mu.Unlock()
			continue
		}
		r.fresh = true
		m.mu.Unlock()
		waiting, err := m.o.Broker.Waiting(m.ctx, r.id)
		m.mu.Lock()
		switch {
		case errors.Is(err, ErrNoRun):
			r.waiting = nil
		case err == nil:
			r.waiting = waiting
		}
		r.fresh = r.fresh && err == nil
		m.mu.Unlock()
	}
	notify(m.kick)
}

func (r *workerRun) mayWork() bool {
	return r.refused == "" && (r.run.Control == Running || r.run.Control == "")
}

// surveyOthers asks who else works.
func (m *membership) surveyOthers() {
	all, err := Sessions(m.ctx, m.o.Broker)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.others, m.othersAt = all, time.Now()
	}
}

// isNothingLeft reports whether the worker has nothing to do, and no run of runs will have work for it.
func (m *membership) isNothingLeft(runs []Run) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.batches) > 0 {
		return false
	}
	for _, run := range runs {
		if m.o.RunID != "" && run.ID != m.o.RunID || run.State == Complete || run.Control == Cancelled || m.refusal(&run) != "" {
			continue
		}
		r := m.runs[run.ID]
		if r == nil || run.State == Submitting || run.Control == Paused || !r.fresh || len(r.waiting) > 0 {
			return false
		}
	}
	for _, l := range m.lanes {
		if l.taking {
			return false
		}
	}
	return true
}

// explainIdle says why the worker, which ends because nothing is left, has had nothing to do, unless others have done everything. It
// may have been started before the run was.
func (m *membership) explainIdle(runs []Run) {
	const next = "; --once does not wait for a run: queue one first, with pawl mirror --queue, or leave --once out"
	if m.taken.Load() > 0 {
		return
	}
	ended, refused := 0, ""
	for _, run := range runs {
		switch why := m.refusal(&run); {
		case m.o.RunID != "" && run.ID != m.o.RunID:
		case run.State == Complete || run.Control == Cancelled:
			ended++
		case why == "":
			return
		default:
			refused = fmt.Sprintf("run %s: %s", run.ID, why)
		}
	}
	switch {
	case refused != "":
		m.o.OnWarning("the queue has no run for this worker (" + refused + ")" + next)
	case ended > 0:
		m.o.OnNote("all runs of the queue have ended" + next)
	default:
		m.o.OnWarning("the queue has no run yet" + next)
	}
}

// look wants and releases lanes, and takes batches where that is possible.
func (m *membership) look() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	now := time.Now()
	work := m.laneWaiting(now)
	if now.Before(m.pausedUntil) {
		work = nil
	}
	m.releaseLanes(work, now)
	m.wantLanes(work, now)
	for name, l := range m.lanes {
		switch {
		case l.wantedAt.IsZero():
		case m.places.MustYield(name):
			m.yield(name, l)
		case m.places.Has(name):
			l.wantedAt = now
			if work[name] > 0 && !l.taking && m.gate.hasRoom() && !m.isStarting(name) {
				l.taking = true
				m.all.Go(func() { m.take(name, l) })
			}
		}
	}
}

// laneWaiting returns the messages that wait in each lane and that others do not work on already, as far as
// that is known. The caller must hold mu.
func (m *membership) laneWaiting(now time.Time) map[string]int {
	work := make(map[string]int)
	for _, r := range m.runs {
		if r.mayWork() {
			for lane, n := range r.waiting {
				work[lane] += n
			}
		}
	}
	for name, l := range m.lanes {
		if now.Before(l.dryUntil) && work[name] <= l.dryCount {
			delete(work, name)
		}
	}
	return work
}

// releaseLanes releases the lanes for which there is nothing to do. The caller must hold mu.
func (m *membership) releaseLanes(work map[string]int, now time.Time) {
	for name, l := range m.lanes {
		if l.wantedAt.IsZero() || l.taking || m.inHand(name) {
			continue
		}
		if work[name] == 0 || now.Sub(l.wantedAt) > untakenFor && len(work) > m.o.Jobs {
			m.places.Release(name)
			l.wantedAt = time.Time{}
		}
	}
}

// wantLanes looks for places of lanes with work, of as many lanes as there may be files at once. The caller must
// hold mu.
func (m *membership) wantLanes(work map[string]int, now time.Time) {
	wanted := 0
	var more []string
	for name := range work {
		if l := m.lanes[name]; l == nil || l.wantedAt.IsZero() {
			more = append(more, name)
		}
	}
	for _, l := range m.lanes {
		if !l.wantedAt.IsZero() {
			wanted++
		}
	}
	rand.Shuffle(len(more), func(i, j int) { more[i], more[j] = more[j], more[i] }) // not all workers the same ones
	for _, name := range more[:max(0, min(len(more), m.o.Jobs-wanted))] {
		if m.lanes[name] == nil {
			m.lanes[name] = &laneWork{}
		}
		m.lanes[name].wantedAt = now
		m.places.Want(name)
	}
}

// yield gives a lane to others: its batches begin no further file, and go back when those in work have ended. The
// caller must hold mu.
func (m *membership) yield(name string, l *laneWork) {
	if m.inHand(name) {
		for _, b := range m.batches {
			if b.lane == name {
				b.stopStarting()
			}
		}
		return
	}
	if !l.taking {
		m.places.Release(name)
		l.wantedAt = time.Time{}
	}
}

// inHand reports whether there is a batch of a lane. The caller must hold mu.
func (m *membership) inHand(lane string) bool {
	for _, b := range m.batches {
		if b.lane == lane {
			return true
		}
	}
	return false
}

// isStarting reports whether there is a batch of a lane of which some files have not been begun. The
// caller must hold mu.
func (m *membership) isStarting(lane string) bool {
	for _, b := range m.batches {
		if b.lane == lane && !b.isStarted() {
			return true
		}
	}
	return false
}

// take takes a message of a lane, of any run that has some there.
func (m *membership) take(name string, l *laneWork) {
	var candidates []*workerRun
	m.mu.Lock()
	for _, r := range m.runs {
		if r.mayWork() && r.waiting[name] > 0 {
			candidates = append(candidates, r)
		}
	}
	m.mu.Unlock()
	rand.Shuffle(len(candidates), func(i, j int) { candidates[i], candidates[j] = candidates[j], candidates[i] })
	var took bool
	count := 0
	for _, r := range candidates {
		msg, err := m.o.Broker.Take(m.ctx, r.id, name)
		if msg != nil && err == nil {
			took = true
			m.begin(r, name, msg)
			break
		}
		m.mu.Lock()
		count += r.waiting[name]
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l.taking = false
	if took {
		l.dry, l.dryUntil = 0, time.Time{}
	} else {
		l.dry = min(max(firstDry, 2*l.dry), longestDry)
		now := time.Now()
		l.dryUntil, l.dryCount = now.Add(l.dry/2+randomly(l.dry/2)), count // not all workers at once
		if l.backAt.After(now) && l.backAt.Before(l.dryUntil) {
			l.dryUntil = l.backAt
		}
		if l.leave.After(l.dryUntil) {
			l.dryUntil = l.leave
		}
	}
	notify(m.kick)
}

// begin begins a batch, or gives it back.
func (m *membership) begin(r *workerRun, lane string, msg Message) {
	var head struct {
		Version int `json:"v"`
	}
	var batch Batch
	err := json.Unmarshal(msg.Data(), &head)
	if err == nil && head.Version > version {
		err = newerError(head.Version)
	}
	if err == nil {
		err = json.Unmarshal(msg.Data(), &batch)
	}
	if err == nil && (batch.Run != r.id || !isToken(batch.ID)) {
		err = errors.New("a message is not a batch of the run")
	}
	if err != nil {
		text := "a message cannot be read: " + err.Error()
		if errors.Is(err, ErrNewer) {
			text = fmt.Sprintf("a newer version of pawl is needed, which can read message version %d", head.Version)
		}
		m.complain(r.id, text)
		msg.Back(m.o.MessageLease)
		return
	}
	key := batch.Run + "/" + batch.ID
	m.mu.Lock()
	defer m.mu.Unlock()
	if b := m.batches[key]; b != nil { // the broker has given it to us again, because it did not hear from us
		b.setMessage(msg)
		return
	}
	b := newBatchRun(m, r, lane, batch, msg)
	m.batches[key] = b
	m.all.Go(func() {
		b.run()
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.batches, key)
		r.fresh = false
		notify(m.kick)
		notify(m.again)
	})
}

// noteBack notes that a batch of a lane comes again after a time.
func (m *membership) noteBack(lane string, wait time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if l := m.lanes[lane]; l != nil && (l.backAt.Before(now) || l.backAt.After(now.Add(wait))) {
		l.backAt = now.Add(wait)
	}
}

// leave leaves what comes back in a lane to others for a time, if there is nothing else.
func (m *membership) leave(lane string, d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l := m.lanes[lane]; l != nil {
		l.leave = time.Now().Add(d)
	}
}

// isToken reports whether s may be a part of a key.
func isToken(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_") == ""
}

// hasUntried reports whether a live worker has not tried a batch, while this one has.
func (m *membership) hasUntried(tried []string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(tried, m.o.Name) {
		return false
	}
	return slices.ContainsFunc(m.others, func(s SessionInfo) bool {
		return s.Worker != "" && s.Paused == "" && s.Target == m.o.Target && !slices.Contains(tried, s.Worker)
	})
}

// fetchers fetch the files of a run.
type fetchers struct {
	first *mirror.Worker // when a batch is delivered for the first time
	same  *mirror.Worker // then, if there is a file that was not there when it was queued: it takes that of the server
	again *mirror.Worker // later: it goes on with what there is
	over  *mirror.Worker // if there is a file at the path that a worker may have left that has ended
}

// fetchers returns the fetchers of a run.
func (m *membership) fetchers(r *workerRun, mayBePrivate bool) *fetchers {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := r.fetch[mayBePrivate]; f != nil {
		return f
	}
	o := mirror.Options{Dir: m.o.Dir, Update: r.run.Settings.Update, Request: m.o.Request}
	r.run.Settings.Apply(&o.Request)
	if m.o.ForList != nil {
		o.ForList = func(list string, req *downloader.Request) { m.o.ForList(list, mayBePrivate, req) }
	}
	o.OnRest = func(rest mirror.Rest) { m.o.OnNote(fmt.Sprintf("%s rests for a minute: %v", rest.Host, rest.Err)) }
	f := &fetchers{first: mirror.NewWorker(m.d, m.o.Store, o)}
	taking := o
	taking.Request.Existing.Taking = downloader.TakeSameVersion
	f.same = mirror.NewWorker(m.d, m.o.Store, taking)
	o.Request.Existing.Restart = false
	f.again = mirror.NewWorker(m.d, m.o.Store, o)
	o.Request.Existing.InTheWay, o.Request.Existing.Taking = downloader.Replace, downloader.TakeSameVersion
	f.over = mirror.NewWorker(m.d, m.o.Store, o)
	if r.fetch == nil {
		r.fetch = make(map[bool]*fetchers)
	}
	r.fetch[mayBePrivate] = f
	return f
}

// noteReach notes whether a file could be fetched. If this worker reaches none of several hosts in a row, it
// pauses, because most likely it has no network.
func (m *membership) noteReach(o *mirror.Outcome) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	switch {
	case o.State == mirror.Pending || mirror.WasNotTried(o.Err) || now.Before(m.pausedUntil):
		return
	case o.State != mirror.Failed || !errors.Is(o.Err, failure.ErrNetwork) || o.Result.Fetched > 0:
		m.reach = nil
		return
	}
	if m.reach == nil {
		m.reach = make(map[string]bool)
	}
	m.reach[downloader.Origin(o.URL)] = true
	if len(m.reach) < lostHosts {
		return
	}
	m.reach, m.pausedUntil = nil, now.Add(lostPause)
	m.paused = fmt.Sprintf("%d hosts in a row could not be reached, the last one because: %v", lostHosts, o.Err)
	m.o.OnWarning(m.paused + "; pausing for a minute")
	for _, b := range m.batches {
		b.cancel(errPaused)
	}
	time.AfterFunc(lostPause, func() { notify(m.kick) })
}

// noteEnded ends the work, or pauses the run, if this process can write no more files.
func (m *membership) noteEnded(r *workerRun, end error) {
	if end == nil {
		return
	}
	if !m.o.Shared {
		m.stop(end)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.run.Control == Paused {
		return
	}
	r.run.Control = Paused // here at once, and then for all
	m.interruptLocked(r, errPaused)
	m.o.OnWarning(fmt.Sprintf("run %s is paused: %v", r.id, end))
	m.all.Go(func() {
		if err := PauseFor(m.ctx, m.o.Broker, r.id, end); err != nil && m.ctx.Err() == nil {
			m.o.OnWarning(fmt.Sprintf("run %s cannot be paused: %v", r.id, err))
		}
	})
}
