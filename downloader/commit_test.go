package downloader

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/faultserver"
	"pawl/store"
)

// If the state can no longer be written, the download ends soon, although its only connection
// still receives bytes.
func TestCommitFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.srv.Put("f", faultserver.NewFile(64<<20, 1))
		r.srv.Set(faultserver.NoRanges, faultserver.Rate(4<<20))
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if !r.srv.WaitSent(1<<20, stop) {
				return
			}
			if err := os.Rename(r.state, r.state+".gone"); err != nil {
				t.Error(err)
			}
			if err := os.WriteFile(r.state, nil, 0o600); err != nil {
				t.Error(err)
			}
		})
		_, err := r.get(t.Context(), "f")
		close(stop)
		wg.Wait()
		if !errors.Is(err, store.ErrState) {
			t.Errorf("got error %v, want ErrState", err)
		}
		if n := r.srv.Sent(); n > 16<<20 {
			t.Errorf("the server sent %d bytes, want at most 16 MiB", n)
		}
	})
}

// If the last commit of a cancelled download fails, the error reports it, because the bytes
// since the previous commit are lost.
func TestLastCommitFails(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		r := newRig(t)
		r.srv.Put("f", faultserver.NewFile(4<<20, 1))
		r.srv.Set(faultserver.Rate(400 << 10)) // too slow for a commit to be due before the end
		ctx, cancel := context.WithCancelCause(t.Context())
		stop := make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			if r.srv.WaitSent(150<<10, stop) {
				if err := os.Rename(r.state, r.state+".gone"); err != nil {
					t.Error(err)
				}
				if err := os.WriteFile(r.state, nil, 0o600); err != nil {
					t.Error(err)
				}
				cancel(errTestCancel)
			}
		})
		_, err := r.get(ctx, "f")
		close(stop)
		wg.Wait()
		cancel(nil)
		if !errors.Is(err, store.ErrState) {
			t.Errorf("got error %v, want ErrState", err)
		}
	})
}

// Bytes are committed within commitInterval also if the last of them has arrived before the committer
// has run for the first time.
func TestCommitOfFirstBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size, sent = 10_000, 100
		d := New(nil, Options{})
		j, conns, _ := newTestTransfer(t, d, size, 1, time.Now())
		c := conns[0]
		j.file.sink = newStrictFile(size)
		defer c.close()
		c.buf.seek(0)
		ctx, cancel := context.WithCancel(t.Context())
		c.t.commits.begin()

		first := true
		body := readFunc(func(p []byte) (int, error) {
			if !first { // silence
				<-ctx.Done()
				return 0, ctx.Err()
			}
			first = false
			for i := range p[:sent] {
				p[i] = byteAt(int64(i))
			}
			return sent, nil
		})
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c.copy(ctx, &reply{Response: &http.Response{Body: io.NopCloser(body)}, pace: d.transport.Pace, ctx: ctx})
		}()
		synctest.Wait()
		go c.t.commits.loop(ctx)
		time.Sleep(2 * commitInterval)
		if n := c.t.sched.Snapshot().Held; n != sent {
			t.Errorf("%d bytes are written, want %d", n, sent)
		}
		cancel()
		<-ended
	})
}
