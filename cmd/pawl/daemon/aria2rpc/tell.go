package aria2rpc

import (
	"encoding/json"
	"slices"
	"time"

	"pawl/chunk"
	"pawl/cmd/pawl/dropin"
	"pawl/downloader"
	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

// removedByUser is aria2's error code of a download that the user has removed.
const removedByUser = "31"

func tellStatus(x *exchange, p params) (any, error) {
	keys, err := p.keys(1)
	if _, textErr := p.text(0); textErr != nil {
		return nil, textErr
	} else if err != nil {
		return nil, err
	}
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(x.appendStatus(nil, t, keys)), nil
}

func tellActive(x *exchange, p params) (any, error) {
	keys, err := p.keys(0)
	if err != nil {
		return nil, err
	}
	return x.statuses(x.queue.Running(), keys)
}

func tellWaiting(x *exchange, p params) (any, error) {
	return x.page(p, func() []queue.Task {
		unfinished, _ := x.queue.Tasks()
		return slices.DeleteFunc(unfinished, func(t queue.Task) bool { return !waiting(t) })
	})
}

func tellStopped(x *exchange, p params) (any, error) {
	return x.page(p, func() []queue.Task {
		_, ended := x.queue.Tasks()
		return ended
	})
}

// page returns the part of a list that begins at an offset and has at most so many tasks. A negative
// offset counts from the end, and the list is then read backwards: -1 is the last task.
func (x *exchange) page(p params, all func() []queue.Task) (any, error) {
	offset, err := p.integer(0)
	if err != nil {
		return nil, err
	}
	limit, err := p.integerFrom(1, 0)
	if err != nil {
		return nil, err
	}
	keys, err := p.keys(2)
	if err != nil {
		return nil, err
	}
	tasks := all()
	if offset < 0 {
		slices.Reverse(tasks)
		offset = -1 - offset
	}
	offset = min(offset, len(tasks))
	return x.statuses(tasks[offset:offset+min(limit, len(tasks)-offset)], keys)
}

// statuses returns the list of the statuses of tasks, already encoded, because it may become too long.
func (x *exchange) statuses(tasks []queue.Task, keys keySet) (any, error) {
	b := []byte{'['}
	for i, t := range tasks {
		if i > 0 {
			b = append(b, ',')
		}
		if b = x.appendStatus(b, t, keys); len(b) > x.room() {
			return nil, errLarge
		}
	}
	return json.RawMessage(append(b, ']')), nil
}

// appendStatus appends aria2's description of a download.
func (x *exchange) appendStatus(b []byte, t queue.Task, keys keySet) []byte {
	s := newStruct(b, keys)
	s.text("gid", string(t.ID))
	s.text("status", string(t.State))
	s.number("totalLength", max(0, t.Size))
	s.number("completedLength", t.Held)
	s.number("uploadLength", 0)
	s.number("uploadSpeed", 0)
	s.number("connections", int64(t.Progress.Conns))
	s.text("dir", t.Dir)
	if keys.has("downloadSpeed") {
		s.number("downloadSpeed", x.rate(t))
	}
	s.number("pieceLength", pieceLength(t.Size))
	s.number("numPieces", countPieces(t.Size))
	if keys.has("files") {
		s.value("files", func(b []byte) []byte { return x.appendFiles(b, t) })
	}
	if t.State.Ended() {
		code, message := outcome(t)
		s.text("errorCode", code)
		s.text("errorMessage", message)
	}
	if t.Size > 0 && keys.has("bitfield") {
		s.text("bitfield", bitfield(t.Size, x.held(t)))
	}
	return s.end()
}

// outcome returns aria2's error code and message of a task that has ended.
func outcome(t queue.Task) (code, message string) {
	switch t.State {
	case queue.Complete:
		return "0", ""
	case queue.Removed:
		return removedByUser, ""
	}
	f := dropin.FailureOf(t.Exit)
	if f == dropin.Usage { // dropin.ExitCode has 2 for it, which in aria2 is a timeout
		f = dropin.OtherFailure
	}
	return decimal(dropin.ExitCode("aria2c", f)), t.Reason
}

// held returns the bytes of a task that are here. It asks for them only if the counts do not say it.
func (x *exchange) held(t queue.Task) *chunk.Set {
	var held chunk.Set
	switch {
	case t.State == queue.Complete, t.Held >= t.Size:
		held.Add(chunk.Range{End: t.Size})
	case t.Held > 0:
		d, _ := x.queue.Detail(t.ID)
		held = d.Held
	}
	return &held
}

// rate returns the bytes per second of a task. If nobody has asked for a while, it is a share of the rate of all.
func (x *exchange) rate(t queue.Task) int64 {
	if t.State != queue.Active {
		return 0
	}
	rate, ok := x.rates.measure(string(t.ID), t.Progress.Received, time.Now())
	if ok {
		return rate
	}
	conns := 0
	for _, r := range x.queue.Running() {
		conns += r.Progress.Conns
	}
	return x.options.Stats() * int64(t.Progress.Conns) / int64(max(1, conns))
}

// appendFiles appends aria2's list of the files of a download, which is one.
func (x *exchange) appendFiles(b []byte, t queue.Task) []byte {
	s := newStruct(append(b, '['), nil)
	s.text("index", "1")
	s.text("path", t.KnownPath())
	s.text("selected", "true")
	s.number("length", max(0, t.Size))
	s.number("completedLength", t.Held)
	s.value("uris", func(b []byte) []byte { return x.appendURIs(b, t) })
	return append(s.end(), ']')
}

// appendURIs appends the URIs of a task. One is used if bytes have come from it.
func (x *exchange) appendURIs(b []byte, t queue.Task) []byte {
	used := make(map[string]bool)
	if t.State == queue.Active {
		d, _ := x.queue.Detail(t.ID)
		for _, s := range d.Sources {
			used[s.URL] = s.Conns > 0 || s.Received > 0
		}
	} else if t.Held > 0 && len(t.URLs) > 0 {
		used[weburl.Canonical(t.URLs[0])] = true
	}
	b = append(b, '[')
	for i, u := range t.URLs {
		status := "waiting"
		if used[weburl.Canonical(u)] {
			status = "used"
		}
		if i > 0 {
			b = append(b, ',')
		}
		s := newStruct(b, nil)
		s.text("uri", weburl.WithoutUser(u))
		s.text("status", status)
		b = s.end()
	}
	return append(b, ']')
}

func getFiles(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	return json.RawMessage(x.appendFiles(nil, t)), nil
}

func getURIs(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	if t.State.Ended() {
		return nil, failf("No URI data is available for GID#%s", t.ID)
	}
	return json.RawMessage(x.appendURIs(nil, t)), nil
}

// getPeers returns an empty list, because there is no BitTorrent.
func getPeers(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	if t.State.Ended() {
		return nil, failf("No peer data is available for GID#%s", t.ID)
	}
	return []fields{}, nil
}

// getServers returns the sources that a running download has connections to. aria2 has an entry for each connection.
func getServers(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	if t.State != queue.Active {
		return nil, failf("No active download for GID#%s", t.ID)
	}
	d, _ := x.queue.Detail(t.ID)
	servers := make([]fields, 0, len(d.Sources))
	for _, s := range d.Sources {
		if s.Conns > 0 {
			servers = append(servers, fields{"uri": s.URL, "currentUri": s.URL, "downloadSpeed": decimal(x.sourceRate(t.ID, s))})
		}
	}
	return []fields{{"index": "1", "servers": servers}}, nil
}

func (x *exchange) sourceRate(id store.ID, s downloader.Source) int64 {
	rate, _ := x.rates.measure(string(id)+" "+s.URL, s.Received, time.Now())
	return rate
}
