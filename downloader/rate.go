package downloader

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// newLimiter returns the limiter of bytesPerSecond, nil for no limit. Its burst
// is a twentieth of a second's bytes, so that no window of a second or more is
// off by much.
func newLimiter(bytesPerSecond int64) *rate.Limiter {
	if bytesPerSecond <= 0 {
		return nil
	}
	return rate.NewLimiter(rate.Limit(bytesPerSecond), int(min(max(bytesPerSecond/20, 1<<10), bufferSize)))
}

// pace waits until n more bytes are due, or for the end of ctx, whose cause it
// returns. n must be at most paceMost.
func (d *Downloader) pace(ctx context.Context, n int) error {
	if d.limiter == nil || n == 0 {
		return nil
	}
	r := d.limiter.ReserveN(time.Now(), n) // WaitN would give up ahead of a deadline
	err := sleep(ctx, r.Delay())
	if err != nil {
		r.Cancel()
	}
	return err
}

// paceMost returns how many bytes one read may take.
func (d *Downloader) paceMost() int {
	if d.limiter == nil {
		return bufferSize
	}
	return d.limiter.Burst()
}
