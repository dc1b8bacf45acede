package downloader

import (
	"context"
	"time"

	"pawl/downloader/failure"
)

const (
	// commitInterval is the longest time between two commits while bytes arrive. A crash costs
	// the bytes since the last commit, so double costs twice as many.
	commitInterval = time.Second
	// minCommitPause is the shortest pause after a commit. A guess: at half, a fast disk would
	// spend a few percent of the time on commits.
	minCommitPause = 10 * time.Millisecond
	// commitPauseRatio is the ratio of that pause to the duration of the commit, divided among
	// the running downloads, which share commits. With 3, commits take a quarter of the time of a
	// slow disk; with 1, they take half of it.
	commitPauseRatio = 3
	// commitBytes is how many bytes of all downloads are worth a commit before commitInterval
	// has passed, and minCommitBytes how many of one download. Guesses.
	commitBytes    = 512 << 10
	minCommitBytes = 16 << 10
)

// A committer makes the bytes of one transfer durable. A crash costs the bytes since the last
// commit, so it commits as often as that is cheap: every few tens of milliseconds if a commit
// takes a few milliseconds, and every second on a slow disk.
type committer struct {
	t    *transfer
	last time.Time
	held int64   // bytes at the last commit
	rate float64 // bytes per second, smoothed
}

// begin notes that all bytes of now are committed. It must be called before the first connection
// reads, and not in the goroutine of loop, which may begin after the last byte of a silent server.
func (c *committer) begin() { c.last, c.held = time.Now(), c.t.progress.held.Load() }

// loop commits until ctx ends, after begin. The last commit is the caller's, after all connections
// have ended.
func (c *committer) loop(ctx context.Context) error {
	pause := minCommitPause
	for {
		if sleep(ctx, pause) != nil {
			return nil
		}
		grown := c.t.progress.held.Load() - c.held
		worth := max(commitBytes/c.t.engine.downloads(), minCommitBytes)
		if grown == 0 || grown < worth && time.Since(c.last) < commitInterval {
			pause = minCommitPause
			continue
		}
		begun := time.Now()
		if err := c.commit(); err != nil {
			return failure.Permanent(err)
		}
		long := commitPauseRatio * time.Since(begun) / time.Duration(c.t.engine.downloads())
		pause = min(max(minCommitPause, long), commitInterval)
	}
}

// commit writes the buffers and makes all written bytes durable.
func (c *committer) commit() error {
	for _, b := range c.t.buffers.all() {
		if err := b.flush(); err != nil {
			return err
		}
	}
	n, now := c.t.sched.Snapshot().Held, time.Now()
	if d := now.Sub(c.last).Seconds(); d > 0 {
		weight := min(d/2, 1) // so that the rate is the one of about two seconds
		c.rate += weight * (float64(n-c.held)/d - c.rate)
	}
	c.last, c.held = now, n
	return c.t.file.commit(int64(max(c.rate, 0)))
}
