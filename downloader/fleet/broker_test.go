package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pawl/downloader/fleet"
	"pawl/downloader/fleet/fakebroker"
	"pawl/downloader/fleet/natstest"
)

// lease is a lease that tests wait for. NATS counts it by the real clock, so tests that must be
// faster than a lease have 30 s.
const lease = 2 * time.Second

// A rig is one kind of broker under test.
type rig struct {
	*testing.T
	ctx     context.Context
	run     string // a name of a run that no other test has
	connect func(role string) fleet.Broker

	// submit, work and watch are connections with these roles.
	submit, work, watch fleet.Broker
}

var runs atomic.Int64

func newRig(t *testing.T, connect func(*testing.T, string) fleet.Broker) *rig {
	r := &rig{T: t, run: fmt.Sprintf("00000000000000%02x-1", runs.Add(1))}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r.ctx = ctx
	var opened []fleet.Broker
	r.connect = func(role string) fleet.Broker {
		b := connect(t, role)
		opened = append(opened, b)
		return b
	}
	t.Cleanup(func() {
		cancel()
		for _, b := range opened {
			b.Close()
		}
	})
	r.submit, r.work, r.watch = r.connect("submit"), r.connect("work"), r.connect("watch")
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) want(what string, got, want any) {
	r.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		r.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

func (r *rig) wantErr(what string, err, want error) {
	r.Helper()
	if !errors.Is(err, want) {
		r.Fatalf("%s: got error %v, want %v", what, err, want)
	}
}

// publish creates the queue and publishes messages to lane a, with their text as ID.
func (r *rig) publish(texts ...string) {
	r.Helper()
	r.must(r.submit.CreateQueue(r.ctx, r.run, []string{"a", "b"}))
	for _, s := range texts {
		r.must(r.submit.Publish(r.ctx, r.run, "a", s, []byte(s)))
	}
}

// take takes a message of lane a, and checks its text and delivery.
func (r *rig) take(b fleet.Broker, text string, delivery int) fleet.Message {
	r.Helper()
	m, err := b.Take(r.ctx, r.run, "a")
	for end := time.Now().Add(time.Minute); m == nil && err == nil && time.Now().Before(end); {
		m, err = b.Take(r.ctx, r.run, "a")
	}
	r.must(err)
	if m == nil {
		r.Fatalf("no message, want %q", text)
	}
	r.want("message", string(m.Data()), text)
	r.want("delivery of "+text, m.Delivery(), delivery)
	return m
}

// takeNone checks that lane a gives no message.
func (r *rig) takeNone(b fleet.Broker) {
	r.Helper()
	m, err := b.Take(r.ctx, r.run, "a")
	r.must(err)
	if m != nil {
		r.Fatalf("got message %q, want none", m.Data())
	}
}

func (r *rig) wantWaiting(want map[string]int) {
	r.Helper()
	got, err := r.work.Waiting(r.ctx, r.run)
	r.must(err)
	r.want("waiting", got, want)
}

// readLog returns the entries of the log until all are read, and calls then with each mark until it
// returns false.
func (r *rig) readLog(b fleet.Broker, then func(read []string) bool) {
	r.Helper()
	var read []string
	for e, err := range b.Log(r.ctx, r.run, 0) {
		r.must(err)
		if e.Data != nil {
			read = append(read, string(e.Data))
			r.want("sequence number", e.Seq, len(read))
		} else if !then(read) {
			return
		}
	}
	r.Fatal("the log has ended")
}

func (r *rig) wantLog(want ...string) {
	r.Helper()
	r.readLog(r.watch, func(read []string) bool {
		r.want("log", read, want)
		return false
	})
}

func (r *rig) bucket(b fleet.Broker, expiry time.Duration) fleet.Bucket {
	r.Helper()
	k, err := b.Bucket(r.ctx, "PAWL_"+r.run, expiry)
	r.must(err)
	return k
}

// wantChange waits for a change of a key. Earlier changes of the same key may be left out.
func (r *rig) wantChange(changes <-chan fleet.Change, key, data string, deleted bool) {
	r.Helper()
	for {
		select {
		case c, ok := <-changes:
			if !ok {
				r.Fatalf("the watch has ended, want %s", key)
			}
			if c.Key == key && c.Deleted == deleted && string(c.Data) == data {
				return
			}
		case <-r.ctx.Done():
			r.Fatalf("no change of %s to %q", key, data)
		}
	}
}

// contract is what every broker must do.
var contract = []struct {
	name  string
	lease time.Duration
	run   func(*rig)
}{
	{"messages come in their order, and each once", 30 * time.Second, func(r *rig) {
		r.publish("1", "2", "3")
		for _, s := range []string{"1", "2", "3"} {
			m := r.take(r.work, s, 1)
			r.must(m.Extend())
			r.must(m.Done(r.ctx))
			r.must(m.Done(r.ctx))
		}
		r.takeNone(r.work)
		r.wantWaiting(map[string]int{})
	}},
	{"a message has one consumer at a time", 30 * time.Second, func(r *rig) {
		r.publish("1", "2")
		other := r.connect("work")
		r.take(r.work, "1", 1)
		r.take(other, "2", 1)
		r.takeNone(r.work)
		r.wantWaiting(map[string]int{"a": 2})
	}},
	{"lanes are apart", 30 * time.Second, func(r *rig) {
		r.publish("1")
		r.must(r.work.Publish(r.ctx, r.run, "b", "2", []byte("2")))
		r.must(r.work.Publish(r.ctx, r.run, "new", "3", []byte("3")))
		r.wantWaiting(map[string]int{"a": 1, "b": 1, "new": 1})
		m, err := r.work.Take(r.ctx, r.run, "new")
		r.must(err)
		r.want("message", string(m.Data()), "3")
		r.must(m.Done(r.ctx))
		r.wantWaiting(map[string]int{"a": 1, "b": 1})
	}},
	{"a lease ends", lease, func(r *rig) {
		r.publish("1")
		late := r.take(r.work, "1", 1)
		other := r.connect("work")
		again := r.take(other, "1", 2)
		time.Sleep(lease / 4)
		r.wantErr("Extend", late.Extend(), fleet.ErrLease)
		r.wantErr("Back", late.Back(0), fleet.ErrLease)
		r.must(late.Done(r.ctx)) // what it has done is done
		r.wantWaiting(map[string]int{})
		r.must(again.Done(r.ctx))
	}},
	{"a lease is extended", 5 * time.Second, func(r *rig) {
		r.publish("1")
		m := r.take(r.work, "1", 1)
		other := r.connect("work")
		for range 3 {
			time.Sleep(1500 * time.Millisecond)
			r.must(m.Extend())
			r.takeNone(other)
			r.must(m.Extend())
		}
		r.must(m.Done(r.ctx))
		r.wantWaiting(map[string]int{})
	}},
	{"a message that is given back comes again after a wait", 30 * time.Second, func(r *rig) {
		r.publish("1")
		r.must(r.take(r.work, "1", 1).Back(0))
		r.take(r.work, "1", 2)
		r.must(r.submit.Publish(r.ctx, r.run, "a", "2", []byte("2")))
		m := r.take(r.work, "2", 1)
		given := time.Now()
		r.must(m.Back(3 * time.Second / 2))
		r.wantErr("Extend", m.Extend(), fleet.ErrLease)
		r.wantWaiting(map[string]int{"a": 2})
		r.take(r.work, "2", 2)
		if d := time.Since(given); d < 3*time.Second/2 {
			r.Fatalf("the message is back after %v", d)
		}
	}},
	{"the same ID twice is one message", 30 * time.Second, func(r *rig) {
		r.publish("1", "1", "2")
		r.wantWaiting(map[string]int{"a": 2})
		for range 2 {
			r.must(r.work.Append(r.ctx, r.run, "1", []byte("entry"))) // the ID of a message is free for an entry
		}
		r.wantLog("entry")
	}},
	{"all read the log from its beginning", 30 * time.Second, func(r *rig) {
		r.publish()
		r.wantLog()
		var want []string
		for i := range 200 { // more than a reader fetches at once
			want = append(want, fmt.Sprint(i))
			r.must(r.work.Append(r.ctx, r.run, fmt.Sprint(i), []byte(fmt.Sprint(i))))
		}
		r.wantLog(want...)
		r.readLog(r.submit, func(read []string) bool {
			if len(read) < len(want) { // a second mark
				return len(read) >= 200
			}
			r.want("log", read, want)
			if len(want) == 202 {
				return false
			}
			want = append(want, "more")
			r.must(r.work.Append(r.ctx, r.run, fmt.Sprint(len(want)), []byte("more")))
			return true
		})
	}},
	{"the log is read from any entry on", 30 * time.Second, func(r *rig) {
		r.publish()
		for i := range 70 {
			r.must(r.work.Append(r.ctx, r.run, fmt.Sprint(i+1), []byte(fmt.Sprint(i+1))))
		}
		for after, first := range map[uint64]uint64{0: 1, 1: 2, 3: 4, 69: 70, 70: 0, 71: 1, 1000: 1} { // above 70, the broker has lost entries
			got := uint64(0)
			for e, err := range r.watch.Log(r.ctx, r.run, after) {
				r.must(err)
				if e.Data != nil {
					got = e.Seq
					r.want("entry", string(e.Data), e.Seq)
				}
				break
			}
			r.want(fmt.Sprint("first entry after ", after), got, first)
		}
	}},
	{"the log ends with its context", 30 * time.Second, func(r *rig) {
		r.publish()
		ctx, cancel := context.WithCancel(r.ctx)
		defer cancel()
		for _, err := range r.watch.Log(ctx, r.run, 0) {
			r.must(err)
			cancel()
		}
	}},
	{"keys have revisions", 30 * time.Second, func(r *rig) {
		k := r.bucket(r.submit, 0)
		_, err := k.Get(r.ctx, "s.1")
		r.wantErr("Get of no key", err, fleet.ErrNoKey)
		_, err = k.Update(r.ctx, "s.1", []byte("x"), 7)
		r.wantErr("Update of no key", err, fleet.ErrConflict)
		r.wantErr("Delete of no key", k.Delete(r.ctx, "s.1", 7), fleet.ErrConflict)
		first, err := k.Create(r.ctx, "s.1", []byte("one"))
		r.must(err)
		_, err = k.Create(r.ctx, "s.1", []byte("two"))
		r.wantErr("second Create", err, fleet.ErrConflict)
		second, err := k.Update(r.ctx, "s.1", []byte("two"), first)
		r.must(err)
		_, err = k.Update(r.ctx, "s.1", []byte("three"), first)
		r.wantErr("Update of an old revision", err, fleet.ErrConflict)
		r.wantErr("Delete of an old revision", k.Delete(r.ctx, "s.1", first), fleet.ErrConflict)
		v, err := r.bucket(r.watch, 0).Get(r.ctx, "s.1")
		r.must(err)
		r.want("value", string(v.Data), "two")
		r.want("revision", v.Revision, second)
		if second <= first {
			r.Fatalf("revision %d after %d", second, first)
		}
		r.must(k.Delete(r.ctx, "s.1", second))
		_, err = k.Get(r.ctx, "s.1")
		r.wantErr("Get after Delete", err, fleet.ErrNoKey)
		_, err = k.Update(r.ctx, "s.1", []byte("x"), second)
		r.wantErr("Update after Delete", err, fleet.ErrConflict)
		third, err := k.Create(r.ctx, "s.1", []byte{})
		r.must(err)
		if third <= second {
			r.Fatalf("revision %d after %d", third, second)
		}
		v, err = k.Get(r.ctx, "s.1")
		r.must(err)
		r.want("length", len(v.Data), 0)
		r.must(k.Delete(r.ctx, "s.1", 0))
		r.must(k.Delete(r.ctx, "s.1", 0))
		_, err = k.Put(r.ctx, "s.1", []byte("put"))
		r.must(err)
		_, err = k.Put(r.ctx, "s.1", []byte("again"))
		r.must(err)
		for _, bad := range []string{"", ".a", "a.", "a..b", "a b", "a*", "a.>"} {
			if _, err := k.Put(r.ctx, bad, nil); err == nil {
				r.Fatalf("the key %q is good", bad)
			}
		}
	}},
	{"keys are listed by prefix", 30 * time.Second, func(r *rig) {
		k := r.bucket(r.submit, 0)
		list := func(prefix string) (names []string) {
			all, err := r.bucket(r.watch, 0).List(r.ctx, prefix)
			r.must(err)
			for name, v := range all {
				names = append(names, name+"="+string(v.Data))
			}
			slices.Sort(names)
			return names
		}
		r.want("all of nothing", list(""), []string{})
		for i, key := range []string{"p.a.1", "p.a.2", "p.ab.1", "s.x", "limits"} {
			_, err := k.Put(r.ctx, key, fmt.Append(nil, i))
			r.must(err)
		}
		_, err := k.Put(r.ctx, "s.x", []byte("new"))
		r.must(err)
		r.must(k.Delete(r.ctx, "p.a.2", 0))
		r.want("all", list(""), []string{"limits=4", "p.a.1=0", "p.ab.1=2", "s.x=new"})
		r.want("p.a", list("p.a"), []string{"p.a.1=0", "p.ab.1=2"})
		r.want("p.a.", list("p.a."), []string{"p.a.1=0"})
		r.want("q", list("q"), []string{})
	}},
	{"keys expire", 30 * time.Second, func(r *rig) {
		const expiry = 4 * time.Second
		k := r.bucket(r.submit, expiry)
		revision, err := k.Create(r.ctx, "s.owner", []byte("1"))
		r.must(err)
		for range 2 { // a change renews it
			time.Sleep(expiry/2 + expiry/20)
			revision, err = k.Update(r.ctx, "s.owner", []byte("2"), revision)
			r.must(err)
		}
		other := r.bucket(r.work, expiry)
		_, err = other.Create(r.ctx, "s.owner", []byte("dead"))
		r.wantErr("Create before expiry", err, fleet.ErrConflict)
		started := time.Now()
		for errors.Is(err, fleet.ErrConflict) && time.Since(started) < 5*expiry {
			time.Sleep(expiry / 20)
			_, err = other.Create(r.ctx, "s.owner", []byte("dead"))
		}
		r.must(err)
		_, err = k.Update(r.ctx, "s.owner", []byte("3"), revision)
		r.wantErr("Update after the Create of another", err, fleet.ErrConflict)
	}},
	{"a key that has expired cannot be renewed", 30 * time.Second, func(r *rig) {
		k := r.bucket(r.submit, time.Second)
		revision, err := k.Create(r.ctx, "s.owner", []byte("1"))
		r.must(err)
		for err == nil && r.ctx.Err() == nil {
			time.Sleep(time.Second / 10)
			_, err = k.Get(r.ctx, "s.owner")
		}
		r.wantErr("Get", err, fleet.ErrNoKey)
		_, err = k.Update(r.ctx, "s.owner", []byte("2"), revision)
		r.wantErr("Update", err, fleet.ErrConflict)
	}},
	{"changes of keys are watched", 30 * time.Second, func(r *rig) {
		k := r.bucket(r.submit, 5*time.Second)
		_, err := k.Put(r.ctx, "a.1", []byte("old"))
		r.must(err)
		_, err = k.Put(r.ctx, "b.1", []byte("other"))
		r.must(err)
		ctx, cancel := context.WithCancel(r.ctx)
		changes, err := r.bucket(r.watch, 0).Watch(ctx, "a.")
		r.must(err)
		r.wantChange(changes, "a.1", "old", false)
		_, err = k.Put(r.ctx, "a.2", []byte("new"))
		r.must(err)
		r.wantChange(changes, "a.2", "new", false)
		r.must(k.Delete(r.ctx, "a.2", 0))
		r.wantChange(changes, "a.2", "", true)
		r.wantChange(changes, "a.1", "", true) // expired
		cancel()
		for range changes {
		}
	}},
	{"signals reach all that listen", 30 * time.Second, func(r *rig) {
		ctx, cancel := context.WithCancel(r.ctx)
		var all []<-chan string
		for _, b := range []fleet.Broker{r.submit, r.work, r.watch} {
			s, err := b.Signals(ctx)
			r.must(err)
			all = append(all, s)
		}
		r.must(r.work.Signal(r.ctx, "hungry a 1"))
		for _, s := range all {
			r.want("signal", <-s, "hungry a 1")
		}
		for range 1000 { // nobody has to receive them
			r.must(r.submit.Signal(r.ctx, "x"))
		}
		cancel()
		for _, s := range all {
			for range s {
			}
		}
	}},
	{"runs are deleted", 30 * time.Second, func(r *rig) {
		r.publish("1", "2")
		k := r.bucket(r.submit, 0)
		m := r.take(r.work, "1", 1)
		r.must(r.submit.DeleteQueue(r.ctx, r.run))
		r.must(r.submit.DeleteQueue(r.ctx, r.run))
		r.must(r.submit.DeleteBucket(r.ctx, "PAWL_"+r.run))
		r.must(r.submit.DeleteBucket(r.ctx, "PAWL_"+r.run))
		r.wantErr("Done", m.Done(r.ctx), fleet.ErrNoRun)
		r.wantErr("Publish", r.submit.Publish(r.ctx, r.run, "a", "3", nil), fleet.ErrNoRun)
		r.wantErr("Append", r.work.Append(r.ctx, r.run, "3", nil), fleet.ErrNoRun)
		_, err := r.work.Waiting(r.ctx, r.run)
		r.wantErr("Waiting", err, fleet.ErrNoRun)
		_, err = r.work.Take(r.ctx, r.run, "a")
		r.wantErr("Take", err, fleet.ErrNoRun)
		for _, err := range r.watch.Log(r.ctx, r.run, 0) {
			r.wantErr("Log", err, fleet.ErrNoRun)
		}
		_, err = k.Get(r.ctx, "k")
		r.wantErr("Get", err, fleet.ErrNoRun)
		_, err = k.Create(r.ctx, "k", nil)
		r.wantErr("Create", err, fleet.ErrNoRun)
		r.publish("1") // its ID counts no longer
		r.take(r.work, "1", 1)
	}},
	{"a queue is created again without a loss", 30 * time.Second, func(r *rig) {
		r.publish("1")
		r.take(r.work, "1", 1)
		r.must(r.submit.CreateQueue(r.ctx, r.run, []string{"a", "b", "c"}))
		r.wantWaiting(map[string]int{"a": 1})
		if err := r.submit.CreateQueue(r.ctx, r.run, []string{"data.example.org"}); err == nil {
			r.Fatal("a lane with a dot is good")
		}
	}},
	{"Close ends what is in progress", 30 * time.Second, func(r *rig) {
		r.publish()
		b := r.connect("submit")
		k := r.bucket(b, 0)
		changes, err := k.Watch(r.ctx, "")
		r.must(err)
		heard, err := b.Signals(r.ctx)
		r.must(err)
		for i := range 200 { // more than the channel holds; nobody receives
			_, err := r.bucket(r.submit, 0).Put(r.ctx, fmt.Sprint(i), nil)
			r.must(err)
		}
		r.must(b.Close())
		r.must(b.Close())
		for range changes {
		}
		for range heard {
		}
		if err := b.Append(r.ctx, r.run, "1", nil); err == nil {
			r.Fatal("a closed broker appends")
		}
		for _, err := range b.Log(r.ctx, r.run, 0) {
			if err == nil {
				r.Fatal("a closed broker reads a log")
			}
		}
	}},
	{"a context ends a call", 30 * time.Second, func(r *rig) {
		r.publish()
		ctx, cancel := context.WithCancel(r.ctx)
		cancel()
		r.wantErr("Publish", r.submit.Publish(ctx, r.run, "a", "1", nil), context.Canceled)
		_, err := r.work.Take(ctx, r.run, "a")
		r.wantErr("Take", err, context.Canceled)
		_, err = r.bucket(r.submit, 0).List(ctx, "")
		r.wantErr("List", err, context.Canceled)
	}},
}

func TestContractOfFake(t *testing.T) {
	for _, c := range contract {
		t.Run(c.name, func(t *testing.T) {
			natstest.Bubble(t, func(t *testing.T) {
				s := fakebroker.New()
				s.Lease = c.lease
				c.run(newRig(t, func(_ *testing.T, role string) fleet.Broker { return s.Connect(role) }))
			})
		})
	}
}

// dial connects to a server as a role.
func dial(t *testing.T, s *natstest.Server, role string, lease time.Duration) fleet.Broker {
	t.Helper()
	o := natsOptions(s, role)
	o.Lease = lease
	b, err := fleet.ConnectNATS(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func natsOptions(s *natstest.Server, role string) fleet.NATSOptions {
	return fleet.NATSOptions{URLs: []string{s.URL()}, CA: s.CA(), Creds: s.Creds(role), Name: "test of " + role, Lease: lease}
}

func TestContractOfNATS(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Roles: true})
	t.Run("all", func(t *testing.T) {
		for _, c := range contract {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(newRig(t, func(t *testing.T, role string) fleet.Broker { return dial(t, s, role, c.lease) }))
			})
		}
	})
}

// A restart ends the server, as a crash or an administrator does.
var restarts = []struct {
	name string
	end  func(*natstest.Server)
}{
	{"killed", (*natstest.Server).Kill},
	{"stopped", (*natstest.Server).Stop},
}

func TestRestartOfNATS(t *testing.T) {
	t.Parallel()
	for _, restart := range restarts {
		t.Run(restart.name, func(t *testing.T) {
			t.Parallel()
			s := natstest.Start(t, natstest.Options{Roles: true})
			r := newRig(t, func(t *testing.T, role string) fleet.Broker { return dial(t, s, role, lease) })
			r.surviveRestart(func() { restart.end(s) }, s.Restart)
		})
	}
}

// surviveRestart checks that a broker keeps all that it has confirmed, and that its clients go on.
func (r *rig) surviveRestart(end, start func()) {
	r.publish("1", "2", "3")
	k := r.bucket(r.submit, 0)
	revision, err := k.Create(r.ctx, "a.1", []byte("old"))
	r.must(err)
	changes, err := r.bucket(r.watch, 0).Watch(r.ctx, "a.")
	r.must(err)
	r.wantChange(changes, "a.1", "old", false)
	heard, err := r.watch.Signals(r.ctx)
	r.must(err)
	r.must(r.work.Append(r.ctx, r.run, "e1", []byte("e1")))
	r.must(r.take(r.work, "1", 1).Done(r.ctx))
	held := r.take(r.work, "2", 1)

	end()
	soon, cancel := context.WithTimeout(r.ctx, lease/4)
	r.wantErr("Append while the broker is away", r.work.Append(soon, r.run, "never", []byte("never")), context.DeadlineExceeded)
	cancel()
	if held.Extend() == nil {
		r.Fatal("a message is extended while the broker is away")
	}
	type result struct {
		call string
		err  error
	}
	results := make(chan result, 4)
	call := func(name string, f func() error) { go func() { results <- result{name, f()} }() }
	call("Append", func() error { return r.work.Append(r.ctx, r.run, "e2", []byte("e2")) })
	call("Publish", func() error { return r.submit.Publish(r.ctx, r.run, "a", "4", []byte("4")) })
	call("Done", func() error { return held.Done(r.ctx) })
	call("Update", func() error { _, err := k.Update(r.ctx, "a.1", []byte("new"), revision); return err })
	time.Sleep(lease / 4)
	start()
	left := []string{"3", "4"}
	for range cap(results) {
		got := <-results
		if got.call == "Done" && errors.Is(got.err, fleet.ErrLease) { // NATS may forget a delivery, but no message
			left = []string{"2", "3", "4"}
		} else if got.err != nil {
			r.Fatalf("%s: %v", got.call, got.err)
		}
	}

	r.wantChange(changes, "a.1", "new", false)
	r.wantLog("e1", "e2")
	r.must(r.submit.Publish(r.ctx, r.run, "a", "3", []byte("3"))) // its ID still counts
	r.wantWaiting(map[string]int{"a": len(left)})
	for _, text := range left {
		r.must(r.take(r.work, text, 1).Done(r.ctx))
	}
	r.must(r.submit.Signal(r.ctx, "back"))
	r.want("signal", <-heard, "back")
}

func TestRestartOfFake(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := fakebroker.New()
		s.Lease = lease
		r := newRig(t, func(_ *testing.T, role string) fleet.Broker { return s.Connect(role) })
		r.surviveRestart(s.StopAnswering, s.StartAnswering)
	})
}

// Connections end and come back while the server goes on: no request may have its effect twice.
func TestCutConnections(t *testing.T) {
	t.Parallel()
	s := natstest.Start(t, natstest.Options{Roles: true})
	r := newRig(t, func(t *testing.T, role string) fleet.Broker { return dial(t, s, role, lease) })
	r.publish()
	k := r.bucket(r.submit, 0)
	revision, err := k.Create(r.ctx, "n", []byte("0"))
	r.must(err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 5 {
			time.Sleep(lease / 10)
			s.Cut()
		}
	}()
	var want []string
	for i := 0; ; i++ {
		entry := fmt.Sprint(i)
		want = append(want, entry)
		r.must(r.work.Append(r.ctx, r.run, entry, []byte(entry)))
		revision, err = k.Update(r.ctx, "n", []byte(entry), revision) // never a conflict with itself
		r.must(err)
		select {
		case <-ended:
			r.wantLog(want...)
			return
		default:
		}
	}
}

func TestFakeSwitches(t *testing.T) {
	natstest.Bubble(t, func(t *testing.T) {
		s := fakebroker.New()
		r := newRig(t, func(_ *testing.T, role string) fleet.Broker { return s.Connect(role) })
		r.publish("1")
		soon := func() context.Context {
			ctx, cancel := context.WithTimeout(r.ctx, time.Second)
			context.AfterFunc(ctx, cancel)
			return ctx
		}
		m := r.take(r.work, "1", 1)
		s.LoseAcks(1)
		r.wantErr("Done", m.Done(soon()), context.DeadlineExceeded)
		r.wantWaiting(map[string]int{"a": 1})
		r.must(m.Done(r.ctx))
		s.LoseAnswers(1)
		r.wantErr("Append", r.work.Append(soon(), r.run, "e", []byte("e")), context.DeadlineExceeded)
		r.must(r.work.Append(r.ctx, r.run, "e", []byte("e")))
		r.wantLog("e")

		r.must(r.submit.Publish(r.ctx, r.run, "a", "2", []byte("2")))
		dead := s.Connect("dead")
		started := time.Now()
		m = r.take(dead, "2", 1)
		dead.Kill()
		r.wantErr("Extend", m.Extend(), fakebroker.ErrKilled)
		r.wantErr("Done", m.Done(r.ctx), fakebroker.ErrKilled)
		for m = nil; m == nil; {
			var err error
			m, err = r.work.Take(r.ctx, r.run, "a")
			r.must(err)
		}
		r.want("delivery", m.Delivery(), 2)
		r.want("time", time.Since(started), s.Lease)
	})
}
