package downloader

import (
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// places are the slots of one address, whose number the test changes.
type places struct{ share, held atomic.Int64 }

func (p *places) Try() (io.Closer, bool) {
	if p.held.Add(1) > p.share.Load() {
		p.held.Add(-1)
		return nil, false
	}
	return &place{places: p}, true
}
func (p *places) Share() int   { return int(p.share.Load()) }
func (p *places) Held() int    { return int(p.held.Load()) }
func (p *places) Close() error { return nil }

type place struct {
	*places
	once sync.Once
}

func (p *place) Close() error {
	p.once.Do(func() { p.held.Add(-1) })
	return nil
}

// TestSlotsTakenAway: a download whose connections are taken away waits, without failures, for however
// long that takes, and then goes on with the bytes that it has; so does one that has had none, and one of
// a list.
func TestSlotsTakenAway(t *testing.T) {
	for name, tt := range map[string]struct {
		size   int64
		listed bool
		faults []faultserver.Fault
	}{
		"several connections": {8 << 20, false, []faultserver.Fault{faultserver.ConnRate(1 << 20)}},
		"small":               {64 << 10, true, []faultserver.Fault{faultserver.Rate(16 << 10)}},
		"no response yet":     {64 << 10, true, []faultserver.Fault{faultserver.First(4, faultserver.Delay(5*time.Second))}},
		"no ranges":           {256 << 10, false, []faultserver.Fault{faultserver.NoRanges, faultserver.Rate(64 << 10)}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.opts.Retry.Tries = 1 // any failure would end it
				r.opts.Timeouts.Stall = 10 * time.Second
				var p places
				p.share.Store(4)
				var addrs sync.Map
				r.opts.Slots = func(addr string, n int) Slots {
					addrs.Store(addr, n)
					return &p
				}
				f := faultserver.NewFile(tt.size, 1)
				r.srv.Put("f", f)
				r.srv.Set(tt.faults...)
				takenAt := int64(0)
				var timers sync.WaitGroup
				for i := range 3 { // three times
					timers.Add(2)
					time.AfterFunc(time.Second+time.Duration(i)*10*time.Minute, func() {
						defer timers.Done()
						if p.Held() == 0 {
							t.Errorf("no slot is held before they are taken")
						}
						p.share.Store(0)
						time.Sleep(time.Second)
						if takenAt = r.srv.Sent(); p.Held() != 0 {
							t.Errorf("%d slots are held a second after they were taken", p.Held())
						}
					})
					time.AfterFunc(time.Duration(i)*10*time.Minute+8*time.Minute, func() {
						defer timers.Done()
						if n := r.srv.Sent(); n != takenAt {
							t.Errorf("%d bytes were sent without a slot", n-takenAt)
						}
						p.share.Store(4)
						if name == "no ranges" && i == 0 || name == "small" && i == 1 {
							r.srv.Set() // it begins again each time
						}
					})
				}
				done := make(chan struct{})
				go func() {
					defer close(done)
					r.mustGet("f", f, func(req *Request) {
						if tt.listed {
							req.Into = Listed{Path: r.dir + "/f", Size: -1}
						}
					})
				}()
				<-done
				for _, k := range []Kind{Retrying, Limited} {
					if n := r.countEvents(k); n > 0 {
						t.Errorf("got %d events %v of %+v", n, k, r.events)
					}
				}
				addrs.Range(func(addr, n any) bool {
					if "http://"+addr.(string) != r.srv.URL || n != defaultConnections {
						t.Errorf("got slots for %v, %v, want those of %s alone", addr, n, r.srv.URL)
					}
					return true
				})
			})
		})
	}
}
