package downloader

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/downloader/failure"
	"pawl/downloader/hosts"
	"pawl/downloader/sched"
)

// reserveInterval is the time between two checks whether the part file should reserve more
// disk space. A guess: at 1 GB/s, 50 MB arrive between two checks. Double finds a full disk
// later; half costs system calls.
const reserveInterval = 50 * time.Millisecond

// A transfer fetches the missing bytes of one attempt over several connections, makes them
// durable, and hashes them. Its goroutines are the workers, one for each connection; the
// services, which run as long as the workers do; and the checks, which end by themselves. All
// stop when one fails.
type transfer struct {
	sampler
	sched   *sched.Scheduler
	source  *sched.Source // the origin; immutable
	buffers bufferSet
	commits committer
	cancel  context.CancelCauseFunc // ends all goroutines

	workers, services, checks errgroup.Group

	stopServices context.CancelFunc
	verifier     *verifier // nil without a digest, and with one that isComposed
	damaged      int64     // bytes of the part file that were not as recorded; written by a check, read after wait
	discarded    bool      // held bytes were discarded for another version
}

// newTransfer returns a transfer of the missing bytes of plan. Its first connection, to the
// host of d.first, must be counted at the host; the transfer takes it over.
func newTransfer(s sampler, plan *chunk.Plan, single bool) *transfer {
	t := &transfer{sampler: s}
	t.commits.t = t
	t.first.handOver()
	t.first.host.Recall(time.Now())
	t.source = schedSource(t.first.host, originSource{})
	t.sched = sched.New(plan, t.source, sched.Options{Single: single, TrickleTimeout: t.engine.opts.Timeouts.Stall})
	t.progress.transferBy(t)
	return t
}

// fetch fetches all missing bytes, beginning with the body of rep, and checks them. held is how
// many bytes there are already.
func (t *transfer) fetch(ctx context.Context, rep *reply, held int64) error {
	t.written(held)
	if t.progress.start(held) {
		t.emit(Event{Kind: Started, Size: t.version.Size, Held: held})
	}
	if err := t.run(ctx, rep); err != nil {
		return err
	}
	return t.check(ctx)
}

// run fetches all missing bytes. All goroutines have ended when it returns, and the written
// bytes are committed.
func (t *transfer) run(ctx context.Context, rep *reply) error {
	ctx, t.cancel = context.WithCancelCause(ctx)
	defer t.cancel(nil)
	defer context.AfterFunc(ctx, func() { rep.cancel(context.Cause(ctx)) })() // its request has the outer context
	t.serve(ctx)
	claim := rep.wanted().Len()
	if rep.Whole { // the held bytes are compared before there is a claim
		claim = 0
	}
	first := t.newConn(t.sched.Begin(claim, rep.forScheduler(), func(r sched.Reason) { rep.cancel(stopError(r)) }, time.Now()))
	t.start(&t.workers, func() error {
		if rep.Whole {
			return first.stream(ctx, rep)
		}
		return first.run(ctx, rep)
	})
	err := t.wait()
	if lost, discardErr := (mirroring{t}).discardUnproven(); discardErr != nil {
		return discardErr
	} else if lost && err == nil {
		return errMirrored
	}
	return err
}

// check verifies a complete file as far as the bytes came from several sources, or from an
// earlier run.
func (t *transfer) check(ctx context.Context) error {
	if lost, err := t.verifyPart(ctx); err != nil { // somebody has written to the part file
		return err
	} else if t.damaged+lost > 0 {
		return errDamaged
	}
	if t.checksPieces() {
		if err := t.pieceChecking().finish(ctx); err != nil {
			return err
		}
	}
	if err := (mirroring{t}).checkSamples(ctx); err != nil {
		return err
	}
	if lost, err := (mirroring{t}).discardUnproven(); err != nil {
		return err
	} else if lost {
		return errMirrored
	}
	if err := t.proveAgain(ctx); err != nil {
		return err
	}
	if t.discarded { // the verifier has hashed bytes that were discarded
		t.verifier = nil
	}
	return nil
}

// start runs do in a group. If it fails, all goroutines stop.
func (t *transfer) start(g *errgroup.Group, do func() error) {
	g.Go(func() error {
		err := do()
		if err != nil {
			t.cancel(err)
		}
		return err
	})
}

// serve starts the services and the checks:
//
//	commit    makes written bytes durable
//	reserve   reserves disk space
//	tick      lets the scheduler open, stop and replace connections
//	mirrors   proves mirrors and adds them to the scheduler
//	pieces    verifies complete pieces, if their digests are known
//	verify    hashes the finished prefix, as far as its pieces are right
//	check     verifies the pieces that an earlier crash may have damaged
//
// The services end when serving does, after the workers; the check has an end of its own, and wait
// waits for it, so that damage is known before the file is finished.
func (t *transfer) serve(ctx context.Context) {
	serving, stop := context.WithCancel(ctx)
	t.stopServices = stop
	t.commits.begin()
	t.start(&t.services, func() error { return t.commits.loop(serving) })
	t.start(&t.services, func() error { return t.reserve(serving) })
	t.start(&t.services, func() error {
		return t.tick(serving, func(c *sched.Conn) {
			t.start(&t.workers, func() error { return t.newConn(c).run(ctx, nil) })
		})
	})
	if len(t.mirrors) > 0 && t.file.part != nil && !t.sched.IsSingle() && t.version.Size >= 0 {
		t.start(&t.services, func() error { return mirroring{t}.use(serving) })
	}
	prefix := func() int64 { return t.sched.Snapshot().Prefix }
	if t.checksPieces() {
		t.pieces.keep(t.sched.Held(), t.version.Size)
	}
	if t.checksPieces() && !t.sched.IsSingle() {
		prefix = func() int64 { return t.pieces.prefix(t.sched.Snapshot().Prefix) }
		pieces := t.pieceChecking()
		t.start(&t.services, func() error { return pieces.loop(ctx, serving) })
	}
	if !t.version.digest.IsZero() && !t.version.digest.isComposed() && t.file.part != nil {
		t.verifier = newVerifier(t.version.digest.Sum, t.file.part)
		t.start(&t.services, func() error {
			return t.verifier.loop(serving, prefix)
		})
	}
	t.start(&t.checks, func() (err error) {
		t.damaged, err = t.verifyPart(ctx)
		return err
	})
}

// checksPieces reports whether the pieces of the part file are verified during the transfer.
func (t *transfer) checksPieces() bool {
	return t.file.part != nil && t.pieces.use(t.version.Size)
}

// wait returns when all goroutines have ended and the written bytes are committed. The order
// matters: the workers end by themselves, the services only when they are stopped, and the last
// commit must follow the last write.
func (t *transfer) wait() error {
	err := t.workers.Wait()
	if checkErr := t.checks.Wait(); err == nil {
		err = checkErr
	}
	t.stopServices()
	if serviceErr := t.services.Wait(); serviceErr != nil {
		err = serviceErr // the workers only met the end of their context
	}
	if commitErr := t.commits.commit(); commitErr != nil {
		err = commitErr // worse than any other error, because bytes are lost
	}
	return err
}

// tick lets the scheduler make its periodic decisions. open must start a goroutine for a new
// connection.
func (t *transfer) tick(ctx context.Context, open func(*sched.Conn)) error {
	ticker := time.NewTicker(sched.TickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-t.sched.Wake():
		case <-ctx.Done():
			return nil
		}
		t.sched.Tick(time.Now(), t.limit(), open)
	}
}

// limit returns the limits of the user for the transfer, which may change while it runs. The rate limit of
// a host says little about a transfer that has mirrors at other hosts.
func (t *transfer) limit() sched.Limit {
	tr := t.engine.transport
	l := sched.Limit{Rate: float64(tr.ByteRate()) / float64(t.engine.downloads()), Low: tr.IsRateLow()}
	if h := t.req.Handle; h != nil {
		l = h.limit(l)
	}
	if t.engine.opts.ForHost == nil {
		return l
	}
	from, _ := t.origin.current()
	own := tr.PaceOf(from.url)
	if rate := float64(own.ByteRate()) / float64(t.first.host.Downloads()); len(t.mirrors) == 0 && rate > 0 && (l.Rate == 0 || rate < l.Rate) {
		l.Rate = rate
	}
	l.Low = l.Low || own.IsRateLow() || slices.ContainsFunc(t.mirrors, func(m *mirror) bool { return tr.PaceOf(m.url).IsRateLow() })
	return l
}

// reserve lets the part file reserve disk space in step with the arriving bytes.
func (t *transfer) reserve(ctx context.Context) error {
	ticker := time.NewTicker(reserveInterval)
	defer ticker.Stop()
	for {
		if err := t.file.reserve(); err != nil {
			return failure.Permanent(err)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// learn remembers the limits of the hosts. After a failure, connections may have been refused
// because of an outage, so a limit is not remembered then.
func (t *transfer) learn() {
	done := t.sched.Snapshot().Done
	for _, source := range t.sched.Close() {
		if h := source.Gate.(*hosts.Host); done || !h.IsLimited() {
			h.Learn(time.Now())
		}
	}
}

// conns returns how many connections the transfer has.
func (t *transfer) conns() int { return t.sched.Snapshot().Conns }

// errMirrored means that bytes of mirrors are fetched again from other sources.
var errMirrored = restartError{why: "mirrors sent other bytes", keep: true}

// errIncomplete means that bytes are missing although all connections have ended in order.
var errIncomplete = failure.Wrap(failure.ErrProtocol, errors.New("bytes are missing at the end"))
