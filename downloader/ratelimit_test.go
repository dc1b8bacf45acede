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

// TestSetLimitRateDrips: connections that were slow because of the limit are not
// stopped for it when the limit is gone.
func TestSetLimitRateDrips(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := New(nil, Options{LimitRate: 100})
		_, ws, stops := transferring(t, d, mB, 1, time.Now())
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() { ws[0].t.tick(ctx, func(*sched.Conn) {}) })
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
	if most := 1.05 + 0.1/took.Seconds(); ratio > most || ratio < 0.2 { // a burst is the bytes of 0.1 s; the machine may be busy
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
	if got == 0 || got != int64(read) || err == nil || ws[0].t.sched.Snapshot().Held != got {
		t.Errorf("got %d of %d bytes, %d written, error %v, want all written, and an error", got, read, ws[0].t.sched.Snapshot().Held, err)
	}
	w.buf.flush() // free wants it so
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// TestSkipPaced: bytes that are read to be thrown away are under the limit, too.
func TestSkipPaced(t *testing.T) {
	r := newRig(t)
	f := faultserver.NewFile(4<<20, 1)
	r.srv.Put("f", f)
	r.srv.Set(faultserver.NoRanges, faultserver.Rate(32<<20))
	if err := r.getUntil(3<<20, "f"); !errors.Is(err, errTestCancel) {
		t.Fatal(err)
	}
	r.opts.LimitRate = 4 << 20
	begun := time.Now()
	r.mustGet("f", f)
	if d := time.Since(begun); d < 700*time.Millisecond {
		t.Errorf("4 MiB at 4 MiB/s took %v", d)
	}
}
