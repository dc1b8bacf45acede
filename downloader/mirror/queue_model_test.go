package mirror

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A queueModel is the simplest possible queue: a slice of items for each host.
type queueModel struct {
	items  map[string][][]byte
	turns  []string // hosts that are awake, in order of their turns
	asleep map[string]bool
}

func (m *queueModel) push(host string, item []byte) {
	m.items[host] = append(m.items[host], item)
	if len(m.items[host]) == 1 {
		m.turns = append(m.turns, host)
	}
}

// turn returns the first host that is ready, and all hosts for which it called ready. Hosts that
// are not ready sleep.
func (m *queueModel) turn(ready func(string) bool) (host string, asked []string) {
	for len(m.turns) > 0 {
		host := m.turns[0]
		m.turns = m.turns[1:]
		asked = append(asked, host)
		if ready(host) {
			return host, asked
		}
		m.asleep[host] = true
	}
	return "", asked
}

// served ends the turn of a host. It removes the first item of the host, unless reading it failed.
func (m *queueModel) served(host string, failed bool) {
	if !failed {
		m.items[host] = m.items[host][1:]
	}
	if len(m.items[host]) > 0 {
		m.turns = append(m.turns, host)
	}
}

func (m *queueModel) wake(host string) {
	if m.asleep[host] {
		delete(m.asleep, host)
		m.turns = append(m.turns, host)
	}
}

// A queueRun applies the same random operations to a queue and to its model.
type queueRun struct {
	*testing.T
	rnd   *rand.Rand
	q     *queue
	model queueModel
	hosts int
	awake map[string]bool // result of ready for each host
	n     int             // items in the queue
}

func (r *queueRun) host() string { return fmt.Sprint("h", r.rnd.IntN(r.hosts)) }

// item returns a random item, of which some need two reads of the file.
func (r *queueRun) item() []byte {
	n := r.rnd.IntN(300)
	switch r.rnd.IntN(20) {
	case 0:
		n = r.rnd.IntN(4 * firstRead)
	case 1:
		n = 0
	case 2:
		n = firstRead - 2*lengthSize + r.rnd.IntN(3*lengthSize)
	}
	return randomBytes(r.rnd, n)
}

func (r *queueRun) push() {
	host, item := r.host(), r.item()
	given := bytes.Clone(item)
	if err := r.q.Push(host, given); err == nil {
		r.model.push(host, item)
		r.n++
	} else if !errors.Is(err, errBroken) {
		r.Fatalf("push: %v", err)
	}
	clear(given) // the queue must not keep it
}

func (r *queueRun) next() {
	var asked []string
	host, item, ok, err := r.q.Next(func(host string) bool {
		asked = append(asked, host)
		return r.awake[host]
	})
	wantHost, wantAsked := r.model.turn(func(host string) bool { return r.awake[host] })
	if host != wantHost || !slices.Equal(asked, wantAsked) {
		r.Fatalf("next: got host %q after asking %q, want %q after %q", host, asked, wantHost, wantAsked)
	}
	switch {
	case wantHost == "" && !ok && err == nil:
		return
	case wantHost == "" || ok != (err == nil) || err != nil && !errors.Is(err, errBroken):
		r.Fatalf("next: got host %q, %v, %v", host, ok, err)
	}
	if want := r.model.items[host][0]; ok && !bytes.Equal(item, want) {
		r.Fatalf("item of %q: got %d bytes %.20x…, want %d bytes %.20x…", host, len(item), item, len(want), want)
	}
	r.model.served(host, !ok)
	if ok {
		r.n--
	}
}

// step does one random operation: a push in so many cases of ten, a Next in most others.
func (r *queueRun) step(pushes int) {
	switch k := r.rnd.IntN(10); {
	case k < pushes:
		r.push()
	case k < 8:
		r.next()
	case k == 8:
		host := r.host()
		r.awake[host] = !r.awake[host]
	default:
		host := r.host()
		r.q.Wake(host)
		r.model.wake(host)
	}
	host := r.host()
	if got, want := r.q.LenHost(host), len(r.model.items[host]); got != want || r.q.Len() != r.n {
		r.Fatalf("got %d items of %q and %d of all hosts, want %d and %d", got, host, r.q.Len(), want, r.n)
	}
}

// drain takes all items out of the queue and checks that nothing is left.
func (r *queueRun) drain() {
	for i := range r.hosts {
		host := fmt.Sprint("h", i)
		r.awake[host] = true
		r.q.Wake(host)
		r.model.wake(host)
	}
	for r.n > 0 {
		r.next()
	}
	r.next()
	if s := r.q.items; s.written != 0 || len(s.tail) != 0 || len(r.q.byHost) != 0 {
		r.Errorf("empty queue: got %d bytes in the file, %d in memory, and %d hosts, want none", s.written, len(s.tail), len(r.q.byHost))
	}
}

// TestQueueModel: for random operations, a queue returns the same items and calls ready for the same
// hosts in the same order as its model, even if some calls of the file fail.
func TestQueueModel(t *testing.T) {
	for _, hosts := range []int{1, 3, 50} {
		for _, memory := range []int{1, 500, 30_000} {
			for _, failing := range []int{0, 1} {
				t.Run(fmt.Sprintf("%d hosts, %d bytes in memory, %d in 10 calls fail", hosts, memory, failing), func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(uint64(hosts), uint64(10*memory+failing)))
					q, d := newTestQueue(memory)
					d.breaks = func() bool { return rnd.IntN(10) < failing }
					r := &queueRun{T: t, rnd: rnd, q: q, hosts: hosts, awake: make(map[string]bool),
						model: queueModel{items: make(map[string][][]byte), asleep: make(map[string]bool)}}
					for i := range 5000 {
						r.step(2 + 5*(i/1000%2)) // the queue alternately grows and shrinks
					}
					r.drain()
					if d.writes == 0 || (failing > 0) != (d.failed > 0) {
						t.Errorf("got %d writes and %d failures, want some writes, and failures only if calls fail", d.writes, d.failed)
					}
				})
			}
		}
	}
}
