package transport

import (
	"context"
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// testBuffer is the size of the buffers that tests read into, as the downloader's.
const testBuffer = 512 << 10

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// startPull reads with conns connections until ctx ends, and counts bytes in total. Each read
// gets up to max bytes at once.
func startPull(ctx context.Context, tr *Transport, conns, max int, total *atomic.Int64) *sync.WaitGroup {
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			body := readFunc(func(p []byte) (int, error) { return min(len(p), max), nil })
			buf := make([]byte, testBuffer)
			for {
				n, err := tr.Read(ctx, body, buf)
				if err != nil {
					return
				}
				total.Add(int64(n))
			}
		})
	}
	return &all
}

// pull is startPull to the end of ctx. It returns the number of bytes.
func pull(ctx context.Context, tr *Transport, conns, max int) int64 {
	var total atomic.Int64
	startPull(ctx, tr, conns, max, &total).Wait()
	return total.Load()
}

// isRate reports whether got bytes since a time are a rate to 5 %.
func isRate(got, perSecond int64, since time.Time) bool {
	due := float64(perSecond) * time.Since(since).Seconds()
	return math.Abs(float64(got)/due-1) <= 0.05
}

// TestRate: over ten seconds the rate of bytes is right to 5 %, whatever the rate, the number of
// connections and the size of reads, also after a pause.
func TestRate(t *testing.T) {
	const window = 10 * time.Second
	for _, perSecond := range []int64{20e3, 300e3, 5e6, 1 << 30} {
		for _, conns := range []int{1, 16} {
			for _, max := range []int{100, 1460, testBuffer} {
				if perSecond > 25e2*int64(max) {
					continue // too many reads for a test
				}
				synctest.Test(t, func(t *testing.T) {
					tr := newTestTransport(t, Options{ByteRate: perSecond})
					for _, when := range []string{"at first", "after a pause"} {
						begun := time.Now()
						ctx, cancel := context.WithTimeout(t.Context(), window)
						total := pull(ctx, tr, conns, max)
						cancel()
						if !isRate(total, perSecond, begun) {
							t.Errorf("%d B/s, %d connections, %d bytes a read, %s: got %d bytes in %v", perSecond, conns, max, when, total, window)
						}
						time.Sleep(time.Hour)
					}
				})
			}
		}
	}
}

// TestRateSilent: connections on which nothing arrives do not keep the rate from others.
func TestRateSilent(t *testing.T) {
	const perSecond = 20e3
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{ByteRate: perSecond})
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		late := readFunc(func(p []byte) (int, error) {
			time.Sleep(11 * time.Second)
			return 0, io.EOF
		})
		var silent sync.WaitGroup
		for range 15 {
			silent.Go(func() { tr.Read(ctx, late, make([]byte, testBuffer)) })
		}
		if total := pull(ctx, tr, 1, testBuffer); !isRate(total, perSecond, begun) {
			t.Errorf("15 of 16 connections silent: got %d bytes in %v", total, time.Since(begun))
		}
		silent.Wait()
	})
}

// TestRateUnlimited: without a limit, reads and drains are as large as the caller wants.
func TestRateUnlimited(t *testing.T) {
	all := readFunc(func(p []byte) (int, error) { return len(p), nil })
	for _, perSecond := range []int64{0, -1} {
		tr := newTestTransport(t, Options{ByteRate: perSecond})
		for range 100 {
			if n, err := tr.Read(t.Context(), all, make([]byte, testBuffer)); n != testBuffer || err != nil {
				t.Fatalf("limit %d: got %d bytes, %v", perSecond, n, err)
			}
		}
		if n := tr.MaxDrain(1 << 20); n != 1<<20 || tr.IsRateLow() || tr.ByteRate() != 0 {
			t.Errorf("limit %d: got drains of %d, a rate of %d, low %v", perSecond, n, tr.ByteRate(), tr.IsRateLow())
		}
	}
}

// TestRateSizes: under a limit, a read is never empty nor larger than the buffer, and drains are
// small.
func TestRateSizes(t *testing.T) {
	for _, tt := range []struct {
		perSecond int64
		read      int
		drain     int64
		isRateLow bool
	}{
		{1, minRead, 0, true},
		{100, minRead, 10, true},
		{1 << 20, 5242, 104857, false},
		{1 << 40, testBuffer, 1 << 20, false},
		{math.MaxInt64, testBuffer, 1 << 20, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			tr := newTestTransport(t, Options{ByteRate: tt.perSecond})
			n, err := tr.Read(t.Context(), readFunc(func(p []byte) (int, error) { return len(p), nil }), make([]byte, testBuffer))
			if n != tt.read || err != nil {
				t.Errorf("%d B/s: got a read of %d, %v, want %d", tt.perSecond, n, err, tt.read)
			}
			if n, err := tr.Read(t.Context(), readFunc(func(p []byte) (int, error) { return len(p), nil }), make([]byte, 7)); n != 7 || err != nil {
				t.Errorf("%d B/s: got a read of %d into 7 bytes, %v", tt.perSecond, n, err)
			}
			if n := tr.MaxDrain(1 << 20); n != tt.drain || tr.IsRateLow() != tt.isRateLow {
				t.Errorf("%d B/s: got a drain of %d, low %v, want %d, %v", tt.perSecond, n, tr.IsRateLow(), tt.drain, tt.isRateLow)
			}
		})
	}
}

// TestSetByteRate: a new rate also applies to connections that wait under the previous one.
func TestSetByteRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{ByteRate: 10})
		ctx, cancel := context.WithCancel(t.Context())
		var total atomic.Int64
		all := startPull(ctx, tr, 16, testBuffer, &total) // the first read is due in 25 s
		for _, perSecond := range []int64{1e6, 20e3, 200e6, 10, 5e6} {
			time.Sleep(time.Second)
			tr.SetByteRate(perSecond)
			begun, before := time.Now(), total.Load()
			time.Sleep(time.Second)
			if perSecond == 10 {
				continue
			}
			time.Sleep(9 * time.Second)
			if got := total.Load() - before; !isRate(got, perSecond, begun) {
				t.Errorf("changed to %d B/s: got %d bytes in %v", perSecond, got, time.Since(begun))
			}
		}
		cancel()
		all.Wait()
	})
}

// TestSetByteRateOff: when the limit is removed, no connection waits any longer.
func TestSetByteRateOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{ByteRate: 1})
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if n, err := tr.Read(t.Context(), readFunc(func(p []byte) (int, error) { return len(p), nil }), make([]byte, 10_000)); n == 0 || err != nil {
					t.Errorf("got %d bytes, %v", n, err)
				}
			})
		}
		time.Sleep(time.Second)
		begun := time.Now()
		tr.SetByteRate(0)
		all.Wait()
		if took := time.Since(begun); took > 0 {
			t.Errorf("they waited for %v more", took)
		}
	})
}

// TestTakeCancelled: the wait ends with the context, and not earlier, because a caller that may
// continue too early would ask the server again and again until the deadline.
func TestTakeCancelled(t *testing.T) {
	tests := map[string]func(context.Context) (context.Context, context.CancelFunc){
		"cancel": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(3*time.Second, cancel)
			return ctx, cancel
		},
		"deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 3*time.Second)
		},
	}
	for name, with := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := with(t.Context())
				defer cancel()
				l := newLimiter(100, 0)
				begun := time.Now()
				var all sync.WaitGroup
				for range 3 { // the first one waits for time, the others wait for the first
					all.Go(func() {
						err := l.take(ctx, 1000)
						if took := time.Since(begun); took != 3*time.Second || !errors.Is(err, ctx.Err()) || err == nil {
							t.Errorf("got error %v in %v, want the context's in 3s", err, took)
						}
					})
				}
				all.Wait()
				if l.take(t.Context(), 100); time.Since(begun) != 4*time.Second {
					t.Errorf("100 behind them took until %v, want 4s", time.Since(begun))
				}
			})
		})
	}
}

// TestTakeLate: a wait that ended too late, as under load, is credited, but not if it ended
// much too late.
func TestTakeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(10, 100*time.Millisecond)
		for i, step := range []struct{ wait, late time.Duration }{{0, 0}, {100, 60}, {40, 1000}, {0, 0}, {100, 0}} {
			asked := time.Now()
			wait, _ := l.try(1, asked)
			if want := step.wait * time.Millisecond; wait != want {
				t.Errorf("step %d: got a wait of %v, want %v", i, wait, want)
			}
			if wait == 0 {
				continue
			}
			time.Sleep(wait + step.late*time.Millisecond)
			if wait, _ = l.try(1, asked); wait > 0 {
				t.Errorf("step %d: got a wait of %v more, want none", i, wait)
			}
		}
	})
}

// TestRateOfGroup: bodies with one more limit keep to it together, whatever it is changed to, and the others
// do not.
func TestRateOfGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{ByteRate: 10e6})
		l := NewByteLimiter(100e3)
		group := &Transport{Pace: tr.With(l)}
		ctx, cancel := context.WithCancel(t.Context())
		var limited, free atomic.Int64
		all := []*sync.WaitGroup{startPull(ctx, group, 8, testBuffer, &limited), startPull(ctx, tr, 2, testBuffer, &free)}
		for _, perSecond := range []int64{100e3, 1e6, 20e3, 50e3} {
			l.SetByteRate(perSecond)
			begun, before, others := time.Now(), limited.Load(), free.Load()
			if time.Sleep(20 * time.Second); !isRate(limited.Load()-before, perSecond, begun) {
				t.Errorf("%d B/s: got %d bytes in 20s", perSecond, limited.Load()-before)
			}
			if !isRate(free.Load()-others, 10e6-perSecond, begun) {
				t.Errorf("beside %d B/s: the others got %d bytes in 20s", perSecond, free.Load()-others)
			}
		}
		if low := group.IsRateLow(); !low || tr.IsRateLow() || group.ByteRate() != 50e3 {
			t.Errorf("got a low rate %v of %d for the group, and %v for the others", low, group.ByteRate(), tr.IsRateLow())
		}
		cancel()
		for _, a := range all {
			a.Wait()
		}
	})
}

// TestRateFalls: when a rate falls, a read that waits becomes a smaller one, so that none waits for long.
func TestRateFalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := newTestTransport(t, Options{ByteRate: 200e6})
		var longest atomic.Int64 // time of one read
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				buf := make([]byte, testBuffer)
				for begun := time.Now(); ; begun = time.Now() {
					_, err := tr.Read(ctx, readFunc(func(p []byte) (int, error) { return len(p), nil }), buf)
					if took := int64(time.Since(begun)); took > longest.Load() {
						longest.Store(took)
					}
					if err != nil {
						return
					}
				}
			})
		}
		time.Sleep(time.Second)
		tr.SetByteRate(20e3)
		all.Wait()
		if most := time.Duration(longest.Load()); most > time.Second {
			t.Errorf("a read waited for %v, want the time of 8 short ones at most", most)
		}
	})
}
