package main

// This file runs the hooks of the daemon.

import (
	"sync"
	"time"

	"pawl/downloader"
	"pawl/downloader/queue"
)

// hookOptions returns the commands of the daemon.
func (c *DaemonCmd) hookOptions() hookOptions {
	return hookOptions{onComplete: c.OnComplete, onError: c.OnError, onEnd: c.OnEnd, timeout: time.Duration(c.HookTimeout)}
}

// taskHooks runs the hooks of the tasks of the queue. The hooks of the files of a list are run by listTally.
type taskHooks struct {
	hooks *hooks

	mu    sync.Mutex
	codes map[int]int // tasks that have ended since the last --on-end, by exit code; guarded by mu
}

// ended runs the hook of a task that has completed or failed. A file that was here already has none, as with pawl get.
func (h *taskHooks) ended(t queue.Task, res downloader.Result, err error) {
	h.mu.Lock()
	h.codes[exitCode(err)]++
	h.mu.Unlock()
	switch {
	case t.List, err == nil && res.Current:
	case err != nil:
		h.hooks.push(hookFile{t.KnownPath(), t.URL(), -1, t.ID, err})
	default:
		h.hooks.push(hookFile{t.Path, t.URL(), res.Size, t.ID, nil})
	}
}

// idle runs the hook of the end, if a task has ended since the last one.
func (h *taskHooks) idle() {
	h.mu.Lock()
	codes := h.codes
	h.codes = make(map[int]int)
	h.mu.Unlock()
	if len(codes) == 0 {
		return
	}
	h.hooks.pushEnd(worstCode(codes))
}
