package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// A link is a real TCP path on this machine: a namespace of the client, one of the server, and
// between them one in which an emulator carries the frames with a delay, a rate, a queue and
// losses. The kernel's own TCP runs over it, with slow start, congestion control and retransmissions,
// which a relay can only imitate. The kernel's netem is not needed, because some kernels lack it.
//
// It needs root and ip(8). It is made by newLink and must be closed.
type link struct {
	name     string // beginning of the names of the namespaces
	emulator *emulator
}

// clientAddr is the address of the client's end of a link.
const clientAddr = "10.231.1.2"

// newLink makes a link with the delay, the rate and the losses of a shape. The queue in front of
// the link holds one bandwidth-delay product, like the queue of a home router. Only bytes to the
// client are limited and lost. TCP controls congestion by the named algorithm, whatever the machine prefers.
func newLink(s Shape, congestion string) (*link, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("links need root")
	}
	l := &link{name: fmt.Sprintf("bench%d", os.Getpid())}
	client, middle, server := l.name+"c", l.name+"m", l.name+"s"
	var err error
	ip := func(line string, values ...any) {
		if err == nil {
			err = runIP(fmt.Sprintf(line, values...))
		}
	}
	for _, name := range []string{client, middle, server} {
		ip("netns add %s", name)
		ip("-n %s link set lo up", name)
	}
	// Windows of a usual Linux: 6 MiB to receive, 4 MiB to send. The route's metrics must not be
	// remembered, because each program must begin with slow start.
	for _, name := range []string{client, server} {
		ip("netns exec %s sysctl -qw net.ipv4.tcp_no_metrics_save=1 net.ipv6.conf.all.disable_ipv6=1", name)
		ip("netns exec %s sysctl -qw net.ipv4.tcp_rmem=4096\t131072\t6291456", name)
		ip("netns exec %s sysctl -qw net.ipv4.tcp_wmem=4096\t16384\t4194304", name)
	}
	const clientMAC, serverMAC = "02:00:00:00:00:01", "02:00:00:00:00:02"
	ip("link add c0 address %s netns %s type veth peer name mc netns %s", clientMAC, client, middle)
	ip("link add s0 address %s netns %s type veth peer name ms netns %s", serverMAC, server, middle)
	ip("-n %s addr add %s/24 dev c0", client, clientAddr)
	ip("-n %s addr add %s/24 dev s0", server, serverAddr)
	if s.Loss > 0 {
		ip("-n %s link set s0 gso_max_segs 1", server) // else a loss hits many segments
	}
	for _, end := range [][2]string{{client, "c0"}, {server, "s0"}, {middle, "mc"}, {middle, "ms"}} {
		ip("-n %s link set %s up", end[0], end[1])
	}
	ip("-n %s neigh replace %s lladdr %s dev c0 nud permanent", client, serverAddr, serverMAC)
	ip("-n %s neigh replace %s lladdr %s dev s0 nud permanent", server, clientAddr, clientMAC)
	ip("-n %s route replace 10.231.1.0/24 dev c0 proto kernel scope link src %s congctl %s", client, clientAddr, congestion)
	ip("-n %s route replace 10.231.1.0/24 dev s0 proto kernel scope link src %s congctl %s", server, serverAddr, congestion)
	if err == nil {
		l.emulator, err = startEmulator(middle, s)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("making a link: %w", err)
	}
	return l, nil
}

// runIP runs ip(8) with the words of the line. A tab in a word becomes a blank.
func runIP(line string) error {
	words := strings.Split(line, " ")
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, "\t", " ")
	}
	if out, err := exec.Command("ip", words...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", line, err, lastLine(string(out)))
	}
	return nil
}

// listen listens at a free port of the server's end.
func (l *link) listen() (listener net.Listener, err error) {
	inNamespace(l.name+"s", func() error {
		listener, err = net.Listen("tcp", serverAddr+":0")
		return err
	})
	return listener, err
}

// dial connects from the server's end to an address there.
func (l *link) dial(addr string) (conn net.Conn, err error) {
	inNamespace(l.name+"s", func() error {
		conn, err = net.Dial("tcp", addr)
		return err
	})
	return conn, err
}

// atServer and atClient return the command line that runs argv at an end of the link.
func (l *link) atServer(argv []string) []string { return l.in("s", argv) }
func (l *link) atClient(argv []string) []string { return l.in("c", argv) }

func (l *link) in(end string, argv []string) []string {
	return append([]string{"ip", "netns", "exec", l.name + end}, argv...)
}

// close ends the emulator and removes the namespaces. No process may be left in them.
func (l *link) close() {
	if l.emulator != nil {
		l.emulator.stop()
	}
	for _, end := range []string{"c", "m", "s"} {
		runIP("netns del " + l.name + end) // with its interfaces; an error means that there is none
	}
}

// inNamespace calls f in a network namespace. Sockets that f opens stay in it.
func inNamespace(name string, f func() error) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine, and no other gets into the namespace
		ns, err := os.Open("/run/netns/" + name)
		if err == nil {
			err = os.NewSyscallError("setns", unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET))
			ns.Close()
		}
		if err == nil {
			err = f()
		}
		result <- err
	}()
	return <-result
}

const (
	// maxFrame is the size in bytes of the largest frame: a segment of TCP that the network card
	// would divide (64 KiB), and headers.
	maxFrame = 68 << 10

	// vnetHeader is the size in bytes of struct virtio_net_hdr, with which packet sockets carry
	// frames that are not divided into segments yet.
	vnetHeader = 10

	// requestRate is the rate in bytes per second of the direction to the server.
	requestRate = gigabit
)

// An emulator carries frames between two interfaces, in both directions.
type emulator struct {
	directions [2]direction
	wake       [2]int // a pipe; closing its end [1] ends the loop
	running    sync.WaitGroup
}

// A direction is one direction of an emulator, owned by its loop.
type direction struct {
	in, out int // packet sockets
	delay   time.Duration
	rate    int64   // bytes per second
	loss    float64 // probability that a segment is lost
	queue   time.Duration
	idleAt  time.Time // when all frames so far will have passed the link
	transit []frame   // in order of arrival
	rng     *rand.Rand
	lost    atomic.Int64 // segments; anybody may read it
}

// A frame is an Ethernet frame in transit, behind its struct virtio_net_hdr.
type frame struct {
	arrival time.Time
	data    []byte
}

// startEmulator starts an emulator between the interfaces ms and mc of the namespace.
func startEmulator(namespace string, s Shape) (*emulator, error) {
	e := new(emulator)
	var server, client int
	err := inNamespace(namespace, func() (err error) {
		if server, err = packetSocket("ms"); err == nil {
			client, err = packetSocket("mc")
		}
		return err
	})
	if err == nil {
		err = unix.Pipe2(e.wake[:], unix.O_CLOEXEC)
	}
	if err != nil {
		return nil, err
	}
	rate := s.LinkRate
	if rate == 0 {
		rate = requestRate
	}
	bandwidthDelay := max(s.RTT, time.Duration(64<<10*float64(time.Second)/float64(rate))) // at least 64 KiB
	toClient, toServer := &e.directions[0], &e.directions[1]
	toClient.in, toClient.out, toClient.delay, toClient.rate, toClient.queue = server, client, s.RTT/2, rate, bandwidthDelay
	toClient.loss, toClient.rng = s.Loss, rand.New(rand.NewPCG(1, 1))
	toServer.in, toServer.out, toServer.delay, toServer.rate, toServer.queue = client, server, s.RTT/2, requestRate, time.Second
	e.running.Go(e.loop)
	return e, nil
}

// packetSocket returns a socket that reads the frames which an interface receives, and writes
// frames to it.
func packetSocket(name string) (int, error) {
	iface, err := net.InterfaceByName(name)
	if err != nil {
		return 0, err
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, os.NewSyscallError("socket", err)
	}
	const buffer = 64 << 20 // bytes; a smaller one drops frames while other programs keep the processor busy
	const all = unix.ETH_P_ALL>>8 | unix.ETH_P_ALL&0xff<<8
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, buffer),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, buffer),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all, Ifindex: iface.Index}))
}

// stop ends the loop and closes the sockets.
func (e *emulator) stop() {
	unix.Close(e.wake[1])
	e.running.Wait()
	unix.Close(e.wake[0])
	for i := range e.directions {
		unix.Close(e.directions[i].in)
	}
}

// loop carries frames until stop is called. It has a thread of its own, because it sleeps in the
// kernel, which is more exact than the timers of Go.
func (e *emulator) loop() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	buffer := make([]byte, maxFrame)
	for {
		wait := time.Hour
		polled := []unix.PollFd{{Fd: int32(e.wake[0]), Events: unix.POLLIN}}
		for i := range e.directions {
			d := &e.directions[i]
			wait = min(wait, d.deliver(time.Now()))
			polled = append(polled, unix.PollFd{Fd: int32(d.in), Events: unix.POLLIN})
		}
		timeout := unix.NsecToTimespec(int64(wait))
		unix.Ppoll(polled, &timeout, nil)
		if polled[0].Revents != 0 {
			return
		}
		for i := range e.directions {
			e.directions[i].receive(buffer)
		}
	}
}

// receive takes all frames that have reached the link.
func (d *direction) receive(buffer []byte) {
	for {
		n, err := unix.Read(d.in, buffer)
		if err != nil || n < vnetHeader {
			return
		}
		d.accept(buffer[:n], time.Now())
	}
}

// accept puts a copy of the frame into transit, unless it is lost or the queue is full.
func (d *direction) accept(data []byte, now time.Time) {
	segments, size := segmentsOf(data)
	for range segments {
		if d.loss > 0 && d.rng.Float64() < d.loss {
			d.lost.Add(1)
			return
		}
	}
	start := laterOf(d.idleAt, now)
	if start.Sub(now) > d.queue {
		return
	}
	d.idleAt = start.Add(time.Duration(float64(size) / float64(d.rate) * float64(time.Second)))
	d.transit = append(d.transit, frame{d.idleAt.Add(d.delay), append([]byte(nil), data...)})
}

// segmentsOf returns how many segments of TCP a frame is on the wire, and their size in bytes
// with the headers.
func segmentsOf(data []byte) (n, size int) {
	size = len(data) - vnetHeader
	kind, header, each := data[1], int(data[2])|int(data[3])<<8, int(data[4])|int(data[5])<<8
	if kind == 0 || each == 0 || size <= header { // VIRTIO_NET_HDR_GSO_NONE
		return 1, size
	}
	n = (size - header + each - 1) / each
	return n, size + (n-1)*header
}

// deliver writes the frames that have arrived, and returns how long the next one takes.
func (d *direction) deliver(now time.Time) (wait time.Duration) {
	for i, f := range d.transit {
		wait = f.arrival.Sub(now)
		if wait <= 0 {
			if _, err := unix.Write(d.out, f.data); err == unix.EAGAIN || err == unix.ENOBUFS {
				wait = 50 * time.Microsecond // a guess; the interface has taken some frames then
			}
		}
		if wait > 0 {
			d.transit = d.transit[i:]
			return wait
		}
	}
	d.transit = d.transit[:0]
	return time.Hour
}
