package downloader

import (
	"context"
	"errors"
	"io"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
)

// TestPace: over ten seconds the rate is right within 5 %, whatever the rate,
// the size of the reads and the number of connections.
func TestPace(t *testing.T) {
	const window = 10 * time.Second
	tests := []struct {
		perSecond int64
		share     int // of the largest read, 1/share
		conns     int
	}{
		{32 << 10, 1, 1}, {32 << 10, 50, 4}, {1e6, 1, 1}, {1e6, 3, 4}, {1e6, 20, 1}, {64 << 20, 1, 4}, {64 << 20, 3, 1}, {1 << 30, 1, 16},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			d := &Downloader{limiter: newLimiter(tt.perSecond)}
			size := d.paceMost() / tt.share
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(window, cancel)
			var total atomic.Int64
			var all sync.WaitGroup
			for range tt.conns {
				all.Go(func() {
					for d.pace(ctx, size) == nil {
						total.Add(int64(size))
					}
				})
			}
			all.Wait()
			off := float64(total.Load())/(float64(tt.perSecond)*window.Seconds()) - 1
			if math.Abs(off) > 0.05 {
				t.Errorf("%d B/s in reads of %d, %d connections: got %d bytes in %v, %+.1f %%", tt.perSecond, size, tt.conns, total.Load(), window, 100*off)
			}
		})
	}
}

func TestPaceUnlimited(t *testing.T) {
	for _, perSecond := range []int64{0, -1} {
		d := &Downloader{limiter: newLimiter(perSecond)}
		if d.limiter != nil || d.paceMost() != bufferSize {
			t.Errorf("limit %d: got %v, reads of %d, want none, %d", perSecond, d.limiter, d.paceMost(), bufferSize)
		}
		if err := d.pace(t.Context(), math.MaxInt); err != nil {
			t.Errorf("limit %d: got error %v", perSecond, err)
		}
	}
}

// TestPaceMost: a read is never more than the limiter can ever grant, nor than
// a buffer holds.
func TestPaceMost(t *testing.T) {
	for _, perSecond := range []int64{1, 100, 20 << 10, 1 << 20, 1 << 40, math.MaxInt64} {
		d := &Downloader{limiter: newLimiter(perSecond)}
		n := d.paceMost()
		if n < 1 || n > bufferSize {
			t.Errorf("limit %d: got reads of %d, want 1 to %d", perSecond, n, bufferSize)
		}
		if err := d.pace(t.Context(), n); err != nil {
			t.Errorf("limit %d: first read: got error %v", perSecond, err)
		}
	}
}

// TestPaceCancelled: the wait ends with the context, and not before it: who is
// told to go on early asks the server again and again until the deadline.
func TestPaceCancelled(t *testing.T) {
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
				d := &Downloader{limiter: newLimiter(100)}
				if err := d.pace(ctx, d.paceMost()); err != nil { // the first burst is free
					t.Fatal(err)
				}
				begun := time.Now()
				err := d.pace(ctx, d.paceMost()) // due in 10.24 s
				if took := time.Since(begun); took != 3*time.Second || !errors.Is(err, ctx.Err()) || err == nil {
					t.Errorf("got error %v in %v, want the context's in 3s", err, took)
				}
				if d.pace(t.Context(), 300); time.Since(begun) != 3*time.Second { // 3 s' worth
					t.Error("what was not read after all is charged to others")
				}
			})
		})
	}
}

// TestCopyPaced: what a connection has read is written, also when the download
// is cancelled while the connection waits for its share of the rate.
func TestCopyPaced(t *testing.T) {
	const size = 10_000
	d := New(nil, Options{LimitRate: 1000}) // a burst is 1024 bytes
	j, err := newJob(d, Request{URL: "http://h/f"})
	if err != nil {
		t.Fatal(err)
	}
	f := newStrictFile(size)
	w := &worker{}
	j.host, j.sink = newHost("h", 1), f
	enterNow(t, j.host, 1)
	j.pool = newPool(j.host, chunk.NewPlan(size, chunk.Set{}), false)
	j.pool.begin(w, chunk.Range{End: size}, false, func(error) {}, time.Now())
	defer j.attach(w)()
	w.buf.seek(0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	read := 0
	body := readFunc(func(p []byte) (int, error) {
		for i := range p[:10] {
			p[i] = at(int64(read))
			read++
		}
		return 10, nil
	})
	got, err := j.copy(ctx, w, &reply{Response: &http.Response{Body: io.NopCloser(body)}, ctx: ctx})
	if got != int64(read) || err == nil || j.pool.plan.HeldLen() != got {
		t.Errorf("got %d of %d bytes, %d written, error %v, want all written, and an error", got, read, j.pool.plan.HeldLen(), err)
	}
	w.buf.flush() // free wants it so
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }
