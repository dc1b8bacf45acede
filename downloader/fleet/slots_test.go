package fleet

import (
	"context"
	"io"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/transport"
)

// A desk is a process with places.
type desk struct {
	*link
	places  *Places
	session *Session
	full    []string
}

func openDesk(t *testing.T, w *world) *desk {
	t.Helper()
	d := &desk{link: w.link()}
	var err error
	d.places, err = OpenPlaces(t.Context(), d.link, PlacesOptions{Full: func(addr string, _ Limit) { d.full = append(d.full, addr) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.places.Close() })
	d.session = openSession(t, d.link, SessionOptions{})
	d.places.Use(d.session)
	return d
}

// dial takes slots until there are n, for at most d.
func dial(s transport.Slots, n int, d time.Duration) (all []io.Closer) {
	for end := time.Now().Add(d); len(all) < n && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if slot, ok := s.Try(); ok {
			all = append(all, slot)
		}
	}
	return all
}

func hangUp(all []io.Closer) {
	for _, slot := range all {
		slot.Close()
	}
}

const testHost = "example.org:443"

// TestSlotsWithoutWant checks that a connection to a host of which there is no work, such as after
// a redirect, gets a place, and that it is given back.
func TestSlotsWithoutWant(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, newWorld(t, 1))
		s := d.places.Slots(testHost, 100)
		if _, ok := s.Try(); ok {
			t.Error("a slot without a place")
		}
		if got := s.Share(); got != 16 {
			t.Errorf("the share is %d while all places are free", got)
		}
		all := dial(s, 17, 10*time.Second)
		if len(all) != 16 || s.Held() != 16 || s.Share() != 16 {
			t.Errorf("%d slots, %d held, share %d, of 16", len(all), s.Held(), s.Share())
		}
		if !slices.Equal(d.full, []string{testHost}) {
			t.Errorf("told for %v that the limit is reached", d.full)
		}
		if small := d.places.Slots(testHost+" small", 16); small.Share() != 0 || len(dial(small, 1, time.Second)) != 0 {
			t.Error("more connections for small files")
		}
		hangUp(all)
		all[0].Close() // again
		if s.Held() != 0 {
			t.Errorf("%d slots are held after all were closed", s.Held())
		}
		time.Sleep(5 * time.Second)
		if n := d.taken(t); n != 0 {
			t.Errorf("%d places were not given back", n)
		}
		if s.Close(); len(d.places.addrs) != 0 {
			t.Error("the address is not forgotten")
		}
	})
}

// taken returns how many places the broker knows.
func (d *desk) taken(t *testing.T) int {
	t.Helper()
	all, err := d.places.bucket.List(t.Context(), placePrefix)
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestSlotsWithoutSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		d := openDesk(t, w)
		lane := d.places.Lane(testHost)
		d.places.Want(lane)
		s := d.places.Slots(testHost, 8)
		all := dial(s, 4, 10*time.Second)
		if len(all) != 4 || !d.places.Has(lane) {
			t.Fatalf("%d slots", len(all))
		}
		d.cut()
		time.Sleep(46 * time.Second)
		if s.Share() != 0 || d.places.Has(lane) || len(dial(s, 1, time.Second)) != 0 {
			t.Errorf("share %d without the broker", s.Share())
		}
		d.mend()
		time.Sleep(5 * time.Second)
		if s.Share() < 4 || !d.places.Has(lane) {
			t.Errorf("share %d after the broker came back", s.Share())
		}
		d.cut()
		time.Sleep(70 * time.Second) // another process has the places now
		if s.Share() != 0 {
			t.Errorf("share %d without a session", s.Share())
		}
		hangUp(all)
		other := openDesk(t, w)
		if n := len(dial(other.places.Slots(testHost, 16), 16, 10*time.Second)); n != 16 {
			t.Errorf("another process has %d connections of 16 after the first one vanished", n)
		}
		d.mend()
		d.session.Close(t.Context())
		d.places.Use(openSession(t, d.link, SessionOptions{}))
		if n := len(dial(s, 1, 10*time.Second)); n != 0 {
			t.Errorf("a connection more than the limit")
		}
	})
}

// TestSlotsOfOneHost checks that the names of a host have its limit together.
func TestSlotsOfOneHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, newWorld(t, 1))
		n := 0
		for _, addr := range []string{"example.org:443", "example.org.:443", "EXAMPLE.org:443"} {
			n += len(dial(d.places.Slots(addr, 16), 10, 3*time.Second))
		}
		if n != 16 {
			t.Errorf("%d connections, not 16", n)
		}
	})
}

// TestSlotsOfRate checks that requests that wait for a place are not sent all at once when there is
// one, and that later connections do not wait.
func TestSlotsOfRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		if err := SetLimits(t.Context(), w.link(), "", rules(t, "example.org=8,5/s")); err != nil {
			t.Fatal(err)
		}
		d := openDesk(t, w)
		s := d.places.Slots(testHost, 16)
		begun := time.Now()
		all := dial(s, 4, 10*time.Second)
		if took := time.Since(begun); len(all) != 4 || took < 800*time.Millisecond || took > 1200*time.Millisecond {
			t.Errorf("%d connections within %v", len(all), took)
		}
		time.Sleep(time.Second)
		begun = time.Now()
		all = append(all, dial(s, 4, 10*time.Second)...)
		if took := time.Since(begun); len(all) != 8 || took > 200*time.Millisecond {
			t.Errorf("%d connections, the last ones within %v", len(all), took)
		}
		if n := d.taken(t); n != 1 {
			t.Errorf("%d places of a host with one owner", n)
		}
		hangUp(all)
		d.cut()
		time.Sleep(46 * time.Second) // requests wait for the broker, too
		if n := len(dial(s, 1, time.Second)); n > 0 {
			t.Error("a connection without the broker")
		}
		d.mend()
		all = dial(s, 1, 30*time.Second)
		begun = time.Now()
		all = append(all, dial(s, 3, 10*time.Second)...)
		if took := time.Since(begun); len(all) != 4 || took < 550*time.Millisecond || took > 1200*time.Millisecond {
			t.Errorf("%d connections within %v after the broker came back", len(all), took)
		}
	})
}

// TestWatchEnds checks that a process sees changes after the broker has ended its watches.
func TestWatchEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		d := openDesk(t, w)
		time.Sleep(time.Second)
		w.endWatches()
		time.Sleep(2 * time.Second)
		if err := SetLimits(t.Context(), w.link(), "", rules(t, "example.org=2")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := d.places.Limits().For(testHost); got.Connections != 2 {
			t.Errorf("%v", got)
		}
		if n := len(dial(d.places.Slots(testHost, 16), 16, 2*time.Second)); n != 2 {
			t.Errorf("%d connections, not 2", n)
		}
	})
}

// TestSlotsAfterEnd checks that the places are free at once after an orderly end.
func TestSlotsAfterEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		d, other := openDesk(t, w), openDesk(t, w)
		hangUp(dial(d.places.Slots(testHost, 16), 16, 10*time.Second))
		if err := d.places.GiveAll(t.Context()); err != nil {
			t.Error(err)
		}
		if n := d.taken(t); n != 0 {
			t.Errorf("%d places were not given back", n)
		}
		if n := len(dial(other.places.Slots(testHost, 16), 16, 2*time.Second)); n != 16 {
			t.Errorf("%d connections of another process", n)
		}
	})
}

// TestSlotsOfTwoUsers checks that the users of one process share its places.
func TestSlotsOfTwoUsers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, newWorld(t, 1))
		a, b := d.places.Slots(testHost, 16), d.places.Slots(testHost, 16)
		all := dial(a, 16, 10*time.Second)
		go func() {
			for range 25 {
				time.Sleep(200 * time.Millisecond)
				if a.Held() > a.Share() {
					all[0].Close()
					all = all[1:]
				}
			}
		}()
		if n := len(dial(b, 1, 10*time.Second)); n != 1 {
			t.Error("the second user has no connection")
		}
		time.Sleep(5 * time.Second)
		if got := a.Held() + b.Held(); got != 16 {
			t.Errorf("%d connections, not 16", got)
		}
	})
}

// TestPlaceLost checks that a process notices that a place is not its own any more, and finds one
// that it had given back without the broker confirming it.
func TestPlaceLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, newWorld(t, 1))
		s := d.places.Slots(testHost, 4)
		all := dial(s, 4, 10*time.Second)
		time.Sleep(3 * time.Second) // it looks for no more
		for key := range must(d.places.bucket.List(t.Context(), placePrefix)) {
			d.places.bucket.Put(t.Context(), key, []byte("0123456789abcdef")) // an alien
		}
		time.Sleep(time.Second)
		if s.Share() != 0 {
			t.Errorf("share %d without places", s.Share())
		}
		hangUp(all)
		s.Close()
		time.Sleep(time.Second)
		// A place that is ours without our knowing is deleted if nobody wants it, and adopted if so.
		key := placePrefix + d.places.Lane(testHost) + ".15"
		must(d.places.bucket.Put(t.Context(), key, []byte(d.session.ID())))
		time.Sleep(2 * time.Second)
		if _, err := d.places.bucket.Get(t.Context(), key); err != ErrNoKey {
			t.Errorf("a place that nobody wants is kept: %v", err)
		}
	})
}

// TestPlaceAdopted checks that a place whose Create was not confirmed is used, with a new revision,
// so that no earlier Delete can take it away.
func TestPlaceAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1)
		if err := SetLimits(t.Context(), w.link(), "", rules(t, "example.org=1")); err != nil {
			t.Fatal(err)
		}
		d := openDesk(t, w)
		lane := d.places.Lane(testHost)
		key := placePrefix + lane + ".0"
		d.cut()
		d.places.Want(lane)
		bucket := must(w.link().Bucket(t.Context(), placesBucket, 0))
		revision := must(bucket.Create(t.Context(), key, []byte(d.session.ID())))
		d.mend()
		time.Sleep(2 * time.Second)
		v, err := bucket.Get(t.Context(), key)
		if err != nil || string(v.Data) != d.session.ID() || v.Revision == revision || !d.places.Has(lane) {
			t.Errorf("%+v, %v", v, err)
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// TestLimitsChange checks that a new rule is followed at once.
func TestLimitsChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := openDesk(t, newWorld(t, 1))
		s := d.places.Slots(testHost, 16)
		all := dial(s, 16, 10*time.Second)
		if err := SetLimits(context.Background(), d.link, "", rules(t, "*=3")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s.Share() != 3 {
			t.Errorf("share %d, not 3", s.Share())
		}
		hangUp(all[3:])
		time.Sleep(time.Second)
		if n := d.taken(t); n != 3 {
			t.Errorf("%d places, not 3", n)
		}
		if err := SetLimits(context.Background(), d.link, "", rules(t, "example.org=2")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if s.Share() != 0 { // its places are of another lane
			t.Errorf("share %d in the new lane", s.Share())
		}
		hangUp(all)
		if n := len(dial(s, 3, 10*time.Second)); n != 2 {
			t.Errorf("%d connections, not 2", n)
		}
		if connections, rate := d.places.Host(testHost); connections != 2 || rate != 0 {
			t.Errorf("%d connections, %v requests per second", connections, rate)
		}
	})
}
