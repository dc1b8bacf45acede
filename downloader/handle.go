package downloader

import (
	"time"

	"pawl/chunk"
)

type Handle struct{}

func (h *Handle) SetLimitRate(bytesPerSecond int64) {}
func (h *Handle) SetConnections(n int)              {}
func (h *Handle) Progress() (p Progress, ok bool)   { return p, false }
func (h *Handle) Detail() (d Detail)                { return d }

type Detail struct {
	Held    chunk.Set
	Sources []Source
	Waiting Wait
}
type Wait struct {
	Err   error
	Until time.Time
}
type Source struct {
	URL      string
	Conns    int
	Received int64
	Err      error
}
