package main

import (
	"fmt"
	"os/exec"
	"time"
)

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	gigabit = 125_000_000 // 1 Gbit/s in bytes per second
	mega    = 1_000_000   // one megabyte, for sizes and rates
)

// A workload is a download that all programs do under the same conditions.
type workload struct {
	Name, Title string
	Kind        kind
	Shape       Shape
	MirrorShape Shape // shape of the second server; only for the kind twoMirrors
	TLS, HTTP2  bool  // HTTP2 needs TLS
	// Sendfile serves all files from one real file, so that the server can use
	// sendfile(2). Generating the bytes would cost more CPU than loopback itself.
	Sendfile    bool
	MaxRequests int    // concurrent requests, beyond which the server responds with 503; 0 for no limit
	MaxConns    int    // open connections, beyond which the server resets new ones; 0 for no limit
	Full, Quick amount // a zero Quick leaves the workload out of --quick
	// AnyConns compares every contender with the fastest peer, whatever number of
	// connections that opens. Without AnyConns a contender with up to 16 connections is
	// compared only with peers that open up to 16, because more connections take a
	// larger part of a shared link and are not faster by merit.
	AnyConns bool
	// BareConns is the number of connections of the bare client, which measures the
	// limit of workloads whose limit cannot be computed; 0 if it does not run.
	BareConns int
}

// An amount is the number and size of a workload's files.
type amount struct {
	files  int
	size   int64 // bytes of each file
	rounds int   // upper limit of rounds; 0 for no limit besides --rounds
}

func (a amount) total() int64 { return int64(a.files) * a.size }

func (a amount) String() string {
	if a.files == 1 {
		return bytesText(a.size)
	}
	return fmt.Sprintf("%d × %s", a.files, bytesText(a.size))
}

// bytesText returns a size for people, for example "4 GiB", "1536 MiB" or "16 KiB". It
// truncates sizes that are no whole number of units.
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

func singleFile(size int64) amount { return amount{files: 1, size: size} }

// wan is a fast link to another continent.
var wan = Shape{RTT: 80 * time.Millisecond, SlowStart: true, LinkRate: gigabit}

// near20 is a fast link to a server in the same country, used for many small files.
var near20 = Shape{RTT: 20 * time.Millisecond, SlowStart: true, LinkRate: gigabit}

// workloads is the table of all workloads, in the order in which they run. lossy has
// less to download than wan, because one connection carries only 0.3 MB/s there, and 16
// carry 5 MB/s.
var workloads = []workload{
	{Name: "throttle", Title: "4 MB/s per connection on a 100 MB/s link, 20 ms", Kind: oneFile,
		Shape: Shape{RTT: 20 * time.Millisecond, ConnRate: 4 * mega, LinkRate: 100 * mega}, Full: singleFile(512 * mib), Quick: singleFile(48 * mib)},
	{Name: "wan", Title: "80 ms, 1 Gbit/s", Kind: oneFile,
		Shape: wan, Full: singleFile(512 * mib), Quick: singleFile(48 * mib)},
	{Name: "lossy", Title: "80 ms, 1 Gbit/s, 0.5 % loss", Kind: oneFile,
		Shape: Shape{RTT: wan.RTT, SlowStart: true, LinkRate: gigabit, Loss: 0.005}, Full: singleFile(64 * mib), Quick: singleFile(6 * mib)},
	{Name: "slow5th", Title: "every fifth connection 200 KB/s, others 10 MB/s, 100 MB/s link", Kind: oneFile,
		Shape: Shape{ConnRate: 10 * mega, SlowRate: 200_000, LinkRate: 100 * mega}, Full: singleFile(256 * mib), Quick: singleFile(16 * mib)},
	{Name: "loopback", Title: "loopback, HTTP", Kind: oneFile,
		Sendfile: true, BareConns: 4, Full: singleFile(4 * gib), Quick: singleFile(512 * mib)},
	{Name: "loopback-https", Title: "loopback, HTTPS", Kind: oneFile,
		Sendfile: true, TLS: true, BareConns: 1, Full: singleFile(4 * gib), Quick: singleFile(512 * mib)},
	{Name: "limit3", Title: "three connections of 10 MB/s at 20 ms, 503 beyond", Kind: limitedServer,
		Shape: Shape{RTT: 20 * time.Millisecond, ConnRate: 10 * mega}, MaxRequests: 3, Full: singleFile(256 * mib), Quick: singleFile(16 * mib)},
	{Name: "limit3-reset", Title: "three connections of 10 MB/s at 20 ms, reset beyond", Kind: limitedServer,
		Shape: Shape{RTT: 20 * time.Millisecond, ConnRate: 10 * mega}, MaxConns: 3, Full: singleFile(128 * mib)},
	{Name: "mirrors", Title: "mirrors of 40 and 4 MB/s", Kind: twoMirrors,
		Shape: Shape{LinkRate: 40 * mega}, MirrorShape: Shape{LinkRate: 4 * mega}, Full: singleFile(256 * mib), Quick: singleFile(64 * mib)},
	{Name: "list-4m", Title: "files of 4 MiB at 20 ms, 1 Gbit/s", Kind: manyFiles, AnyConns: true,
		Shape: near20, Full: amount{files: 200, size: 4 * mib}, Quick: amount{files: 40, size: 4 * mib}},
	{Name: "list-8m", Title: "files of 8 MiB at 20 ms, 1 Gbit/s", Kind: manyFiles, AnyConns: true,
		Shape: near20, Full: amount{files: 200, size: 8 * mib}},
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
	{Name: "kill", Title: "kill -9 halfway, 200 MB/s; wall time of the second run", Kind: killedHalfway,
		Shape: Shape{LinkRate: 200 * mega}, Full: singleFile(gib), Quick: singleFile(128 * mib)},
}

// idealTime returns the shortest possible time to download the amount a over conns
// connections. It returns 0 if the shape has no rate limit, because then only the
// machine limits the time.
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

// overLink reports whether the workload has a round-trip time, which a link can have. Two servers
// of different rates cannot have one.
func (w workload) overLink() bool { return w.Shape.RTT > 0 && w.Kind != twoMirrors }

// nginxCanServe reports whether nginx is installed and can serve the workload. s is the part of the
// shape that the server must emulate itself.
func (w workload) nginxCanServe(s Shape) bool {
	_, err := exec.LookPath("nginx")
	return err == nil && !w.TLS && w.MaxRequests == 0 && w.MaxConns == 0 && s == s.ofConnections() &&
		(w.Kind == oneFile || w.Kind == manyFiles || w.Kind == manyLarge)
}

// competitive reports whether --few runs the command in this workload. A command that
// opens fewer than 16 connections cannot compete if the shape limits each of them.
func (w workload) competitive(c command) bool {
	few := w.Kind == oneFile || w.Kind == manyFiles
	return !c.hopeless && (!few || w.Shape.plain() || c.maxConns >= 16 || c.line == "")
}

// includes reports whether the command belongs to this workload. pawl with more than 16
// connections runs only if the shape limits connections, and the bare client only with
// BareConns connections.
func (w workload) includes(c command) bool {
	switch {
	case c.tool == "bare":
		return w.BareConns == c.maxConns
	case c.tool == "pawl" && c.maxConns > 16:
		return !w.Shape.plain()
	}
	return true
}
