package aria2rpc

import (
	"bytes"
	"encoding/json"
	"path/filepath"
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
	return x.status(t, keys), nil
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
	var b bytes.Buffer
	b.WriteByte('[')
	for i, t := range tasks {
		if i > 0 {
			b.WriteByte(',')
		}
		text, err := json.Marshal(x.status(t, keys))
		if err != nil {
			return nil, err
		}
		if b.Write(text); b.Len() > x.room {
			return nil, errLarge
		}
	}
	b.WriteByte(']')
	return json.RawMessage(b.Bytes()), nil
}

// status returns what aria2 says about a download.
func (x *exchange) status(t queue.Task, keys keySet) fields {
	f := make(fields)
	put := func(key string, value func() any) {
		if keys.has(key) {
			f[key] = value()
		}
	}
	say := func(key, value string) { put(key, func() any { return value }) }

	say("gid", string(t.ID))
	say("status", string(t.State))
	say("totalLength", decimal(max(0, t.Size)))
	say("completedLength", decimal(t.Held))
	say("uploadLength", "0")
	say("uploadSpeed", "0")
	say("connections", decimal(t.Progress.Conns))
	say("dir", t.Dir)
	put("downloadSpeed", func() any { return decimal(x.rate(t)) })
	say("pieceLength", decimal(pieceLength(t.Size)))
	say("numPieces", decimal(countPieces(t.Size)))
	put("files", func() any { return x.files(t) })
	if t.State.Ended() {
		code, message := outcome(t)
		say("errorCode", code)
		say("errorMessage", message)
	}
	if t.Size > 0 {
		put("bitfield", func() any { return bitfield(t.Size, x.held(t)) })
	}
	return f
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
	if f == dropin.Usage { // aria2's code for it is that of a timeout
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

// files returns aria2's list of the files of a download, which is one.
func (x *exchange) files(t queue.Task) []fields {
	return []fields{{
		"index": "1", "path": path(t), "selected": "true",
		"length": decimal(max(0, t.Size)), "completedLength": decimal(t.Held), "uris": x.uris(t),
	}}
}

// path returns the path of the file of a task, "" if it is not known yet.
func path(t queue.Task) string {
	switch {
	case t.Path != "":
		return t.Path
	case t.List:
		return t.Dir
	case t.Name != "":
		return filepath.Join(t.Dir, t.Name)
	}
	return ""
}

// uris returns the URIs of a task. One is used if bytes have come from it.
func (x *exchange) uris(t queue.Task) []fields {
	used := make(map[string]bool)
	if t.State == queue.Active {
		d, _ := x.queue.Detail(t.ID)
		for _, s := range d.Sources {
			used[s.URL] = s.Conns > 0 || s.Received > 0
		}
	} else if t.Held > 0 && len(t.URLs) > 0 {
		used[weburl.Canonical(t.URLs[0])] = true
	}
	all := make([]fields, 0, len(t.URLs)) // which is a list and not null if there are none
	for _, u := range t.URLs {
		status := "waiting"
		if used[weburl.Canonical(u)] {
			status = "used"
		}
		all = append(all, fields{"uri": weburl.WithoutUser(u), "status": status})
	}
	return all
}

func getFiles(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	return x.files(t), nil
}

func getURIs(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	if t.State.Ended() {
		return nil, failf("No URI data is available for GID#%s", t.ID)
	}
	return x.uris(t), nil
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
