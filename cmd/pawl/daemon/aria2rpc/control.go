package aria2rpc

import (
	"errors"
	"slices"

	"pawl/downloader/queue"
	"pawl/downloader/weburl"
	"pawl/store"
)

// control calls do for a task that may be in a state, and returns its GID. The message of the error for other
// tasks has a place for the GID.
func (x *exchange) control(p params, may func(queue.Task) bool, message string, do func(queue.Task) error) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	if !may(t) {
		return nil, failf(message, t.ID)
	}
	if err := do(t); errors.Is(err, queue.ErrState) || errors.Is(err, queue.ErrNotFound) { // it has ended just now
		return nil, failf(message, t.ID)
	} else if err != nil {
		return nil, err
	}
	return t.ID, nil
}

func isUnfinished(t queue.Task) bool { return !t.State.Ended() }

func remove(x *exchange, p params) (any, error) {
	return x.control(p, isUnfinished, "Active Download not found for GID#%s",
		func(t queue.Task) error { return x.queue.Remove(false, t.ID) })
}

func pause(x *exchange, p params) (any, error) {
	return x.control(p, func(t queue.Task) bool { return isUnfinished(t) && t.State != queue.Paused }, "GID#%s cannot be paused now",
		func(t queue.Task) error { return x.queue.Pause(t.ID) })
}

func unpause(x *exchange, p params) (any, error) {
	return x.control(p, func(t queue.Task) bool { return t.State == queue.Paused }, "GID#%s cannot be unpaused now",
		func(t queue.Task) error { return x.queue.Resume(t.ID) })
}

func pauseAll(x *exchange, _ params) (any, error) {
	return x.all(func(t queue.Task) bool { return t.State != queue.Paused }, func(id store.ID) error { return x.queue.Pause(id) })
}

func unpauseAll(x *exchange, _ params) (any, error) {
	return x.all(func(t queue.Task) bool { return t.State == queue.Paused }, func(id store.ID) error { return x.queue.Resume(id) })
}

// all calls do for all unfinished tasks that fit. Tasks that have ended meanwhile need nothing.
func (x *exchange) all(fits func(queue.Task) bool, do func(store.ID) error) (any, error) {
	unfinished, _ := x.queue.Tasks()
	for _, t := range unfinished {
		if !fits(t) {
			continue
		}
		if err := do(t.ID); err != nil && !errors.Is(err, queue.ErrState) && !errors.Is(err, queue.ErrNotFound) {
			return nil, err
		}
	}
	return success, nil
}

// origins are the origins of positions by aria2's names.
var origins = map[string]queue.Origin{"POS_SET": queue.Start, "POS_CUR": queue.Current, "POS_END": queue.End}

func changePosition(x *exchange, p params) (any, error) {
	gid, err := p.text(0)
	if err != nil {
		return nil, err
	}
	n, err := p.integer(1)
	if err != nil {
		return nil, err
	}
	how, err := p.text(2)
	if err != nil {
		return nil, err
	}
	from, ok := origins[how]
	if !ok {
		return nil, failf("Illegal argument.")
	}
	if gid == "" {
		return nil, failf("Invalid GID ")
	}
	position := 0
	_, err = x.control(p, waiting, "GID#%s not found in the waiting queue.", func(t queue.Task) (err error) {
		position, err = x.queue.Move(t.ID, queue.Place{From: from, N: n})
		return err
	})
	if err != nil {
		return nil, err
	}
	return position, nil
}

// changeURI removes URIs of a file and adds others, and returns how many of each.
func changeURI(x *exchange, p params) (any, error) {
	t, err := x.task(p, 0)
	if err != nil {
		return nil, err
	}
	index, err := p.integerFrom(1, 1)
	if err != nil {
		return nil, err
	}
	old, err := p.texts(2)
	if err != nil {
		return nil, err
	}
	added, err := p.texts(3)
	if err != nil {
		return nil, err
	}
	at, err := p.position(4)
	switch {
	case err != nil:
		return nil, err
	case t.State.Ended():
		return nil, failf("Cannot remove URIs from GID#%s", t.ID)
	case index > 1:
		return nil, failf("fileIndex is out of range")
	}
	added = slices.DeleteFunc(added, func(u string) bool { return weburl.Check(u) != nil })
	var counts [2]int
	err = x.queue.Change(t.ID, func(s *queue.Spec) error {
		if s.List {
			return failf("the URI of a list does not change")
		}
		s.URLs, counts = changedURLs(s.URLs, old, added, at)
		if len(s.URLs) == 0 {
			return failf("a download needs a URI: add one in the same call")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// changedURLs returns urls without one of each of old, and with added at an index, -1 for the end; and how
// many URLs were removed and added. Clients know the URLs without users.
func changedURLs(urls, old, added []string, at int) ([]string, [2]int) {
	removed := 0
	for _, u := range old {
		i := slices.IndexFunc(urls, func(have string) bool { return have == u || weburl.WithoutUser(have) == u })
		if i >= 0 {
			urls = slices.Delete(urls, i, i+1)
			removed++
		}
	}
	if at < 0 || at > len(urls) {
		at = len(urls)
	}
	return slices.Insert(urls, at, added...), [2]int{removed, len(added)}
}

func removeDownloadResult(x *exchange, p params) (any, error) {
	_, err := x.control(p, func(t queue.Task) bool { return t.State.Ended() }, "Could not remove download result of GID#%s",
		func(t queue.Task) error { return x.queue.Remove(false, t.ID) })
	if err != nil {
		return nil, err
	}
	return success, nil
}

func purgeDownloadResult(x *exchange, _ params) (any, error) {
	x.queue.Forget()
	return success, nil
}
