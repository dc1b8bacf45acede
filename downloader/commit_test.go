package downloader

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

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
