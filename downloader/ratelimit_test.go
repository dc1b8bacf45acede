package downloader

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"pawl/downloader/faultserver"
	"pawl/downloader/sched"
)

// A connection that is slow because of the rate limit does not count as trickling, even shortly
// after the limit is removed.
func TestRateLimitIsNoTrickle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{LimitRate: 100})
		_, conns, stops := newTestTransfer(t, d, mB, 1, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { conns[0].t.tick(ctx, func(*sched.Conn) {}) })
		trickle := func(d time.Duration) {
			for range d / time.Second {
				time.Sleep(time.Second)
				synctest.Wait()
				conns[0].Received(100, time.Now())
			}
		}
		trickle(time.Hour)
		d.SetLimitRate(0)
		if trickle(2 * time.Second); stops[0] != 0 {
			t.Errorf("2s after the limit was removed: the connection was stopped as %v", stops[0])
		}
		if trickle(d.opts.Timeouts.Stall + 2*time.Second); stops[0] != sched.Trickling {
			t.Errorf("long after the limit was removed: stopped as %v, want %v", stops[0], sched.Trickling)
		}
		cancel()
		all.Wait()
	})
}

// Many small files and a large one keep to the rate limit together, also when it changes in
// between.
func TestRateLimitOfAllDownloads(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		const small, large, first, second = 20_000, 3 << 20, 1 << 20, 3 << 20
		r := newRig(t)
		r.opts.LimitRate, r.opts.Timeouts.Stall = first, 10*time.Second
		f := faultserver.NewFile(large, 1)
		r.srv.Put("large", f)
		names := []string{"large"}
		for i := range 60 {
			names = append(names, fmt.Sprint(i))
			r.srv.Put(names[i+1], faultserver.NewFile(small, uint64(i)))
		}
		d := New(r.store, r.opts)
		defer d.Close()
		began := time.Now()
		var changed time.Duration // time from began to the change of the limit
		var timer sync.WaitGroup
		timer.Go(func() {
			time.Sleep(800 * time.Millisecond)
			d.SetLimitRate(second)
			changed = time.Since(began)
		})
		var all errgroup.Group
		all.SetLimit(8)
		for _, name := range names {
			all.Go(func() error {
				_, err := d.Get(t.Context(), Request{URL: r.srv.URL + "/" + name, Into: File{Dir: r.dir}})
				return err
			})
		}
		if err := all.Wait(); err != nil {
			t.Fatal(err)
		}
		took := time.Since(began)
		timer.Wait()
		r.checkFile(filepath.Join(r.dir, "large"), f)
		allowed := first*changed.Seconds() + second*(took-changed).Seconds()
		ratio := float64(large+60*small) / allowed
		t.Logf("received %.3f of the limit in %v", ratio, took)
		if maxRatio := 1.05 + 0.1/took.Seconds(); ratio > maxRatio || ratio < 0.2 { // a burst has the bytes of 0.1 s; a busy machine may be slow
			t.Errorf("got %.3f of the limit in %v, want 0.2 to %.3f", ratio, took, maxRatio)
		}
	})
}

// conn.copy writes all bytes that it has read, also if the download is cancelled while the
// connection waits for its share of the rate.
func TestCopyCancelledAtRateLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 10_000
		d := New(nil, Options{LimitRate: 1000}) // so that a read has at most 256 bytes
		j, conns, _ := newTestTransfer(t, d, size, 1, time.Now())
		c := conns[0]
		j.file.sink = newStrictFile(size)
		defer c.close()
		c.buf.seek(0)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(500*time.Millisecond, cancel)
		read := 0
		body := readFunc(func(p []byte) (int, error) {
			for i := range p[:10] {
				p[i] = byteAt(int64(read))
				read++
			}
			return 10, nil
		})
		got, err := c.copy(ctx, &reply{Response: &http.Response{Body: io.NopCloser(body)}, pace: d.transport.Pace, ctx: ctx})
		if got == 0 || got != int64(read) || err == nil || c.t.sched.Snapshot().Held != got {
			t.Errorf("copied %d of %d bytes, wrote %d, error %v, want all of them, and an error", got, read, c.t.sched.Snapshot().Held, err)
		}
		c.buf.flush() // close requires a flushed buffer
	})
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// Bytes that are only compared with the held ones keep to the rate limit, too.
func TestRateLimitOfComparedBytes(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		f := faultserver.NewFile(4<<20, 1)
		r.srv.Put("f", f)
		r.srv.Set(faultserver.NoRanges, faultserver.Rate(32<<20))
		if err := r.getUntilSent(3<<20, "f"); !errors.Is(err, errTestCancel) {
			t.Fatal(err)
		}
		r.opts.LimitRate = 4 << 20
		began := time.Now()
		r.mustGet("f", f)
		if d := time.Since(began); d < 700*time.Millisecond {
			t.Errorf("4 MiB at 4 MiB/s took %v, want at least 700 ms", d)
		}
	})
}
