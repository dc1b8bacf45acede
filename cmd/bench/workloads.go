package main

import (
	"fmt"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	gigabit = 125_000_000 // bytes per second
	mega    = 1_000_000
)

// A work is what all programs do under the same conditions.
type workload struct {
	Name, Title string
	Kind        kind
	Shape       Shape
	MirrorShape Shape // of the second mirror
	TLS, HTTP2  bool
	Sendfile    bool   // served from a real file, by sendfile where that goes
	MaxRequests int    // answers at once beyond which the server refuses
	MaxConns    int    // connections at once beyond which it resets
	Full, Quick amount // Quick is zero where --quick leaves the work out
	// Anyone compares with the best peer whatever its number of connections,
	// others with the best that opens up to 16, and -x 32 with the best of all.
	AnyConns bool
	// Bare measures the limit by the benchmark's own client, with so many
	// connections, where it cannot be computed; 0 for not at all.
	BareConns int
}

// An amount is how much of a work there is.
type amount struct {
	files  int
	size   int64 // of each file
	rounds int   // at most; 0 for as many as asked for
}

func (a amount) total() int64 { return int64(a.files) * a.size }

func (a amount) String() string {
	if a.files == 1 {
		return bytesText(a.size)
	}
	return fmt.Sprintf("%d × %s", a.files, bytesText(a.size))
}

func bytesText(n int64) string {
	switch {
	case n >= gib && n%gib == 0:
		return fmt.Sprintf("%d GiB", n/gib)
	case n >= mib:
		return fmt.Sprintf("%d MiB", n/mib)
	default:
		return fmt.Sprintf("%d KiB", n/kib)
	}
}

func one(size int64) amount { return amount{files: 1, size: size} }

// wan is a long and fast way.
var wan = Shape{RTT: 80 * time.Millisecond, SlowStart: true, LinkRate: gigabit}

// near20 is the way to a server that is near, of many small files.
var near20 = Shape{RTT: 20 * time.Millisecond, SlowStart: true, LinkRate: gigabit}

// works are all there are, in the order of the table. The amount of lossy is
// less than that of wan: a single connection carries 0.3 MB/s there, 16 carry 5.
var workloads = []workload{
	{Name: "throttle", Title: "4 MB/s per connection on a 100 MB/s link", Kind: oneFile,
		Shape: Shape{ConnRate: 4 * mega, LinkRate: 100 * mega}, Full: one(512 * mib), Quick: one(48 * mib)},
	{Name: "wan", Title: "80 ms, 1 Gbit/s", Kind: oneFile,
		Shape: wan, Full: one(512 * mib), Quick: one(48 * mib)},
	{Name: "lossy", Title: "80 ms, 1 Gbit/s, 0.5 % loss", Kind: oneFile,
		Shape: Shape{RTT: wan.RTT, SlowStart: true, LinkRate: gigabit, Loss: 0.005}, Full: one(64 * mib), Quick: one(6 * mib)},
	{Name: "slow5th", Title: "every fifth connection 200 KB/s, others 10 MB/s, 100 MB/s link", Kind: oneFile,
		Shape: Shape{ConnRate: 10 * mega, SlowRate: 200_000, LinkRate: 100 * mega}, Full: one(256 * mib), Quick: one(16 * mib)},
	{Name: "loopback", Title: "loopback, HTTP", Kind: oneFile,
		Sendfile: true, BareConns: 4, Full: one(4 * gib), Quick: one(512 * mib)},
	{Name: "loopback-https", Title: "loopback, HTTPS", Kind: oneFile,
		Sendfile: true, TLS: true, BareConns: 1, Full: one(4 * gib), Quick: one(512 * mib)},
	{Name: "limit3", Title: "three connections of 10 MB/s at 20 ms, 503 beyond", Kind: limitedServer,
		Shape: Shape{RTT: 20 * time.Millisecond, ConnRate: 10 * mega}, MaxRequests: 3, Full: one(256 * mib), Quick: one(16 * mib)},
	{Name: "limit3-reset", Title: "three connections of 10 MB/s at 20 ms, reset beyond", Kind: limitedServer,
		Shape: Shape{RTT: 20 * time.Millisecond, ConnRate: 10 * mega}, MaxConns: 3, Full: one(128 * mib)},
	{Name: "mirrors", Title: "mirrors of 40 and 4 MB/s", Kind: twoMirrors,
		Shape: Shape{LinkRate: 40 * mega}, MirrorShape: Shape{LinkRate: 4 * mega}, Full: one(256 * mib), Quick: one(64 * mib)},
	{Name: "small-h1", Title: "small files at 20 ms, HTTP/1.1", Kind: manyFiles, AnyConns: true,
		Shape: near20, Full: amount{files: 5000, size: 16 * kib}, Quick: amount{files: 600, size: 16 * kib}},
	{Name: "small-h2", Title: "small files at 20 ms, HTTP/2", Kind: manyFiles, AnyConns: true, TLS: true, HTTP2: true,
		Shape: near20, Full: amount{files: 5000, size: 16 * kib}, Quick: amount{files: 600, size: 16 * kib}},
	{Name: "small-h1-near", Title: "small files without delay, HTTP/1.1", Kind: manyFiles, AnyConns: true,
		Full: amount{files: 5000, size: 16 * kib}, Quick: amount{files: 2000, size: 16 * kib}},
	{Name: "small-h2-near", Title: "small files without delay, HTTP/2", Kind: manyFiles, AnyConns: true, TLS: true, HTTP2: true,
		Full: amount{files: 5000, size: 16 * kib}, Quick: amount{files: 2000, size: 16 * kib}},
	{Name: "memory", Title: "large files at once, peak memory", Kind: manyLarge, AnyConns: true, Sendfile: true,
		Full: amount{files: 32, size: 512 * mib, rounds: 2}, Quick: amount{files: 32, size: 16 * mib, rounds: 1}},
	{Name: "kill", Title: "kill -9 at half, 200 MB/s; wall time of the second run", Kind: killedHalfway,
		Shape: Shape{LinkRate: 200 * mega}, Full: one(gib), Quick: one(128 * mib)},
}

// ideal returns the shortest time for so much of the work with conns
// connections, 0 if nothing limits it.
func (w workload) idealTime(a amount, conns int) time.Duration {
	size := a.total()
	if w.Kind == killedHalfway {
		size /= 2
	}
	if most := max(w.MaxRequests, w.MaxConns); most > 0 {
		conns = min(conns, most)
	}
	shape := w.Shape
	shape.LinkRate += w.MirrorShape.LinkRate
	return shape.idealTime(size, conns, w.TLS)
}

// inReach reports whether --few measures a command in this work: where the
// shape makes a connection slow, few of them are known to be hopeless.
func (w workload) competitive(c command) bool {
	few := w.Kind == oneFile || w.Kind == manyFiles
	return !c.hopeless && (!few || w.Shape.plain() || c.maxConns >= 16 || c.line == "")
}

// wants reports whether a command is for this work: -x 32 only where
// connections are slow, the bare client only where nothing else tells the limit.
func (w workload) includes(c command) bool {
	switch {
	case c.tool == "bare":
		return w.BareConns == c.maxConns
	case c.tool == "pawl" && c.maxConns > 16:
		return !w.Shape.plain()
	}
	return true
}
