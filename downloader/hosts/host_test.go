package hosts

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// epoch is the time of tests that do not wait.
var epoch = time.Unix(1e9, 0)

// newHost returns a host with a ceiling of n connections and so many open ones.
func newHost(t *testing.T, n, open int) *Host {
	t.Helper()
	h := New(Options{Origin: "http://h", Ceiling: n})
	acquire(t, h, open)
	return h
}

// acquire takes n connections, for which there must be room.
func acquire(t *testing.T, h *Host, n int) {
	t.Helper()
	for range n {
		if err := h.Acquire(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
}

// opened returns the number of open connections, also while others open some.
func opened(h *Host) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counts.open
}

// TestRefused: further connections up to the ceiling; after a refusal none for a while, longer
// each time, and then one more than there are.
func TestRefused(t *testing.T) {
	now := epoch
	h := newHost(t, 4, 1)
	more := func(at time.Time, want bool) {
		t.Helper()
		if got := h.TryOpen(at); got != want {
			t.Fatalf("a further connection at %v with %d open: got %t, want %t", at.Sub(now), opened(h), got, want)
		}
	}
	for range 3 {
		more(now, true)
	}
	more(now, false)

	wait := minPenalty
	for range 10 { // each time the third is refused
		for opened(h) > 2 {
			h.Release()
		}
		if got := h.Refused(now); got != 2 {
			t.Fatalf("after a refusal, %d are granted, want 2", got)
		}
		more(now, false)
		more(now.Add(wait-1), false)
		now = now.Add(wait)
		more(now, true)
		wait = min(2*wait, maxPenalty)
	}
	h.Refused(now)
	h.Recovered(epoch, time.Time{})
	h.Release()
	more(now, true)
	more(now, true)
	more(now, false)
	h.Release()
	h.Refused(now)
	h.Release()
	more(now.Add(minPenalty-1), false) // as after the first
	more(now.Add(minPenalty), true)
}

// TestRefusedTogether: several refusals at once are one, and each further one is a longer
// penalty, even if the server has asked for a short one.
func TestRefusedTogether(t *testing.T) {
	h := newHost(t, 16, 4)
	now := epoch
	for i, want := range []time.Duration{minPenalty, 2 * minPenalty, 4 * minPenalty} {
		for range 3 {
			h.PauseOpening(now.Add(time.Second))
			h.Refused(now)
		}
		if h.TryOpen(now.Add(want-1)) || !h.TryOpen(now.Add(want)) {
			t.Errorf("refusal %d: the next try is not after %v", i+1, want)
		}
		h.Release()
		now = now.Add(want)
	}
}

// TestRefusedLast: one connection is always granted.
func TestRefusedLast(t *testing.T) {
	h := newHost(t, 4, 1)
	h.Release()
	for range 3 {
		if got := h.Refused(epoch); got != 1 {
			t.Errorf("got %d granted, want 1", got)
		}
	}
	acquire(t, h, 1)
	for range 3 {
		h.Adopt()
	}
	if got := h.Refused(epoch); got != 1 {
		t.Errorf("with 4 adopted connections, %d are granted, want 1", got)
	}
}

// TestLimited: a host is limited after a refusal, until all that failed turns out to have been an
// outage. Only a host that has responded, and to which several connections lead, has others.
func TestLimited(t *testing.T) {
	h := newHost(t, 4, 1)
	h.Responded()
	if h.IsLimited() || h.HasOthers() {
		t.Error("a host with one connection is limited, or has others")
	}
	h.Adopt()
	if !h.HasOthers() {
		t.Error("a host with two connections has no others")
	}
	if h.Refused(epoch); !h.IsLimited() {
		t.Error("a host that refused one is not limited")
	}
	if h.Recovered(epoch, time.Time{}); h.IsLimited() {
		t.Error("a host that has recovered is limited")
	}
	if silent := newHost(t, 4, 2); silent.HasOthers() {
		t.Error("a host that never responded has connections that work")
	}
}

// TestBan: a host that drops all of several connections at once gets half of them from then on. One
// more is tried later, and if that leads to the same, not again. The number is noted.
func TestBan(t *testing.T) {
	n := &notes{}
	h := recalled(n)
	now := epoch
	lose := func(open int) (granted int) { // all but one
		for range open {
			h.Adopt()
		}
		for range open - 1 {
			h.Release()
			h.Refused(now)
		}
		now = now.Add(30 * time.Second)
		h.Recovered(now, now.Add(-29*time.Second))
		for h.TryOpen(now) {
		}
		granted = opened(h)
		for opened(h) > 0 {
			h.Release()
		}
		return granted
	}
	for _, tt := range []struct{ open, want int }{{16, 8}, {8, 4}, {4, 2}, {3, 2}, {2, 1}, {2, 1}} {
		if got := lose(tt.open); got != tt.want {
			t.Errorf("%d connections lost: got %d granted, want %d", tt.open, got, tt.want)
		}
		if h.Learn(now); n.note.Limit != tt.want {
			t.Errorf("%d connections lost: got limit %d noted, want %d", tt.open, n.note.Limit, tt.want)
		}
	}
	now = now.Add(maxPenalty)
	for i := range 2 {
		if !h.TryOpen(now) {
			t.Errorf("connection %d is not tried later, one more than granted", i+1)
		}
	}
	for name, since := range map[string]time.Duration{"long after": time.Minute, "long before": -time.Minute} {
		h := newHost(t, 16, 2)
		h.Release()
		h.Refused(epoch)
		if h.Recovered(epoch.Add(time.Hour), epoch.Add(since)); h.limit.proven > 0 {
			t.Errorf("the last connection failed %s the others: that counts as a ban", name)
		}
	}
}

func TestPause(t *testing.T) {
	now := epoch
	h := newHost(t, 4, 1)
	if d := h.PausedFor(now); d != 0 {
		t.Errorf("paused for %v, want 0", d)
	}
	for _, tt := range []struct {
		until time.Duration
		want  bool
	}{{time.Minute, true}, {time.Second, false}, {time.Minute + minNews - 1, false}, {2 * time.Minute, true}} {
		if got := h.PauseUntil(now.Add(tt.until)); got != tt.want {
			t.Errorf("a pause of %v: got news %t", tt.until, got)
		}
	}
	for after, want := range map[time.Duration]time.Duration{0: 2 * time.Minute, 2*time.Minute - 1: 1, 2 * time.Minute: 0, time.Hour: 0} {
		if d := h.PausedFor(now.Add(after)); d != want {
			t.Errorf("after %v: paused for %v, want %v", after, d, want)
		}
	}
	if h.TryOpen(now.Add(2*time.Minute - 1)) {
		t.Error("a further connection while all requests pause")
	}
	h.PauseOpening(now.Add(time.Hour))
	h.PauseOpening(now)
	if d := h.PausedFor(now.Add(2 * time.Minute)); d != 0 {
		t.Errorf("paused for %v because no connection may be opened, want 0", d)
	}
	if h.TryOpen(now.Add(time.Hour - 1)) {
		t.Error("a further connection while none may be opened")
	}
	if !h.TryOpen(now.Add(time.Hour)) {
		t.Error("no further connection after the pause")
	}
	acquire(t, h, 1) // the first one of a download is not a further one
}

// acquiring starts a goroutine that acquires a connection, and returns a function that reports
// whether it has returned, and with which error.
func acquiring(ctx context.Context, h *Host) (done func() (bool, error)) {
	result := make(chan error, 1)
	go func() { result <- h.Acquire(ctx, false) }()
	return func() (bool, error) {
		synctest.Wait()
		select {
		case err := <-result:
			return true, err
		default:
			return false, nil
		}
	}
}

// TestAcquireWaits: a download without a connection waits until one is released, and until then
// nobody gets a second one.
func TestAcquireWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, 4, 2)
		h.Refused(time.Now())
		h.PauseOpening(time.Now().Add(time.Hour))
		done := acquiring(t.Context(), h)
		if ok, _ := done(); ok || !h.OverShare() {
			t.Errorf("got acquired %t, over share %t, want false, true", ok, h.OverShare())
		}
		if h.TryOpen(time.Now().Add(time.Hour)) {
			t.Error("a further connection while a download has none")
		}
		h.Release()
		if ok, err := done(); !ok || err != nil || h.OverShare() || opened(h) != 2 {
			t.Errorf("got acquired %t, %v, over share %t, %d open", ok, err, h.OverShare(), opened(h))
		}
		if !h.TryOpen(time.Now().Add(time.Hour)) {
			t.Error("no further connection when nobody waits")
		}
	})
}

// TestAcquireOrder: each released connection goes to the download that has waited longest, and wakes
// no other one.
func TestAcquireOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, 2, 2)
		var done []func() (bool, error)
		for range 4 {
			done = append(done, acquiring(t.Context(), h))
			synctest.Wait()
		}
		for n := range done {
			h.Release()
			if synctest.Wait(); opened(h) != 2 {
				t.Errorf("%d open after release %d, want 2", opened(h), n)
			}
			for i, done := range done[n:] {
				if ok, err := done(); ok != (i == 0) || err != nil {
					t.Errorf("after release %d, download %d got %t, %v", n, n+i, ok, err)
				}
			}
		}
	})
}

// TestAcquireLater: a refusal that has grown old keeps nobody waiting.
func TestAcquireLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, 4, 1)
		h.Refused(time.Now())
		done := acquiring(t.Context(), h)
		time.Sleep(minPenalty - 1)
		if ok, _ := done(); ok {
			t.Error("acquired beyond the granted number while the refusal was fresh")
		}
		time.Sleep(time.Nanosecond)
		if ok, err := done(); !ok || err != nil || opened(h) != 2 {
			t.Errorf("got acquired %t, %v, %d open, want true, nil, 2", ok, err, opened(h))
		}
		h.Release()
		h.PauseOpening(time.Now().Add(time.Hour))
		if ok, _ := acquiring(t.Context(), h)(); !ok {
			t.Error("the connection that was tried with success is not granted later")
		}
	})
}

func TestAcquireCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("the cause")
		ctx, cancel := context.WithCancelCause(t.Context())
		h := newHost(t, 1, 1)
		done := acquiring(ctx, h)
		done()
		cancel(cause)
		if ok, err := done(); !ok || err != cause {
			t.Errorf("got returned %t, %v, want the cause of the context", ok, err)
		}
		if h.OverShare() || opened(h) != 1 {
			t.Errorf("got over share %t, %d open, want false, 1", h.OverShare(), opened(h))
		}
		h.Release()
		acquire(t, h, 1) // nothing is lost to a download that has gone
	})
}

// TestAcquireRecovered: when the granted number rises again, or the host turns out to speak
// HTTP/2, downloads that wait for it go on.
func TestAcquireRecovered(t *testing.T) {
	for name, raise := range map[string]func(*Host){"recovered": func(h *Host) { h.Recovered(time.Now(), time.Time{}) }, "HTTP/2": (*Host).SpeaksHTTP2} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			h := newHost(t, 4, 1)
			h.Refused(time.Now())
			done := acquiring(ctx, h)
			if ok, _ := done(); ok {
				t.Fatalf("%s: acquired beyond the granted 1", name)
			}
			raise(h)
			if ok, _ := done(); !ok {
				t.Errorf("%s: still waits with %d connections open", name, opened(h))
			}
		})
	}
}

// TestHTTP2: over HTTP/2, the first connections of downloads are streams, and may be many. Further
// connections are not.
func TestHTTP2(t *testing.T) {
	h := newHost(t, 4, 4)
	if got := h.MaxParallel(); got != 4 {
		t.Errorf("got %d at once, want 4", got)
	}
	for range 2 {
		h.SpeaksHTTP2()
	}
	if got := h.MaxParallel(); got != maxStreams {
		t.Errorf("over HTTP/2: got %d at once, want %d", got, maxStreams)
	}
	acquire(t, h, maxStreams-4)
	if h.TryOpen(epoch) {
		t.Error("a further connection beyond the ceiling")
	}
	many := newHost(t, 1000, 0)
	if many.SpeaksHTTP2(); many.MaxParallel() != 1000 {
		t.Error("a ceiling above the usual number of streams is not kept")
	}
}

// TestFairShare: several downloads share the connections of one host, and give one to a download
// that has none.
func TestFairShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHost(t, 16, 16)
		for i, want := range []int{16, 16, 8, 6, 4} {
			if got := h.FairShare(); got != want {
				t.Errorf("%d downloads: got %d connections each, want %d", i, got, want)
			}
			h.Join()
		}
		if h.Wanted(16) {
			t.Error("a connection is wanted, though nobody waits")
		}
		done := acquiring(t.Context(), h)
		done()
		if !h.Wanted(4) || h.Wanted(3) || h.Wanted(1) {
			t.Error("of five downloads, those with four connections must give one")
		}
		h.Release()
		done()
		alone := newHost(t, 1, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		acquiring(ctx, alone)()
		if alone.Wanted(1) {
			t.Error("the only connection of a download is wanted")
		}
		h.Leave()
		if got := h.FairShare(); got != 4 {
			t.Errorf("after one has ended: got %d connections each, want 4", got)
		}
	})
}

// A fakeAddress is shared with other processes.
type fakeAddress struct {
	unshared
	share  int
	queued bool
	owed   int
}

func (a *fakeAddress) Share() int     { return a.share }
func (a *fakeAddress) IsQueued() bool { return a.queued }
func (a *fakeAddress) MustRelease(last bool) bool {
	a.owed--
	return a.owed >= 0 && !last
}

// TestShare: a process opens no more connections than its share, which may change.
func TestShare(t *testing.T) {
	a := &fakeAddress{share: 4, owed: 1}
	h := New(Options{Ceiling: 4, Address: a})
	acquire(t, h, 2)
	if h.OverShare() || !h.TryOpen(epoch) || h.FairShare() != 4 {
		t.Error("alone: 3 of 4 are too many")
	}
	a.share = 2
	if !h.OverShare() || h.TryOpen(epoch) || h.FairShare() != 2 {
		t.Error("with a share of 2: 3 are not too many")
	}
	h.Release()
	if h.OverShare() || h.TryOpen(epoch) {
		t.Error("with a share of 2: 2 are too many, or too few")
	}
	a.share = 100
	acquire(t, h, 2)
	if h.TryOpen(epoch) {
		t.Error("more than the ceiling, because the share is greater")
	}
	if !h.MustRelease(false) || h.MustRelease(false) || h.Queued() {
		t.Error("not one connection is needed by others, or one is queued")
	}
	if a.queued = true; !h.Queued() {
		t.Error("a connection waits, and the host does not know")
	}
}

// TestRanges: a failure that may pass has to come twice, and none counts after a success.
func TestRanges(t *testing.T) {
	for _, tt := range []struct {
		events string // s: served; f: failed for good; p: failed for a reason that may pass
		want   RangeUse
	}{{"", RangesUntried}, {"s", RangesWork}, {"f", RangesRefused}, {"p", RangesDoubted}, {"pp", RangesRefused}, {"pf", RangesRefused}, {"sf", RangesWork}, {"ps", RangesWork}} {
		var r Ranges
		for _, e := range tt.events {
			if e == 's' {
				r.Served()
			} else {
				r.Failed(e == 'p')
			}
		}
		if got := r.Use(); got != tt.want {
			t.Errorf("%q: got %d, want %d", tt.events, got, tt.want)
		}
	}
}

// TestIdle: a host may be forgotten if nothing is lost with it.
func TestIdle(t *testing.T) {
	for name, tt := range map[string]struct {
		before func(*Host)
		after  time.Duration
		want   bool
	}{
		"new":                {func(*Host) {}, 0, true},
		"with a connection":  {func(h *Host) { h.Adopt() }, time.Hour, false},
		"with a download":    {func(h *Host) { h.Join() }, time.Hour, false},
		"after both":         {func(h *Host) { h.Adopt(); h.Join(); h.Leave(); h.Release() }, 0, true},
		"paused":             {func(h *Host) { h.PauseUntil(epoch.Add(time.Hour)) }, time.Hour - 1, false},
		"no longer paused":   {func(h *Host) { h.PauseUntil(epoch.Add(time.Hour)) }, time.Hour, true},
		"opens none":         {func(h *Host) { h.PauseOpening(epoch.Add(time.Hour)) }, time.Hour - 1, false},
		"opens some again":   {func(h *Host) { h.PauseOpening(epoch.Add(time.Hour)) }, time.Hour, true},
		"refuses":            {func(h *Host) { h.Refused(epoch) }, time.Hour, false},
		"refuses no more":    {func(h *Host) { h.Refused(epoch); h.Recovered(epoch, time.Time{}) }, 0, true},
		"refuses ranges":     {func(h *Host) { h.Ranges.Failed(false) }, time.Hour, false},
		"may refuse ranges":  {func(h *Host) { h.Ranges.Failed(true) }, 0, true},
		"sends ranges":       {func(h *Host) { h.Ranges.Served() }, 0, true},
		"responded long ago": {func(h *Host) { h.Responded() }, 0, true},
	} {
		h := newHost(t, 4, 0)
		if tt.before(h); h.IsIdle(epoch.Add(tt.after)) != tt.want {
			t.Errorf("%s: got idle %t, want %t", name, !tt.want, tt.want)
		}
	}
}

// TestUnshared: a host without an Address has all connections for itself.
func TestUnshared(t *testing.T) {
	h := newHost(t, 2, 1)
	h.Address.Forget()
	if h.Queued() || h.MustRelease(false) || h.Address.HasResolved() || h.FairShare() != 2 {
		t.Error("another process counts")
	}
}

// TestRandom: whatever happens, there are never more connections than the ceiling, and everyone
// who waits gets one in the end.
func TestRandom(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			ceiling := 1 + r.IntN(5)
			h := newHost(t, ceiling, 0)
			var open, came int // connections as they should be; of those that waited
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 200 {
				switch now := time.Now(); r.IntN(7) {
				case 0:
					all.Go(func() {
						if err := h.Acquire(t.Context(), false); err != nil {
							t.Error(err)
						}
						mu.Lock()
						defer mu.Unlock()
						came++
					})
				case 1, 2:
					if h.TryOpen(now) {
						open++
					}
				case 3:
					if open > 0 {
						h.Release()
						open--
					}
				case 4:
					if granted := h.Refused(now); granted < 1 || granted > ceiling {
						t.Errorf("got %d granted, ceiling %d", granted, ceiling)
					}
				case 5:
					h.Recovered(epoch, time.Time{})
				default:
					time.Sleep(time.Duration(r.IntN(10)) * time.Second)
				}
				synctest.Wait()
				open, came = open+came, 0
				if opened(h) != open || open > ceiling {
					t.Fatalf("seed %d: got %d open, want %d, ceiling %d", seed, opened(h), open, ceiling)
				}
			}
			for synctest.Wait(); open+came > 0; synctest.Wait() {
				open, came = open+came-1, 0
				h.Release()
			}
			all.Wait()
			if opened(h) != 0 || h.OverShare() {
				t.Errorf("seed %d: at the end %d are open, over share %t", seed, opened(h), h.OverShare())
			}
		})
	}
}
