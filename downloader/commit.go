package downloader

import (
	"context"
	"time"
)

const (
	commitEvery = time.Second           // at the latest, when there is anything to commit
	commitRest  = 10 * time.Millisecond // at the soonest after the last one
	commitShare = 3                     // a commit is followed by a rest of this many times its own length, divided among the downloads
	commitBytes = 512 << 10             // bytes of all downloads that are worth one before commitEvery
	commitLeast = 16 << 10              // of which one download may have so many
)

// A committer makes the bytes of one download durable. A crash costs what came
// since the last commit, so it commits as often as that is cheap: a commit of a
// few milliseconds every few tens of them, one of a slow disk every second.
type committer struct {
	j    *job
	last time.Time
	have int64 // bytes held at the last commit
	rate float64
}

// loop commits until ctx ends. The last commit is run's, when all have stopped.
func (c *committer) loop(ctx context.Context) error {
	c.last, c.have = time.Now(), c.j.have.Load()
	rest := commitRest
	for {
		if sleep(ctx, rest) != nil {
			return nil
		}
		since := time.Since(c.last)
		grown := c.j.have.Load() - c.have
		worth := max(commitBytes/c.j.d.running(), commitLeast)
		if grown == 0 || grown < worth && since < commitEvery {
			rest = commitRest
			continue
		}
		begun := time.Now()
		if err := c.commit(); err != nil {
			return permanentError{err}
		}
		long := commitShare * time.Since(begun) / time.Duration(c.j.d.running()) // it was one for all of them
		rest = min(max(commitRest, long), commitEvery)
	}
}

// commit makes durable what has arrived.
func (c *committer) commit() error {
	for _, b := range c.j.pool.buffers() {
		if err := b.flush(); err != nil {
			return err
		}
	}
	n, now := c.j.pool.heldLen(), time.Now()
	if d := now.Sub(c.last).Seconds(); d > 0 {
		weight := min(d/2, 1) // the rate of about two seconds
		c.rate += weight * (float64(n-c.have)/d - c.rate)
	}
	c.last, c.have = now, n
	if c.j.part == nil {
		return nil
	}
	return c.j.part.Commit(int64(max(c.rate, 0)))
}
