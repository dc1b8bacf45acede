package queue

import (
	"context"
	"sync"
	"time"
)

// A Kind is the kind of an Event. The values are an interface for programs.
type Kind string

// The kinds of events.
const (
	Added        Kind = "added"
	Started      Kind = "started"
	PausedByUser Kind = "paused"
	Resumed      Kind = "resumed"  // waits again, after a pause or a failure
	Moved        Kind = "moved"    // to another position
	Changed      Kind = "changed"  // has another Spec
	Finished     Kind = "complete" // the file is there
	FailedNow    Kind = "error"
	Delayed      Kind = "delayed"   // waits again, because of Task.Reason
	Stopped      Kind = "removed"   // by the user
	Forgotten    Kind = "forgotten" // is no longer in the history
)

// An Event is a change of a task.
type Event struct {
	Time time.Time
	Kind Kind
	Task Task // after the change
}

// maxEvents is how many events a listener may be behind. A guess: a listener that is behind by so many
// does not read at all, or everything changes at once.
const maxEvents = 1024

// listeners distribute events.
type listeners struct {
	listenMu sync.Mutex                 // after Queue.mu
	channels map[chan Event]func() bool // ends the wait for the end of the listener's ctx
}

// Listen returns a channel with all events from now on, in order. It is closed when ctx ends, and for a
// listener that is maxEvents behind, which must then look at Tasks and listen again.
func (q *Queue) Listen(ctx context.Context) <-chan Event {
	c := make(chan Event, maxEvents)
	q.listenMu.Lock()
	defer q.listenMu.Unlock()
	if q.channels == nil {
		q.channels = make(map[chan Event]func() bool)
	}
	q.channels[c] = context.AfterFunc(ctx, func() {
		q.listenMu.Lock()
		defer q.listenMu.Unlock()
		q.drop(c)
	})
	return c
}

// drop ends a listener. The caller must hold listenMu.
func (q *Queue) drop(c chan Event) {
	if stop, ok := q.channels[c]; ok {
		stop() // or ctx, which may live long, would keep c with its events
		delete(q.channels, c)
		close(c)
	}
}

// send sends an event to all listeners. The caller must hold mu.
func (q *Queue) send(e Event) {
	e.Time = time.Now()
	q.listenMu.Lock()
	defer q.listenMu.Unlock()
	for c := range q.channels {
		select {
		case c <- e:
		default:
			q.drop(c)
		}
	}
}
