package mirror

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"
)

const (
	items        = 2_000_000
	itemSize     = 200                   // bytes
	maxHostBytes = 150                   // memory for each host, whose name has 22 bytes
	maxHeapBytes = 8<<20 + 16*items      // memory besides the hosts: the newest items, and the offsets of all items
	maxItemTime  = 50 * time.Microsecond // for Push and Next of one item; usually 1 to 2 µs, or 10 µs with -race
)

// heapBytes returns the number of bytes in use on the heap.
func heapBytes() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A crowd is a queue of two million items of many hosts.
type crowd struct {
	*testing.T
	q      *queue
	hosts  []string
	sorted bool // items are pushed host by host and not in turns
	heap   int  // bytes in use before the queue has items
}

func newCrowd(t *testing.T, hosts int, sorted bool) *crowd {
	c := &crowd{T: t, q: newQueue(t.TempDir()), sorted: sorted}
	for i := range hosts {
		c.hosts = append(c.hosts, fmt.Sprintf("host%06d.example.org", i))
	}
	c.heap = heapBytes()
	return c
}

// hostOf returns the host of the i-th item.
func (c *crowd) hostOf(i int) string {
	if c.sorted {
		return c.hosts[i/(items/len(c.hosts))]
	}
	return c.hosts[i%len(c.hosts)]
}

func (c *crowd) pushAll() {
	item := make([]byte, itemSize)
	for i := range items {
		binary.LittleEndian.PutUint32(item, uint32(i))
		push(c.T, c.q, c.hostOf(i), item)
	}
}

// take takes n items out of the queue and checks them.
func (c *crowd) take(n int) {
	for range n {
		host, item, ok, err := c.q.Next(always)
		if !ok || len(item) != itemSize {
			c.Fatalf("got %d bytes of %q, %v, %v, want %d bytes", len(item), host, ok, err, itemSize)
		}
		if i := int(binary.LittleEndian.Uint32(item)); host != c.hostOf(i) {
			c.Fatalf("item %d: got host %q, want %q", i, host, c.hostOf(i))
		}
	}
}

func (c *crowd) checkHeap(when string) {
	heap := heapBytes() - c.heap
	c.Logf("%s: heap %d KiB", when, heap>>10)
	if limit := maxHeapBytes + maxHostBytes*len(c.hosts); heap > limit {
		c.Errorf("%s: heap has %d bytes, want at most %d", when, heap, limit)
	}
	runtime.KeepAlive(c)
}

// TestQueueMillions: two million items that are in the queue at the same time need little time, and
// memory only for the hosts.
func TestQueueMillions(t *testing.T) {
	if os.Getenv("PAWL_TEST_LONG") == "" {
		t.Skip("two million items")
	}
	for _, tt := range []struct {
		hosts  int
		sorted bool
	}{{1, false}, {100, false}, {100_000, true}} {
		t.Run(fmt.Sprint(tt.hosts, " hosts"), func(t *testing.T) {
			c := newCrowd(t, tt.hosts, tt.sorted)
			start := time.Now()
			c.pushAll()
			in := time.Since(start)
			c.checkHeap("full")
			start = time.Now()
			c.take(items - 1000)
			out := time.Since(start)
			c.checkHeap("almost empty")
			c.take(1000)
			t.Logf("%v in, %v out", in/items, out/items)
			if got := (in + out) / items; got > maxItemTime {
				t.Errorf("an item takes %v, want at most %v", got, maxItemTime)
			}
			if err := c.q.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
