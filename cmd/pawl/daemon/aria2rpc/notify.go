package aria2rpc

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"pawl/downloader/queue"
	"pawl/store"
)

// The notifications of aria2.
const (
	onStart    = "aria2.onDownloadStart"
	onPause    = "aria2.onDownloadPause"
	onStop     = "aria2.onDownloadStop"
	onComplete = "aria2.onDownloadComplete"
	onError    = "aria2.onDownloadError"
)

// notificationNames are all notifications.
var notificationNames = []string{onStart, onPause, onStop, onComplete, onError}

// A notification reports the start or the end of a download.
type notification struct {
	name string
	id   store.ID
}

// encode returns the message for a client.
func (n notification) encode() []byte {
	b, _ := json.Marshal(map[string]any{"jsonrpc": "2.0", "method": n.name, "params": []any{map[string]store.ID{"gid": n.id}}}) // never fails
	return b
}

// A notifier makes notifications of the events of a queue and gives them to all sockets. It listens only while
// there are some. Safe for concurrent use.
type notifier struct {
	queue *queue.Queue

	mu      sync.Mutex
	outbox  map[*outbox]struct{} // of the sockets; guarded by mu
	stop    context.CancelFunc   // ends the run; nil if there is none; guarded by mu
	stopped chan struct{}        // closed when the run has ended; guarded by mu
}

// add adds the outbox of a socket. Events that come after it are in it.
func (n *notifier) add(o *outbox) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.outbox == nil {
		n.outbox = make(map[*outbox]struct{})
	}
	n.outbox[o] = struct{}{}
	if n.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop, n.stopped = stop, make(chan struct{})
	s := &states{last: time.Now(), of: make(map[store.ID]queue.State)}
	events := n.queue.Listen(ctx)
	s.compare(n.queue.Tasks())
	go func(stopped chan struct{}) { // remove of the last socket waits for it
		defer close(stopped)
		n.run(ctx, s, events)
	}(n.stopped)
}

// remove removes the outbox of a socket.
func (n *notifier) remove(o *outbox) {
	n.mu.Lock()
	delete(n.outbox, o)
	stop, stopped := n.stop, n.stopped
	last := len(n.outbox) == 0
	if last {
		n.stop = nil
	}
	n.mu.Unlock()
	if last && stop != nil {
		stop()
		<-stopped
	}
}

// run passes on the events until ctx ends. If it was too slow for the queue, it compares the tasks with the states that it
// knows.
func (n *notifier) run(ctx context.Context, s *states, events <-chan queue.Event) {
	for {
		for e := range events {
			n.tell(s.note(e)...)
		}
		if ctx.Err() != nil {
			return
		}
		events = n.queue.Listen(ctx)
		n.tell(s.compare(n.queue.Tasks())...)
	}
}

func (n *notifier) tell(all ...notification) {
	if len(all) == 0 {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for o := range n.outbox {
		o.put(all...)
	}
}

// states are the states of the unfinished tasks, as far as clients know them. aria2 reports a pause or a
// removal only if the download was running.
type states struct {
	of   map[store.ID]queue.State
	last time.Time // of the last event
}

// note returns the notification of an event, if there is one.
func (s *states) note(e queue.Event) (all []notification) {
	id := e.Task.ID
	running := s.of[id] == queue.Active
	s.last = e.Time
	if e.Task.State.Ended() || e.Kind == queue.Forgotten {
		delete(s.of, id)
	} else {
		s.of[id] = e.Task.State
	}
	switch {
	case e.Task.State == queue.Active && !running:
		return []notification{{onStart, id}}
	case e.Kind == queue.PausedByUser && running:
		return []notification{{onPause, id}}
	case e.Kind == queue.Stopped && running:
		return []notification{{onStop, id}}
	case e.Kind == queue.Finished:
		return []notification{{onComplete, id}}
	case e.Kind == queue.FailedNow:
		return []notification{{onError, id}}
	}
	return nil
}

// compare replaces the states by the states of the tasks, and returns the notifications of the differences.
func (s *states) compare(unfinished, ended []queue.Task) (all []notification) {
	before := s.of
	s.of = make(map[store.ID]queue.State, len(unfinished))
	for _, t := range unfinished {
		s.of[t.ID] = t.State
		switch running := before[t.ID] == queue.Active; {
		case t.State == queue.Active && !running:
			all = append(all, notification{onStart, t.ID})
		case t.State == queue.Paused && running:
			all = append(all, notification{onPause, t.ID})
		}
	}
	for _, t := range ended {
		state, known := before[t.ID]
		switch {
		case !known && !t.Ended.After(s.last):
		case t.State == queue.Complete:
			all = append(all, notification{onComplete, t.ID})
		case t.State == queue.Failed:
			all = append(all, notification{onError, t.ID})
		case state == queue.Active:
			all = append(all, notification{onStop, t.ID})
		}
	}
	s.last = time.Now()
	return all
}

// maxBehind is how many notifications a socket may be behind: 2 MB of memory. A queue of so many downloads can be
// paused as a whole.
const maxBehind = 65_536

// An outbox has the notifications that a socket has still to send. Safe for concurrent use.
type outbox struct {
	kick chan struct{} // capacity 1; has a value if there is something new

	mu    sync.Mutex
	items []notification // guarded by mu
	full  bool           // some are lost; guarded by mu
}

func newOutbox() *outbox { return &outbox{kick: make(chan struct{}, 1)} }

func (o *outbox) put(all ...notification) {
	o.mu.Lock()
	if len(o.items)+len(all) > maxBehind {
		o.full = true
	} else {
		o.items = append(o.items, all...)
	}
	o.mu.Unlock()
	select {
	case o.kick <- struct{}{}:
	default:
	}
}

// take returns and removes all notifications. ok is false if some are lost.
func (o *outbox) take() (all []notification, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all, o.items = o.items, nil
	return all, !o.full
}
