package main

// This file follows the queue of the daemon for "pawl list --watch".

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	server "pawl/cmd/pawl/daemon"
	"pawl/downloader/queue"
	"pawl/store"
)

// findInterval is the time between two looks for a daemon, while none runs. A guess: short enough for a user
// who has just started a daemon.
const findInterval = 2 * time.Second

// A queueWatch knows the tasks of the queue at any moment, by the events of the daemon. Its methods are safe for
// concurrent use.
type queueWatch struct {
	store   state
	changed chan struct{} // capacity 1; has a value if tasks have changed

	mu     sync.Mutex
	client *server.Client // nil if no daemon runs; guarded by mu
	tasks  []server.Task  // in the order in which they became known; guarded by mu
}

// follow follows the daemon until ctx ends.
func (q *queueWatch) follow(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := openQueue(ctx, q.store)
		q.set(l.client, l.tasks)
		if err == nil && l.client != nil {
			for e, err := range l.client.Events(ctx) {
				if err != nil {
					break
				}
				q.apply(e)
			}
		}
		select {
		case <-time.After(findInterval):
		case <-ctx.Done():
		}
	}
}

// set replaces all.
func (q *queueWatch) set(client *server.Client, tasks []server.Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.client, q.tasks = client, tasks
	q.wake()
}

// wake makes the watch draw.
func (q *queueWatch) wake() {
	select {
	case q.changed <- struct{}{}:
	default:
	}
}

// apply applies an event.
func (q *queueWatch) apply(e server.Event) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case e.Event == "hello":
		q.tasks = e.Tasks
	case e.Event == string(queue.Forgotten) && e.Task != nil:
		q.tasks = slices.DeleteFunc(q.tasks, func(t server.Task) bool { return t.ID == e.Task.ID })
	case e.Task != nil:
		if i := q.index(e.Task.ID); i >= 0 {
			q.tasks[i] = *e.Task
		} else {
			q.tasks = append(q.tasks, *e.Task)
		}
	}
	if e.Event == "progress" {
		for _, p := range e.Tasks {
			if i := q.index(p.ID); i >= 0 {
				t := &q.tasks[i]
				t.Held, t.Size, t.Rate, t.Conns = p.Held, p.Size, p.Rate, p.Conns
				if p.Files != nil {
					t.Files = p.Files
				}
			}
		}
		return // the next tick shows it
	}
	q.wake()
}

// index returns the index of a task, -1 if it is unknown. mu must be held.
func (q *queueWatch) index(id store.ID) int {
	return slices.IndexFunc(q.tasks, func(t server.Task) bool { return t.ID == id })
}

// snapshot returns the client, nil if no daemon runs, and a copy of the tasks.
func (q *queueWatch) snapshot() (*server.Client, []server.Task) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.client, slices.Clone(q.tasks)
}

// do asks the daemon for something, and returns the next message of the watch.
func (q *queueWatch) do(request func(ctx context.Context, client *server.Client) error, done string) string {
	client, _ := q.snapshot()
	if client == nil {
		return "the daemon has ended"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := request(ctx, client); err != nil {
		return printable(err.Error())
	}
	return done
}

// pause, resume and remove are the actions of the keys on a task.

func (q *queueWatch) pause(l listRow) string {
	return q.do(func(ctx context.Context, c *server.Client) error {
		_, err := c.Pause(ctx, l.ID)
		return err
	}, "the daemon pauses it, and keeps what it has")
}

func (q *queueWatch) resume(l listRow) string {
	return q.do(func(ctx context.Context, c *server.Client) error {
		_, err := c.Resume(ctx, l.ID)
		return err
	}, "the daemon continues it")
}

func (q *queueWatch) remove(l listRow) string {
	return q.do(func(ctx context.Context, c *server.Client) error {
		err := c.Remove(ctx, l.ID, false)
		if err == nil {
			err = (&RemoveCmd{Files: true}).removeRecord(q.store, l.ID)
		}
		if errors.Is(err, store.ErrNotFound) { // it had not begun
			err = nil
		}
		return err
	}, "it is forgotten")
}
