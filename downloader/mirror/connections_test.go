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
		{"large", 0, sizes(40, large), nil, 8, 16},
		{"large after small", 0, append(sizes(100, 20<<10), sizes(40, large)...), nil, 17, 48},
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
