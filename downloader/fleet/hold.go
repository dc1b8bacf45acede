package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// holdersBucket has a key for each set of lists and directory that a process submits now.
	holdersBucket = "PAWL_SUBMITTERS"
	// holderFile has the ID of the state directory of submitters.
	holderFile = "fleet-submitter"
	// holdRenewal is the time between two renewals, and holdPatience how long a key must stay as it is to be that of a process that
	// has ended. At half, a process that the queue answers slowly loses its run; double lets its successor on another machine wait
	// longer.
	holdRenewal  = 5 * time.Second
	holdPatience = 4 * holdRenewal
)

// A Holder is a process that submits lists, and reports their run.
type Holder struct {
	Version int       `json:"v"`
	State   string    `json:"state"` // see HolderID
	Host    string    `json:"host"`
	Process int       `json:"process"`
	Since   time.Time `json:"since"`
}

func (h Holder) String() string {
	return fmt.Sprintf("process %d on %s, since %s", h.Process, h.Host, h.Since.Local().Format(time.DateTime))
}

// A HeldError means that another process submits the same lists for the same directory.
type HeldError struct{ Holder Holder }

func (e *HeldError) Error() string {
	return "the same lists are being submitted for the same directory by " + e.Holder.String()
}

// Is makes all HeldErrors equal for errors.Is, whoever holds the lists.
func (e *HeldError) Is(kind error) bool {
	_, ok := kind.(*HeldError)
	return ok
}

// HolderID returns the ID of a state directory, which it creates. Two processes with the same one have a lock against
// each other.
func HolderID(dir string) (string, error) {
	path := filepath.Join(dir, holderFile)
	b, err := os.ReadFile(path)
	if id := strings.TrimSpace(string(b)); err == nil && isSessionID(id) {
		return id, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	id := newSessionID()
	return id, os.WriteFile(path, []byte(id+"\n"), 0o600)
}

// A Hold keeps other processes from submitting the same lists for the same directory: they would change the settings of the run, queue
// files twice, and end the run while another one still queues. It is a key that the process renews; nobody compares the clocks of
// two machines.
type Hold struct {
	bucket Bucket
	key    string
	data   []byte
	cancel context.CancelFunc
	done   chan struct{}
	lost   chan struct{} // closed when another process has the key
	err    error         // once lost is closed

	revision uint64 // owned by keep
}

// OpenHold returns the Hold of a key of OpenRun. If another process has it, OpenHold calls waiting, and waits until that has
// renewed it, which is a HeldError, or has ended. The earlier process of the same state directory has ended, because the caller must
// have its lock. Close must be called.
func OpenHold(ctx context.Context, b Broker, key string, own Holder, waiting func(Holder)) (*Hold, error) {
	bucket, err := b.Bucket(ctx, holdersBucket, 0)
	if err != nil {
		return nil, err
	}
	own.Version = version
	h := &Hold{bucket: bucket, key: key, data: encode(own), done: make(chan struct{}), lost: make(chan struct{})}
	if err := h.take(ctx, own.State, waiting); err != nil {
		return nil, err
	}
	var keepCtx context.Context
	keepCtx, h.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go h.keep(keepCtx)
	return h, nil
}

// take creates the key, or takes it from a process that has ended.
func (h *Hold) take(ctx context.Context, state string, waiting func(Holder)) error {
	var seen uint64 // revision of the other process
	var since time.Time
	for {
		revision, err := h.bucket.Create(ctx, h.key, h.data)
		if err == nil {
			h.revision = revision
			return nil
		}
		if !errors.Is(err, ErrConflict) {
			return err
		}
		v, err := h.bucket.Get(ctx, h.key)
		if errors.Is(err, ErrNoKey) {
			continue
		}
		if err != nil {
			return err
		}
		var other Holder
		json.Unmarshal(v.Data, &other) // one that cannot be read is of a newer version, and alive if it is renewed
		switch {
		case string(v.Data) == string(h.data), other.State == state, v.Revision == seen && time.Since(since) >= holdPatience:
			revision, err := h.bucket.Update(ctx, h.key, h.data, v.Revision)
			if err == nil {
				h.revision = revision
				return nil
			}
			if !errors.Is(err, ErrConflict) {
				return err
			}
			continue
		case seen == 0:
			seen, since = v.Revision, time.Now()
			waiting(other)
		case v.Revision != seen:
			return &HeldError{other}
		}
		timer := time.NewTimer(holdRenewal / 5)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// Lost is closed when another process has taken the key, because this one could not renew it in time. Err then returns the
// reason, a HeldError.
func (h *Hold) Lost() <-chan struct{} { return h.lost }

// Err returns why the key was lost, nil if it was not.
func (h *Hold) Err() error {
	select {
	case <-h.lost:
		return h.err
	default:
		return nil
	}
}

// keep renews the key until ctx ends or another process has it.
func (h *Hold) keep(ctx context.Context) {
	defer close(h.done)
	tick := time.NewTicker(holdRenewal)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if other := h.renew(ctx); other != nil {
			h.err = &HeldError{*other}
			close(h.lost)
			return
		}
	}
}

// renew renews the key once. It returns the process that has it now, if that is another one.
func (h *Hold) renew(ctx context.Context) *Holder {
	ctx, cancel := context.WithTimeout(ctx, holdRenewal)
	defer cancel()
	revision, err := h.bucket.Update(ctx, h.key, h.data, h.revision)
	switch {
	case err == nil:
		h.revision = revision
		return nil
	case !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNoKey): // later
		return nil
	}
	v, err := h.bucket.Get(ctx, h.key)
	switch {
	case errors.Is(err, ErrNoKey): // the broker has lost it
		if revision, err := h.bucket.Create(ctx, h.key, h.data); err == nil {
			h.revision = revision
		}
		return nil
	case err != nil:
		return nil
	case string(v.Data) == string(h.data): // an earlier renewal was done, but not confirmed
		h.revision = v.Revision
		return nil
	}
	var other Holder
	json.Unmarshal(v.Data, &other)
	return &other
}

// Close lets other processes have the key. Best effort: they wait for holdPatience otherwise. The nil *Hold may be closed.
func (h *Hold) Close(ctx context.Context) {
	if h == nil {
		return
	}
	h.cancel()
	<-h.done
	if h.Err() == nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
		defer cancel()
		h.bucket.Delete(ctx, h.key, h.revision)
	}
}
