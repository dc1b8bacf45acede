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
	million2    = 2_000_000
	longItem    = 200                   // bytes of an item
	hostBytes   = 150                   // in memory, with a name of 22
	otherBytes  = 8 << 20               // in memory: pages, and what is free of the file
	slowestItem = 50 * time.Microsecond // in and out; it takes 1 or 2, and 10 with -race
)

// heapBytes returns what is in use of the heap.
func heapBytes() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// A crowd is a queue of two million items of so many hosts.
type crowd struct {
	*testing.T
	q      *queue
	hosts  []string
	sorted bool // items come host by host, not in turns
	heap   int  // without the queue
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
		return c.hosts[i/(million2/len(c.hosts))]
	}
	return c.hosts[i%len(c.hosts)]
}

func (c *crowd) pushAll() {
	item := make([]byte, longItem)
	for i := range million2 {
		binary.LittleEndian.PutUint32(item, uint32(i))
		push(c.T, c.q, c.hostOf(i), item)
	}
}

// take takes out so many items, and checks them.
func (c *crowd) take(n int) {
	for range n {
		host, item, ok, err := c.q.Next(always)
		if !ok || len(item) != longItem {
			c.Fatalf("%d bytes of %q: %v, %v", len(item), host, ok, err)
		}
		if i := int(binary.LittleEndian.Uint32(item)); host != c.hostOf(i) {
			c.Fatalf("item %d: got host %q, want %q", i, host, c.hostOf(i))
		}
	}
}

func (c *crowd) checkHeap(when string) {
	heap := heapBytes() - c.heap
	c.Logf("%s: heap %d KiB", when, heap>>10)
	if most := otherBytes + hostBytes*len(c.hosts); heap > most {
		c.Errorf("%s: heap has %d bytes, want at most %d", when, heap, most)
	}
	runtime.KeepAlive(c)
}

// TestQueueMillions: two million items, all there at once, take little memory
// but for the hosts, and little time.
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
			c.take(million2 - 1000)
			out := time.Since(start)
			c.checkHeap("almost empty")
			c.take(1000)
			t.Logf("%v in, %v out", in/million2, out/million2)
			if got := (in + out) / million2; got > slowestItem {
				t.Errorf("an item takes %v", got)
			}
			if err := c.q.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
