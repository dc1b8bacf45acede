package fleet

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// A world is a broker in memory with buckets and signals. Processes reach it by links, which fail.
type world struct {
	t       *testing.T
	mu      sync.Mutex
	rng     *rand.Rand
	buckets map[string]*worldBucket
	signals map[chan string]*link
	writes  int // of buckets
	lost    int // writes that conflicted
	calls   int // signals
}

func newWorld(t *testing.T, seed uint64) *world {
	return &world{t: t, rng: rand.New(rand.NewPCG(seed, 1)), buckets: make(map[string]*worldBucket), signals: make(map[chan string]*link)}
}

func (w *world) intN(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

type worldBucket struct {
	expiry   time.Duration
	values   map[string]Value
	revision uint64
	watchers map[*watcher]struct{}
}

type watcher struct {
	prefix string
	queue  []Change
	more   chan struct{}
	end    chan struct{} // closed by endWatches
}

// endWatches ends all watches of the keys, as a broker may that was restarted.
func (w *world) endWatches() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, b := range w.buckets {
		for o := range b.watchers {
			close(o.end)
			delete(b.watchers, o)
		}
	}
}

// change changes a key. The caller must hold w.mu.
func (w *world) change(b *worldBucket, key string, data []byte, deleted bool) uint64 {
	b.revision++
	v := Value{data, b.revision}
	if deleted {
		delete(b.values, key)
	} else {
		b.values[key] = v
		if b.expiry > 0 {
			time.AfterFunc(b.expiry, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				if b.values[key].Revision == v.Revision {
					w.change(b, key, nil, true)
				}
			})
		}
	}
	for o := range b.watchers {
		if strings.HasPrefix(key, o.prefix) {
			o.queue = append(o.queue, Change{key, v, deleted})
			notify(o.more)
		}
	}
	return v.Revision
}

// A link is the way of one process to the broker.
type link struct {
	*world
	Broker  // nil: the other methods are not called
	mu      sync.Mutex
	up      chan struct{} // closed while calls pass
	lossy   bool          // a third of the writes are not done or not confirmed
	latency time.Duration
}

func (w *world) link() *link {
	up := make(chan struct{})
	close(up)
	return &link{world: w, up: up, latency: 3 * time.Millisecond}
}

func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.up = make(chan struct{})
}

func (k *link) mend() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.up:
	default:
		close(k.up)
	}
}

func (k *link) isUp() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.up:
		return true
	default:
		return false
	}
}

func (k *link) pass(ctx context.Context) error {
	for {
		k.mu.Lock()
		up := k.up
		k.mu.Unlock()
		select {
		case <-up:
		case <-ctx.Done():
			return ctx.Err()
		}
		time.Sleep(time.Duration(k.intN(int(k.latency) + 1)))
		if k.isUp() {
			return nil
		}
	}
}

// write does one change. A lossy link may do it late, without confirming it.
func (k *link) write(ctx context.Context, f func() (uint64, error)) (uint64, error) {
	do := func() (uint64, error) {
		k.world.mu.Lock()
		defer k.world.mu.Unlock()
		k.writes++
		revision, err := f()
		if errors.Is(err, ErrConflict) {
			k.world.lost++
		}
		return revision, err
	}
	if err := k.pass(ctx); err != nil {
		return 0, err
	}
	k.mu.Lock()
	lossy := k.lossy
	k.mu.Unlock()
	if lossy && k.intN(3) == 0 {
		if late := time.Duration(k.intN(int(20 * time.Second))); k.intN(4) > 0 {
			time.AfterFunc(late, func() { do() })
		}
		<-ctx.Done()
		return 0, ctx.Err()
	}
	revision, err := do()
	if passErr := k.pass(ctx); passErr != nil {
		return 0, passErr
	}
	return revision, err
}

func (k *link) Bucket(ctx context.Context, name string, expiry time.Duration) (Bucket, error) {
	if err := k.pass(ctx); err != nil {
		return nil, err
	}
	k.world.mu.Lock()
	defer k.world.mu.Unlock()
	b := k.buckets[name]
	if b == nil {
		b = &worldBucket{expiry: expiry, values: make(map[string]Value), watchers: make(map[*watcher]struct{})}
		k.buckets[name] = b
	}
	return linkBucket{k, b}, nil
}

func (k *link) Signal(ctx context.Context, name string) error {
	if err := k.pass(ctx); err != nil {
		return err
	}
	k.world.mu.Lock()
	defer k.world.mu.Unlock()
	k.calls++
	for c, to := range k.signals {
		if to.isUp() {
			select {
			case c <- name:
			default:
			}
		}
	}
	return nil
}

func (k *link) Signals(ctx context.Context) (<-chan string, error) {
	k.world.mu.Lock()
	defer k.world.mu.Unlock()
	c := make(chan string, 16)
	k.signals[c] = k
	context.AfterFunc(ctx, func() {
		k.world.mu.Lock()
		defer k.world.mu.Unlock()
		delete(k.signals, c)
	})
	return c, nil
}

type linkBucket struct {
	k *link
	b *worldBucket
}

func (b linkBucket) Get(ctx context.Context, key string) (Value, error) {
	if err := b.k.pass(ctx); err != nil {
		return Value{}, err
	}
	b.k.world.mu.Lock()
	defer b.k.world.mu.Unlock()
	if v, ok := b.b.values[key]; ok {
		return v, nil
	}
	return Value{}, ErrNoKey
}

func (b linkBucket) Create(ctx context.Context, key string, data []byte) (uint64, error) {
	return b.k.write(ctx, func() (uint64, error) {
		if _, ok := b.b.values[key]; ok {
			return 0, ErrConflict
		}
		return b.k.change(b.b, key, data, false), nil
	})
}

func (b linkBucket) Update(ctx context.Context, key string, data []byte, revision uint64) (uint64, error) {
	return b.k.write(ctx, func() (uint64, error) {
		if b.b.values[key].Revision != revision {
			return 0, ErrConflict
		}
		return b.k.change(b.b, key, data, false), nil
	})
}

func (b linkBucket) Put(ctx context.Context, key string, data []byte) (uint64, error) {
	return b.k.write(ctx, func() (uint64, error) { return b.k.change(b.b, key, data, false), nil })
}

func (b linkBucket) Delete(ctx context.Context, key string, revision uint64) error {
	_, err := b.k.write(ctx, func() (uint64, error) {
		if revision != 0 && b.b.values[key].Revision != revision {
			return 0, ErrConflict
		}
		return b.k.change(b.b, key, nil, true), nil
	})
	return err
}

func (b linkBucket) List(ctx context.Context, prefix string) (map[string]Value, error) {
	if err := b.k.pass(ctx); err != nil {
		return nil, err
	}
	b.k.world.mu.Lock()
	defer b.k.world.mu.Unlock()
	all := maps.Clone(b.b.values)
	maps.DeleteFunc(all, func(key string, _ Value) bool { return !strings.HasPrefix(key, prefix) })
	return all, nil
}

func (b linkBucket) Watch(ctx context.Context, prefix string) (<-chan Change, error) {
	if err := b.k.pass(ctx); err != nil {
		return nil, err
	}
	w := &watcher{prefix: prefix, more: make(chan struct{}, 1), end: make(chan struct{})}
	b.k.world.mu.Lock()
	defer b.k.world.mu.Unlock()
	for key, v := range b.b.values {
		if strings.HasPrefix(key, prefix) {
			w.queue = append(w.queue, Change{key, v, false})
		}
	}
	b.b.watchers[w] = struct{}{}
	notify(w.more)
	c := make(chan Change)
	go b.deliver(ctx, w, c)
	return c, nil
}

func (b linkBucket) deliver(ctx context.Context, w *watcher, c chan<- Change) {
	for {
		select {
		case <-w.more:
		case <-w.end:
			close(c)
			return
		case <-ctx.Done():
			b.k.world.mu.Lock()
			delete(b.b.watchers, w)
			b.k.world.mu.Unlock()
			return
		}
		if b.k.pass(ctx) != nil {
			notify(w.more)
			continue
		}
		b.k.world.mu.Lock()
		queue := w.queue
		w.queue = nil
		b.k.world.mu.Unlock()
		for _, change := range queue {
			select {
			case c <- change:
			case <-ctx.Done():
			}
		}
	}
}
