package mirror

import (
	"fmt"
	"testing"
	"time"

	"pawl/downloader/faultserver"
)

// TestSmallFiles checks how many connections the small files of a list get: more than large files, if the
// user has set no limit, the server takes them, and the files are small enough.
func TestSmallFiles(t *testing.T) {
	const large = 2 << 20
	for _, tt := range []struct {
		name        string
		connections int // of the user; 0 for the default
		files       []int64
		fault       faultserver.Fault
		least, most int // requests at the same time
	}{
		{"small", 0, sizes(250, 20<<10), nil, 40, 48},
		{"limit of the user", 16, sizes(100, 20<<10), nil, 12, 16},
		{"too large to gain", 0, sizes(50, 200<<10), nil, 12, 16},
		{"large", 0, sizes(20, large), nil, 8, 16},
		{"large after small", 0, append(sizes(100, 20<<10), sizes(20, large)...), nil, 17, 48},
		{"refused", 0, sizes(250, 20<<10), faultserver.Slots(func() int64 { return 20 }, faultserver.Status(503, 0)), 17, 48},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.opts.Connections = tt.connections
				faults := []faultserver.Fault{faultserver.Delay(50 * time.Millisecond)}
				if tt.fault != nil {
					faults = append([]faultserver.Fault{tt.fault}, faults...)
				}
				r.srv.Set(faults...)
				text := ""
				for i, size := range tt.files {
					name := fmt.Sprintf("f%04d", i)
					r.files[name] = faultserver.NewFile(size, uint64(i))
					r.srv.Put(name, r.files[name])
					text += r.srv.URL + "/" + name + "\n"
				}
				if c := r.mustRun(text); c.Fetched != len(tt.files) {
					t.Errorf("got %+v", c)
				}
				r.check()
				if n := r.srv.Peak(); n < tt.least || n > tt.most {
					t.Errorf("%d requests at the same time, want %d to %d", n, tt.least, tt.most)
				}
			})
		})
	}
}

func sizes(n int, size int64) (all []int64) {
	for range n {
		all = append(all, size)
	}
	return all
}

// TestMiddleSizedFiles checks that the files of a list that share a link are not split: that costs requests
// and bytes, and gains nothing. A file that is far larger than the others is split.
func TestMiddleSizedFiles(t *testing.T) {
	for name, tt := range map[string]struct {
		files []int64
		most  int // requests beside one for each file
	}{
		"equal":     {sizes(24, 2<<20), 3},
		"one large": {append([]int64{24 << 20}, sizes(10, 1<<20)...), 40},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				r := newRig(t)
				r.srv.Set(faultserver.Delay(20*time.Millisecond), faultserver.Rate(50<<20))
				text, total := "", int64(0)
				for i, size := range tt.files {
					name := fmt.Sprintf("f%04d", i)
					r.srv.Put(name, faultserver.NewFile(size, uint64(i)))
					text += r.srv.URL + "/" + name + "\n"
					total += size
				}
				if c := r.mustRun(text); c.Fetched != len(tt.files) {
					t.Errorf("got %+v", c)
				}
				if n := r.requests() - len(tt.files); n > tt.most {
					t.Errorf("%d further requests, want at most %d", n, tt.most)
				}
				if sent := r.srv.Sent(); float64(sent) > 1.02*float64(total) {
					t.Errorf("%d bytes were sent for %d", sent, total)
				}
			})
		})
	}
}
