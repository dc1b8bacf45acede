package mirror

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// newTestQueue returns a queue with at most so many bytes in memory, and its disk.
func newTestQueue(memory int) (*queue, *disk) {
	q, d := newQueue(""), &disk{}
	q.items.openFile, q.items.memory = d.open, memory
	return q, d
}

func always(string) bool { return true }

// push calls Push, which must succeed.
func push[T string | []byte](t *testing.T, q *queue, host string, item T) {
	t.Helper()
	if err := q.Push(host, []byte(item)); err != nil {
		t.Fatalf("push to %q: %v", host, err)
	}
}

// next calls Next, which must succeed, and returns "HOST ITEM", or "" if no host is ready.
func next(t *testing.T, q *queue, ready func(string) bool) string {
	t.Helper()
	host, item, ok, err := q.Next(ready)
	switch {
	case err != nil:
		t.Fatalf("next: %v", err)
	case !ok:
		return ""
	}
	return host + " " + string(item)
}

// TestQueueTurns: hosts take turns. A host gets the last turn if it is new, wakes up, or has had its
// turn.
func TestQueueTurns(t *testing.T) {
	q, d := newTestQueue(maxSpoolMemory)
	for _, item := range []string{"1", "2", "3"} {
		push(t, q, "a", item)
	}
	push(t, q, "b", "1")
	push(t, q, "c", "1")
	push(t, q, "c", "2")
	notA := func(host string) bool { return host != "a" }
	for i, tt := range []struct {
		ready func(string) bool
		wake  string // the host that is woken first
		want  string
	}{
		{always, "", "a 1"},
		{always, "", "b 1"},
		{always, "", "c 1"},
		{notA, "", "c 2"},
		{always, "", ""}, // a is asleep
		{always, "b", ""},
		{always, "a", "a 2"},
		{always, "a", "a 3"},
		{always, "a", ""},
	} {
		q.Wake(tt.wake)
		if got := next(t, q, tt.ready); got != tt.want {
			t.Errorf("%d: got %q, want %q", i, got, tt.want)
		}
	}
	if d.opens != 0 {
		t.Error("the queue opened a file for a few items")
	}
}

// TestQueueCallsReadyOnce: Next calls ready once for each of ten thousand hosts that are not ready, and
// not again for each item of the other hosts.
func TestQueueCallsReadyOnce(t *testing.T) {
	const hosts, each, ready = 10_000, 3, 5
	q, _ := newTestQueue(maxSpoolMemory)
	for i := range hosts * each {
		push(t, q, fmt.Sprint(i%hosts), "x")
	}
	for i := range 1000 {
		push(t, q, fmt.Sprint(i%ready), "x")
	}
	asked := 0
	some := func(host string) bool {
		asked++
		return len(host) == 1 && host[0] < '0'+ready
	}
	taken := 0
	for next(t, q, some) != "" {
		taken++
	}
	if want := 1000 + each*ready; taken != want || q.Len() != (hosts-ready)*each {
		t.Errorf("took %d items and left %d, want %d and %d", taken, q.Len(), want, (hosts-ready)*each)
	}
	if want := taken + hosts - ready; asked != want {
		t.Errorf("ready was called %d times, want %d", asked, want)
	}
	q.Wake("777")
	if asked = 0; next(t, q, some) != "" || asked != 1 {
		t.Errorf("after one host woke: ready was called %d times, want once, and no item", asked)
	}
}

// TestQueueDiskFull: Push fails when memory and disk are full, and loses no item that was pushed
// before. When the disk has room again, Push succeeds, and an empty queue has all the room.
func TestQueueDiskFull(t *testing.T) {
	const size = 300
	q, d := newTestQueue(8 << 10)
	d.room = 20 << 10
	fill := func(from int) int {
		for i := from; ; i++ {
			err := q.Push(fmt.Sprint(i%3), fmt.Appendf(nil, "%0*d", size, i))
			if errors.Is(err, errFull) {
				return i
			} else if err != nil || i > from+1000 {
				t.Fatalf("after %d: %v", i, err)
			}
		}
	}
	pushed := fill(0)
	if want := d.room / (size + lengthSize); pushed < want {
		t.Errorf("full after %d items, want at least %d", pushed, want)
	}
	if err := q.Push("new", make([]byte, 10<<10)); !errors.Is(err, errFull) || q.LenHost("new") != 0 {
		t.Errorf("new host: got %v and %d items, want %v and none", err, q.LenHost("new"), errFull)
	}
	d.room += 20 << 10
	end := fill(pushed)
	if end < pushed+20<<10/(size+lengthSize) {
		t.Errorf("full again after %d items, and before after %d", end, pushed)
	}
	for i := range end {
		if got, want := next(t, q, always), fmt.Sprintf("%d %0*d", i%3, size, i); got != want {
			t.Fatalf("got %.10q…%d, want %.10q…%d", got, len(got), want, len(want))
		}
	}
	if got := next(t, q, always); got != "" {
		t.Errorf("got %.10q, want an empty queue", got)
	}
	if got := fill(0); got != end {
		t.Errorf("the empty queue took %d items, want %d", got, end)
	}
}

// TestQueueReadFails: an item that cannot be read stays in the queue, and the other hosts still get
// their turns.
func TestQueueReadFails(t *testing.T) {
	q, d := newTestQueue(2 << 10)
	for i := range 20 {
		push(t, q, "a", fmt.Sprintf("%0500d", i))
	}
	push(t, q, "b", "x")
	d.breaks = func() bool { return true }
	if host, _, ok, err := q.Next(always); host != "a" || ok || !errors.Is(err, errBroken) {
		t.Errorf("got %q, %v, %v, want an error of a", host, ok, err)
	}
	if got := next(t, q, always); got != "b x" {
		t.Errorf("then got %.10q, want %q", got, "b x")
	}
	d.breaks = nil
	for i := range 20 {
		if got, want := next(t, q, always), fmt.Sprintf("a %0500d", i); got != want {
			t.Fatalf("got %.10q, want %.10q", got, want)
		}
	}
}

// TestQueueEmptiesFile: a queue that becomes empty now and then does not make the file grow.
func TestQueueEmptiesFile(t *testing.T) {
	const most = 100
	q, d := newTestQueue(1 << 10)
	rnd := rand.New(rand.NewPCG(1, 2))
	largest := 0
	for range 200 {
		for i := range 1 + rnd.IntN(most) {
			push(t, q, fmt.Sprint(i%7), string(make([]byte, rnd.IntN(350))))
		}
		largest = max(largest, len(d.b))
		for next(t, q, always) != "" {
		}
	}
	if limit := most * (350 + lengthSize); largest > limit || largest == 0 || len(d.b) != 0 {
		t.Errorf("the file had up to %d bytes, and %d in the end, want 1 to %d, and none", largest, len(d.b), limit)
	}
}

// TestQueueLongItem: an item may be larger than the memory of the queue.
func TestQueueLongItem(t *testing.T) {
	q := newQueue(t.TempDir())
	long := string(randomBytes(rand.New(rand.NewPCG(1, 1)), maxSpoolMemory*3/2))
	push(t, q, "a", "x")
	push(t, q, "a", long)
	push(t, q, "a", "y")
	for _, want := range []string{"a x", "a " + long, "a y"} {
		if got := next(t, q, always); got != want {
			t.Errorf("got %d bytes, want %d", len(got), len(want))
		}
	}
	if err := q.Close(); err != nil {
		t.Error(err)
	}
}

// TestQueueClose: Close discards all items and the file, and may be called again.
func TestQueueClose(t *testing.T) {
	dir := t.TempDir()
	real := newQueue(dir)
	real.items.memory = 1
	fake, d := newTestQueue(1)
	for _, q := range []*queue{real, fake} {
		for range 10 {
			push(t, q, "a", make([]byte, 1000))
		}
		for range 2 {
			if err := q.Close(); err != nil {
				t.Error(err)
			}
		}
		if q.Len() != 0 || q.LenHost("a") != 0 || next(t, q, always) != "" {
			t.Errorf("closed queue: got %d items, want none", q.Len())
		}
	}
	if names := namesIn(t, dir); len(names) > 0 || !d.closed {
		t.Errorf("got files %q and closed %v, want none and true", names, d.closed)
	}
	if err := newQueue(dir).Close(); err != nil {
		t.Errorf("close of an unused queue: %v", err)
	}
}

// TestQueueNoFile: if the file cannot be created, the queue still keeps the items that fit in memory.
func TestQueueNoFile(t *testing.T) {
	q := newQueue(t.TempDir() + "/none")
	q.items.memory = 3000
	n := 0
	for q.Push("a", fmt.Appendf(nil, "%0200d", n)) == nil {
		n++
	}
	if n < 10 {
		t.Errorf("%d items fit in 3000 bytes, want at least 10", n)
	}
	for i := range n {
		if got, want := next(t, q, always), fmt.Sprintf("a %0200d", i); got != want {
			t.Errorf("got %.10q, want %.10q", got, want)
		}
	}
}
