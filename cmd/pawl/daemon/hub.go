package daemon

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"pawl/downloader/queue"
	"pawl/store"
)

const (
	// maxBehind is how many events wait for a subscriber. A subscriber that is further behind gets the whole
	// state again. A guess: the texts, of about 1 KB, belong to all subscribers together.
	maxBehind = 1024
	// maxBehindBytes is the same in bytes: a task may have a megabyte of URLs. A guess.
	maxBehindBytes = 4 << 20
	// progressTime is the time between two messages about the progress: nobody sees more.
	progressTime = time.Second
	// rateTime is the time over which a rate is averaged. A guess: shorter makes it jump, longer makes it lag.
	rateTime = 5 * time.Second
)

// A hub measures the rates of the running tasks, and passes on the events of a queue to its subscribers.
type hub struct {
	queue *queue.Queue
	show  func(queue.Task) *Task // with its position

	mu          sync.Mutex
	subscribers map[*subscriber]struct{} // guarded by mu
	meters      map[store.ID]*meter      // of the running tasks; guarded by mu
	sum         int64                    // of all rates; guarded by mu
}

// A subscriber gets events. Its channel has room for maxBehind.
type subscriber struct {
	events chan []byte  // JSON; nil if there is none, but the state must be sent again
	size   atomic.Int64 // bytes of events
	behind atomic.Bool  // events were left out, so the state must be sent again
}

// offer gives the subscriber an event, unless it is too far behind. The caller must hold hub.mu.
func (s *subscriber) offer(text []byte) {
	n := int64(len(text))
	if before := s.size.Load(); before == 0 || before+n <= maxBehindBytes {
		s.size.Add(n)
		select {
		case s.events <- text:
			return
		default:
			s.size.Add(-n)
		}
	}
	s.behind.Store(true)
}

// noteReceived notes that the subscriber has received an event.
func (s *subscriber) noteReceived(text []byte) { s.size.Add(-int64(len(text))) }

// A meter measures the rate of a task.
type meter struct {
	received int64 // bytes, when it was last measured
	at       time.Time
	rate     float64      // bytes per second
	sent     taskProgress // the last one that was sent to the subscribers
}

// A taskProgress is the progress of a task in an event.
type taskProgress struct {
	ID    store.ID    `json:"id"`
	Held  int64       `json:"held"`
	Size  int64       `json:"size"`
	Rate  int64       `json:"rate"`
	Conns int         `json:"conns"`
	Files queue.Files `json:"files,omitzero"` // of a list
}

// A progressEvent is the event about the progress of all tasks that have progressed.
type progressEvent struct {
	Event string         `json:"event"` // progress
	Rate  int64          `json:"rate"`  // of all tasks
	Tasks []taskProgress `json:"tasks"`
}

// progressKind is the kind of a progressEvent, and helloKind of the event that has the whole state.
const progressKind, helloKind = "progress", "hello"

func newHub(q *queue.Queue) *hub {
	return &hub{queue: q, subscribers: make(map[*subscriber]struct{}), meters: make(map[store.ID]*meter)}
}

// subscribe returns a new subscriber.
func (h *hub) subscribe() *subscriber {
	sub := &subscriber{events: make(chan []byte, maxBehind)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subscribers[sub] = struct{}{}
	return sub
}

// unsubscribe ends a subscription.
func (h *hub) unsubscribe(sub *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subscribers, sub)
}

// run works until ctx ends.
func (h *hub) run(ctx context.Context) {
	ticker := time.NewTicker(progressTime)
	defer ticker.Stop()
	for ctx.Err() == nil {
		events := h.queue.Listen(ctx)
		h.resend() // because the events before Listen are missing, if the queue was faster than the last loop
		h.measure()
		for ok := true; ok; {
			var ticks <-chan time.Time
			if h.isMeasuring() {
				ticks = ticker.C
			}
			var e queue.Event
			select {
			case e, ok = <-events:
				if ok {
					h.pass(e)
				}
			case <-ticks:
				h.measure()
			}
		}
	}
}

// isMeasuring reports whether a task runs, as far as it is known.
func (h *hub) isMeasuring() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.meters) > 0
}

// pass passes on an event to the subscribers.
func (h *hub) pass(e queue.Event) {
	h.mu.Lock()
	if e.Task.State == queue.Active && h.meters[e.Task.ID] == nil {
		h.meters[e.Task.ID] = &meter{at: e.Time}
	}
	idle := len(h.subscribers) == 0
	h.mu.Unlock()
	if idle {
		return
	}
	text, err := encode(Event{Event: string(e.Kind), Time: e.Time, Task: h.show(e.Task)})
	if err == nil {
		h.send(text)
	}
}

// send sends an event to all subscribers.
func (h *hub) send(text []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for sub := range h.subscribers {
		sub.offer(text)
	}
}

// resend makes all subscribers send the whole state.
func (h *hub) resend() {
	h.mu.Lock()
	for sub := range h.subscribers {
		sub.behind.Store(true)
	}
	h.mu.Unlock()
	h.send(nil)
}

// measure measures the rates of the running tasks, and sends the tasks that have progressed.
func (h *hub) measure() {
	running := h.queue.Running()
	now := time.Now()
	event := progressEvent{Event: progressKind, Tasks: []taskProgress{}}
	h.mu.Lock()
	before := h.meters
	h.meters = make(map[store.ID]*meter, len(running))
	for _, t := range running {
		m := before[t.ID]
		if m == nil {
			m = &meter{at: now, received: t.Progress.Received}
		}
		h.meters[t.ID] = m
		m.measure(now, t.Progress.Received)
		p := taskProgress{ID: t.ID, Held: t.Held, Size: t.Size, Rate: int64(m.rate), Conns: t.Progress.Conns, Files: t.Files}
		if event.Rate += p.Rate; p != m.sent {
			m.sent = p
			event.Tasks = append(event.Tasks, p)
		}
	}
	changed := event.Rate != h.sum || len(event.Tasks) > 0
	h.sum = event.Rate
	changed = changed && len(h.subscribers) > 0
	h.mu.Unlock()
	if !changed {
		return
	}
	if text, err := encode(event); err == nil {
		h.send(text)
	}
}

// measure takes the number of received bytes into the average.
func (m *meter) measure(now time.Time, received int64) {
	span := now.Sub(m.at)
	if span <= 0 {
		return
	}
	rate := max(0, float64(received-m.received)/span.Seconds()) // less than 0 if the task has started again
	weight := min(1, float64(span)/float64(rateTime))
	if m.rate == 0 {
		weight = 1
	}
	m.rate += weight * (rate - m.rate)
	if m.rate < 1 {
		m.rate = 0
	}
	m.received, m.at = received, now
}

// rate returns the bytes per second of a task.
func (h *hub) rate(id store.ID) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if m := h.meters[id]; m != nil {
		return int64(m.rate)
	}
	return 0
}

// total returns the bytes per second of all tasks.
func (h *hub) total() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sum
}
