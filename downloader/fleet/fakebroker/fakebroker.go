// Package fakebroker is a fleet.Broker in memory, for tests. Its leases and expiries follow the
// clock of the test, so it works under testing/synctest. Only tests may import it.
package fakebroker

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"regexp"
	"strings"
	"sync"
	"time"

	"pawl/downloader/fleet"
)

// ErrKilled is the error of all methods of a Client after Kill or Close.
var ErrKilled = errors.New("the process has ended")

// A Server keeps the queues, logs and buckets of all clients.
type Server struct {
	// Lease is the lease of messages; New sets 30 s. It must not be changed in use.
	Lease time.Duration

	mu          sync.Mutex
	changed     chan struct{}        // closed and replaced at each change; guarded by mu
	queues      map[string]*queue    // by run; guarded by mu
	buckets     map[string]*bucket   // by name; guarded by mu
	listeners   map[chan string]bool // guarded by mu
	silent      bool                 // answers nothing; guarded by mu
	lostAcks    int                  // of the next calls of Done; guarded by mu
	lostAnswers int                  // of the next writes; guarded by mu
}

// New returns an empty server.
func New() *Server {
	return &Server{
		Lease: 30 * time.Second, changed: make(chan struct{}),
		queues: make(map[string]*queue), buckets: make(map[string]*bucket), listeners: make(map[chan string]bool),
	}
}

// A queue is the queue and the log of a run. It is guarded by Server.mu.
type queue struct {
	messages []*message // in the order of publishing
	log      [][]byte
	ids      map[string]time.Time // of messages and entries, and when they came
}

type message struct {
	lane     string
	data     []byte
	delivery int
	free     time.Time // when it may be given to somebody
	taken    bool      // since the last delivery it was not given back

}

// A bucket is guarded by Server.mu.
type bucket struct {
	expiry   time.Duration
	keys     map[string]key
	revision uint64
}

type key struct {
	fleet.Value
	end time.Time // zero for never
}

// StopAnswering makes all calls wait, without any effect, until StartAnswering is called or their
// context ends.
func (s *Server) StopAnswering() { s.update(func() { s.silent = true }) }

// StartAnswering ends StopAnswering.
func (s *Server) StartAnswering() { s.update(func() { s.silent = false }) }

// LoseAcks makes the next n calls of Message.Done have no effect, and wait until their context ends.
func (s *Server) LoseAcks(n int) { s.update(func() { s.lostAcks = n }) }

// LoseAnswers makes the next n calls of Publish, Append and the methods of buckets that write have
// their effect, but wait until their context ends and return its error.
func (s *Server) LoseAnswers(n int) { s.update(func() { s.lostAnswers = n }) }

func (s *Server) update(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	s.notify()
}

// notify wakes all that wait. s.mu must be held.
func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// A Client is the connection of one process.
type Client struct {
	s      *Server
	name   string
	killed chan struct{}
	once   sync.Once
	work   sync.WaitGroup // of Watch and Signals
}

// Connect returns a connection. Name is for the caller.
func (s *Server) Connect(name string) *Client {
	return &Client{s: s, name: name, killed: make(chan struct{})}
}

// Name returns the name of the connection.
func (c *Client) Name() string { return c.name }

// Kill ends the connection as the end of its process does: all calls fail, and the messages that it
// has taken go to others after the lease.
func (c *Client) Kill() { c.once.Do(func() { close(c.killed) }) }

// Close implements fleet.Broker.
func (c *Client) Close() error {
	c.Kill()
	c.work.Wait()
	return nil
}

// Check implements fleet.Broker.
func (c *Client) Check(ctx context.Context) ([]string, error) {
	return nil, c.do(ctx, func() error { return nil })
}

// errWait is returned by a function of await that has to be called again after a change.
var errWait = errors.New("wait")

// await calls f with s.mu held, now and after each change, until it returns another error than
// errWait. f returns a time at which it wants to be called as well, or zero.
func (c *Client) await(ctx context.Context, f func() (time.Time, error)) error {
	for {
		c.s.mu.Lock()
		changed := c.s.changed
		var at time.Time
		err := errWait
		switch {
		case c.dead():
			err = ErrKilled
		case ctx.Err() != nil:
			err = ctx.Err()
		case !c.s.silent:
			at, err = f()
		}
		c.s.mu.Unlock()
		if err != errWait {
			return err
		}
		c.pause(ctx, changed, at)
	}
}

// pause waits for a change, a time unless it is zero, or the end of ctx or the client.
func (c *Client) pause(ctx context.Context, changed chan struct{}, at time.Time) {
	var alarm <-chan time.Time
	if !at.IsZero() {
		t := time.NewTimer(time.Until(at))
		defer t.Stop()
		alarm = t.C
	}
	select {
	case <-changed:
	case <-alarm:
	case <-ctx.Done():
	case <-c.killed:
	}
}

func (c *Client) dead() bool {
	select {
	case <-c.killed:
		return true
	default:
		return false
	}
}

// do calls f once the server answers.
func (c *Client) do(ctx context.Context, f func() error) error {
	return c.await(ctx, func() (time.Time, error) { return time.Time{}, f() })
}

// write calls f as do does, and wakes all that wait. Its answer may be lost.
func (c *Client) write(ctx context.Context, f func() error) error {
	lost := false
	err := c.do(ctx, func() error {
		err := f()
		if c.s.lostAnswers > 0 {
			c.s.lostAnswers--
			lost = true
		}
		c.s.notify()
		return err
	})
	if lost {
		return c.hang(ctx)
	}
	return err
}

// hang waits until ctx or the client ends.
func (c *Client) hang(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.killed:
		return ErrKilled
	}
}

var nameText = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

func checkName(name string) error {
	if !nameText.MatchString(name) {
		return fmt.Errorf("bad name %q for a queue", name)
	}
	return nil
}

// CreateQueue implements fleet.Broker.
func (c *Client) CreateQueue(ctx context.Context, run string, lanes []string) error {
	for _, name := range append([]string{run}, lanes...) {
		if err := checkName(name); err != nil {
			return err
		}
	}
	return c.write(ctx, func() error {
		if c.s.queues[run] == nil {
			c.s.queues[run] = &queue{ids: make(map[string]time.Time)}
		}
		return nil
	})
}

// DeleteQueue implements fleet.Broker.
func (c *Client) DeleteQueue(ctx context.Context, run string) error {
	return c.write(ctx, func() error { delete(c.s.queues, run); return nil })
}

// append calls add unless the id came within the last hour.
func (c *Client) append(ctx context.Context, run, id string, add func(*queue)) error {
	return c.write(ctx, func() error {
		q := c.s.queues[run]
		if q == nil {
			return fleet.ErrNoRun
		}
		now := time.Now()
		if came, ok := q.ids[id]; ok && id != "" && now.Sub(came) < time.Hour {
			return nil
		}
		q.ids[id] = now
		add(q)
		return nil
	})
}

// Publish implements fleet.Broker.
func (c *Client) Publish(ctx context.Context, run, lane, id string, data []byte) error {
	if err := checkName(lane); err != nil {
		return err
	}
	data = clone(data)
	return c.append(ctx, run, "work "+id, func(q *queue) { q.messages = append(q.messages, &message{lane: lane, data: data}) })
}

func clone(data []byte) []byte { return append([]byte{}, data...) }

// Waiting implements fleet.Broker.
func (c *Client) Waiting(ctx context.Context, run string) (map[string]int, error) {
	all := make(map[string]int)
	err := c.do(ctx, func() error {
		q := c.s.queues[run]
		if q == nil {
			return fleet.ErrNoRun
		}
		for _, m := range q.messages {
			all[m.lane]++
		}
		return nil
	})
	return all, err
}

// Take implements fleet.Broker.
func (c *Client) Take(ctx context.Context, run, lane string) (fleet.Message, error) {
	if err := checkName(lane); err != nil {
		return nil, err
	}
	var end time.Time // of waiting, from the first answer
	var taken *delivered
	err := c.await(ctx, func() (time.Time, error) {
		q := c.s.queues[run]
		if q == nil {
			return time.Time{}, fleet.ErrNoRun
		}
		now := time.Now()
		if end.IsZero() {
			end = now.Add(time.Second)
		}
		next := end
		for _, m := range q.messages {
			switch {
			case m.lane != lane:
			case m.free.After(now):
				if m.free.Before(next) {
					next = m.free
				}
			default:
				m.delivery++
				m.free, m.taken = now.Add(c.s.Lease), true
				taken = &delivered{c: c, run: run, q: q, m: m, delivery: m.delivery}
				return time.Time{}, nil
			}
		}
		if !now.Before(end) {
			return time.Time{}, nil
		}
		return next, errWait
	})
	if err != nil || taken == nil {
		return nil, err
	}
	return taken, nil
}

// delivered is a delivery of a message.
type delivered struct {
	c        *Client
	run      string
	q        *queue
	m        *message
	delivery int
}

func (d *delivered) Data() []byte  { return d.m.data }
func (d *delivered) Delivery() int { return d.delivery }

// ours calls f if the lease is not over. It does not wait, because a client without a connection
// fails at once.
func (d *delivered) ours(f func()) error {
	d.c.s.mu.Lock()
	defer d.c.s.mu.Unlock()
	switch {
	case d.c.dead():
		return ErrKilled
	case d.m.delivery != d.delivery || !d.m.taken || time.Now().After(d.m.free):
		return fleet.ErrLease
	case d.c.s.silent:
		return errors.New("the broker does not answer")
	}
	f()
	d.c.s.notify()
	return nil
}

// Extend implements fleet.Message.
func (d *delivered) Extend() error {
	return d.ours(func() { d.m.free = time.Now().Add(d.c.s.Lease) })
}

// Back implements fleet.Message.
func (d *delivered) Back(wait time.Duration) error {
	return d.ours(func() { d.m.free, d.m.taken = time.Now().Add(wait), false })
}

// Done implements fleet.Message.
func (d *delivered) Done(ctx context.Context) error {
	lost := false
	err := d.c.do(ctx, func() error {
		if lost = d.c.s.lostAcks > 0; lost {
			d.c.s.lostAcks--
			return nil
		}
		if d.c.s.queues[d.run] != d.q {
			return fleet.ErrNoRun
		}
		for i, m := range d.q.messages {
			if m == d.m {
				d.q.messages = append(d.q.messages[:i:i], d.q.messages[i+1:]...)
				d.c.s.notify()
				break
			}
		}
		return nil
	})
	if lost {
		return d.c.hang(ctx)
	}
	return err
}

// Append implements fleet.Broker.
func (c *Client) Append(ctx context.Context, run, id string, data []byte) error {
	data = clone(data)
	return c.append(ctx, run, "log "+id, func(q *queue) { q.log = append(q.log, data) })
}

// Log implements fleet.Broker.
func (c *Client) Log(ctx context.Context, run string, after uint64) iter.Seq2[fleet.LogEntry, error] {
	return func(yield func(fleet.LogEntry, error) bool) {
		read, marked := int(after), false
		for {
			var e fleet.LogEntry
			err := c.await(ctx, func() (time.Time, error) {
				q := c.s.queues[run]
				switch {
				case q == nil:
					return time.Time{}, fleet.ErrNoRun
				case read > len(q.log): // which has lost entries
					read = 0
				}
				switch {
				case read < len(q.log):
					e.Data = q.log[read]
					read, marked = read+1, false
				case marked:
					return time.Time{}, errWait
				default:
					marked = true
				}
				e.Seq = uint64(read)
				return time.Time{}, nil
			})
			if ctx.Err() != nil {
				return
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Signal implements fleet.Broker.
func (c *Client) Signal(ctx context.Context, name string) error {
	return c.do(ctx, func() error {
		for out := range c.s.listeners {
			select {
			case out <- name:
			default: // too slow
			}
		}
		return nil
	})
}

// Signals implements fleet.Broker.
func (c *Client) Signals(ctx context.Context) (<-chan string, error) {
	out := make(chan string, 64)
	err := c.do(ctx, func() error { c.s.listeners[out] = true; return nil })
	if err != nil {
		return nil, err
	}
	c.work.Go(func() {
		c.hang(ctx)
		c.s.mu.Lock()
		defer c.s.mu.Unlock()
		delete(c.s.listeners, out)
		close(out)
	})
	return out, nil
}

// Bucket implements fleet.Broker.
func (c *Client) Bucket(ctx context.Context, name string, expiry time.Duration) (fleet.Bucket, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	err := c.write(ctx, func() error {
		if c.s.buckets[name] == nil {
			c.s.buckets[name] = &bucket{expiry: expiry, keys: make(map[string]key)}
		}
		return nil
	})
	return &client{c, name}, err
}

// DeleteBucket implements fleet.Broker.
func (c *Client) DeleteBucket(ctx context.Context, name string) error {
	return c.write(ctx, func() error { delete(c.s.buckets, name); return nil })
}

// A client is a bucket, as a Client sees it.
type client struct {
	c    *Client
	name string
}

// get returns the bucket without the keys that have expired. s.mu must be held.
func (k *client) get() (*bucket, error) {
	b := k.c.s.buckets[k.name]
	if b == nil {
		return nil, fleet.ErrNoRun
	}
	now := time.Now()
	maps.DeleteFunc(b.keys, func(_ string, v key) bool { return !v.end.IsZero() && !now.Before(v.end) })
	return b, nil
}

// Get implements fleet.Bucket.
func (k *client) Get(ctx context.Context, name string) (v fleet.Value, err error) {
	if err := checkKey(name); err != nil {
		return v, err
	}
	err = k.c.do(ctx, func() error {
		b, err := k.get()
		if err != nil {
			return err
		}
		old, ok := b.keys[name]
		if !ok {
			return fleet.ErrNoKey
		}
		v = old.Value
		return nil
	})
	return v, err
}

var keyText = regexp.MustCompile(`^[-_=/A-Za-z0-9]+(\.[-_=/A-Za-z0-9]+)*$`)

func checkKey(name string) error {
	if !keyText.MatchString(name) {
		return fmt.Errorf("bad key %q", name)
	}
	return nil
}

// change changes a key if may permits it, with the revision that it has, 0 for none. Nil data
// deletes it.
func (k *client) change(ctx context.Context, name string, data []byte, may func(revision uint64) bool) (revision uint64, err error) {
	if err := checkKey(name); err != nil {
		return 0, err
	}
	err = k.c.write(ctx, func() error {
		b, err := k.get()
		if err != nil {
			return err
		}
		if !may(b.keys[name].Revision) {
			return fleet.ErrConflict
		}
		b.revision++
		revision = b.revision
		if data == nil {
			delete(b.keys, name)
			return nil
		}
		v := key{Value: fleet.Value{Data: data, Revision: revision}}
		if b.expiry > 0 {
			v.end = time.Now().Add(b.expiry)
		}
		b.keys[name] = v
		return nil
	})
	if err != nil {
		return 0, err
	}
	return revision, nil
}

// Create implements fleet.Bucket.
func (k *client) Create(ctx context.Context, name string, data []byte) (uint64, error) {
	return k.change(ctx, name, clone(data), func(r uint64) bool { return r == 0 })
}

// Update implements fleet.Bucket.
func (k *client) Update(ctx context.Context, name string, data []byte, revision uint64) (uint64, error) {
	return k.change(ctx, name, clone(data), func(r uint64) bool { return r == revision })
}

// Put implements fleet.Bucket.
func (k *client) Put(ctx context.Context, name string, data []byte) (uint64, error) {
	return k.change(ctx, name, clone(data), func(uint64) bool { return true })
}

// Delete implements fleet.Bucket.
func (k *client) Delete(ctx context.Context, name string, revision uint64) error {
	_, err := k.change(ctx, name, nil, func(r uint64) bool { return revision == 0 || r == revision })
	return err
}

// List implements fleet.Bucket.
func (k *client) List(ctx context.Context, prefix string) (map[string]fleet.Value, error) {
	var all map[string]fleet.Value
	err := k.c.do(ctx, func() error {
		var err error
		all, _, err = k.list(prefix)
		return err
	})
	return all, err
}

// list returns the keys with a prefix, and when the next one of them expires. s.mu must be held.
func (k *client) list(prefix string) (all map[string]fleet.Value, next time.Time, err error) {
	b, err := k.get()
	if err != nil {
		return nil, next, err
	}
	all = make(map[string]fleet.Value)
	for name, v := range b.keys {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		all[name] = v.Value
		if !v.end.IsZero() && (next.IsZero() || v.end.Before(next)) {
			next = v.end
		}
	}
	return all, next, nil
}

// Watch implements fleet.Bucket.
func (k *client) Watch(ctx context.Context, prefix string) (<-chan fleet.Change, error) {
	if _, err := k.List(ctx, prefix); err != nil {
		return nil, err
	}
	out := make(chan fleet.Change, 64)
	k.c.work.Go(func() {
		defer close(out)
		known := make(map[string]fleet.Value)
		for {
			var changes []fleet.Change
			err := k.c.await(ctx, func() (time.Time, error) {
				all, next, err := k.list(prefix)
				if err != nil {
					return next, err
				}
				if changes = difference(known, all); len(changes) == 0 {
					return next, errWait
				}
				known = all
				return next, nil
			})
			if err != nil {
				return
			}
			for _, change := range changes {
				select {
				case out <- change:
				case <-ctx.Done():
					return
				case <-k.c.killed:
					return
				}
			}
		}
	})
	return out, nil
}

// difference returns the changes that lead from one set of keys to another.
func difference(from, to map[string]fleet.Value) []fleet.Change {
	var all []fleet.Change
	for name, v := range to {
		if from[name].Revision != v.Revision {
			all = append(all, fleet.Change{Key: name, Value: v})
		}
	}
	for name := range from {
		if _, ok := to[name]; !ok {
			all = append(all, fleet.Change{Key: name, Deleted: true})
		}
	}
	return all
}
