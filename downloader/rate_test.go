package downloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/downloader/faultserver"
	"pawl/downloader/sched"
)

// pull reads with conns connections until ctx ends, and counts. Each read gets
// up to most bytes at once.
func pull(ctx context.Context, d *Downloader, conns, most int, total *atomic.Int64) *sync.WaitGroup {
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			body := readFunc(func(p []byte) (int, error) { return min(len(p), most), nil })
			buf := make([]byte, bufferSize)
			for {
				n, err := d.read(ctx, body, buf)
				if err != nil {
					return
				}
				total.Add(int64(n))
			}
		})
	}
	return &all
}

// wantRate checks what has come since a time, to 5 %.
func wantRate(t *testing.T, what string, got, perSecond int64, since time.Time) {
	t.Helper()
	due := float64(perSecond) * time.Since(since).Seconds()
	if off := float64(got)/due - 1; math.Abs(off) > 0.05 {
		t.Errorf("%s: got %d bytes in %v, %+.1f %%", what, got, time.Since(since), 100*off)
	}
}

// TestRate: over ten seconds the rate is right within 5 %, whatever the rate, the
// number of connections and what a read brings, also after a pause.
func TestRate(t *testing.T) {
	const window = 10 * time.Second
	for _, perSecond := range []int64{20e3, 20 << 10, 300e3, 5e6, 200e6, 1 << 30} {
		for _, conns := range []int{1, 4, 16} {
			for _, most := range []int{100, 1460, bufferSize} {
				if perSecond > 2e4*int64(most) {
					continue // too many reads for a test
				}
				synctest.Test(t, func(t *testing.T) {
					what := fmt.Sprintf("%d B/s, %d connections, %d bytes a read", perSecond, conns, most)
					d := New(nil, Options{LimitRate: perSecond})
					for _, when := range []string{"at first", "after a pause"} {
						begun := time.Now()
						ctx, cancel := context.WithTimeout(t.Context(), window)
						var total atomic.Int64
						pull(ctx, d, conns, most, &total).Wait()
						cancel()
						wantRate(t, what+", "+when, total.Load(), perSecond, begun)
						time.Sleep(time.Hour)
					}
				})
			}
		}
	}
}

// TestRateSilent: connections on which nothing comes do not keep the rate from
// the others.
func TestRateSilent(t *testing.T) {
	const perSecond = 20e3
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{LimitRate: perSecond})
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var total atomic.Int64
		late := readFunc(func(p []byte) (int, error) {
			time.Sleep(11 * time.Second)
			return 0, io.EOF
		})
		var silent sync.WaitGroup
		for range 15 {
			silent.Go(func() {
				d.read(ctx, late, make([]byte, bufferSize))
			})
		}
		pull(ctx, d, 1, bufferSize, &total).Wait()
		wantRate(t, "15 of 16 silent", total.Load(), perSecond, begun)
		silent.Wait()
	})
}

func TestRateUnlimited(t *testing.T) {
	for _, perSecond := range []int64{0, -1} {
		d := New(nil, Options{LimitRate: perSecond})
		if d.readMost() != bufferSize || d.drainMost(maxDrain) != maxDrain || d.slowed() {
			t.Errorf("limit %d: got reads of %d, drains of %d", perSecond, d.readMost(), d.drainMost(maxDrain))
		}
		if err := d.bytes.take(t.Context(), math.MaxInt); err != nil {
			t.Errorf("limit %d: got error %v", perSecond, err)
		}
	}
}

// TestReadMost: a read is never nothing, nor more than a buffer holds.
func TestReadMost(t *testing.T) {
	for _, perSecond := range []int64{1, 100, 20 << 10, 1 << 20, 1 << 40, math.MaxInt64} {
		d := New(nil, Options{LimitRate: perSecond})
		if n := d.readMost(); n < 1 || n > bufferSize || perSecond > 1<<30 && n < bufferSize {
			t.Errorf("limit %d: got reads of %d, want 1 to %d", perSecond, n, bufferSize)
		}
	}
}

// TestSetLimitRate: a new rate is that of connections that wait under the old
// one, too.
func TestSetLimitRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{LimitRate: 10})
		ctx, cancel := context.WithCancel(t.Context())
		var total atomic.Int64
		all := pull(ctx, d, 16, bufferSize, &total) // the first read is due in 25 s
		for _, perSecond := range []int64{1e6, 20e3, 200e6, 10, 5e6} {
			time.Sleep(time.Second)
			d.SetLimitRate(perSecond)
			begun, before := time.Now(), total.Load()
			time.Sleep(time.Second)
			if perSecond == 10 {
				continue
			}
			time.Sleep(9 * time.Second)
			wantRate(t, fmt.Sprintf("changed to %d B/s", perSecond), total.Load()-before, perSecond, begun)
		}
		cancel()
		all.Wait()
	})
}

// TestSetLimitRateOff: without a limit none waits any more.
func TestSetLimitRateOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{LimitRate: 1})
		d.bytes.take(t.Context(), 0)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				if err := d.bytes.take(t.Context(), 10_000); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(time.Second)
		begun := time.Now()
		d.SetLimitRate(0)
		all.Wait()
		if took := time.Since(begun); took > 0 {
			t.Errorf("they waited for %v more", took)
		}
	})
}

// TestSetLimitRateDrips: connections that were slow because of the limit are not
// stopped for it when the limit is gone.
func TestSetLimitRateDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{LimitRate: 100})
		j, ws, stops := transferring(t, d, mB, 1, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { j.transfer.tick(ctx, func(*sched.Conn) {}) })
		trickle := func(d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				synctest.Wait()
				ws[0].Received(100, time.Now())
			}
		}
		trickle(time.Hour)
		d.SetLimitRate(0)
		if trickle(2 * time.Second); stops[0] != 0 {
			t.Errorf("it was stopped: %v", stops[0])
		}
		if trickle(d.opts.StallTimeout + 2*time.Second); stops[0] != sched.Trickling {
			t.Errorf("without a limit: got %v, want %v", stops[0], sched.Trickling)
		}
		cancel()
		all.Wait()
	})
}

// TestTakeCancelled: the wait ends with the context, and not before it: who is
// told to go on early asks the server again and again until the deadline.
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
				b := newBucket(100, 0)
				begun := time.Now()
				var all sync.WaitGroup
				for range 3 { // the first one's wait is timed, the others wait for it
					all.Go(func() {
						err := b.take(ctx, 1000)
						if took := time.Since(begun); took != 3*time.Second || !errors.Is(err, ctx.Err()) || err == nil {
							t.Errorf("got error %v in %v, want the context's in 3s", err, took)
						}
					})
				}
				all.Wait()
				if b.take(t.Context(), 100); time.Since(begun) != 4*time.Second {
					t.Errorf("100 behind them took until %v, want 4s", time.Since(begun))
				}
			})
		})
	}
}

// TestTakeLate: that a wait ended too late, as under load, is made up for, but
// not if by long.
func TestTakeLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBucket(10, 100*time.Millisecond)
		for i, step := range []struct{ wait, late time.Duration }{{0, 0}, {100, 60}, {40, 1000}, {0, 0}, {100, 0}} {
			came := time.Now()
			wait, _ := b.try(1, came)
			if want := step.wait * time.Millisecond; wait != want {
				t.Errorf("step %d: got a wait of %v, want %v", i, wait, want)
			}
			if wait == 0 {
				continue
			}
			time.Sleep(wait + step.late*time.Millisecond)
			if wait, _ = b.try(1, came); wait > 0 {
				t.Errorf("step %d: got a wait of %v more, want none", i, wait)
			}
		}
	})
}

// TestRateReal: many small files and a large one over many connections, and a
// new limit on the way.
func TestRateReal(t *testing.T) {
	const small, large, first, second = 20_000, 3 << 20, 1 << 20, 3 << 20
	r := newRig(t)
	r.opts.LimitRate, r.opts.StallTimeout = first, 10*time.Second
	f := faultserver.NewFile(large, 1)
	r.srv.Put("large", f)
	names := []string{"large"}
	for i := range 60 {
		names = append(names, fmt.Sprint(i))
		r.srv.Put(names[i+1], faultserver.NewFile(small, uint64(i)))
	}
	d := New(r.store, r.opts)
	defer d.Close()
	begun := time.Now()
	var changed time.Duration // when the limit did
	var timer sync.WaitGroup
	timer.Go(func() {
		time.Sleep(800 * time.Millisecond)
		d.SetLimitRate(second)
		changed = time.Since(begun)
	})
	var all errgroup.Group
	all.SetLimit(8)
	for _, name := range names {
		all.Go(func() error {
			_, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Dir: r.dir})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	timer.Wait()
	r.check(filepath.Join(r.dir, "large"), f)
	due := first*changed.Seconds() + second*(took-changed).Seconds()
	ratio := float64(large+60*small) / due
	t.Logf("%.3f of the limit in %v", ratio, took)
	if most := 1.05 + burstTime.Seconds()/took.Seconds(); ratio > most || ratio < 0.2 { // the machine may be busy
		t.Errorf("got %.3f of the limit in %v, want 0.2 to %.3f", ratio, took, most)
	}
}

// TestCopyPaced: what a connection has read is written, also when the download
// is cancelled while the connection waits for its share of the rate.
func TestCopyPaced(t *testing.T) {
	const size = 10_000
	d := New(nil, Options{LimitRate: 1000}) // a read is 256 bytes at most
	j, ws, _ := transferring(t, d, size, 1, time.Now())
	w := ws[0]
	j.file.sink = newStrictFile(size)
	defer w.close()
	w.buf.seek(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	time.AfterFunc(500*time.Millisecond, cancel)
	read := 0
	body := readFunc(func(p []byte) (int, error) {
		for i := range p[:10] {
			p[i] = at(int64(read))
			read++
		}
		return 10, nil
	})
	got, err := w.copy(ctx, &reply{Response: &http.Response{Body: io.NopCloser(body)}, ctx: ctx})
	if got == 0 || got != int64(read) || err == nil || j.transfer.sched.Snapshot().Held != got {
		t.Errorf("got %d of %d bytes, %d written, error %v, want all written, and an error", got, read, j.transfer.sched.Snapshot().Held, err)
	}
	w.buf.flush() // free wants it so
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
