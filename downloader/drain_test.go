package downloader

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"pawl/chunk"
	"pawl/downloader/sched"
)

// endless is a body that goes on, slowly, until its request is cancelled.
type endless struct{ ctx context.Context }

func (e endless) Read(b []byte) (int, error) {
	if err := sleep(e.ctx, 100*time.Millisecond); err != nil {
		return 0, err
	}
	return 1, nil
}

func (e endless) Close() error { return nil }

// TestDrainEnds: bytes that are no longer wanted, and are likely to be on their way, are read
// for a few round trips at most.
func TestDrainEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, ws, _ := transferring(t, New(nil, Options{}), 100*mB, 1, time.Now())
		w := ws[0]
		w.Requesting(func(sched.Reason) {}, time.Now())
		w.Responded(sched.Response{BodyEnd: 100 * mB, Took: 50 * time.Millisecond}, time.Now())
		time.Sleep(500 * time.Millisecond)
		w.Received(int(mB), time.Now())
		ctx, cancel := context.WithCancelCause(t.Context())
		rep := &reply{Response: &http.Response{Body: endless{ctx}}, ctx: ctx, cancel: cancel}
		rep.Range = chunk.Range{End: w.Remaining().End + 80*kB} // of 100 kB in flight
		begun := time.Now()
		if w.closeReply(rep, nil) {
			t.Error("the connection is kept, with a body that goes on")
		}
		if d := time.Since(begun); d < 100*time.Millisecond || d > 200*time.Millisecond {
			t.Errorf("it took %v, want two round trips of 50 ms and a little", d)
		}
	})
}
