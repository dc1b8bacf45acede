package downloader

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/chunk"
	"pawl/downloader/failure"
)

const (
	growEvery    = 20 * time.Millisecond // between two looks whether a further connection has work
	reserveEvery = 50 * time.Millisecond // between two looks at the space of the disk
)

// A crew is the goroutines of one transfer: the workers, which fetch; the
// services, which go on as long as these do; and the checks, which have an end of
// their own. All stop when one fails.
type crew struct {
	*job
	cancel  context.CancelCauseFunc // ends all
	commits committer

	workers, services, checks errgroup.Group

	stop     context.CancelFunc // ends the services
	verifier *verifier          // nil without a digest
	lost     int64              // bytes, by damage to the part file; of checks until they end
}

// start runs do in a group.
func (c *crew) start(g *errgroup.Group, do func() error) {
	g.Go(func() error {
		err := do()
		if err != nil {
			c.cancel(err)
		}
		return err
	})
}

// serve starts the services and the checks.
func (c *crew) serve(ctx context.Context, size int64) {
	serving, stop := context.WithCancel(ctx)
	c.stop = stop
	c.start(&c.services, func() error { return c.commits.loop(serving) })
	c.start(&c.services, func() error { return c.reserve(serving) })
	c.start(&c.services, func() error {
		return c.tend(serving, func(w *worker) {
			c.start(&c.workers, func() error { return c.work(ctx, w, nil) })
		})
	})
	if len(c.mirrors) > 0 && c.part != nil && !c.pool.single && size != chunk.Unbounded {
		c.start(&c.services, func() error { return c.useMirrors(serving) })
	}
	if !c.sum.IsZero() && c.part != nil {
		c.verifier = newVerifier(c.sum, c.part)
		c.start(&c.services, func() error { return c.verifier.loop(serving, c.pool.prefix) })
	}
	c.start(&c.checks, func() (err error) {
		c.lost, err = c.recheck(ctx)
		return err
	})
}

// wait returns when all have ended, and what has arrived is committed.
func (c *crew) wait() error {
	err := c.workers.Wait()
	if checkErr := c.checks.Wait(); err == nil {
		err = checkErr
	}
	c.stop()
	if serviceErr := c.services.Wait(); serviceErr != nil {
		err = serviceErr // the workers only saw that all had to stop
	}
	if commitErr := c.commits.commit(); commitErr != nil {
		err = commitErr // worse than whatever ended the transfer: bytes are lost
	}
	return err
}

// tend opens further connections as long as there is work for them, and ends
// requests that lead to nothing.
func (j *job) tend(ctx context.Context, spawn func(*worker)) error {
	look := time.NewTicker(growEvery)
	defer look.Stop()
	for {
		select {
		case <-look.C:
		case <-j.pool.news:
		case <-ctx.Done():
			return nil
		}
		if j.d.transport.IsRateLow() { // the limit may change while it runs
			j.pool.forgiveDrips()
		}
		j.pool.setCapped(float64(j.d.transport.ByteRate())/float64(j.d.running()), time.Now())
		j.pool.grow(time.Now(), spawn)
		j.pool.unhang(time.Now(), j.d.opts.StallTimeout)
		j.pool.replace(time.Now())
		j.pool.giveBack(time.Now())
	}
}

// reserve has the part file reserve space in step with what arrives.
func (j *job) reserve(ctx context.Context) error {
	if j.part == nil {
		return nil
	}
	look := time.NewTicker(reserveEvery)
	defer look.Stop()
	for {
		if err := j.part.Reserve(); err != nil {
			return failure.Permanent(err)
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil
		}
	}
}
