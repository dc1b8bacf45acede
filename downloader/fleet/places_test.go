package fleet

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pawl/downloader/transport"
)

// A model is a fleet of processes that fetch files from some hosts.
type model struct {
	*world
	limits Limits
	hosts  []string
	files  func() time.Duration // how long a file takes
	poll   time.Duration        // between two tries for a connection

	mu    sync.Mutex
	open  map[string]map[*machine]int // connections by host; those of stopped machines are not counted
	most  map[string]int
	asked map[string]time.Time // last request to a host with a rate
	least map[string]time.Duration
	bad   []string
}

// A machine is one process of a model.
type machine struct {
	*model
	name  string
	dir   string
	link  *link
	hosts []string
	conns int // most connections to a host

	mu      sync.Mutex
	frozen  bool
	wokenAt time.Time
	session *Session
	places  *Places
	asked   time.Time       // last request to the host with a rate
	waited  []time.Duration // until each place
	cancel  context.CancelFunc
	done    chan struct{}
	killed  bool
}

func newModel(t *testing.T, seed uint64, rules HostLimits, hosts ...string) *model {
	m := &model{world: newWorld(t, seed), hosts: hosts, poll: 30 * time.Millisecond, open: make(map[string]map[*machine]int), most: make(map[string]int), asked: make(map[string]time.Time), least: make(map[string]time.Duration)}
	m.files = func() time.Duration { return time.Second + time.Duration(m.intN(int(9*time.Second))) }
	if err := SetLimits(t.Context(), m.link(), "run", rules); err != nil {
		t.Fatal(err)
	}
	var err error
	if m.limits, err = ReadLimits(t.Context(), m.link()); err != nil {
		t.Fatal(err)
	}
	return m
}

func (m *model) fail(format string, args ...any) {
	m.bad = append(m.bad, fmt.Sprintf(format, args...))
}

// count counts a connection of a machine, opened or closed.
func (m *model) count(host string, c *machine, n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open[host] == nil {
		m.open[host] = make(map[*machine]int)
	}
	m.open[host][c] += n
	if n < 0 {
		return
	}
	all := 0
	for c, n := range m.open[host] {
		if !c.isOut() {
			all += n
		}
	}
	m.most[host] = max(m.most[host], all)
	if limit := m.limits.For(host).Connections; all > limit {
		m.fail("%d connections to %s, of %d", all, host, limit)
	}
}

// mostOf returns how many connections to a host were open at the same time.
func (m *model) mostOf(host string) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.most[host]
}

// isOut reports whether the machine is stopped, or was so for too long and has only just noticed.
func (c *machine) isOut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen || time.Since(c.wokenAt) < 2*time.Second
}

// ask counts a request to a host with a rate.
func (m *model) ask(host string, c *machine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	if last, ok := m.asked[host]; ok && !c.isOut() {
		gap := now.Sub(last)
		if least, ok := m.least[host]; !ok || gap < least {
			m.least[host] = gap
		}
		if interval := time.Duration(float64(time.Second) / m.limits.For(host).Rate); gap < interval {
			m.fail("%v between two requests to %s", gap, host)
		}
	}
	m.asked[host] = now
}

// checkPlaces counts the places that valid sessions hold.
func (m *model) checkPlaces(machines []*machine) {
	m.mu.Lock()
	defer m.mu.Unlock()
	held := make(map[string]string)
	count := make(map[string]int)
	for _, c := range machines {
		c.mu.Lock()
		p, killed := c.places, c.killed
		c.mu.Unlock()
		if p == nil || killed {
			continue
		}
		p.mu.Lock()
		for name, l := range p.lanes {
			for i := range l.held {
				if p.session == nil || !p.session.Valid() || i >= l.limit.places() {
					continue
				}
				count[name]++
				if other := held[l.key(i)]; other != "" {
					m.fail("%s is held by %s and %s", l.key(i), other, c.name)
				}
				held[l.key(i)] = c.name
			}
		}
		p.mu.Unlock()
	}
	for lane, n := range count {
		if most := m.limits.ofLane(lane).places(); n > most {
			m.fail("%d places of %s, of %d", n, lane, most)
		}
	}
}

// start starts a machine.
func (m *model) start(name, dir string, conns int, hosts ...string) *machine {
	ctx, cancel := context.WithCancel(context.Background())
	c := &machine{model: m, name: name, dir: dir, link: m.world.link(), hosts: hosts, conns: conns, cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.run(ctx)
	}()
	return c
}

// kill ends a machine at once.
func (c *machine) kill() {
	c.mu.Lock()
	c.killed = true
	c.mu.Unlock()
	c.model.mu.Lock()
	for _, open := range c.model.open {
		delete(open, c)
	}
	c.model.mu.Unlock()
	c.link.cut()
	c.cancel()
	<-c.done
}

func (c *machine) setFrozen(frozen bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.frozen = frozen
	if frozen {
		c.link.cut()
	} else {
		c.wokenAt = time.Now()
		c.link.mend()
	}
}

func (c *machine) isFrozen() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.frozen
}

// nap waits, and for as long as the machine is stopped.
func (c *machine) nap(ctx context.Context, d time.Duration) bool {
	for {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return false
		}
		if !c.isFrozen() {
			return true
		}
		d = 100 * time.Millisecond
	}
}

func (c *machine) run(ctx context.Context) {
	p, err := OpenPlaces(ctx, c.link, PlacesOptions{})
	if err != nil {
		return
	}
	defer p.Close()
	c.mu.Lock()
	c.places = p
	c.mu.Unlock()
	for ctx.Err() == nil {
		try, cancel := context.WithTimeout(ctx, 10*time.Second)
		s, err := OpenSession(try, c.link, SessionOptions{Dir: c.dir, Worker: c.name})
		cancel()
		if err != nil {
			c.nap(ctx, time.Second)
			continue
		}
		c.mu.Lock()
		c.session = s
		c.mu.Unlock()
		p.Use(s)
		work, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		for _, host := range c.hosts {
			wg.Go(func() { c.work(work, host) })
		}
		select {
		case <-s.Lost():
		case <-ctx.Done():
		}
		stop()
		wg.Wait()
		end, cancel := context.WithTimeout(ctx, 10*time.Second)
		if s.Close(end) != nil {
			s.cancel()
			<-s.done
		}
		cancel()
	}
}

// work fetches files of a host until ctx ends.
func (c *machine) work(ctx context.Context, host string) {
	lane := c.places.Lane(host)
	slots := c.places.Slots(host, c.conns)
	var conns sync.WaitGroup
	defer func() {
		conns.Wait()
		slots.Close()
	}()
	_, rate := c.places.Host(host)
	c.places.Want(lane)
	since := time.Now()
	inWork := make(chan struct{}, c.conns) // files
	for ctx.Err() == nil {
		if c.places.MustYield(lane) {
			if len(inWork) == 0 {
				c.places.Release(lane)
				c.places.Want(lane)
				since = time.Now()
			}
		} else if len(inWork) < c.conns && c.places.Has(lane) && slots.Held() < slots.Share() {
			if slot, ok := slots.Try(); ok {
				c.model.count(host, c, 1)
				c.mu.Lock()
				c.waited = append(c.waited, time.Since(since))
				c.mu.Unlock()
				since = time.Now()
				inWork <- struct{}{}
				conns.Go(func() { c.fetch(ctx, host, slots, slot, rate); <-inWork })
			}
		}
		if !c.nap(ctx, c.poll) {
			return
		}
	}
}

// mayAsk waits for no one, as a limiter of requests does.
func (c *machine) mayAsk(rate float64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	ok := time.Since(c.asked) >= time.Duration(float64(time.Second)/rate)
	if ok {
		c.asked = time.Now()
	}
	return ok
}

func (c *machine) hasWorked() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.waited) > 0
}

// fetch fetches a file, and closes its connection as transport does.
func (c *machine) fetch(ctx context.Context, host string, slots transport.Slots, slot io.Closer, rate float64) {
	end := time.Now().Add(c.files())
	for time.Now().Before(end) && slots.Held() <= slots.Share() && ctx.Err() == nil {
		if rate > 0 && c.mayAsk(rate) {
			c.ask(host, c)
		}
		c.nap(ctx, 200*time.Millisecond)
	}
	c.model.count(host, c, -1)
	time.Sleep(transport.CloseNoticeDelay)
	slot.Close()
}

// isLong reports whether tests may take minutes.
func isLong() bool { return os.Getenv("PAWL_TEST_LONG") != "" }

func rules(t *testing.T, texts ...string) (all HostLimits) {
	t.Helper()
	for _, text := range texts {
		var r HostLimit
		if err := r.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	return all
}

// TestPlacesModel runs processes that die, are stopped and wake, lose the broker for longer than a
// lease, and whose writes are done late or not confirmed. At no time may valid sessions hold more
// than the places, nor processes have more connections than the limit.
func TestPlacesModel(t *testing.T) {
	seeds, steps := 1, 150
	if isLong() {
		seeds, steps = 10, 2000
	}
	for range seeds {
		seed := rand.Uint64()
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			dirs := make([]string, 8)
			for i := range dirs {
				if i%2 == 0 {
					dirs[i] = t.TempDir()
				}
			}
			synctest.Test(t, func(t *testing.T) { runModel(t, seed, dirs, steps) })
		})
	}
}

func runModel(t *testing.T, seed uint64, dirs []string, steps int) {
	hosts := []string{"a.example.org:443", "b.example.org:443", "c.example.net:443", "d.example.com:443"}
	m := newModel(t, seed, rules(t, "*.example.org=5", "c.example.net=90", "d.example.com=4,5/s"), hosts...)
	machines := make([]*machine, len(dirs))
	generation := 0
	start := func(i int) {
		generation++
		machines[i] = m.start(fmt.Sprint("w", i, ".", generation), dirs[i], 1+m.intN(12), hosts...)
	}
	for i := range machines {
		start(i)
	}
	var wg sync.WaitGroup
	for step := range steps {
		i := m.intN(len(machines))
		c := machines[i]
		for range 1 + m.intN(30) {
			time.Sleep(100 * time.Millisecond)
			m.checkPlaces(machines)
		}
		switch m.intN(12) {
		case 0:
			c.kill()
			start(i)
		case 1:
			if d := time.Duration(m.intN(int(100 * time.Second))); !c.isFrozen() && c.link.isUp() {
				c.setFrozen(true)
				wg.Go(func() { time.Sleep(d); c.setFrozen(false) })
			}
		case 2:
			if d := time.Duration(m.intN(int(100 * time.Second))); c.link.isUp() {
				c.link.cut()
				wg.Go(func() { time.Sleep(d); c.unfrozen(c.link.mend) })
			}
		case 3, 4:
			c.link.mu.Lock()
			c.link.lossy = !c.link.lossy
			c.link.mu.Unlock()
		case 5:
			if m.intN(10) > 0 {
				continue
			}
			for _, c := range machines { // the broker is away
				c.link.cut()
			}
			time.Sleep(time.Duration(m.intN(int(90 * time.Second))))
			m.checkPlaces(machines)
			for _, c := range machines {
				c.unfrozen(c.link.mend)
			}
		}
		m.mu.Lock()
		if len(m.bad) > 0 {
			t.Errorf("step %d: %v", step, m.bad)
		}
		m.mu.Unlock()
		if t.Failed() {
			break
		}
	}
	wg.Wait()
	for _, c := range machines {
		c.kill()
	}
	t.Logf("most connections %v, least gap %v, %d writes of which %d in vain, %d signals", m.most, m.least, m.writes, m.lost, m.calls)
	for _, host := range hosts {
		if m.most[host] == 0 {
			t.Errorf("no file of %s was fetched", host)
		}
	}
}

func (c *machine) unfrozen(f func()) {
	if !c.isFrozen() {
		f()
	}
}

// TestNewcomerGetsPlace checks that a process without a place gets one soon if another one has
// more, and after half a lease and a file if all have one.
func TestNewcomerGetsPlace(t *testing.T) {
	for _, test := range []struct {
		processes, conns int
		within           time.Duration
	}{
		{1, 16, 10 * time.Second},
		{3, 16, 10 * time.Second},
		{16, 1, 60 * time.Second},
	} {
		t.Run(fmt.Sprint(test.processes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				host := "example.org:443"
				m := newModel(t, rand.Uint64(), nil, host)
				var all []*machine
				for i := range test.processes {
					all = append(all, m.start(fmt.Sprint(i), "", test.conns, host))
				}
				time.Sleep(time.Minute)
				if most := m.mostOf(host); most != 16 {
					t.Errorf("%d connections are open, not 16", most)
				}
				c := m.start("newcomer", "", 4, host)
				time.Sleep(test.within)
				for _, c := range append(all, c) {
					c.kill()
				}
				if len(c.waited) == 0 {
					t.Errorf("no place within %v", test.within)
				}
				if len(m.bad) > 0 {
					t.Error(m.bad)
				}
			})
		})
	}
}

// TestNobodyStarves checks that many processes that share 16 places take turns.
func TestNobodyStarves(t *testing.T) {
	n := 64
	if isLong() {
		n = 200
	}
	synctest.Test(t, func(t *testing.T) {
		host := "example.org:443"
		m := newModel(t, rand.Uint64(), nil, host)
		m.poll = time.Second
		var all []*machine
		for i := range n {
			all = append(all, m.start(fmt.Sprint(i), "", 1, host))
		}
		begun := time.Now()
		starving := len(all)
		for starving > 0 && time.Since(begun) < time.Duration(n)*4*time.Second {
			time.Sleep(10 * time.Second)
			starving = 0
			for _, c := range all {
				if !c.hasWorked() {
					starving++
				}
			}
		}
		for _, c := range all {
			c.kill()
		}
		renewals := n * int(time.Since(begun)/(15*time.Second))
		t.Logf("all had a place after %v; %d writes and about %d renewals, %d in vain, %d signals", time.Since(begun), m.writes-renewals, renewals, m.lost, m.calls)
		if starving > 0 {
			t.Errorf("%d of %d processes had no place", starving, n)
		}
		if m.lost > m.writes/2 {
			t.Errorf("%d of %d writes were in vain", m.lost, m.writes)
		}
		if len(m.bad) > 0 {
			t.Error(m.bad[:1])
		}
	})
}
