package downloader

import (
	"strings"

	"pawl/downloader/sched"
)

// A worker is the goroutine of one connection of a transfer.
type worker struct {
	*sched.Conn
	buf *buffer // bytes that are read and not yet written; nil before attach
}

// host returns the host that the connection leads to.
func (w *worker) host() *host { return w.Source().Gate.(*host) }

// mirror returns the mirror that the connection leads to, nil for the requested URL.
func (w *worker) mirror() *mirror {
	m, _ := w.Source().Tag.(*mirror)
	return m
}

// source returns h as a source of a scheduler: the requested URL, or m if that is not nil.
func (h *host) source(m *mirror) *sched.Source {
	return &sched.Source{Gate: h, TLS: strings.HasPrefix(h.origin, "https:"), Tag: m}
}

// forScheduler returns what the scheduler needs of r.
func (r *reply) forScheduler() sched.Response {
	return sched.Response{BodyEnd: r.wanted().End, Took: r.way.took, NewConn: r.way.new}
}
