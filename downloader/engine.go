package downloader

import (
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"pawl/downloader/hosts"
	"pawl/downloader/recent"
	"pawl/downloader/response"
	"pawl/downloader/transport"
	"pawl/store"
)

// An engine is the part of a Downloader that its downloads share: the state of hosts, the
// transport with its limits, and the events. It knows no download. Safe for concurrent use.
type engine struct {
	store     *store.Store
	opts      Options
	transport *transport.Transport
	network   *transport.Network
	running   atomic.Int64 // downloads
	received  atomic.Int64 // bytes of all downloads, including those received twice

	names nameClaims // of the files whose names come from servers

	eventMu sync.Mutex // held during Options.OnEvent and Request.OnEvent

	mu    sync.Mutex
	hosts recent.Map[*hosts.Host] // by origin; guarded by mu
}

func newEngine(s *store.Store, o Options) *engine {
	return &engine{
		store:     s,
		opts:      o,
		transport: newTransport(s, o),
		network:   transport.NewNetwork(o.Retry.WaitNetwork),
		hosts:     recent.NewMap(func(h *hosts.Host) bool { return h.IsIdle(time.Now()) }),
	}
}

// newTransport returns a transport whose connections are limited together with the other
// processes that use s, or as o.Slots says. s may be nil. A nil *store.Store must not become the interface that the
// transport gets, because that would not be nil.
func newTransport(s *store.Store, o Options) *transport.Transport {
	slots := o.Slots
	if slots == nil && s != nil {
		slots = func(addr string, n int) transport.Slots { return s.Slots(addr, n) }
	}
	return transport.New(transport.Options{
		Connections:      o.Connections,
		SmallConnections: o.smallConnections,
		ConnectTimeout:   o.Timeouts.Connect,
		StallTimeout:     o.Timeouts.Stall,
		MinRate:          o.Timeouts.MinRate,
		MinRateTime:      o.Timeouts.MinRateTime,
		ByteRate:         o.LimitRate,
		RequestRate:      o.RequestRate,
		UserAgent:        o.UserAgent,
		ForHost:          o.ForHost,
		Leased:           o.Slots != nil,
		Dial:             o.Dial,
		Address:          o.Address,
		Proxy:            o.Proxy,
		RootCAs:          o.TLS.RootCAs,
		Certificate:      o.TLS.Certificate,
		Insecure:         o.TLS.Insecure,
		Legacy:           o.TLS.Legacy,
		Follow:           o.Follow,
		Fields:           response.Fields,
	}, slots)
}

// MaxParallel returns how many small files may be requested from an origin at the same time.
func (e *engine) MaxParallel(origin string) int {
	e.mu.Lock()
	h, known := e.hosts.Peek(origin)
	e.mu.Unlock()
	if !known {
		u, err := url.Parse(origin)
		if err != nil { // no download has such an origin
			return e.opts.Connections
		}
		return e.transport.Connections(u)
	}
	return h.MaxParallel()
}

// downloads returns how many downloads are running, but at least 1. They share the byte rate and the
// commits equally.
func (e *engine) downloads() int64 { return max(1, e.running.Load()) }

// host returns the shared state of the host of u.
func (e *engine) host(u *url.URL) *hosts.Host {
	e.mu.Lock()
	defer e.mu.Unlock()
	key := transport.Origin(u)
	return e.hosts.Get(key, func() *hosts.Host {
		o := hosts.Options{Origin: key, Ceiling: e.transport.Connections(u), Many: e.transport.SmallConnections(u), Address: e.transport.Address(u)}
		if e.store != nil {
			o.Memory = e.store
		}
		return hosts.New(o)
	})
}

// emit reports an event of req, at the present time.
func (e *engine) emit(req *Request, event Event) {
	e.eventMu.Lock()
	defer e.eventMu.Unlock()
	event.Time = time.Now()
	e.opts.OnEvent(event)
	if req.OnEvent != nil {
		req.OnEvent(event)
	}
}
